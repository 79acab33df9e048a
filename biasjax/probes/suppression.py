"""Feature reliance: how much accuracy is lost when shape, texture or colour is taken out of ordinary images.

Burgert, Stoll, Rota & Demir, "ImageNet-trained CNNs are not biased towards texture: Revisiting feature
reliance through controlled suppression", NeurIPS 2025 (arXiv:2509.20234). Instead of two cues in conflict,
one cue is suppressed in labelled images of any kind: tiles that change places or are turned take global
shape away, a bilateral filter texture, a Gaussian blur texture and local shape, grey and shuffled channels
colour. Reliance on a cue is the share of accuracy that goes with it.

Departures: images are cropped as for every other probe (the authors squeeze them to a square, and resize
again after each step); non-local means is left out. `strengths=few`, the default, asks a few points of each
curve; `strengths=published` asks all that the authors ask, of which the bilateral ones are dear on a CPU
(docs/performance.md).
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.ops import suppression as ops
from biasjax.probes.accuracy import CLEAN
from biasjax.probes.base import Metric, Probe
from biasjax.probes.relative import accuracy_of, asked_under, lost, ratios_of

NAME = "suppression"
GRIDS = (2, 4, 6, 8, 10, 12, 14, 16)  # tiles a side
BILATERAL = (
  (4, 50.0),
  (6, 80.0),
  (8, 110.0),
  (10, 140.0),
  (12, 170.0),
  (14, 200.0),
)  # diameter, sigma of colour
BLUR = ((3, 0.33), (5, 0.66), (7, 1.0), (9, 1.33), (11, 1.66), (13, 2.0), (15, 2.33))  # taps, sigma
GREY = (0.2, 0.4, 0.6, 0.8, 1.0)  # share of grey
FEW = {
  "grids": (4, 8, 16),
  "bilateral": ((4, 50.0), (12, 170.0)),
  "blur": ((5, 0.66), (15, 2.33)),
  "grey": (0.4, 1.0),
}
STRENGTHS = {
  "few": FEW,
  "published": {"grids": GRIDS, "bilateral": BILATERAL, "blur": BLUR, "grey": GREY},
}
# The condition that stands for a cue. The bilateral filter's and grey's are the authors', the grid is ours.
RELIANCE = {"shape": "patch_shuffle/8", "texture": "bilateral/12", "colour": "grey/1.0"}


def condition(
  *,
  tiles: int = 1,
  turn: bool = False,
  bilateral: tuple[int, float] | None = None,
  blur: tuple[int, float] | None = None,
  grey: float = 0.0,
  channels: bool = False,
) -> dict[str, Any]:
  """What `perturb` does, as data: every condition has all parts, most of them at rest."""
  diameter, sigma = bilateral or (0, 1.0)
  return {
    "tiles": np.int32(tiles),
    "turn": np.bool_(turn),
    "count": np.int32(ops.count_offsets(diameter) if diameter else 0),
    "sigma_colour": np.float32(sigma),
    "kernel": ops.half_kernel(*(blur or (1, 1.0))),
    "grey": np.float32(grey),
    "channels": np.bool_(channels),
  }


def conditions(strengths: str) -> dict[str, dict[str, Any]]:
  """{name: condition}, of `STRENGTHS`."""
  asked = STRENGTHS[strengths]
  found = {f"patch_shuffle/{g}": condition(tiles=g) for g in asked["grids"]}
  found |= {f"patch_rotation/{g}": condition(tiles=g, turn=True) for g in asked["grids"]}
  found |= {f"bilateral/{d}": condition(bilateral=(d, s)) for d, s in asked["bilateral"]}
  found |= {f"blur/{k}": condition(blur=(k, s)) for k, s in asked["blur"]}
  found |= {f"grey/{a}": condition(grey=a) for a in asked["grey"]}
  found |= {"channel_shuffle/1": condition(channels=True)}
  found |= {f"patch_shuffle+grey/{g}": condition(tiles=g, grey=1.0) for g in asked["grids"]}
  if strengths == "published":
    pairs = [((12, 170.0), g) for g in GRIDS] + list(zip(BILATERAL, GRIDS, strict=False))
    found |= {f"bilateral+patch_shuffle/{b[0]}+{g}": condition(bilateral=b, tiles=g) for b, g in pairs}
    found |= {f"bilateral+grey/{d}": condition(bilateral=(d, s), grey=1.0) for d, s in BILATERAL}
  return found


def perturb(key, image, of_condition):
  """One image in [0, 1] under a condition, float32 [h, w, 3] in [0, 1], of whole levels / 255."""
  of_tiles, of_channels = jax.random.split(key)
  levels = jax.numpy.round(image * 255)
  levels = ops.bilateral(levels, of_condition["count"], of_condition["sigma_colour"])
  levels = ops.blur(levels, of_condition["kernel"])
  levels = jax.lax.cond(
    of_condition["tiles"] > 1,
    lambda: ops.move_tiles(of_tiles, levels, of_condition["tiles"], of_condition["turn"]),
    lambda: levels,
  )
  levels = ops.shuffle_channels(of_channels, ops.grey(levels, of_condition["grey"]), of_condition["channels"])
  return levels / 255


def summarise(observations: Mapping[str, pd.DataFrame], *, name: str) -> list[Metric]:
  """Reliance on shape, texture and colour, 1 - accuracy under suppression / clean accuracy; and the curves.

  Each also chance-corrected: of what lies above chance. Curves: `suppression/<condition>`, the ratio, and
  `top1_acc/suppression/<condition>` in per cent. Intervals and flags are those of spectral ratios.
  """
  variant = name.removeprefix(NAME)
  ids, accuracy = asked_under(observations["accuracy"], [CLEAN])
  clean = accuracy[CLEAN]
  ratios, accuracies = [], []
  for of, asked in asked_under(observations[name], ids=ids)[1].items():
    ratios += ratios_of(f"{NAME}{variant}/{of}", [asked], clean, detail=True)
    accuracies.append(accuracy_of(f"top1_acc/{NAME}{variant}/{of}", asked))
  found = {metric.name: metric for metric in ratios}
  reliances = []
  for cue, of in RELIANCE.items():
    for ending, detail in (("", False), ("/chance-corrected", True)):
      ratio = found[f"{NAME}{variant}/{of}{ending}"]
      reliances.append(lost(ratio, f"{cue}-reliance{variant}{ending}", detail=detail))
  return [*reliances, *ratios, *accuracies]


def make(size: int = 224, *, strengths: str = "few") -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side, at least 16.
    strengths: "few" or "published".

  Raises:
    BiasjaxError: another value, or images that are too small to be cut into 16 x 16 tiles.
  """
  if strengths not in STRENGTHS:
    raise BiasjaxError(f"probe {NAME}: strengths={strengths}: expected one of {', '.join(STRENGTHS)}")
  if size < ops.MOST_TILES:
    raise BiasjaxError(
      f"probe {NAME}: images of {size} x {size} pixels: at least {ops.MOST_TILES} are needed"
    )
  name = NAME if strengths == "few" else f"{NAME}:strengths={strengths}"
  asked = conditions(strengths)
  return Probe(
    name=name,
    conditions=asked,
    perturb=perturb,
    summarise=functools.partial(summarise, name=name),
    parameters={"strengths": strengths, "reliance": RELIANCE},
    needs=("accuracy",),
    sampled=True,
  )
