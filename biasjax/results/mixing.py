"""Whether numbers that stand in one table were made in one way, of the same images, by the same machine."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from biasjax.errors import BiasjaxError
from biasjax.results.store import Store
from biasjax.results.unit import CHOSEN, Unit

UNKNOWN = "not recorded"
MOST_NAMED = 3


def refuse_different_settings(store: Store, units: Sequence[Unit]) -> None:
  """Compares how the numbers of one table were made.

  Raises:
    BiasjaxError: with different precisions or seeds.
  """
  for name in CHOSEN:
    first: dict[str, Unit] = {}
    for unit in units:
      first.setdefault(unit.settings[name], unit)
    if len(first) > 1:
      said = [f"{value or 'unknown'} ({_name(unit)})" for value, unit in first.items()]
      raise BiasjaxError(
        f"{store.workdir} holds numbers by more than one {name}, {' and '.join(said)}; one table does not "
        f"mix them: run what should not differ again with the others' --{name}, or in another --workdir"
      )


def refuse_different_networks(store: Store, units: Sequence[Unit]) -> None:
  """Compares the networks that are of one name.

  Raises:
    BiasjaxError: they are not one.
  """
  by_name: dict[str, list[Unit]] = collections.defaultdict(list)
  for unit in units:
    for other in by_name[unit.model]:
      if unit.another_network(other):
        raise BiasjaxError(
          f"{store.workdir} holds numbers of two networks under one name, {_name(other)} and {_name(unit)}; "
          "one row of a table does not mix them: measure one of them again, with all of these probes, or "
          "another --workdir's"
        )
    by_name[unit.model].append(unit)


def _name(unit: Unit) -> str:
  return f"{unit.model}, {unit.probe} on {unit.dataset}"


def refuse_different_images(store: Store, digests: Mapping[Unit, str]) -> None:
  """Compares what the units of each dataset were computed from.

  Args:
    store: where they are.
    digests: of the contents that each has seen, equal for equal ones; "" where that is not known.

  Raises:
    BiasjaxError: two of them have seen different images under the same names.
  """
  first: dict[str, Unit] = {}
  for unit in digests:
    if not digests[unit]:
      continue
    other = first.setdefault(unit.dataset, unit)
    if digests[other] != digests[unit]:  # also where only one of them could decode an image
      _refuse(store, other, unit)


def _refuse(store: Store, one: Unit, other: Unit) -> None:
  length, differ, first = store.manifest["datasets"][one.dataset]["length"], 0, 0
  for chunk in store.chunks(one.dataset):
    footers = [store.footer(unit, chunk) for unit in (one, other)]
    a, b = (footer.contents if footer else None for footer in footers)
    if a is None or b is None:
      continue
    at = np.flatnonzero((a != b) & (a != 0) & (b != 0)).tolist()
    first = first if differ or not at else chunk[0] + at[0]
    differ += len(at)
  if differ:
    names = one.model, other.model
    if one.model == other.model:
      names = f"{one.model}, {one.probe}", f"{other.model}, {other.probe}"
    raise BiasjaxError(
      f"{store.workdir}: {' and '.join(names)} have seen different images of {one.dataset}, {differ:,} of "
      f"{length:,}, e.g. example {first}: they were replaced between the runs; delete "
      f"{store.folder(one)} or {store.folder(other)}, whichever saw the wrong ones, and start that run again"
    )


def versions(units: Sequence[Unit]) -> list[str]:
  """Says so where the tables rest on several versions of biasjax."""
  models: dict[str, dict[str, None]] = collections.defaultdict(dict)
  for unit in units:
    models[unit.settings["version"] or UNKNOWN][unit.model] = None
  return _several("version of biasjax", models, "see CHANGELOG.md for numbers that differ")


def environments(found: Mapping[Unit, Sequence[Mapping[str, str]]]) -> list[str]:
  """What differs between the machines that computed what the tables rest on, a sentence each.

  Args:
    found: the different environments of each unit's files.
  """
  names = list(dict.fromkeys(name for of_unit in found.values() for known in of_unit for name in known))
  sentences = []
  for name in names:
    models: dict[str, dict[str, None]] = collections.defaultdict(dict)
    for unit, of_unit in found.items():
      for known in of_unit:
        models[known.get(name, UNKNOWN)][unit.model] = None
    sentences += _several(name.replace("_", " "), models, "last digits may differ")
  return sentences


def _several(what: str, models: Mapping[str, Mapping[str, None]], so: str) -> list[str]:
  if len(models) < 2:
    return []
  said = ", ".join(f"{value or 'none'} ({_some(list(of_value))})" for value, of_value in models.items())
  return [f"the tables rest on more than one {what}, {so}: {said}"]


def _some(names: Sequence[str]) -> str:
  more = len(names) - MOST_NAMED
  return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMED])} and {more} more"
