"""What a config's section `sweep` must say, whatever it sweeps: looked at before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from biasjax.cli import commands
from biasjax.errors import BiasjaxError, suggestion
from biasjax.messages import warn


def refuse_unknown(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
  """Refuses a setting that there is none of.

  Raises:
    BiasjaxError: as said.
  """
  unknown = sorted(set(given) - set(known))
  if unknown:
    raise BiasjaxError(f"--config: {where}.{unknown[0]} is unknown: {suggestion(unknown[0], known)}")


def need(where: str, value: Any, fine: bool, expected: str) -> None:
  """Refuses a value of another form than expected.

  Raises:
    BiasjaxError: it is not `fine`.
  """
  if not fine:
    raise BiasjaxError(f"--config: {where} is {value!r}; expected {expected}")


def whole(value: Any, least: int) -> bool:
  """Whether this is a whole number from `least`."""
  return isinstance(value, int) and not isinstance(value, bool) and value >= least


def listed(value: Any, fine: type | tuple[type, ...]) -> bool:
  """Whether this is a list, of such elements, and not empty."""
  return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, fine) for each in value)


def check(sweep: Mapping[str, Any], known: Sequence[str]) -> None:
  """What every kind of sweep has: `dataset`, `seeds`, and `measure`, a list of {"probes", "dataset"}.

  Args:
    sweep: the section.
    known: its settings, all of which are needed.

  Raises:
    BiasjaxError: one is unknown, missing, or of another form.
  """
  refuse_unknown("sweep", sweep, known)
  missing = [name for name in known if name not in sweep or sweep[name] in (None, "", [], (), {})]
  if missing:
    raise BiasjaxError(f"--config: sweep.{missing[0]} is needed")
  need("sweep.dataset", sweep["dataset"], isinstance(sweep["dataset"], str), "one dataset, as in --dataset")
  seeds = sweep["seeds"]
  numbers = isinstance(seeds, (list, tuple)) and all(whole(seed, 0) for seed in seeds)
  need(
    "sweep.seeds", seeds, numbers and len(set(seeds)) == len(seeds), "different whole numbers from 0, a list"
  )
  parts = sweep["measure"]
  need("sweep.measure", parts, listed(parts, Mapping), "{'probes': [...], 'dataset': [...]}, a list of them")
  for part in parts:
    for name in ("probes", "dataset"):
      need(f"sweep.measure: {name}", part.get(name), listed(part.get(name), str), "names, a list")


def names(train: Mapping[str, Any]) -> None:
  """Says that the `name` of a section `train` plays no part, where it has one."""
  if "name" in train:
    warn(f"note: train.name is {train['name']!r}, and plays no part: a sweep names its networks itself")


def measured(asked: Mapping[str, Any]) -> list[str]:
  """The names of what is measured, in its order, once it is there and its probes fit it.

  Raises:
    BiasjaxError: as `commands.measure` does before it computes anything.
  """
  found = []
  for part in asked["sweep"]["measure"]:
    refuse_unknown("sweep.measure", part, sorted({"probes", "dataset", *asked}))
    found += [source.name for source in commands.opened({**asked, **part})[0]]
  return found
