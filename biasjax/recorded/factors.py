"""ImageNet-X: on which kinds of pictures networks that were measured err more than elsewhere.

Idrissi et al. 2022 (arXiv:2211.01866) annotated ImageNet's validation images with 16 factors (pose,
background, texture, ...). A factor's error ratio is the error among the images that have it over the error
among all that are annotated. Decisions are those stored by the probe `accuracy`: no network runs.
"""

import json
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy  # its modules are loaded where they are first used, which takes a second
from etils import epath

from biasjax.data import layouts
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store, write_file
from biasjax.statistics import Z, wilson
from biasjax.terminal import aligned, cell

FACTORS = (
  *("pose", "background", "pattern", "color", "smaller", "shape", "partial_view", "subcategory", "texture"),
  *("larger", "darker", "object_blocking", "person_blocking", "style", "brighter", "multiple_objects"),
)
PROTOTYPES = "prototypical_paths.csv"
FURTHEST = 40.0  # the logarithm of a ratio that no counts can tell from infinity


def read(path: str) -> pd.DataFrame:
  """Annotations as distributed: columns `class` and `FACTORS`, bool, indexed by file name.

  Args:
    path: JSON lines. What `PROTOTYPES`, beside it, names is left out, as the authors do: these images showed
      annotators what a class looks like.

  Raises:
    BiasjaxError: it cannot be read, is no such file, or has an image twice.
  """
  file = pathlib.Path(path).expanduser()
  rows = {}
  try:
    text = file.read_text(encoding="utf-8-sig")
  except (OSError, UnicodeDecodeError) as error:
    raise BiasjaxError(f"--factors: {file} cannot be read: {error}") from error
  for number, line in enumerate(text.split("\n"), 1):  # what annotators wrote may hold other ends of lines
    if not line.strip():
      continue
    try:
      row = json.loads(line)
      name, factors = str(row["file_name"]), {of: row[of] for of in FACTORS}
      if not all(value in (0, 1) for value in factors.values()):
        raise ValueError(f"{next(of for of, v in factors.items() if v not in (0, 1))} is neither 0 nor 1")
      fine = {"class": int(row["class"]), **{of: bool(value) for of, value in factors.items()}}
    except (ValueError, KeyError, TypeError) as error:
      reason = f"{error} is missing" if isinstance(error, KeyError) else error
      raise BiasjaxError(
        f"--factors: {file}, line {number} is no annotation of ImageNet-X ({reason}): expected "
        '{"file_name": ..., "class": ..., "pose": 0, ...}'
      ) from error
    if name in rows:
      raise BiasjaxError(f"--factors: {file}, line {number}: {name} is annotated twice")
    rows[name] = fine
  beside = file.parent / PROTOTYPES
  if beside.is_file():
    for name in beside.read_text(encoding="utf-8").split():
      rows.pop(name.rpartition("/")[2], None)
  if not rows:
    raise BiasjaxError(f"--factors: {file} annotates no image")
  return pd.DataFrame.from_dict(rows, orient="index")


def error_ratio(wrong: np.ndarray, has: np.ndarray) -> tuple[float, float, float]:
  """Errors among the images that have a factor over those among all, with a 95 % interval over images.

  The images that have it are some of all, so the ratio follows from that of the error with the factor to the
  error without (`relative_risk`, which are independent) and from the factor's share. To what the first leaves
  open is added what the share does (the delta method, in logarithms).

  Args:
    wrong: bool [n].
    has: bool [n], some.

  Returns:
    (ratio, low, high); NaN where nothing is wrong, or no image has the factor.
  """
  n, every, counted = len(wrong), int(wrong.sum()), int(has.sum())
  with_it = int((wrong & has).sum())
  if not every or not counted:
    return math.nan, math.nan, math.nan
  if counted == n:
    return 1.0, 1.0, 1.0
  ratio, share = (with_it / counted) / (every / n), counted / n
  risk = with_it, counted, every - with_it, n - counted
  low, high = (edge and 1 / (share + (1 - share) / edge) for edge in relative_risk(*risk))
  if not with_it:
    return ratio, low, high
  without = (every - with_it) / (n - counted) * counted / with_it
  apart = Z * ratio * abs(1 - without) * math.sqrt(share * (1 - share) / n)
  down, up = (math.hypot(math.log(edge / ratio), apart) for edge in (low, high))
  return ratio, ratio * math.exp(-down), ratio * math.exp(up)


def relative_risk(first: int, n: int, second: int, m: int) -> tuple[float, float]:
  """Koopman's (1984) score interval, 95 %, of a share over an independent one, first / n and second / m.

  The ratios under which the most likely two shares are not rejected by Pearson's chi-squared; it covers what
  it should also of few (Gart & Nam 1988).

  Returns:
    (low, high): 0 where `first` is 0; inf where `second` is.
  """

  def beyond(logarithm: float) -> float:
    ratio = math.exp(logarithm)
    b = ratio * (n + second) + first + m
    # The root of a quadratic that is below 1, in the form that does not cancel.
    likely = 2 * (first + second) / (b + math.sqrt(max(b * b - 4 * ratio * (n + m) * (first + second), 0.0)))
    pairs = ((first, n, min(ratio * likely, 1.0)), (second, m, likely))
    return sum((x - of * p) ** 2 / (of * p * (1 - p)) for x, of, p in pairs if 0 < p < 1) - Z**2

  middle = math.log(first / n / (second / m)) if first and second else math.copysign(FURTHEST, first - second)
  low = math.exp(scipy.optimize.brentq(beyond, -FURTHEST, middle)) if first else 0.0
  high = math.exp(scipy.optimize.brentq(beyond, middle, FURTHEST)) if second else math.inf
  return low, high


def of_decisions(observations: pd.DataFrame, annotations: pd.DataFrame) -> pd.DataFrame:
  """A row for each factor: factor, error_ratio, low, high, n, errors; the last, "all", has the error itself.

  Args:
    observations: columns example_id, label and rank, of one network.
    annotations: as `read` returns them.

  Raises:
    BiasjaxError: an image has another class than its annotation says.
  """
  names = observations["example_id"].astype(str).str.rsplit("/", n=1).str[-1].map(layouts.own_name)
  known = names.isin(annotations.index).to_numpy()
  of_image = annotations.loc[names[known]]
  label = observations["label"].to_numpy()[known]
  other = np.flatnonzero(of_image["class"].to_numpy() != label)
  if len(other):
    raise BiasjaxError(
      f"--factors: {of_image.index[other[0]]} is annotated as class {of_image['class'].iloc[other[0]]} and "
      f"was measured as class {label[other[0]]}: these are annotations of other images"
    )
  wrong = observations["rank"].to_numpy()[known] != 0
  rows = []
  for factor in FACTORS if len(wrong) else ():
    has = of_image[factor].to_numpy()
    rows.append((factor, *error_ratio(wrong, has), int(has.sum()), int((wrong & has).sum())))
  low, high = wilson(int(wrong.sum()), len(wrong))
  mean = float(wrong.mean()) if len(wrong) else math.nan
  rows.append(("all", mean, low, high, len(wrong), int(wrong.sum())))
  return pd.DataFrame(rows, columns=["factor", "error_ratio", "low", "high", "n", "errors"])


def score(path: str, workdir: str | os.PathLike) -> str:
  """Error ratios of every network measured in `workdir`, as text; writes factors.csv.

  Raises:
    BiasjaxError: no annotations, nothing measured in `workdir`, or none of what is annotated.
  """
  annotations, store = read(path), Store(workdir)
  units = [u for u in store.units() if u.probe == "accuracy" and u.key.get("labels") == "imagenet"]
  tables, notes = [], []
  for unit in units:
    if store.missing(unit):
      notes.append(f"note: {unit.model} on {unit.dataset} is not measured to the end: left out")
      continue
    table = of_decisions(store.read(unit)[0], annotations)
    count = int(table["n"].iloc[-1])
    if not count:
      notes.append(f"note: {unit.dataset} has none of the annotated images: {unit.model} is left out there")
      continue
    if count < len(annotations):
      notes.append(f"note: {unit.model}, {unit.dataset}: {count:,} of {len(annotations):,} annotated images")
    tables.append(table.assign(model=unit.model, dataset=unit.dataset))
  if not tables:
    raise BiasjaxError(
      f"--factors: {store.workdir} holds no whole run of the probe accuracy over images that {path} annotates"
    )
  found = pd.concat(tables)[["model", "dataset", "factor", "error_ratio", "low", "high", "n", "errors"]]
  folder = epath.Path(workdir)
  write_file(folder / "factors.csv", found.to_csv(index=False).encode())
  return "\n\n".join(filter(None, [_text(found), "\n".join(dict.fromkeys(notes)), f"{folder}: factors.csv"]))


def _text(found: pd.DataFrame) -> str:
  """A line for each factor, a column for each network."""
  networks = list(dict.fromkeys(zip(found["model"], found["dataset"], strict=True)))
  several = len({dataset for _, dataset in networks}) > 1
  lines = [["error ratio", "images", *(f"{m} ({d})" if several else m for m, d in networks)]]
  by = found.set_index(["factor", "model", "dataset"])
  for factor in (*FACTORS, "all"):
    rows: Sequence[pd.Series] = [by.loc[(factor, *network)] for network in networks]
    name = "error, all annotated images" if factor == "all" else factor
    cells = [cell(row["error_ratio"], row["low"], row["high"]) for row in rows]
    counts = [int(row["n"]) for row in rows]
    least, most = min(counts), max(counts)
    images = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    lines.append([name, images, *cells])
  return aligned(lines)
