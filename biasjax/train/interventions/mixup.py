"""Mixup (Zhang et al. 2018): images and their targets are averaged in pairs.

Strength: alpha of the Beta(alpha, alpha) that the weight comes from; the larger of it and its complement is
the image's own, so that the weight of the other goes to 0 with alpha.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.train.interventions.base import Intervention
from biasjax.types import RandomKey

NAME = "mixup"


def own_weight(key: RandomKey, alpha: float) -> Float[Array, ""]:
  """The weight of the image itself, in [0.5, 1]; 1 if alpha is 0, or is so to float32."""
  if alpha < jnp.finfo(jnp.float32).tiny:
    return jnp.ones(())
  weight = jax.random.beta(key, alpha, alpha)
  return jnp.maximum(weight, 1 - weight)


def make(strength: float) -> Intervention:
  """The intervention."""

  def augment(key, image, target, other, other_target):
    weight = own_weight(key, strength)
    return weight * image + (1 - weight) * other, weight * target + (1 - weight) * other_target

  return Intervention(NAME, strength, augment, mixes=True)
