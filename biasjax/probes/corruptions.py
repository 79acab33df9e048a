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
from biasjax.probes import chance
from biasjax.probes.accuracy import Conditioned, mean_accuracy, mean_error
from biasjax.probes.base import Metric, Probe
from biasjax.probes.relative import Asked, accuracy_of

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
  variant, observed = name.removeprefix(NAME), observations[name]
  ids, classes = pd.Index(observed["example_id"].unique()), chance.competing(observed.attrs)
  asked = {str(of): Asked.of(table, ids, classes) for of, table in observed.groupby("condition", sort=False)}
  curves = [
    accuracy_of(f"top1_acc/{NAME}{variant}/{condition.replace('/', '_')}", of)
    for condition, of in asked.items()
  ]
  right = np.stack([of.right for of in asked.values()], axis=1)
  conditioned = Conditioned(right, list(asked), np.array([of.chance for of in asked.values()]))
  kinds = list(dict.fromkeys(condition.split("/")[0] for condition in asked))
  alexnet = {of: layouts.ALEXNET[of] / 100 for of in COUNTED}
  means = [
    mean_accuracy(f"top1_acc/{NAME}{variant}", conditioned, kinds),
    mean_error(f"{NAME}{variant}/mCE{len(COUNTED)}", conditioned, alexnet),
  ]
  return [*filter(None, means), *curves]


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
