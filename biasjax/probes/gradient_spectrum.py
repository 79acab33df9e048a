"""The spectrum of the loss gradient: to which frequencies of an image the loss reacts, to first order.

What the probe `sensitivity` finds by adding waves, the gradient of the cross-entropy tells from one backward
pass, for waves that are faint: a wave of norm v changes the loss by v times the gradient's component along
it, whose mean square over phases is proportional to the gradient's power at its frequency.

The power is that of rings of frequencies (`ops.fourier.rings_of`). The gradient of the cross-entropy is that
of the log odds against the right class times the probability of the wrong ones; it is computed so, in
logarithms, since for a confident network the plain gradient is lost in rounding.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from biasjax import numerics
from biasjax.errors import BiasjaxError
from biasjax.ops import fourier
from biasjax.ops.attacks.losses import right_classes
from biasjax.probes.base import Attacked, Metric, Probe, Victim
from biasjax.statistics import mean

NAME = "gradient_spectrum"
CONDITION = "gradient"
RINGS = 16


def rings(size: int) -> int:
  """How many rings there are: of a frequency at least."""
  return min(RINGS, size // 2)


@functools.cache
def _sums(size: int) -> np.ndarray:
  """What the power of each frequency counts for, float32 [pixels, rings + 3]: each ring, and its own length.

  The last column is for the first moment: lengths of frequencies within the rings.
  """
  of, lengths = fourier.rings_of(size, rings(size)), fourier.lengths(size)
  rows = [of == ring for ring in range(rings(size) + 2)]
  rows.append(lengths * (of <= rings(size)))
  return np.stack(rows, axis=-1).reshape(size * size, -1).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _spectrum(scores: Callable) -> Callable:
  """(variables, images, labels) -> (sums of the power as in `_sums`, the logarithm of their unit)."""

  def log_odds(images, variables, labels):
    of_images = scores(variables, images)
    right = right_classes(labels, of_images.shape[1])
    against, of_right = (
      jax.nn.logsumexp(jnp.where(which, of_images, -jnp.inf), axis=1) for which in (~right, right)
    )
    return jnp.sum(against - of_right), against - of_right

  def spectrum(variables, images, labels):
    with numerics.settled():
      gradient, odds = jax.grad(log_odds, has_aux=True)(images, variables, labels)
      # Squares of small numbers would be 0.
      largest = jnp.max(jnp.abs(gradient), axis=(1, 2, 3))
      unit = jnp.where(largest > 0, largest, 1.0)
      power = fourier.power(gradient / unit[:, None, None, None]).reshape(len(images), -1)
      return power @ _sums(images.shape[1]), 2 * (jnp.log(unit) + jax.nn.log_sigmoid(odds))

  return spectrum


def attack(victim: Victim, keys: Any, images: Any, labels: Any) -> Iterator[tuple[str, Attacked]]:
  """The images as they are, and what the loss gradient of each is like, as columns of the observations.

  `share_0` is the share of the gradient's power at frequency 0, `share_1` ... those of the rings, the last
  that of what is beyond; `centroid` is the mean frequency within the rings, cycles a side; `log10_power` is
  of the sum of squares of the gradient of the cross-entropy (nats, of pixels in [0, 1]), mean over channels.
  All are NaN where the gradient is zero or not finite.
  """
  del keys
  partition = victim.partition
  spectrum = partition.compile(_spectrum(victim.scores), shared=1)
  sums, log_unit = (
    np.asarray(of, np.float64) for of in partition.get(spectrum(victim.variables, images, labels))
  )
  sums[~(np.isfinite(sums).all(axis=1) & np.isfinite(log_unit) & (sums[:, :-1].sum(axis=1) > 0))] = np.nan
  total = sums[:, :-1].sum(axis=1)
  columns = {f"share_{ring}": sums[:, ring] / total for ring in range(sums.shape[1] - 1)}
  within = sums[:, 1:-2].sum(axis=1)
  columns["centroid"] = np.divide(sums[:, -1], within, out=np.full(len(sums), np.nan), where=within > 0)
  columns["log10_power"] = np.log10(total) + log_unit / math.log(10)
  yield CONDITION, Attacked(images, {of: values.astype(np.float32) for of, values in columns.items()})


def summarise(observations: Mapping[str, pd.DataFrame], *, size: int) -> list[Metric]:
  """The mean over images of the gradient's mean frequency, and of the logarithm of its power, by ring.

  `gradient-spectrum/r=<k>`: log10 of the power of a frequency, mean over those of the ring that ends at k
  cycles a side. Every image counts alike: in the mean of the powers themselves the few that are wrong would
  count for all. Intervals (95 %) are Student's over images.
  """
  table = observations[NAME].sort_values("example_id")
  numbers = {
    of: table[of].to_numpy(float) for of in table.columns if of.startswith(("share_", "centroid", "log10"))
  }
  counts = np.bincount(fourier.rings_of(size, rings(size)).ravel())
  without = int(np.isnan(numbers["log10_power"]).sum())

  def metric(name: str, values: np.ndarray, *, detail: bool = False) -> Metric:
    known = values[np.isfinite(values)]
    lacking = len(table) - len(known)
    there = " at these frequencies" if lacking > without else ""
    flag = f"no gradient{there} on {lacking} of {len(table)} images, which are left out" if lacking else ""
    return Metric(f"gradient-spectrum/{name}", *mean(known), len(known), detail=detail, flag=flag)

  found = [
    metric("centroid", numbers["centroid"]),
    metric("log10-power", numbers["log10_power"], detail=True),
  ]
  for ring, edge in enumerate(fourier.ring_edges(size, rings(size)), 1):
    with np.errstate(divide="ignore"):  # a ring without any power is left out
      of_each = np.log10(numbers[f"share_{ring}"] / counts[ring]) + numbers["log10_power"]
    found.append(metric(f"r={edge:g}", of_each, detail=True))
  return found


def make(size: int = 224) -> Probe:
  """The probe for size x size images.

  Raises:
    BiasjaxError: images that are too small.
  """
  if size < 4:
    raise BiasjaxError(f"probe {NAME}: images of {size} x {size} pixels: at least 4 are needed")
  return Probe(
    name=NAME,
    conditions={CONDITION: np.zeros((), np.int32)},
    perturb=lambda key, image, condition: image,
    summarise=functools.partial(summarise, size=size),
    parameters={"size": size, "rings": rings(size)},
    attack=attack,
    forwards=3.0,
  )
