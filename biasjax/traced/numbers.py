"""Arithmetic of sizes, which a program does where they depend on the number of images."""

import operator
from collections.abc import Callable

from biasjax.traced.table import Number, operation, require

LIMIT = 2**63


def bounded(value: Number) -> Number:
  """A number that a size could be.

  Raises:
    Refused: it is beyond 64 bits.
  """
  require(abs(value) < LIMIT, "a number beyond 64 bits")
  return value


def _binary(function: Callable) -> Callable:
  def apply(a: Number, b: Number) -> Number:
    return bounded(function(bounded(a), bounded(b)))

  return apply


for _name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "eq", "ne", "lt", "le", "gt", "ge"):
  operation(f"operator.{_name}")(_binary(getattr(operator, _name)))


@operation("operator.neg")
def neg(a: Number) -> Number:
  """-a."""
  return bounded(-a)
