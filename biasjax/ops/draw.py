"""Arrays of random numbers as `jax.random` draws them, of the size of images; on a CPU five times as fast.

There `jax.random` goes through its generator's rounds in a loop, whose arrays pass through memory each time;
here they are written out. Words and uniform numbers are the same to the last bit; normal ones differ by its
rounding.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from biasjax.types import RandomKey

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)  # of a group of four rounds, in turns

# Of erfinv(x) / x, the highest power first: in w - 2.5 and in sqrt(w) - 3, where w = -log(1 - x^2).
ERFINV_NEAR = (
  *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
  *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
ERFINV_FAR = (
  *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
  *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)

Bound = float | int | Array


def threefry(key: UInt32[Array, "2"], counter: UInt32[Array, "n"]) -> UInt32[Array, "n"]:
  """The words of the blocks (0, counter), combined: Threefry 2 x 32 with 20 rounds (Salmon et al. 2011)."""
  schedule = key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)
  x, y = jnp.broadcast_to(schedule[0], counter.shape), counter + schedule[1]
  for group in range(5):
    for by in ROTATIONS[group % 2]:
      x = x + y
      y = (y << np.uint32(by) | y >> np.uint32(32 - by)) ^ x
    x = x + schedule[(group + 1) % 3]
    y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
  return x ^ y


def bits(key: RandomKey, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
  """Words of 32 random bits, fewer than 2^32."""
  count = math.prod(shape)
  half = -(-count // 2)
  counter = jnp.arange(half, dtype=jnp.uint32)
  # In two halves: of one piece XLA makes one loop with what is done with it, which is too long for vectors.
  words = [threefry(jax.random.key_data(key), of) for of in (counter, counter + np.uint32(half))]
  return jnp.concatenate(words)[:count].reshape(shape)


def uniform(
  key: RandomKey, shape: tuple[int, ...] = (), low: Bound = 0.0, high: Bound = 1.0
) -> Float[Array, "..."]:
  """Uniform in [low, high), float32, of 2^23 values."""
  mantissa = bits(key, shape) >> 9 | np.uint32(0x3F800000)
  return (jax.lax.bitcast_convert_type(mantissa, jnp.float32) - 1) * (high - low) + low


def normal(key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
  """Standard normal, float32, by inversion of the distribution function; within 5.6 of 0.

  The inverse error function is Giles 2010's in single precision ("Approximating the erfinv function"), right
  to 3e-7 of the value. XLA's has another logarithm, which takes longer.
  """
  drawn = jnp.maximum(uniform(key, shape, -1.0), float(np.nextafter(np.float32(-1), np.float32(0))))
  w = -jnp.log((1 - drawn) * (1 + drawn))
  near, far = (
    functools.reduce(lambda total, next_: total * at + np.float32(next_), coefficients, jnp.zeros_like(at))
    for coefficients, at in ((ERFINV_NEAR, w - 2.5), (ERFINV_FAR, jnp.sqrt(w) - 3))
  )
  return math.sqrt(2) * drawn * jnp.where(w < 5, near, far)
