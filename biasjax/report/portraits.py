"""Figures of one or two networks, from their numbers: with intervals, chance, people and other networks."""

import math
import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from biasjax.report import waves
from biasjax.report.curves import HUMAN_CHANNEL, PUBLISHED_PIXELS, channel
from biasjax.report.drawing import INK, PAPER, Drawing
from biasjax.report.scores import Scores, digits, label, module, shown
from biasjax.study.chance import WORD
from biasjax.study.references import comparable

OWN = ((INK, "o"), ("#c2571a", "s"))
PEOPLE = "#00856a"
REFERENCE = "#8a8a93"
WIDTH = 7.6  # inches, of all figures
HUMAN_SHAPE_BIAS = 0.96  # Geirhos et al. 2019
ESTIMATES = ("criticalband/continuous", "metric/criticalband")  # of which the first that is there is drawn


def drawings(
  scores: Scores,
  kinds: Mapping[str, str],
  pixels: Mapping[str, int],
  people: pd.DataFrame | None,
  among: pd.DataFrame,
) -> Iterator[Drawing]:
  """The figures whose numbers are there.

  Args:
    scores: the numbers.
    kinds: dataset -> what its labels are.
    pixels: dataset -> pixels of a side of its images as networks see them.
    people: `trials.by_category` of recorded people, if there are any.
    among: reference networks, float [networks, columns of results.csv].
  """
  found = [accuracies(scores)]
  for probe, dataset in _asked(scores, "spectral"):
    found.append(pass_curves(scores, probe, dataset, among))
  for probe, dataset in _asked(scores, "sensitivity"):
    found += [sensitivity(scores, probe, dataset, among), sensitivity_map(scores, probe, dataset)]
  for probe, dataset in _asked(scores, "gradient_spectrum"):
    found.append(gradient(scores, probe, dataset, among))
  for probe, dataset in _asked(scores, "critical_band"):
    found.append(critical_band(scores, probe, dataset, pixels.get(dataset)))
  for probe, dataset in _asked(scores, "shape"):
    found.append(shape(scores, probe, dataset, kinds.get(dataset, ""), people))
  return (drawing for drawing in found if drawing is not None)


def _asked(scores: Scores, wanted: str) -> list[tuple[str, str]]:
  """(probe, dataset) of a probe and its variants."""
  mine = scores.own[scores.own["probe"].map(module) == wanted]
  return list(dict.fromkeys(zip(mine["probe"], mine["dataset"], strict=True)))


def _rows(scores: Scores, probe: str, dataset: str, pattern: str, model: str) -> pd.DataFrame:
  found = scores.of(model, pattern)
  return found[(found["probe"] == probe) & (found["dataset"] == dataset)]


def _titled(title: str, dataset: str) -> str:
  return f"{title} ({dataset})"


def _name(kind: str, probe: str, dataset: str) -> str:
  return re.sub(r"\W+", "_", f"{kind}_{probe}_{dataset}")


def _legend(figure: Figure, scores: Scores, *more: Line2D) -> None:
  handles = [
    Line2D([], [], color=colour, marker=marker, markersize=5, label=model)
    for model, (colour, marker) in zip(scores.models, OWN, strict=False)
  ]
  handles += more
  figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))


def _marker(flag: str, colour: str) -> str:
  """What a point is filled with; hollow where its number cannot be told from chance, as the captions say."""
  return PAPER if WORD in flag else colour


def accuracies(scores: Scores) -> Drawing | None:
  """Every accuracy beside the others, attacks included."""
  main = scores.main
  known = main["metric"].str.startswith("top1_acc/") & (main["probe"] != "benchmarks") & main["value"].notna()
  main = main[known]
  keys = list(dict.fromkeys(zip(main["dataset"], main["probe"], main["metric"], strict=True)))
  if len(keys) < 2:
    return None
  figure = Figure(figsize=(WIDTH, 1.2 + 0.3 * len(keys)))
  panel = figure.subplots()
  points: dict[str, list[str]] = {}
  for i, (model, (colour, marker)) in enumerate(zip(scores.models, OWN, strict=False)):
    shift = 0.13 * (2 * i - 1) if len(scores.models) > 1 else 0
    for at, key in enumerate(keys):
      of_key = main[(main[["dataset", "probe", "metric"]] == list(key)).all(axis=1)]
      for row in of_key[of_key["model"] == model].itertuples():
        y = -at - shift
        panel.plot([row.low, row.high], [y, y], color=colour, linewidth=1.4)
        gid = f"accuracy-{at}-{i}"
        filled = _marker(str(row.flag), colour)
        panel.scatter([row.value], [y], s=26, c=filled, marker=marker, edgecolors=colour, zorder=3, gid=gid)
        points[gid] = [f"{model}: {shown(row, digits(of_key))}"]
        if math.isfinite(row.chance):
          panel.plot([row.chance] * 2, [-at - 0.36, -at + 0.36], color=REFERENCE, linewidth=1.4, zorder=1)
  panel.set_yticks([-at for at in range(len(keys))], [_words(*key) for key in keys])
  panel.set_ylim(-len(keys) + 0.4, 0.6)
  panel.set_xlim(0, 100)
  panel.set_xlabel("accuracy, %")
  panel.tick_params(axis="y", length=0)
  _legend(figure, scores, Line2D([], [], color=REFERENCE, label="chance"))
  return Drawing(
    "accuracies",
    "Accuracy, here and there",
    "With 95 % intervals. Grey: what guessing gives; hollow: cannot be told from that.",
    figure,
    main,
    "Accuracy",
    points,
  )


def _words(dataset: str, probe: str, metric: str) -> str:
  return label(metric) if module(probe) == "accuracy" else f"{label(metric)} ({dataset})"


def pass_curves(scores: Scores, probe: str, dataset: str, among: pd.DataFrame) -> Drawing | None:
  """Clean accuracy that is left when only low, or only high, frequencies are kept."""
  variant = re.escape(probe.removeprefix("spectral"))
  figure = Figure(figsize=(WIDTH, 3.2))
  panels = figure.subplots(1, 2, sharey=True)
  guessed = others = False
  points: dict[str, list[str]] = {}
  drawn = []
  for panel, band, kept in zip(panels, ("LFC", "HFC"), ("low", "high"), strict=True):
    pattern = rf"metric/bandpass{variant}/{band}/([\d.]+)"
    if comparable(dataset, probe, pattern, among.columns):
      others |= _faint(panel, among, _rows(scores, probe, dataset, pattern, scores.models[0]))
    for i, (model, (colour, marker)) in enumerate(zip(scores.models, OWN, strict=False)):
      rows = _rows(scores, probe, dataset, pattern, model).dropna(subset=["value"])
      if not len(rows):
        continue
      x = rows[0].astype(float).to_numpy()
      panel.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)
      panel.plot(x, rows["value"], color=colour, linewidth=1.4)
      gid = f"pass-{band}-{i}"
      fills = [_marker(str(flag), colour) for flag in rows["flag"]]
      panel.scatter(x, rows["value"], s=18, c=fills, marker=marker, edgecolors=colour, zorder=3, gid=gid)
      points[gid] = [f"{model}, {row._asdict()['metric']}: {shown(row, 3)}" for row in rows.itertuples()]
      drawn.append(rows)
      guessing = _guessing(scores, probe, dataset, rf"top1_acc/bandpass{variant}/{band}/([\d.]+)", model)
      if guessing is not None:
        panel.axhline(guessing, color=colour, linewidth=0.9, linestyle="--", zorder=1)
        guessed = True
    panel.set_title(f"only {kept} frequencies kept")
    panel.set_xlabel("share of the frequency axis kept")
    panel.set_xlim(0, 1)
  if not drawn:
    return None
  panels[0].set_ylabel("share of clean accuracy")
  panels[0].set_ylim(0, max(1.05, float(pd.concat(drawn)["high"].max()) + 0.02))
  more = [Line2D([], [], color=INK, linestyle="--", linewidth=0.9, label="guessing")] if guessed else []
  _legend(
    figure,
    scores,
    *more,
    *([Line2D([], [], color=REFERENCE, linewidth=0.6, label="other networks")] if others else []),
  )
  return Drawing(
    _name("pass_curves", probe, dataset),
    _titled("What is left with low, or high, frequencies only", dataset),
    "Bands: 95 % intervals. Dashed: what guessing leaves of the clean accuracy; hollow: rests on an accuracy "
    "that cannot be told from it.",
    figure,
    pd.concat(drawn),
    "Frequencies",
    points,
  )


def _faint(panel, among: pd.DataFrame, rows: pd.DataFrame) -> bool:
  """Reference networks, thin, where they have the columns of `rows`; whether there are any."""
  there = rows[rows["column"].isin(among.columns)]
  if not len(there):
    return False
  lines = among[there["column"].tolist()].dropna(how="all").to_numpy().T
  panel.plot(there[0].astype(float), lines, color=REFERENCE, linewidth=0.6, alpha=0.6, zorder=0)
  return bool(lines.size)


def _guessing(scores: Scores, probe: str, dataset: str, pattern: str, model: str) -> float | None:
  """The highest chance under some conditions over the clean accuracy; None where either is not known."""
  chances = _rows(scores, probe, dataset, pattern, model)["chance"].dropna()
  clean = _rows(scores, "accuracy", dataset, "(top1_acc)/.+", model)["value"]
  if not len(chances) or not len(clean) or not clean.iloc[0] > 0:
    return None
  return float(chances.max() / clean.iloc[0])


def sensitivity(scores: Scores, probe: str, dataset: str, among: pd.DataFrame) -> Drawing | None:
  """The error with a wave of a frequency added, by frequency, beside the clean error."""
  pattern = rf"{re.escape(probe)}/error/r=([\d.]+)"
  clean = {m: _rows(scores, "accuracy", dataset, "(top1_acc)/.+", m)["value"] for m in scores.models}
  return _profile(
    scores,
    among,
    pattern,
    (probe, dataset),
    ("Which frequencies hurt", "error with a wave added, %"),
    "Bands: 95 % intervals; a point is the mean over orientations. Dashed: the clean error; hollow: accuracy "
    "cannot be told from chance.",
    {m: 100 - float(of.iloc[0]) for m, of in clean.items() if len(of)},
  )


def sensitivity_map(scores: Scores, probe: str, dataset: str) -> Drawing | None:
  """The error with a wave of each of the lowest frequencies added, a panel for each network."""
  pattern = rf"{re.escape(probe)}/error/i=(-?\d+)/j=(-?\d+)"
  rows = {m: _rows(scores, probe, dataset, pattern, m) for m in scores.models}
  rows = {m: of for m, of in rows.items() if len(of)}
  if not rows:
    return None
  most = max(float(of["value"].max()) for of in rows.values())
  figure = Figure(figsize=(WIDTH, 3.6))
  panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
  image = None
  for panel, (model, of) in zip(panels, rows.items(), strict=True):
    image = waves.square(panel, of["value"].to_numpy(float), of[[0, 1]].astype(int).to_numpy(), most)
    panel.set_title(model)
  assert image is not None  # there is at least one panel
  panels[0].set_ylabel("down, cycles an image")
  figure.colorbar(image, ax=panels.tolist(), label="error, %")
  return Drawing(
    _name("map", probe, dataset),
    _titled("The error with a wave of each frequency added", dataset),
    "Frequency 0 is in the middle; opposite frequencies are one wave.",
    figure,
    pd.concat(rows.values()),
    "Frequencies",
  )


def gradient(scores: Scores, probe: str, dataset: str, among: pd.DataFrame) -> Drawing | None:
  """The power of the loss gradient, by frequency."""
  return _profile(
    scores,
    among,
    r"gradient-spectrum/r=([\d.]+)",
    (probe, dataset),
    ("To which frequencies the loss reacts", "log10 of the power of the loss gradient"),
    "Bands: 95 % intervals over images. How high a line lies says how sure a network is of its answers; its "
    "slope, to which frequencies they are sensitive.",
    {},
  )


def _profile(
  scores: Scores,
  among: pd.DataFrame,
  pattern: str,
  asked: tuple[str, str],
  words: tuple[str, str],
  caption: str,
  levels: Mapping[str, float],
) -> Drawing | None:
  """Numbers by frequency, with their intervals, and dashed lines at `levels`."""
  (probe, dataset), (title, axis) = asked, words
  figure = Figure(figsize=(WIDTH, 3.0))
  panel = figure.subplots()
  drawn, points = [], {}
  for i, (model, (colour, marker)) in enumerate(zip(scores.models, OWN, strict=False)):
    rows = _rows(scores, probe, dataset, pattern, model).dropna(subset=["value"])
    if not len(rows):
      continue
    if not drawn and comparable(dataset, probe, pattern, among.columns):
      _faint(panel, among, rows)
    x = rows[0].astype(float).to_numpy()
    panel.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)
    panel.plot(x, rows["value"], color=colour, linewidth=1.4)
    gid = f"{probe}-{i}".replace(":", "_")
    fills = [_marker(str(flag), colour) for flag in rows["flag"]]
    panel.scatter(x, rows["value"], s=18, c=fills, marker=marker, edgecolors=colour, zorder=3, gid=gid)
    points[gid] = [f"{model}, {row._asdict()['metric']}: {shown(row, 2)}" for row in rows.itertuples()]
    if model in levels:
      panel.axhline(levels[model], color=colour, linewidth=0.9, linestyle="--", zorder=1)
    drawn.append(rows)
  if not drawn:
    return None
  panel.set_xlabel("spatial frequency, cycles an image")
  panel.set_ylabel(axis)
  _legend(figure, scores)
  return Drawing(
    _name("profile", probe, dataset),
    _titled(title, dataset),
    caption,
    figure,
    pd.concat(drawn),
    "Frequencies",
    points,
  )


def critical_band(scores: Scores, probe: str, dataset: str, side: int | None) -> Drawing | None:
  """The channel of each network, and people's where an image has as many pixels as theirs."""
  variant = probe.removeprefix("critical_band")
  side = side or PUBLISHED_PIXELS
  fits: dict[str, pd.DataFrame] = {}
  for estimate in ESTIMATES:
    first, _, last = estimate.partition("criticalband")
    pattern = rf"{re.escape(first)}criticalband{re.escape(variant + last)}/(bw|cf|pns)_norm"
    fits = {m: _rows(scores, probe, dataset, pattern, m).set_index(0) for m in scores.models}
    fits = {m: of for m, of in fits.items() if len(of) == 3 and of["value"].notna().all()}
    if fits:
      break
  if not fits:
    return None
  asked = scores.own[(scores.own["dataset"] == dataset) & (scores.own["probe"] == probe)]
  probed = asked["metric"].str.extract(r"threshold/f=(\d+)_norm$|top1_acc/criticalband.*/f=(\d+)")
  bands = int(probed.stack().dropna().astype(int).max()) + 1
  lowest = side / 2.0**bands
  x = np.linspace(-1, bands, 200)
  figure = Figure(figsize=(WIDTH, 3.2))
  panel = figure.subplots()
  points: dict[str, list[str]] = {}
  for i, (model, (colour, marker)) in enumerate(zip(scores.models, OWN, strict=False)):
    if model not in fits:
      continue
    fit = fits[model]
    panel.plot(x, channel(x, fit["value"], lowest), color=colour, linewidth=1.6)
    centre = np.log2(fit.loc["cf", ["low", "value", "high"]].astype(float).to_numpy() / lowest)
    height = float(channel(np.array([centre[1]]), fit["value"], lowest)[0])
    panel.plot(centre[[0, 2]], [height] * 2, color=colour, linewidth=1.2)
    gid = f"band-{i}"
    filled = PAPER if (fit["flag"] != "").any() else colour
    panel.scatter([centre[1]], [height], s=26, c=filled, marker=marker, edgecolors=colour, zorder=3, gid=gid)
    points[gid] = [f"{model}: centre {shown(next(fit.loc[['cf']].itertuples()), 1)} cycles an image"]
  more, said = [], f"People are left out: their band was measured at {PUBLISHED_PIXELS} pixels, not {side}."
  if side == PUBLISHED_PIXELS:
    panel.plot(x, channel(x, pd.Series(HUMAN_CHANNEL), lowest), color=PEOPLE, linewidth=1.6, linestyle=":")
    more, said = [Line2D([], [], color=PEOPLE, linestyle=":", label="people")], "Dotted: people."
  panel.set_xlim(-1, bands)
  panel.set_ylim(0, None)
  ticks = list(range(bands))
  panel.set_xticks(ticks, [f"{lowest * 2**f:g}" for f in ticks])
  panel.set_xlabel("spatial frequency of the noise, cycles an image")
  panel.set_ylabel("sensitivity to noise, steps")
  _legend(figure, scores, *more)
  kind = "continuous" if "continuous" in estimate else "published"
  return Drawing(
    _name("critical_band", probe, dataset),
    _titled("Where noise hurts", dataset),
    f"The channel that was fitted to the thresholds ({kind} estimate): a step is a halving of the noise that "
    f"halves accuracy. The bar at the top is the centre's 95 % interval; hollow: read with a flag. {said}",
    figure,
    pd.concat(fits.values()),
    "Critical band",
    points,
  )


def shape(scores: Scores, probe: str, dataset: str, kind: str, people: pd.DataFrame | None) -> Drawing | None:
  """Shape bias of each category of shape, and people's."""
  name = re.escape(f"shape-bias{probe.removeprefix('shape')}")
  of = {m: _rows(scores, probe, dataset, rf"{name}/([^/]+)", m) for m in scores.models}
  overall = {m: _rows(scores, probe, dataset, rf"({name})", m) for m in scores.models}
  categories = sorted({category for rows in of.values() for category in rows[0]})
  if not categories:
    return None
  seen_by_people = kind == "cue_conflict"
  known = people.set_index("category") if people is not None and seen_by_people else None
  figure = Figure(figsize=(WIDTH, 1.3 + 0.28 * len(categories)))
  panel = figure.subplots()
  points: dict[str, list[str]] = {}
  for i, (model, (colour, marker)) in enumerate(zip(scores.models, OWN, strict=False)):
    shift = 0.15 * (2 * i - 1) if len(scores.models) > 1 else 0
    rows = of[model].dropna(subset=["value"])
    y = np.array([-categories.index(category) - shift for category in rows[0]])
    panel.hlines(y, rows["low"], rows["high"], color=colour, linewidth=1.1)
    gid = f"shape-{i}"
    fills = [_marker(str(flag), colour) for flag in rows["flag"]]
    panel.scatter(rows["value"], y, s=22, c=fills, marker=marker, edgecolors=colour, zorder=3, gid=gid)
    points[gid] = [f"{model}, {row.metric}: {shown(row, 3)}" for row in rows.itertuples()]
    for value in overall[model]["value"].dropna():
      panel.axvline(value, color=colour, linewidth=1)
  more = []
  if known is not None:
    there = [category for category in categories if category in known.index]
    y = np.array([-categories.index(category) for category in there], float)
    rows = known.loc[there]
    panel.hlines(y, rows["low"], rows["high"], color=PEOPLE, linewidth=1.1)
    panel.scatter(rows["shape_bias"], y, s=40, c=PEOPLE, marker="*", zorder=3)
    more = [Line2D([], [], color=PEOPLE, marker="*", linestyle="", markersize=8, label="people, as recorded")]
  elif seen_by_people:
    panel.axvline(HUMAN_SHAPE_BIAS, color=PEOPLE, linewidth=1.2, linestyle=":")
    more = [Line2D([], [], color=PEOPLE, linestyle=":", label="people, over all categories")]
  panel.set_yticks([-at for at in range(len(categories))], categories)
  panel.set_ylim(-len(categories) + 0.4, 0.6)
  panel.set_xlim(-0.02, 1.02)
  panel.set_xlabel("share of shape decisions (0: texture, 1: shape)")
  panel.tick_params(axis="y", length=0)
  _legend(figure, scores, *more)
  absent = "" if seen_by_people else " People were not asked about these images."
  return Drawing(
    _name("shape", probe, dataset),
    _titled("Shape or texture, by the category of the shape", dataset),
    "With 95 % intervals; lines: over all categories. Hollow: decisions for either cue cannot be told from "
    f"chance.{absent}",
    figure,
    pd.concat(of.values()),
    "Shape or texture",
    points,
  )
