"""One file a probe, found by its name: a module here that has a function `make(size, **options) -> Probe`."""

import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence

from biasjax.errors import BiasjaxError
from biasjax.probes.base import Metric, Probe

__all__ = ["Metric", "Probe", "get", "names", "plan"]


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

  A variant of a probe has a name of its own, "probe:option=value:...", and so its own observations and its
  own columns: spectral:mask=radial.

  Raises:
    BiasjaxError: there is no such probe, option or value.
  """
  module, *given = name.split(":")
  if module not in names():
    near = difflib.get_close_matches(module, names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names())}"
    raise BiasjaxError(f"unknown probe {module!r}: {hint}")
  make = importlib.import_module(f"{__name__}.{module}").make
  known = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
  options = {key: value for key, _, value in (option.partition("=") for option in given)}
  for option, value in options.items():
    if option not in known or not value:
      there_are = f"its options are {', '.join(f'{n}=...' for n in known)}" if known else "it has no options"
      raise BiasjaxError(f"probe {name!r}: {module} does not take {option!r}: {there_are}")
  return make(size, **options)


def plan(wanted: Sequence[str], labels: Mapping[str, str], size: int = 224) -> dict[str, list[Probe]]:
  """Which probes each dataset is asked, those that others need included: all whose decision fits its labels.

  Args:
    wanted: names of probes.
    labels: dataset -> what its labels are, see `Source.labels`.
    size: pixels of a side.

  Raises:
    BiasjaxError: an unknown probe; a probe that fits no dataset, or a dataset that fits no probe.
  """
  everything = list(dict.fromkeys(need for name in wanted for need in (*get(name, size).needs, name)))
  found = {
    dataset: list({p.name: p for p in (get(n, size) for n in everything) if kind in p.decide}.values())
    for dataset, kind in labels.items()
  }
  for name in wanted:
    kinds = get(name, size).decide
    if not set(kinds) & set(labels.values()):
      have = ", ".join(f"{dataset} has labels {kind}" for dataset, kind in labels.items())
      raise BiasjaxError(f"probe {name} needs a dataset with labels {' or '.join(kinds)}, but {have}")
  for dataset, of_dataset in found.items():
    if not of_dataset:
      raise BiasjaxError(
        f"dataset {dataset} has labels {labels[dataset]}, which none of the probes asks about "
        f"({', '.join(wanted)}): name one that does, or leave the dataset out"
      )
  return found
