"""Adversarial training within an L2 ball (Madry et al. 2018).

Strength: eps, the Euclidean norm over all values of an image in [0, 1]. Option `steps` (3): of projected
gradient ascent from the image, each of length 2.5 * eps / steps.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.train.interventions.base import Intervention, whole
from biasjax.train.interventions.linf_adversarial import REACH
from biasjax.types import Images

NAME = "l2_adversarial"


def norms(images: Images) -> Float[Array, "b 1 1 1"]:
  """The Euclidean norm of each image, never 0."""
  return jnp.sqrt(jnp.sum(images**2, axis=(1, 2, 3), keepdims=True) + 1e-20)


def make(strength: float, *, steps: str = "3") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: `steps` is no whole number from 1.
  """
  count = whole(NAME, "steps", steps, 1)

  def attack(key, losses, images):
    gradient = jax.grad(lambda x: jnp.sum(losses(x)))

    def step(_, x):
      ascent = gradient(x)
      change = x + (REACH * strength / count) * ascent / norms(ascent) - images
      change = change * jnp.minimum(1.0, strength / norms(change))
      return jnp.clip(images + change, 0.0, 1.0)

    return jax.lax.fori_loop(0, count, step, images)

  return Intervention(NAME, strength, attack=attack if strength else None)
