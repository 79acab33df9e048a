"""Random numbers from a key, as `jax.random` draws them, at half the price.

`jax.random` makes each 32-bit word of two that its generator gives (Threefry 2 x 32), so that arrays can be
split over devices; here both are used, since an image is never split. Numbers are others than
`jax.random`'s of the same key, and as good.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, UInt32

from biasjax.types import RandomKey

Bound = float | int | Array


def bits(key: RandomKey, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
  """Words of 32 random bits."""
  count = jnp.arange(math.prod(shape), dtype=jnp.uint32)
  return threefry_2x32(jax.random.key_data(key), count).reshape(shape)


def uniform(
  key: RandomKey, shape: tuple[int, ...] = (), low: Bound = 0.0, high: Bound = 1.0
) -> Float[Array, "..."]:
  """Uniform in [low, high), float32, of 2^23 values."""
  mantissa = bits(key, shape) >> 9 | np.uint32(0x3F800000)
  return (jax.lax.bitcast_convert_type(mantissa, jnp.float32) - 1) * (high - low) + low


def normal(key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
  """Standard normal, float32, by inversion of the distribution function."""
  smallest = float(np.nextafter(np.float32(-1), np.float32(0)))
  return math.sqrt(2) * jax.scipy.special.erfinv(jnp.maximum(uniform(key, shape, -1.0), smallest))
