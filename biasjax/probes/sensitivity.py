"""Sensitivity to single frequencies: how much a wave of each frequency, added to the image, raises the error.

Yin, Gontijo Lopes, Shlens, Cubuk & Gilmer, "A Fourier perspective on model robustness in computer vision",
NeurIPS 2019; Zhang et al., "When neural networks fail to generalize? A model sensitivity perspective", AAAI
2023. A condition is a frequency: its real Fourier basis image (`ops.fourier.wave`) is added to each channel
with a sign drawn for each image and channel, and the sum is clipped to [0, 1]. Its root mean square is .07 in
each channel by default, which is Yin's 15.7 as an L2 norm at 224 pixels, so that images of any size meet
waves of one contrast.

Departures: the authors ask every frequency; here a radial sample, at most 16 radii of 8 orientations and
frequency 0, which is what the profile over radii needs. `map=31` asks the 31 x 31 lowest frequencies, half
of which are the others' mirror image, for the authors' figure. Zhang et al. weight frequencies by the mean
spectrum of their images; their released code leaves that out, and so does this probe.
"""

import functools
import math
from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.ops import fourier
from biasjax.probes.accuracy import CLEAN
from biasjax.probes.base import Metric, Probe
from biasjax.probes.relative import Asked, asked_under, difference, flag_of, lost, mean_right, ratios_of
from biasjax.statistics import fieller, mean_of_shares

NAME = "sensitivity"
RADII = 16
ORIENTATIONS = 8
RMS = 0.07  # Yin et al. 2019: an L2 norm of 15.7 a channel at 224 pixels
BANDS = ("low", "mid", "high")  # thirds of the frequencies up to half the pixels of a side
NO_RISE = "waves do not raise the error beyond what sampling does"
DEFAULTS = {"rms": str(RMS), "clip": "yes", "map": ""}


def radii(size: int) -> list[int]:
  """Cycles a side, at most 16 from 1 to half the pixels in steps as equal as whole numbers can be."""
  half = size // 2
  return [int(radius) for radius in np.rint(np.linspace(1, half, min(RADII, half)))]


def radial_sample(size: int) -> dict[str, tuple[int, int]]:
  """{condition: (row, column)} of frequency 0 and, at each radius, 8 orientations of half a turn.

  "r=5/45" is the frequency nearest to 5 cycles a side at 45 degrees; one that is there already is left out.
  """
  found = {"r=0": (0, 0)}
  for radius in radii(size):
    for angle in np.arange(ORIENTATIONS) * 180 / ORIENTATIONS:
      t = math.radians(angle)
      frequency = (int(np.rint(radius * math.sin(t))), int(np.rint(radius * math.cos(t))))
      if not {_either(frequency, size)} & {_either(known, size) for known in found.values()}:
        found[f"r={radius}/{angle:g}"] = frequency
  return found


def _either(frequency: tuple[int, int], size: int) -> tuple[int, int]:
  """The same for a frequency and its negative, which are one image."""
  row, column = frequency
  return min((row % size, column % size), (-row % size, -column % size))


def square_map(side: int) -> dict[str, tuple[int, int]]:
  """{condition: (row, column)} of the lowest side x side frequencies, one of each with its negative."""
  half = side // 2
  rows = [(row, column) for row in range(half + 1) for column in range(-half, half + 1)]
  return {f"i={row}/j={column}": (row, column) for row, column in rows if row > 0 or column >= 0}


def radius_of(condition: str) -> int:
  """The radius that a condition counts for in the profile, cycles a side."""
  first, _, second = condition.partition("/")
  if first.startswith("r="):
    return int(first[2:])
  return round(math.hypot(int(first[2:]), int(second[2:])))


def perturb(key, image, condition, *, clip: bool):
  """One image in [0, 1] with a wave added to each channel, with a sign of its own."""
  signs = jax.random.rademacher(key, (image.shape[2],), image.dtype)
  wave = fourier.wave(image.shape[0], condition["row"], condition["column"])
  waved = image + condition["norm"] * wave[:, :, None] * signs[None, None, :]
  return waved.clip(0.0, 1.0) if clip else waved


def summarise(
  observations: Mapping[str, pd.DataFrame], *, name: str, conditions: tuple[str, ...], size: int, side: int
) -> list[Metric]:
  """The rise of the error over the clean one, in points, by band of frequencies; its centroid; the errors.

  Means are over frequencies, without frequency 0. Intervals (95 %) are over images, which all conditions
  share: of rises and of their share of the clean accuracy as of any paired difference and ratio
  (`relative`), of the centroid Fieller's.
  """
  column = f"{NAME}{name.removeprefix(NAME)}"
  ids, accuracy = asked_under(observations["accuracy"], [CLEAN])
  clean = accuracy[CLEAN]
  said = asked_under(observations[name], conditions, ids)[1]
  waves = {of: said[of] for of in conditions if radius_of(of)}
  bands = {"mean": list(waves.values())}
  if not side:
    bands |= {band: [] for band in BANDS}
    for of, asked in waves.items():
      bands[BANDS[math.ceil(3 * radius_of(of) / (size // 2)) - 1]].append(asked)
  found = [of for band, asked in bands.items() if asked for of in _rise(f"{column}/{band}", asked, clean)]
  by_radius: dict[int, list[Asked]] = {}
  for of, asked in said.items():
    if not side or radius_of(of) <= side // 2:  # beyond, a square holds corners only
      by_radius.setdefault(radius_of(of), []).append(asked)
  found.append(_centroid(f"{column}/centroid", by_radius, clean))
  found.append(_error(f"{column}/error", list(waves.values())))
  found += [_error(f"{column}/error/r={radius}", asked) for radius, asked in sorted(by_radius.items())]
  return found + ([_error(f"{column}/error/{of}", [asked]) for of, asked in said.items()] if side else [])


def _rise(name: str, asked: list[Asked], clean: Asked) -> list[Metric]:
  """In points of per cent, and as a share of the clean accuracy, also of what lies above chance."""
  kept, corrected = ratios_of(name, asked, clean, detail=True)
  return [
    difference(name, clean.right, mean_right(asked), flag=kept.flag),
    lost(kept, f"{name}/relative", detail=True),
    lost(corrected, f"{name}/relative/chance-corrected", detail=True),
  ]


def _centroid(name: str, by_radius: Mapping[int, list[Asked]], clean: Asked) -> Metric:
  """sum r rise(r) / sum rise(r) over the radii, cycles a side."""
  rises = {radius: clean.right - mean_right(asked) for radius, asked in by_radius.items() if radius}
  weighted = np.sum([radius * rise for radius, rise in rises.items()], axis=0)
  least, most = min(rises), max(rises)
  value, low, high = fieller(weighted, np.sum(list(rises.values()), axis=0))
  n = len(clean.right)
  if not least <= value <= most:  # where some waves raise the error and others lower it, there is no centre
    return Metric(name, math.nan, math.nan, math.nan, n, flag=NO_RISE)
  return Metric(name, value, max(low, least), min(high, most), n)


def _error(name: str, asked: list[Asked]) -> Metric:
  """The mean error over some frequencies, per cent."""
  value, low, high = (100 * edge for edge in mean_of_shares(1 - mean_right(asked)))
  return Metric(name, value, low, high, len(asked[0].right), detail=True, flag=flag_of(asked))


def make(
  size: int = 224, *, rms: str = DEFAULTS["rms"], clip: str = DEFAULTS["clip"], map: str = DEFAULTS["map"]
) -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side, at least 4.
    rms: root mean square of the wave in each channel, of pixels in [0, 1].
    clip: "no" for images that may leave [0, 1].
    map: an odd number of frequencies a side, for all of the lowest instead of the radial sample.

  Raises:
    BiasjaxError: another value, or images that are too small.
  """
  if size < 4:
    raise BiasjaxError(f"probe {NAME}: images of {size} x {size} pixels: at least 4 are needed")
  try:
    contrast = float(rms)
  except ValueError:
    contrast = -1.0
  if not 0 <= contrast < math.inf:
    raise BiasjaxError(f"probe {NAME}: rms={rms}: expected a number from 0 on, of pixels in [0, 1]")
  if clip not in ("yes", "no"):
    raise BiasjaxError(f"probe {NAME}: clip={clip}: expected one of yes, no")
  largest = size - 1 if size % 2 == 0 else size
  if map and not (map.isdecimal() and int(map) % 2 and 3 <= int(map) <= largest):
    raise BiasjaxError(f"probe {NAME}: map={map}: expected an odd number from 3 to {largest}, as 31")
  side = int(map or 0)
  given = {"rms": f"{contrast:g}", "clip": clip, "map": map}
  name = ":".join([NAME, *(f"{k}={v}" for k, v in given.items() if v != DEFAULTS[k])])
  frequencies = square_map(side) if side else radial_sample(size)
  conditions = {
    of: {"row": np.int32(row), "column": np.int32(column), "norm": np.float32(contrast * size)}
    for of, (row, column) in frequencies.items()
  }
  return Probe(
    name=name,
    conditions=conditions,
    perturb=functools.partial(perturb, clip=clip == "yes"),
    summarise=functools.partial(summarise, name=name, conditions=tuple(conditions), size=size, side=side),
    parameters={"size": size, **given},
    needs=("accuracy",),
    unclipped=clip == "no",
  )
