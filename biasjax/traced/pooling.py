"""Pooling, with PyTorch's ceil_mode and count_include_pad."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from biasjax.ops.pool import max_pool
from biasjax.traced.resizing import along
from biasjax.traced.table import CONSTANT_LIMIT, PARTS, Array, Ints, operation, pair, require


class Windows(NamedTuple):
  """What is pooled over, for each side of the image (or volume).

  Attributes:
    kernel: places of a window.
    strides: from one window to the next.
    dilations: from one place of a window to the next.
    pads: what PyTorch counts as padding, on either side.
    around: (before, after) what is laid around all dimensions: the padding, and behind it what the last
      window reaches beyond.
  """

  kernel: Ints
  strides: Ints
  dilations: Ints
  pads: Ints
  around: list[tuple[int, int]]

  @property
  def whole(self) -> bool:
    """Whether no window reaches beyond the padded image."""
    return self.around[2:] == [(p, p) for p in self.pads]

  def reduce(self, values: Array, initial: int | float, function: Callable) -> Array:
    """All places of each window, where these lie side by side, by `lax.max` or `lax.add`."""
    # Concrete, not traced: JAX has gradients of sums and maxima, not of any reduction.
    start = np.asarray(initial, values.dtype)
    return lax.reduce_window(
      values, start, function, (1, 1, *self.kernel), (1, 1, *self.strides), self.around
    )


def _windows(
  self: Array, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool, n: int = 2
) -> Windows:
  require(self.ndim == n + 2, f"features of {self.ndim} dimensions")
  kernel, pads = pair(kernel_size, "kernel_size", 1, n), pair(padding, "padding", 0, n)
  strides = pair(stride, "stride", 1, n) if stride else kernel
  dilations = pair(dilation, "dilation", 1, n)
  around = [(0, 0), (0, 0)]
  for size, k, s, p, d in zip(self.shape[2:], kernel, strides, pads, dilations, strict=True):
    reach = d * (k - 1) + 1
    windows = (size + 2 * p - reach + (s - 1 if ceil_mode else 0)) // s + 1
    if ceil_mode and (windows - 1) * s >= size + p:  # it would begin in the padding
      windows -= 1
    require(2 * p <= k and windows > 0, f"a window of {k} over {size} padded by {p}")
    around.append((p, p + max(0, (windows - 1) * s + reach - size - 2 * p)))
  return Windows(kernel, strides, dilations, pads, around)


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
  windows = _windows(self, kernel_size, stride, padding, dilation, ceil_mode)
  if windows == ([3, 3], [2, 2], [1, 1], [1, 1], [(0, 0), (0, 0), (1, 1), (1, 1)]):
    return jnp.moveaxis(max_pool(jnp.moveaxis(self, 1, -1)), -1, 1)
  if windows.dilations != [1, 1]:  # JAX has no gradient of such windows
    return _max_of_places(self, windows)
  return windows.reduce(self, -np.inf, lax.max)


def _max_of_places(self: Array, windows: Windows) -> Array:
  """The greatest of all places of a window, each an array of its own; for windows with gaps."""
  kernel, strides, dilations, _, around = windows
  require(math.prod(kernel) <= PARTS, f"a window of {kernel}")
  padded = lax.pad(self, jnp.asarray(-jnp.inf, self.dtype), [(*both, 0) for both in around])
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


@operation("aten.max_pool2d_with_indices.default")
def max_pool2d_with_indices(
  self: Array,
  kernel_size: Ints,
  stride: Ints = [],  # noqa: B006 (never changed; the schema's default)
  padding: Ints = [0, 0],  # noqa: B006
  dilation: Ints = [1, 1],  # noqa: B006
  ceil_mode: bool = False,
) -> tuple[Array, None]:
  """`max_pool2d`, which in one dimension comes as this; where each was is not there."""
  return max_pool2d(self, kernel_size, stride, padding, dilation, ceil_mode), None


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
  windows = _windows(self, kernel_size, stride, padding, [1], ceil_mode)
  return _mean_of(self, windows, count_include_pad, divisor_override)


@operation("aten.avg_pool3d.default")
def avg_pool3d(
  self: Array,
  kernel_size: Ints,
  stride: Ints = [],  # noqa: B006 (never changed; the schema's default)
  padding: Ints = [0, 0, 0],  # noqa: B006
  ceil_mode: bool = False,
  count_include_pad: bool = True,
  divisor_override: int | None = None,
) -> Array:
  """`avg_pool2d` of volumes; responses are normalised with it, by those of neighbouring channels."""
  windows = _windows(self, kernel_size, stride, padding, [1], ceil_mode, 3)
  return _mean_of(self, windows, count_include_pad, divisor_override)


def _mean_of(self: Array, windows: Windows, count_include_pad: bool, divisor_override: int | None) -> Array:
  kernel, strides, _, pads, _ = windows
  total = windows.reduce(self, 0, lax.add)
  if divisor_override is not None:
    require(divisor_override != 0, "divisor_override is 0")
    return total / divisor_override
  if windows.whole and (count_include_pad or not any(pads)):
    return total / math.prod(kernel)
  count = np.ones((), np.int64)
  for size, out, k, s, p in zip(self.shape[2:], total.shape[2:], kernel, strides, pads, strict=True):
    starts = np.arange(out) * s - p
    margin = p if count_include_pad else 0
    along_side = np.minimum(starts + k, size + margin) - np.maximum(starts, -margin)
    count = count[..., None] * along_side
  return total / jnp.asarray(np.maximum(count, 1).astype(np.float32), self.dtype)


def _adaptive(size: int, count: int) -> list[tuple[int, int]]:
  """(start, stop) of as many windows over a side as are asked for, which overlap where they must."""
  require(size > 0 and size * count <= CONSTANT_LIMIT, f"{count} windows over {size}")
  return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


@operation("aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(self: Array, output_size: Ints) -> Array:
  """Means over as many windows as are asked for."""
  require(self.ndim == 4, f"features of {self.ndim} dimensions")
  out = pair(output_size, "output_size", 1)
  if out == [1, 1]:
    return jnp.mean(self, (2, 3), keepdims=True)
  for dim, (size, count) in enumerate(zip(self.shape[2:], out, strict=True), start=2):
    windows = _adaptive(size, count)
    matrix = np.zeros((count, size), np.float64)
    for i, (start, stop) in enumerate(windows):
      matrix[i, start:stop] = 1 / (stop - start)
    self = along(self, dim, matrix)
  return self


@operation("aten.adaptive_max_pool2d.default")
def adaptive_max_pool2d(self: Array, output_size: Ints) -> tuple[Array, None]:
  """The greatest in each of as many windows as are asked for; the gradient goes to the first of equals.

  Where it was, PyTorch's other result, is not there.
  """
  require(self.ndim == 4, f"features of {self.ndim} dimensions")
  out = pair(output_size, "output_size", 1)
  require(math.prod(out) <= PARTS, f"{out} windows")
  sides = [_adaptive(size, count) for size, count in zip(self.shape[2:], out, strict=True)]
  found = []
  for top, bottom in sides[0]:
    for left, right in sides[1]:
      window = self[:, :, top:bottom, left:right].reshape(*self.shape[:2], -1)
      first = jnp.argmax(window, -1, keepdims=True)
      found.append(jnp.take_along_axis(window, first, -1))
  return jnp.concatenate(found, -1).reshape(*self.shape[:2], *out), None
