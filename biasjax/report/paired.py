"""Two networks on the same examples: the difference of each number, with an interval that is paired.

Only numbers that the stored decisions give back are compared, so that a difference is that of the two numbers
which stand beside it. Ratios of sums over examples, of which `means` has more, have intervals of their own;
what else a summary makes of the same images is in `regrouped`; an axis' difference is the mean of its
columns'.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.special

from biasjax.errors import BiasjaxError
from biasjax.recorded import trials
from biasjax.report import means, of_samples, regrouped
from biasjax.report.scores import Scores, module
from biasjax.results import across
from biasjax.results.summary import Summarised, of_whole
from biasjax.results.unit import SAMPLE
from biasjax.statistics import Z, difference_of_ratios
from biasjax.study.sampling import ACCURACIES, correlate
from biasjax.study.stored import Observations

LEFT_OUT = "left out"  # of `DataFrame.attrs`
COLUMNS = ["model", "other", "dataset", "probe", "metric", "difference", "low", "high", "n", "smallest"]
# Numbers of the probe watermark, and the class it is about, as the probe has them.
WATERMARK, CARTON = "watermark/", 478
NAMED = 3  # images
# Why a number is not compared.
TOO_FEW = "too few images tell how far such a difference may be off"
OF_OTHERS = "not one probe's number: made of others, or of groups of images"
OF_LEFT_OUT = "made of numbers that are not all compared"
NOT_GIVEN = "stored decisions do not give it, or not without some of the images"
POWER = 0.8  # of the smallest difference that could have been seen

# Numerator and denominator of a ratio of sums over examples, and which image each example is made of, if any.
Parts = tuple[pd.DataFrame, tuple[str, ...]]


def differences(
  scores: Scores, observed: Observations, get_probe: Callable[[str, int], Summarised]
) -> pd.DataFrame:
  """The first network less the second, for each number of the scorecard that decisions make.

  Args:
    scores: of two networks.
    observed: what they said.
    get_probe: (name, pixels of a side) -> probe, for its summary.

  Returns:
    Columns `COLUMNS`, in the units of metrics.csv. The interval is paired, by
    `statistics.difference_of_ratios` or `regrouped.differences`, and for an axis `across.combined` of its
    columns' with the correlations of their differences; `n` the examples that both have. `smallest`
    is the smallest true difference for which such an interval would leave out 0 in 80 of 100 cases, by the
    normal approximation. What both networks have a number of and is not there is in its `attrs`, as
    `LEFT_OUT`: {(dataset, metric): why}.
  """
  first, second = scores.models
  main = scores.main.set_index(["model", "dataset", "probe", "metric"])
  rows, read = [], {}
  left_out: dict[tuple[str, str], str] = {}
  apart: dict[tuple[str, str, str], pd.Series] = {}  # of accuracies, by example
  others: dict[tuple[str, str], list[str]] = {}
  for dataset, probe, metric in dict.fromkeys(main.index.droplevel("model")):
    values = [main["value"].get((m, dataset, probe, metric), math.nan) for m in (first, second)]
    if not all(map(math.isfinite, values)):
      continue
    name = of_whole(metric, dataset)  # as probes call it
    found: list[Parts] = []
    for model, value in zip((first, second), values, strict=True):
      try:
        parts = _parts(observed, read, model, dataset, probe, name, get_probe)
      except BiasjaxError:  # what is damaged is said where the tables are made
        parts = None
      if parts is None or not _gives(parts[0], name, value):
        break
      found.append(parts)
    if len(found) == 2:
      compared = _compared(found[0], found[1], name)
      if compared:
        rows.append((first, second, dataset, probe, metric, *compared))
        if metric.startswith(ACCURACIES):
          apart[dataset, probe, metric] = found[0][0]["got"] - found[1][0]["got"]
      else:
        left_out[dataset, metric] = _different(found[0][0].index, found[1][0].index) or TOO_FEW
    elif all((model, dataset, probe) in observed.units for model in scores.models):
      others.setdefault((dataset, probe), []).append(metric)
    else:
      left_out[dataset, metric] = OF_OTHERS
  for (dataset, probe), metrics in others.items():
    names = {of_whole(metric, dataset): metric for metric in metrics}
    values = [
      {name: float(main["value"][model, dataset, probe, metric]) for name, metric in names.items()}
      for model in scores.models
    ]
    try:
      regroupings = regrouped.differences(observed, get_probe, scores.models, dataset, probe, values)
      regroupings = {names[name]: of for name, of in regroupings.items()}
      lacking = set(metrics) - set(regroupings)
      why = _not_regrouped(observed, scores.models, dataset, probe) if lacking else ""
    except BiasjaxError as error:
      regroupings, why = {}, str(error)
    left_out |= {(dataset, metric): why for metric in metrics if metric not in regroupings}
    for metric, (value, low, high, n) in regroupings.items():
      rows.append((first, second, dataset, probe, metric, value, low, high, n, _smallest(value, low, high)))
  columns = pd.DataFrame(rows, columns=COLUMNS)
  for axis in across.AXES:
    values = [main["value"].get((m, across.NAME, across.NAME, axis), math.nan) for m in (first, second)]
    compared = _axis(axis, values[0] - values[1], columns, apart)
    if compared:
      rows.append((first, second, across.NAME, across.NAME, axis, *compared))
      left_out.pop((across.NAME, axis), None)
    elif (across.NAME, axis) in left_out:
      left_out[across.NAME, axis] = OF_LEFT_OUT
  compared_all = pd.DataFrame(rows, columns=COLUMNS)
  compared_all.attrs[LEFT_OUT] = left_out
  return compared_all


def _different(one: pd.Index, other: pd.Index) -> str:
  """That, and how, the networks were asked about different images; "" if about the same."""
  apart, every = one.symmetric_difference(other), one.union(other).nunique()
  if not len(apart):
    return ""
  if len(apart) == every:
    return "the networks were asked about different images"
  few = ", ".join(map(str, apart[:NAMED])) + (" ..." if len(apart) > NAMED else "")
  shown = f"only one network was shown {len(apart):,} of {every:,} images ({few})"
  return f"{shown}: the other's could not be decoded, say"


def _not_regrouped(observed: Observations, models: Sequence[str], dataset: str, probe: str) -> str:
  """Why a number is not compared by leaving out groups of images."""
  if any(SAMPLE in observed.units[model, dataset, probe].key for model in models):
    return "a sample does not tell how it differs from image to image"
  tables = [observed.read(model, dataset, probe) for model in models]
  if any(table is None for table in tables):
    return "not all decisions are stored"
  one, other = (pd.Index(table["example_id"].unique()) for table in tables if table is not None)
  few = len(one) < 2 * regrouped.GROUPS
  return _different(one, other) or (f"of fewer than {2 * regrouped.GROUPS} images" if few else NOT_GIVEN)


def _axis(
  axis: str, difference: float, columns: pd.DataFrame, apart: Mapping[tuple[str, str, str], pd.Series]
) -> tuple[float, float, float, int, float] | None:
  """(difference, low, high, n, smallest) of an axis; None where not all of its columns are compared.

  Args:
    axis: its name.
    difference: of the two numbers, NaN where there are none.
    columns: the rows of other numbers.
    apart: {(dataset, probe, metric): the difference of each example}.
  """
  of_imagenet = columns.assign(other=columns["dataset"] != "imagenet").sort_values("other", kind="stable")
  known = of_imagenet.drop_duplicates("metric").set_index("metric")  # as `across` takes them
  parts = list(across.AXES[axis])
  if not set(parts) <= set(known.index):
    return None
  mine = known.loc[parts]
  if not np.isclose(mine["difference"].mean(), difference, rtol=1e-6, atol=1e-9):
    return None
  together = across.alike(parts)
  units = zip(mine["dataset"], mine["probe"], parts, strict=True)
  examples = (apart.get(unit) for unit in units)
  correlate(together, {i: of - of.mean() for i, of in enumerate(examples) if of is not None})
  widths = (mine[["low", "high"]].T - mine["difference"]).to_numpy(float)
  down, up = (float(half) for half in across.combined(widths, together))
  low, high = difference - down, difference + up
  return difference, low, high, int(mine["n"].sum()), _smallest(difference, low, high)


def _scale(parts: pd.DataFrame, metric: str) -> float:
  return parts.attrs.get(means.SCALE, 100.0 if metric.startswith((*ACCURACIES, WATERMARK)) else 1.0)


def _gives(parts: pd.DataFrame, metric: str, value: float) -> bool:
  """Whether the decisions are those that the number was made of."""
  total = float(parts["of"].sum())
  return total > 0 and bool(
    np.isclose(_scale(parts, metric) * parts["got"].sum() / total, value, rtol=1e-6, atol=1e-9)
  )


def _parts(
  observed: Observations,
  read: dict,
  model: str,
  dataset: str,
  probe: str,
  metric: str,
  get_probe: Callable[[str, int], Summarised],
) -> Parts | None:
  """float [examples], columns got and of; None where the number is no ratio of sums over examples."""
  unit = observed.units.get((model, dataset, probe))
  if unit is not None and SAMPLE in unit.key:
    if (model, dataset) not in read:
      read[model, dataset] = of_samples.frames(observed, get_probe, model, dataset)
    found = of_samples.parts(read[model, dataset], probe, metric)
    return None if found is None else (found, ())

  def table(name: str) -> pd.DataFrame | None:
    if (model, dataset, name) not in read:
      read[model, dataset, name] = observed.read(model, dataset, name)
    return read[model, dataset, name]

  found = means.parts(metric, probe, unit.key.get("labels", "imagenet") if unit else "", table)
  if found is not None:
    return found, ()
  if metric.startswith("top1_acc/"):
    right = observed.accuracy(model, dataset, probe, metric)
    return None if right is None else (pd.DataFrame({"got": right, "of": 1.0}), ())

  name = metric.partition(":")[0]
  wanted = of_samples.KEPT.get(name) or of_samples.LOST.get(name.removesuffix("-reliance"))
  if (module(probe) in ("spectral", "suppression") and wanted) or metric.startswith(WATERMARK):
    asked, clean = table(probe), table("accuracy")
    if asked is None or clean is None:
      return None
    if metric.startswith(WATERMARK):
      return _watermark(asked, clean, metric), ()
    mine = asked[asked["condition"].isin(wanted or [])]
    kept = (mine["rank"] == 0).groupby(mine["example_id"]).mean()
    of = (clean["rank"] == 0).groupby(clean["example_id"]).mean().astype(float)
    got = kept if name in of_samples.KEPT else of - kept
    return pd.DataFrame({"got": got, "of": of}).dropna(), ()
  variant = probe.removeprefix("shape")
  if module(probe) == "shape" and metric in (f"shape-bias{variant}", f"cue-conflict{variant}/accuracy"):
    cues = _cues(observed, table(probe), model, dataset, probe)
    if cues is None or metric.startswith("shape-bias"):
      return cues
    decided, images = cues
    return decided.assign(got=decided["of"], of=1.0), images
  return None


def _watermark(asked: pd.DataFrame, clean: pd.DataFrame, metric: str) -> pd.DataFrame:
  """What the probe makes of the same images with a watermark and without, as `_parts`."""
  marked, plain = (of.set_index("example_id").sort_index() for of in (asked, clean))
  if metric == f"{WATERMARK}gap":
    return pd.DataFrame({"got": (marked["rank"] == 0).astype(float) - (plain["rank"] == 0), "of": 1.0})
  other = (marked["label"] != CARTON) & (plain["prediction"] != CARTON)
  becomes = other & (marked["prediction"] == CARTON)
  return pd.DataFrame({"got": becomes.astype(float), "of": other.astype(float)})


def _cues(
  observed: Observations, decided: pd.DataFrame | None, model: str, dataset: str, probe: str
) -> Parts | None:
  if decided is None:
    return None
  key = observed.units[model, dataset, probe].key
  kind = key.get("labels", "cue_conflict")
  decided.attrs |= {"labels": kind, "classes": key.get("classes")}
  if kind not in ("cue_conflict", "synthetic_conflict", "class_conflict"):
    return None
  decisions = trials.from_observations(decided).assign(example_id=decided["example_id"].to_numpy())
  if ":" in probe:
    competing = probe.partition("categories=")[2].split("+")
    decisions = decisions[decisions["shape"].isin(competing) & decisions["texture"].isin(competing)]
  conflict = decisions[decisions["shape"] != decisions["texture"]]
  shape, texture = ((conflict["response"] == conflict[cue]).to_numpy(float) for cue in ("shape", "texture"))
  parts = pd.DataFrame({"got": shape, "of": shape + texture}, index=conflict["example_id"])
  names = conflict["image"].astype(str).str.extract(trials.IMAGES)
  if kind == "synthetic_conflict" or names.isna().any(axis=None):  # as the probe `shape` takes them
    return parts, ()
  parts["shape"], parts["texture"] = names[0].to_numpy(), names[1].to_numpy()
  return parts, ("shape", "texture")


def _compared(first: Parts, second: Parts, metric: str) -> tuple[float, float, float, int, float] | None:
  """(difference, low, high, n, smallest)."""
  (one, clusters), (other, _) = first, second
  both = one.index.intersection(other.index)
  if not len(both) or not one.index.is_unique or not other.index.is_unique:
    return None
  if len(both) < max(len(one), len(other)):
    return None  # the difference would not be that of the two numbers
  one, other = one.loc[both], other.loc[both]
  pair = tuple((of["got"].to_numpy(float), of["of"].to_numpy(float)) for of in (one, other))
  ways: Sequence[np.ndarray] = [one[name].to_numpy(str) for name in clusters]
  scale = _scale(first[0], metric)
  value, low, high = (scale * edge for edge in difference_of_ratios(pair[0], pair[1], ways))
  if not math.isfinite(low):
    return None
  n = min(of.attrs.get(of_samples.ASKED, len(both)) for of in (first[0], second[0]))
  if n < len(both):
    # The one discordant example that `difference_of_ratios` adds is one of those that were looked at.
    one = Z * scale / (n * math.sqrt(float(pair[0][1].mean()) * float(pair[1][1].mean())))
    low, high = value - math.hypot(value - low, one), value + math.hypot(high - value, one)
  return value, low, high, n, _smallest(value, low, high)


def _smallest(value: float, low: float, high: float) -> float:
  """In standard errors: those of the interval's end towards 0, and what it takes for the power.

  The other end may be further, or cut to what a difference can be.
  """
  towards = value - low if value > 0 else high - value if value < 0 else max(value - low, high - value)
  return (1 + float(scipy.special.ndtri(POWER)) / Z) * towards
