"""What a probe is: conditions, a perturbation, a decision and a summary."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from biasjax.partition import Partition
from biasjax.probes.decisions import (
  Decision,
  Scores,
  all_classes,
  drawn_categories,
  every_class,
  only_classes_of,
  sixteen_categories,
)
from biasjax.types import Image, Images, Logits, RandomKey

# Kinds of labels that arrays have and no dataset has: the network's own classes (`library.measure`).
OF_ARRAYS = ("classes", "class_conflict")

# A dataset's kind of labels (`Source.labels`) -> the decision, for probes that only ask whether it is right.
DECISIONS = {
  "classes": every_class,
  "imagenet": all_classes,
  "imagenet_real": all_classes,
  "refined_bias_shape": all_classes,
  "refined_bias_texture": all_classes,
  "imagenet_a": only_classes_of("imagenet_a"),
  "imagenet_r": only_classes_of("imagenet_r"),
  "imagenette": only_classes_of("imagenette"),
  "categories16": sixteen_categories,
  "synthetic": drawn_categories,
}


@dataclasses.dataclass(frozen=True)
class Metric:
  """One number of a summary.

  Attributes:
    name: the column of results.csv, in the paper's naming where it has one. "{dataset}" stands for the
      dataset's name.
    value: the number, in the units of the paper's table; NaN where it is not determined.
    low, high: a 95 % interval; NaN where there is none.
    n: the examples (or decisions) it rests on.
    detail: one point of many (a curve's, say), which the table on the terminal leaves to the files.
    chance: of an accuracy, what guessing gives, in the accuracy's unit; NaN of other numbers.
    flag: what the number should not be read without, in a few words that other numbers may share; "" if
      there is nothing.
    margin: of a number from a random sample, half the interval in which the number from all images is, in
      the value's unit; NaN where all were looked at. `low` and `high` hold it and what other images change.
    effective_n: of an accuracy from a sample, so many images would make a plain mean as precise.
    estimator: "mean", "regression" or "two-phase regression" (`sampling.estimate`); "" where all images were
      looked at.
    correlation: of outcomes with what is predicted from the clean images.
  """

  name: str
  value: float
  low: float
  high: float
  n: int
  detail: bool = False
  chance: float = math.nan
  flag: str = ""
  margin: float = math.nan
  effective_n: float = math.nan
  estimator: str = ""
  correlation: float = math.nan


@dataclasses.dataclass(frozen=True)
class Victim:
  """What an attack sees of a network.

  Attributes:
    logits: (variables, images) -> logits of all classes; pure, one object for equal architectures, so that
      what is compiled for it is compiled once.
    decide: logits -> scores of the competing classes, -inf for others; likewise.
    variables: a tree of arrays, as `partition.share` returns it.
    partition: where compiled functions run.
    ease: variables -> those with which gradients are cheaper on CPUs, and all else is the same; or None.
  """

  logits: Callable[[Any, Images], Logits]
  decide: Decision
  variables: Any
  partition: Partition
  ease: Callable[[Any], Any] | None = None

  @property
  def scores(self) -> Callable[[Any, Images], Scores]:
    """(variables, images) -> scores, to differentiate through; one object for equal ones of both."""
    return _composed(self.logits, self.decide)


@functools.lru_cache(maxsize=64)
def _composed(logits: Callable, decide: Decision) -> Callable[[Any, Images], Scores]:
  return lambda variables, images: decide(logits(variables, images))


@dataclasses.dataclass(frozen=True)
class Attacked:
  """A batch after an attack.

  Attributes:
    images: float32 [b, h, w, 3] in [0, 1], in the partition's form; what the network is asked about.
    columns: further columns of the observations, NumPy [b]; the same names for each batch.
  """

  images: Any
  columns: Mapping[str, Any]


# (victim, keys, images, labels) -> (condition, what became of the batch), once for each condition in order.
# It runs on the host and compiles what it needs by `victim.partition`; images and labels (see `types`), and
# what keys(condition) gives, uint32 [b, 2] for `numerics.keys`, are batched arrays in its form.
Attack = Callable[[Victim, Callable[[str], Any], Any, Any], Iterator[tuple[str, Attacked]]]


@dataclasses.dataclass(frozen=True)
class Probe:
  """A question put to every image of a dataset.

  The device side is `prepare` and `perturb`, pure functions of one example that the pass vmaps and compiles
  once, whatever the number of conditions: a condition is data. The host side is `summarise`.

  Attributes:
    name: used in flags, folders and the `probe` column.
    conditions: {name: condition}, each a pytree of NumPy arrays of numbers, all of the same structure, shapes
      and dtypes.
    perturb: (key, prepared, condition) -> image, float32 [h, w, 3] in [0, 1], of the size that it was given.
      The key is folded from (seed, probe, condition, example id), so noise belongs to an example.
    summarise: (observations) -> metrics. `observations` maps a probe's name to its table, columns
      `condition, example_id, label, prediction, rank, confidence, nll, brier` (docs/results.md), one row for
      each (condition, example), for one model and one dataset; it holds this probe and those it `needs`. Its
      `attrs["labels"]` is the dataset's kind of labels.
    parameters: everything beyond the name that a number of this probe depends on, as JSON.
    prepare: image -> anything that all conditions share (a spectrum, say); by default the image itself.
    needs: other probes whose observations the summary wants.
    decide: which classes compete, for each kind of labels that the probe can be asked about; it is not run on
      datasets of other kinds. Prediction, rank and confidence are about the competing classes.
    attack: for a perturbation that depends on the network; `perturb` is not called then.
    forwards: what a condition costs for each image, in forward passes (a gradient is two more), for plans.
    sampled: whether `summarise` can do with a random sample (--margin), since it takes accuracies by
      `observed.under`; its attack then takes `only`, the conditions that are wanted.
    alike: {condition: what it is about}, of conditions that cheaper probes also have: their answers are known
      of more images, and help to estimate what a sample stands for.
    unclipped: whether the images may leave [0, 1] on purpose; of others such images are refused.
    asked: what `probes.get` makes it from again where that is more than its name: a path, which no number
      depends on, but on what is there; "" for its name.
  """

  name: str
  conditions: Mapping[str, Any]
  perturb: Callable[[RandomKey, Any, Any], Image]
  summarise: Callable[[Mapping[str, pd.DataFrame]], list[Metric]]
  parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  prepare: Callable[[Image], Any] = lambda image: image
  needs: tuple[str, ...] = ()
  decide: Mapping[str, Decision] = dataclasses.field(default_factory=lambda: DECISIONS)
  attack: Attack | None = None
  forwards: float = 1.0
  sampled: bool = False
  alike: Mapping[str, str] = dataclasses.field(default_factory=dict)
  unclipped: bool = False
  asked: str = ""
