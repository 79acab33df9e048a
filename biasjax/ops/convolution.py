"""Convolutions: XLA's, but where its way on CPUs is slow, and with a gradient that has little to do."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Features = Float[Array, "b h w c"]
Kernel = Float[Array, "i j c o"]
Turned = Float[Array, "i j o c"]
Convolved = Float[Array, "b h2 w2 o"]

# Of a kernel over few places: beyond, the product's patches would be large.
MOST_PLACES = 81
# Of a kernel over images: with more, the gradient in blocks takes longer than XLA's.
MOST_FILTERS = 32


def convolve(
  x: Features,
  kernel: Kernel,
  strides: Sequence[int],
  padding: Sequence[tuple[int, int]],
  **options: Any,
) -> Convolved:
  """`lax.conv_general_dilated`, in other ways on CPUs where they are faster (docs/performance.md).

  Args:
    x: features, NHWC.
    kernel: HWIO, of one group.
    strides: of height and width.
    padding: zeros before and after each.
    options: those of a convolution without dilation.
  """
  faster = _on_cpu(x, kernel, strides, padding)
  return lax.conv_general_dilated(x, kernel, strides, padding, **options) if faster is None else faster


def _on_cpu(
  x: Features, kernel: Kernel, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> Convolved | None:
  if jax.default_backend() != "cpu":
    return None
  if over_few_places(x.shape[1:3], kernel.shape[:2], strides, padding):
    return _of_patches(x, kernel, strides, padding)
  if _of_images(x, kernel, strides, padding):
    return _of_blocks(x, kernel, padding[0][0])
  return None


def over_few_places(
  size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> bool:
  """Whether a kernel has more places than the features, or than the result, whose gradient is such a one.

  XLA takes the features for the kernel of such a convolution, and has no fast way on CPUs for what comes out.

  Args:
    size: of the features, height and width; the others likewise.
    kernel: its places.
    strides: from place to place.
    padding: zeros before and after.
  """
  places = math.prod(kernel)
  result = [
    (n + before + after - k) // s + 1
    for n, k, s, (before, after) in zip(size, kernel, strides, padding, strict=True)
  ]
  return min(result) > 0 and min(math.prod(size), math.prod(result)) < places <= MOST_PLACES


def met(
  x: Array, kernel: Sequence[int], strides: Sequence[int], padding: Sequence[tuple[int, int]], first: int
) -> list[Array]:
  """What each place of a kernel meets of x, for all places of the result.

  Args:
    x: features [b, h, w, c] or [b, c, h, w].
    kernel: its height and width.
    strides: of height and width.
    padding: zeros before and after each.
    first: the dimension that is the height, 1 or 2.

  Returns:
    i j arrays like x, with the height and width of the result, row by row of the kernel.
  """
  around = [(0, 0)] * first + list(padding) + [(0, 0)] * (x.ndim - first - 2)
  x = jnp.pad(x, around)
  spans = [(n - k) // s * s + 1 for n, k, s in zip(x.shape[first:], kernel, strides, strict=False)]
  every = (slice(None),) * first
  return [
    x[(*every, slice(i, i + spans[0], strides[0]), slice(j, j + spans[1], strides[1]))]
    for i in range(kernel[0])
    for j in range(kernel[1])
  ]


def _of_patches(
  x: Features, kernel: Kernel, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> Convolved:
  """A convolution as one product of the patches that the kernel meets."""
  patches = jnp.concatenate(met(x, kernel.shape[:2], strides, padding, 1), axis=-1)
  return patches @ kernel.reshape(-1, kernel.shape[3])


def _of_images(
  x: Features, kernel: Kernel, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> bool:
  """Whether few large kernels go over even images two pixels at a time, as a narrow ResNet's first."""
  i, j, c, o = kernel.shape
  large = i == j > 3 and i % 2 == 1 and all(pad == (i // 2, i // 2) for pad in padding)
  even = x.shape[1] % 2 == x.shape[2] % 2 == 0
  return large and even and tuple(strides) == (2, 2) and c <= 4 and o <= MOST_FILTERS


def _of_blocks(x: Features, kernel: Kernel, padding: int) -> Convolved:
  """A convolution that goes two pixels at a time, as one over blocks of 2 x 2 pixels.

  XLA's gradient to the images is one over four times as many places, three in four of them zeros.
  """
  b, h, w, c = x.shape
  size, o = kernel.shape[0], kernel.shape[3]
  blocks = jnp.transpose(x.reshape(b, h // 2, 2, w // 2, 2, c), (0, 1, 3, 2, 4, 5))
  before = -(-padding // 2)  # blocks that the kernel meets before its own
  front = 2 * before - padding
  n = -(-(size + front) // 2)
  around = (front, 2 * n - size - front)
  kernel = jnp.pad(kernel, (around, around, (0, 0), (0, 0))).reshape(n, 2, n, 2, c, o)
  return lax.conv_general_dilated(
    blocks.reshape(b, h // 2, w // 2, 4 * c),
    jnp.transpose(kernel, (0, 2, 1, 3, 4, 5)).reshape(n, n, 4 * c, o),
    (1, 1),
    ((before, n - 1 - before),) * 2,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def turned(kernel: Kernel) -> Turned:
  """The kernel of the convolution that is the gradient with respect to a convolution's features."""
  return jnp.swapaxes(kernel[::-1, ::-1], 2, 3)


def with_turned(
  backwards: Turned,
  x: Features,
  kernel: Kernel,
  strides: Sequence[int],
  padding: Sequence[tuple[int, int]],
  **options: Any,
) -> Convolved:
  """`convolve`, whose gradient to x takes the kernel that is turned already.

  Bit for bit the same result and gradient as `convolve`'s: XLA turns the kernel itself, each time
  (docs/performance.md). No gradient goes to the kernel, and there is no forward-mode derivative.

  Args:
    backwards: `turned(kernel)`.
    x, kernel, strides, padding, options: as of `convolve`.
  """
  faster = _on_cpu(x, kernel, strides, padding)
  if faster is not None:
    return faster
  strides = tuple(strides)

  @jax.custom_vjp
  def eased(x, kernel, backwards):
    del backwards
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)

  def forward(x, kernel, backwards):
    return eased(x, kernel, backwards), backwards

  def backward(backwards, gradient):
    around = []
    for size, out, k, stride, (before, _) in zip(
      x.shape[1:3], gradient.shape[1:3], backwards.shape[:2], strides, padding, strict=True
    ):
      spread = (out - 1) * stride + 1
      around.append((k - 1 - before, size + before - spread))
    to_x = lax.conv_general_dilated(
      gradient, backwards, (1, 1), around, lhs_dilation=strides, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return to_x, None, None

  eased.defvjp(forward, backward)
  return eased(x, kernel, backwards)
