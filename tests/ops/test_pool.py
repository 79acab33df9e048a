"""Max pooling against PyTorch and against XLA's own gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from biasjax.ops.pool import max_pool

SIZES = [(1, 1), (2, 5), (7, 8), (112, 113)]


def features(size, *, ties: bool) -> np.ndarray:
  values = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
  return np.maximum(np.round(values), 0) if ties else values


def gradient(pool, x: np.ndarray, sent: np.ndarray) -> np.ndarray:
  return np.asarray(jax.jit(lambda x, sent: jax.vjp(pool, x)[1](sent)[0])(x, sent))


def sent_to(pooled) -> np.ndarray:
  return np.random.default_rng(1).standard_normal(pooled.shape).astype(np.float32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_pytorchs(size, ties):
  x = features(size, ties=ties)
  of_torch = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_(True)
  expected = torch.nn.functional.max_pool2d(of_torch, 3, stride=2, padding=1)
  pooled = max_pool(jnp.asarray(x))
  assert (np.moveaxis(np.asarray(pooled), -1, 1) == expected.detach().numpy()).all()
  sent = sent_to(pooled)
  expected.backward(torch.from_numpy(np.moveaxis(sent, -1, 1).copy()))
  assert of_torch.grad is not None
  found = np.moveaxis(gradient(max_pool, x, sent), -1, 1)
  np.testing.assert_allclose(found, of_torch.grad.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_gradient_has_the_bits_of_xlas_own(size, ties):
  def plain(x):
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)

  x = features(size, ties=ties)
  sent = sent_to(plain(jnp.asarray(x)))
  assert (gradient(max_pool, x, sent) == gradient(plain, x, sent)).all()


@pytest.mark.parametrize("size", [14, 32])
def test_no_gradient_is_lost_where_features_are_computed_in_the_same_program(size):
  """XLA computes what is normalised again for each of its uses, with other last digits."""
  rng = np.random.default_rng(2)
  x = rng.standard_normal((2, size, size, 4)).astype(np.float32)
  scale, sent = rng.standard_normal(4).astype(np.float32), rng.standard_normal((2, size // 2, size // 2, 4))

  def of_normed(x):
    apart = x - x.mean((0, 1, 2), keepdims=True)
    normed = apart * jax.lax.rsqrt((apart**2).mean((0, 1, 2), keepdims=True) + 1e-5)
    return jnp.sum(sent * max_pool(jax.nn.relu(normed * scale[None, None, None] + 0.1)))

  of_torch = torch.from_numpy(np.moveaxis(x, -1, 1).astype(float)).requires_grad_(True)
  weight, bias = torch.from_numpy(scale.astype(float)), torch.full((4,), 0.1, dtype=torch.float64)
  normed = torch.nn.functional.batch_norm(of_torch, None, None, weight, bias, training=True, eps=1e-5)
  pooled = torch.nn.functional.max_pool2d(torch.relu(normed), 3, stride=2, padding=1)
  (pooled * torch.from_numpy(np.moveaxis(sent, -1, 1))).sum().backward()
  assert of_torch.grad is not None
  found = np.moveaxis(np.asarray(jax.jit(jax.grad(of_normed))(x)), -1, 1)
  np.testing.assert_allclose(found, of_torch.grad.numpy(), atol=1e-4)
