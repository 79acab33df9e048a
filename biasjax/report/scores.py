"""The numbers of one or two networks, as metrics.csv has them: the source of every number on their page."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from biasjax.errors import BiasjaxError, suggestion
from biasjax.report.cells import Cell, Grid, text_cell
from biasjax.study.verdict import number
from biasjax.terminal import PER_CENT

KEY = ["model", "dataset", "probe", "metric"]
NUMBERS = ["value", "low", "high", "n", "chance", "margin"]
MOST = 2  # networks on a page


@dataclasses.dataclass(frozen=True)
class Group:
  """Probes whose numbers stand together: what they are called, and what they ask, for a reader who is new."""

  title: str
  text: str
  probes: tuple[str, ...]


GROUPS = (
  Group(
    "Accuracy",
    "How often the class that the network finds most probable is right, in per cent.",
    ("accuracy",),
  ),
  Group(
    "Shape or texture",
    "Of images whose shape is of one category and whose texture is of another: the share of decisions for "
    "the shape among those for either. 1 is all shape, 0 all texture; people have about .96.",
    ("shape",),
  ),
  Group(
    "Frequencies",
    "How much of the clean accuracy is left when only low (LPP), or only high (HPP), spatial frequencies "
    "are: the mean over five cutoffs. 1 is all of it. Error under waves: by how many points of per cent it "
    "rises when a wave of one frequency is added, mean over low, middle, high ones. A centroid is the mean "
    "frequency, in cycles an image, of that rise, or of the power of the loss gradient.",
    ("spectral", "sensitivity", "gradient_spectrum"),
  ),
  Group(
    "Critical band",
    "Which spatial frequencies recognition needs, by the noise that disturbs it: the width of the band in "
    "octaves (bw), its centre in cycles an image (cf), and how little noise of the worst frequency suffices "
    "(pns). Noise counts that halves the accuracy without noise. People have about one octave around 39.6, "
    "in images of 224 pixels.",
    ("critical_band",),
  ),
  Group(
    "What is relied on",
    "How much accuracy goes when shape, texture or colour is suppressed, as a share of the clean one.",
    ("suppression",),
  ),
  Group(
    "Corruptions", "Accuracy, in per cent, or error, under the corruptions of ImageNet-C.", ("corruptions",)
  ),
  Group(
    "Attacks",
    "Accuracy, in per cent, when every image may be changed a little, by no more than eps, to be misjudged.",
    ("pgd", "fgsm", "autoattack"),
  ),
  Group(
    "Groups",
    "The gap between the accuracies of the best and the worst group of images, in points of per cent. Read "
    "it beside what equal groups would show (by-chance).",
    ("groups",),
  ),
  Group("Across benchmarks", "What is made of the numbers of several benchmarks.", ("benchmarks",)),
)
LABELS = (
  (r"top1_acc/criticalband.*/clean", "grey, low contrast, without noise"),
  (r"top1_acc/(.+)", r"{0}"),
  (r"top5_acc/(.+)", r"{0}, among the five most probable"),
  (r"shape-bias", "Shape bias"),
  (r"shape-bias:(.+)", "Shape bias, {0}"),
  (r"cue-conflict(.*)/accuracy", "decisions for either cue"),
  (r"LPP(.*)", "Low frequencies only (LPP{0})"),
  (r"HPP(.*)", "High frequencies only (HPP{0})"),
  (r"sensitivity([^/]*)/mean", "error under waves{0}: rise"),
  (r"sensitivity([^/]*)/(low|mid|high)", "error under waves{0}: rise, {1} frequencies"),
  (r"sensitivity([^/]*)/centroid", "error under waves{0}: centroid"),
  (r"disparity/(.+)", "gap between groups ({0})"),
  (r"gradient-spectrum/centroid", "loss gradient: centroid"),
  (r"metric/criticalband.*/bw_norm", "width, octaves (published estimate)"),
  (r"metric/criticalband.*/cf_norm", "centre, cycles an image (published estimate)"),
  (r"metric/criticalband.*/pns_norm", "peak noise sensitivity (published estimate)"),
  (r"criticalband.*/continuous/bw_norm", "width, octaves"),
  (r"criticalband.*/continuous/cf_norm", "centre, cycles an image"),
  (r"criticalband.*/continuous/pns_norm", "peak noise sensitivity"),
)


@dataclasses.dataclass(frozen=True)
class Scores:
  """Numbers of metrics.csv.

  Attributes:
    models: whose page it is, one or two.
    own: of these, a row for each number: `KEY`, `NUMBERS`, flag, detail, and column, its name in results.csv.
    others: of the other networks in the table, likewise.
  """

  models: list[str]
  own: pd.DataFrame
  others: pd.DataFrame

  @property
  def main(self) -> pd.DataFrame:
    """What is no point of many, by group."""
    main = self.own[~self.own["detail"]]
    order = main["probe"].map(lambda probe: ORDER.get(module(probe), len(GROUPS)))
    # What most probes were asked about comes before the other datasets.
    often = -self.own.groupby("dataset")["probe"].nunique()
    main = main.assign(group=order, often=main["dataset"].map(often))
    return main.sort_values(["group", "often"], kind="stable").drop(columns="often")

  def of(self, model: str, pattern: str) -> pd.DataFrame:
    """The rows of a model whose metric matches, with the groups of the match as columns 0, 1 ..."""
    mine = self.own[self.own["model"] == model]
    found = mine["metric"].str.extract(f"^(?:{pattern})$")
    return mine.join(found[found[0].notna()], how="inner")


ORDER = {probe: i for i, group in enumerate(GROUPS) for probe in group.probes}


def module(probe: str) -> str:
  """A probe's name without its options."""
  return probe.partition(":")[0]


def read(workdir: epath.Path, names: Sequence[str], columns) -> Scores:
  """The numbers of the networks that are asked for.

  Args:
    workdir: of a run.
    names: of one or two networks, all of the table's if none.
    columns: of `summary.columns`.

  Raises:
    BiasjaxError: there are no results, a name is unknown, or more than two networks are meant.
  """
  path = workdir / "metrics.csv"
  if not path.exists():
    known = (workdir / "run.json").exists()
    todo = (
      f"python run.py --summarise --workdir={workdir}"
      if known
      else "measure something first, or check --workdir"
    )
    raise BiasjaxError(f"{workdir} holds no metrics.csv: {todo}")
  try:
    with path.open("r") as file:
      table = pd.read_csv(file, dtype=str, keep_default_na=False)
    metrics = table.assign(**{name: pd.to_numeric(table[name]) for name in NUMBERS})
    metrics["detail"] = table["detail"].map({"True": True, "False": False}).astype(bool)
    metrics["column"] = columns(metrics)
    metrics = metrics[[*KEY, *NUMBERS, "flag", "detail", "column"]]
  except (OSError, ValueError, KeyError) as error:
    reason = " ".join(str(error).split())
    raise BiasjaxError(
      f"{path} is no metrics.csv of this version ({reason}): python run.py --summarise --workdir={workdir}"
    ) from error
  models = chosen(list(dict.fromkeys(metrics["model"])), names, workdir)
  mine = metrics["model"].isin(models)
  own = metrics[mine].sort_values("model", key=lambda m: m.map(models.index), kind="stable")
  return Scores(models, own, metrics[~mine])


def chosen(known: Sequence[str], names: Sequence[str], workdir: epath.Path) -> list[str]:
  """One or two of `known`, as named, or all.

  Raises:
    BiasjaxError: an unknown name, or more than two.
  """
  for name in names:
    if name not in known:
      raise BiasjaxError(f"--models={name}: {workdir} holds no network called so: {suggestion(name, known)}")
  models = list(dict.fromkeys(names)) or list(known)
  if len(models) > MOST:
    said = "are asked for" if names else f"are in {workdir}"
    raise BiasjaxError(
      f"--report is about one or two networks, and {len(models)} {said}: name them with --models=NAME,NAME"
    )
  return models


def label(metric: str) -> str:
  """What a number is called on the page."""
  for pattern, words in LABELS:
    match = re.fullmatch(pattern, metric)
    if match:
      return words.format(*match.groups())
  return metric


def digits(rows: pd.DataFrame) -> int:
  """Decimals of a metric, the same for all networks: of whole per cent one, else three that count."""
  if rows["metric"].iloc[0].startswith(PER_CENT):
    return 1
  return 1 if float(np.nanmax(np.abs(rows[["value", "high"]].fillna(0)))) >= 10 else 3


def shown(row, decimals: int) -> str:
  """A number with its interval."""
  if not math.isfinite(row.value):
    return "undetermined"
  if not math.isfinite(row.low):
    return number(row.value, decimals)
  return f"{number(row.value, decimals)} [{number(row.low, decimals)}, {number(row.high, decimals)}]"


def cell(row, decimals: int) -> Cell:
  """The same as a cell, which says which number it is."""
  key = (row.model, row.dataset, row.probe, row.metric)
  sort = row.value if math.isfinite(row.value) else None
  return Cell(shown(row, decimals), sort=sort, kind="n", metric=key)


def grids(scores: Scores) -> list[tuple[str, str, Grid]]:
  """The scorecard: for each group its title, what it asks, and its numbers."""
  main = scores.main
  found = []
  for at, rows in main.groupby("group", sort=True):
    known = GROUPS[at] if at < len(GROUPS) else Group("Other probes", "", ())
    found.append((known.title, known.text, _grid(scores, rows, known.title)))
  return found


def everything(scores: Scores, classes: Mapping[str, Mapping[int, str]]) -> Grid:
  """All numbers, to look one up.

  Args:
    scores: the numbers.
    classes: dataset -> what its classes are called, by label.
  """
  return _grid(scores, scores.own, f"All {len(scores.own):,} numbers", classes)


WORST_CLASS = re.compile(r"class_acc/(.+)/worst_class")


def named_class(metric: str, value: float, classes: Mapping[int, str]) -> str:
  """The class whose index a number is, by name; "" of other numbers, and where no name is known.

  Args:
    metric: the number's name.
    value: the number.
    classes: what those of its dataset are called, by label.
  """
  known = WORST_CLASS.fullmatch(metric) and math.isfinite(value)
  return classes.get(int(value), "") if known else ""


def _grid(
  scores: Scores, rows: pd.DataFrame, caption: str, classes: Mapping[str, Mapping[int, str]] | None = None
) -> Grid:
  several = len(scores.models) > 1
  guessed, sampled = (bool(rows[name].notna().any()) for name in ("chance", "margin"))
  table = []
  for (dataset, _, metric), of in rows.groupby(["dataset", "probe", "metric"], sort=False):
    decimals = digits(of)
    by_model = {row.model: row for row in of.itertuples()}
    line = [Cell(label(metric) if classes is None else metric, kind="wraps"), text_cell(dataset)]
    line += [cell(by_model[m], decimals) if m in by_model else text_cell("-") for m in scores.models]
    line.append(_span(of["n"], 0))
    line += [_span(of["margin"], decimals)] if sampled else []
    line += [_span(of["chance"], decimals)] if guessed else []
    called = (classes or {}).get(str(dataset), {})
    named = dict.fromkeys(named_class(str(metric), row.value, called) for row in by_model.values())
    line.append(Cell("; ".join(filter(None, [flags(by_model), *named])), kind="flag"))
    table.append(line)
  values = scores.models if several else ["value [95 % interval]"]
  further = [name for name, there in (("margin", sampled), ("chance", guessed)) if there]
  columns = ["measure", "images", *values, "n", *further, "read with"]
  return Grid(caption, columns, table)


def flags(rows: Mapping[str, Any]) -> str:
  """What a number should be read with, of each network that it should; `rows` are by model."""
  said = {model: row.flag for model, row in rows.items()}
  different = list(dict.fromkeys(said.values()))
  if len(different) == 1:
    return different[0]
  return "; ".join(f"{model}: {flag}" for model, flag in said.items() if flag)


def _span(values: pd.Series, decimals: int) -> Cell:
  """A number of two networks that is mostly the same; "-" for one that has none, where the other has."""
  known = values if values.notna().any() else values.dropna()
  said = (number(float(v), decimals) if decimals else f"{v:,.0f}" for v in known.dropna())
  texts = ["-" if missing else next(said) for missing in known.isna()]
  return Cell(", ".join(dict.fromkeys(texts)), kind="n")
