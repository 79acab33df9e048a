"""High-pass filters as augmentation: frequencies below a random cutoff are removed.

Strength: the probability that an image is changed. The highest share of the frequency axis is kept, drawn
evenly from `low_pass.CUTOFFS`; like the spectral probe's, the result is clipped to [0, 1], which cuts away
its negative half.
"""

import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention, sometimes
from biasjax.train.interventions.low_pass import filtered

NAME = "high_pass"


def make(strength: float) -> Intervention:
  """The intervention on images of even size.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  return sometimes(NAME, strength, lambda key, image, other: filtered(key, image, jnp.array(False)))
