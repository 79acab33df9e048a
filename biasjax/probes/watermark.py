"""ImageNet-W: what a watermark costs, and how many answers become the class that goes with it.

Li et al. 2023 (arXiv:2212.04825): photographs of cartons often carry Chinese watermarks, and networks trained
on ImageNet have learnt that. The validation images are shown with one (`ops/watermark.py`).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.ops import watermark
from biasjax.probes.accuracy import CLEAN
from biasjax.probes.base import Metric, Probe
from biasjax.probes.decisions import all_classes
from biasjax.probes.observed import under
from biasjax.probes.relative import accuracy_of, asked_under, difference
from biasjax.statistics import wilson

NAME = "watermark"
CARTON = 478


def _share(name: str, which: np.ndarray, *, detail: bool = False) -> Metric:
  hits, n = int(which.sum()), len(which)
  low, high = wilson(hits, n)
  return Metric(name, 100 * hits / n if n else np.nan, 100 * low, 100 * high, n, detail=detail)


def summarise(observations: Mapping[str, pd.DataFrame]) -> list[Metric]:
  """The gap in accuracy, and answers that become "carton", in points and per cent; paired over the images."""
  clean = under(observations["accuracy"], [CLEAN])
  marked = under(observations[NAME], [NAME], clean.ids)
  asked = asked_under(observations[NAME], [NAME], clean.ids)[1][NAME]
  is_carton = marked.label[:, 0] == CARTON
  before, after = (of.prediction[:, 0] == CARTON for of in (clean, marked))
  right = [of.right[:, 0] for of in (marked, clean)]
  found = [
    difference(f"{NAME}/gap", *right),
    _share(f"{NAME}/becomes-carton", after[~is_carton & ~before]),
    _share(f"{NAME}/carton", after[~is_carton], detail=True),
    _share(f"{NAME}/carton/without", before[~is_carton], detail=True),
    accuracy_of(f"top1_acc/{NAME}", asked),
  ]
  if is_carton.any():
    found.append(difference(f"{NAME}/carton-gap", *(of[is_carton] for of in right), detail=True))
  return found


def make(size: int = 224) -> Probe:
  """The probe for size x size images."""
  return Probe(
    name=NAME,
    conditions={NAME: np.zeros((), np.int32)},
    perturb=lambda key, image, condition: watermark.watermarked(image),
    summarise=summarise,
    parameters={"size": size, "font": watermark.font_size(size)},
    needs=("accuracy",),
    decide={"imagenet": all_classes},
  )
