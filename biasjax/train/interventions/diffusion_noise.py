"""Noise as in a diffusion process: an image fades while Gaussian noise takes its place, at equal variance.

Jaini et al. 2024 as used by Gavrikov & Keuper 2024: alpha * x + sqrt(1 - alpha^2) * n for an image x in
[-1, 1]. The published training code has sqrt(1 - alpha^alpha), less noise than that everywhere, never more
than 0.56, and none at alpha = 0; `formula=published` is that. The result is not clipped.

Strength: how far alpha, drawn evenly, may be from 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention, require_share

NAME = "diffusion_noise"
FORMULAS = ("variance", "published")


def noise_scale(alpha: Float[Array, ""], formula: str) -> Float[Array, ""]:
  """The standard deviation of the noise beside an image scaled by alpha in [0, 1]."""
  return jnp.sqrt(1 - (alpha**2 if formula == "variance" else alpha**alpha))


def make(strength: float, *, formula: str = "variance") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1, or there is no such formula.
  """
  require_share(NAME, strength)
  if formula not in FORMULAS:
    raise BiasjaxError(f"interventions: {NAME}:formula={formula}: expected one of {', '.join(FORMULAS)}")

  def augment(key, image, target, other, other_target):
    of_alpha, of_noise = jax.random.split(key)
    alpha = 1 - strength * jax.random.uniform(of_alpha)
    noise = noise_scale(alpha, formula) * jax.random.normal(of_noise, image.shape)
    return (alpha * (2 * image - 1) + noise + 1) / 2, target

  return Intervention(NAME, strength, augment)
