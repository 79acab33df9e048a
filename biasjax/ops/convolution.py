"""Convolutions whose gradient has little to do: their kernels are turned round once, not at every step."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Features = Float[Array, "b h w c"]
Kernel = Float[Array, "i j c o"]
Turned = Float[Array, "i j o c"]


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
) -> Float[Array, "b h2 w2 o"]:
  """`lax.conv_general_dilated`, whose gradient to x takes the kernel that is turned already.

  Bit for bit the same result and gradient: XLA turns the kernel itself, each time (docs/performance.md). No
  gradient goes to the kernel, and there is no forward-mode derivative.

  Args:
    backwards: `turned(kernel)`.
    x: features, NHWC.
    kernel: HWIO, of one group.
    strides: of height and width.
    padding: zeros before and after each.
    options: those of a convolution without dilation.
  """
  strides = tuple(strides)

  @jax.custom_vjp
  def convolve(x, kernel, backwards):
    del backwards
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)

  def forward(x, kernel, backwards):
    return convolve(x, kernel, backwards), backwards

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

  convolve.defvjp(forward, backward)
  return convolve(x, kernel, backwards)
