"""Convolutions of any dimension, with ways of their own on CPUs where XLA's are slow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from biasjax.ops.convolution import met, over_few_places
from biasjax.traced import grouped
from biasjax.traced.table import Array, Ints, operation, pair, require

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
  elif grouped.fits_taps(input, weight, groups):
    sizes = tuple(strides), tuple(pads), tuple(dilations)
    result = jnp.asarray(grouped.by_taps(input, weight, *sizes, groups))
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
