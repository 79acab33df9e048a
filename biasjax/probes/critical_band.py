"""Critical band: which octave of noise disturbs recognition, and how much of it.

Subramanian et al. 2023, adapted by Gavrikov & Keuper 2024. Conditions are "clean" (grey, low contrast, no
noise) and "f=F/sd=SD": Gaussian noise of one octave band, f = 0 the lowest (1.75 cycles/image) to 6, of RMS
near SD. From the accuracies follow a threshold for each band and a channel through the thresholds: once as
published, in whole steps of the noise levels, and once continuously (biasjax/channels.py).
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from biasjax import channels
from biasjax.errors import BiasjaxError
from biasjax.ops import grey, noise, pyramid
from biasjax.probes import chance
from biasjax.probes.base import Metric, Probe
from biasjax.probes.observed import Sampled, accuracies, interval, sampling_of
from biasjax.probes.relative import Asked, accuracy_of
from biasjax.statistics import CONFIDENCE, bootstrap_means, percentile_interval
from biasjax.types import Image, RandomKey

NAME = "critical_band"
CONTRAST, MEAN = 0.2, 0.449  # Subramanian et al. 2023; the mean is that of ImageNet
MARGIN = 0.1  # of a repaired pixel to 0 or 1, likewise
CLEAN = "clean"
RESAMPLES = 1000  # of the images, for the intervals of the published estimate
FEWEST_BANDS = 4  # a Gaussian has three parameters
PROPERTIES = ("bw", "cf", "pns")


def prepare(image: Image) -> Float[Array, "h w"]:
  """Pillow's grey at a fifth of its contrast around ImageNet's mean."""
  return grey.low_contrast(image, CONTRAST, MEAN)


def perturb(key: RandomKey, image: Float[Array, "h w"], condition: Mapping[str, Array]) -> Image:
  """Adds noise of one octave band and repairs what leaves [0, 1]; three equal channels.

  Each condition draws noise of its own, also those of one band at several SDs: as published, and so that the
  accuracies a threshold rests on are as independent as shared images allow.
  """
  of_noise, of_repair = jax.random.split(key)
  sd = condition["sd"]
  added = sd * noise.octave_noise(of_noise, image.shape[0], condition["level"])
  noisy = noise.repair(of_repair, image, added, sd, MARGIN)
  return jnp.broadcast_to(noisy[:, :, None], (*noisy.shape, 3))


def condition_name(band: int, sd: float) -> str:
  """The condition of noise in `band` (0 is the lowest) at `sd`."""
  return f"f={band}/sd={sd:g}"


def summarise(
  observations: Mapping[str, pd.DataFrame], *, name: str, size: int, sds: tuple[float, ...]
) -> list[Metric]:
  """Accuracies, thresholds and channels, raw (threshold at 50 % right) and `_norm` (at half of "clean").

  95 % intervals: of the published estimate by bootstrap over images, coarse as its thresholds jump in whole
  steps; of the continuous one, which is the main number, by the covariance of its fit, over images too. Where
  "clean" cannot be told from chance there is nothing for noise to disturb: the continuous estimate is
  undetermined, the published one flagged.
  """
  bands = pyramid.levels(size)
  columns = [CLEAN, *(condition_name(band, sd) for band in range(bands) for sd in sds)]
  said = accuracies(observations[name], columns)
  outcomes, samples, chances = said.right, said.samples, said.chance
  prefix = f"criticalband{name.removeprefix(NAME)}"
  metrics = [
    _accuracy(f"top1_acc/{prefix}/{c}", outcomes[:, i], float(chances[i]), samples[i : i + 1])
    for i, c in enumerate(columns)
  ]
  flag = f"accuracy without noise {metrics[0].flag}" if metrics[0].flag else ""
  fitted = None
  if not flag:
    n, worth = np.full(len(columns), len(outcomes)), None
    if samples:
      n = np.array([of.estimate.effective for of in samples])
      worth = n / len(outcomes)
    counts = outcomes.sum(0) if worth is None else np.clip(outcomes.mean(0), 0, 1) * n
    fitted = channels.fit_psychometric(counts, n, np.array(sds), float(chances[1:].min()), outcomes, worth)
  lowest = size / 2.0**bands
  published = set(channels.PUBLISHED_SDS) <= set(sds)
  resampled = bootstrap_means(outcomes, RESAMPLES) if published else None
  asked = sampling_of(samples)
  asked.pop("margin", None)  # of what is fitted there is one interval
  for suffix, criterion in (("", 0.5), ("_norm", None)):
    fit = channels.fit_channel(fitted, criterion, lowest) if fitted else channels.no_fit(bands)
    found = _continuous(f"{prefix}/continuous", suffix, fit, sds[0], len(outcomes))
    if resampled is not None:
      found = _published(f"metric/{prefix}", suffix, outcomes, resampled, columns, bands, lowest) + found
    metrics += [dataclasses.replace(metric, flag=flag or metric.flag, **asked) for metric in found]
  return metrics


def _accuracy(name: str, right: np.ndarray, guessing: float, samples: Sequence[Sampled]) -> Metric:
  flag = chance.flag(*interval(right, samples)[1:], guessing)
  return accuracy_of(name, Asked(right, guessing, flag, samples))


def _published(
  prefix: str,
  suffix: str,
  outcomes: np.ndarray,
  resampled: np.ndarray,
  columns: list[str],
  bands: int,
  lowest: float,
) -> list[Metric]:
  """The channel through integer thresholds, from the four published SDs; of means of outcomes as well."""
  rows = [[CLEAN] * bands] + [
    [condition_name(band, sd) for band in range(bands)] for sd in channels.PUBLISHED_SDS
  ]
  cells = np.array([[columns.index(c) for c in row] for row in rows])

  def estimates(accuracy: np.ndarray) -> np.ndarray:
    """float [n, properties], from accuracies [n, columns]."""
    right = np.rint(accuracy * len(outcomes))[:, cells]  # whole numbers, so that exactly half is exactly half
    whole = right[:, :1, :1] if suffix else np.full((len(right), 1, 1), float(len(outcomes)))
    with np.errstate(divide="ignore", invalid="ignore"):
      thresholds = channels.published_thresholds(100 * right / whole)
    different, which = np.unique(thresholds, axis=0, return_inverse=True)
    fitted = [channels.published_channel(tuple(some.tolist()), lowest) for some in different]
    found = np.array([[getattr(of, name) for name in PROPERTIES] for of in fitted])[which.ravel()]
    return np.where(whole[:, 0] == 0, math.nan, found)

  (found,), resamples = estimates(outcomes.mean(0)[None]), estimates(resampled)
  metrics = []
  undetermined = dict(zip(PROPERTIES, np.isnan(found).tolist(), strict=True))
  flag = ""
  if undetermined["cf"]:
    alike = not undetermined["bw"]
    flag = f"{'all thresholds are equal' if alike else 'the published fit does not end'}: no channel"
  of_none = float(np.isnan(resamples[:, PROPERTIES.index("cf")]).mean())
  if not undetermined["cf"] and of_none > 1 - CONFIDENCE:
    flag = f"in {100 * of_none:.0f} % of resamples of the images no channel"  # flat, or no image right
  for name, value, others in zip(PROPERTIES, found.tolist(), resamples.T, strict=True):
    low, high = percentile_interval(others)
    low, high = (math.nan, math.nan) if math.isnan(value) else (low, high)
    column = f"{prefix}/{name}{suffix}"
    metrics.append(Metric(column, value, low, high, len(outcomes), detail=True, flag=flag))
  return metrics


def _continuous(
  prefix: str, suffix: str, fit: channels.ContinuousFit, weakest: float, n: int
) -> list[Metric]:
  """The channel through continuous thresholds, its goodness of fit, and the thresholds as noise SDs.

  A threshold outside the noise that was shown is flagged, and the channel where some lie below the `weakest`;
  how far others lie above the strongest says nothing of the channel.
  """
  rests = "rests on thresholds extrapolated below the weakest noise" if (fit.sd < weakest).any() else ""
  metrics = [
    Metric(
      f"{prefix}/{name}{suffix}",
      getattr(fit.estimate, name),
      getattr(fit.low, name),
      getattr(fit.high, name),
      n,
      detail=suffix == "",  # as the paper's figures show the normalised ones
      flag=rests,
    )
    for name in PROPERTIES
  ]
  metrics.append(Metric(f"{prefix}/fit_p{suffix}", fit.p_value, math.nan, math.nan, n, detail=True))
  for band, (sd, low, high) in enumerate(zip(fit.sd, fit.sd_low, fit.sd_high, strict=True)):
    name = f"{prefix}/threshold/f={band}{suffix}"
    flag = "extrapolated: outside the noise shown" if fit.beyond[band] else ""
    metrics.append(Metric(name, float(sd), float(low), float(high), n, detail=True, flag=flag))
  return metrics


def make(size: int = 224, *, sds: str = "") -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side.
    sds: noise SDs, ascending and joined by "+", instead of the published four. The published
      estimate needs those four among them.

  Raises:
    BiasjaxError: the SDs are no ascending positive numbers, or the images are too small for a channel.
  """
  strengths = channels.PUBLISHED_SDS
  if sds:
    try:
      strengths = tuple(float(sd) for sd in sds.split("+"))
    except ValueError:
      strengths = ()
    if len(strengths) < 2 or strengths[0] <= 0 or list(strengths) != sorted(set(strengths)):
      raise BiasjaxError(f"{NAME}:sds={sds}: expected ascending noise SDs joined by +, like 0.02+0.04+0.08")
  bands = pyramid.levels(size)
  if bands < FEWEST_BANDS:
    raise BiasjaxError(f"{NAME}: {size} pixels hold {bands} octaves, too few for a channel of {FEWEST_BANDS}")
  name = f"{NAME}:sds={sds}" if sds else NAME
  noisy = {
    condition_name(band, sd): {"level": np.int32(bands - 1 - band), "sd": np.float32(sd)}
    for band in range(bands)
    for sd in strengths
  }
  return Probe(
    name=name,
    conditions={CLEAN: {"level": np.int32(0), "sd": np.float32(0)}} | noisy,
    prepare=prepare,
    perturb=perturb,
    summarise=functools.partial(summarise, name=name, size=size, sds=strengths),
    parameters={"size": size, "sds": strengths, "contrast": CONTRAST, "mean": MEAN, "margin": MARGIN},
    sampled=True,
  )
