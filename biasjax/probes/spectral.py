"""Spectral bias: how much accuracy survives when only low, or only high, frequencies are left.

Gavrikov & Keuper, CVPR 2024. Conditions are "low/c" and "high/c" for 11 cutoffs c, the share of the frequency
axis that is kept. Reported are ratios to the accuracy on the clean images.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.ops import fourier
from biasjax.probes.accuracy import CLEAN
from biasjax.probes.base import Metric, Probe
from biasjax.statistics import ratio_of_means

CUTOFFS = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
# LPP and HPP are means over these (the paper's "low-frequency" and "high-frequency" bias).
BIAS_CUTOFFS = (0.1, 0.2, 0.3, 0.4, 0.5)
COLUMNS = {"low": "LFC", "high": "HFC"}
BIASES = {"low": "LPP", "high": "HPP"}


def radius(band: str, cutoff: float, size: int) -> int:
  """Half the side of the block that is kept ("low") or removed ("high"), in frequency indices.

  int(c * 112) and int((1 - c) * 112) for 224 pixels, in double precision as published: rounding matters.
  """
  return int((cutoff if band == "low" else 1 - cutoff) * (size // 2))


def summarise(observations: Mapping[str, pd.DataFrame]) -> list[Metric]:
  """Ratios of clean accuracy for each condition, and their means LPP and HPP over cutoffs .1 to .5.

  Intervals (95 %) are of a ratio of two accuracies over the same images, by the delta method. All are NaN for
  a model that has no clean image right.
  """
  clean = _right(observations["accuracy"], CLEAN)
  by_condition = dict(list(observations["spectral"].groupby("condition", sort=False)))
  metrics = []
  for band, column in COLUMNS.items():
    right = {c: _right(by_condition[f"{band}/{c}"], f"{band}/{c}").reindex(clean.index) for c in CUTOFFS}
    named = {f"metric/bandpass/{column}/{c}": right[c] for c in CUTOFFS}
    named[BIASES[band]] = sum(right[c] for c in BIAS_CUTOFFS) / len(BIAS_CUTOFFS)
    for name, values in named.items():
      value, low, high = ratio_of_means(values.to_numpy(float), clean.to_numpy(float))
      metrics.append(Metric(name, value, low, high, len(clean), detail=name not in BIASES.values()))
  return metrics


def _right(table: pd.DataFrame, condition: str) -> pd.Series:
  """Whether each example is right (top-1) under `condition`, indexed by example id."""
  table = table[table["condition"] == condition]
  return (table["rank"] == 0).set_axis(table["example_id"])


def make(size: int = 224) -> Probe:
  """The probe for size x size images."""
  conditions = {
    f"{band}/{cutoff}": {
      "radius": np.int32(radius(band, cutoff, size)),
      "keep_low": np.bool_(band == "low"),
    }
    for band in COLUMNS
    for cutoff in CUTOFFS
  }
  return Probe(
    name="spectral",
    conditions=conditions,
    prepare=fourier.spectrum,
    perturb=lambda key, spectrum, condition: fourier.band_pass(
      spectrum, condition["radius"], condition["keep_low"]
    ),
    summarise=summarise,
    parameters={"size": size, "cutoffs": CUTOFFS, "mask": "half-open square"},
    needs=("accuracy",),
  )
