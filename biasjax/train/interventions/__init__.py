"""One file an intervention, found by its name: a module here with a function `make(strength, **options)`."""

import functools
import importlib
import math
import re

from biasjax import named, options
from biasjax.errors import BiasjaxError, suggestion
from biasjax.train.interventions.base import Intervention

__all__ = ["Intervention", "names", "parse"]
NONE = "none"
LARGEST = 3.4e38  # a strength is a float32 on the device
_JOINED = re.compile(r"(?<![\d.][eE])\+|\+(?!\d)")  # the "+" of 1e+15 joins nothing


@functools.cache
def names() -> tuple[str, ...]:
  """The names of all interventions, sorted.

  Raises:
    BiasjaxError: a file of the folder cannot be imported.
  """
  return named.modules(__name__, __path__)


def parse(spec: str) -> tuple[Intervention, ...]:
  """The interventions that a spec names, in the order in which they act.

  Args:
    spec: "NAME[:OPTION=VALUE...]=STRENGTH" joined by "+", such as "stylised=0.5+gaussian_noise=0.1"; "none"
      for no intervention.

  Raises:
    BiasjaxError: an unknown intervention or option, a strength that is no number from 0, one named twice, or
      two that do not go together.
  """
  if spec == NONE:
    return ()
  found = tuple(_one(part) for part in _JOINED.split(spec))
  repeated = sorted({i.name for i in found if [j.name for j in found].count(i.name) > 1})
  if repeated:
    raise BiasjaxError(f"interventions {spec!r}: {repeated[0]} is named twice")
  objectives = [i.name for i in found if i.objective is not None]
  if len(objectives) > 1:
    raise BiasjaxError(
      f"interventions {spec!r}: {objectives[0]} and {objectives[1]} both say what is minimised: keep one"
    )
  mixing = [i.name for i in found if i.mixes and i.strength]
  if objectives and mixing:
    raise BiasjaxError(
      f"interventions {spec!r}: {objectives[0]} needs the class of each example, and {mixing[0]} mixes them: "
      "keep one"
    )
  return found


@functools.lru_cache(maxsize=64)  # equal specs are equal interventions, whose steps are compiled once
def _one(part: str) -> Intervention:
  described, _, number = part.rpartition("=")
  name, *given = described.split(":")
  if name not in names():
    hint = suggestion(name or part, (NONE, *names()))
    raise BiasjaxError(f"interventions: {part!r} is not NAME=STRENGTH of a known intervention: {hint}")
  try:
    strength = float(number)
  except ValueError:
    strength = math.nan
  if not 0 <= strength <= LARGEST:
    raise BiasjaxError(f"interventions: {part!r}: the strength must be a number from 0")
  make = importlib.import_module(f"{__name__}.{name}").make
  asked = f"interventions: {part!r}"
  return named.made(asked, Intervention, make, strength, **options.parse(make, given, asked, name))
