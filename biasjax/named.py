"""Code that is found by its name: files of a package, and functions of one's own."""

import functools
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from biasjax.errors import BiasjaxError

Made = TypeVar("Made")


def modules(package: str, path: Iterable[str]) -> tuple[str, ...]:
  """The names of a package's modules that have a function `make`, sorted.

  Args:
    package: its name.
    path: its `__path__`.

  Raises:
    BiasjaxError: one cannot be imported.
  """
  found = []
  for info in pkgutil.iter_modules(path):
    name = f"{package}.{info.name}"
    try:
      module = importlib.import_module(name)
    except Exception as error:  # it may be anybody's
      raise BiasjaxError(f"{_place(error, _file(name))}: cannot be imported: {_said(error)}") from error
    if hasattr(module, "make"):
      found.append(info.name)
  return tuple(sorted(found))


def called(flag: str, spec: str) -> Any:
  """What a function of one's own gives; its module is imported and it is called.

  Args:
    flag: that asks for it, such as "--module".
    spec: PACKAGE.MODULE:FUNCTION, of no arguments.

  Raises:
    BiasjaxError: there is no such function, or it fails.
  """
  where, _, name = spec.partition(":")
  try:
    module = importlib.import_module(where)
    function = getattr(module, name)
  except (Exception, SystemExit) as error:  # it is the user's code
    path = _file(where)
    place = _place(error, path)
    hint = "; expected PACKAGE.MODULE:FUNCTION" if place == path else f" ({place})"
    raise BiasjaxError(f"{flag}={spec}: {_said(error)}{hint}") from error
  try:
    return function()
  except (Exception, SystemExit) as error:
    place = _place(error, getattr(module, "__file__", None) or where)
    raise BiasjaxError(f"{flag}={spec}: its function raises {_said(error)} ({place})") from error


def made(asked: str, kind: type[Made], make: Callable[..., Made], *given: Any, **options: str) -> Made:
  """What the `make` of a file gives, which may be anybody's.

  Args:
    asked: what was asked for, for messages.
    kind: what it gives.
    make: a function.
    given, options: its arguments.

  Raises:
    BiasjaxError: as `make` does, or it fails, or gives something else.
  """
  found = answer(f"{asked}: its make", make, *given, **options)
  if not isinstance(found, kind):
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise BiasjaxError(f"{asked}: its make gives {type(found).__name__}, not {article} {kind.__name__}")
  return found


def answer(what: str, function: Callable[..., Any], *given: Any, **options: Any) -> Any:
  """What a function gives, which may be anybody's.

  Args:
    what: the function, for messages.
    function: it.
    given, options: its arguments.

  Raises:
    BiasjaxError: as the function does, or it fails.
  """
  try:
    return function(*given, **options)
  except BiasjaxError:
    raise
  except Exception as error:
    while isinstance(function, functools.partial):
      function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    place = _place(error, getattr(sys.modules.get(module), "__file__", None) or module)
    raise BiasjaxError(f"{what} raises {_said(error)} ({place})") from error


def _file(name: str) -> str:
  """Where a module is that cannot be imported; its name, if that is not known."""
  try:
    spec = importlib.util.find_spec(name)
  except Exception:  # of a package that it is in
    return name
  return (spec and spec.origin) or name


def _said(error: BaseException) -> str:
  return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _place(error: BaseException, path: str) -> str:
  """A file, and its last line that an error passed on its way out."""
  lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
  if isinstance(error, SyntaxError) and error.filename == path:
    lines.append(error.lineno)
  return f"{path}, line {lines[-1]}" if lines and lines[-1] else path
