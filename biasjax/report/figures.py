"""The figures of a study, each from its tables: relations, checks, predictions."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from biasjax.report.drawing import (
  BLUE,
  DIVERGING,
  GRID,
  INK,
  ON_IMAGE,
  ORANGE,
  PAPER,
  QUIET,
  RED,
  Drawing,
  figure,
  quoted,
  words,
)
from biasjax.report.scatters import over
from biasjax.statistics import Z
from biasjax.study.analysis import Study
from biasjax.study.correlation import deciding
from biasjax.study.significance import ALPHA
from biasjax.study.verdict import RHO, edge, number


def correlation_matrix(study: Study) -> Drawing:
  """Biases by axes, a panel for each group, with intervals and n."""
  cells = study.tables["correlations"]
  groups = [g for g in study.groups if cells.loc[cells["group"] == g, "spearman"].notna().any()]
  groups = groups or list(study.groups)[:1]
  drawn = _matrices(study, cells, list(study.axes), groups)
  return Drawing(
    "correlation_matrix",
    "Every bias against every axis, by group",
    f"Spearman's {RHO} with its 95 % interval {over(study)}. Without colour: permutation p of .05 or more. "
    "Bold: p < .05 also after Holm's correction, which keeps the chance of any false finding among all cells "
    "at 5 %. The published figure prints 0 where Student's p is .05 or more.",
    drawn,
    cells[MATRIX],
    "Relations",
  )


def bias_matrix(study: Study) -> Drawing | None:
  """Biases by biases, over all models."""
  if study.biases.shape[1] < 2:
    return None
  cells = study.tables["bias_by_bias"]
  drawn = _matrices(study, cells, list(study.biases), [study.definitions.groups[0].name])
  return Drawing(
    "bias_by_bias",
    "Every bias against every other",
    f"Spearman's {RHO} with its 95 % interval, as above: which biases go together.",
    drawn,
    cells[MATRIX],
    "Relations",
  )


MATRIX = ["bias", "axis", "group", "n", "spearman", "low", "high", "family_low", "family_high"]
MATRIX += ["p", "p_permutation", "p_holm"]


def _matrices(study: Study, cells: pd.DataFrame, columns: list[str], groups: list[str]) -> Figure:
  rows = list(study.biases)
  drawn = figure(0.9 + 0.42 * len(rows))
  panels = drawn.subplots(1, len(groups), sharey=True, squeeze=False)[0]
  found = cells.set_index(["bias", "axis", "group"])
  small = 5.4 if len(columns) * len(groups) > 8 else 7.0
  image = None
  for panel, group in zip(panels, groups, strict=True):
    values = np.full((len(rows), len(columns)), np.nan)
    for i, bias in enumerate(rows):
      for j, axis in enumerate(columns):
        if (bias, axis, group) not in found.index:
          continue
        cell = found.loc[(bias, axis, group)]
        if math.isfinite(cell["spearman"]):
          values[i, j] = cell["spearman"] if cell["p_permutation"] < ALPHA else np.nan
          _matrix_cell(panel, i, j, cell, small)
    image = panel.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    n = int(found.xs(group, level="group")["n"].max())
    panel.set_title(f"{group} (n = {n})")
    panel.set_xticks(range(len(columns)), [_broken(study.labels[c]) for c in columns], fontsize=small + 0.6)
    panel.set_yticks(range(len(rows)), [study.labels[r] for r in rows])
    panel.tick_params(length=0)
    panel.grid(False)
    panel.spines[:].set_visible(False)
  assert image is not None  # there is at least one panel
  drawn.colorbar(image, ax=panels.tolist(), label=f"Spearman's {RHO}", shrink=0.9, pad=0.01, aspect=30)
  return drawn


def on_colour(spearman: float) -> str:
  """The ink that is read best on a correlation's colour: never below 4.5:1, since black or white never is."""
  red, green, blue, _ = mpl.colormaps[DIVERGING]((spearman + 1) / 2)
  linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
  luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
  white, black = ON_IMAGE
  return white if luminance < 0.179 else black


def _matrix_cell(panel, i: int, j: int, cell: pd.Series, small: float) -> None:
  colour = on_colour(cell["spearman"]) if cell["p_permutation"] < ALPHA else QUIET
  weight = "bold" if cell["p_holm"] < ALPHA else "normal"
  size = small + 1.6
  text = number(cell["spearman"])
  panel.text(j, i - 0.14, text, ha="center", va="center", color=colour, weight=weight, fontsize=size)
  low, high = deciding(cell)
  if math.isfinite(low):
    text = f"[{edge(low)}, {edge(high)}]"
    panel.text(j, i + 0.26, text, ha="center", va="center", color=colour, fontsize=small)


def _broken(label: str) -> str:
  """A label over several lines."""
  return label.replace(" ", "\n").replace("-distribution", "-\ndistribution")


def _approximate(r: float, n: int) -> tuple[float, float]:
  """Bonett and Wright's interval (2000) of a Spearman correlation, where no bootstrap was drawn."""
  if n < 5 or not math.isfinite(r) or abs(r) >= 1:
    return math.nan, math.nan
  half = Z * math.sqrt((1 + r**2 / 2) / (n - 3))
  return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def forest_rows(study: Study, bias: str, axis: str) -> pd.DataFrame:
  """Every way in which one claim was computed: `kind, label, n, spearman, low, high, p, verdict`."""
  rows = []
  first = study.definitions.groups[0].name

  def mine(table: pd.DataFrame) -> list[dict]:
    return table[(table["bias"] == bias) & (table["axis"] == axis)].to_dict("records")

  for row in mine(study.tables["correlations"]):
    rows.append(("groups", row["group"], *_of_cell(row), ""))
  for row in mine(study.tables["categories"]):
    if row["n"] >= 5:
      label = f"only {words(row['category'])}"
      rows.append(("categories", label, *_of_cell(row), ""))
  checks = study.tables["checks"]
  for row in mine(
    checks[(checks["group"] == first) & checks["kind"].isin(["family", "accuracy", "definition"])]
  ):
    kind = "definitions" if row["kind"] == "definition" else "other models"
    interval = _approximate(row["checked"], row["n"])
    label = words(row["check"])
    rows.append((kind, label, row["n"], row["checked"], *interval, row["checked_p"], row["verdict"]))
  columns = ["kind", "label", "n", "spearman", "low", "high", "p", "verdict"]
  return pd.DataFrame(rows, columns=columns).sort_values("kind", key=lambda k: k.map(KINDS), kind="stable")


def _of_cell(row: Mapping) -> tuple:
  return row["n"], row["spearman"], *deciding(row), row["p_permutation"]


KINDS = {"groups": 0, "categories": 1, "other models": 2, "definitions": 3}


def forest(study: Study, bias: str) -> Drawing:
  """A bias: its claims in groups and categories, without each category, and under other definitions."""
  tables = {axis: forest_rows(study, bias, axis) for axis in study.axes}
  both = pd.concat(tables.values()).sort_values("kind", key=lambda k: k.map(KINDS), kind="stable")
  labels = list(dict.fromkeys(both["label"]))
  drawn = figure(1.1 + 0.17 * len(labels))
  panels = drawn.subplots(1, len(tables), sharey=True, squeeze=False)[0]
  for panel, (axis, rows) in zip(panels, tables.items(), strict=True):
    pooled = rows["spearman"].iloc[0]
    panel.axvline(0, color=INK, linewidth=0.8)
    if math.isfinite(pooled):
      panel.axvline(pooled, color=BLUE, linewidth=0.8, linestyle=":")
    rows = rows[np.isfinite(rows["spearman"].to_numpy(float))]
    y = -np.array([labels.index(label) for label in rows["label"]], float)
    shades = rows["verdict"].map(SHADES).fillna(INK).to_numpy()
    panel.hlines(y, rows["low"], rows["high"], colors=shades, linewidth=1.1)
    square = rows["kind"].isin(["groups", "categories"]).to_numpy()
    filled = np.where(rows["p"] < ALPHA, shades, PAPER)
    for marker, mine in (("s", square), ("o", ~square)):
      fills = {"facecolors": filled[mine], "edgecolors": shades[mine], "linewidths": 1, "zorder": 3}
      panel.scatter(rows["spearman"][mine], y[mine], s=16, marker=marker, **fills)
    panel.set_xlim(-1.05, 1.05)
    panel.set_title(study.labels[axis])
    panel.set_xlabel(f"Spearman's {RHO}")
  _name_rows(panels, labels)
  handles = [
    Line2D([], [], color=INK, marker="s", markersize=4, label="groups and categories"),
    Line2D([], [], color=INK, marker="o", markersize=4, label="all models, in another way"),
    Line2D([], [], color=ORANGE, marker="o", markersize=4, label="weakens or appears"),
    Line2D([], [], color=RED, marker="o", markersize=4, label="the sign flips"),
    Line2D([], [], color=INK, marker="o", markerfacecolor=PAPER, markersize=4, label="p of .05 or more"),
    Line2D([], [], color=BLUE, linewidth=0.8, linestyle=":", label="all models"),
  ]
  drawn.legend(handles=handles, loc="outside lower center", ncols=6)
  data = pd.concat([t.assign(bias=bias, axis=a) for a, t in tables.items()], ignore_index=True)
  return Drawing(
    f"forest_{quoted(bias)}",
    f"{study.labels[bias]}: how each claim fares",
    f"Filled: permutation p < .05. Groups and categories have intervals {over(study)}; all models in other "
    "ways Bonett and Wright's approximate ones.",
    drawn,
    data,
    "How fragile",
  )


SHADES = {"flips": RED, "weakens": ORANGE, "appears": ORANGE}


def _name_rows(panels: np.ndarray, labels: Sequence[str]) -> None:
  """Rows from 0 down, named beside the first of panels that share them, and a line along each."""
  at = -np.arange(len(labels))
  for panel in panels:
    # Not of the axes' grids: of each tick matplotlib measures and draws five things, in every panel.
    panel.hlines(at, 0, 1, transform=panel.get_yaxis_transform(), color=GRID, linewidth=0.5, zorder=0.5)
    panel.yaxis.set_visible(panel is panels[0])
  panels[0].set_yticks(at, labels)
  panels[0].grid(False, axis="y")
  panels[0].tick_params(axis="y", length=0)
  panels[0].set_ylim(-len(labels) + 0.4, 0.6)


def influence(study: Study) -> Drawing | None:
  """What leaving one model, or one category, out does to each correlation."""
  without, categories = study.tables["without_model"], study.tables["without_category"]
  first = study.definitions.groups[0].name
  if not len(without):
    return None
  cells = study.tables["correlations"]
  cells = cells[(cells["group"] == first) & cells["spearman"].notna()]
  drawn = figure(0.9 + 0.2 * len(cells))
  panel = drawn.subplots()
  rows, labels = [], []
  for i, cell in enumerate(cells.itertuples()):
    of = without[(without["bias"] == cell.bias) & (without["axis"] == cell.axis)]
    # None where so few models have both numbers that without one there is no correlation.
    lowest, highest = of["spearman_without"].agg(["min", "max"])
    panel.plot([lowest, highest], [-i, -i], color=BLUE, linewidth=5, solid_capstyle="butt")
    moved = pd.DataFrame()
    if len(categories):
      moved = categories[
        (categories["bias"] == cell.bias) & (categories["axis"] == cell.axis) & (categories["group"] == first)
      ].dropna(subset=["spearman"])
    if len(moved):
      panel.plot(
        moved["spearman"], np.full(len(moved), -i), "|-", color=ORANGE, markersize=6, linewidth=1, zorder=1
      )
      far = moved.loc[(moved["spearman"] - cell.spearman).abs().idxmax()]
      rows.append((cell.bias, cell.axis, cell.spearman, lowest, highest, far["without"], far["spearman"]))
      side = 1 if far["spearman"] > cell.spearman else -1
      panel.annotate(
        words(far["without"]),
        (far["spearman"], -i),
        (4 * side, 0),
        textcoords="offset points",
        va="center",
        ha="left" if side > 0 else "right",
        fontsize=6,
      )
    else:
      rows.append((cell.bias, cell.axis, cell.spearman, lowest, highest, "", math.nan))
    panel.plot(cell.spearman, -i, "o", color=INK, markersize=4)
    labels.append(f"{study.labels[cell.bias]} \N{EN DASH} {study.labels[cell.axis]}")
  panel.axvline(0, color=INK, linewidth=0.8)
  panel.set_yticks(-np.arange(len(labels)), labels)
  panel.set_ylim(-len(labels) + 0.4, 0.6)
  panel.set_xlim(-1.15, 1.15)
  panel.set_xlabel(f"Spearman's {RHO}")
  handles = [
    Line2D([], [], color=INK, marker="o", linestyle="", markersize=4, label="all models"),
    Line2D([], [], color=BLUE, linewidth=5, label="without one model"),
    Line2D([], [], color=ORANGE, marker="|", label="without one category (furthest named)"),
  ]
  drawn.legend(handles=handles, loc="outside lower center", ncols=3)
  columns = ["bias", "axis", "spearman", "lowest_without_one_model", "highest_without_one_model"]
  columns += ["furthest_category", "without_that_category"]
  return Drawing(
    "influence",
    "What one model, or one family, does to each correlation",
    "A wide orange span means that one training family carries the relation.",
    drawn,
    pd.DataFrame(rows, columns=columns),
    "How fragile",
  )


def prediction(study: Study) -> Drawing | None:
  """Cross-validated R-squared of every predictor."""
  table = study.tables["prediction"]
  if not len(table):
    return None
  several = bool((table["families"] > 1).any())
  axes, predictors = list(dict.fromkeys(table["axis"])), list(dict.fromkeys(table["predictor"]))
  drawn = figure(1.2 + 0.22 * len(predictors))
  panels = drawn.subplots(1, len(axes), sharey=True, squeeze=False)[0]
  floor = -2.0
  for panel, axis in zip(panels, axes, strict=True):
    panel.axvline(0, color=INK, linewidth=0.8)
    rows = table[table["axis"] == axis]
    y = -np.array([predictors.index(name) for name in rows["predictor"]], float)
    shades, r2 = np.where(rows["inputs"] == "all biases", BLUE, QUIET), rows["r2"].to_numpy(float)
    for low, high, width in (("family_low", "family_high", 0.8), ("low", "high", 2.4)):
      known = np.isfinite(rows[low].to_numpy(float))
      ends = (np.maximum(rows[end].to_numpy(float)[known], floor) for end in (low, high))
      panel.hlines(y[known], *ends, colors=shades[known], linewidth=width)
    for marker, mine, size in (("<", r2 < floor, 36), ("o", r2 >= floor, 25)):
      at = np.maximum(r2[mine], floor)
      panel.scatter(at, y[mine], s=size, c=shades[mine], marker=marker, clip_on=False, zorder=3)
    panel.set_xlim(floor, 1.05)
    panel.set_title(study.labels[axis])
    panel.set_xlabel("R² on left-out models")
  _name_rows(panels, [PREDICTORS.get(name, str(name)) for name in predictors])
  handles = [
    Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=5, label="from all biases"),
    Line2D([], [], color=QUIET, marker="o", linestyle="", markersize=5, label="without the biases"),
    Line2D([], [], color=INK, linewidth=2.4, label="95 % over models"),
    *([Line2D([], [], color=INK, linewidth=0.8, label="95 % over families")] if several else []),
    Line2D([], [], color=INK, marker="<", linestyle="", markersize=6, label="beyond the scale"),
  ]
  drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
  return Drawing(
    "prediction",
    "Can the biases predict an axis together?",
    f"R² of predictions for a {'category' if several else 'model'} that was left out: 1 is perfect; "
    "below zero the mean of all models would have been better.",
    drawn,
    table,
    "Prediction",
  )


PREDICTORS = {
  "constant": "nothing (mean)",
  "accuracy": "in-distribution accuracy",
  "linear": "biases, linear",
  "monotone": "biases, monotone",
  "rank-based": "biases, by rank",
}


def sign_error(study: Study) -> Drawing | None:
  """Mean and worst sign-error of every measure."""
  table = study.tables["sign_error_summary"]
  if not len(table):
    return None
  axes, measures = list(dict.fromkeys(table["axis"])), list(dict.fromkeys(table["measure"]))
  drawn = figure(1.2 + 0.22 * len(measures))
  panels = drawn.subplots(1, len(axes), sharey=True, squeeze=False)[0]
  for panel, axis in zip(panels, axes, strict=True):
    panel.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
    rows = table[table["axis"] == axis]
    y = -np.array([measures.index(name) for name in rows["measure"]], float)
    panel.hlines(y, rows["mean"], rows["worst"], colors=GRID, linewidth=2, zorder=1)
    panel.scatter(rows["mean"], y, s=25, c=BLUE, marker="o", zorder=3)
    panel.scatter(rows["worst"], y, s=30, c=RED, marker="X", linewidths=1, zorder=3)
    panel.set_xlim(-0.03, 1.05)
    panel.set_title(study.labels[axis])
    panel.set_xlabel("share of pairs ordered wrongly")
  _name_rows(panels, [study.labels[measure] for measure in measures])
  handles = [
    Line2D([], [], color=BLUE, marker="o", linestyle="", label="mean over settings"),
    Line2D([], [], color=RED, marker="X", linestyle="", label="worst setting"),
    Line2D([], [], color=INK, linestyle="--", linewidth=0.8, label="guessing"),
  ]
  drawn.legend(handles=handles, loc="outside lower center", ncols=3)
  return Drawing(
    "sign_error",
    "Which of two models is better: how often is each bias wrong?",
    "Robust sign-error: pairs of models from two categories, of one category, or along a series; pairs whose "
    "difference is within noise hardly count. A measure to rely on is good in its worst setting.",
    drawn,
    table,
    "Prediction",
  )
