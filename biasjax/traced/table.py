"""The fixed table of operations: a name of PyTorch's -> a function of `jax.numpy` and its arguments.

A function's parameters have the names of PyTorch's schema, and its annotations say what may be given: it is
called with what an untrusted file holds, and `bind` is what stands between them. docs/adding-an-operation.md.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Number = bool | int | float
Operand = Array | bool | int | float
Ints = list[int]

OPERATIONS: dict[str, Callable[..., Any]] = {}
# Products and convolutions: what --precision is about.
PRODUCTS: set[str] = set()
# int64 and float64 become 32 bits: indices and sizes fit, and whether constants do is checked when they are
# written.
DTYPES = {
  name: jnp.dtype(name) for name in ("float32", "int32", "bool", "float16", "bfloat16", "uint8", "complex64")
}
WIDE = {"float32": "float64", "complex64": "complex128"}
# Elements of what is computed from shapes alone and is there while a network is traced.
CONSTANT_LIMIT = 2**26
PARTS = 4096  # of a list that one operation gives


class Refused(Exception):
  """An operation cannot be what a program asks of it; the message says why."""


class DType(str):
  """The name of an element type, a key of `DTYPES`."""

  __slots__ = ()


def operation(*names: str, product: bool = False) -> Callable[[Callable], Callable]:
  """Enters a function into the table under names such as "aten.relu.default"."""

  def enter(function: Callable) -> Callable:
    for name in names:
      if name in OPERATIONS:
        raise ValueError(f"{name} is in the table already")
      OPERATIONS[name] = function
      if product:
        PRODUCTS.add(name)
    return function

  return enter


def dtype_of(name: DType | None) -> Any:
  """The element type of a name, of twice the bits where JAX has them; None for None.

  Raises:
    Refused: there is no such type here.
  """
  if name is None:
    return None
  if name not in DTYPES:
    raise Refused(f"element type {name[:40]!r} is not known")
  wide = name in WIDE and jax.config.read("jax_enable_x64")
  return jnp.dtype(WIDE[name]) if wide else DTYPES[name]


def require(condition: bool, otherwise: str) -> None:
  """Refuses what is not as it must be.

  Raises:
    Refused: saying `otherwise`.
  """
  if not condition:
    raise Refused(otherwise)


def parameters(name: str) -> Mapping[str, inspect.Parameter]:
  """What an operation takes, by name."""
  return _signature(OPERATIONS[name])[0]


_SIGNATURES: dict[Callable, tuple[Mapping[str, inspect.Parameter], dict[str, Any]]] = {}


def _signature(function: Callable) -> tuple[Mapping[str, inspect.Parameter], dict[str, Any]]:
  if function not in _SIGNATURES:
    plain = inspect.unwrap(function)
    _SIGNATURES[function] = inspect.signature(plain).parameters, typing.get_type_hints(plain)
  return _SIGNATURES[function]


def bind(name: str, arguments: Mapping[str, Any]) -> None:
  """Checks arguments of an operation against its signature.

  Raises:
    Refused: one is missing, is not known or is of another kind.
  """
  known, kinds = _signature(OPERATIONS[name])
  for given, value in arguments.items():
    if given not in known:
      raise Refused(f"takes no argument {given[:40]!r}")
    if not _is(value, kinds[given]):
      raise Refused(f"argument {given!r} is of a wrong kind ({type(value).__name__})")
  for needed, parameter in known.items():
    if parameter.default is inspect.Parameter.empty and needed not in arguments:
      raise Refused(f"lacks its argument {needed!r}")


def _is(value: Any, kind: Any) -> bool:
  """Whether a value is of an annotated kind: a class, a union, or a list of a kind."""
  origin = typing.get_origin(kind)
  if origin in (types.UnionType, typing.Union):
    return any(_is(value, one) for one in typing.get_args(kind))
  if origin is list:
    return isinstance(value, list) and all(_is(one, typing.get_args(kind)[0]) for one in value)
  if kind is types.NoneType or kind is None:
    return value is None
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if kind is str:
    return isinstance(value, str) and not isinstance(value, DType)
  return isinstance(value, kind)


def axis(self: Array, dim: int) -> int:
  """A dimension counted from the front.

  Raises:
    Refused: there is none such.
  """
  rank = max(self.ndim, 1)
  require(-rank <= dim < rank, f"there is no dimension {dim} of {self.ndim}")
  return dim % rank


def axes(self: Array, dim: int | Ints | None) -> tuple[int, ...]:
  """Dimensions counted from the front; all for none."""
  dims = list(range(self.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
  found = tuple(axis(self, d) for d in dims)
  require(len(set(found)) == len(found), f"dimensions {dims[:8]} repeat")
  return found if self.ndim else ()


def pair(values: Ints, what: str, least: int, count: int = 2) -> Ints:
  """One number for each spatial dimension, of one or of as many as there are.

  Raises:
    Refused: another number of them, or one below `least` or beyond any image.
  """
  require(len(values) in (1, count), f"{what} has {len(values)} numbers")
  require(all(least <= v < 2**16 for v in values), f"{what} is {values[:4]}")
  return list(values) * (count if len(values) == 1 else 1)
