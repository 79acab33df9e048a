"""Convolutions of many narrow groups as sums of shifted products, for CPUs.

XLA's own grouped convolutions take several times as long there, those of single channels 20 to 30 times, and
a program that holds one has all of its others in slower kernels, too (`biasjax/compiling.py`).
"""

import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from biasjax.traced.table import Array, require

# Places of a kernel times channels of a group: beyond as many XLA's own is no slower, and the program would
# become long.
MOST_TAPS = 81
LEAST_GROUPS = 8  # of several channels; fewer are wide

Sizes = tuple[int, ...]  # of rows and columns
Around = tuple[tuple[int, int], ...]  # zeros before and after these


def fits_taps(input: Array, weight: Array, groups: int) -> bool:
  """Whether `by_taps` is the way for features [b, c, h, w] by a kernel [out, c / groups, i, j]."""
  single = groups == input.shape[1] == weight.shape[0] and groups > 1
  few = math.prod(weight.shape[1:]) <= MOST_TAPS
  return input.ndim == 4 and few and (single or groups >= LEAST_GROUPS) and jax.default_backend() == "cpu"


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def by_taps(x: Array, kernel: Array, strides: Sizes, pads: Sizes, dilations: Sizes, groups: int) -> Array:
  """A convolution as a sum of shifted products, each of a channel of every group.

  The gradient is such a sum, too; there is no forward-mode derivative.

  Args:
    x: [b, c, h, w].
    kernel: [out, c / groups, i, j].
    strides, pads, dilations: of rows and columns.
    groups: the parts, in order, of the channels of both.
  """
  return _taps(x, kernel, strides, tuple((p, p) for p in pads), dilations, groups)


def _taps(x: Array, kernel: Array, strides: Sizes, around: Around, dilations: Sizes, groups: int) -> Array:
  """`_sum_of_taps`, as a function that XLA does not inline.

  Inlined, it is computed again by whatever uses it, the mean and the variance of a layer norm, say, and what
  stands before it by each of its taps: gradients of a MobileNet took twice as long. On CPUs
  `lax.optimization_barrier` is gone before XLA joins operations.
  """
  with set_xla_metadata(inlineable="false"):
    return _sum_of_taps(x, kernel, strides, around, dilations, groups)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _sum_of_taps(
  x: Array, kernel: Array, strides: Sizes, around: Around, dilations: Sizes, groups: int
) -> Array:
  """Sum over (i, j, m) of kernel[n, m, i, j] * x[m, s y + d i, s z + d j], m a channel of the group of n."""
  out, width, *sides = kernel.shape
  padded = _padded(x, around)
  rows, columns = (
    (size - d * (k - 1) - 1) // s + 1
    for size, k, s, d in zip(padded.shape[2:], sides, strides, dilations, strict=True)
  )
  require(rows > 0 and columns > 0, f"a kernel of {sides} over {x.shape[2:]}")
  of_groups = kernel.reshape(groups, out // groups, width, *sides)
  total = None
  for i, j, m, met in _met(padded, sides, width, (rows, columns), strides, dilations):
    product = met[:, :, None] * of_groups[:, :, m, i, j].reshape(1, groups, -1, 1, 1)
    total = product if total is None else total + product
  return jnp.asarray(total).reshape(len(x), out, rows, columns)


def _padded(x: Array, around: Around) -> Array:
  zero = jnp.zeros((), x.dtype)
  return lax.pad(x, zero, [(0, 0, 0), (0, 0, 0), *((low, high, 0) for low, high in around)])


def _met(
  padded: Array, sides: list[int], width: int, places: Sizes, strides: Sizes, dilations: Sizes
) -> Iterator[tuple[int, int, int, Array]]:
  """(i, j, m, [b, groups, h, w]): what tap (i, j) meets of the m-th channel of each group."""
  b, c = padded.shape[:2]
  for i in range(sides[0]):
    for j in range(sides[1]):
      top, left = i * dilations[0], j * dilations[1]
      ends = (top + strides[0] * (places[0] - 1) + 1, left + strides[1] * (places[1] - 1) + 1)
      for m in range(width):
        yield i, j, m, lax.slice(padded, (0, m, top, left), (b, c, *ends), (1, width, *strides))


def _forward(x, kernel, strides, pads, dilations, groups):
  return by_taps(x, kernel, strides, pads, dilations, groups), (x, kernel)


def _backward(strides, pads, dilations, groups, saved, gradient):
  x, kernel = saved
  out, width, *sides = kernel.shape
  sizes = zip(x.shape[2:], gradient.shape[2:], sides, strides, pads, dilations, strict=True)
  # To x: the gradient with zeros between, by the kernel turned round, its channels in and out exchanged.
  around, spread = [], []
  for size, places, k, s, p, d in sizes:
    low = d * (k - 1) - p
    around.append((low, size + d * (k - 1) - low - ((places - 1) * s + 1)))
    spread.append((0, 0, s - 1))
  dilated = lax.pad(gradient, jnp.zeros((), gradient.dtype), [(0, 0, 0), (0, 0, 0), *spread])
  of_groups = jnp.flip(kernel, (2, 3)).reshape(groups, out // groups, width, *sides)
  turned = jnp.swapaxes(of_groups, 1, 2).reshape(groups * width, out // groups, *sides)
  to_x = _taps(dilated, turned, (1, 1), tuple(around), dilations, groups)
  # To the kernel: each tap is the product of the gradient and the features that it met.
  padded = _padded(x, tuple((p, p) for p in pads))
  parts = gradient.reshape(len(x), groups, out // groups, *gradient.shape[2:])
  of_taps = [
    jnp.sum(met[:, :, None] * parts, (0, 3, 4)).reshape(out)
    for _, _, _, met in _met(padded, sides, width, gradient.shape[2:], strides, dilations)
  ]
  to_kernel = jnp.stack(of_taps, 1).reshape(out, *sides, width)
  return to_x, jnp.moveaxis(to_kernel, -1, 1)


by_taps.defvjp(_forward, _backward)
