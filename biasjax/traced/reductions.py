"""Sums, means, extremes, softmax, and what else runs along dimensions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from biasjax import compiling
from biasjax.ops.extremes import greatest
from biasjax.traced.pointwise import abs_
from biasjax.traced.table import Array, DType, Ints, Number, axes, axis, dtype_of, operation, require

LANES = 16  # values that a processor compares at once; of any other number the result is the same


def _reduction(function: Callable) -> Callable:
  def apply(
    self: Array, dim: int | Ints | None = None, keepdim: bool = False, dtype: DType | None = None
  ) -> Array:
    values = self if dtype is None else self.astype(dtype_of(dtype))
    return function(values, axis=axes(self, dim), keepdims=keepdim)

  return apply


def _signed(values: Array) -> Array:
  """Bytes as whole numbers with a sign, as PyTorch adds and multiplies them."""
  return values.astype(jnp.int32) if values.dtype == jnp.uint8 else values


def _sum(values: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
  return jnp.sum(_signed(values), axis, keepdims=keepdims)


def _prod(values: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
  return jnp.prod(_signed(values), axis, keepdims=keepdims)


def _least(values: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
  if not jnp.issubdtype(values.dtype, jnp.floating):
    return jnp.min(values, axis, keepdims=keepdims)
  return -greatest(-values, axis, keepdims)


for _function, _names in {
  jnp.mean: ("mean.default", "mean.dim"),
  _sum: ("sum.default", "sum.dim_IntList"),
  _prod: ("prod.default", "prod.dim_int"),
  greatest: ("amax.default", "max.default"),
  _least: ("amin.default", "min.default"),
  jnp.any: ("any.default", "any.dim"),
  jnp.all: ("all.default", "all.dim"),
}.items():
  operation(*(f"aten.{_name}" for _name in _names))(_reduction(_function))


def _logical(function: Callable) -> Callable:
  def apply(self: Array, dim: Ints | None = None, keepdim: bool = False) -> Array:
    return function(self, axis=() if dim == [] else axes(self, dim), keepdims=keepdim)

  return apply


operation("aten.any.dims")(_logical(jnp.any))  # over no dimension where none is listed, unlike sums
operation("aten.all.dims")(_logical(jnp.all))


def _extreme(where: Callable) -> Callable:
  def apply(self: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    along = axis(self, dim)
    first = where(self, axis=along, keepdims=True)  # the gradient goes there alone
    values = jnp.take_along_axis(self, first, along)
    return (values, first) if keepdim else (values.squeeze(along), first.squeeze(along))

  return apply


operation("aten.max.dim")(_extreme(jnp.argmax))
operation("aten.min.dim")(_extreme(jnp.argmin))


@operation("aten.argmax.default")
def argmax(self: Array, dim: int | None = None, keepdim: bool = False) -> Array:
  """Where the greatest is, the first of equals."""
  return jnp.argmax(self, axis=None if dim is None else axis(self, dim), keepdims=keepdim)


@operation("aten.argmin.default")
def argmin(self: Array, dim: int | None = None, keepdim: bool = False) -> Array:
  """Where the least is, the first of equals."""
  return jnp.argmin(self, axis=None if dim is None else axis(self, dim), keepdims=keepdim)


@operation("aten.var.correction")
def var(
  self: Array, dim: Ints | None = None, correction: Number | None = None, keepdim: bool = False
) -> Array:
  """The variance, over the number of values less the correction (1 unless given)."""
  over = axes(self, dim)
  centred = self - jnp.mean(self, over, keepdims=True)
  count = 1
  for d in over:
    count *= self.shape[d]
  less = 1 if correction is None else correction
  require(count > less, f"the variance of {count} values with correction {less}")
  return jnp.sum(centred * centred, over, keepdims=keepdim) / (count - less)


@operation("aten.var_mean.correction")
def var_mean(
  self: Array, dim: Ints | None = None, correction: Number | None = None, keepdim: bool = False
) -> tuple[Array, Array]:
  """The variance and the mean."""
  return var(self, dim, correction, keepdim), jnp.mean(self, axes(self, dim), keepdims=keepdim)


@operation("aten.std.correction")
def std(
  self: Array, dim: Ints | None = None, correction: Number | None = None, keepdim: bool = False
) -> Array:
  """The standard deviation; gradient 0 where it is 0."""
  return _root(var(self, dim, correction, keepdim))


def _root(squares: Array) -> Array:
  """The square root, whose gradient at 0 is 0 as that of PyTorch's norms, not infinite."""
  return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


@operation("aten.linalg_vector_norm.default")
def vector_norm(
  self: Array,
  ord: Number = 2,
  dim: int | Ints | None = None,
  keepdim: bool = False,
  dtype: DType | None = None,
) -> Array:
  """The norm of a positive order."""
  values, over = self if dtype is None else self.astype(dtype_of(dtype)), axes(self, dim)
  if ord == 2:
    return _root(jnp.sum(values * values, over, keepdims=keepdim))
  if ord == 1:
    return jnp.sum(abs_(values), over, keepdims=keepdim)
  require(ord > 0, f"the norm of order {ord}")
  sizes = abs_(values)
  if ord == float("inf"):
    return greatest(sizes, over, keepdim)
  # Gradient 0 where a value is 0, or all are.
  powers = jnp.where(sizes > 0, jnp.power(jnp.where(sizes > 0, sizes, 1), ord), 0)
  total = jnp.sum(powers, over, keepdims=keepdim)
  return jnp.where(total > 0, jnp.power(jnp.where(total > 0, total, 1), 1 / ord), 0)


@operation("aten._cdist_forward.default")
def cdist(x1: Array, x2: Array, p: Number, compute_mode: int | None = None) -> Array:
  """The Euclidean distance of each row of one to each row of the other; gradient 0 where it is 0."""
  require(p == 2 and min(x1.ndim, x2.ndim) >= 2, f"the distances of order {p} of {x1.shape} and {x2.shape}")
  apart = x1[..., :, None, :] - x2[..., None, :, :]
  return _root(jnp.sum(apart * apart, -1))


@operation("aten._euclidean_dist.default")
def euclidean_distance(x1: Array, x2: Array) -> Array:
  """`cdist` of many rows, by one product of matrices; gradient 0 where it is 0."""
  require(min(x1.ndim, x2.ndim) >= 2, f"the distances of {x1.shape} and {x2.shape}")
  squares = (jnp.sum(x * x, -1) for x in (x1, x2))
  of_rows, of_columns = next(squares)[..., :, None], next(squares)[..., None, :]
  return _root(of_rows + of_columns - 2 * jnp.matmul(x1, jnp.swapaxes(x2, -1, -2)))


@operation("aten.softmax.int", "aten._softmax.default")
def softmax(self: Array, dim: int, dtype: DType | None = None, half_to_float: bool = False) -> Array:
  """Softmax along a dimension."""
  values = self if dtype is None else self.astype(dtype_of(dtype))
  return softmax_along(values.astype(jnp.float32) if half_to_float else values, axis(self, dim))


def softmax_along(x: Array, dim: int) -> Array:
  """`jax.nn.softmax`, bit for bit; on CPUs in half the time where the last of x's dimensions is a long one.

  XLA takes the largest value of each row one after the other there, in half of a softmax's time, unless
  YNNPACK does it, which makes other reductions slower (docs/performance.md).
  """
  last = dim % max(x.ndim, 1) == x.ndim - 1 and x.shape[-1] >= 2 * LANES
  if last and compiling.tuned(jax.default_backend()):
    return _softmax_of_rows(x)
  return jax.nn.softmax(x, dim)


@jax.custom_jvp
def _softmax_of_rows(x: Array) -> Array:
  n = x.shape[-1]
  # Windows side by side, and a last one that reaches back into the one before, which changes no maximum.
  starts = [*range(0, n - LANES, LANES), n - LANES]
  largest = functools.reduce(jnp.maximum, (x[..., start : start + LANES] for start in starts))
  grown = jnp.exp(x - jnp.max(largest, -1, keepdims=True))
  return grown / jnp.sum(grown, -1, keepdims=True)


@_softmax_of_rows.defjvp
def _change_of_softmax(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
  shares, (change,) = _softmax_of_rows(*primals), tangents
  return shares, shares * (change - jnp.sum(shares * change, -1, keepdims=True))


@operation("aten.log_softmax.int", "aten._log_softmax.default")
def log_softmax(self: Array, dim: int, dtype: DType | None = None, half_to_float: bool = False) -> Array:
  """The logarithm of softmax along a dimension."""
  values = self if dtype is None else self.astype(dtype_of(dtype))
  return jax.nn.log_softmax(values.astype(jnp.float32) if half_to_float else values, axis(self, dim))


@operation("aten.logsumexp.default")
def logsumexp(self: Array, dim: int | Ints, keepdim: bool = False) -> Array:
  """The logarithm of a sum of exponentials."""
  return jax.nn.logsumexp(self, axes(self, dim), keepdims=keepdim)


@operation("aten.cumsum.default")
def cumsum(self: Array, dim: int, dtype: DType | None = None) -> Array:
  """Sums of all up to here."""
  return jnp.cumsum(_signed(self), axis(self, dim), dtype=dtype_of(dtype))


@operation("aten.cumprod.default")
def cumprod(self: Array, dim: int, dtype: DType | None = None) -> Array:
  """Products of all up to here."""
  return jnp.cumprod(_signed(self), axis(self, dim), dtype=dtype_of(dtype))


@operation("aten.logcumsumexp.default")
def logcumsumexp(self: Array, dim: int) -> Array:
  """The logarithm of sums of exponentials of all up to here."""
  return lax.cumlogsumexp(self, axis(self, dim))


def _running(before: Callable) -> Callable:
  def later(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    stays = before(one[0], other[0])
    return jnp.where(stays, one[0], other[0]), jnp.where(stays, one[1], other[1])

  def apply(self: Array, dim: int) -> tuple[Array, Array]:
    along = axis(self, dim)
    require(self.ndim > 0, "the running extreme of a number")
    places = lax.broadcasted_iota(jnp.int32, self.shape, along)
    # Places go along with values: looking for where self equals its extreme finds nothing where XLA computes
    # both from what self is made of, with other last digits.
    last = lax.associative_scan(later, (self, places), axis=along)[1]  # of equals; the gradient goes there
    return jnp.take_along_axis(self, last, along), last

  return apply


operation("aten.cummax.default")(_running(jnp.greater))
operation("aten.cummin.default")(_running(jnp.less))


@operation("aten.kthvalue.default")
def kthvalue(self: Array, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Array, Array]:
  """The k-th least, counted from 1, and where it is; the gradient goes there."""
  along = axis(self, dim)
  require(self.ndim > 0 and 1 <= k <= self.shape[along], f"the {k}th of {self.shape}")
  order = jnp.argsort(self, along, stable=True)
  place = lax.slice_in_dim(order, k - 1, k, axis=along)
  value = jnp.take_along_axis(self, place, along)
  return (value, place) if keepdim else (value.squeeze(along), place.squeeze(along))


@operation("aten.median.dim")
def median(self: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
  """The one in the middle, the lower of two, and where it is; the gradient goes there."""
  count = self.shape[axis(self, dim)] if self.ndim else 0
  return kthvalue(self, (count + 1) // 2, dim, keepdim)


@operation("aten.topk.default")
def topk(
  self: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Array, Array]:
  """The k greatest (or least) and where they are, in order."""
  along = axis(self, dim)
  require(self.ndim > 0 and 0 <= k <= self.shape[along], f"{k} of {self.shape}")
  moved = jnp.moveaxis(self, along, -1)
  places = lax.top_k(moved if largest else -moved, k)[1]
  found: Any = jnp.take_along_axis(moved, places, -1)
  return jnp.moveaxis(found, -1, along), jnp.moveaxis(places, -1, along)


@operation("aten.sort.default")
def sort(self: Array, dim: int = -1, descending: bool = False) -> tuple[Array, Array]:
  """In order, and where each was."""
  order = jnp.argsort(self, axis(self, dim), stable=True, descending=descending)
  return jnp.take_along_axis(self, order, axis(self, dim)), order
