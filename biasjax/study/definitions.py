"""What a study is about: biases, axes, groups of models, and other ways to define them.

Definitions are plain dictionaries (configs/study.py holds the paper's); this module checks them and computes
what they define.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError, suggestion
from biasjax.results.summary import INCOMPLETE

DRAWS = 10_000
DIGITS = 12  # that measures of several columns are kept with


@dataclasses.dataclass(frozen=True)
class Measure:
  """One number for each model, made of columns.

  Attributes:
    name: as in study.json.
    mean: columns (of the table, or derived ones) whose plain mean it is.
    times: a column that the mean is multiplied by; a ratio to clean accuracy becomes an accuracy again.
    chance: in per cent, with `times`: the ratio is of accuracies above chance.
    standardized: whether each column is z-scored over the models before the mean is taken; one that does
      not vary is 0 for all.
    label: as in sentences and figures.
    about: what it is, in a few words.
    human: the measure's value for people, drawn where figures show it.
  """

  name: str
  mean: tuple[str, ...]
  times: str | None = None
  chance: float | None = None
  standardized: bool = False
  label: str = ""
  about: str = ""
  human: float | None = None


@dataclasses.dataclass(frozen=True)
class Group:
  """Which models: those of the categories `only` (None: of all) but not of `without`."""

  name: str
  only: tuple[str, ...] | None = None
  without: tuple[str, ...] = ()

  def members(self, category: pd.Series) -> np.ndarray:
    """bool [models]: who belongs."""
    inside = np.ones(len(category), bool) if self.only is None else category.isin(self.only).to_numpy()
    return inside & ~category.isin(self.without).to_numpy()


@dataclasses.dataclass(frozen=True)
class Variation:
  """Another way to define some of it.

  Attributes:
    name: as in the rows "claim, holds or not".
    biases, axes: measures that replace those of the same name.
    move: (model, category) pairs: models that change category.
  """

  name: str
  biases: Mapping[str, Measure] = dataclasses.field(default_factory=dict)
  axes: Mapping[str, Measure] = dataclasses.field(default_factory=dict)
  move: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Series:
  """Models along a swept factor.

  Attributes:
    name: as in tables.
    pattern: a regular expression over model names; its group `x` is the factor's value, and models of one
      value count as seeds of one setting.
    factor: what x is, with its unit.
    extra: (model, x) pairs that belong too.
  """

  name: str
  pattern: str
  factor: str = "x"
  extra: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Sizes:
  """What the numbers of one source rest on, for their sampling error.

  Attributes:
    name: of the source.
    models: whose numbers are from it; of no others.
    columns: {column: images (or decisions)}.
  """

  name: str
  models: tuple[str, ...]
  columns: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Definitions:
  """A whole study.

  Attributes:
    columns: derived columns, usable wherever a column of the table is.
    biases, axes: what is held against what. The first axis stands for in-distribution accuracy.
    groups: the first holds all models.
    benchmarks: single columns that biases are also held against, beside those of the axes.
    variations: other definitions that each claim is tried with.
    series: swept factors.
    sizes: what numbers rest on, where no metrics.csv says it.
    checkpoints: a regular expression with groups `run` and `epoch` over model names; None: no forgetting.
    certificates: a folder that holds <model>/certificate.json of converted checkpoints; need not exist.
    draws: bootstrap resamples, and permutations.
  """

  columns: Mapping[str, Measure]
  biases: Mapping[str, Measure]
  axes: Mapping[str, Measure]
  groups: tuple[Group, ...]
  benchmarks: tuple[str, ...] = ()
  variations: tuple[Variation, ...] = ()
  series: tuple[Series, ...] = ()
  sizes: tuple[Sizes, ...] = ()
  checkpoints: str | None = None
  certificates: str | None = None
  draws: int = DRAWS

  @property
  def reference_axis(self) -> str:
    """The axis that stands for in-distribution accuracy."""
    return next(iter(self.axes))

  def used_columns(self) -> list[str]:
    """Every column of the table that some definition names."""
    measures = [*self.columns.values(), *self.biases.values(), *self.axes.values()]
    for variation in self.variations:
      measures += [*variation.biases.values(), *variation.axes.values()]
    names = [c for m in measures for c in (*m.mean, *([m.times] if m.times else []))]
    return [c for c in dict.fromkeys([*names, *self.benchmarks]) if c not in self.columns]


def parse(config: Mapping[str, Any]) -> Definitions:
  """Definitions from the `study` part of a config.

  Args:
    config: `biases` and `axes` (lists of {name, mean, ...}), and optionally the other attributes of
      `Definitions` in the same plain form.

  Raises:
    BiasjaxError: a key is unknown, or a value is not what it should be.
  """
  _check_keys("study", config, Definitions)
  draws = config.get("draws", DRAWS)
  if not isinstance(draws, int) or draws < 100:
    raise BiasjaxError(f"study.draws is {draws!r}: a whole number of at least 100 is needed")
  for name in ("biases", "axes"):
    if not config.get(name):
      raise BiasjaxError(f"the study's config defines no {name}: see configs/study.py")
  for name in ("benchmarks", "checkpoints", "certificates"):
    fine, expected = FORMS[name]
    if config.get(name) is not None and not fine(config[name]):
      raise BiasjaxError(f"study.{name} is {config[name]!r}: {expected} is needed")
  varied = config.get("variations") or ()
  _rows("study.variations", varied)
  variations = [
    {**v, **{k: _named(Measure, f"study.variations.{k}", v[k]) for k in ("biases", "axes") if k in v}}
    for v in varied
  ]
  biases, axes = (_named(Measure, f"study.{kind}", config[kind]) for kind in ("biases", "axes"))
  if taken := sorted({"model", "category"} & {*biases, *axes}):
    raise BiasjaxError(
      f"the study's config names a measure {taken[0]!r}, as tables/models.csv has a column: call it "
      "something else"
    )
  if both := sorted(set(biases) & set(axes)):
    raise BiasjaxError(
      f"the study's config has {both[0]!r} as a bias and as an axis: call one something else"
    )
  return Definitions(
    columns=_named(Measure, "study.columns", config.get("columns") or ()),
    biases=biases,
    axes=axes,
    groups=tuple(_named(Group, "study.groups", config.get("groups") or [{"name": "Total"}]).values()),
    benchmarks=tuple(config.get("benchmarks") or ()),
    variations=tuple(_named(Variation, "study.variations", variations).values()),
    series=tuple(_named(Series, "study.series", config.get("series") or ()).values()),
    sizes=tuple(_named(Sizes, "study.sizes", _with_counts(config.get("sizes") or ())).values()),
    checkpoints=config.get("checkpoints"),
    certificates=config.get("certificates"),
    draws=draws,
  )


def _named(kind: type, where: str, rows: Any) -> dict[str, Any]:
  """{name: kind} of a list of {"name": ..., ...}."""
  _rows(where, rows)
  names = [row["name"] for row in rows]
  repeated = sorted({name for name in names if names.count(name) > 1})
  if repeated:
    raise BiasjaxError(f"{where} names {repeated[0]!r} twice")
  return {row["name"]: _build(kind, f"{where}.{row['name']}", row) for row in rows}


def _rows(where: str, rows: Any) -> None:
  """Refuses what is no list of {"name": ..., ...}."""
  listed = isinstance(rows, (list, tuple)) and all(isinstance(row, Mapping) for row in rows)
  if not listed or not all(isinstance(row.get("name"), str) for row in rows):
    raise BiasjaxError(f"{where} should be a list of {{'name': ..., ...}}, names being text")


def _with_counts(rows: Any) -> Any:
  """`study.sizes` with the pairs [column, images] of each source as a mapping."""
  if isinstance(rows, (str, Mapping)):
    return rows  # which `_named` refuses
  found = []
  for row in rows:
    if isinstance(row, Mapping) and "columns" in row:
      pairs = row["columns"]
      listed = isinstance(pairs, (list, tuple)) and all(isinstance(p, (list, tuple)) for p in pairs)
      if not listed or not all(len(p) == 2 and isinstance(p[1], int) and p[1] > 0 for p in pairs):
        raise BiasjaxError(f"study.sizes.{row.get('name')}.columns should be a list of [column, images]")
      row = {**row, "columns": {str(column): images for column, images in pairs}}
    found.append(row)
  return found


def _build(kind: type, where: str, row: Mapping[str, Any]) -> Any:
  _check_keys(where, row, kind)
  values = dict(row)
  for key, value in row.items():
    fine, expected = FORMS.get(key, (lambda _: True, ""))
    if value is not None and not fine(value):
      raise BiasjaxError(f"{where}.{key} is {value!r}: {expected} is needed")
    if isinstance(value, (list, tuple)):
      values[key] = tuple(tuple(v) if isinstance(v, (list, tuple)) else v for v in value)
  needed = [
    f.name
    for f in dataclasses.fields(kind)
    if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
  ]
  for key in needed:
    if not values.get(key):
      raise BiasjaxError(f"{where} has no {key}")
  if values.get("chance") is not None and not values.get("times"):
    raise BiasjaxError(f"{where}.chance needs times, the column of clean accuracy")
  return kind(**values)


def _is_text(value: Any) -> bool:
  return isinstance(value, str)


def is_number(value: Any) -> bool:
  """Whether this is a finite number."""
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _list_of(*fine: Callable[[Any], bool]) -> Callable[[Any], bool]:
  """Whether a value is a list of what is `fine`; of several, of lists of as many, each fine in its place."""

  def one(value: Any) -> bool:
    if len(fine) == 1:
      return fine[0](value)
    parts = isinstance(value, (list, tuple)) and len(value) == len(fine)
    return parts and all(is_fine(part) for is_fine, part in zip(fine, value, strict=True))

  return lambda value: isinstance(value, (list, tuple)) and all(map(one, value))


# What the parts of definitions must be, in whichever of them they are.
FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
  **dict.fromkeys(
    ("name", "times", "label", "about", "pattern", "factor", "checkpoints", "certificates"),
    (_is_text, "a text"),
  ),
  **dict.fromkeys(("chance", "human"), (is_number, "a number")),
  "standardized": (lambda value: isinstance(value, bool), "True or False"),
  **dict.fromkeys(
    ("mean", "only", "without", "models", "benchmarks"), (_list_of(_is_text), "a list of names")
  ),
  "move": (_list_of(_is_text, _is_text), "a list of [model, category]"),
  "extra": (_list_of(_is_text, is_number), "a list of [model, number]"),
}


def _check_keys(where: str, row: Mapping[str, Any], kind: type) -> None:
  known = [f.name for f in dataclasses.fields(kind)]
  for key in row:
    if key not in known:
      raise BiasjaxError(f"{where}.{key} is unknown: {suggestion(key, known)}")


def compute(measures: Mapping[str, Measure], frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
  """What `measures` say of each model.

  Args:
    measures: name -> definition.
    frame: float, a row for each model, columns of the table and derived ones.

  Returns:
    A frame with a column for each measure whose columns are there; a model that misses one of them has NaN.
    And {measure: why it could not be computed}.
  """
  values, missing = {}, {}
  for name, measure in measures.items():
    needed = [*measure.mean, *([measure.times] if measure.times else [])]
    absent = [c for c in needed if c not in frame.columns]
    if absent:
      more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
      marked = (c for c in frame.columns if c.endswith(INCOMPLETE))
      part = [c for c in marked if c.partition("@")[0].removesuffix(INCOMPLETE) == absent[0]]
      only = f"; it has {part[0]}, which a copy of the configuration may name" if part else ""
      missing[name] = f"the table has no column {absent[0]}{more}{only}"
      continue
    parts = frame[list(measure.mean)]
    if measure.standardized:
      spread = parts.std()
      varies = spread > 10.0**-DIGITS * parts.abs().max()  # beyond what rounding does to equal numbers
      parts = (parts - parts.mean()) / spread.where(varies, np.inf)
    value = parts.mean(axis=1, skipna=False)
    if measure.times:
      clean, chance = frame[measure.times], measure.chance
      value = value * clean if chance is None else (value * clean - chance) / (clean - chance)
    # Numbers that are equal but for the order of a sum are equal: ranks would tell them apart.
    values[name] = value if len(needed) == 1 else value.map(lambda v: float(f"{v:.{DIGITS}g}"))
  return pd.DataFrame(values, index=frame.index), missing
