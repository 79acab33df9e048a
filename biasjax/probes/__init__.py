"""One file a probe, found by its name: a module here that has a function `make(size, **options) -> Probe`."""

import functools
import importlib
import json
from collections.abc import Sequence

import jax
import numpy as np

from biasjax import named
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError, suggestion
from biasjax.options import parse
from biasjax.probes.base import OF_ARRAYS, Metric, Probe

__all__ = ["Metric", "Probe", "get", "names", "plan"]


@functools.cache
def names() -> tuple[str, ...]:
  """The names of all probes, sorted.

  Raises:
    BiasjaxError: a file of the folder cannot be imported.
  """
  return named.modules(__name__, __path__)


def get(name: str, size: int = 224) -> Probe:
  """The probe called `name`, for size x size images.

  A variant of a probe has a name of its own, "probe:option=value:...", and so its own observations and its
  own columns: spectral:mask=radial.

  Raises:
    BiasjaxError: there is no such probe, option or value, or it goes by the name of another probe.
  """
  return _one(name, size)


@functools.cache  # one object a probe, so that its functions are compiled once
def _one(name: str, size: int) -> Probe:
  probe = _made(name, size)
  called = probe.asked or probe.name
  if called == name:
    return probe
  # By what a probe is called it is made again, for a run and for its tables.
  if not _same(_made(called, size), probe):
    raise BiasjaxError(
      f"probe {name!r} calls itself {called!r}, which is another probe: its options belong into its name "
      "(docs/adding-a-probe.md)"
    )
  return _one(called, size)


def _made(name: str, size: int) -> Probe:
  module, *given = name.split(":")
  if module not in names():
    raise BiasjaxError(f"unknown probe {module!r}: {suggestion(module, names())}")
  make = importlib.import_module(f"{__name__}.{module}").make
  options = parse(make, given, f"probe {name!r}", module)
  probe = named.made(f"probe {name!r}", Probe, make, size, **options)
  try:
    json.dumps(dict(probe.parameters))
  except TypeError as error:  # they are written into each file of observations
    raise BiasjaxError(
      f"probe {name!r}: parameters have to be plain numbers, text, lists and dictionaries: {error}"
    ) from error
  return probe


def _same(one: Probe, other: Probe) -> bool:
  """Whether both ask the same, as far as their names, parameters and conditions say."""
  if (one.name, list(one.conditions)) != (other.name, list(other.conditions)):
    return False
  parameters = (json.dumps(dict(probe.parameters), sort_keys=True, default=str) for probe in (one, other))
  if len(set(parameters)) > 1:
    return False
  values, others = (jax.tree.leaves(dict(probe.conditions)) for probe in (one, other))
  return len(values) == len(others) and all(map(np.array_equal, values, others))


def located(spec: str) -> tuple[str, str]:
  """(name, datasets) of a probe as it is asked for: "name@dataset+dataset"; no datasets means all."""
  name, _, where = spec.partition("@")
  return name, where


def asked_of(wanted: Sequence[str], sources: Sequence[Source]) -> list[str]:
  """Those of `wanted` that can be asked of some of `sources`: for a plan where not all datasets are there."""
  kept = []
  for spec in wanted:
    name, where = located(spec)
    wanted_there = {part.replace("_", "-") for part in where.split("+")}
    there = [s for s in sources if not where or s.name.replace("_", "-") in wanted_there]
    if any(source.labels in get(name, source.crop).decide for source in there):
      kept.append("@".join([name, "+".join(s.name for s in there)]) if where else name)
  return kept


def _datasets(where: str, sources: Sequence[Source]) -> set[str]:
  known = {source.name.replace("_", "-"): source.name for source in sources}
  if not where:
    return set(known.values())
  for name in where.split("+"):
    if name.replace("_", "-") not in known:
      # All are named: the nearest in spelling (imagenet for imagenet-a) need not be what was meant.
      raise BiasjaxError(f"@{where}: no dataset {name!r} is asked for, only {', '.join(known.values())}")
  return {known[name.replace("_", "-")] for name in where.split("+")}


def sized(planned: Sequence[Probe], source: Source) -> list[Probe]:
  """Probes as they are asked of images of the source's size, which some networks see at another."""
  return [get(probe.asked or probe.name, source.crop) for probe in planned]


def plan(wanted: Sequence[str], sources: Sequence[Source]) -> dict[str, list[Probe]]:
  """Which probes each dataset is asked, those that others need included: all whose decision fits its labels.

  Args:
    wanted: names of probes; "name@dataset+dataset" is asked of these datasets only.
    sources: with distinct names.

  Raises:
    BiasjaxError: an unknown probe or dataset; a probe that fits no dataset, or a dataset that fits no probe.
  """
  found: dict[str, list[Probe]] = {}
  places = [(name, _datasets(where, sources)) for name, where in map(located, wanted)]
  wanted = list(dict.fromkeys(name for name, _ in places))
  for source in sources:
    asked = [get(name, source.crop) for name, where in places if source.name in where]
    needed = [get(need, source.crop) for probe in asked for need in (*probe.needs, probe.asked or probe.name)]
    found[source.name] = list({p.name: p for p in needed if source.labels in p.decide}.values())
  for name in wanted:
    if not any(probe.name == get(name, s.crop).name for s in sources for probe in found[s.name]):
      kinds = " or ".join(kind for kind in get(name).decide if kind not in OF_ARRAYS)
      have = ", ".join(f"{source.name} has labels {source.labels}" for source in sources)
      raise BiasjaxError(f"probe {name} needs a dataset with labels {kinds}, but {have}")
  for source in sources:
    if not found[source.name]:
      raise BiasjaxError(
        f"dataset {source.name} has labels {source.labels}, which none of the probes asks about "
        f"({', '.join(wanted)}): name one that does, or leave the dataset out"
      )
  return found
