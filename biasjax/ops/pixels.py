"""From 8-bit pixels to [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

# 1/255 in two parts. The first has 16 significant bits, so that its product with 8 bits is exact in float32.
HIGH = np.float32(round(2**23 / 255) / 2**23)
LOW = np.float32(1 / 255 - float(HIGH))


def unit_interval(pixels: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
  """pixels / 255, float32 in [0, 1], correctly rounded: torchvision's `ToTensor` to the last bit.

  XLA turns a division by a scalar into a product with its reciprocal, and 126 of the 256 levels would be off
  in their last bit; so it does on TPUs with two products whose sum it can take before.
  """
  levels = pixels.astype(jnp.float32)
  return jax.lax.optimization_barrier(levels * HIGH) + levels * LOW
