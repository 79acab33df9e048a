"""Contrast lowered: deviations from the mean grey are scaled down, as by torchvision's adjust_contrast.

Strength: how much may be taken away, to 1; each image's factor is drawn evenly from 1 - strength to 1.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention, require_share
from biasjax.train.interventions.greyscale import luma

NAME = "contrast"


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def augment(key, image, target, other, other_target):
    factor = 1 - strength * jax.random.uniform(key)
    mean = jnp.mean(luma(image))
    return factor * image + (1 - factor) * mean, target

  return Intervention(NAME, strength, augment)
