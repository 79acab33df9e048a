"""Reads the tables that a study starts from, and says what is wrong with them.

What cannot be used is left out and noted; only what makes every number doubtful is an error.
"""

import csv
import dataclasses
import json
import pathlib
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError, not_cut_at_commas

ABSENT = ("", "na", "nan", "n/a", "null", "none", "-")
ACCURACIES = ("top1_acc", "top5_acc")  # what columns in per cent begin with
SHARES = ("shape-bias",)  # what those in shares of 1 do, that can be nothing else
ROUNDING = 1e-6  # beyond 0 and 100, or 1
UNCATEGORISED = "all"
NO_CATEGORIES = "No categories were given (--categories): near-duplicates are not told from other models."


@dataclasses.dataclass(frozen=True)
class Table:
  """Models and their numbers.

  Attributes:
    frame: float [models, columns], indexed by model; NaN where a number is missing.
    category: each model's category, in the order of `frame`; `UNCATEGORISED` where none were given.
    notes: what was left out, and why; one sentence each.
    intervals: columns `INTERVALS`, what the metrics.csv beside the table says of its numbers; empty without
      one. chance is what guessing gives, where it says so, and flag what a number should not be read without.
    beside: {model: file} of reference rows (`references.read`).
    known_as: {model: what its file calls it}, of reference rows.
    same: {model that was left out: the one that it is}, of networks with more than one name (`same.once`).
  """

  frame: pd.DataFrame
  category: pd.Series
  notes: tuple[str, ...] = ()
  intervals: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=INTERVALS))
  beside: Mapping[str, str] = dataclasses.field(default_factory=dict)
  known_as: Mapping[str, str] = dataclasses.field(default_factory=dict)
  same: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def highlighted(self) -> list[str]:
    """One's own models, where there are reference rows that they stand among."""
    return [model for model in self.frame.index if model not in self.beside] if self.beside else []

  @property
  def categories(self) -> list[str]:
    """The categories that have models, in their order."""
    return list(dict.fromkeys(self.category))


INTERVALS = ["model", "column", "low", "high", "n", "dataset", "probe", "chance", "flag"]


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
    notes.append(NO_CATEGORIES)
  else:
    category, more = _select(read_categories(categories), frame.index, path)
    notes += more
    frame = frame.loc[category.index]
  intervals, more = _read_intervals(path, frame)
  return Table(frame, category, (*notes, *more), intervals)


def read_categories(path: str) -> dict[str, list[str]]:
  """{category: [models]} from JSON.

  Raises:
    BiasjaxError: it cannot be read, is no such thing, a model is in two categories, or one there twice.
  """
  try:
    text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    content = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
  except OSError as error:
    raise BiasjaxError(f"--categories: cannot read {path}: {error.strerror}") from error
  except ValueError as error:
    raise BiasjaxError(f"--categories: {path} is no JSON: {error}") from error
  fine = isinstance(content, dict) and all(
    isinstance(models, list) and all(isinstance(m, (str, int)) for m in models) for models in content.values()
  )
  if not fine:
    raise BiasjaxError(f'--categories: {path} should hold {{"category": ["model", ...], ...}}')
  content = {category: [str(model).strip() for model in models] for category, models in content.items()}
  seen: dict[str, str] = {}
  for category, models in content.items():
    for model in models:
      if seen.setdefault(model, category) != category:
        raise BiasjaxError(
          f"--categories: {path} has {model} in both {seen[model]} and {category}: keep one of them"
        )
  return content


def _once(path: str, pairs: list[tuple[str, object]]) -> dict[str, object]:
  """A JSON object; of a name that is there twice Python would take the last, and say nothing."""
  names = [name for name, _ in pairs]
  for name in names:
    if names.count(name) > 1:
      raise BiasjaxError(f"--categories: {path} has {name!r} twice: make one list of them")
  return dict(pairs)


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
  lines = pd.Series(text.index, index=text.index)
  text, lines = _drop_duplicates(text, lines, notes)
  frame = _numbers(text.drop(columns="model"))
  for name in (name for name in frame.columns if name in used):
    cells, numbers = text[name], frame[name]
    infinite = np.isinf(numbers)
    # Of a point that was lost, 7613 for 76.13 say.
    most = 100 if name.startswith(ACCURACIES) else 1 if name.startswith(SHARES) else np.inf
    beyond = ~numbers.between(-ROUNDING, most + ROUNDING) & np.isfinite(numbers) & np.isfinite(most)
    if not np.isfinite(numbers).all() or beyond.any():
      wrong = numbers.isna() & ~cells.str.strip().str.lower().isin(ABSENT)
      for mask, what in (
        (wrong, "is no number"),
        (infinite, "is infinite"),
        (beyond, "is no accuracy in per cent" if most == 100 else "is no share, 0 to 1"),
      ):
        if mask.any():
          first = mask.idxmax()
          more = f" (and {int(mask.sum()) - 1} more in this column)" if mask.sum() > 1 else ""
          where = f"Line {lines[first]} ({text['model'][first]}), column {name}"
          notes.append(f"{where}: {cells[first]!r} {what}{more}; treated as missing.")
      frame[name] = numbers.mask(beyond)
  frame = frame.where(~np.isinf(frame)).set_axis(pd.Index(text["model"], name="model"), axis=0)
  if not len(frame):
    raise BiasjaxError(f"{flag}: {path} has no models left: {' '.join(notes) or 'it has only a header'}")
  return frame, notes


def _read_text(path: str, flag: str) -> pd.DataFrame:
  """The cells as they are written; the index is the line of each row, the header being line 1."""
  try:
    with open(path, newline="", encoding="utf-8-sig") as file:
      reader = csv.reader(file)
      header = next(reader, [])
      if parted := not_cut_at_commas(header):  # before pandas finds that decimal commas make longer rows
        raise BiasjaxError(f"{flag}: {path}: {parted}")
      longer, last, lines = None, header, []
      for row in reader:
        if row and (len(row) > 1 or not row[0].isspace()):  # pandas leaves out the blank ones, too
          lines.append(reader.line_num)
        longer = longer or (reader.line_num if any(row[len(header) :]) else None)
        last = row
      ended = reader.line_num
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", pd.errors.ParserWarning)  # that rows are longer, by commas alone
      text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
  except OSError as error:
    raise BiasjaxError(f"{flag}: cannot read {path}: {error.strerror}") from error
  except UnicodeDecodeError as error:
    raise BiasjaxError(f"{flag}: {path} is no text in UTF-8 ({error.reason}): save it as such") from error
  except (ValueError, csv.Error) as error:  # pandas' parser errors
    empty = not pathlib.Path(path).read_bytes().strip()
    reason = "it is empty" if empty else " ".join(str(error).split())
    raise BiasjaxError(f"{flag}: {path} is no table of comma-separated values: {reason}") from error
  if longer:  # what is cut off may be the decimals of a number
    raise BiasjaxError(
      f"{flag}: line {longer} of {path} is longer than the header: put quotes around a field with a comma, "
      "and a point into a number"
    )
  # Some programs leave out the commas at the end of a row, but none its end.
  if len(last) < len(header) and pathlib.Path(path).read_bytes()[-1:] not in (b"\n", b"\r"):
    raise BiasjaxError(
      f"{flag}: {path} ends within line {ended}, after {len(last)} of {len(header)} fields: it was cut "
      "short, get it again"
    )
  header = [name.strip() for name in header]
  if "model" not in header:
    raise BiasjaxError(f"{flag}: {path} has no column named model; it begins {', '.join(header[:4])}")
  if {"metric", "value"} <= set(header):
    raise BiasjaxError(
      f"{flag}: {path} has a row for each number, as metrics.csv: name the results.csv beside it, with a row "
      "for each model"
    )
  repeated = sorted({name for name in header if name and header.count(name) > 1})  # nameless ones are unused
  if repeated:
    raise BiasjaxError(f"{flag}: {path} has two columns named {repeated[0]}: keep one of them")
  text.index = pd.Index(lines)
  text.columns = [name or unnamed for name, unnamed in zip(header, text.columns, strict=True)]
  text["model"] = text["model"].str.strip()
  unnamed = text.index[text["model"] == ""]
  if len(unnamed):
    raise BiasjaxError(f"{flag}: line {unnamed[0]} of {path} names no model")
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


def _read_intervals(path: str, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
  """What the metrics.csv beside the table says of its numbers, under the table's names; and notes."""
  beside = pathlib.Path(path).parent / "metrics.csv"
  if not beside.is_file():
    return pd.DataFrame(columns=INTERVALS), []
  try:
    # Names are text, also where they look like numbers or like nothing.
    text = pd.read_csv(beside, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    metrics = text[["model", "dataset", "metric"]].apply(lambda names: names.str.strip())
    metrics = metrics.assign(**{name: text.get(name, "") for name in ("probe", "flag")})
    for name in ("low", "high", "n"):
      metrics[name] = _number(text[name])
    for name in ("value", "chance"):
      metrics[name] = _number(text[name]) if name in text else np.nan
  except (OSError, ValueError, KeyError) as error:
    reason = " ".join(str(error).split())
    raise BiasjaxError(f"{beside} is not a metrics.csv ({reason}): mend it, or move it away") from error
  long_name = metrics["metric"] + "@" + metrics["dataset"]
  metrics["column"] = long_name.where(long_name.isin(frame.columns), metrics["metric"])
  known = set(metrics["model"])
  unknown = [model for model in frame.index if model not in known]
  notes = []
  if len(unknown) == len(frame):
    first = next(iter(known), "nothing")
    notes.append(f"{beside} knows none of the models ({first} is its first): no interval is taken from it.")
  elif unknown:
    notes.append(f"{_list(unknown)} not in {beside}: no interval is taken from it for them.")
  metrics = metrics[metrics["column"].isin(frame.columns) & metrics["model"].isin(frame.index)]
  # Without the "@dataset" ones each (model, column) is one dataset's; a leftover would be another dataset's.
  metrics = metrics.drop_duplicates(["model", "column"])
  other = _another_number(metrics, frame)
  if other.any():
    row, more = metrics[other].iloc[0], int(other.sum()) - 1
    also = f" (and {more} more)" if more else ""
    notes.append(
      f"{row['column']} of {row['model']} is another number than in {beside}{also}: no interval is taken "
      "from it."
    )
  return metrics.loc[~other, INTERVALS].reset_index(drop=True), notes


def _number(text: pd.Series) -> pd.Series:
  return pd.to_numeric(text, errors="coerce").astype(float)


def _numbers(text: pd.DataFrame) -> pd.DataFrame:
  """`_number` of every cell, all at once: a column at a time takes five times as long."""
  flat = _number(pd.Series(text.to_numpy(object).ravel()))
  return pd.DataFrame(flat.to_numpy().reshape(text.shape), text.index, text.columns)


def _another_number(metrics: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
  """bool [metrics]: whether the table has another number than the metric, or none."""
  rows, columns = frame.index.get_indexer(metrics["model"]), frame.columns.get_indexer(metrics["column"])
  ours, theirs = frame.to_numpy()[rows, columns], metrics["value"].to_numpy()
  same = np.isclose(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True)
  return pd.Series(~same & ~np.isnan(theirs), index=metrics.index)
