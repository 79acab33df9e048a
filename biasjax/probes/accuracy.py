"""Accuracy on the images as they are: top-1, top-5, by class, by condition, and how well it is calibrated."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.data.classes import class_index
from biasjax.probes import chance, observed
from biasjax.probes.base import DECISIONS, Metric, Probe
from biasjax.probes.decisions import all_classes, laion_c_superclasses, sixteen_categories
from biasjax.statistics import (
  calibration_error,
  mean,
  mean_of_intervals,
  mean_of_shares,
  mean_over_classes,
  ratio_of_totals,
  spread_of_classes,
  wilson,
)

CLEAN = "clean"
SMALLEST_LEFT = 2.0**-24  # that a float32 probability can leave to the other classes
REFINED_BIAS = {f"refined_bias_{cue}": cue for cue in layouts.REFINED_BIAS}
# Kinds of labels of images that were corrupted, and the corruptions that a mean is over.
CORRUPTED = {
  "imagenet_c": (*layouts.FIFTEEN, *layouts.EXTRA),
  "imagenet_cbar": layouts.CBAR,
  "laion_c": layouts.LAION_C,
}
# Kinds of labels whose images are conditions of others, which no other probe asks about.
CONDITIONED = {
  "imagenet_c": all_classes,
  "imagenet_cbar": all_classes,
  "laion_c": laion_c_superclasses,
  "model_vs_human": sixteen_categories,
}


def summarise(observations: Mapping[str, pd.DataFrame]) -> list[Metric]:
  """Top-1 and top-5 in per cent, calibration, differences between classes; and what a benchmark is known by.

  Intervals (95 %) are Wilson's for counts. What is over several conditions of ImageNet-C and C-bar treats an
  image in all its conditions as one draw.
  """
  table = observations["accuracy"]
  kind, image = table.attrs.get("labels"), None
  if kind in CORRUPTED:
    main, image = corrupted(table, kind)
  elif kind == "model_vs_human":
    main = experiments(table)
  else:
    rank, (guessing,) = table["rank"].to_numpy(), _chances(table)
    main = refined_bias(table, REFINED_BIAS[kind]) if kind in REFINED_BIAS else []
    main += [_top(rank, guessing), _top(rank, guessing, k=5, detail=True)]
  if "texture" in table:
    main += cue_share(table)
  several_right = kind == "imagenet_real" or kind in REFINED_BIAS or "labels" in table
  return main + calibration(table, image) + ([] if several_right else by_class(table, image))


def cue_share(table: pd.DataFrame) -> list[Metric]:
  """How often the answer is the class that the cue goes with, per cent of the images whose own is another.

  A share at chance is a finding of a network that is right, and none of one that guesses: it is flagged where
  answers for the class or the cue, which differ, cannot be told from chance. Of two classes every answer is
  for one of them; there the share itself is flagged.
  """
  apart = table[(table["label"] != table["texture"]).to_numpy(bool)]
  if not len(apart):
    return []
  label, cue, answers = (apart[name].to_numpy() for name in ("label", "texture", "prediction"))
  classes, n = chance.competing(table.attrs), len(apart)
  of_class, of_cue = (float(chance.of_answers(of, answers, classes)[0]) for of in (label, cue))
  for_cue, for_either = int((answers == cue).sum()), int(((answers == cue) | (answers == label)).sum())
  edges = for_cue / n, *wilson(for_cue, n)
  flag = chance.flag(*edges[1:], of_cue, below=False)
  if of_class + of_cue < 1:
    flag = chance.flag_of_count(for_either, n, of_class + of_cue)
    flag = f"answers for the class or the cue {flag}" if flag else ""
  return [Metric("cue_share/{dataset}", *_percent(edges), n, chance=100 * of_cue, flag=flag)]


def _chances(table: pd.DataFrame, condition: np.ndarray | None = None, conditions: int = 1) -> np.ndarray:
  labels, answers = chance.right_classes(table), table["prediction"].to_numpy()
  if "labels" in table:
    return chance.of_answers(labels, answers, chance.competing(table.attrs), condition, conditions)
  of_stimuli = layouts.REFINED_BIAS.get(REFINED_BIAS.get(table.attrs.get("labels", ""), ""), {})
  for first, *others in of_stimuli.values():  # of several right classes the first is the label
    named = [class_index()[wnid] for wnid in others]
    answers = np.where(np.isin(answers, named), class_index()[first], answers)
  return chance.of_answers(labels, answers, chance.competing(table.attrs), condition, conditions)


def _top(
  rank: np.ndarray, guessing: float, name: str = "{dataset}", *, k: int = 1, detail: bool = False
) -> Metric:
  right, n = int((rank < k).sum()), len(rank)
  edges = right / n, *wilson(right, n)
  return _accuracy(f"top{k}_acc/{name}", edges, n, min(k * float(guessing), 1.0), detail=detail)


def _accuracy(
  name: str, edges: tuple[float, float, float], n: int, guessing: float, *, detail: bool = False
) -> Metric:
  """Of an accuracy with its interval, and its chance, all as fractions."""
  flag = chance.flag(*edges[1:], guessing)
  return Metric(name, *_percent(edges), n, detail=detail, chance=100 * guessing, flag=flag)


def _percent(edges: tuple[float, float, float]) -> tuple[float, float, float]:
  value, low, high = edges
  return 100 * value, 100 * low, 100 * high


def calibration(table: pd.DataFrame, image: np.ndarray | None = None) -> list[Metric]:
  """Expected calibration error (15 bins), Brier score over all competing classes, negative log-likelihood.

  The last is infinite, and flagged, where a network rules the right class of an image out (a logit of -inf).

  Args:
    table: observations.
    image: int [rows], which image each row is of, where an image is there several times.
  """
  right = table["rank"].to_numpy() == 0
  error = calibration_error(table["confidence"].to_numpy(), right, clusters=image)
  scores = [mean(table[name].to_numpy(), clusters=image) for name in ("brier", "nll")]
  # Student's interval does not know that neither is below 0.
  brier, nll = ((value, max(low, 0.0), high) for value, low, high in scores)
  never = int(np.isinf(table["nll"].to_numpy()).sum())
  if image is None:  # few images may have most of either, which are shares of the most that one has
    brier = _mean_up_to(2.0, table["brier"].to_numpy(float))
    if not never:
      # Nothing bounds a log-likelihood, but an image that is wrong costs what is left beside the confidence.
      left = max(1 - float(table["confidence"].to_numpy(float).mean()), SMALLEST_LEFT)
      nll = _mean_up_to(max(float(table["nll"].max()), -math.log(left)), table["nll"].to_numpy(float))
  flag = f"the right class of {never} of {len(right)} images has probability 0" if never else ""
  n = len(right) if image is None else int(image.max()) + 1
  return [
    Metric("ece/{dataset}", *error, n, detail=True),
    Metric("brier/{dataset}", *brier, n, detail=True),
    Metric("nll/{dataset}", *nll, n, detail=True, flag=flag),
  ]


def _mean_up_to(most: float, values: np.ndarray) -> tuple[float, float, float]:
  """The mean of values [n] from 0 to `most` with Wilson's interval of a mean of shares."""
  _, low, high = mean_of_shares(np.clip(values / most, 0.0, 1.0))
  return float(values.mean()), most * low, most * high


def _images_by_class(
  label: np.ndarray, right: np.ndarray, image: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """(accuracy of each class, how many independent decisions with that accuracy are as sure), float [classes].

  Where images are there several times, and their decisions go together (as `statistics.interval_of_share`).
  """
  of_image, n, rights = np.zeros(image.max() + 1, int), np.bincount(image), np.bincount(image, right)
  of_image[image] = np.searchsorted(classes, label)
  images, decisions = np.bincount(of_image), np.bincount(of_image, n)
  accuracy = np.bincount(of_image, rights) / decisions
  squares = np.bincount(of_image, (rights - accuracy[of_image] * n) ** 2) / decisions**2
  variance = squares * images / np.maximum(images - 1, 1)
  some = variance > 0
  worth = np.divide(accuracy * (1 - accuracy), variance, out=np.zeros(len(classes)), where=some)
  return accuracy, np.where(some, 1 + worth, images)  # of n decisions the variance is p (1 - p) / (n - 1)


def by_class(table: pd.DataFrame, image: np.ndarray | None = None) -> list[Metric]:
  """The worst class and its accuracy, the mean over classes, and the spread between them.

  Intervals of the mean and the spread are about these classes: other images of them, not other classes. The
  worst of many classes looks worse than it is; its interval does not know that it was picked.

  Args:
    table, image: as in `calibration`.
  """
  label, right = table["label"].to_numpy(), table["rank"].to_numpy() == 0
  n, rights = np.bincount(label), np.bincount(label, right).astype(int)
  classes = np.flatnonzero(n)
  n, rights = n[classes], rights[classes]
  worst, images = int(np.argmin(rights / n)), len(label)
  low, high = wilson(int(rights[worst]), int(n[worst]))
  value, of_worst = 100 * rights[worst] / n[worst], int(n[worst])
  if image is not None:
    mine = label == classes[worst]
    _, low, high = ratio_of_totals(right[mine].astype(float), np.ones(int(mine.sum())), (image[mine],))
    of_worst, images = len(np.unique(image[mine])), int(image.max()) + 1
    accuracy, n = _images_by_class(label, right, image, classes)
    rights = accuracy * n
  # Answers that are dealt out to the images are right in a class as often as they name it.
  named = float(np.isin(table["prediction"].to_numpy(), classes).mean()) / len(classes)
  guessing = max(named, 1 / chance.competing(table.attrs))
  spread = _percent(spread_of_classes(rights, n))
  name = "class_acc/{dataset}"
  return [
    Metric(f"{name}/worst", value, 100 * low, 100 * high, of_worst, detail=True),
    Metric(f"{name}/worst_class", float(classes[worst]), math.nan, math.nan, of_worst, detail=True),
    _accuracy(f"{name}/mean", mean_over_classes(rights, n), images, guessing, detail=True),
    Metric(f"{name}/sd", *spread, images, detail=True),
  ]


# --- ImageNet-C and C-bar ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Conditioned:
  """The same images under several conditions.

  Attributes:
    right: 1, 0 or, where it could not be decoded, NaN: float [images, conditions].
    conditions: "<corruption>/<severity>" of the columns.
    chances: float [conditions], fractions.
    samples: of each condition, `right` then being as in `observed.Accuracies`; () where all were asked.
  """

  right: np.ndarray
  conditions: list[str]
  chances: np.ndarray
  samples: Sequence[observed.Sampled] = ()

  @classmethod
  def of(cls, table: pd.DataFrame) -> tuple["Conditioned", np.ndarray]:
    """From observations with ids "<corruption>/<severity>/<image>"; and the image of each, int [rows]."""
    folder, folders, image, images = observed.in_folders(table["example_id"], 2)
    order = np.argsort(folders)
    column = np.argsort(order)[folder]
    right = np.full((images, len(order)), np.nan, np.float32)
    right[image, column] = table["rank"].to_numpy() == 0
    return cls(right, [folders[at] for at in order], _chances(table, column, len(order))), image

  @functools.cached_property
  def complete(self) -> np.ndarray:
    """`right` as float64, where an image that is missing in a condition counts as the average one there.

    A condition's images stand together in memory: some conditions are wanted at a time.
    """
    right = np.array(self.right, float, order="F")
    missing = np.isnan(right)
    return np.where(missing, np.nanmean(right, axis=0), right) if missing.any() else right

  def columns(self, corruptions: Iterable[str]) -> list[int] | None:
    """Those of all severities of `corruptions`, in order; None where one is missing."""
    wanted = [f"{corruption}/{severity}" for corruption in corruptions for severity in layouts.SEVERITIES]
    at = {name: column for column, name in enumerate(self.conditions)}
    return [at[name] for name in wanted] if set(wanted) <= set(at) else None


def corrupted(table: pd.DataFrame, kind: str) -> tuple[list[Metric], np.ndarray]:
  """Accuracy for each corruption and severity, and the means, each named as what it is; and rows' images.

  top1_acc/<dataset> is the paper's: over all 19 corruptions of C (10 of C-bar, 6 of LAION-C).
  top1_acc/<dataset>/15 and mCE are over the 15 that Hendrycks & Dietterich count. A mean is there only if all
  its conditions are.
  """
  of, image = Conditioned.of(table)
  metrics = []
  for column, name in enumerate(of.conditions):
    seen = of.right[:, column][~np.isnan(of.right[:, column])]
    metrics.append(_top(1 - seen.astype(int), of.chances[column], name.replace("/", "_"), detail=True))
  means = [mean_accuracy("top1_acc/{dataset}", of, CORRUPTED[kind])]
  if kind == "imagenet_c":
    means.append(mean_accuracy("top1_acc/{dataset}/15", of, layouts.FIFTEEN))
    for corruption, error in layouts.ALEXNET.items():
      means.append(mean_error(f"CE/{corruption}", of, {corruption: error / 100}, detail=True))
    means.append(mean_error("mCE/{dataset}", of, {c: error / 100 for c, error in layouts.ALEXNET.items()}))
  return [metric for metric in means if metric] + metrics, image


def weighted(
  of: Conditioned, weights: Mapping[str, float], *, of_errors: bool
) -> tuple[float, float, float] | None:
  """sum over corruptions of weight * (mean over severities), with an interval over images.

  Args:
    of: the observations.
    weights: corruption -> weight.
    of_errors: whether it is errors that are weighted, not accuracies.

  Returns:
    None where a condition is missing.
  """
  columns = of.columns(weights)
  if columns is None:
    return None
  total = sum(weights.values())
  share = _shares(weights) / total
  if of.samples:
    right = of.right[:, columns]
    samples = [of.samples[column] for column in columns]
    edges = observed.interval((1 - right if of_errors else right) @ share, samples)
    return total * edges[0], total * edges[1], total * edges[2]
  # A sum of shares may leave 1 by what is rounded.
  shares = of.complete[:, columns] @ share
  value, low, high = mean_of_shares(np.clip(1 - shares if of_errors else shares, 0.0, 1.0))
  return total * value, total * low, total * high


def _shares(weights: Mapping[str, float]) -> np.ndarray:
  """The weight of each corruption at each severity, float [corruptions x severities]."""
  return np.repeat(list(weights.values()), len(layouts.SEVERITIES)) / len(layouts.SEVERITIES)


def _sampling(of: Conditioned, columns: Sequence[int], weights: Mapping[str, float]) -> dict[str, Any]:
  """What a metric of these columns says of its images."""
  samples = [of.samples[column] for column in columns] if of.samples else ()
  return {"n": len(of.right)} | observed.sampling_of(samples, (100 * _shares(weights)).tolist())


def mean_accuracy(name: str, of: Conditioned, corruptions: Sequence[str]) -> Metric | None:
  """The mean accuracy over corruptions and severities, in per cent; None where a condition is missing."""
  columns = of.columns(corruptions)
  edges = weighted(of, dict.fromkeys(corruptions, 1.0), of_errors=False)
  if edges is None or columns is None:
    return None
  value, low, high = (edge / len(corruptions) for edge in edges)
  found = _accuracy(name, (value, low, high), len(of.right), float(of.chances[columns].mean()))
  return dataclasses.replace(
    found, **_sampling(of, columns, dict.fromkeys(corruptions, 1 / len(corruptions)))
  )


def mean_error(
  name: str, of: Conditioned, reference: Mapping[str, float], *, detail: bool = False
) -> Metric | None:
  """The mean over corruptions of the error over a reference's, in per cent; None where one is missing."""
  weights = {corruption: 1 / (len(reference) * there) for corruption, there in reference.items()}
  error = weighted(of, weights, of_errors=True)
  accuracy = mean_accuracy(name, of, list(reference))
  columns = of.columns(weights)
  if error is None or accuracy is None or columns is None:
    return None
  numbers = _sampling(of, columns, weights)
  return Metric(name, *_percent(error), detail=detail, flag=accuracy.flag, **numbers)


# --- REFINED-BIAS ------------------------------------------------------------------------------------------


def refined_bias(table: pd.DataFrame, cue: str) -> list[Metric]:
  """Mean reciprocal rank of the right class among all 1,000, where only `cue` shows it (Kim et al. 2026).

  Of several right classes the best counts, in the list in which the others still stand. The interval is over
  images (`statistics.mean_of_shares`), chance that of a list in random order; a row for each of the ten
  classes of stimuli beside.
  """
  reciprocal = 1 / (1 + table["rank"].to_numpy(float))
  of_class = table["example_id"].str.rsplit("/", n=1).str[0].str.rsplit("/", n=1).str[-1].to_numpy()
  guessing = {of: chance.of_reciprocal_rank(1000, len(layouts.REFINED_BIAS[cue][of])) for of in set(of_class)}

  def metric(name: str, which: np.ndarray, detail: bool) -> Metric:
    edges = mean_of_shares(reciprocal[which])
    by_chance = float(np.mean([guessing[of] for of in of_class[which]]))
    flag = chance.flag(*edges[1:], by_chance)
    return Metric(name, *edges, int(which.sum()), detail=detail, chance=by_chance, flag=flag)

  name = f"refined-bias/{cue}"
  whole = metric(name, np.ones(len(table), bool), detail=False)
  return [whole, *(metric(f"{name}/{of}", of_class == of, detail=True) for of in sorted(guessing))]


# --- model-vs-human ----------------------------------------------------------------------------------------


def experiments(table: pd.DataFrame) -> list[Metric]:
  """Accuracy for each experiment and condition, and the mean over the 17 experiments.

  top1_acc/ood_mean leaves out undistorted conditions and those that people cannot see either
  (`layouts.NOT_OUT_OF_DISTRIBUTION`), as Geirhos et al. 2021; it is there only if all experiments are.
  """
  condition = np.array([_condition(example_id) for example_id in table["example_id"]])
  experiment = np.array([name.split("/")[0] for name in condition])

  rank, labels, answers = (table[column].to_numpy() for column in ("rank", "label", "prediction"))
  classes = chance.competing(table.attrs)

  def accuracy(which: np.ndarray, name: str) -> Metric:
    (guessing,) = chance.of_answers(labels[which], answers[which], classes)
    return _top(rank[which], guessing, name, detail=True)

  metrics, means = [], []
  for name in sorted(set(experiment)):
    mine = experiment == name
    metrics.append(accuracy(mine, name))
    if name in layouts.PARAMETRIC:
      metrics += [accuracy(condition == of, of) for of in sorted(set(condition[mine]))]
    counted = mine & ~np.isin(condition, list(layouts.NOT_OUT_OF_DISTRIBUTION))
    if counted.any():
      means.append(accuracy(counted, name))
  if len(means) == len(layouts.EXPERIMENTS):
    edges = (np.array([getattr(m, edge) for m in means]) / 100 for edge in ("value", "low", "high"))
    guessing = float(np.mean([m.chance for m in means])) / 100
    n = sum(metric.n for metric in means)
    metrics.insert(0, _accuracy("top1_acc/ood_mean", mean_of_intervals(*edges), n, guessing))
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
