"""Models as points: a bias against an axis, with intervals, names and what is said of the relation."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from biasjax.report import chance, highlight, labels
from biasjax.report.drawing import DPI, INK, Drawing, colours, figure, quoted, words
from biasjax.study.analysis import Study, models
from biasjax.study.correlation import deciding
from biasjax.study.verdict import ESTABLISHED, RHO, edge, number

LARGER = " Larger: further along its series."
SMALLEST, LARGEST = 18, 90  # areas of points, square points
NAMED = 9  # models of a panel that are named at most
FONT = 5.6  # of these names, points
CHARACTERS, BESIDE = 125, 5  # of a legend's line; and what a mark and the gaps take
SKEWED = 8  # the ratio of largest to smallest from which on a scale is logarithmic
MARGIN = 0.07  # of a scale beyond the outermost points


def legend(study: Study, drawn: Figure, more: Sequence[Line2D] = ()) -> None:
  """The categories' colours and markers below a figure, and what else is to be told apart."""
  marks = colours(study.table.categories)
  handles = [
    Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=words(name))
    for name, (colour, marker) in marks.items()
  ]
  handles += [*highlight.handles(study), *more]
  columns = _columns([str(handle.get_label()) for handle in handles])
  drawn.legend(handles=handles, loc="outside lower center", ncols=columns)


def _columns(shown: Sequence[str]) -> int:
  """Of a legend that is no wider than a figure, filled column by column."""
  for columns in range(len(shown), 1, -1):
    wide = sum(max(map(len, column)) + BESIDE for column in np.array_split(list(shown), columns))
    if wide <= CHARACTERS:
      return columns
  return 1


def over(study: Study) -> str:
  """What intervals are over, as `correlation.deciding` decides."""
  several = len(study.table.categories) > 1
  return "over families (over models where all are of one)" if several else "over models"


def telling(study: Study) -> list[tuple[str, str]]:
  """For each axis the bias to show with it: the strongest of the established relations, else of all."""
  first = study.definitions.groups[0].name
  claims = study.tables["claims"]
  mine = claims[(claims["group"] == first) & claims["spearman"].notna()]
  mine = mine.assign(sure=mine["status"] == ESTABLISHED, strength=mine["spearman"].abs())
  mine = mine.sort_values(["sure", "strength"], ascending=False, kind="stable")
  best = mine.drop_duplicates("axis").set_index("axis")["bias"]
  return [(str(best[axis]), axis) for axis in study.axes if axis in best.index]


def overview(study: Study) -> Drawing | None:
  """One panel for each axis, with the bias that tells most about it."""
  pairs = telling(study)
  if not pairs:
    return None
  return _row(
    study,
    pairs,
    "overview",
    "The strongest relation with each kind of generalisation",
    f"A point is a model, with its 95 % intervals where they are known; {RHO} is Spearman's correlation with "
    f"its 95 % interval {over(study)}. Point at a model for its name.{LARGER if study.series else ''}",
    "Overview",
  )


def scatter(study: Study, bias: str) -> Drawing:
  """A bias against every axis."""
  return _row(
    study,
    [(bias, axis) for axis in study.axes],
    f"scatter_{quoted(bias)}",
    study.labels[bias],
    f"{study.labels[bias]} of each model against each axis, as above.",
    "Relations",
  )


def _row(
  study: Study, pairs: Sequence[tuple[str, str]], name: str, title: str, caption: str, section: str
) -> Drawing:
  drawn, points = figure(2.8), {}
  panels = drawn.subplots(1, max(len(pairs), 2), squeeze=False)[0]
  for panel in panels[len(pairs) :]:
    panel.set_visible(False)
  measures = list(dict.fromkeys(measure for pair in pairs for measure in pair))
  known, cells = chance.Known(study, measures), study.tables["correlations"]
  cells = cells[cells["group"] == study.definitions.groups[0].name].set_index(["bias", "axis"])
  tables = [_shown(study, bias, axis) for bias, axis in pairs]
  for at, (panel, (bias, axis), table) in enumerate(zip(panels, pairs, tables, strict=False)):
    points |= _panel(study, panel, bias, axis, table, known, f"points-{at}")
    _say(study, panel, bias, axis, cells.loc[(bias, axis)])
  legend(study, drawn)
  # Laid out before the names find their places: these depend on how large a panel is.
  drawn.set_dpi(DPI)
  if (engine := drawn.get_layout_engine()) is not None:
    engine.execute(drawn)
    drawn.set_layout_engine("none")
  for panel, table in zip(panels, tables, strict=False):
    name_points(panel, table[~table.index.isin(study.table.highlighted)])  # these have names already
  caption += known.caption(measures)
  data = models(study)[["category", *measures]].reset_index()
  for measure in measures:
    for end, values in (("low", study.intervals.low), ("high", study.intervals.high)):
      data[f"{measure} {end}"] = values[measure].to_numpy()
  return Drawing(name, title, caption, drawn, data, section, points)


def _sizes(study: Study) -> pd.Series:
  """The area of each model's point: larger along its series (adversarial eps, epochs)."""
  areas = pd.Series(30.0, index=study.biases.index)
  for factors in study.series.values():
    values = sorted(set(factors.values()))
    for model, x in factors.items():
      areas[model] = SMALLEST + (LARGEST - SMALLEST) * values.index(x) / (len(values) - 1)
  return areas


def _shown(study: Study, bias: str, axis: str) -> pd.DataFrame:
  """x, y and the ends of their intervals, of the models that have both numbers."""
  values, low, high = models(study), study.intervals.low, study.intervals.high
  table = pd.DataFrame(
    {"x": values[bias], "y": values[axis]}
    | {
      f"{of}_{end}": ends[name]
      for of, name in (("x", bias), ("y", axis))
      for end, ends in (("low", low), ("high", high))
    }
  ).astype(float)
  return table[table["x"].notna() & table["y"].notna()]


def _panel(
  study: Study, panel: Axes, bias: str, axis: str, table: pd.DataFrame, known: chance.Known, prefix: str
) -> dict[str, list[str]]:
  areas, category = _sizes(study)[table.index].to_numpy(), study.table.category[table.index].to_numpy()
  x, y = table["x"].to_numpy(), table["y"].to_numpy()
  marks, points = colours(study.table.categories), {}
  lines = [
    (end, marks[of][0]) for end, of in zip(_intervals(table), [*category, *category], strict=True) if end
  ]
  if lines:
    ends, shades = zip(*lines, strict=True)
    bars = LineCollection(ends, colors=shades, linewidths=0.6, alpha=0.55, zorder=1)
    panel.add_collection(bars, autolim=False)
  for i, (name, (colour, marker)) in enumerate(marks.items()):
    mine = category == name
    if not mine.any():
      continue
    gid = f"{prefix}-{i}"  # not of names: those of two categories may differ in a blank
    style = {"c": colour, "marker": marker, "alpha": 0.85, "edgecolors": "none", "clip_on": False}
    panel.scatter(x[mine], y[mine], s=areas[mine], **style, gid=gid, zorder=3)
    points[gid] = [
      f"{m}: {a:.3g}, {b:.3g}" for m, a, b in zip(table.index[mine], x[mine], y[mine], strict=True)
    ]
  _limits(panel, table, {"x": known.guessing[bias], "y": known.guessing[axis]})
  known.on_scatter(panel, bias, axis)
  highlight.points(study, panel, bias, axis)
  return points


def _say(study: Study, panel: Axes, bias: str, axis: str, cell: pd.Series) -> None:
  """The correlation, and what the scales are of."""
  low, high = deciding(cell)
  panel.set_title(f"{RHO} = {number(cell['spearman'])}  [{edge(low)}, {edge(high)}]")
  panel.set_xlabel(study.labels[bias])
  panel.set_ylabel(textwrap.fill(study.labels[axis], 28))


def _intervals(table: pd.DataFrame) -> list[list[tuple[float, float]] | None]:
  """The lines of all intervals along x, then along y; None where one is not known."""
  x, y = table["x"].tolist(), table["y"].tolist()
  found = {of: zip(table[f"{of}_low"].tolist(), table[f"{of}_high"].tolist(), strict=True) for of in "xy"}
  along = [[(min(low, a), b), (max(high, a), b)] for a, b, (low, high) in zip(x, y, found["x"], strict=True)]
  along += [[(a, min(low, b)), (a, max(high, b))] for a, b, (low, high) in zip(x, y, found["y"], strict=True)]
  return [line if math.isfinite(sum(map(sum, line))) else None for line in along]


def _limits(panel: Axes, table: pd.DataFrame, guessing: Mapping[str, float]) -> None:
  """Scales that hold every point, its intervals and guessing; a logarithmic one for what is skewed."""
  if not len(table):
    return
  for of, axis, setter in (("x", panel.xaxis, panel.set_xlim), ("y", panel.yaxis, panel.set_ylim)):
    ends = np.append(table[[of, f"{of}_low", f"{of}_high"]].to_numpy(), guessing[of])
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    values = table[of]
    if of == "x" and values.min() > 0 and values.max() / values.min() > SKEWED:
      panel.set_xscale("log")
      axis.set_major_locator(LogLocator(subs=(1, 3)))
      axis.set_major_formatter(lambda value, _: f"{value:g}")
      axis.set_minor_locator(NullLocator())
      low = max(low, float(values.min()) / 2)
      beyond = (high / low) ** MARGIN
      setter(low / beyond, high * beyond)
    else:
      beyond = MARGIN * ((high - low) or 1.0)
      setter(low - beyond, high + beyond)


def name_points(panel: Axes, table: pd.DataFrame) -> None:
  """Names of points x, y of a laid-out panel that have room for one: what the index calls them."""
  drawn = panel.get_figure()
  assert drawn is not None
  box, inch = panel.get_window_extent(), 72 / drawn.dpi
  places = panel.transData.transform(table[["x", "y"]].to_numpy(float)) - [box.x0, box.y0]
  names = [labels.shortened(str(model)) for model in table.index]
  size = (box.width * inch, box.height * inch)
  for i, left, bottom in labels.place(places * inch, names, size, FONT, NAMED):
    style = {"fontsize": FONT, "color": INK, "va": "bottom", "parse_math": False}
    panel.text(left / size[0], bottom / size[1], names[i], transform=panel.transAxes, **style)
