"""The figures of a study, each from its tables: relations, checks, predictions."""

import math
import textwrap
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from biasjax.report import chance, highlight
from biasjax.report.drawing import DIVERGING, GRID, INK, PAPER, Drawing, colours, words
from biasjax.statistics import Z
from biasjax.study.analysis import Study, models
from biasjax.study.correlation import deciding
from biasjax.study.significance import ALPHA
from biasjax.study.verdict import RHO, number

SMALLEST, LARGEST = 18, 90  # areas of points, square points


def legend(study: Study, figure: Figure, columns: int = 7, sizes: bool = False) -> None:
  """The categories' colours and markers below a figure."""
  marks = colours(study.table.categories)
  handles = [
    Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=words(name))
    for name, (colour, marker) in marks.items()
  ]
  handles += highlight.handles(study)
  title = "larger: further along its series" if sizes else None
  columns = min(len(handles), columns)
  figure.legend(handles=handles, loc="outside lower center", ncols=columns, title=title, title_fontsize=7)


def sizes(study: Study) -> pd.Series:
  """The area of each model's point: larger along its series (adversarial eps, epochs)."""
  areas = pd.Series(30.0, index=study.biases.index)
  for factors in study.series.values():
    values = sorted(set(factors.values()))
    for model, x in factors.items():
      areas[model] = SMALLEST + (LARGEST - SMALLEST) * values.index(x) / (len(values) - 1)
  return areas


def scatters(study: Study) -> Iterator[Drawing]:
  """Each bias against every axis, a row for each bias."""
  cells = study.tables["correlations"].set_index(["bias", "axis", "group"])
  first = study.definitions.groups[0].name
  areas, marks = sizes(study), colours(study.table.categories)
  for bias in study.biases:
    axes = list(study.axes)
    figure = Figure(figsize=(2.6 * max(len(axes), 2), 3.1))
    points = {}
    panels = figure.subplots(1, len(axes), squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=True):
      for name, (colour, marker) in marks.items():
        mine = study.table.category.eq(name) & study.biases[bias].notna() & study.axes[axis].notna()
        if not mine.any():
          continue
        gid = f"points-{axis}-{name}".replace(" ", "_")
        panel.scatter(
          study.biases.loc[mine, bias],
          study.axes.loc[mine, axis],
          s=areas[mine].to_numpy(),
          c=colour,
          marker=marker,
          alpha=0.8,
          edgecolors=PAPER,
          linewidths=0.5,
          gid=gid,
        )
        points[gid] = [
          f"{m}: {study.biases.at[m, bias]:.3g}, {study.axes.at[m, axis]:.3g}"
          for m in study.biases.index[mine]
        ]
      chance.on_scatter(study, panel, bias, axis)
      highlight.points(study, panel, bias, axis)
      cell = cells.loc[(bias, axis, first)]
      low, high = deciding(cell)
      panel.set_title(f"{RHO} = {number(cell['spearman'])}  [{number(low)}, {number(high)}]")
      panel.set_xlabel(study.labels[bias])
      panel.set_ylabel(textwrap.fill(study.labels[axis], 28))
    legend(study, figure, sizes=bool(study.series))
    yield Drawing(
      f"scatter_{bias}",
      study.labels[bias],
      f"{study.labels[bias]} of each model against each axis, with Spearman's {RHO} over all models and its "
      f"95 % interval {_over(study)}. Point at a model for its name.{chance.caption(study, [bias, *axes])}",
      figure,
      models(study)[["category", bias, *axes]].reset_index(),
      "Relations",
      points,
    )


def correlation_matrix(study: Study) -> Drawing:
  """Biases by axes, a panel for each group, with intervals and n."""
  cells = study.tables["correlations"]
  groups = [g for g in study.groups if cells.loc[cells["group"] == g, "spearman"].notna().any()]
  groups = groups or list(study.groups)[:1]
  figure = _matrices(study, cells, list(study.axes), groups)
  return Drawing(
    "correlation_matrix",
    "Every bias against every axis",
    f"Spearman's {RHO} with its 95 % interval {_over(study)}. Bold: permutation p < .05 after Holm over all "
    "cells; grey: p of .05 or more. The published figure prints 0 where Student's p is .05 or more.",
    figure,
    cells[MATRIX],
    "Relations",
  )


def bias_matrix(study: Study) -> Drawing:
  """Biases by biases, over all models."""
  cells = study.tables["bias_by_bias"]
  figure = _matrices(study, cells, list(study.biases), [study.definitions.groups[0].name])
  return Drawing(
    "bias_by_bias",
    "Every bias against every other",
    f"Spearman's {RHO} with its 95 % interval, as above: which biases go together.",
    figure,
    cells[MATRIX],
    "Relations",
  )


MATRIX = ["bias", "axis", "group", "n", "spearman", "low", "high", "family_low", "family_high"]
MATRIX += ["p", "p_permutation", "p_holm"]


def _over(study: Study) -> str:
  """What intervals are over, as `correlation.deciding` decides."""
  return (
    "over families (over models where all are of one)" if len(study.table.categories) > 1 else "over models"
  )


def _matrices(study: Study, cells: pd.DataFrame, columns: list[str], groups: list[str]) -> Figure:
  rows = list(study.biases)
  figure = Figure(figsize=(1.3 + 0.98 * len(columns) * len(groups), 1.1 + 0.5 * len(rows)))
  panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
  found = cells.set_index(["bias", "axis", "group"])
  image = None
  for panel, group in zip(panels, groups, strict=True):
    values = np.full((len(rows), len(columns)), np.nan)
    for i, bias in enumerate(rows):
      for j, axis in enumerate(columns):
        if (bias, axis, group) not in found.index:
          continue
        cell = found.loc[(bias, axis, group)]
        values[i, j] = cell["spearman"]
        if math.isfinite(cell["spearman"]):
          _matrix_cell(panel, i, j, cell)
    image = panel.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    n = int(found.xs(group, level="group")["n"].max())
    panel.set_title(f"{group} (n = {n})")
    panel.set_xticks(range(len(columns)), [_broken(study.labels[c]) for c in columns], fontsize=6.8)
    panel.set_yticks(range(len(rows)), [study.labels[r] for r in rows])
    panel.tick_params(length=0)
    panel.grid(False)
    panel.spines[:].set_visible(False)
  assert image is not None  # there is at least one panel
  figure.colorbar(image, ax=panels.tolist(), label=f"Spearman's {RHO}", shrink=0.9, pad=0.01)
  return figure


def _matrix_cell(panel, i: int, j: int, cell: pd.Series) -> None:
  strong = abs(cell["spearman"]) > 0.6
  colour = "#ffffff" if strong else "#17171a" if cell["p_permutation"] < ALPHA else "#6a6a70"
  weight = "bold" if cell["p_holm"] < ALPHA else "normal"
  panel.text(j, i - 0.14, number(cell["spearman"]), ha="center", va="center", color=colour, weight=weight)
  low, high = deciding(cell)
  if math.isfinite(low):
    text = f"[{number(low)}, {number(high)}]"
    panel.text(j, i + 0.24, text, ha="center", va="center", color=colour, fontsize=5.8)


def _broken(label: str) -> str:
  """A label over two lines."""
  return label.replace(" ", "\n", 1)


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


def forests(study: Study) -> Iterator[Drawing]:
  """Each bias: its claims in groups and categories, without each category, and under other definitions."""
  for bias in study.biases:
    tables = {axis: forest_rows(study, bias, axis) for axis in study.axes}
    both = pd.concat(tables.values()).sort_values("kind", key=lambda k: k.map(KINDS), kind="stable")
    labels = list(dict.fromkeys(both["label"]))
    place = {label: -i for i, label in enumerate(labels)}
    figure = Figure(figsize=(2.7 + 1.9 * len(tables), 0.9 + 0.17 * len(labels)))
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for panel, (axis, rows) in zip(panels, tables.items(), strict=True):
      pooled = rows["spearman"].iloc[0]
      panel.axvline(0, color=INK, linewidth=0.8)
      if math.isfinite(pooled):
        panel.axvline(pooled, color="#0072b2", linewidth=0.8, linestyle=":")
      for row in rows.itertuples():
        if not math.isfinite(row.spearman):
          continue
        y = place[row.label]
        colour = (
          "#d55e00" if row.verdict == "flips" else "#e69f00" if row.verdict in ("weakens", "appears") else INK
        )
        panel.plot([row.low, row.high], [y, y], color=colour, linewidth=1.1)
        filled = colour if row.p < ALPHA else PAPER
        marker = "s" if row.kind in ("groups", "categories") else "o"
        panel.plot(row.spearman, y, marker, color=colour, markerfacecolor=filled, markersize=4)
      panel.set_xlim(-1.05, 1.05)
      panel.set_title(study.labels[axis])
      panel.set_xlabel(f"Spearman's {RHO}")
      panel.set_yticks(list(place.values()), labels)
      panel.set_ylim(-len(labels) + 0.3, 0.7)
      panel.tick_params(axis="y", length=0)
    data = pd.concat([t.assign(bias=bias, axis=a) for a, t in tables.items()], ignore_index=True)
    yield Drawing(
      f"forest_{bias}",
      f"{study.labels[bias]}: how each claim fares",
      f"Filled: permutation p < .05. Squares: groups and categories with intervals {_over(study)}; circles: "
      "all models in other ways, with Bonett and Wright's approximate intervals. Orange: weakens or appears; "
      "red: the sign flips. Dotted: all models.",
      figure,
      data,
      "How fragile",
    )


def influence(study: Study) -> Drawing | None:
  """What leaving one model, or one category, out does to each correlation."""
  without, categories = study.tables["without_model"], study.tables["without_category"]
  first = study.definitions.groups[0].name
  if not len(without):
    return None
  cells = study.tables["correlations"]
  cells = cells[(cells["group"] == first) & cells["spearman"].notna()]
  figure = Figure(figsize=(7.2, 0.9 + 0.24 * len(cells)))
  panel = figure.subplots()
  rows, labels = [], []
  for i, cell in enumerate(cells.itertuples()):
    of = without[(without["bias"] == cell.bias) & (without["axis"] == cell.axis)]
    values = of["spearman_without"].to_numpy()
    panel.plot([values.min(), values.max()], [-i, -i], color="#0072b2", linewidth=5, solid_capstyle="butt")
    moved = pd.DataFrame()
    if len(categories):
      moved = categories[
        (categories["bias"] == cell.bias) & (categories["axis"] == cell.axis) & (categories["group"] == first)
      ].dropna(subset=["spearman"])
    if len(moved):
      panel.plot(
        moved["spearman"], np.full(len(moved), -i), "|-", color="#e69f00", markersize=6, linewidth=1, zorder=1
      )
      far = moved.loc[(moved["spearman"] - cell.spearman).abs().idxmax()]
      rows.append(
        (cell.bias, cell.axis, cell.spearman, values.min(), values.max(), far["without"], far["spearman"])
      )
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
      rows.append((cell.bias, cell.axis, cell.spearman, values.min(), values.max(), "", math.nan))
    panel.plot(cell.spearman, -i, "o", color=INK, markersize=4)
    labels.append(f"{study.labels[cell.bias]} \N{EN DASH} {study.labels[cell.axis]}")
  panel.axvline(0, color=INK, linewidth=0.8)
  panel.set_yticks(-np.arange(len(labels)), labels)
  panel.set_ylim(-len(labels) + 0.4, 0.6)
  panel.set_xlim(-1.15, 1.15)
  panel.set_xlabel(f"Spearman's {RHO}")
  handles = [
    Line2D([], [], color=INK, marker="o", linestyle="", markersize=4, label="all models"),
    Line2D([], [], color="#0072b2", linewidth=5, label="without one model"),
    Line2D([], [], color="#e69f00", marker="|", label="without one category (furthest named)"),
  ]
  figure.legend(handles=handles, loc="outside lower center", ncols=3)
  columns = ["bias", "axis", "spearman", "lowest_without_one_model", "highest_without_one_model"]
  columns += ["furthest_category", "without_that_category"]
  return Drawing(
    "influence",
    "What one model, or one family, does to each correlation",
    "A wide orange span means that one training family carries the relation.",
    figure,
    pd.DataFrame(rows, columns=columns),
    "How fragile",
  )


def prediction(study: Study) -> Drawing | None:
  """Cross-validated R-squared of every predictor."""
  table = study.tables["prediction"]
  if not len(table):
    return None
  axes, predictors = list(dict.fromkeys(table["axis"])), list(dict.fromkeys(table["predictor"]))
  figure = Figure(figsize=(2.2 + 2.0 * len(axes), 1.2 + 0.25 * len(predictors)))
  panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
  floor = -2.0
  for panel, axis in zip(panels, axes, strict=True):
    panel.axvline(0, color=INK, linewidth=0.8)
    for row in table[table["axis"] == axis].itertuples():
      y = -predictors.index(row.predictor)
      colour = "#0072b2" if row.inputs == "all biases" else "#7f7f7f"
      for low, high, width in ((row.family_low, row.family_high, 0.8), (row.low, row.high, 2.4)):
        if math.isfinite(low):
          panel.plot([max(low, floor), max(high, floor)], [y, y], color=colour, linewidth=width)
      if row.r2 < floor:
        panel.plot(floor, y, "<", color=colour, markersize=6, clip_on=False)
      else:
        panel.plot(row.r2, y, "o", color=colour, markersize=5)
    panel.set_xlim(floor, 1)
    panel.set_title(study.labels[axis])
    panel.set_xlabel("R² on left-out models")
    panel.set_yticks([-i for i in range(len(predictors))], [PREDICTORS.get(p, p) for p in predictors])
    panel.set_ylim(-len(predictors) + 0.4, 0.6)
    panel.tick_params(axis="y", length=0)
  return Drawing(
    "prediction",
    "Can the biases predict an axis together?",
    f"R² of predictions for a {'category' if (table['families'] > 1).any() else 'model'} that was left out, "
    "with 95 % intervals over families (thin) and models (thick); below zero the mean of all models would "
    "have been better. Arrows: beyond the scale. Grey: without the biases.",
    figure,
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
  figure = Figure(figsize=(2.2 + 2.0 * len(axes), 1.2 + 0.25 * len(measures)))
  panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
  for panel, axis in zip(panels, axes, strict=True):
    panel.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
    for row in table[table["axis"] == axis].itertuples():
      y = -measures.index(row.measure)
      panel.plot([row.mean, row.worst], [y, y], color=GRID, linewidth=2, zorder=1)
      panel.plot(row.mean, y, "o", color="#0072b2", markersize=5)
      panel.plot(row.worst, y, "X", color="#d55e00", markersize=5.5)
    panel.set_xlim(-0.03, 1.05)
    panel.set_title(study.labels[axis])
    panel.set_xlabel("share of pairs ordered wrongly")
    panel.set_yticks([-i for i in range(len(measures))], [study.labels[m] for m in measures])
    panel.set_ylim(-len(measures) + 0.4, 0.6)
    panel.tick_params(axis="y", length=0)
  handles = [
    Line2D([], [], color="#0072b2", marker="o", linestyle="", label="mean over settings"),
    Line2D([], [], color="#d55e00", marker="X", linestyle="", label="worst setting"),
    Line2D([], [], color=INK, linestyle="--", linewidth=0.8, label="guessing"),
  ]
  figure.legend(handles=handles, loc="outside lower center", ncols=3)
  return Drawing(
    "sign_error",
    "Which of two models is better: how often is each bias wrong?",
    "Robust sign-error: pairs of models from two categories, of one category, or along a series; pairs whose "
    "difference is within noise hardly count. A measure to rely on is good in its worst setting.",
    figure,
    table,
    "Prediction",
  )
