"""Accuracy under ImageNet-C's corruptions, made on the device from any images, at 5 severities.

Hendrycks & Dietterich 2019 (arXiv:1903.12261). No archive is needed and any labelled dataset serves, of any
size. These are not the published files: noise is drawn anew, images were not saved as JPEG in between,
frost (which needs photographs) and spatter are left out; what else differs is said in `ops/corruptions.py`.
So columns are named apart, and `corruptions/mCE14` is over 14 of the 15 corruptions of mCE.
"""

import functools
from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.errors import BiasjaxError, suggestion
from biasjax.ops.corruptions import CORRUPTIONS
from biasjax.probes.accuracy import Conditioned, weighted
from biasjax.probes.base import Metric, Probe
from biasjax.statistics import wilson

NAME = "corruptions"
COUNTED = tuple(name for name in CORRUPTIONS if name in layouts.FIFTEEN)  # those of mCE


def perturb(key, image, condition):
  """The corruption number `condition["which"]` at `condition["severity"]` (0 to 4) of an image in [0, 1]."""
  return jax.lax.switch(condition["which"], list(CORRUPTIONS.values()), key, image, condition["severity"])


def summarise(observations: Mapping[str, pd.DataFrame], *, name: str) -> list[Metric]:
  """Accuracy under each condition, their mean, and the mean corruption error beside AlexNet's.

  Intervals (95 %) are Wilson's for one condition. Means take an image in all its conditions as one draw. mCE
  is there only if all of its conditions are.
  """
  variant = name.removeprefix(NAME)
  right = (observations[name]["rank"] == 0).astype(float)
  table = (
    observations[name].assign(right=right).pivot(index="example_id", columns="condition", values="right")
  )
  conditions = list(dict.fromkeys(observations[name]["condition"]))
  matrix, curves = table[conditions].to_numpy(), []
  for at, condition in enumerate(conditions):
    n, hits = len(matrix), int(matrix[:, at].sum())
    low, high = wilson(hits, n)
    column = f"top1_acc/{NAME}{variant}/{condition.replace('/', '_')}"
    curves.append(Metric(column, 100 * hits / n, 100 * low, 100 * high, n, detail=True))
  kinds = list(dict.fromkeys(condition.split("/")[0] for condition in conditions))
  together = Conditioned(matrix, conditions, np.zeros(len(conditions)))
  mean = weighted(together, _equal(kinds), of_errors=True)
  metrics = [_mean(f"top1_acc/{NAME}{variant}", mean, len(matrix), 1)]
  alexnet = {of: 1 / (len(COUNTED) * layouts.ALEXNET[of] / 100) for of in COUNTED}
  error = weighted(together, alexnet, of_errors=True)
  metrics.append(_mean(f"{NAME}{variant}/mCE{len(COUNTED)}", error, len(matrix), 0))
  return [metric for metric in metrics if metric] + curves


def _equal(kinds: list[str]) -> dict[str, float]:
  return dict.fromkeys(kinds, 1 / len(kinds))


def _mean(name: str, error: tuple[float, float, float] | None, n: int, accuracy: int) -> Metric | None:
  """An error, or the accuracy that is left, in per cent; None where a condition is missing."""
  if error is None:
    return None
  value, low, high = error
  if accuracy:
    return Metric(name, 100 * (1 - value), 100 * (1 - high), 100 * (1 - low), n)
  return Metric(name, 100 * value, 100 * low, 100 * high, n)


def make(size: int = 224, *, only: str = "") -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side, at least 32.
    only: some of the corruptions, joined by "+"; all by default.

  Raises:
    BiasjaxError: an unknown corruption, or images too small to be cut and zoomed.
  """
  if size < 32:
    raise BiasjaxError(f"probe {NAME}: images of {size} x {size} pixels: at least 32 a side are needed")
  wanted = tuple(dict.fromkeys(only.split("+"))) if only else tuple(CORRUPTIONS)
  unknown = sorted(set(wanted) - set(CORRUPTIONS))
  if unknown:
    hint = suggestion(unknown[0], CORRUPTIONS)
    if unknown[0] in layouts.EXTRA + layouts.FIFTEEN:
      hint = (
        "it is left out (frost needs photographs, spatter is not made here); use the published imagenet_c"
      )
    raise BiasjaxError(f"probe {NAME}: only={only}: no corruption {unknown[0]!r}: {hint}")
  name = f"{NAME}:only={only}" if only else NAME
  order = list(CORRUPTIONS)
  return Probe(
    name=name,
    conditions={
      f"{of}/{severity}": {"which": np.int32(order.index(of)), "severity": np.int32(int(severity) - 1)}
      for of in wanted
      for severity in layouts.SEVERITIES
    },
    perturb=perturb,
    summarise=functools.partial(summarise, name=name),
    parameters={"corruptions": wanted},
  )
