"""Files with the answers of a network that cannot run here: logits or scores, for each image and condition.

A row for each answer (docs/models.md): `probe`, `condition` and `example_id` say what was asked; what was
answered are logits, or the five columns of an observation. NumPy, pandas and pyarrow only.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from biasjax.errors import BiasjaxError

ASKED = ("probe", "condition", "example_id")
OBSERVED = {"prediction": np.int32, "rank": np.int32, "confidence": np.float32, "nll": np.float32}
OBSERVED |= {"brier": np.float32}
LOGITS = "logits"
UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError)


@dataclasses.dataclass(frozen=True)
class Group:
  """The answers under one condition.

  Attributes:
    ids: of the examples, each once.
    answers: float32 [n, classes] logits; or, by the names of `OBSERVED`, arrays [n].
    labels: int [n], where the file says them.
  """

  ids: pd.Index
  answers: np.ndarray | Mapping[str, np.ndarray]
  labels: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Answers:
  """What one file holds.

  Attributes:
    path: of the file.
    sha256: of its bytes.
    classes: how many logits there are; None where the file has none.
    size: pixels of a side of the images that were answered to; None where the file does not say.
    groups: (dataset, probe) -> condition -> answers; the dataset is "" where the file does not say.
    stimuli: (dataset, probe) -> what the file says that was shown (`engine.stimuli.identity`); "" if nothing.
  """

  path: pathlib.Path
  sha256: str
  classes: int | None
  size: int | None
  groups: Mapping[tuple[str, str], Mapping[str, Group]]
  stimuli: Mapping[tuple[str, str], str]

  def to(self, dataset: str, probe: str) -> tuple[Mapping[str, Group], str]:
    """The answers by condition, and what was shown; ({}, "") where there are none."""
    key = (dataset, probe) if (dataset, probe) in self.groups else ("", probe)
    return self.groups.get(key, {}), self.stimuli.get(key, "")


def read(path: str | pathlib.Path) -> Answers:
  """Reads a Parquet file, or a CSV, of answers.

  Logits are a column `logits` of lists, or columns `logit_0`, `logit_1` and so on.

  Raises:
    BiasjaxError: it cannot be read, lacks a column, has two answers to one question, or one that cannot be.
  """
  path = pathlib.Path(path).expanduser()
  try:
    content = path.read_bytes()
    reader = pa.BufferReader(content)
    table = pyarrow.csv.read_csv(reader) if path.suffix == ".csv" else pq.read_table(reader)
  except UNREADABLE as error:
    reason = " ".join(str(error).split())[:200]
    raise BiasjaxError(f"{path} cannot be read as Parquet or .csv of answers: {reason}") from error
  missing = [name for name in ASKED if name not in table.column_names]
  if missing:
    raise BiasjaxError(f"{path} has no column {missing[0]!r}: answers need {', '.join(ASKED)}")
  if not len(table):
    raise BiasjaxError(f"{path} holds no answers")
  logits, observed = _logits(path, table), {}
  if logits is None:
    observed = {name: _numbers(path, table, name, dtype) for name, dtype in OBSERVED.items()}
    _check_observed(path, observed)
  labels = _numbers(path, table, "label", np.int64) if "label" in table.column_names else None
  asked = pd.DataFrame({name: _strings(path, table, name) for name in ASKED})
  for name in ("dataset", "stimuli"):
    asked[name] = _strings(path, table, name) if name in table.column_names else ""
  size = None
  if "size" in table.column_names:
    sizes = np.unique(_numbers(path, table, "size", np.int64))
    if len(sizes) > 1 or not 0 < sizes[0] <= 2**14:
      raise BiasjaxError(f"{path}: size is {sizes[:3].tolist()}: expected one number of pixels")
    size = int(sizes[0])
  groups: dict[tuple[str, str], dict[str, Group]] = {}
  stimuli: dict[tuple[str, str], str] = {}
  for (dataset, probe, condition), rows in asked.groupby(["dataset", "probe", "condition"], sort=False):
    at, key = rows.index.to_numpy(), (str(dataset), str(probe))
    ids = pd.Index(rows["example_id"])
    if not ids.is_unique:
      again = ids[ids.duplicated()][0]
      raise BiasjaxError(f"{path}: {again} under {condition} ({probe}) is answered twice: keep one answer")
    shown = rows["stimuli"].unique()
    if len(shown) > 1 or stimuli.setdefault(key, shown[0]) != shown[0]:
      raise BiasjaxError(f"{path}: answers to {probe} are to more than one set of stimuli: keep one")
    answers = logits[at] if logits is not None else {name: of[at] for name, of in observed.items()}
    of_condition = Group(ids, answers, None if labels is None else labels[at])
    groups.setdefault(key, {})[str(condition)] = of_condition
  classes = None if logits is None else logits.shape[1]
  return Answers(path, hashlib.sha256(content).hexdigest(), classes, size, groups, stimuli)


def _strings(path: pathlib.Path, table: pa.Table, name: str) -> list[str]:
  values = table[name].to_pylist()
  if any(value is None for value in values):
    raise BiasjaxError(f"{path}, row {values.index(None) + 1}: {name} is empty")
  return [str(value) for value in values]


def _numbers(path: pathlib.Path, table: pa.Table, name: str, dtype: type) -> np.ndarray:
  if name not in table.column_names:
    raise BiasjaxError(
      f"{path} has no column {name!r}: answers are logits ({LOGITS}, or logit_0, logit_1, ...), or "
      + ", ".join(OBSERVED)
    )
  column = table[name]
  if column.null_count:
    raise BiasjaxError(f"{path}: {name} is empty in {column.null_count} of {len(column)} rows")
  whole = np.issubdtype(dtype, np.integer)
  try:
    return column.cast(pa.int64() if whole else pa.float64()).to_numpy().astype(dtype)
  except pa.ArrowException as error:
    kind = "whole numbers" if whole else "numbers"
    raise BiasjaxError(f"{path}: {name} is {column.type}, not {kind}") from error


def _logits(path: pathlib.Path, table: pa.Table) -> np.ndarray | None:
  """float32 [n, classes]; None where there are none."""
  names = [name for name in table.column_names if name.startswith("logit_")]
  if LOGITS in table.column_names:
    column = table[LOGITS].combine_chunks()
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not hasattr(column, "flatten") or not (
      pa.types.is_list(column.type)
      or pa.types.is_large_list(column.type)
      or pa.types.is_fixed_size_list(column.type)
    ):
      raise BiasjaxError(f"{path}: {LOGITS} is {column.type}, not lists of numbers")
    flat = column.flatten()
    many = len(flat) // len(column)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if column.null_count or (lengths != many).any():
      raise BiasjaxError(f"{path}: {LOGITS} are not equally many in each row")
    try:
      values = (
        flat.cast(pa.float32()).fill_null(np.nan).to_numpy(zero_copy_only=False).reshape(len(column), many)
      )
    except pa.ArrowException as error:
      raise BiasjaxError(f"{path}: {LOGITS} is {column.type}, not lists of numbers") from error
  elif names:
    wanted = [f"logit_{i}" for i in range(len(names))]
    if set(names) != set(wanted):
      absent = next(name for name in wanted if name not in names)
      raise BiasjaxError(f"{path} has {len(names)} columns of logits, but no {absent}")
    values = np.stack([_numbers(path, table, name, np.float32) for name in wanted], axis=1)
  else:
    return None
  if values.shape[1] < 2:
    raise BiasjaxError(f"{path}: logits are of {values.shape[1]} class: two at least must compete")
  wrong = np.flatnonzero(~np.isfinite(values).all(1))
  if len(wrong):
    raise BiasjaxError(f"{path}, row {wrong[0] + 1}: its logits are not finite")
  return values


def _check_observed(path: pathlib.Path, observed: Mapping[str, np.ndarray]) -> None:
  ranges = {"prediction": (0, np.inf), "rank": (0, np.inf), "confidence": (0, 1), "nll": (0, np.inf)}
  for name, (least, most) in (ranges | {"brier": (0, 2)}).items():
    values = observed[name]
    slack = 1e-4 * (values.dtype.kind == "f")  # of rounding
    wrong = np.flatnonzero(~((values >= least - slack) & (values <= most + slack)))
    if len(wrong):
      raise BiasjaxError(
        f"{path}, row {wrong[0] + 1}: {name} is {values[wrong[0]]}, which is not from {least} to {most}"
      )
