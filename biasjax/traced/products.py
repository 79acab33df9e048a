"""Products of matrices, and attention."""

import math
from typing import Any

import jax.numpy as jnp

from biasjax.traced.reductions import softmax_along
from biasjax.traced.table import Array, Ints, Number, operation, require


@operation("aten.linear.default", product=True)
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
  """x W^T + b."""
  product = jnp.matmul(input, weight.T)
  return product if bias is None else product + bias


@operation("aten.matmul.default", product=True)
def matmul(self: Array, other: Array) -> Array:
  """The product, of vectors, matrices or batches of matrices."""
  return jnp.matmul(self, other)


@operation("aten.mm.default", "aten.bmm.default", product=True)
def mm(self: Array, mat2: Array) -> Array:
  """The product of matrices or of batches of matrices."""
  require(
    self.ndim == mat2.ndim and self.ndim in (2, 3), f"matrices of {self.ndim} and {mat2.ndim} dimensions"
  )
  return jnp.matmul(self, mat2)


@operation("aten.addmm.default", product=True)
def addmm(self: Array, mat1: Array, mat2: Array, beta: Number = 1, alpha: Number = 1) -> Array:
  """Beta * self + alpha * (mat1 mat2); with beta 0 whatever self is, NaN or infinite."""
  product = jnp.matmul(mat1, mat2)
  product = product if alpha == 1 else alpha * product
  return product if beta == 0 else (self if beta == 1 else beta * self) + product


@operation("aten.baddbmm.default", product=True)
def baddbmm(self: Array, batch1: Array, batch2: Array, beta: Number = 1, alpha: Number = 1) -> Array:
  """`addmm` for each of a batch."""
  return addmm(self, batch1, batch2, beta, alpha)


@operation("aten.addmv.default", product=True)
def addmv(self: Array, mat: Array, vec: Array, beta: Number = 1, alpha: Number = 1) -> Array:
  """`addmm` of a matrix and a vector."""
  require(mat.ndim == 2 and vec.ndim == 1, f"{mat.shape} by {vec.shape}")
  return addmm(self, mat, vec, beta, alpha)


@operation("aten._trilinear.default", product=True)
def trilinear(
  i1: Array,
  i2: Array,
  i3: Array,
  expand1: Ints,
  expand2: Ints,
  expand3: Ints,
  sumdim: Ints,
  unroll_dim: int = 1,
) -> Array:
  """The product of three, with dimensions of one where their lists say, summed over some; nn.Bilinear."""
  count = i1.ndim + len(expand1)
  require(count <= 8 and all(0 <= d < count for d in sumdim), f"a product of {count} dimensions")
  operands: list[Any] = []
  for factor, beside in ((i1, expand1), (i2, expand2), (i3, expand3)):
    own = [d for d in range(count) if d not in beside]
    require(len(own) == factor.ndim, f"{factor.shape} expanded at {beside[:8]}")
    operands += [factor, own]
  return jnp.einsum(*operands, [d for d in range(count) if d not in sumdim])


@operation("aten.scaled_dot_product_attention.default", product=True)
def attention(
  query: Array,
  key: Array,
  value: Array,
  attn_mask: Array | None = None,
  dropout_p: Number = 0,
  is_causal: bool = False,
  scale: Number | None = None,
  enable_gqa: bool = False,
) -> Array:
  """softmax(scale q k^T + mask) v; scale is 1 / sqrt(features) unless given.

  A query for which every key is masked, by False or by -inf, gets 0, as in PyTorch.
  """
  require(dropout_p == 0, "attention with dropout has no place in an evaluation")
  require(min(query.ndim, key.ndim, value.ndim) >= 2, "attention needs matrices")
  if enable_gqa:
    require(
      query.ndim >= 3 and key.ndim >= 3 and query.shape[-3] % max(key.shape[-3], 1) == 0, "heads differ"
    )
    groups = query.shape[-3] // max(key.shape[-3], 1)
    key, value = (jnp.repeat(x, groups, -3) for x in (key, value))
  factor = 1 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale
  logits = jnp.matmul(query * factor, jnp.swapaxes(key, -1, -2))
  keep = jnp.tril(jnp.ones(logits.shape[-2:], bool)) if is_causal else None
  if attn_mask is not None and attn_mask.dtype == jnp.bool_:
    keep = attn_mask if keep is None else keep & attn_mask
  elif attn_mask is not None:
    added = attn_mask.astype(logits.dtype)
    within = added > -jnp.inf
    logits = logits + jnp.where(within, added, 0)
    keep = within if keep is None else keep & within
  if keep is None:
    return jnp.matmul(softmax_along(logits, -1), value)
  some = jnp.any(keep, -1, keepdims=True)
  weights = softmax_along(jnp.where(keep | ~some, logits, -jnp.inf), -1)
  return jnp.matmul(jnp.where(some, weights, 0), value)
