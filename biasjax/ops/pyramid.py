"""Octave bands of a Laplacian pyramid as matrix products.

Burt & Adelson 1983, with the binomial filter and edges reflected about the last pixel, as in pyrtools
(`LaplacianPyramid`, `recon_pyr(levels=l)`). All of it is linear and separable, so level l of an image n is
P_l n P_l^T - P_(l+1) n P_(l+1)^T, where P_l takes a column down l octaves and up again.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float, Int

BINOMIAL = np.sqrt(2) * np.array([1, 4, 6, 4, 1]) / 16


def levels(size: int) -> int:
  """How many levels a size x size image has, the low-pass rest included: 7 for 224 (pyrtools' choice)."""
  return 1 if size < len(BINOMIAL) else 1 + levels(size // 2)


def down_and_up(size: int) -> tuple[np.ndarray, np.ndarray]:
  """The matrices that blur and halve a column [m, size], and that double and blur it [size, m]; float64.

  m is size / 2, rounded up.
  """
  blur = np.zeros((size, size))
  for tap, weight in zip((-2, -1, 0, 1, 2), BINOMIAL, strict=True):
    position = np.abs(np.arange(size) + tap)
    position = np.where(position >= size, 2 * (size - 1) - position, position)
    blur[np.arange(size), position] += weight
  return blur[::2], blur[:, ::2]


@functools.cache
def factors(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """What `band` multiplies by: P_l = up Q_l down for every l >= 1, at half the resolution.

  Returns:
    down, [m, size]; up, [size, m]; and Q, [levels + 1, m, m], whose first is zero because level 0 is handled
    apart, and whose last is zero because nothing lies below the rest; all float32.
  """
  down, up = down_and_up(size)
  middle = len(down)
  product_down, product_up = np.eye(middle), np.eye(middle)
  coarse = [np.zeros((middle, middle)), np.eye(middle)]
  for _ in range(2, levels(size)):
    further_down, further_up = down_and_up(len(product_down))
    product_down, product_up = further_down @ product_down, product_up @ further_up
    coarse.append(product_up @ product_down)
  coarse = [*coarse[: levels(size)], np.zeros((middle, middle))]
  return down.astype(np.float32), up.astype(np.float32), np.stack(coarse).astype(np.float32)


def band(
  image: Float[Array, "n n"], level: Int[Array, ""]
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
  """Level `level` and level 0 (the finest) of the Laplacian pyramid of `image`, both at full resolution.

  Args:
    image: square, any values.
    level: 0 to levels(n) - 1; the last is the low-pass rest, the mean included.
  """
  down, up, coarse = factors(image.shape[0])

  def sandwich(left: Float[Array, "a b"], middle: Float[Array, "b b"]) -> Float[Array, "a a"]:
    product = jnp.matmul(left, middle, precision=Precision.HIGHEST)
    return jnp.matmul(product, left.T, precision=Precision.HIGHEST)

  half = sandwich(jnp.asarray(down), image)
  finest = image - sandwich(jnp.asarray(up), half)
  upper, lower = jnp.asarray(coarse)[level], jnp.asarray(coarse)[level + 1]
  chosen = sandwich(jnp.asarray(up), sandwich(upper, half) - sandwich(lower, half))
  return jnp.where(level == 0, finest, chosen), finest
