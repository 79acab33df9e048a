"""What each image adds to numbers that are means, or ratios of means, of what was observed of images.

Beside accuracies and what is left of them, which `paired` has itself: means over corruptions, the rise of the
error under waves, and what is a mean over images by itself.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.report.scores import module
from biasjax.results import conditions

SCALE = "scale"  # of `DataFrame.attrs`: the unit of the number, where it is not 1
WITHOUT_FROST = tuple(name for name in layouts.FIFTEEN if name != "frost")
# Corruptions that a mean is over, by how the number ends, and of those that end in no such way.
OVER = {
  **{"15": layouts.FIFTEEN, "mCE15": layouts.FIFTEEN, "mCE14": WITHOUT_FROST, "cbar": layouts.CBAR},
  **{"without-frost": (*WITHOUT_FROST, *layouts.EXTRA), "corruptions": (*layouts.FIFTEEN, *layouts.EXTRA)},
}
GRADIENT, CUE_SHARE = "gradient-spectrum/centroid", "cue_share/"
REFINED_BIAS = ("refined-bias/shape", "refined-bias/texture")
BANDS = ("low", "mid", "high")  # as the probe sensitivity has them


def parts(
  metric: str, probe: str, kind: str, read: Callable[[str], pd.DataFrame | None]
) -> pd.DataFrame | None:
  """float [images], columns got and of, whose totals' ratio is the number in its unit; by the image's id.

  Args:
    metric: the number.
    probe: whose it is.
    kind: what the labels of its dataset are.
    read: a probe's name -> what was observed of it, or None.

  Returns:
    With the unit as `SCALE` in its `attrs`; None of other numbers, and where something is not there. Whether
    it gives the number is for the caller to see.
  """
  if module(probe) == "sensitivity":
    asked, clean = read(probe), read("accuracy")
    return None if asked is None or clean is None else _waves(metric, asked, clean)
  if module(probe) == "corruptions" or kind in conditions.IN_IDS:
    asked = read(probe) if _over(metric) else None
    return None if asked is None else _corruptions(metric, _right(asked, kind))
  of_images = metric in (GRADIENT, *REFINED_BIAS) or metric.startswith(CUE_SHARE)
  asked = read(probe) if of_images else None
  if asked is None:
    return None
  image = asked["example_id"].to_numpy()
  if metric == GRADIENT:
    centroid = asked["centroid"].to_numpy(float)
    known = np.isfinite(centroid)
    return _frame(np.where(known, centroid, 0.0), known, image, 1.0)
  if metric in REFINED_BIAS:
    return _frame(1 / (1 + asked["rank"].to_numpy(float)), np.ones(len(asked)), image, 1.0)
  apart = (asked["label"] != asked["texture"]).to_numpy(bool)
  for_cue = (asked["prediction"] == asked["texture"]).to_numpy(float)
  return _frame(for_cue[apart], np.ones(int(apart.sum())), image[apart], 100.0)


def _frame(got: np.ndarray, of: np.ndarray, image: np.ndarray | pd.Index, scale: float) -> pd.DataFrame:
  found = pd.DataFrame({"got": got.astype(float), "of": of.astype(float)}, index=image)
  found.attrs[SCALE] = scale
  return found


def _right(table: pd.DataFrame, kind: str = "") -> pd.DataFrame:
  """1.0 or 0.0 by image and condition, in ascending order; the condition's mean where an image is missing."""
  condition, image = table["condition"], table["example_id"]
  if kind in conditions.IN_IDS:
    condition, image = conditions.split(image)
  (row, images), (column, names) = (pd.factorize(of, sort=True) for of in (image, condition))
  right = np.full((len(images), len(names)), np.nan)
  right[row, column] = table["rank"].to_numpy() == 0
  found = pd.DataFrame(right, index=images, columns=names)
  return found.fillna(found.mean())


def _over(metric: str) -> tuple[str, ...]:
  """The corruptions that a number is the mean over; () of others."""
  return layouts.FIFTEEN if metric.startswith("mCE/") else OVER.get(metric.rpartition("/")[2], ())


def _corruptions(metric: str, right: pd.DataFrame) -> pd.DataFrame | None:
  """Of a mean over corruptions, weighted by AlexNet's errors where it is an mCE."""
  relative, over = metric.startswith("mCE/") or "/mCE" in metric, _over(metric)
  weights = {of: 100 / layouts.ALEXNET[of] if relative else 1.0 for of in over}
  corruption = [str(name).replace("/", "_").rpartition("_")[0] for name in right.columns]
  weight = np.array([weights.get(of, 0.0) for of in corruption])
  if int((weight > 0).sum()) != len(over) * len(layouts.SEVERITIES):
    return None
  total = float(weight.sum())
  kept = right.to_numpy() @ (weight / total)
  got = 1 - kept if relative or "/error/" in metric else kept
  return _frame(got, np.ones(len(got)), right.index, 100 * total / int((weight > 0).sum()))


def _waves(metric: str, asked: pd.DataFrame, clean: pd.DataFrame) -> pd.DataFrame | None:
  """Of the rise of the error under waves, mean or of a band of frequencies, and of its centroid."""
  right = _right(asked)
  radius, most = (np.array(of) for of in zip(*map(_radius, right.columns), strict=True))
  of_clean = (clean["rank"] == 0).set_axis(clean["example_id"]).astype(float).reindex(right.index)
  if of_clean.isna().any():
    return None
  rise, name = of_clean.to_numpy()[:, None] - right.to_numpy(), metric.rpartition("/")[2]
  if name == "centroid":
    counted = (radius > 0) & (radius <= most.max())  # beyond, a square of frequencies holds corners only
    of_radius = {r: rise[:, radius == r].mean(axis=1) for r in np.unique(radius[counted])}
    weighted = np.sum([r * of for r, of in of_radius.items()], axis=0)
    return _frame(weighted, np.sum(list(of_radius.values()), axis=0), right.index, 1.0)
  band = np.ceil(len(BANDS) * radius / radius.max()) - 1
  wanted = radius > 0 if name == "mean" else band == BANDS.index(name) if name in BANDS else radius < 0
  if not wanted.any():
    return None
  return _frame(rise[:, wanted].mean(axis=1), np.ones(len(rise)), right.index, 100.0)


def _radius(condition: str) -> tuple[int, int]:
  """Cycles a side of a wave, "r=5/45" or "i=3/j=4"; and of its row, or the same."""
  first, _, second = str(condition).partition("/")
  number = int(first[2:])
  return (number if first.startswith("r=") else round(math.hypot(number, int(second[2:])))), number
