"""How far results are from published ones: column by column, in points and in sampling errors.

A difference that has a known cause is named with it. Where both tables have stored observations beside them
the error is that of paired decisions; else it is that of one measurement, which is too wide for two runs over
the same images, so that agreement is claimed a little too readily and disagreement never wrongly.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from biasjax.study import sampling
from biasjax.study.definitions import Sizes
from biasjax.study.stored import Observations
from biasjax.study.table import Table

AGREES = 3.0  # sampling errors
# Below this many points of accuracy (hundredths for shares) nobody would call two numbers different.
NEGLIGIBLE = 0.1
# Where neither count nor interval is known: relative.
UNKNOWN_ERROR = 0.02
PHANTOMS, IMAGES = 48, 50_000  # PGD's accuracy was divided by whole batches: 48 robust images that are none


@dataclasses.dataclass(frozen=True)
class Cause:
  """Why a published number is known to differ.

  Attributes:
    pattern: of its column.
    reason: in words.
    phantom: whether the published number counts `PHANTOMS` robust images that there are not.
  """

  pattern: str
  reason: str
  phantom: bool = False

  def correct(self, published: float) -> float:
    """The published number without the slip, where that is arithmetic; else as published."""
    if not self.phantom:
      return published
    return 100 - (100 - published) * (IMAGES + PHANTOMS) / IMAGES


CAUSES = (
  Cause(
    r"top1_acc/imagenet-real", "published: the last batch only (326 images of 7 classes), 2 to 5 points high"
  ),
  Cause(r"top1_acc/PGD-40/.*", "published: over 50,048 images, 48 of them phantoms counted as robust", True),
  Cause(r"top1_acc/stylized", "published: 16-way decisions on 800 images"),
  Cause(r"top1_acc/imagenet-c", "published: the mean of 19 corruptions, 4 of them extra"),
  Cause(r"metric/criticalband/.*", "published: thresholds in whole steps, so that one image can move them"),
)


def known_cause(column: str) -> Cause | None:
  """Why the published numbers of a column differ, if that is known."""
  return next((cause for cause in CAUSES if re.fullmatch(cause.pattern, column)), None)


def compare(
  ours: Table,
  theirs: Table,
  sizes: Sequence[Sizes],
  paired: Mapping[tuple[str, str], float],
  main: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
  """Ours minus theirs for every model and column of both.

  Args:
    ours: our table.
    theirs: the other one, which gives the sampling error where ours does not.
    sizes: what numbers of known sources rest on.
    paired: {(model, column): standard error of the paired difference}, where per-example results are known.
    main: the column of clean accuracy, which tells networks apart.

  Returns:
    `model, column, ours, theirs, corrected, difference, error, z, agrees, cause`, difference being ours
    minus the corrected, and cause that of published numbers (what a metrics.csv beside theirs knows has
    none); and `model, verdict, columns, within, reason`.
  """
  models = [m for m in ours.frame.index if m in theirs.frame.index]
  columns = [c for c in ours.frame.columns if c in theirs.frame.columns]
  of_ours, of_theirs = (sampling.columns(t, sizes).errors.loc[models, columns] for t in (ours, theirs))
  errors = of_ours.fillna(of_theirs)
  rows = []
  causes = [known_cause(column) for column in columns]
  measured = set(zip(theirs.intervals["model"], theirs.intervals["column"], strict=True))
  numbers = (t.loc[models, columns].to_numpy(float).tolist() for t in (ours.frame, theirs.frame, errors))
  for model, *lists in zip(models, *numbers, strict=True):
    for column, of_published, a, b, e in zip(columns, causes, *lists, strict=True):
      cause = of_published if (model, column) not in measured else None
      if math.isfinite(a) and math.isfinite(b):
        corrected = cause.correct(b) if cause else b
        error = paired.get((model, column), e)
        rows.append(_row(model, column, a, b, corrected, error, cause.reason if cause else ""))
  table = pd.DataFrame(rows, columns=COLUMNS)
  verdicts = [_verdict(model, table[table["model"] == model], main) for model in models]
  return table, pd.DataFrame(verdicts, columns=["model", "verdict", "columns", "within", "reason"])


COLUMNS = ["model", "column", "ours", "theirs", "corrected", "difference", "error", "z", "agrees", "cause"]


def _row(
  model: str, column: str, ours: float, theirs: float, corrected: float, error: float, cause: str
) -> tuple:
  difference = ours - corrected
  negligible = NEGLIGIBLE if column.startswith(("top1_acc", "top5_acc")) else NEGLIGIBLE / 100
  if math.isfinite(error) and error > 0:
    z = difference / error
    agrees = abs(z) <= AGREES or abs(difference) <= negligible
  else:
    z = math.nan
    agrees = abs(difference) <= max(negligible, UNKNOWN_ERROR * abs(corrected))
  return model, column, ours, theirs, corrected, difference, error, z, bool(agrees), cause


SAME, OTHER_PROTOCOL, OTHER_NETWORK, UNDECIDED = (
  "same network, same protocol",
  "same network, another protocol",
  "not the same network, or not the same images",
  "undecided",
)


def _verdict(model: str, rows: pd.DataFrame, main: str) -> tuple[str, str, int, int, str]:
  """Clean accuracy tells the network, the other columns the protocol."""
  n, within = len(rows), int(rows["agrees"].sum())
  clean = rows[rows["column"] == main]
  if not len(clean):
    return model, UNDECIDED, n, within, f"{main} is not in both tables, and only it tells networks apart"
  if not clean["agrees"].iloc[0]:
    off = clean["difference"].iloc[0]
    return model, OTHER_NETWORK, n, within, f"{main} differs by {off:+.2f} points"
  far = rows[~rows["agrees"]]
  unexplained = far[far["cause"] == ""]
  if len(unexplained):
    return model, OTHER_PROTOCOL, n, within, f"differ without a known cause: {_few(unexplained)}"
  if n == 1:
    return model, UNDECIDED, n, within, f"only {main} is in both tables"
  if len(far):
    return model, SAME, n, within, f"what differs has a known cause: {_few(far)}"
  return model, SAME, n, within, f"all {n} columns agree"


def _few(rows: pd.DataFrame) -> str:
  names = [f"{c} ({d:+.3g})" for c, d in zip(rows["column"], rows["difference"], strict=True)]
  return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def paired_errors(
  ours: Observations, theirs: Observations, columns: Sequence[str]
) -> dict[tuple[str, str], float]:
  """{(model, column): standard error} of differences in clean top-1 accuracy, image by image.

  Only for columns top1_acc/<dataset> that the accuracy probe of both runs has decided over the same examples.

  Raises:
    BiasjaxError: stored decisions are damaged.
  """
  found = {}
  for model, dataset, probe in ours.units:
    column = f"top1_acc/{dataset}"
    if probe != "accuracy" or column not in columns:
      continue
    a, b = (run.accuracy(model, dataset, "accuracy", column) for run in (ours, theirs))
    if a is None or b is None:
      continue
    a, b = a.align(b, join="inner")
    if len(a):
      differences = a.to_numpy(float) - b.to_numpy(float)
      found[model, column] = (
        100 * float(differences.std(ddof=1)) / math.sqrt(len(a)) if len(a) > 1 else math.nan
      )
  return found
