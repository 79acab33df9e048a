"""One's own networks among reference rows, in every figure that shows networks."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from biasjax.report.drawing import OWN
from biasjax.study.analysis import Study

COLOUR = OWN[0]
MOST_NAMED = 8  # beyond, names would cover each other


def points(study: Study, panel: Axes, x: str, y: str) -> None:
  """A ring, the name and both intervals, where a panel shows one measure over another."""
  measures = pd.concat([study.biases, study.axes], axis=1)
  for model in study.table.highlighted:
    at = float(measures.at[model, x]), float(measures.at[model, y])
    if not all(map(math.isfinite, at)):
      continue
    for name, other, along in ((x, at[1], True), (y, at[0], False)):
      low, high = study.intervals.of(model, name)
      if math.isfinite(low + high):
        line = ([low, high], [other] * 2) if along else ([other] * 2, [low, high])
        panel.plot(*line, color=COLOUR, linewidth=1, zorder=4)
    ring(study, panel, model, *at)


def ring(study: Study, panel: Axes, model: str, x: float, y: float) -> None:
  """A ring and the name at a point that is drawn already."""
  panel.scatter([x], [y], s=110, facecolors="none", edgecolors=COLOUR, linewidths=1.6, zorder=5)
  if len(study.table.highlighted) <= MOST_NAMED:
    offset = {"xytext": (6, 6), "textcoords": "offset points", "fontsize": 6.5, "color": COLOUR}
    panel.annotate(model, (x, y), **offset, zorder=6, parse_math=False)


def lines(study: Study, panel: Axes, x: np.ndarray, table: pd.DataFrame) -> None:
  """Thick, over the others; `table` float [models, len(x)]."""
  for model in study.table.highlighted:
    panel.plot(x, table.loc[model].to_numpy(), color=COLOUR, linewidth=2.2, zorder=5)


def handles(study: Study) -> list[Line2D]:
  """For the legend."""
  own = study.table.highlighted
  if not own:
    return []
  label = ", ".join(own) if len(own) <= 2 else f"{len(own)} of one's own"
  return [Line2D([], [], color=COLOUR, marker="o", markerfacecolor="none", markersize=7, label=label)]
