"""What --list prints: the models, probes, datasets, conditions and interventions there are, a line each.

Each list imports what it is of: JAX takes seconds, and datasets need none.
"""

import fnmatch
import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from biasjax.data.datasets import DATASETS, Dataset
from biasjax.errors import BiasjaxError, suggestion
from biasjax.terminal import aligned


def models(pattern: str) -> str:
  """Name, category, state, size and source of each model; all that is known where there is one."""
  from biasjax.convert import listing

  return listing.listing(pattern)


def datasets(pattern: str) -> str:
  """Name, images, kind of labels, what it is and where it is from."""
  rows = [DATASETS[name] for name in _matching(pattern, tuple(DATASETS), "dataset")]
  counts = [f"{row.images:,}" if row.images else "?" for row in rows]
  return aligned(
    [
      [row.name, count.rjust(9), row.labels, row.title, _origin(row)]
      for row, count in zip(rows, counts, strict=True)
    ]
  )


def _origin(row: Dataset) -> str:
  first, *others = row.archives
  return f"{first} and {len(others)} more" if others else str(first)


def probes(pattern: str) -> str:
  """Name, what it asks, and its options with their defaults."""
  from biasjax import probes as package

  return _modules(package, pattern, "probe")


def interventions(pattern: str) -> str:
  """Name, what it does, and its options with their defaults."""
  from biasjax.train import interventions as package

  return _modules(package, pattern, "intervention")


def _modules(package: Any, pattern: str, kind: str) -> str:
  rows = []
  for name in _matching(pattern, package.names(), kind):
    module = importlib.import_module(f"{package.__name__}.{name}")
    options = [p for p in inspect.signature(module.make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    title = (module.__doc__ or "").partition("\n")[0]
    rows.append([name, title, " ".join(f"{option.name}={option.default}" for option in options)])
  return aligned(rows)


def conditions(pattern: str) -> str:
  """Every condition of a probe (as in --probes, with options) or of the probes that a pattern names."""
  from biasjax import probes as package

  name, colon, given = pattern.partition(":")
  found = [package.get(f"{each}{colon}{given}") for each in _matching(name, package.names(), "probe")]
  return aligned([[probe.name, condition] for probe in found for condition in probe.conditions])


def _matching(pattern: str, names: Sequence[str], kind: str) -> list[str]:
  found = fnmatch.filter(names, pattern)
  if not found:
    raise BiasjaxError(f"no {kind} is called {pattern!r}: {suggestion(pattern, names)}")
  return found
