"""The greatest of values, with gradients that do not ask which value equals it.

The gradients of `jnp.max` and `jnp.maximum` go to what equals the result. For that comparison XLA on CPUs may
compute the values again, a normalisation's, say, with other last digits: then nothing is equal, and the
gradient is lost without a word.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped


def greatest(
  values: Shaped[Array, "..."], axis: tuple[int, ...], keepdims: bool = False
) -> Shaped[Array, "..."]:
  """`jnp.max`; equals share the gradient, as of PyTorch's `amax`.

  Args:
    values: of any shape and real element type.
    axis: dimensions, counted from the front.
    keepdims: whether these stay, of length 1.

  Returns:
    Of the element type of `values`. Only of floating-point numbers is there a gradient.
  """
  if not jnp.issubdtype(values.dtype, jnp.floating):
    return jnp.max(values, axis, keepdims=keepdims)
  found = _greatest(values, axis)
  return found if keepdims else found.squeeze(axis)


def larger(x: Shaped[Array, "..."], y: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
  """`jnp.maximum`; two that are equal share the gradient, as of PyTorch's `maximum`.

  Args:
    x, y: of shapes that broadcast, and any real element types.

  Returns:
    Of the element type that both promote to. Only of floating-point numbers is there a gradient.
  """
  kind = jnp.result_type(x, y)
  if not jnp.issubdtype(kind, jnp.floating):
    return jnp.maximum(x, y)
  return _larger(x.astype(kind), y.astype(kind))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _greatest(x: Array, axis: tuple[int, ...]) -> Array:
  return jnp.max(x, axis, keepdims=True)


@_greatest.defjvp
def _moved_greatest(axis: tuple[int, ...], values: Sequence, tangents: Sequence) -> tuple[Array, Array]:
  (x,), (dx,) = values, tangents
  result = jnp.max(x, axis, keepdims=True)
  equal = x == result
  count = jnp.sum(equal, axis, keepdims=True)
  share = jnp.where(count > 0, equal / jnp.maximum(count, 1), _first(x, axis)).astype(dx.dtype)
  return result, jnp.sum(share * dx, axis, keepdims=True)


def _first(x: Array, axis: tuple[int, ...]) -> Bool[Array, "..."]:
  """Whether each is the first of the greatest, found by comparing values with each other."""
  order = [d for d in range(x.ndim) if d not in axis] + list(axis)
  turned = jnp.transpose(x, order)
  rows = turned.reshape(*turned.shape[: x.ndim - len(axis)], math.prod(x.shape[d] for d in axis))
  one = jax.nn.one_hot(jnp.argmax(rows, -1), rows.shape[-1], dtype=bool)
  return jnp.transpose(one.reshape(turned.shape), sorted(range(x.ndim), key=order.__getitem__))


@jax.custom_jvp
def _larger(x: Array, y: Array) -> Array:
  return jnp.maximum(x, y)


@_larger.defjvp
def _moved_larger(values: Sequence, tangents: Sequence) -> tuple[Array, Array]:
  (x, y), (dx, dy) = values, tangents
  share = jnp.where(x > y, 1.0, jnp.where(x == y, 0.5, 0.0)).astype(dx.dtype)
  return jnp.maximum(x, y), share * dx + (1 - share) * dy
