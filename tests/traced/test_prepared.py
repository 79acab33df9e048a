"""Weights in the order that CPUs take change nothing but the time, and rounding."""

import jax
import numpy as np
import pytest
import torch

import torch_networks
from biasjax.convert import tracing
from biasjax.models import load
from biasjax.traced import interpreter, prepared

SIZE = 32
HALF, QUARTER = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)


class Layers(torch.nn.Module):
  """Every kind of product and convolution, those with a way of their own among them."""

  def __init__(self):
    super().__init__()
    conv = torch.nn.Conv2d
    self.features = torch.nn.Sequential(
      conv(3, 34, 7, 2, 3),
      torch.nn.ReLU(),
      conv(34, 8, 3, padding="same", dilation=2),
      conv(8, 8, 3, 1, 1, groups=8),
      conv(8, 8, 3, 1, 1, groups=2),
      torch.nn.ReLU(),
      conv(8, 12, (3, 1), (2, 1), (1, 0), bias=False),
      conv(12, 6, 1),
      torch.nn.ConvTranspose2d(6, 6, 2, 2),
      torch.nn.ReLU(),
      conv(6, 5, 8, 8),
    )
    self.each = torch.nn.Linear(5, 7)
    self.narrow = conv(7, 7, 3, 1, 1)
    self.head = torch.nn.Sequential(
      conv(7, 11, (2, 4)), torch.nn.Flatten(), torch.nn.Linear(11, 10, bias=False)
    )

  def forward(self, x):
    x = self.each(self.features(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return self.head(torch.relu(self.narrow(x)))


@pytest.fixture(scope="module")
def network():
  module = torch_networks.randomise(Layers(), 0)
  traced = tracing.trace(module, SIZE)
  return module, traced.program, tracing.variables(traced.weights, HALF, QUARTER)


def both(program, variables, images):
  """(logits, gradient of their weighted sum to the images)."""
  weights = np.random.default_rng(1).normal(size=(len(images), 10)).astype(np.float32)

  def total(images):
    logits = interpreter.run(program, variables, images)
    return (logits * weights).sum(), logits

  gradient, logits = jax.jit(jax.grad(total, has_aux=True))(images)
  return np.asarray(logits), np.asarray(gradient), weights


@pytest.mark.parametrize("count", [2, 5])
def test_logits_and_gradients_are_those_without_and_those_of_pytorch(network, count):
  module, program, variables = network
  images = np.random.default_rng(0).random((count, SIZE, SIZE, 3), np.float32)
  placed = load.in_order(program, variables)
  easing = load.easing(program)
  assert easing is not None
  logits, gradient, weights = both(program, variables, images)
  for kept in (placed, easing(placed)):
    of_kept = both(program, kept, images)
    np.testing.assert_allclose(of_kept[0], logits, rtol=0, atol=2e-6 * np.abs(logits).max())
    np.testing.assert_allclose(of_kept[1], gradient, rtol=0, atol=2e-6 * np.abs(gradient).max())
  x = torch.tensor(images, dtype=torch.float64, requires_grad=True)
  expected = module.double()(((x - 0.5) / 0.25).permute(0, 3, 1, 2))
  (expected * torch.tensor(weights)).sum().backward()
  module.float()
  assert x.grad is not None
  np.testing.assert_allclose(logits, expected.detach(), rtol=1e-4, atol=1e-4 * np.abs(logits).max())
  np.testing.assert_allclose(gradient, x.grad, rtol=1e-4, atol=1e-4 * np.abs(gradient).max())


def test_products_in_bfloat16_are_those_without(network):
  _, program, variables = network
  images = np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32)
  found, expected = (
    np.asarray(interpreter.run(program, kept, images, "bfloat16"))
    for kept in (load.in_order(program, variables), variables)
  )
  np.testing.assert_allclose(found, expected, rtol=0, atol=2**-7 * np.abs(expected).max())
  exact = np.asarray(interpreter.run(program, variables, images))
  assert np.abs(found - exact).max() > 1e-4 * np.abs(exact).max()  # they are in bfloat16


def test_no_weight_is_transposed_as_it_is_multiplied(network):
  _, program, variables = network
  placed = load.in_order(program, variables)
  images = np.zeros((4, SIZE, SIZE, 3), np.float32)

  def text(variables):
    def total(variables, images):
      return interpreter.run(program, variables, images).sum()

    return jax.jit(jax.value_and_grad(total, 1)).lower(variables, images).compile().as_text()

  transposed = "lhs_contracting_dims={1}, rhs_contracting_dims={1}"
  assert transposed in text(variables)
  assert transposed not in text(placed)


def test_what_has_a_way_of_its_own_is_left_to_it(network):
  _, program, variables = network
  kept = prepared.forwards(program, variables)[prepared.FORWARDS]
  operations = [program.nodes[int(number)] for number in kept]
  assert [node.operation for node in operations].count("aten.linear.default") == 2
  convolved = [node.arguments for node in operations if node.operation == "aten.convolution.default"]
  assert len(convolved) == 5  # neither dilated, grouped, transposed nor patches
  assert all(of["groups"] == 1 and not of["transposed"] for of in convolved)


def test_without_weights_in_order_there_is_nothing_for_gradients(network):
  _, program, variables = network
  easing = load.easing(program)
  assert easing is not None
  assert easing(variables) is variables
