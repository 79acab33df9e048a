"""Uniform noise on each pixel, clipped to [0, 1].

Strength: the largest half-width w of U(-w, w), of [0, 1]; each image's is drawn evenly from 0 to it.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention

NAME = "uniform_noise"


def make(strength: float) -> Intervention:
  """The intervention."""

  def augment(key, image, target, other, other_target):
    of_width, of_noise = jax.random.split(key)
    width = strength * jax.random.uniform(of_width)
    noise = width * jax.random.uniform(of_noise, image.shape, minval=-1.0, maxval=1.0)
    return jnp.clip(image + noise, 0.0, 1.0), target

  return Intervention(NAME, strength, augment)
