"""Colour taken away: each channel is the luma of ITU-R BT.601.

Strength: the probability that an image is changed.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.train.interventions.base import Intervention, sometimes
from biasjax.types import Image

NAME = "greyscale"
WEIGHTS = (0.299, 0.587, 0.114)


def luma(image: Image) -> Float[Array, "h w"]:
  """Of RGB in [0, 1]; not rounded to 8 bits, unlike the probes' `ops.grey`."""
  return image @ jnp.array(WEIGHTS, image.dtype)


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  return sometimes(
    NAME, strength, lambda key, image, other: jnp.broadcast_to(luma(image)[..., None], image.shape)
  )
