"""Grey Gaussian noise of one octave band, as the critical-band probe adds it, clipped to [0, 1].

Strength: the largest standard deviation, of [0, 1]; each image's is drawn evenly from 0 to it, and its octave
evenly from all.
"""

import jax
import jax.numpy as jnp

from biasjax.ops import noise, pyramid
from biasjax.train.interventions.base import Intervention

NAME = "band_noise"


def make(strength: float) -> Intervention:
  """The intervention on square images."""

  def augment(key, image, target, other, other_target):
    of_sd, of_level, of_noise = jax.random.split(key, 3)
    size = image.shape[0]
    level = jax.random.randint(of_level, (), 0, pyramid.levels(size))
    sd = strength * jax.random.uniform(of_sd)
    added = sd * noise.octave_noise(of_noise, size, level)
    return jnp.clip(image + added[:, :, None], 0.0, 1.0), target

  return Intervention(NAME, strength, augment)
