"""Accuracy on the images as they are: top-1, top-5."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.probes.base import Metric, Probe
from biasjax.statistics import wilson

CLEAN = "clean"


def summarise(observations: Mapping[str, pd.DataFrame]) -> list[Metric]:
  """Top-1 and top-5 accuracy in per cent, with 95 % Wilson intervals."""
  rank = observations["accuracy"]["rank"].to_numpy()
  return [_top(rank, 1), _top(rank, 5)]


def _top(rank: np.ndarray, k: int) -> Metric:
  right, n = int((rank < k).sum()), len(rank)
  low, high = wilson(right, n)
  return Metric(f"top{k}_acc/{{dataset}}", 100 * right / n, 100 * low, 100 * high, n)


def make(size: int = 224) -> Probe:
  """The probe for size x size images."""
  del size  # nothing here depends on it
  return Probe(
    name="accuracy",
    conditions={CLEAN: np.zeros((), np.int32)},
    perturb=lambda key, image, condition: image,
    summarise=summarise,
  )
