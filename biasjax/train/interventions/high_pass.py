"""High-pass filters as augmentation: frequencies below a random cutoff are removed.

Strength: the probability that an image is changed. The highest share of the frequency axis is kept, drawn
evenly from `low_pass.CUTOFFS`; like the spectral probe's, the result is clipped to [0, 1], which cuts away
its negative half.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention, require_share
from biasjax.train.interventions.low_pass import filtered

NAME = "high_pass"


def make(strength: float) -> Intervention:
  """The intervention on images of even size.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def augment(key, image, target, other, other_target):
    of_choice, of_cutoff = jax.random.split(key)
    chosen = jax.random.bernoulli(of_choice, strength)
    return jnp.where(chosen, filtered(of_cutoff, image, jnp.array(False)), image), target

  return Intervention(NAME, strength, augment)
