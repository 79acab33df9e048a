"""Batch, layer, group and root-mean-square normalisation, as networks evaluate them."""

import math

import jax.numpy as jnp
from jax import lax

from biasjax.traced.table import Array, Ints, Number, operation, require


def _over_channels(values: Array, like: Array) -> Array:
  require(like.ndim >= 2 and values.shape == (like.shape[1],), f"{values.shape} for channels of {like.shape}")
  return values.reshape(1, -1, *[1] * (like.ndim - 2))


def _affine(x: Array, weight: Array | None, bias: Array | None) -> Array:
  x = x if weight is None else x * weight
  return x if bias is None else x + bias


@operation("aten._native_batch_norm_legit_no_training.default")
def batch_norm(
  input: Array,
  weight: Array | None,
  bias: Array | None,
  running_mean: Array,
  running_var: Array,
  momentum: Number,
  eps: Number,
) -> tuple[Array, None, None]:
  """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of training.

  What training would save, PyTorch's other two results, is not there.
  """
  # The two factors first: one product an element, and no rounding beside theirs.
  factor = lax.rsqrt(running_var + eps)
  factor = factor if weight is None else factor * weight
  x = (input - _over_channels(running_mean, input)) * _over_channels(factor, input)
  return x if bias is None else x + _over_channels(bias, input), None, None


@operation("aten._native_batch_norm_legit.no_stats")
def batch_norm_of_batch(
  input: Array,
  weight: Array | None,
  bias: Array | None,
  training: bool,
  momentum: Number,
  eps: Number,
) -> tuple[Array, None, None]:
  """By the mean and variance of each channel over images and positions, as standardised kernels are."""
  require(input.ndim >= 2, f"channels of {input.shape}")
  x = _normalised(input, (0, *range(2, input.ndim)), eps)
  weight, bias = (None if v is None else _over_channels(v, input) for v in (weight, bias))
  return _affine(x, weight, bias), None, None


def _normalised(x: Array, over: tuple[int, ...], eps: Number) -> Array:
  centred = x - jnp.mean(x, over, keepdims=True)
  return centred * lax.rsqrt(jnp.mean(centred * centred, over, keepdims=True) + eps)


def _last(x: Array, shape: Ints) -> tuple[int, ...]:
  require(0 < len(shape) <= x.ndim and x.shape[-len(shape) :] == tuple(shape), f"{shape[:8]} of {x.shape}")
  return tuple(range(x.ndim - len(shape), x.ndim))


@operation("aten.layer_norm.default")
def layer_norm(
  input: Array,
  normalized_shape: Ints,
  weight: Array | None = None,
  bias: Array | None = None,
  eps: Number = 1e-5,
) -> Array:
  """Each position by its own mean and variance over the last dimensions."""
  return _affine(_normalised(input, _last(input, normalized_shape), eps), weight, bias)


@operation("aten.rms_norm.default")
def rms_norm(
  input: Array, normalized_shape: Ints, weight: Array | None = None, eps: Number | None = None
) -> Array:
  """Each position by its own root mean square over the last dimensions."""
  squares = jnp.mean(input * input, _last(input, normalized_shape), keepdims=True)
  least = float(jnp.finfo(input.dtype).eps) if eps is None else eps
  return _affine(input * lax.rsqrt(squares + least), weight, None)


@operation("aten.group_norm.default")
def group_norm(
  input: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: Number = 1e-5
) -> Array:
  """Each image by its own mean and variance over the positions and channels of a group."""
  require(input.ndim >= 2 and num_groups > 0 and input.shape[1] % num_groups == 0, f"{num_groups} groups")
  grouped = input.reshape(
    input.shape[0], num_groups, math.prod(input.shape[1:]) // num_groups if input.shape[0] else 0
  )
  x = _normalised(grouped, (2,), eps).reshape(input.shape)
  scale = None if weight is None else _over_channels(weight, input)
  return _affine(x, scale, None if bias is None else _over_channels(bias, input))
