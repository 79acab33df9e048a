"""Operations on each element. At ties gradients are PyTorch's, which `where` gives and `minimum` does not."""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from biasjax.ops.extremes import larger
from biasjax.traced.table import Array, DType, Number, Operand, dtype_of, operation, require


@operation("aten.add.Tensor", "aten.add.Scalar")
def add(self: Operand, other: Operand, alpha: Number = 1) -> Array:
  """Self + alpha * other."""
  return jnp.add(self, other if alpha == 1 else jnp.multiply(other, alpha))


@operation("aten.sub.Tensor", "aten.sub.Scalar")
def sub(self: Operand, other: Operand, alpha: Number = 1) -> Array:
  """Self - alpha * other."""
  return jnp.subtract(self, other if alpha == 1 else jnp.multiply(other, alpha))


@operation("aten.rsub.Scalar", "aten.rsub.Tensor")
def rsub(self: Operand, other: Operand, alpha: Number = 1) -> Array:
  """Other - alpha * self."""
  return sub(other, self, alpha)


@operation("aten.div.Tensor_mode", "aten.div.Scalar_mode")
def div_mode(self: Operand, other: Operand, rounding_mode: str | None = None) -> Array:
  """The quotient, or its "floor" or "trunc"."""
  if rounding_mode == "floor":
    return jnp.floor_divide(self, other)
  if rounding_mode == "trunc":
    self, other = jnp.asarray(self), jnp.asarray(other)
    if jnp.issubdtype(jnp.result_type(self, other), jnp.integer):
      return lax.div(*jnp.broadcast_arrays(*_promoted(self, other)))
    return jnp.trunc(jnp.divide(self, other))
  require(rounding_mode is None, f"rounding_mode {str(rounding_mode)[:20]!r} is not known")
  return jnp.divide(self, other)


def _promoted(self: Array, other: Array) -> tuple[Array, Array]:
  kind = jnp.result_type(self, other)
  return self.astype(kind), other.astype(kind)


@operation("aten.pow.Tensor_Scalar")
def pow_scalar(self: Array, exponent: Number) -> Array:
  """Powers; whole exponents as products. Of whole numbers they are whole where the exponent is written so."""
  if isinstance(exponent, float) and not jnp.issubdtype(self.dtype, jnp.inexact):
    self = self.astype(jnp.float32)
  whole = abs(exponent) < 2**31 and exponent == int(exponent)
  if whole and (exponent >= 0 or jnp.issubdtype(self.dtype, jnp.inexact)):
    return lax.integer_pow(self.astype(jnp.int32) if self.dtype == jnp.bool_ else self, int(exponent))
  return jnp.power(self, exponent)


@operation("aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def pow_tensor(self: Operand, exponent: Operand) -> Array:
  """Powers, element by element; gradient 0 to both of 0 to the power of 0."""
  neither = jnp.equal(self, 0) & jnp.equal(exponent, 0)
  return jnp.power(jnp.where(neither, 1, self), exponent)


def _binary(function: Callable) -> Callable:
  def apply(self: Operand, other: Operand) -> Array:
    return function(self, other)

  return apply


def _product(self: Operand, other: Operand) -> Array:
  """The product; of features [b, c, h, w] by a gate [b, c, 1, 1] with channels last, on CPUs.

  Convolutions there have them so, and XLA moves no transposition past what broadcasts.
  """
  shapes = [jnp.shape(of) for of in (self, other)]
  gated = shapes[0] != shapes[1] and all(len(s) == 4 for s in shapes) and (1, 1) in (s[2:] for s in shapes)
  if not gated or jax.default_backend() != "cpu":
    return jnp.multiply(self, other)
  return jnp.moveaxis(jnp.moveaxis(self, 1, -1) * jnp.moveaxis(other, 1, -1), -1, 1)


def _smaller(self: Array, other: Array) -> Array:
  floating = jnp.issubdtype(jnp.result_type(self, other), jnp.floating)
  return -larger(-self, -other) if floating else jnp.minimum(self, other)


# maximum and minimum give each of two equal numbers half the gradient, as PyTorch's do.
for _kinds, _functions in {
  ("Tensor", "Scalar"): {
    "mul": _product,
    "div": jnp.divide,
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
    "fmod": jnp.fmod,
    "remainder": jnp.remainder,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_xor": jnp.bitwise_xor,
  },
  ("default",): {
    "maximum": larger,
    "minimum": _smaller,
    "floor_divide": jnp.floor_divide,
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "logical_xor": jnp.logical_xor,
    "atan2": jnp.arctan2,
    "hypot": jnp.hypot,
  },
}.items():
  for _name, _function in _functions.items():
    operation(*(f"aten.{_name}.{_kind}" for _kind in _kinds))(_binary(_function))


def _unary(function: Callable) -> Callable:
  def apply(self: Array) -> Array:
    return function(self)

  return apply


for _name, _function in {
  "acos": jnp.arccos,
  "acosh": jnp.arccosh,
  "asin": jnp.arcsin,
  "asinh": jnp.arcsinh,
  "atan": jnp.arctan,
  "atanh": jnp.arctanh,
  "bitwise_not": jnp.bitwise_not,
  "ceil": jnp.ceil,
  "cos": jnp.cos,
  "cosh": jnp.cosh,
  "digamma": jax.scipy.special.digamma,
  "erf": jax.scipy.special.erf,
  "erfc": jax.scipy.special.erfc,
  "erfinv": jax.scipy.special.erfinv,
  "exp": jnp.exp,
  "exp2": jnp.exp2,
  "expm1": jnp.expm1,
  "floor": jnp.floor,
  "isinf": jnp.isinf,
  "isnan": jnp.isnan,
  "lgamma": jax.scipy.special.gammaln,
  "log": jnp.log,
  "log10": jnp.log10,
  "log1p": jnp.log1p,
  "log2": jnp.log2,
  "log_sigmoid": jax.nn.log_sigmoid,
  "logical_not": jnp.logical_not,
  "neg": jnp.negative,
  "reciprocal": jnp.reciprocal,
  "relu": jax.nn.relu,
  "round": jnp.round,
  "rsqrt": lax.rsqrt,
  "sigmoid": jax.nn.sigmoid,
  "sign": jnp.sign,
  "silu": jax.nn.silu,
  "sin": jnp.sin,
  "sinh": jnp.sinh,
  "sqrt": jnp.sqrt,
  "square": jnp.square,
  "tan": jnp.tan,
  "tanh": jnp.tanh,
  "trunc": jnp.trunc,
}.items():
  operation(f"aten.{_name}.default")(_unary(_function))


@operation("aten.abs.default")
def abs_(self: Array) -> Array:
  """|x|; gradient 0 at 0."""
  if not jnp.issubdtype(self.dtype, jnp.inexact):
    return jnp.abs(self)
  return jnp.where(self == 0, 0, jnp.abs(jnp.where(self == 0, 1, self)))


@operation("aten.mish.default")
def mish(self: Array) -> Array:
  """x tanh(softplus(x))."""
  return self * jnp.tanh(softplus(self))


@operation("aten.gelu.default")
def gelu(self: Array, approximate: str = "none") -> Array:
  """x Phi(x), exact unless "tanh" is asked for."""
  require(approximate in ("none", "tanh"), f"approximate {approximate[:20]!r} is not known")
  return jax.nn.gelu(self, approximate=approximate == "tanh")


@operation("aten.elu.default")
def elu(self: Array, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1) -> Array:
  """Scale * x where it is positive, scale * alpha * (exp(input_scale * x) - 1) elsewhere."""
  negative = jnp.where(self > 0, 0, self)
  return jnp.where(self > 0, scale * self, scale * alpha * jnp.expm1(input_scale * negative))


@operation("aten.leaky_relu.default")
def leaky_relu(self: Array, negative_slope: Number = 0.01) -> Array:
  """x where it is positive, a small multiple elsewhere."""
  return jnp.where(self > 0, self, self * negative_slope)


@operation("aten.rrelu.default")
def rrelu(self: Array, lower: Number = 1 / 8, upper: Number = 1 / 3, training: bool = False) -> Array:
  """leaky_relu with the mean of the slopes that training draws."""
  require(not training, "drawn slopes have no place in an evaluation")
  return leaky_relu(self, (lower + upper) / 2)


@operation("aten.prelu.default", "aten._prelu_kernel.default")
def prelu(self: Array, weight: Array) -> Array:
  """leaky_relu with a slope for each channel."""
  if weight.ndim == 1 and self.ndim > 1:
    weight = weight.reshape(1, -1, *[1] * (self.ndim - 2))
  return jnp.where(self > 0, self, self * weight)


@operation("aten.softplus.default")
def softplus(self: Array, beta: Number = 1, threshold: Number = 20) -> Array:
  """log(1 + exp(beta x)) / beta, and x itself where beta x is beyond the threshold."""
  scaled = self * beta
  return jnp.where(scaled > threshold, self, jnp.logaddexp(scaled, 0.0) / beta)


@operation("aten.threshold.default")
def threshold(self: Array, threshold: Number, value: Number) -> Array:
  """The value where x is at most the threshold, x elsewhere, NaN too."""
  return jnp.where(self <= threshold, jnp.asarray(value, self.dtype), self)


@operation("aten.hardtanh.default")
def hardtanh(self: Array, min_val: Number = -1, max_val: Number = 1) -> Array:
  """x between two numbers; gradient 0 at both."""
  low, high = jnp.asarray(min_val, self.dtype), jnp.asarray(max_val, self.dtype)
  return jnp.where(self <= low, low, jnp.where(self >= high, high, self))


@operation("aten.relu6.default")
def relu6(self: Array) -> Array:
  """x between 0 and 6; gradient 0 at both."""
  return hardtanh(self, 0, 6)


@operation("aten.hardsigmoid.default")
def hardsigmoid(self: Array) -> Array:
  """(x + 3) / 6 between 0 and 1; gradient 0 at -3 and 3."""
  return relu6(self + 3) / 6


@operation("aten.hardswish.default")
def hardswish(self: Array) -> Array:
  """x (x + 3) / 6 between -3 and 3, 0 below, x above; gradient 0 at -3 and 1 at 3."""
  return jnp.where(self <= -3, 0, jnp.where(self < 3, self * (self + 3) / 6, self))


@operation(
  *("aten.clamp.default", "aten.clamp.Tensor", "aten.clamp_min.default", "aten.clamp_min.Tensor"),
  *("aten.clamp_max.default", "aten.clamp_max.Tensor"),
)
def clamp(self: Array, min: Operand | None = None, max: Operand | None = None) -> Array:
  """x between two numbers; gradient 1 at both, and none to bounds that are equal where x is below them."""
  if isinstance(min, Array) and isinstance(max, Array):
    min = jnp.where(min == max, lax.stop_gradient(min), min)
  for bound, beyond in ((min, operator.lt), (max, operator.gt)):
    if bound is not None:
      self, edge = _promoted(self, jnp.asarray(bound)) if isinstance(bound, Array) else (self, bound)
      self = jnp.where(beyond(self, edge), edge, self)
  return self


@operation("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(condition: Array, self: Operand, other: Operand) -> Array:
  """Self where the condition holds, other elsewhere."""
  return jnp.where(condition, self, other)


@operation("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(self: Array, mask: Array, value: Operand) -> Array:
  """The value where the mask holds, self elsewhere."""
  return jnp.where(mask, jnp.asarray(value, self.dtype), self)


@operation("aten.lerp.Scalar", "aten.lerp.Tensor")
def lerp(self: Array, end: Array, weight: Operand) -> Array:
  """Self + weight (end - self)."""
  return self + weight * (end - self)


@operation("aten.addcmul.default")
def addcmul(self: Array, tensor1: Array, tensor2: Array, value: Number = 1) -> Array:
  """Self + value * tensor1 * tensor2."""
  return self + value * tensor1 * tensor2


@operation("aten.detach.default")
def detach(self: Array) -> Array:
  """Self, without its gradient."""
  return lax.stop_gradient(self)


@operation(
  *("aten.alias.default", "aten.clone.default", "aten.contiguous.default"),
  *("aten.lift_fresh_copy.default", "aten.alias_copy.default"),
)
def same(self: Array) -> Array:
  """Self."""
  return self


@operation("aten._to_copy.default", "aten.to.dtype")
def to_dtype(self: Operand, dtype: DType | None = None) -> Array:
  """Self in another element type; of complex numbers as real ones the real part."""
  kind = dtype_of(dtype)
  if kind is not None and jnp.iscomplexobj(self) and not jnp.issubdtype(kind, jnp.complexfloating):
    self = jnp.real(self)
  return jnp.asarray(self, kind)


@operation("aten._local_scalar_dense.default")
def item(self: Array) -> Array:
  """The one number of an array."""
  require(self.size == 1, f"one number of {self.shape}")
  return self.reshape(())


@operation("aten.dropout.default")
def dropout(input: Array, p: Number, train: bool) -> Array:
  """The input: networks are evaluated."""
  require(not train, "dropout in training mode has no place in an evaluation")
  return input
