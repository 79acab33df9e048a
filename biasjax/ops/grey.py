"""Grey images as Pillow makes them, and their contrast."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from biasjax.types import Image


def luma(image: Image) -> Int[Array, "h w"]:
  """Pillow's mode "L" of an 8-bit RGB image: integers 0..255, exactly.

  ITU-R 601-2 luma in Pillow's fixed-point arithmetic. `image` must hold 8-bit values divided by 255.
  """
  red, green, blue = jnp.moveaxis(jnp.round(image * 255).astype(jnp.int32), -1, 0)
  return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


def low_contrast(image: Image, contrast: float, mean: float) -> Float[Array, "h w"]:
  """The grey image with its deviations from its own mean scaled by `contrast`, around `mean`.

  (g - mean(g)) * contrast + mean for g in [0, 1]: within [0, 1] if contrast <= min(mean, 1 - mean).
  """
  grey = luma(image)
  # The integers' sum is exact, so that the mean does not depend on the order of summation.
  average = jnp.sum(grey).astype(jnp.float32) / grey.size
  return (grey.astype(jnp.float32) - average) * (contrast / 255) + mean
