"""Left and right exchanged.

Strength: the probability that an image is changed; 0.5 is usual.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention, require_share

NAME = "flip"


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def augment(key, image, target, other, other_target):
    return jnp.where(jax.random.bernoulli(key, strength), image[:, ::-1], image), target

  return Intervention(NAME, strength, augment)
