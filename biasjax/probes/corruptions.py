"""Accuracy under the corruptions of ImageNet-C and C-bar, made on the device from any images.

Hendrycks & Dietterich 2019 (arXiv:1903.12261); Mintun et al. 2021 (arXiv:2102.11273). No archive is needed
and any labelled dataset serves, of any size. These are not the published files: noise is drawn anew, images
were not saved as JPEG in between; what else differs is said in `ops/corruptions.py` and beside it. So columns
are named apart. Frost needs photographs, which `frost_dir` names; without them it is left out, and
`corruptions/mCE14` is over the other 14 of the 15 corruptions of mCE.
"""

import functools
from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.errors import BiasjaxError, suggestion
from biasjax.ops import corruptions, corruptions_bar, frost, spatter
from biasjax.probes.accuracy import Conditioned, mean_accuracy, mean_error
from biasjax.probes.base import Metric, Probe
from biasjax.probes.relative import accuracy_of, asked_under

NAME, FROST = "corruptions", "frost"
GROUPS = {"imagenet_c": (*layouts.FIFTEEN, *layouts.EXTRA), "imagenet_cbar": layouts.CBAR}
WITHOUT_FROST = tuple(name for name in GROUPS["imagenet_c"] if name != FROST)
MADE: dict[str, corruptions.Corruption] = {
  **corruptions.CORRUPTIONS,
  "spatter": spatter.spatter,
  **corruptions_bar.CORRUPTIONS,
}
SMALLEST = 32  # pixels of a side that can still be cut and zoomed


def summarise(observations: Mapping[str, pd.DataFrame], *, name: str) -> list[Metric]:
  """Accuracy under each condition, means over corruptions, and the mean corruption error beside AlexNet's.

  Intervals (95 %) are Wilson's for one condition. Means take an image in all its conditions as one draw. A
  mean is there only if all of its conditions are, and named after what it is over.
  """
  variant = name.removeprefix(NAME)
  _, asked = asked_under(observations[name])
  curves = [
    accuracy_of(f"top1_acc/{NAME}{variant}/{condition.replace('/', '_')}", of)
    for condition, of in asked.items()
  ]
  right = np.stack([of.right for of in asked.values()], axis=1)
  samples = [sample for of in asked.values() for sample in of.samples]
  conditioned = Conditioned(right, list(asked), np.array([of.chance for of in asked.values()]), samples)
  kinds = tuple(dict.fromkeys(condition.split("/")[0] for condition in asked))
  over = {"": kinds if variant else GROUPS["imagenet_c"]}
  if not variant:
    over |= {"/without-frost": WITHOUT_FROST, "/cbar": layouts.CBAR}
  means = [mean_accuracy(f"top1_acc/{NAME}{variant}{end}", conditioned, of) for end, of in over.items()]
  for counted in (layouts.FIFTEEN, tuple(of for of in layouts.FIFTEEN if of != FROST)):
    alexnet = {of: layouts.ALEXNET[of] / 100 for of in counted}
    means.append(mean_error(f"{NAME}{variant}/mCE{len(counted)}", conditioned, alexnet))
  means.append(mean_error(f"{NAME}{variant}/error/cbar", conditioned, dict.fromkeys(layouts.CBAR, 1.0)))
  return [*filter(None, means), *curves]


def _wanted(only: str, photographs: bool) -> tuple[str, ...]:
  """The corruptions that `only` names; all, but frost where there are no photographs."""
  known = [name for group in GROUPS.values() for name in group]
  found = []
  for part in only.split("+") if only else GROUPS:
    group = [name for name in GROUPS.get(part, (part,)) if name != FROST or photographs or part == FROST]
    if not set(group) <= set(known):
      hint = suggestion(part, (*GROUPS, *known))
      raise BiasjaxError(f"probe {NAME}: only={only}: no corruption {part!r}: {hint}")
    found += group
  return tuple(dict.fromkeys(found))


def _without_photographs(*of_image):
  raise BiasjaxError(
    f"probe {NAME}: {FROST} needs photographs: name their folder, {NAME}:frost_dir=FOLDER, or use the "
    "published imagenet_c"
  )


def make(size: int = 224, *, only: str = "", frost_dir: str = "") -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side, at least 32.
    only: some of the corruptions, joined by "+", or imagenet_c or imagenet_cbar; all by default.
    frost_dir: a folder with photographs of frost, as ImageNet-C's authors have them beside their code.

  Raises:
    BiasjaxError: an unknown corruption, images too small to be cut and zoomed, or no photographs.
  """
  if size < SMALLEST:
    raise BiasjaxError(
      f"probe {NAME}: images of {size} x {size} pixels: at least {SMALLEST} a side are needed"
    )
  wanted = _wanted(only, bool(frost_dir))
  of_frost = _without_photographs
  if frost_dir:
    of_frost = functools.partial(frost.frost, photographs=frost.read(frost_dir, size))
  made = [MADE.get(of, of_frost) for of in wanted]
  name = f"{NAME}:only={only}" if only else NAME
  return Probe(
    name=name,
    asked=f"{name}:frost_dir={frost_dir}" if frost_dir else name,
    conditions={
      f"{of}/{severity}": {"which": np.int32(which), "severity": np.int32(int(severity) - 1)}
      for which, of in enumerate(wanted)
      for severity in layouts.SEVERITIES
    },
    perturb=lambda key, image, condition: jax.lax.switch(
      condition["which"], made, key, image, condition["severity"]
    ),
    summarise=functools.partial(summarise, name=name),
    parameters={"corruptions": wanted},
    sampled=True,
  )
