"""Reads the tables that a study starts from, and says what is wrong with them.

What cannot be used is left out and noted; only what makes every number doubtful is an error.
"""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError

ABSENT = ("", "na", "nan", "n/a", "null", "none", "-")
UNCATEGORISED = "all"
# Half a 95 % interval in standard errors.
Z = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Table:
  """Models and their numbers.

  Attributes:
    frame: float [models, columns], indexed by model; NaN where a number is missing.
    category: each model's category, in the order of `frame`; `UNCATEGORISED` where none were given.
    notes: what was left out, and why; one sentence each.
    intervals: columns `model, column, low, high, n` of the metrics.csv beside the table; empty without one.
  """

  frame: pd.DataFrame
  category: pd.Series
  notes: tuple[str, ...] = ()
  intervals: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=INTERVALS))

  @property
  def categories(self) -> list[str]:
    """The categories that have models, in their order."""
    return list(dict.fromkeys(self.category))


INTERVALS = ["model", "column", "low", "high", "n"]


def read(path: str, categories: str | None, used: Iterable[str], flag: str = "--table") -> Table:
  """Reads a table with a `model` column, and the categories of its models.

  Args:
    path: CSV; the published table, or a results.csv. A metrics.csv beside it gives intervals and counts.
    categories: JSON, {category: [models]}; only its models are studied, in its order. None: all models, as
      one category.
    used: the columns that the study asks for; the others are not checked.
    flag: which flag named it, for messages.

  Raises:
    BiasjaxError: a file cannot be read, there is no model left, or a model is in two categories.
  """
  frame, notes = _read_numbers(path, set(used), flag)
  if categories is None:
    category = pd.Series(UNCATEGORISED, index=frame.index)
    notes.append("No categories were given (--categories): near-duplicates are not told from other models.")
  else:
    category, more = _select(read_categories(categories), frame.index, path)
    notes += more
    frame = frame.loc[category.index]
  return Table(frame, category, tuple(notes), _read_intervals(path, frame))


def read_categories(path: str) -> dict[str, list[str]]:
  """{category: [models]} from JSON.

  Raises:
    BiasjaxError: it cannot be read, is no such thing, or a model is in two categories.
  """
  try:
    content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
  except OSError as error:
    raise BiasjaxError(f"--categories: cannot read {path}: {error.strerror}") from error
  except ValueError as error:
    raise BiasjaxError(f"--categories: {path} is no JSON: {error}") from error
  fine = isinstance(content, dict) and all(
    isinstance(models, list) and all(isinstance(m, str) for m in models) for models in content.values()
  )
  if not fine:
    raise BiasjaxError(f'--categories: {path} should hold {{"category": ["model", ...], ...}}')
  seen: dict[str, str] = {}
  for category, models in content.items():
    for model in models:
      if seen.setdefault(model, category) != category:
        raise BiasjaxError(
          f"--categories: {path} has {model} in both {seen[model]} and {category}: keep one of them"
        )
  return content


def _select(categories: Mapping[str, list[str]], models: pd.Index, path: str) -> tuple[pd.Series, list[str]]:
  """The category of each model that both know, and notes on the others."""
  of_model = {model: category for category, names in categories.items() for model in names}
  absent = [model for model in of_model if model not in models]
  unnamed = [model for model in models if model not in of_model]
  notes = []
  if absent:
    notes.append(f"{_list(absent)} of the categories not in the table: left out.")
  if unnamed:
    notes.append(f"{_list(unnamed)} of the table in no category: left out.")
  kept = {model: category for model, category in of_model.items() if model in models}
  if not kept:
    raise BiasjaxError(f"--categories names none of the models of {path}: check that they belong together")
  return pd.Series(kept, dtype=object), notes


def _list(models: list[str]) -> str:
  shown = ", ".join(models[:3]) + (", ..." if len(models) > 3 else "")
  return f"{len(models)} model{'s' if len(models) > 1 else ''} ({shown})"


def _read_numbers(path: str, used: set[str], flag: str) -> tuple[pd.DataFrame, list[str]]:
  text = _read_text(path, flag)
  notes: list[str] = []
  lines = pd.Series(np.arange(2, len(text) + 2), index=text.index)  # the header is line 1
  text, lines = _drop_duplicates(text, lines, notes)
  columns = {}
  for name in text.columns.drop("model"):
    cells = text[name]
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    infinite = np.isinf(numbers)
    if name in used and not np.isfinite(numbers).all():
      wrong = numbers.isna() & ~cells.str.strip().str.lower().isin(ABSENT)
      for mask, what in ((wrong, "is no number"), (infinite, "is infinite")):
        if mask.any():
          first = mask.idxmax()
          more = f" (and {int(mask.sum()) - 1} more in this column)" if mask.sum() > 1 else ""
          where = f"Line {lines[first]} ({text['model'][first]}), column {name}"
          notes.append(f"{where}: {cells[first]!r} {what}{more}; treated as missing.")
    columns[name] = numbers.where(~infinite)
  frame = pd.DataFrame(columns).set_axis(pd.Index(text["model"], name="model"), axis=0)
  if not len(frame):
    raise BiasjaxError(f"{flag}: {path} has no models left: {' '.join(notes) or 'it has only a header'}")
  return frame, notes


def _read_text(path: str, flag: str) -> pd.DataFrame:
  """The cells as they are written."""
  try:
    with open(path, newline="", encoding="utf-8-sig") as file:
      header = next(csv.reader(file), [])
    text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
  except OSError as error:
    raise BiasjaxError(f"{flag}: cannot read {path}: {error.strerror}") from error
  except (ValueError, csv.Error) as error:  # pandas' parser errors and undecodable text
    reason = " ".join(str(error).split())
    raise BiasjaxError(f"{flag}: {path} is no table of comma-separated values: {reason}") from error
  if "model" not in header:
    raise BiasjaxError(f"{flag}: {path} has no column named model; it begins {', '.join(header[:4])}")
  repeated = sorted({name for name in header if header.count(name) > 1})
  if repeated:
    raise BiasjaxError(f"{flag}: {path} has two columns named {repeated[0]}: keep one of them")
  text["model"] = text["model"].str.strip()
  unnamed = np.flatnonzero(text["model"] == "")
  if len(unnamed):
    raise BiasjaxError(f"{flag}: line {unnamed[0] + 2} of {path} names no model")
  return text


def _drop_duplicates(
  text: pd.DataFrame, lines: pd.Series, notes: list[str]
) -> tuple[pd.DataFrame, pd.Series]:
  """One row a model: of equal rows the first, of rows that differ none, since which is right is unknown."""
  kept = ~text.duplicated()
  repeated = text.loc[kept, "model"][text.loc[kept, "model"].duplicated(keep=False)].unique()
  for model in text.loc[~kept, "model"].unique():
    notes.append(f"{model} is in the table more than once, with the same numbers: counted once.")
  for model in repeated:
    where = " and ".join(str(line) for line in lines[text["model"] == model])
    notes.append(f"{model} is on lines {where} with different numbers: left out, keep the right one.")
  keep = kept & ~text["model"].isin(repeated)
  return text[keep], lines[keep]


def _read_intervals(path: str, frame: pd.DataFrame) -> pd.DataFrame:
  """Intervals and counts of the metrics.csv beside the table, under the table's column names."""
  beside = pathlib.Path(path).parent / "metrics.csv"
  if not beside.is_file():
    return pd.DataFrame(columns=INTERVALS)
  try:
    metrics = pd.read_csv(beside)
    metrics = metrics[["model", "dataset", "metric", "low", "high", "n"]]
  except (ValueError, KeyError) as error:
    raise BiasjaxError(f"{beside} is not a metrics.csv ({error}): mend it, or move it away") from error
  long_name = metrics["metric"] + "@" + metrics["dataset"].astype(str)
  metrics["column"] = long_name.where(long_name.isin(frame.columns), metrics["metric"])
  metrics = metrics[metrics["column"].isin(frame.columns) & metrics["model"].isin(frame.index)]
  # Without the "@dataset" ones each (model, column) is one dataset's; a leftover would be another dataset's.
  return metrics.drop_duplicates(["model", "column"])[INTERVALS].reset_index(drop=True)


def standard_errors(table: Table, sizes: Mapping[str, int]) -> pd.DataFrame:
  """The sampling error of each number: from its interval, else binomial from the count, else NaN.

  Args:
    table: the table.
    sizes: {column: images}; such a column is an accuracy in per cent, or a share in [0, 1] where its name
      begins neither with top1_acc nor top5_acc.

  Returns:
    float, as `table.frame`, in each column's own units.
  """
  errors = pd.DataFrame(np.nan, index=table.frame.index, columns=table.frame.columns)
  for column, n in sizes.items():
    if column in errors.columns:
      scale = 100.0 if column.startswith(("top1_acc", "top5_acc")) else 1.0
      share = (table.frame[column] / scale).clip(0, 1)
      # Agresti and Coull's centre, so that 0 of n right is not taken for certain.
      share = (share * n + 2) / (n + 4)
      errors[column] = scale * np.sqrt(share * (1 - share) / (n + 4))
  if len(table.intervals):
    wide = table.intervals.assign(error=(table.intervals["high"] - table.intervals["low"]) / (2 * Z))
    wide = wide.pivot(index="model", columns="column", values="error")
    errors.update(wide)
  return errors
