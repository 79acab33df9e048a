"""One file a probe, found by its name: a module here that has a function `make(size) -> Probe`."""

import difflib
import functools
import importlib
import pkgutil

from biasjax.errors import BiasjaxError
from biasjax.probes.base import Metric, Probe

__all__ = ["Metric", "Probe", "get", "names"]


@functools.cache
def names() -> tuple[str, ...]:
  """The names of all probes, sorted."""
  modules = [info.name for info in pkgutil.iter_modules(__path__)]
  return tuple(
    sorted(name for name in modules if hasattr(importlib.import_module(f"{__name__}.{name}"), "make"))
  )


@functools.cache  # one object a probe, so that its functions are compiled once
def get(name: str, size: int = 224) -> Probe:
  """The probe called `name`, for size x size images.

  Raises:
    BiasjaxError: there is no such probe.
  """
  if name not in names():
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names())}"
    raise BiasjaxError(f"unknown probe {name!r}: {hint}")
  return importlib.import_module(f"{__name__}.{name}").make(size)
