"""Low-pass filters as augmentation: frequencies above a random cutoff are removed.

Strength: the probability that an image is changed. The cutoff is drawn evenly from `CUTOFFS`, the range over
which the spectral probe takes LPP; the mask is the disc, unlike the probe's block.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from biasjax.errors import BiasjaxError
from biasjax.ops import fourier
from biasjax.train.interventions.base import Intervention, sometimes
from biasjax.types import Image, RandomKey

NAME = "low_pass"
CUTOFFS = (0.1, 0.5)  # shares of the frequency axis


def filtered(key: RandomKey, image: Image, keep_low: Bool[Array, ""]) -> Image:
  """`image` below (or above) a random share of the frequency axis, clipped to [0, 1].

  Raises:
    BiasjaxError: the image is of odd size.
  """
  height, width = image.shape[:2]
  if width % 2:
    raise BiasjaxError(f"low_pass and high_pass: images of {height}x{width} pixels: an even side is needed")
  share = jax.random.uniform(key, minval=CUTOFFS[0], maxval=CUTOFFS[1])
  share = jnp.where(keep_low, share, 1 - share)
  radius = jnp.round(share * (height // 2)).astype(jnp.int32)
  return fourier.band_pass(fourier.spectrum(image), radius, keep_low, block=fourier.radial)


def make(strength: float) -> Intervention:
  """The intervention on images of even size.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  return sometimes(NAME, strength, lambda key, image, other: filtered(key, image, jnp.array(True)))
