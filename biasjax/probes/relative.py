"""Accuracy under conditions beside that on clean images: ratios, chance-corrected ones, and their flags."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from biasjax.probes import chance
from biasjax.probes.base import Metric
from biasjax.probes.observed import codes, under
from biasjax.statistics import mean_of_shares, ratio_of_means, wilson


@dataclasses.dataclass(frozen=True)
class Asked:
  """What a network said under one condition.

  Attributes:
    right: float [images], 1 or 0 (top-1).
    chance: a fraction, `chance.of_answers`.
    flag: what the accuracy says about chance.
  """

  right: np.ndarray
  chance: float
  flag: str


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
  said, classes = under(table, conditions, ids), chance.competing(table.attrs)
  asked = {}
  for at, condition in enumerate(conditions):
    right = said.right[:, at]
    guessing = float(chance.of_answers(said.label[:, at], said.prediction[:, at], classes)[0])
    flag = chance.flag(*wilson(int(right.sum()), len(right)), guessing)
    asked[condition] = Asked(right.astype(float), guessing, flag)
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
  flags = [f"clean accuracy {clean.flag}" if clean.flag else "", flag_of(asked)]
  n, flag = len(right), "; ".join(filter(None, flags))
  # Of what lies above chance the interval says itself whether there is anything.
  corrected = ratio_of_means(right, clean.right, chance=(guessing, clean.chance))
  return [
    Metric(name, *ratio_of_means(right, clean.right), n, detail=detail, flag=flag),
    Metric(f"{name}/chance-corrected", *corrected, n, detail=True, flag=flags[0]),
  ]


def accuracy_of(name: str, of: Asked) -> Metric:
  """The accuracy under a condition in per cent, Wilson's interval, with its chance."""
  n, hits = len(of.right), int(of.right.sum())
  low, high = wilson(hits, n)
  numbers = 100 * hits / n, 100 * low, 100 * high, n
  return Metric(name, *numbers, detail=True, chance=100 * of.chance, flag=of.flag)


def lost(ratio: Metric, name: str, *, detail: bool) -> Metric:
  """The share of clean accuracy that is lost, where `ratio` is the one that is kept."""
  numbers = 1 - ratio.value, 1 - ratio.high, 1 - ratio.low, ratio.n
  return Metric(name, *numbers, detail=detail, flag=ratio.flag)


def difference(
  name: str, one: np.ndarray, other: np.ndarray, *, detail: bool = False, flag: str = ""
) -> Metric:
  """The mean of one - other, each in [0, 1] and of the same images, in points of per cent."""
  # From [-1, 1] to [0, 1] and back, so that the interval stays inside.
  edges = mean_of_shares((1 + one.astype(float) - other.astype(float)) / 2)
  value, low, high = (100 * (2 * edge - 1) for edge in edges)
  return Metric(name, value, low, high, len(one), detail=detail, flag=flag)
