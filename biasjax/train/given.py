"""What is given of each training example beside its image: the class, and columns of `--annotations`."""

from collections.abc import Mapping

import numpy as np

from biasjax.data import annotations, opening
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention

LABEL, WEIGHT = "label", "weight"


def annotated(acting: Intervention | None) -> list[str]:
  """The columns of annotations that an intervention needs."""
  needs = acting.objective.needs if acting and acting.objective else ()
  return [name for name in needs if name != LABEL]


def columns(
  source: Source, acting: Intervention | None, path: str | None, *, part: bool = False
) -> tuple[Mapping[str, np.ndarray], str | None]:
  """(what the objective needs, as `Objective.prepare` takes it; the fingerprint of the annotations used).

  Args:
    source: what is trained on.
    acting: the intervention that brings the objective; None for plain training, which needs nothing.
    path: of the annotations; None for none.
    part: whether the source may be a part of what is annotated.

  Raises:
    BiasjaxError: as in `read`, or annotations lack an example, or are of another dataset.
  """
  needs = acting.objective.needs if acting and acting.objective else ()
  if not acting or not needs:
    return {}, None
  said = read(acting, path)  # what is wrong with it is said before all examples are read
  places = source.places or opening.scanned(source)
  found: dict[str, np.ndarray] = {}
  if LABEL in needs:
    found[LABEL] = np.array([place.label for place in places], np.int32)
  if said is None:
    return found, None
  said = said.of([place.example_id for place in places], source.location, part=part)
  for name in annotated(acting):
    column = said.columns[name]
    found[name] = column if name == WEIGHT else annotations.codes(column)[0]
  return found, said.fingerprint


def read(acting: Intervention | None, path: str | None) -> annotations.Annotations | None:
  """The annotations that an intervention needs; None where it needs none.

  Raises:
    BiasjaxError: there are none and some are needed, they cannot be read, or lack a column.
  """
  wanted = annotated(acting)
  if not acting or not wanted:
    return None
  if path is None:
    raise BiasjaxError(
      f"interventions: {acting.name} needs the {' and '.join(wanted)} of each example: give them with "
      f"--annotations=FILE, a CSV with the columns {annotations.ID},{','.join(wanted)}"
    )
  found = annotations.read(path)
  found.need(wanted, f"the intervention {acting.name}")
  return found
