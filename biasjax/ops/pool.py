"""The max pooling of a ResNet's stem, with a gradient that is fast on CPUs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

Features = Float[Array, "b h w c"]
Pooled = Float[Array, "b h2 w2 c"]


def max_pool(x: Features) -> Pooled:
  """The greatest of every 3x3 features, 2 apart, padded by one: PyTorch's max_pool2d(x, 3, 2, 1).

  The gradient goes to the first of equal features in a window, as XLA's and PyTorch's does. On a CPU it is
  computed in whole arrays, bit for bit the gradient that XLA scatters one window after another in a single
  thread (docs/performance.md); there it has no forward-mode derivative.
  """
  return _on_cpu(x) if jax.default_backend() == "cpu" else _max_pool(x)


def _max_pool(x: Features) -> Pooled:
  return nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))  # pyright: ignore[reportArgumentType]


_on_cpu = jax.custom_vjp(_max_pool)


def _forward(x: Features) -> tuple[Pooled, tuple[Int8[Array, "b h2 w2 c"], Int8[Array, "0 h w 0"]]]:
  """Also where in its window each maximum comes first, 3 * row + column, and an empty array as wide as x."""
  pooled = _max_pool(x)
  rows, columns = pooled.shape[1:3]
  padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=-jnp.inf)
  # Features are compared with each other and not with `pooled`: XLA may compute either of them again from
  # what they are made of, with other last digits, and a maximum that equals none is sent back nowhere.
  greatest = padded[:, : 2 * rows : 2, : 2 * columns : 2]
  first = jnp.zeros(pooled.shape, jnp.int8)
  for place in range(1, 9):
    row, column = divmod(place, 3)
    there = padded[:, row : row + 2 * rows : 2, column : column + 2 * columns : 2]
    first = jnp.where(there > greatest, jnp.int8(place), first)
    greatest = jnp.maximum(there, greatest)
  return pooled, (first, jnp.zeros((0, *x.shape[1:3], 0), jnp.int8))


def _backward(saved, gradient: Pooled) -> tuple[Features]:
  first, (_, height, width, _) = saved[0], saved[1].shape

  def share(row: int, column: int) -> Float[Array, "b h3 w3 c"]:
    """What windows send to this place of theirs; a window's third row or column is the next one's first."""
    after = [(0, 0), *((1, 0) if place == 2 else (0, 1) for place in (row, column)), (0, 0)]
    return jnp.pad(jnp.where(first == 3 * row + column, gradient, 0), after)

  # Even and odd rows and columns of the padded features; sums in the order of windows, as XLA adds them.
  even = share(2, 2) + share(2, 0) + share(0, 2) + share(0, 0), share(2, 1) + share(0, 1)
  odd = share(1, 2) + share(1, 0), share(1, 1)
  padded = jnp.stack([jnp.stack(even, axis=3), jnp.stack(odd, axis=3)], axis=2)
  b, rows, _, columns, _, c = padded.shape
  padded = padded.reshape(b, 2 * rows, 2 * columns, c)
  return (padded[:, 1 : 1 + height, 1 : 1 + width],)


_on_cpu.defvjp(_forward, _backward)
