"""The figures of a study that show the measurements themselves."""

import math
import re

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from biasjax.data import layouts
from biasjax.report import chance, highlight
from biasjax.report.drawing import (
  BLUE,
  INK,
  ON_IMAGE,
  RED,
  SEQUENTIAL,
  Drawing,
  colours,
  figure,
  quoted,
  words,
)
from biasjax.report.scatters import legend
from biasjax.study.analysis import Study
from biasjax.study.verdict import RHO, number

# People's critical band (Subramanian et al. 2023): one octave about 39.6 cycles an image.
HUMAN_CHANNEL = {"bw": 1.0, "cf": 39.6, "pns": 1.0}
HUMAN_ROW = (
  " The last row, the star and the dotted line are people's, one octave wide about 39.6 cycles an image."
)
PUBLISHED_PIXELS, PUBLISHED_BANDS = 224, 7  # of a side, where a table does not say; octaves of noise in them
BENCHMARKS = {
  "ImageNet-C": (*layouts.FIFTEEN, *layouts.EXTRA),
  "ImageNet-C-bar": layouts.CBAR,
  "LAION-C": layouts.LAION_C,
}
FULL = 4.0  # the highest threshold index
MANY_MODELS = 60  # beyond, single models are not labelled


def pass_curves(study: Study) -> Drawing | None:
  """Accuracy left when only low, or only high, frequencies are kept."""
  found = matching(study, r"metric/bandpass/(LFC|HFC)/([\d.]+)")
  if not found:
    return None
  drawn = figure(3.6)
  panels = drawn.subplots(1, 2)
  titles = {"LFC": "only low frequencies kept", "HFC": "only high frequencies kept"}
  for panel, (band, title) in zip(panels, titles.items(), strict=True):
    cutoffs = sorted((float(c), name) for (b, c), name in found.items() if b == band)
    if cutoffs:
      x, names = zip(*cutoffs, strict=True)
      draw_lines(study, panel, np.array(x), study.table.frame[list(names)])
      share = chance.of_columns(study, [f"top1_acc/bandpass/{band}/{c:g}" for c in x])
      clean = _clean(study)
      if share is not None and clean is not None:
        chance.line(panel, float((share.max(axis=1) / clean).median()))
    if band == "HFC":
      # Little is left with high frequencies only, but how much is the bias.
      panel.set_yscale("function", functions=(_root, np.square))
      panel.set_yticks(ROOT_TICKS, [f"{tick:g}" for tick in ROOT_TICKS])
      panel.set_ylim(0, 1.05)
    panel.set_title(title)
    panel.set_xlabel("share of the frequency axis kept")
    panel.set_ylabel("share of clean accuracy")
  legend(study, drawn)
  return Drawing(
    "pass_curves",
    "What is left of accuracy with low, or high, frequencies only",
    "A thin line for each model, a thick one for each category's median. Dashed, where known: what guessing "
    "leaves of the median model's clean accuracy. The right scale is of square roots: little shows as well.",
    drawn,
    numbers(study, list(found.values())),
    "Measurements",
  )


ROOT_TICKS = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)


def _root(values: np.ndarray) -> np.ndarray:
  return np.sqrt(np.maximum(values, 0))


def severity_curves(study: Study) -> Drawing | None:
  """Mean accuracy by corruption severity, a panel for each benchmark."""
  found = matching(study, r"top1_acc/(.+)_([1-5])")
  complete = [c for c, _ in found if all((c, str(s)) in found for s in range(1, 6))]
  names = list(dict.fromkeys(complete))
  if not names:
    return None
  # Of benchmarks, else of corruptions that were made here; a mean over some of them would be another number.
  names = [name for name in names if "/" not in name] or names
  benchmarks: dict[str, list[str]] = {}
  for name in names:
    benchmarks.setdefault(_benchmark(name), []).append(name)
  drawn = figure(3.4)
  panels = drawn.subplots(1, len(benchmarks), sharey=True, squeeze=False)[0]
  tables = []
  for panel, (benchmark, mine) in zip(panels, benchmarks.items(), strict=True):
    by_severity = {
      s: study.table.frame[[found[name, str(s)] for name in mine]].mean(axis=1, skipna=False)
      for s in range(1, 6)
    }
    table = pd.DataFrame(by_severity)
    draw_lines(study, panel, np.arange(1.0, 6.0), table)
    guessing = chance.of_columns(study, [found[name, str(s)] for name in mine for s in range(1, 6)])
    if guessing is not None:
      chance.line(panel, float(guessing.max(axis=1).median()))
    panel.set_title(f"{benchmark}, {len(mine)} corruptions")
    panel.set_xticks(range(1, 6))
    panel.set_xlabel("severity")
    named = table.rename(columns=lambda s: f"severity_{s}")
    tables.append(named.assign(category=study.table.category, benchmark=benchmark).reset_index(names="model"))
  panels[0].set_ylabel("top-1 accuracy, %")
  legend(study, drawn)
  counts = [f"{len(mine)} corruptions of {benchmark}" for benchmark, mine in benchmarks.items()]
  return Drawing(
    "severity_curves",
    "Accuracy under corruptions of rising severity",
    f"Mean over {'; over '.join(counts)}. Thin lines: models that have all; thick ones: the categories' "
    "medians; dashed, where known: guessing.",
    drawn,
    pd.concat(tables, ignore_index=True),
    "Measurements",
  )


def _benchmark(corruption: str) -> str:
  """The benchmark whose corruption this is, by its name."""
  name = corruption.rpartition("/")[2]
  return next((title for title, of in BENCHMARKS.items() if name in of), "Other benchmarks")


def matching(study: Study, pattern: str) -> dict[tuple[str, ...], str]:
  """{groups of the match: column}, of the columns that have a number."""
  matches = {name: re.fullmatch(pattern, name) for name in study.table.frame.columns}
  return {
    tuple(m.groups()): name for name, m in matches.items() if m and study.table.frame[name].notna().any()
  }


def draw_lines(study: Study, panel, x: np.ndarray, table: pd.DataFrame) -> None:
  """Thin lines for models, thick ones for medians of categories."""
  for name, (colour, marker) in colours(study.table.categories).items():
    mine = table[study.table.category.eq(name).to_numpy()]
    panel.plot(x, mine.to_numpy().T, color=colour, linewidth=0.5, alpha=min(0.35, 12 / max(len(mine), 1)))
    panel.plot(x, mine.median(axis=0), color=colour, linewidth=1.8, marker=marker, markersize=3.5)
  highlight.lines(study, panel, x, table)


def _clean(study: Study) -> pd.Series | None:
  """Clean accuracy: the first column of the first axis."""
  axis = study.definitions.axes[study.definitions.reference_axis]
  return study.table.frame.get(axis.mean[0])


def numbers(study: Study, names: list[str]) -> pd.DataFrame:
  """These columns of each model, with its category."""
  return study.table.frame[names].assign(category=study.table.category).reset_index(names="model")


def channels(study: Study) -> Drawing | None:
  """The fitted critical band of each model, and of people where they are comparable."""
  estimate = _estimate(study)
  found = matching(study, rf"{re.escape(estimate)}/(bw|cf|pns)_norm")
  if len(found) < 3:
    return None
  fits = pd.DataFrame({key: study.table.frame[found[key,]] for key in ("bw", "cf", "pns")}).dropna()
  if not len(fits):
    return None
  bands, lowest = _octaves(study)
  x = np.linspace(0, bands - 1, 97)
  order = fits.index
  values = [channel(x, fits.loc[m], lowest) for m in order]
  people = study.pixels in (None, PUBLISHED_PIXELS)  # cycles an image mean something else at another size
  if people:
    values.append(channel(x, pd.Series(HUMAN_CHANNEL), lowest))
  height = min(1.4 + 0.13 * len(values), 9.5)
  drawn = figure(height)
  panel = drawn.subplots()
  image = panel.imshow(
    np.stack(values),
    aspect="auto",
    cmap=SEQUENTIAL,
    vmin=0,
    vmax=FULL,
    extent=(0, bands - 1, len(values) - 0.5, -0.5),
  )
  positive = fits["cf"].where(fits["cf"] > 0).to_numpy()  # a fit that wandered off may have its centre at 0
  centre = np.log2(positive / lowest)
  inside = (centre >= 0) & (centre <= bands - 1)
  white, black = ON_IMAGE
  marks = {"markerfacecolor": white, "markeredgecolor": black, "linestyle": "", "clip_on": False}
  dots = panel.plot(
    centre[inside], np.flatnonzero(inside), "o", **marks, markersize=3.4, label="centre of a model's band"
  )
  if people:
    human = math.log2(HUMAN_CHANNEL["cf"] / lowest)
    dots += panel.plot(human, len(values) - 1, "*", **marks, markersize=9, label="centre of people's")
    panel.axvline(human, color=white, linewidth=0.8, linestyle=":")
  labels = [*(order if len(order) <= MANY_MODELS else [""] * len(order)), *(["people"] if people else [])]
  panel.set_yticks(range(len(values)), labels, fontsize=5.6)
  for name, tick in zip(order, panel.get_yticklabels(), strict=False):
    if name in study.table.highlighted:
      tick.set(color=highlight.COLOUR, fontweight="bold")
  panel.set_xticks(range(bands), [f"{lowest * 2**f:g}" for f in range(bands)])
  panel.set_xlabel("spatial frequency of the noise, cycles an image")
  panel.grid(False)
  _category_strip(study, panel, order, len(values), bands)
  drawn.colorbar(image, ax=panel, label="fitted sensitivity (threshold steps)", shrink=0.6)
  legend(study, drawn, more=dots)
  kind = "continuous" if "continuous" in estimate else "published"
  return Drawing(
    "critical_bands",
    f"Critical bands: where noise hurts each model{', and people' if people else ''}",
    f"The channel fitted to normalised thresholds ({kind} estimate, {estimate}) of each model that has one, "
    f"widest where noise of many octaves disturbs.{HUMAN_ROW if people else ''}",
    drawn,
    fits.assign(category=study.table.category).reset_index(names="model"),
    "Measurements",
  )


def _estimate(study: Study) -> str:
  """What the columns begin with that the study's critical band is made of."""
  named = [c for measure in study.definitions.biases.values() for c in measure.mean]
  found = [re.fullmatch(r"(.*criticalband.*)/(?:bw|cf|pns)(?:_norm)?", column) for column in named]
  return next((match[1] for match in found if match), "metric/criticalband")


def _octaves(study: Study) -> tuple[int, float]:
  """(octave bands of noise, cycles an image of the lowest); the highest is at half the pixels of a side."""
  probed = {int(f) for f, _ in matching(study, NOISE)}
  bands = max(probed) + 1 if probed else PUBLISHED_BANDS
  return bands, (study.pixels or PUBLISHED_PIXELS) / 2.0**bands


NOISE = r"top1_acc/criticalband/f=(\d+)[,/ ]*sd=([\d.]+)"


def channel(x: np.ndarray, fit: pd.Series, lowest: float) -> np.ndarray:
  """The Gaussian over octaves that a bandwidth, centre and peak sensitivity stand for."""
  height, centre = FULL + math.log2(max(fit["pns"], 1e-6)), math.log2(max(fit["cf"], 1e-6) / lowest)
  sigma = abs(fit["bw"]) / (2 * math.sqrt(math.log(4)))
  return height * np.exp(-((x - centre) ** 2) / (2 * max(sigma, 1e-6) ** 2))


def _category_strip(study: Study, panel, order: pd.Index, rows: int, bands: int) -> None:
  """The categories' colours along the left edge."""
  marks = colours(study.table.categories)
  for i, model in enumerate(order):
    colour = marks[study.table.category[model]][0]
    panel.plot(
      [-0.06] * 2, [i - 0.5, i + 0.5], color=colour, linewidth=4, clip_on=False, solid_capstyle="butt"
    )
  panel.set_xlim(0, bands - 1)
  panel.set_ylim(rows - 0.5, -0.5)
  panel.tick_params(axis="y", pad=7, length=0)


def noise_maps(study: Study) -> Drawing | None:
  """Accuracy by noise SD and band, a panel for each category, with the categories' median channel."""
  found = matching(study, NOISE)
  if not found:
    return None
  clean = next(iter(matching(study, r"top1_acc/criticalband/clean").values()), None)
  bands = sorted({int(f) for f, _ in found})
  # Without noise all bands are one condition: what low contrast alone leaves is no work of noise.
  sds = sorted({float(sd) for _, sd in found} | ({0.0} if clean else set()))
  names = study.table.categories
  drawn = figure(2.4)
  panels = drawn.subplots(1, len(names), sharey=True, squeeze=False)[0]
  image = None
  for panel, name in zip(panels, names, strict=True):
    mine = study.table.frame[study.table.category.eq(name).to_numpy()]
    values = np.full((len(sds), len(bands)), np.nan)
    for (f, sd), column in found.items():
      values[sds.index(float(sd)), bands.index(int(f))] = mine[column].median()
    if clean:
      values[0] = mine[clean].median()
    image = panel.imshow(values, aspect="auto", origin="lower", cmap=SEQUENTIAL, vmin=0, vmax=100)
    panel.set_title(words(name))
    panel.set_xticks(range(len(bands)), [f"{_octaves(study)[1] * 2**f:g}" for f in bands], fontsize=6)
    panel.set_yticks(range(len(sds)), [f"{sd:g}" for sd in sds])
    panel.set_xlabel("cycles an image")
    panel.grid(False)
  panels[0].set_ylabel("noise SD")
  assert image is not None  # there is at least one panel
  drawn.colorbar(image, ax=panels.tolist(), label="top-1, %")
  return Drawing(
    "noise_maps",
    "Accuracy under band-limited noise",
    "The median model of each category. "
    + ("Lowest row: without noise, at the probe's low contrast; " if clean else "")
    + "darker above than there: noise of that strength and frequency hurts.",
    drawn,
    numbers(study, [*([clean] if clean else []), *found.values()]),
    "Measurements",
  )


def shape_bias(study: Study) -> Drawing | None:
  """Shape bias: of each model by category, and of each of 16 classes where they are measured."""
  if "shape_bias" not in study.biases or not study.biases["shape_bias"].notna().any():
    return None
  by_class = matching(study, r"shape-bias/(.+)")
  human = study.human("shape_bias")
  names = study.table.categories
  marks = colours(names)
  rows = len(by_class) or len(names)
  drawn = figure(1.3 + 0.25 * rows)
  panel = drawn.subplots()
  points = {}
  if by_class:
    classes = sorted(key[0] for key in by_class)
    for name, (colour, marker) in marks.items():
      mine = study.table.frame[study.table.category.eq(name).to_numpy()]
      for i, one in enumerate(classes):
        values = mine[by_class[one,]].to_numpy()
        panel.scatter(values, np.full(len(values), -i), c=colour, marker=marker, s=16, alpha=0.8)
        for own in mine.index.intersection(study.table.highlighted):
          value = float(mine.at[own, by_class[one,]])
          panel.scatter([value], [-i], s=70, facecolors="none", edgecolors=highlight.COLOUR, linewidths=1.4)
      median = study.biases.loc[mine.index, "shape_bias"].median()
      panel.axvline(median, color=colour, linewidth=0.9)
    panel.set_yticks([-i for i in range(len(classes))], classes)
    what = "A point for each model and class of shape; lines: each category's median over all classes"
    data = numbers(study, list(by_class.values()))
  else:
    for i, (name, (colour, marker)) in enumerate(marks.items()):
      mine = study.table.category.eq(name).to_numpy() & study.biases["shape_bias"].notna().to_numpy()
      values, low, high = (
        t.loc[mine, "shape_bias"] for t in (study.biases, study.intervals.low, study.intervals.high)
      )
      spread = np.linspace(-0.28, 0.28, len(values)) if len(values) > 1 else np.zeros(len(values))
      y = -i - spread[np.argsort(np.argsort(values.to_numpy()))]
      panel.errorbar(
        values.to_numpy(),
        y,
        xerr=np.stack([end.fillna(0).clip(lower=0) for end in (values - low, high - values)]),
        fmt="none",
        ecolor=colour,
        elinewidth=0.7,
        alpha=0.6,
      )
      gid = f"points-shape-{i}"
      panel.scatter(values.to_numpy(), y, c=colour, marker=marker, s=20, gid=gid, zorder=3)
      points[gid] = [f"{m}: {v:.3f}" for m, v in values.items()]
      for m, at in zip(values.index, y, strict=True):
        if m in study.table.highlighted:
          highlight.ring(study, panel, m, float(values[m]), float(at))
    panel.set_yticks([-i for i in range(len(names))], [words(n) for n in names])
    what = "A point for each model, with 95 % intervals where their counts are known"
    known = {"low": study.intervals.low["shape_bias"], "high": study.intervals.high["shape_bias"]}
    data = study.biases[["shape_bias"]].assign(**known, category=study.table.category).reset_index()
  if human is not None:
    panel.axvline(human, color=RED, linestyle="--", linewidth=1.2)
    panel.annotate(
      "people",
      (human, 1),
      xycoords=("data", "axes fraction"),
      xytext=(-3, -2),
      textcoords="offset points",
      ha="right",
      va="top",
      color=RED,
    )
  # Of a definition of one's own it may lie beyond 0 and 1.
  shown = study.biases["shape_bias"]
  panel.set_xlim(min(-0.02, 1.05 * shown.min()), max(1.02, 1.05 * shown.max()))
  panel.set_ylim(-rows + 0.4, 0.6)
  panel.set_xlabel("share of shape decisions (0: texture, 1: shape)")
  if by_class:
    legend(study, drawn)
  return Drawing("shape_bias", "Shape or texture?", f"{what}.", drawn, data, "Measurements", points)


def series(study: Study, name: str) -> Drawing:
  """Every bias and axis along a swept factor."""
  table, trends = study.tables["series"], study.tables["series_trends"]
  factors = {one.name: one.factor for one in study.definitions.series}
  rows = table[table["series"] == name]
  moved = trends[(trends["series"] == name) & (trends["first"] == "factor")]
  measures = list(dict.fromkeys(rows["measure"]))
  columns = 5 if len(measures) > 6 else 3
  height = math.ceil(len(measures) / columns)
  drawn = figure(0.7 + 1.6 * height)
  panels = drawn.subplots(height, columns, squeeze=False).ravel()
  places = {x: i for i, x in enumerate(sorted(set(rows["x"])))}
  for panel, measure in zip(panels, measures, strict=False):
    mine = rows[rows["measure"] == measure]
    x = [places[v] for v in mine["x"]]
    colour = BLUE if measure in study.biases else RED
    panel.fill_between(
      x, mine["low"].fillna(mine["value"]), mine["high"].fillna(mine["value"]), color=colour, alpha=0.2
    )
    panel.plot(x, mine["value"], "o-", color=colour, markersize=3.5, linewidth=1.2)
    chance.line(panel, chance.of_measure(study, measure))
    of = moved.loc[moved["second"] == measure].iloc[0]
    trend = f", {RHO} = {number(of['spearman'])}" if math.isfinite(of["spearman"]) else ""
    panel.set_title(f"{study.labels[measure]}{trend}", fontsize=7)
    panel.set_xticks(range(len(places)), [f"{v:.15g}" for v in places], fontsize=5.8, rotation=45)
    panel.tick_params(axis="y", labelsize=6.5)
  for panel in panels[len(measures) :]:
    panel.set_visible(False)
  drawn.supxlabel(factors.get(name, "x"), fontsize=8)
  handles = [Line2D([], [], color=c, marker="o", label=of) for c, of in ((BLUE, "biases"), (RED, "axes"))]
  drawn.legend(handles=handles, loc="outside lower center", ncols=2)
  return Drawing(
    f"series_{quoted(name.replace(' ', '_'))}",
    f"Along {name}",
    "Bands: 95 % intervals where sampling error is known (over seeds, where there "
    "are several). Dashed, where known: guessing. Steps of the factor are evenly spaced.",
    drawn,
    rows,
    "Series",
  )


def forgetting(study: Study) -> Drawing | None:
  """Accuracy and what is forgotten along the epochs of each run."""
  table = study.tables.get("forgetting_epochs", pd.DataFrame())
  if not len(table):
    return None
  # A line is of one set of decisions: runs may have been asked about several.
  asked = ["dataset", "probe", "condition"]
  first = table[asked].iloc[0]
  table = table[(table[asked] == first).all(axis=1)]
  runs = list(dict.fromkeys(table["run"]))
  drawn = figure(3.0)
  panels = drawn.subplots(1, len(runs), sharey=True, squeeze=False)[0]
  for panel, run in zip(panels, runs, strict=True):
    mine = table[table["run"] == run]
    panel.plot(mine["epoch"], mine["accuracy"], "o-", color=INK, markersize=3, label="right")
    panel.plot(
      mine["epoch"],
      mine["forgotten"],
      "s-",
      color=RED,
      markersize=3,
      label="right, but wrong at the end",
    )
    panel.set_title(run)
    panel.set_xlabel("epoch")
  panels[0].set_ylabel("% of examples")
  handles, labels = panels[0].get_legend_handles_labels()
  drawn.legend(handles, labels, loc="outside lower center", ncols=2)
  return Drawing(
    "forgetting",
    "What training forgets",
    f"Examples of {first['dataset']} ({first['probe']}, {first['condition']}) that are right at an epoch, "
    "and those of them that are wrong at the last.",
    drawn,
    table,
    "Series",
  )
