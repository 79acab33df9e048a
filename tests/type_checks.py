"""Type checks of biasjax's functions while the tests run: with jaxtyping where arrays' shapes are stated.

jaxtyping binds a function's arguments anew in each call, and compiles each inner function's checks anew, to
compare shapes; functions that state none are left to beartype alone, at a tenth of the time.
"""

import dataclasses
import inspect
from typing import Any, get_args

import beartype
import jaxtyping


def states_shapes(hint: Any) -> bool:
  """Whether an annotation may hold a type of arrays; text may refer to one."""
  if isinstance(hint, list):  # of a callable's arguments
    return any(map(states_shapes, hint))
  if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
    return True
  return isinstance(hint, str) or any(map(states_shapes, get_args(hint)))


def checked(decorate, typechecker):
  """(function or class) -> itself, checked."""

  def check(found):
    function = found.__init__ if inspect.isclass(found) else found
    if not inspect.isfunction(function) or any(map(states_shapes, function.__annotations__.values())):
      return decorate(found, typechecker=typechecker)
    if inspect.isclass(found):
      if dataclasses.is_dataclass(found) and "__init__" in vars(found):
        found.__init__ = beartype.beartype(function)
      return found
    return beartype.beartype(function) if function.__annotations__ else function

  return check


def install() -> None:
  """Takes the place of the decorator that jaxtyping's import hook sets; before biasjax is imported."""
  decorate = jaxtyping.jaxtyped

  def jaxtyped(found=None, *, typechecker):
    check = checked(decorate, typechecker)
    return check if found is None else check(found)

  jaxtyping.jaxtyped = jaxtyped
