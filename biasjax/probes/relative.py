"""Accuracy under conditions beside that on clean images: ratios, chance-corrected ones, and their flags."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from biasjax.probes import chance
from biasjax.probes.base import Metric
from biasjax.probes.observed import Sampled, accuracies, codes, interval, sampling_of
from biasjax.statistics import difference_of_ratios, ratio_of_means


@dataclasses.dataclass(frozen=True)
class Asked:
  """What a network said under one condition.

  Attributes:
    right: float [images], 1 or 0 (top-1); of a sample what stands for that (`observed.Accuracies`).
    chance: a fraction, `chance.of_answers`.
    flag: what the accuracy says about chance.
    samples: the sample, if it is one, else ().
  """

  right: np.ndarray
  chance: float
  flag: str
  samples: Sequence[Sampled] = ()


def asked_under(
  table: pd.DataFrame, conditions: Sequence[str] | None = None, ids: pd.Index | None = None
) -> tuple[pd.Index, dict[str, Asked]]:
  """The example ids, and what was said of them under each condition, in the same order.

  Args:
    table: observations; its `attrs` say which classes compete.
    conditions: those that are wanted, in order; by default all.
    ids: of the examples, in order; ascending by default.
  """
  conditions = list(codes(table["condition"])[1] if conditions is None else conditions)
  said = accuracies(table, conditions, ids)
  asked = {}
  for at, condition in enumerate(conditions):
    right, guessing, samples = said.right[:, at], float(said.chance[at]), said.samples[at : at + 1]
    flag = chance.flag(*interval(right, samples)[1:], guessing)
    asked[condition] = Asked(right, guessing, flag, samples)
  return said.ids, asked


def mean_right(asked: Sequence[Asked]) -> np.ndarray:
  """The mean over conditions of whether each image is right, float [images]."""
  return np.mean([of.right for of in asked], axis=0)


def flag_of(asked: Sequence[Asked]) -> str:
  """Of how many conditions the accuracy says nothing."""
  flags = [of.flag for of in asked if of.flag]
  if not flags or len(asked) == 1:
    return f"accuracy {flags[0]}" if flags else ""
  return f"accuracy not above chance in {len(flags)} of {len(asked)} conditions"


def ratios_of(name: str, asked: Sequence[Asked], clean: Asked, *, detail: bool) -> list[Metric]:
  """The ratio of (the mean of) accuracies to the clean one, as it is and chance-corrected."""
  right, guessing = mean_right(asked), float(np.mean([of.chance for of in asked]))
  samples = [of for one in asked for of in one.samples]
  flags = [f"clean accuracy {clean.flag}" if clean.flag else "", flag_of(asked)]
  flag = "; ".join(filter(None, flags))
  metrics = []
  # Of what lies above chance the interval says itself whether there is anything.
  for ending, by_chance, said, more in (
    ("", (0.0, 0.0), flag, detail),
    ("/chance-corrected", (guessing, clean.chance), flags[0], True),
  ):
    edges = ratio_of_means(right, clean.right, chance=by_chance)
    below = float(clean.right.mean()) - by_chance[1]
    numbers: dict[str, Any] = {"n": len(right)}
    if samples and below > 0:
      edges = _no_narrower(edges, [(edge - by_chance[0]) / below for edge in interval(right, samples)[1:]])
      numbers |= sampling_of(samples, [1 / len(asked) / below] * len(asked))
    metrics.append(Metric(f"{name}{ending}", *edges, detail=more, flag=said, **numbers))
  return metrics


def _no_narrower(edges: tuple[float, float, float], ends: Sequence[float]) -> tuple[float, float, float]:
  """An interval that holds another one as well: few hits of a sample are as uncertain as they are."""
  value, low, high = edges
  return (value, min(low, ends[0]), max(high, ends[1])) if value == value else edges


def accuracy_of(name: str, of: Asked) -> Metric:
  """The accuracy under a condition in per cent, Wilson's interval, with its chance."""
  value, low, high = interval(of.right, of.samples)
  edges = 100 * value, 100 * low, 100 * high
  numbers: dict[str, Any] = {"n": len(of.right)} | sampling_of(of.samples)
  return Metric(name, *edges, detail=True, chance=100 * of.chance, flag=of.flag, **numbers)


def lost(ratio: Metric, name: str, *, detail: bool) -> Metric:
  """The share of clean accuracy that is lost, where `ratio` is the one that is kept."""
  numbers = {"value": 1 - ratio.value, "low": 1 - ratio.high, "high": 1 - ratio.low}
  return dataclasses.replace(ratio, name=name, detail=detail, **numbers)


def difference(
  name: str, one: np.ndarray, other: np.ndarray, *, detail: bool = False, flag: str = ""
) -> Metric:
  """The mean of one - other, each in [0, 1] and of the same images, in points of per cent."""
  every = np.ones(len(one))
  value, low, high = (100 * edge for edge in difference_of_ratios((one, every), (other, every)))
  return Metric(name, value, low, high, len(one), detail=detail, flag=flag)
