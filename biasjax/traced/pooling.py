"""Pooling, with PyTorch's ceil_mode and count_include_pad."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from biasjax.ops.pool import max_pool
from biasjax.traced.resizing import along
from biasjax.traced.table import CONSTANT_LIMIT, PARTS, Array, Ints, operation, pair, require


def _windows(
  self: Array, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
  """(kernel, strides, dilations, pads, what the last window reaches beyond the padded image)."""
  require(self.ndim == 4, f"features of {self.ndim} dimensions")
  kernel, pads = pair(kernel_size, "kernel_size", 1), pair(padding, "padding", 0)
  strides = pair(stride, "stride", 1) if stride else kernel
  dilations = pair(dilation, "dilation", 1)
  beyond = []
  for size, k, s, p, d in zip(self.shape[2:], kernel, strides, pads, dilations, strict=True):
    reach = d * (k - 1) + 1
    require(2 * p <= k and size + 2 * p >= reach, f"a window of {k} over {size} padded by {p}")
    windows = -(-(size + 2 * p - reach) // s) + 1 if ceil_mode else 0
    if windows and (windows - 1) * s >= size + p:  # it would begin in the padding
      windows -= 1
    beyond.append(max(0, (windows - 1) * s + reach - size - 2 * p))
  return kernel, strides, dilations, pads, beyond


@operation("aten.max_pool2d.default")
def max_pool2d(
  self: Array,
  kernel_size: Ints,
  stride: Ints = [],  # noqa: B006 (never changed; the schema's default)
  padding: Ints = [0, 0],  # noqa: B006
  dilation: Ints = [1, 1],  # noqa: B006
  ceil_mode: bool = False,
) -> Array:
  """The greatest in each window; the gradient goes to the first of equals."""
  kernel, strides, dilations, pads, beyond = _windows(self, kernel_size, stride, padding, dilation, ceil_mode)
  if (kernel, strides, pads, dilations) == ([3, 3], [2, 2], [1, 1], [1, 1]) and beyond == [0, 0]:
    return jnp.moveaxis(max_pool(jnp.moveaxis(self, 1, -1)), -1, 1)
  if dilations != [1, 1]:  # JAX has no gradient of such windows
    return _max_of_places(self, kernel, strides, dilations, pads, beyond)
  around = [(0, 0), (0, 0), *((p, p + e) for p, e in zip(pads, beyond, strict=True))]
  return lax.reduce_window(
    self,
    np.asarray(-np.inf, self.dtype),  # concrete: JAX has gradients of maxima, not of any reduction
    lax.max,
    (1, 1, *kernel),
    (1, 1, *strides),
    around,
  )


def _max_of_places(
  self: Array, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints, beyond: Ints
) -> Array:
  """The greatest of all places of a window, each an array of its own; for windows with gaps."""
  require(math.prod(kernel) <= PARTS, f"a window of {kernel}")
  around = [(0, 0, 0), (0, 0, 0), *((p, p + e, 0) for p, e in zip(pads, beyond, strict=True))]
  padded = lax.pad(self, jnp.asarray(-jnp.inf, self.dtype), around)
  counts = [
    (size - d * (k - 1) - 1) // s + 1
    for size, k, s, d in zip(padded.shape[2:], kernel, strides, dilations, strict=True)
  ]
  places = []
  for i in range(kernel[0]):
    for j in range(kernel[1]):
      rows, columns = (
        slice(n * d, n * d + s * (count - 1) + 1, s)
        for n, d, s, count in zip((i, j), dilations, strides, counts, strict=True)
      )
      places.append(padded[:, :, rows, columns])
  stacked = jnp.stack(places)
  return jnp.take_along_axis(stacked, jnp.argmax(stacked, 0, keepdims=True), 0)[0]


@operation("aten.avg_pool2d.default")
def avg_pool2d(
  self: Array,
  kernel_size: Ints,
  stride: Ints = [],  # noqa: B006 (never changed; the schema's default)
  padding: Ints = [0, 0],  # noqa: B006
  ceil_mode: bool = False,
  count_include_pad: bool = True,
  divisor_override: int | None = None,
) -> Array:
  """The mean of each window, over what it holds: with the padding or without, never what lies beyond it."""
  kernel, strides, _, pads, beyond = _windows(self, kernel_size, stride, padding, [1], ceil_mode)
  around = [(0, 0), (0, 0), *((p, p + e) for p, e in zip(pads, beyond, strict=True))]
  total = lax.reduce_window(
    self, np.zeros((), self.dtype), lax.add, (1, 1, *kernel), (1, 1, *strides), around
  )
  if divisor_override is not None:
    require(divisor_override != 0, "divisor_override is 0")
    return total / divisor_override
  if not any(beyond) and (count_include_pad or not any(pads)):
    return total / math.prod(kernel)
  counts = []
  for size, out, k, s, p in zip(self.shape[2:], total.shape[2:], kernel, strides, pads, strict=True):
    starts = np.arange(out) * s - p
    margin = p if count_include_pad else 0
    counts.append(np.minimum(starts + k, size + margin) - np.maximum(starts, -margin))
  count = np.maximum(np.outer(*counts), 1).astype(np.float32)
  return total / jnp.asarray(count, self.dtype)


@operation("aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(self: Array, output_size: Ints) -> Array:
  """Means over as many windows as are asked for, which overlap where they must."""
  require(self.ndim == 4, f"features of {self.ndim} dimensions")
  out = pair(output_size, "output_size", 1)
  if out == [1, 1]:
    return jnp.mean(self, (2, 3), keepdims=True)
  for dim, (size, count) in enumerate(zip(self.shape[2:], out, strict=True), start=2):
    require(size > 0 and size * count <= CONSTANT_LIMIT, f"{count} windows over {size}")
    matrix = np.zeros((count, size), np.float64)
    for i in range(count):
      start, stop = i * size // count, -(-(i + 1) * size // count)
      matrix[i, start:stop] = 1 / (stop - start)
    self = along(self, dim, matrix)
  return self
