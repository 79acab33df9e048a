"""Sampling error: how far each number may be from what more images would give.

There is one interval for each number, and a standard error is taken from it. A mean of columns has the
interval that follows from theirs (Zou & Donner 2008, "MOVER") and from how far they move together, since
networks are asked about the same images again and again: from stored decisions where there are some, else as
`results.across` takes it. Such an interval never leaves the range that those of the columns keep to.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.results import across
from biasjax.statistics import Z
from biasjax.study.definitions import Measure, Sizes
from biasjax.study.stored import Observations
from biasjax.study.table import ACCURACIES, Table

# Decisions that are read for one measure, of all models together; beyond, columns count as moving together.
MOST_DECISIONS = 10_000_000
# Two sets of images with fewer in common have other names for the same ones, or are not the same.
SHARED = 0.5
COLUMN, STORED, RULE = "its column", "stored decisions", "the same images move together"


@dataclasses.dataclass(frozen=True)
class Intervals:
  """95 % intervals of a table's columns, or of measures.

  Attributes:
    low, high: float [models, names]; NaN where not known.
    n: float [models, columns], the examples or decisions behind a column; empty for measures.
    origin: {measure: where its intervals are from}; empty for columns.
  """

  low: pd.DataFrame
  high: pd.DataFrame
  n: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
  origin: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def errors(self) -> pd.DataFrame:
    """Standard errors, float [models, names], in the units of the numbers."""
    return (self.high - self.low) / (2 * Z)

  def of(self, model: str, name: str) -> tuple[float, float]:
    """(low, high); NaN where not known."""
    return float(self.low.at[model, name]), float(self.high.at[model, name])


def columns(table: Table, sizes: Sequence[Sizes]) -> Intervals:
  """The interval of each number of a table: of its metrics.csv, else Wilson's for the size of its source.

  A size counts for the models that it names, and for none that metrics.csv knows: what a network of another
  source rests on nobody can tell. Such a number has no interval.

  Args:
    table: the table.
    sizes: images (or decisions) behind columns.
  """
  frame = table.frame
  low, high, n = (pd.DataFrame(np.nan, index=frame.index, columns=frame.columns) for _ in range(3))
  measured = set(table.intervals["model"])
  for source in sizes:
    called = {model: table.known_as.get(model, model) for model in frame.index}
    models = [model for model in frame.index if called[model] in source.models and model not in measured]
    for column, count in source.columns.items():
      if column in frame.columns and models:
        edges = _wilson(column, frame.loc[models, column].to_numpy(), count)
        low.loc[models, column], high.loc[models, column] = edges
        n.loc[models, column] = count
  if len(table.intervals):
    for name, into in (("low", low), ("high", high), ("n", n)):
      into.update(table.intervals.pivot(index="model", columns="column", values=name))
  return Intervals(low, high, n)


def _wilson(column: str, values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
  """Wilson's interval of shares that n decisions gave, in the units of `column`."""
  scale = 100.0 if column.startswith(ACCURACIES) else 1.0
  share = np.clip(values / scale, 0, 1)
  centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
  half = Z * np.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2) / (1 + Z**2 / n)
  # At 0 and 1 by hand: rounding would leave the number outside its interval.
  low, high = np.where(share > 0, centre - half, 0), np.where(share < 1, centre + half, 1)
  return scale * np.maximum(low, 0), scale * np.minimum(high, 1)


def measures(
  asked: Mapping[str, Measure],
  values: pd.DataFrame,
  table: Table,
  known: Intervals,
  observed: Observations | None = None,
) -> tuple[Intervals, list[str]]:
  """The interval of each measure.

  Args:
    asked: the measures; others than plain means of columns have none.
    values: float [models, measures].
    table: whose columns they are made of, derived ones included.
    known: the intervals of these.
    observed: stored decisions.

  Returns:
    The intervals; and notes on what was not read.
  """
  low, high, origin, notes = {}, {}, {}, []
  for name, measure in asked.items():
    parts = list(measure.mean)
    low[name] = high[name] = pd.Series(np.nan, index=values.index)
    origin[name] = ""
    if measure.times or measure.standardized or not set(parts) <= set(known.low.columns):
      continue
    measured = pd.Series(len(parts) == 1, index=values.index) | _measured(name, values[name], table)
    if measured.any():
      column = parts[0] if len(parts) == 1 else name
      low[name], high[name], origin[name] = known.low[column], known.high[column], COLUMN
    if measured.all() or (measured.any() and not table.beside):
      continue
    together, rule, note = _together(parts, table, observed)
    origin[name] = origin[name] or rule
    notes += [f"{name}: {note}"] if note else []
    down, up = (edge[parts] - table.frame[parts] for edge in (known.low, known.high))
    low[name] = low[name].where(measured, values[name] - across.combined(down.to_numpy(), together))
    high[name] = high[name].where(measured, values[name] + across.combined(up.to_numpy(), together))
  lows, highs = (pd.DataFrame(edges, index=values.index) for edges in (low, high))
  return Intervals(lows, highs, origin=origin), notes


def _measured(name: str, values: pd.Series, table: Table) -> pd.Series:
  """bool [models]: whether the run has measured a bias as a number of its own, by image: LPP and HPP."""
  mine = table.intervals[(table.intervals["column"] == name) & (table.intervals["dataset"] != across.NAME)]
  none = pd.Series(False, index=values.index)
  if not len(mine) or name not in table.frame:
    return none
  same = np.isclose(table.frame[name], values, rtol=1e-9, atol=0, equal_nan=True)
  return none | (same & values.index.isin(mine["model"])) if table.beside else none | bool(same.all())


def _together(
  parts: Sequence[str], table: Table, observed: Observations | None
) -> tuple[np.ndarray, str, str]:
  """How far the errors of columns move together, float [models or 1, k, k]; where that is from; a note."""
  alike = across.alike(parts)
  sharing = (alike.sum(axis=0) > 1).tolist()  # what is of images of its own need not be read
  wanted = [part for part, shared in zip(parts, sharing, strict=True) if shared]
  if observed is None or not wanted:
    return alike[None], RULE, ""
  places = table.intervals.set_index(["model", "column"])[["dataset", "probe"]]
  units = dict(zip(places.index, zip(places["dataset"], places["probe"], strict=True), strict=True))
  asked = {(m, part): units.get((m, part)) for m in table.frame.index for part in wanted}
  count = sum(observed.images(m, unit[0], unit[1]) for (m, _), unit in asked.items() if unit)
  if count > MOST_DECISIONS:
    note = f"its interval takes benchmarks of the same images as moving together: {count:,} decisions of them"
    return alike[None], RULE, f"{note} were not read."
  together = np.repeat(alike[None], len(table.frame), axis=0)
  found = False
  try:
    for i, model in enumerate(table.frame.index):
      influences = {}
      for place, part in enumerate(parts):
        unit = asked.get((model, part))
        if unit:
          right = observed.accuracy(model, unit[0], unit[1], part)
          influence = _influence(right, part, table.frame.at[model, part])
          influences |= {} if influence is None else {place: influence}
      found |= len(influences) > 1
      correlate(together[i], influences)
  except BiasjaxError as error:
    return alike[None], RULE, f"{error}; its interval takes benchmarks of the same images as moving together."
  return together, STORED if found else RULE, ""


def _influence(right: pd.Series | None, column: str, value: float) -> pd.Series | None:
  """What each image adds to the error of an accuracy; None where the decisions are not what it is made of."""
  if right is None or not len(right):
    return None
  share = float(right.mean())
  scale = 100.0 if column.startswith(ACCURACIES) else 1.0
  return right - share if np.isclose(scale * share, value, rtol=1e-6, atol=1e-9) else None


def correlate(together: np.ndarray, influences: Mapping[int, pd.Series]) -> None:
  """Puts the correlations of columns whose images are known into `together`.

  Args:
    together: float [k, k], of `across.alike`; changed.
    influences: {place: what each image adds to the error of the column there, by example id}.
  """
  for (i, a), (j, b) in itertools.combinations(influences.items(), 2):
    if not together[i, j]:
      continue
    if a.index.equals(b.index):
      x, y = a.to_numpy(), b.to_numpy()
    else:
      both = a.index.intersection(b.index)
      x, y = a.loc[both].to_numpy(), b.loc[both].to_numpy()
    lengths = float(a.to_numpy() @ a.to_numpy()) * float(b.to_numpy() @ b.to_numpy())
    if len(x) >= SHARED * min(len(a), len(b)) and lengths > 0:
      together[i, j] = together[j, i] = float(x @ y) / math.sqrt(lengths)
