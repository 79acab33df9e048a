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
  for number, line in enumerate(text.splitlines(), 1):
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

  The interval is of the logarithm, by its influence function (the images with the factor are some of all);
  where no image that has it is wrong, or all are, Wilson's of their error stands for it.

  Args:
    wrong: bool [n].
    has: bool [n], some.

  Returns:
    (ratio, low, high); NaN where nothing is wrong.
  """
  overall, share, both = wrong.mean(), has.mean(), (wrong & has).mean()
  if overall == 0 or share == 0:
    return math.nan, math.nan, math.nan
  ratio = both / share / overall
  hits, n = int((wrong & has).sum()), int(has.sum())
  low, high = (edge / overall for edge in wilson(hits, n))
  if 0 < hits < n:
    influence = (wrong & has) / both - has / share - wrong / overall + 1
    spread = math.exp(Z * influence.std(ddof=1) / math.sqrt(len(wrong)))
    low, high = ratio / spread, ratio * spread
  return ratio, low, high


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
    lines.append([name, f"{int(rows[0]['n']):,}", *cells])
  return aligned(lines)
