"""Gaussian noise on each pixel, clipped to [0, 1].

Strength: the largest standard deviation, of [0, 1]; each image's is drawn evenly from 0 to it.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention

NAME = "gaussian_noise"


def make(strength: float) -> Intervention:
  """The intervention."""

  def augment(key, image, target, other, other_target):
    of_sd, of_noise = jax.random.split(key)
    sd = strength * jax.random.uniform(of_sd)
    return jnp.clip(image + sd * jax.random.normal(of_noise, image.shape), 0.0, 1.0), target

  return Intervention(NAME, strength, augment)
