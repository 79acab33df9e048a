"""A kernel that is turned round beforehand changes nothing: results and gradients are bit for bit XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import made_models
from biasjax import partition
from biasjax.engine.programs import logits_step
from biasjax.models import load
from biasjax.ops.attacks.pgd import Pgd
from biasjax.ops.convolution import convolve, turned, with_turned
from biasjax.probes.adversary import Adversary
from biasjax.probes.base import Victim
from biasjax.probes.decisions import every_class

LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize(
  ("height", "width", "size", "stride"),
  [(9, 12, 3, 1), (9, 12, 3, 2), (8, 7, 1, 2), (23, 22, 7, 2), (6, 6, 1, 1)],
)
def test_the_gradient_to_features_is_that_of_xla_and_that_of_pytorch(height, width, size, stride):
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(2, height, width, 4)), rng.normal(size=(size, size, 4, 5))
  x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
  strides, padding = (stride, stride), ((size // 2, size // 2),) * 2

  def plain(x):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)

  def eased(x):
    return with_turned(turned(kernel), x, kernel, strides, padding, dimension_numbers=LAYOUT)

  expected, back = jax.vjp(plain, x)
  found, back_eased = jax.vjp(eased, x)
  np.testing.assert_array_equal(found, expected)
  weights = jnp.asarray(rng.normal(size=expected.shape), jnp.float32)
  np.testing.assert_array_equal(back_eased(weights)[0], back(weights)[0])
  of_torch = torch.nn.grad.conv2d_input(
    (2, 4, height, width),
    torch.from_numpy(np.asarray(kernel).transpose(3, 2, 0, 1).copy()),
    torch.from_numpy(np.asarray(weights).transpose(0, 3, 1, 2).copy()),
    stride,
    size // 2,
  )
  np.testing.assert_allclose(back_eased(weights)[0], of_torch.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


FEW_PLACES = [
  (2, 2, 3, 1),
  (4, 4, 3, 2),
  (1, 1, 3, 1),
  (3, 2, 3, 2),
  (1, 8, 3, 1),
  (2, 2, 7, 2),
  (9, 8, 7, 2),
]
IN_BLOCKS = [(32, 16, 7, 2), (6, 10, 5, 2), (14, 14, 9, 2), (26, 26, 11, 2)]


def _drawn(height, width, size, *, channels=3, filters=8):
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(2, height, width, channels)), rng.normal(size=(size, size, channels, filters))
  return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), rng


@pytest.mark.parametrize(("height", "width", "size", "stride"), [*FEW_PLACES, *IN_BLOCKS])
def test_where_xla_has_no_fast_way_results_and_gradients_are_those_of_pytorch(height, width, size, stride):
  x, kernel, rng = _drawn(height, width, size)
  padding = ((size // 2, size // 2),) * 2
  found, back = jax.vjp(
    lambda x, kernel: convolve(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT), x, kernel
  )
  weights = rng.normal(size=found.shape).astype(np.float32)
  of_torch = [
    torch.from_numpy(np.asarray(of, np.float64).transpose(order).copy()).requires_grad_()
    for of, order in ((x, (0, 3, 1, 2)), (kernel, (3, 2, 0, 1)))
  ]
  expected = torch.nn.functional.conv2d(*of_torch, stride=stride, padding=size // 2)
  expected.backward(torch.from_numpy(weights.transpose(0, 3, 1, 2).copy()).double())
  to_x, to_kernel = back(jnp.asarray(weights))
  np.testing.assert_allclose(found, expected.detach().permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)
  for gradient, leaf, order in zip((to_x, to_kernel), of_torch, ((0, 2, 3, 1), (2, 3, 1, 0)), strict=True):
    assert leaf.grad is not None
    np.testing.assert_allclose(gradient, leaf.grad.permute(order), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "size", "stride"), [*FEW_PLACES, *IN_BLOCKS])
def test_no_convolution_takes_features_for_a_kernel_or_goes_over_zeros(height, width, size, stride):
  x, kernel, _ = _drawn(height, width, size)

  def summed(x):
    padding = ((size // 2, size // 2),) * 2
    return convolve(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT).sum()

  compiled = jax.jit(jax.value_and_grad(summed)).lower(x).compile().as_text() or ""
  assert "rhs_reversal" not in compiled
  assert "lhs_dilate" not in compiled
  assert "rhs_dilate" not in compiled


def test_a_network_and_its_gradient_are_bit_for_bit_the_same_with_turned_kernels():
  model, images = (
    made_models.made_model("net", 0),
    np.random.default_rng(0).random((2, 33, 40, 3), np.float32),
  )
  eased = load.easing(model.architecture)(model.variables)

  apply = load.apply_function(model.architecture)  # compiled by itself, as that of a loaded network

  def both(variables):
    return jax.jit(jax.value_and_grad(lambda x: (apply(variables, x) ** 2).sum()))(images)

  for found, expected in zip(both(eased), both(model.variables), strict=True):
    np.testing.assert_array_equal(found, expected)
  assert float(np.abs(both(eased)[1]).max()) > 0


def test_a_gradient_with_turned_kernels_turns_none():
  model, images = made_models.made_model("net", 0), np.zeros((1, 32, 32, 3), np.float32)

  def steps(variables):
    return str(jax.make_jaxpr(jax.grad(lambda x: model.apply(variables, x).sum()))(images))

  plain, eased = (
    steps(variables).count("rev[")
    for variables in (model.variables, load.easing(model.architecture)(model.variables))
  )
  # The first has few filters, and is turned as one over blocks.
  assert plain > 10
  assert eased == 1


@pytest.mark.parametrize("kind", partition.KINDS)
def test_attacks_on_a_cpu_use_turned_kernels_and_end_where_they_did(kind):
  model, split = made_models.made_model("net", 0), partition.of_process(kind)
  images = np.random.default_rng(0).random((8, 16, 16, 3), np.float32)
  logits, variables = logits_step(model.apply, "float32"), split.share(model.variables)
  batch = split.put((images, np.zeros((8, 1), np.int32)))
  keys, rows, ends = np.zeros((8, 2), np.uint32), np.arange(8), []
  for ease in (None, load.easing(model.architecture)):
    on = Adversary(Victim(logits, every_class, variables, split, ease), *batch, "linf")
    assert ("turned" in on.variables) == (ease is not None)
    ends.append(on._run(Pgd(iterations=3), 0.1, 0, keys, images, np.zeros(8, np.int32), rows)[0])
  np.testing.assert_array_equal(*ends)
  assert (ends[0] != images).any()
