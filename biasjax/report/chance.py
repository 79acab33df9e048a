"""What guessing gives, as figures and tables of a study show it."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from biasjax.report.drawing import INK, PAPER
from biasjax.study import chance
from biasjax.study.analysis import Study, models
from biasjax.study.definitions import Measure

RESTS = "rests on an accuracy that cannot be told from chance"


def of_columns(study: Study, names: Sequence[str]) -> pd.DataFrame | None:
  """What guessing gives in these columns, float [models, columns], as far as metrics.csv says; else None."""
  known = study.table.intervals[study.table.intervals["column"].isin(names)].dropna(subset=["chance"])
  if not len(known):
    return None
  return known.pivot(index="model", columns="column", values="chance").reindex(study.table.frame.index)


def _measures(study: Study) -> dict[str, Measure]:
  return {**study.definitions.biases, **study.definitions.axes}


def of_measure(study: Study, name: str) -> float:
  """What guessing gives for a bias or an axis, of the median model; NaN where that is not known."""
  measure = _measures(study)[name]
  known = None if measure.standardized or measure.times else of_columns(study, measure.mean)
  if known is None or not set(measure.mean) <= set(known):
    return math.nan
  return float(known[list(measure.mean)].mean(axis=1, skipna=False).median())


def flagged(study: Study) -> pd.DataFrame:
  """bool [models, biases and axes]: whether a number rests on accuracies that are not above chance."""
  values = models(study).drop(columns="category")
  return chance.flagged(_measures(study), values, study.table, study.definitions.columns)


def line(panel: Axes, height: float, *, upright: bool = False) -> None:
  """A dashed line at what guessing gives, where that is known."""
  if math.isfinite(height):
    (panel.axvline if upright else panel.axhline)(height, color=INK, linewidth=0.9, linestyle="--", zorder=1)


class Known:
  """What guessing gives for some measures, and which numbers rest on it, looked up once.

  Attributes:
    guessing: {measure: what guessing gives; NaN where that is not known}.
    flagged: bool [models, measures].
    values: float [models, measures].
  """

  def __init__(self, study: Study, measures: Sequence[str]):
    self.guessing = {name: of_measure(study, name) for name in measures}
    self.flagged = flagged(study)[list(measures)]
    self.values = models(study)[list(measures)]

  def on_scatter(self, panel: Axes, x: str, y: str) -> None:
    """Lines at what guessing gives for either; a cross on each model whose number rests on it."""
    line(panel, self.guessing[x], upright=True)
    line(panel, self.guessing[y])
    values = self.values.loc[self.flagged[[x, y]].any(axis=1), [x, y]].dropna()
    if len(values):
      panel.plot(*values.to_numpy(float).T, "x", color=PAPER, markersize=3.5, zorder=4, label="at chance")

  def caption(self, measures: Sequence[str]) -> str:
    """What the lines and crosses of a scatter of these measures are."""
    said = ""
    if any(math.isfinite(self.guessing[name]) for name in measures):
      said += " Dashed: what guessing gives."
    if self.flagged[list(measures)].to_numpy().any():
      said += f" Crossed: {RESTS}."
    return said
