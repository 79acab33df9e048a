"""A random part of the image at full size, bilinear with antialiasing (Szegedy et al. 2015).

Strength: how much of the area may be missing; the usual part of 8 to 100 % is 0.92. The part's ratio of sides
is up to 4/3 either way, less for a strength near 0.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention, require_share
from biasjax.types import Image, RandomKey

NAME = "random_crop"
RATIO = 4 / 3


def crop(key: RandomKey, image: Image, strength: float) -> Image:
  """A part of at least 1 - strength of the area, of the image's own size."""
  of_area, of_ratio, of_place = jax.random.split(key, 3)
  area = 1 - strength * jax.random.uniform(of_area)
  widest = jnp.log(RATIO) * strength
  ratio = jnp.exp(jax.random.uniform(of_ratio, minval=-widest, maxval=widest))
  sides = jnp.minimum(jnp.sqrt(area * jnp.stack([ratio, 1 / ratio])), 1.0)
  size = jnp.array(image.shape[:2], jnp.float32)
  corner = jax.random.uniform(of_place, (2,)) * (1 - sides) * size
  scale = 1 / sides
  resized = jax.image.scale_and_translate(
    image, image.shape, (0, 1), scale, -corner * scale, jax.image.ResizeMethod.LINEAR
  )
  return jnp.clip(resized, 0.0, 1.0)


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def augment(key, image, target, other, other_target):
    return crop(key, image, strength), target

  return Intervention(NAME, strength, augment if strength else None)
