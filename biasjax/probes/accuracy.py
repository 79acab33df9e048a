"""Accuracy on the images as they are: top-1, top-5, by class, by condition, and how well it is calibrated."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.probes.base import DECISIONS, Metric, Probe
from biasjax.probes.decisions import all_classes, sixteen_categories
from biasjax.statistics import calibration_error, mean, spread_of_classes, wilson

CLEAN = "clean"
REFINED_BIAS = {f"refined_bias_{cue}": cue for cue in layouts.REFINED_BIAS}
# Kinds of labels whose images are conditions of others, which no other probe asks about.
CONDITIONED = {
  "imagenet_c": all_classes,
  "imagenet_cbar": all_classes,
  "model_vs_human": sixteen_categories,
}


def summarise(observations: Mapping[str, pd.DataFrame]) -> list[Metric]:
  """Top-1 and top-5 in per cent, calibration, differences between classes; and what a benchmark is known by.

  Intervals (95 %) are Wilson's for counts. Means over the conditions of ImageNet-C and C-bar treat an image
  in all its conditions as one draw.
  """
  table = observations["accuracy"]
  kind = table.attrs.get("labels")
  rank = table["rank"].to_numpy()
  if kind in ("imagenet_c", "imagenet_cbar"):
    main = corrupted(table, kind)
  elif kind == "model_vs_human":
    main = experiments(table)
  elif kind in REFINED_BIAS:
    main = [*refined_bias(table, REFINED_BIAS[kind]), _top(rank, 1), _top(rank, 5, detail=True)]
  else:
    main = [_top(rank, 1), _top(rank, 5, detail=True)]
  several_right = kind == "imagenet_real" or kind in REFINED_BIAS
  return main + calibration(table) + ([] if several_right else by_class(table))


def _top(rank: np.ndarray, k: int, name: str = "{dataset}", detail: bool = False) -> Metric:
  right, n = int((rank < k).sum()), len(rank)
  low, high = wilson(right, n)
  return Metric(f"top{k}_acc/{name}", 100 * right / n, 100 * low, 100 * high, n, detail)


def _percent(edges: tuple[float, float, float]) -> tuple[float, float, float]:
  value, low, high = edges
  return 100 * value, 100 * low, 100 * high


def calibration(table: pd.DataFrame) -> list[Metric]:
  """Expected calibration error (15 bins), Brier score over all competing classes, negative log-likelihood."""
  right = table["rank"].to_numpy() == 0
  error = calibration_error(table["confidence"].to_numpy(), right)
  return [
    Metric("ece/{dataset}", *error, len(right), detail=True),
    Metric("brier/{dataset}", *mean(table["brier"].to_numpy()), len(right), detail=True),
    Metric("nll/{dataset}", *mean(table["nll"].to_numpy()), len(right), detail=True),
  ]


def by_class(table: pd.DataFrame) -> list[Metric]:
  """The worst class and its accuracy, the mean over classes, and the spread between them.

  The worst of many classes looks worse than it is; its interval does not know that it was picked.
  """
  label, right = table["label"].to_numpy(), table["rank"].to_numpy() == 0
  classes, index = np.unique(label, return_inverse=True)
  n, rights = np.bincount(index), np.bincount(index, right).astype(int)
  worst = int(np.argmin(rights / n))
  low, high = wilson(int(rights[worst]), int(n[worst]))
  average, spread = _percent(mean(rights / n)), _percent(spread_of_classes(rights, n))
  name, counts = "class_acc/{dataset}", (int(n[worst]), len(classes))
  return [
    Metric(f"{name}/worst", 100 * rights[worst] / n[worst], 100 * low, 100 * high, counts[0], detail=True),
    Metric(f"{name}/worst_class", float(classes[worst]), math.nan, math.nan, counts[0], detail=True),
    Metric(f"{name}/mean", *average, counts[1], detail=True),
    Metric(f"{name}/sd", *spread, counts[1], detail=True),
  ]


# --- ImageNet-C and C-bar ----------------------------------------------------------------------------------


def corrupted(table: pd.DataFrame, kind: str) -> list[Metric]:
  """Accuracy for each corruption and severity, and the means, each named as what it is.

  top1_acc/<dataset> is the paper's: over all 19 corruptions of C (10 of C-bar). top1_acc/<dataset>/15 and mCE
  are over the 15 that Hendrycks & Dietterich count. A mean is there only if all its conditions are.
  """
  right, conditions = by_condition(table)
  names = [f"{corruption}_{severity}" for corruption, severity in (c.split("/") for c in conditions)]
  metrics = []
  for column, name in enumerate(names):
    seen = right[:, column][~np.isnan(right[:, column])]
    metrics.append(_top(1 - seen.astype(int), 1, name, detail=True))
  of = (*layouts.FIFTEEN, *layouts.EXTRA) if kind == "imagenet_c" else layouts.CBAR
  means = [_mean_accuracy("top1_acc/{dataset}", right, conditions, of)]
  if kind == "imagenet_c":
    means.append(_mean_accuracy("top1_acc/{dataset}/15", right, conditions, layouts.FIFTEEN))
    of_alexnet = {c: error / 100 for c, error in layouts.ALEXNET.items()}
    for corruption, error_there in of_alexnet.items():
      error = weighted(right, conditions, {corruption: 1 / error_there})
      means.append(_error_metric(f"CE/{corruption}", error, len(right), detail=True))
    mce = weighted(right, conditions, {c: 1 / (len(of_alexnet) * error) for c, error in of_alexnet.items()})
    means.append(_error_metric("mCE/{dataset}", mce, len(right)))
  return [metric for metric in means if metric] + metrics


def by_condition(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
  """Right (1), wrong (0) or not decoded (NaN), float [images, conditions], and the conditions in order."""
  ids = table["example_id"].to_list()
  split = [example_id.split("/", 2) for example_id in ids]
  condition = pd.Categorical(["/".join(parts[:2]) for parts in split])
  image = pd.Categorical([parts[2] for parts in split])
  right = np.full((len(image.categories), len(condition.categories)), np.nan, np.float32)
  right[image.codes, condition.codes] = table["rank"].to_numpy() == 0
  return right, list(condition.categories)


def weighted(
  right: np.ndarray, conditions: Sequence[str], weights: Mapping[str, float]
) -> tuple[float, float, float] | None:
  """sum over corruptions of weight * (mean error over severities), with an interval over images.

  Args:
    right: float [images, conditions], NaN where an image could not be decoded.
    conditions: "<corruption>/<severity>" of the columns.
    weights: corruption -> weight.

  Returns:
    None where a condition is missing.
  """
  wanted = [f"{corruption}/{severity}" for corruption in weights for severity in layouts.SEVERITIES]
  if not set(wanted) <= set(conditions):
    return None
  columns = right[:, [conditions.index(name) for name in wanted]].astype(float)
  average = np.nanmean(columns, axis=0)
  # An image that is missing in a condition counts there as the average one.
  error = 1 - np.where(np.isnan(columns), average, columns)
  weight = np.repeat(list(weights.values()), len(layouts.SEVERITIES)) / len(layouts.SEVERITIES)
  return mean(error @ weight)


def _mean_accuracy(
  name: str, right: np.ndarray, conditions: Sequence[str], corruptions: Sequence[str]
) -> Metric | None:
  error = weighted(right, conditions, dict.fromkeys(corruptions, 1 / len(corruptions)))
  if error is None:
    return None
  value, low, high = error
  return Metric(name, 100 * (1 - value), 100 * (1 - high), 100 * (1 - low), len(right))


def _error_metric(
  name: str, error: tuple[float, float, float] | None, n: int, detail: bool = False
) -> Metric | None:
  return Metric(name, *_percent(error), n, detail) if error else None


# --- REFINED-BIAS ------------------------------------------------------------------------------------------


def refined_bias(table: pd.DataFrame, cue: str) -> list[Metric]:
  """Mean reciprocal rank of the right class among all 1,000, where only `cue` shows it (Kim et al. 2026).

  Of several right classes the best counts, in the list in which the others still stand. The interval is
  Student's over images; a row for each of the ten classes of stimuli beside.
  """
  reciprocal = 1 / (1 + table["rank"].to_numpy(float))
  of_class = table["example_id"].str.rsplit("/", n=1).str[0].str.rsplit("/", n=1).str[-1].to_numpy()
  name = f"refined-bias/{cue}"
  metrics = [Metric(name, *_within(mean(reciprocal)), len(reciprocal))]
  for of in sorted(set(of_class)):
    mine = reciprocal[of_class == of]
    metrics.append(Metric(f"{name}/{of}", *_within(mean(mine)), len(mine), detail=True))
  return metrics


def _within(edges: tuple[float, float, float]) -> tuple[float, float, float]:
  """An interval of what lies in [0, 1]."""
  value, low, high = edges
  return value, max(low, 0.0), min(high, 1.0)


# --- model-vs-human ----------------------------------------------------------------------------------------


def experiments(table: pd.DataFrame) -> list[Metric]:
  """Accuracy for each experiment and condition, and the mean over the 17 experiments.

  top1_acc/ood_mean leaves out undistorted conditions and those that people cannot see either
  (`layouts.NOT_OUT_OF_DISTRIBUTION`), as Geirhos et al. 2021; it is there only if all experiments are.
  """
  rank = table["rank"].to_numpy()
  condition = np.array([_condition(example_id) for example_id in table["example_id"]])
  experiment = np.array([name.split("/")[0] for name in condition])
  metrics, means = [], []
  for name in sorted(set(experiment)):
    mine = experiment == name
    metrics.append(_top(rank[mine], 1, name, detail=True))
    if name in layouts.PARAMETRIC:
      for of_experiment in sorted(set(condition[mine])):
        metrics.append(_top(rank[condition == of_experiment], 1, of_experiment, detail=True))
    counted = mine & ~np.isin(condition, list(layouts.NOT_OUT_OF_DISTRIBUTION))
    if counted.any():
      means.append(_top(rank[counted], 1))
  if len(means) == len(layouts.EXPERIMENTS):
    value = float(np.mean([metric.value for metric in means]))
    half = math.sqrt(sum(((m.high - m.low) / 2) ** 2 for m in means)) / len(means)
    n = sum(metric.n for metric in means)
    metrics.insert(0, Metric("top1_acc/ood_mean", value, value - half, value + half, n))
  return metrics


def _condition(example_id: str) -> str:
  place = layouts.experiment(example_id.split("/"))
  return place.condition if place else "unknown"


def make(size: int = 224) -> Probe:
  """The probe for size x size images."""
  del size  # nothing here depends on it
  return Probe(
    name="accuracy",
    conditions={CLEAN: np.zeros((), np.int32)},
    perturb=lambda key, image, condition: image,
    summarise=summarise,
    decide={**DECISIONS, **CONDITIONED},
  )
