"""Convolutions of any dimension, with ways of their own on CPUs where XLA's are slow."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from biasjax.ops.convolution import met, over_few_places
from biasjax.traced.table import Array, Ints, operation, pair, require

# Beyond this many taps XLA's own grouped convolution is no slower, and the program would become long.
MOST_TAPS = 81
# Places of a patch. Of 4 x 4 and 2 x 2 the product takes as long as the convolution.
LEAST_PATCH = 64


@operation("aten.convolution.default", product=True)
def convolution(
  input: Array,
  weight: Array,
  bias: Array | None,
  stride: Ints,
  padding: Ints,
  dilation: Ints,
  transposed: bool,
  output_padding: Ints,
  groups: int,
) -> Array:
  """PyTorch's convolution, of features [b, c, ...] by a kernel [out, c / groups, ...].

  Transposed, the kernel is [c, out / groups, ...].
  """
  n = input.ndim - 2
  require(n in (1, 2, 3) and weight.ndim == input.ndim, f"{input.shape} by {weight.shape}")
  strides, dilations = pair(stride, "stride", 1, n), pair(dilation, "dilation", 1, n)
  pads = pair(padding, "padding", 0, n)
  require(groups >= 1 and weight.shape[0] % groups == 0 and input.shape[1] % groups == 0, f"{groups} groups")
  require(min(weight.shape) > 0, f"a kernel of {weight.shape}")
  if transposed:
    result = _transposed(
      input, weight, strides, pads, dilations, pair(output_padding, "output", 0, n), groups
    )
  elif _by_taps(input, weight, groups):
    result = jnp.asarray(depthwise(input, weight, tuple(strides), tuple(pads), tuple(dilations)))
  elif _of_patches(input, weight, strides, pads, dilations, groups):
    result = _patches(input, weight)
  elif _small(input, weight, strides, pads, dilations, groups):
    patches = jnp.stack(met(input, weight.shape[2:], strides, [(p, p) for p in pads], 2), 2)
    result = jnp.einsum("bcpyx,ocp->boyx", patches, weight.reshape(*weight.shape[:2], -1))
  else:
    result = lax.conv_general_dilated(
      input,
      weight,
      strides,
      [(p, p) for p in pads],
      rhs_dilation=dilations,
      dimension_numbers=_layout(n),
      feature_group_count=groups,
    )
  return result if bias is None else result + bias.reshape(1, -1, *[1] * n)


def as_it_is(weight: Sequence[int], arguments: Mapping[str, Any]) -> bool:
  """Whether a convolution of features [b, c, h, w] is computed as one, if these are large enough for it.

  Args:
    weight: the shape of its weight, [out, in, i, j].
    arguments: of the operation.
  """
  kernel = list(weight[2:])
  plain = len(weight) == 4 and arguments["groups"] == 1 and not arguments["transposed"]
  apart = all(d == 1 for d in arguments["dilation"])
  patches = list(arguments["stride"]) == kernel and math.prod(kernel) >= LEAST_PATCH
  return plain and apart and not patches


def _layout(n: int) -> tuple[str, str, str]:
  space = "DHW"[3 - n :]
  return f"NC{space}", f"OI{space}", f"NC{space}"


def _transposed(
  input: Array, weight: Array, strides: Ints, pads: Ints, dilations: Ints, extra: Ints, groups: int
) -> Array:
  """The convolution whose gradient would be the forward one: dilated features by the flipped kernel."""
  n = input.ndim - 2
  channels, out, *kernel = weight.shape
  grouped = weight.reshape(groups, channels // groups, out, *kernel)
  flipped = jnp.flip(jnp.swapaxes(grouped, 1, 2), range(3, 3 + n))
  around = [
    (d * (k - 1) - p, d * (k - 1) - p + e) for d, k, p, e in zip(dilations, kernel, pads, extra, strict=True)
  ]
  return lax.conv_general_dilated(
    input,
    flipped.reshape(groups * out, channels // groups, *kernel),
    [1] * n,
    around,
    lhs_dilation=strides,
    rhs_dilation=dilations,
    dimension_numbers=_layout(n),
    feature_group_count=groups,
  )


def _by_taps(input: Array, weight: Array, groups: int) -> bool:
  """Whether a convolution is one of single channels, on a CPU, and small enough."""
  single = groups == input.shape[1] == weight.shape[0] and weight.shape[1] == 1 and groups > 1
  return (
    single and input.ndim == 4 and math.prod(weight.shape[2:]) <= MOST_TAPS and jax.default_backend() == "cpu"
  )


def _of_patches(input: Array, weight: Array, strides: Ints, pads: Ints, dilations: Ints, groups: int) -> bool:
  """Whether a convolution goes over large patches that lie side by side, on a CPU."""
  kernel = list(weight.shape[2:])
  alone = input.ndim == 4 and groups == 1 and input.shape[1] == weight.shape[1]
  beside = list(strides) == kernel and not any(pads) and set(dilations) == {1}
  whole = all(n >= k for n, k in zip(input.shape[2:], kernel, strict=True))
  large = math.prod(kernel) >= LEAST_PATCH
  return alone and beside and whole and large and jax.default_backend() == "cpu"


def _small(input: Array, weight: Array, strides: Ints, pads: Ints, dilations: Ints, groups: int) -> bool:
  """Whether a convolution has few places for its kernel, on a CPU."""
  alone = input.ndim == 4 and groups == 1 and set(dilations) == {1} and jax.default_backend() == "cpu"
  return alone and over_few_places(input.shape[2:], weight.shape[2:], strides, [(p, p) for p in pads])


def _patches(input: Array, weight: Array) -> Array:
  """[b, c, h, w] in patches by [out, c, i, j], each patch a row of one product.

  XLA's gradient of such a convolution on CPUs is one over the places between, i j times as many, all zeros.
  """
  b, c = input.shape[:2]
  i, j = weight.shape[2:]
  rows, columns = input.shape[2] // i, input.shape[3] // j
  patches = input[:, :, : rows * i, : columns * j].reshape(b, c, rows, i, columns, j)
  return jnp.einsum("bcyixj,ocij->boyx", patches, weight)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def depthwise(
  x: Array, kernel: Array, strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...]
) -> Array:
  """Each channel of [b, c, h, w] by its own kernel [c, 1, i, j]: a sum of shifted products.

  XLA's grouped convolution on CPUs takes 20 to 30 times as long. The gradient is such a sum, too; there is no
  forward-mode derivative.
  """
  around = tuple((p, p) for p in pads)
  return _taps(x, kernel[:, 0], strides, around, dilations)


def _taps(
  x: Array,
  kernel: Array,
  strides: tuple[int, ...],
  around: tuple[tuple[int, int], ...],
  dilations: tuple[int, ...],
) -> Array:
  """`_sum_of_taps`, as a function that XLA does not inline.

  Inlined, it is computed again by whatever uses it, the mean and the variance of a layer norm, say, and what
  stands before it by each of its taps: gradients of a MobileNet took twice as long. On CPUs
  `lax.optimization_barrier` is gone before XLA joins operations.
  """
  with set_xla_metadata(inlineable="false"):
    return _sum_of_taps(x, kernel, strides, around, dilations)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _sum_of_taps(
  x: Array,
  kernel: Array,
  strides: tuple[int, ...],
  around: tuple[tuple[int, int], ...],
  dilations: tuple[int, ...],
) -> Array:
  """Sum over (i, j) of kernel[c, i, j] * x[b, c, s y + d i, s z + d j], of x with zeros around."""
  zero = jnp.zeros((), x.dtype)
  padded = lax.pad(x, zero, [(0, 0, 0), (0, 0, 0), *((low, high, 0) for low, high in around)])
  b, c = x.shape[:2]
  rows, columns = (
    (size - d * (k - 1) - 1) // s + 1
    for size, k, s, d in zip(padded.shape[2:], kernel.shape[1:], strides, dilations, strict=True)
  )
  require(rows > 0 and columns > 0, f"a kernel of {kernel.shape[1:]} over {x.shape[2:]}")
  total = None
  for i in range(kernel.shape[1]):
    for j in range(kernel.shape[2]):
      top, left = i * dilations[0], j * dilations[1]
      shifted = lax.slice(
        padded,
        (0, 0, top, left),
        (b, c, top + strides[0] * (rows - 1) + 1, left + strides[1] * (columns - 1) + 1),
        (1, 1, *strides),
      )
      product = shifted * kernel[:, i, j].reshape(1, c, 1, 1)
      total = product if total is None else total + product
  return jnp.asarray(total)


def _forward(x, kernel, strides, pads, dilations):
  return depthwise(x, kernel, strides, pads, dilations), (x, kernel)


def _backward(strides, pads, dilations, saved, gradient):
  x, kernel = saved
  sizes = zip(x.shape[2:], gradient.shape[2:], kernel.shape[2:], strides, pads, dilations, strict=True)
  # To x: the gradient with zeros between, by the kernel turned round.
  around, spread = [], []
  for size, out, k, s, p, d in sizes:
    low = d * (k - 1) - p
    around.append((low, size + d * (k - 1) - low - ((out - 1) * s + 1)))
    spread.append((0, 0, s - 1))
  zero = jnp.zeros((), gradient.dtype)
  dilated = lax.pad(gradient, zero, [(0, 0, 0), (0, 0, 0), *spread])
  to_x = _taps(dilated, jnp.flip(kernel[:, 0], (1, 2)), (1, 1), tuple(around), dilations)
  # To the kernel: each tap is the product of the gradient and the features that it met.
  padded = lax.pad(x, zero, [(0, 0, 0), (0, 0, 0), *((p, p, 0) for p in pads)])
  of_taps = []
  for i in range(kernel.shape[2]):
    for j in range(kernel.shape[3]):
      top, left = i * dilations[0], j * dilations[1]
      ends = (top + strides[0] * (gradient.shape[2] - 1) + 1, left + strides[1] * (gradient.shape[3] - 1) + 1)
      met = lax.slice(padded, (0, 0, top, left), (*x.shape[:2], *ends), (1, 1, *strides))
      of_taps.append(jnp.sum(met * gradient, (0, 2, 3)))
  return to_x, jnp.stack(of_taps, 1).reshape(kernel.shape)


depthwise.defvjp(_forward, _backward)
