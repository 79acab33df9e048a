"""CutMix (Yun et al. 2019): a rectangle of another image is pasted in, and the targets are averaged by area.

Strength: alpha of the Beta(alpha, alpha) that the area comes from, as in `mixup`: at most half the image is
covered, but for the width of a pixel.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention
from biasjax.train.interventions.mixup import own_weight

NAME = "cutmix"


def make(strength: float) -> Intervention:
  """The intervention."""

  def augment(key, image, target, other, other_target):
    of_area, of_place = jax.random.split(key)
    side = jnp.sqrt(1 - own_weight(of_area, strength))
    height, width = image.shape[:2]
    centre = jax.random.uniform(of_place, (2,))

    def within(n, at):
      return jnp.abs((jnp.arange(n) + 0.5) / n - at) < side / 2

    pasted = within(height, centre[0])[:, None] & within(width, centre[1])[None, :]
    share = jnp.mean(pasted)  # the rectangle may reach beyond the image
    mixed = jnp.where(pasted[:, :, None], other, image)
    return mixed, (1 - share) * target + share * other_target

  return Intervention(NAME, strength, augment, mixes=True)
