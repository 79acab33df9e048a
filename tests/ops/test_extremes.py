"""Gradients of extremes are PyTorch's, where a program computes what they compare as well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from biasjax.ops.extremes import greatest, larger
from biasjax.traced.interpreter import OPERATIONS


def of_operation(name, *arguments):
  return lambda x: OPERATIONS[f"aten.{name}.default"](x, *arguments)


# Of features [b, h, w, c]: ours, and PyTorch's.
EXTREMES = {
  "greatest": (lambda x: greatest(x, (1, 2)), lambda x: x.amax((1, 2))),
  "greatest, kept": (lambda x: greatest(x, (3,), keepdims=True), lambda x: x.amax(3, keepdim=True)),
  "larger": (
    lambda x: larger(x[..., ::2], x[..., 1::2]),
    lambda x: torch.maximum(x[..., ::2], x[..., 1::2]),
  ),
  "amax": (of_operation("amax", [1, 2]), lambda x: x.amax((1, 2))),
  "amin": (of_operation("amin", [1, 2]), lambda x: x.amin((1, 2))),
  "max": (of_operation("max"), lambda x: x.max()),
  "minimum": (
    lambda x: OPERATIONS["aten.minimum.default"](x[..., ::2], x[..., 1::2]),
    lambda x: torch.minimum(x[..., ::2], x[..., 1::2]),
  ),
  "norm": (of_operation("linalg_vector_norm", float("inf"), [1, 2]), lambda x: x.abs().amax((1, 2))),
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("size", [28, 56])
def test_no_gradient_is_lost_where_the_same_program_normalises_the_features(name, size):
  ours, theirs = EXTREMES[name]
  rng = np.random.default_rng(size)
  x = rng.normal(size=(4, size, size, 8)).astype(np.float32)
  scale, sent = rng.normal(size=8).astype(np.float32), rng.normal(size=x.size)

  def total(x):
    apart = x - x.mean((0, 1, 2), keepdims=True)
    normed = apart * jax.lax.rsqrt((apart**2).mean((0, 1, 2), keepdims=True) + 1e-5)
    found = ours(normed * scale[None, None, None] + 0.1)
    of_size = jax.lax.rsqrt(1 + jnp.mean(found**2))  # a second use
    return jnp.sum(found * sent[: found.size].reshape(found.shape)) * of_size

  of_torch = torch.from_numpy(x.astype(float)).requires_grad_(True)
  apart = of_torch - of_torch.mean((0, 1, 2), keepdim=True)
  normed = apart * torch.rsqrt((apart**2).mean((0, 1, 2), keepdim=True) + 1e-5)
  found = theirs(normed * torch.from_numpy(scale.astype(float)) + 0.1)
  of_size = torch.rsqrt(1 + (found**2).mean())
  ((found * torch.from_numpy(sent[: found.numel()].reshape(found.shape))).sum() * of_size).backward()
  assert of_torch.grad is not None
  np.testing.assert_allclose(jax.jit(jax.grad(total))(x), of_torch.grad.numpy(), atol=2e-4)


@pytest.mark.parametrize("axis", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_equals_share_the_gradient(axis):
  x = np.array([[[1, 3, 3], [2, 3, 0]], [[3, 1, 1], [0, 2, 3]]], np.float32)
  of_torch = torch.from_numpy(x).requires_grad_(True)
  of_torch.amax(axis).sum().backward()
  assert of_torch.grad is not None
  found = jax.grad(lambda x: jnp.sum(greatest(x, axis)))(jnp.asarray(x))
  np.testing.assert_allclose(found, of_torch.grad.numpy(), rtol=1e-6)
  halves = jax.grad(lambda x, y: jnp.sum(larger(x, y)), (0, 1))(jnp.asarray(x), jnp.full_like(x, 2))
  np.testing.assert_array_equal(halves[0], np.where(x > 2, 1, np.where(x == 2, 0.5, 0)))
  np.testing.assert_array_equal(halves[0] + halves[1], np.ones_like(x))


def test_whole_numbers_have_extremes_and_no_gradient():
  x = np.array([[1, 4], [3, 2]], np.int32)
  assert greatest(jnp.asarray(x), (0, 1)) == 4
  np.testing.assert_array_equal(larger(jnp.asarray(x), jnp.asarray(x.T)), np.maximum(x, x.T))


def test_running_extremes_are_found_where_the_same_program_normalises_the_features():
  """XLA computes what is normalised again for each of its uses, with other last digits."""
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(4, 3, 56, 56)), rng.normal(size=(4, 3, 3, 3))

  @jax.jit
  def running(x):
    h = jax.lax.conv(x, jnp.asarray(kernel, jnp.float32), (1, 1), "SAME")
    h = (h - h.mean((2, 3), keepdims=True)) * jax.lax.rsqrt(h.var((2, 3), keepdims=True) + 1e-5)
    return OPERATIONS["aten.cummax.default"](1.3 * h + 0.1, 2)[0]

  h = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(kernel), padding="same")
  expected = torch.cummax(1.3 * torch.nn.functional.instance_norm(h) + 0.1, 2).values
  np.testing.assert_allclose(running(x.astype(np.float32)), expected, atol=1e-4)
