"""Convolutions on CPUs compute nothing twice, and no zeros: seen in what XLA makes of a program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.traced.convolution import convolution
from biasjax.traced.grouped import by_taps

BLOCKS, TAPS = 4, 9


def blocks(x, kernel):
  """Convolutions with ReLUs between, as a network has them."""
  for _ in range(BLOCKS):
    x = jax.nn.relu(by_taps(x, kernel, (1, 1), (1, 1), (1, 1), groups=8))
  return jnp.sum(x)


@pytest.mark.parametrize(
  ("function", "sums"),
  [(blocks, BLOCKS), (jax.grad(blocks), 2 * BLOCKS)],  # a gradient has a sum of its own for each
  ids=["forward", "gradient"],
)
def test_each_sum_of_taps_is_computed_once(function, sums):
  x = np.ones((2, 8, 16, 16), np.float32)
  kernel = np.full((8, 1, 3, 3), 0.1, np.float32)
  counted = jax.jit(function).lower(x, kernel).compile().cost_analysis()
  assert counted is not None
  by_definition = sums * TAPS * 2 * x.size  # a product and an addition for each tap
  assert counted["flops"] < 1.2 * by_definition


def compiled(derivative, images, kernel, stride, padding, groups=1) -> str:
  """What XLA makes of `derivative` (`jax.grad`, say) of a convolution's sum with respect to the images."""

  def total(x):
    return jnp.sum(
      convolution(
        x, kernel, None, [stride], [padding], [1], transposed=False, output_padding=[0], groups=groups
      )
    )

  return jax.jit(derivative(total)).lower(images).compile().as_text() or ""


def test_narrow_groups_leave_no_convolution_to_xla():
  images, kernel = jnp.ones((2, 32, 16, 16)), jnp.ones((64, 4, 3, 3))
  assert " convolution(" not in compiled(jax.value_and_grad, images, kernel, 2, 1, groups=8)


def test_a_gradient_of_patches_is_a_product_and_no_convolution_over_zeros():
  text = compiled(jax.grad, jnp.ones((2, 3, 64, 64)), jnp.ones((8, 3, 16, 16)), 16, 0)
  assert "lhs_dilate" not in text
  assert " dot(" in text


@pytest.mark.parametrize("size", [2, 4])  # of the gradient alone, and of both, XLA would turn the operands
def test_a_kernel_over_few_places_is_a_product(size):
  images, kernel = jnp.ones((2, 16, size, size)), jnp.ones((16, 16, 3, 3))
  text = compiled(jax.value_and_grad, images, kernel, 1 if size == 2 else 2, 1)
  assert " convolution(" not in text
  assert " dot(" in text
