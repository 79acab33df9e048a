"""Code that is found by its name: files of a package, and functions of one's own."""

import importlib
import importlib.util
import pkgutil
import traceback
from collections.abc import Iterable
from typing import Any

from biasjax.errors import BiasjaxError


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
      spec = importlib.util.find_spec(name)
      where = _place(error, (spec and spec.origin) or name)
      raise BiasjaxError(f"{where}: cannot be imported: {_said(error)}") from error
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
  except Exception as error:  # it is the user's code
    raise BiasjaxError(f"{flag}={spec}: {_said(error)}; expected PACKAGE.MODULE:FUNCTION") from error
  try:
    return function()
  except Exception as error:
    place = _place(error, getattr(module, "__file__", None) or where)
    raise BiasjaxError(f"{flag}={spec}: its function raises {_said(error)} ({place})") from error


def _said(error: Exception) -> str:
  return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _place(error: Exception, path: str) -> str:
  """A file, and its last line that an error passed on its way out."""
  lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
  if isinstance(error, SyntaxError) and error.filename == path:
    lines.append(error.lineno)
  return f"{path}, line {lines[-1]}" if lines and lines[-1] else path
