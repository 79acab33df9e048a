"""What --list prints: the models, probes, datasets and conditions there are, a line each."""

import fnmatch
import importlib
import inspect
from collections.abc import Sequence

from biasjax import probes as all_probes
from biasjax.data.datasets import DATASETS, Dataset
from biasjax.errors import BiasjaxError, suggestion
from convert import describe


def models(pattern: str) -> str:
  """Name, category, state, size and source of each model; all that is known where there is one."""
  return describe.listing(pattern)


def datasets(pattern: str) -> str:
  """Name, images, kind of labels, what it is and where it is from."""
  rows = [DATASETS[name] for name in _matching(pattern, tuple(DATASETS), "dataset")]
  return columns([(row.name, f"{row.images:>9,}", row.labels, row.title, _origin(row)) for row in rows])


def _origin(row: Dataset) -> str:
  first, *others = row.archives
  return f"{first} and {len(others)} more" if others else str(first)


def probes(pattern: str) -> str:
  """Name, what it asks, and its options with their defaults."""
  rows = []
  for name in _matching(pattern, all_probes.names(), "probe"):
    module = importlib.import_module(f"{all_probes.__name__}.{name}")
    options = [p for p in inspect.signature(module.make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    title = (module.__doc__ or "").partition("\n")[0]
    rows.append((name, title, " ".join(f"{option.name}={option.default}" for option in options)))
  return columns(rows)


def conditions(pattern: str) -> str:
  """Every condition of a probe (as in --probes, with options) or of the probes that a pattern names."""
  name, colon, given = pattern.partition(":")
  found = [all_probes.get(f"{each}{colon}{given}") for each in _matching(name, all_probes.names(), "probe")]
  return columns([(probe.name, condition) for probe in found for condition in probe.conditions])


def _matching(pattern: str, names: Sequence[str], kind: str) -> list[str]:
  found = fnmatch.filter(names, pattern)
  if not found:
    raise BiasjaxError(f"no {kind} is called {pattern!r}: {suggestion(pattern, names)}")
  return found


def columns(rows: Sequence[tuple[str, ...]]) -> str:
  """A table without rules, for a terminal."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
  )
