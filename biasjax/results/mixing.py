"""Whether numbers that stand in one table were made of the same images, and by the same machine."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from biasjax.errors import BiasjaxError
from biasjax.results.store import Store, Unit

UNKNOWN = "not recorded"
MOST_NAMED = 3


def refuse_different_images(store: Store, units: Sequence[Unit], digests: Mapping[Unit, str]) -> None:
  """Compares what the units of each dataset were computed from.

  Args:
    store: where they are.
    units: that the tables rest on.
    digests: of the contents that each has seen, equal for equal ones; "" where that is not known.

  Raises:
    BiasjaxError: two of them have seen different images under the same names.
  """
  first: dict[str, Unit] = {}
  for unit in units:
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
    if len(models) > 1:
      said = [f"{value or 'none'} ({_some(list(of_value))})" for value, of_value in models.items()]
      sentences.append(
        f"the tables rest on more than one {name.replace('_', ' ')}, so last digits may differ: "
        + ", ".join(said)
      )
  return sentences


def _some(names: Sequence[str]) -> str:
  more = len(names) - MOST_NAMED
  return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMED])} and {more} more"
