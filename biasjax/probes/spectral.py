"""Spectral bias: how much accuracy survives when only low, or only high, frequencies are left.

Gavrikov & Keuper, CVPR 2024. Conditions are "low/c" and "high/c" for 11 cutoffs c, the share of the frequency
axis that is kept. Reported are ratios to the accuracy on the clean images, as published and chance-corrected,
and the accuracies themselves.

Published by default. Options, each a probe of its own with columns of its own (docs/probes.md):
mask=symmetric or mask=radial instead of the half-open square block, keep_mean=yes for a high-pass that
clipping does not rectify.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.ops import fourier
from biasjax.probes.accuracy import CLEAN
from biasjax.probes.base import Metric, Probe
from biasjax.probes.observed import sampling_of
from biasjax.probes.relative import accuracy_of, asked_under, flag_of, mean_right, ratios_of
from biasjax.statistics import ratio_of_means

CUTOFFS = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
# LPP and HPP are means over these (the paper's "low-frequency" and "high-frequency" bias).
BIAS_CUTOFFS = (0.1, 0.2, 0.3, 0.4, 0.5)
MASKS = {"half-open": fourier.half_open, "symmetric": fourier.symmetric, "radial": fourier.radial}
COLUMNS = {"low": "LFC", "high": "HFC"}
BIASES = {"low": "LPP", "high": "HPP"}


def radius(band: str, cutoff: float, size: int) -> int:
  """Half the side of the block that is kept ("low") or removed ("high"), in frequency indices.

  int(c * 112) and int((1 - c) * 112) for 224 pixels, in double precision as published: rounding matters.
  """
  return int((cutoff if band == "low" else 1 - cutoff) * (size // 2))


def summarise(observations: Mapping[str, pd.DataFrame], *, name: str = "spectral") -> list[Metric]:
  """Ratios of clean accuracy for each condition, their means LPP and HPP over cutoffs .1 to .5; accuracies.

  Each ratio also chance-corrected: (accuracy - chance) / (clean accuracy - chance). Intervals (95 %) are of a
  ratio of two accuracies over the same images (`statistics.ratio_of_means`); of accuracies (per cent)
  Wilson's. Ratios are NaN for a model that has no clean image right, corrected ones where the clean accuracy
  cannot be told from chance; a ratio of accuracies that cannot is flagged.
  """
  variant = name.removeprefix("spectral")
  ids, accuracy = asked_under(observations["accuracy"], [CLEAN])
  clean, wanted = accuracy[CLEAN], [f"{band}/{c}" for band in COLUMNS for c in CUTOFFS]
  _, said = asked_under(observations[name], wanted, ids)
  ratios, accuracies, biases = [], [], {}
  for band, column in COLUMNS.items():
    asked = {c: said[f"{band}/{c}"] for c in CUTOFFS}
    for c, of in asked.items():
      ratios += ratios_of(f"metric/bandpass{variant}/{column}/{c}", [of], clean, detail=True)
      accuracies.append(accuracy_of(f"top1_acc/bandpass{variant}/{column}/{c}", of))
    biases[band] = [asked[c] for c in BIAS_CUTOFFS]
    ratios += ratios_of(f"{BIASES[band]}{variant}", biases[band], clean, detail=False)
  high, low = (mean_right(biases[band]) for band in ("high", "low"))
  share = ratio_of_means(high, high + low, largest=1.0)
  both = [*biases["high"], *biases["low"]]
  # Of h / (h + l) by linearisation: (1 - share) dh - share dl, over h + l.
  numbers: dict[str, Any] = {"n": len(ids)}
  whole = float((high + low).mean())
  if whole > 0:
    weights = [(1 - share[0]) / whole / len(BIAS_CUTOFFS)] * len(BIAS_CUTOFFS)
    weights += [-share[0] / whole / len(BIAS_CUTOFFS)] * len(BIAS_CUTOFFS)
    numbers |= sampling_of([sample for of in both for sample in of.samples], weights)
  bias = Metric(f"spectral-bias{variant}", *share, detail=True, flag=flag_of(both), **numbers)
  return [*ratios, *accuracies, bias]


def make(size: int = 224, *, mask: str = "half-open", keep_mean: str = "no") -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side.
    mask: "half-open" (published), "symmetric" or "radial": which frequencies a cutoff means.
    keep_mean: "yes" for a high-pass that leaves each channel's mean as it is; "no" as published.

  Raises:
    BiasjaxError: another value, or an odd size.
  """
  if size % 2:
    raise BiasjaxError(f"probe spectral: images of {size} x {size} pixels: an even number a side is needed")
  for option, value, values in (("mask", mask, tuple(MASKS)), ("keep_mean", keep_mean, ("no", "yes"))):
    if value not in values:
      raise BiasjaxError(f"probe spectral: {option}={value}: expected one of {', '.join(values)}")
  given = {"mask": mask, "keep_mean": keep_mean}
  published = {"mask": "half-open", "keep_mean": "no"}
  name = ":".join(["spectral", *(f"{k}={v}" for k, v in given.items() if v != published[k])])
  conditions = {
    f"{band}/{cutoff}": {
      "radius": np.int32(radius(band, cutoff, size)),
      "keep_low": np.bool_(band == "low"),
    }
    for band in COLUMNS
    for cutoff in CUTOFFS
  }
  return Probe(
    name=name,
    conditions=conditions,
    prepare=fourier.spectrum,
    perturb=lambda key, spectrum, condition: fourier.band_pass(
      spectrum,
      condition["radius"],
      condition["keep_low"],
      block=MASKS[mask],
      keep_mean=keep_mean == "yes",
    ),
    summarise=functools.partial(summarise, name=name),
    parameters={"size": size, "cutoffs": CUTOFFS, "mask": mask, "keep_mean": keep_mean},
    needs=("accuracy",),
    sampled=True,
  )
