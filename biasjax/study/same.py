"""Networks that are in a table under more than one name, which count once: equal weights are one observation.

A network that counts twice makes every p too small and every interval too narrow, like any pseudo-replicate.
"""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.study.stored import Observations
from biasjax.study.table import Table

FEWEST = 3  # numbers; fewer may be alike by chance
MOST_NAMED = 3


def once(table: Table, observed: Observations | None) -> Table:
  """The table without rows of a network that is there under an earlier name, with notes, and `same`.

  Networks are the same where the run beside the table measured equal weights in the same way. Where no run
  says what was measured, models that have every number in common are named, and all count.

  Args:
    table: of `table.read` or `references.read`.
    observed: what the run beside it has stored.
  """
  signatures = _signatures(observed, [model for model in table.frame.index if model not in table.beside])
  groups: dict[object, list[str]] = collections.defaultdict(list)
  for model, signature in signatures.items():
    groups[signature].append(model)
  same = {model: first for first, *others in groups.values() for model in others}
  kept = [model for model in table.frame.index if model not in same]
  notes = [
    f"{_named(others)} {'has' if len(others) == 1 else 'have'} the weights of {first}, measured in the same "
    "way: one network, which counts once."
    for first, *others in groups.values()
    if others
  ]
  frame = table.frame.loc[kept]
  notes += [
    f"{_named(models)} have the same {n} numbers, every one that they have: if they are one network keep one "
    "of them, which counts twice otherwise."
    for models, n in _alike(frame.drop(index=list(signatures), errors="ignore"))
  ]
  return dataclasses.replace(
    table,
    frame=frame,
    category=table.category.loc[kept],
    notes=(*table.notes, *notes),
    intervals=table.intervals[~table.intervals["model"].isin(list(same))].reset_index(drop=True),
    same=same,
  )


def _signatures(observed: Observations | None, models: Sequence[str]) -> Mapping[str, object]:
  """{model: what it is and how it was preprocessed}, of those whose decisions a run has stored."""
  known: dict[str, set[tuple[str, ...]]] = {}
  for unit in observed.units.values() if observed else ():
    if unit.model in models and unit.key.get("model"):
      how = json.dumps(unit.key.get("preprocess"), sort_keys=True)
      known.setdefault(unit.model, set()).add((str(unit.key["model"]), unit.dataset, how))
  return {model: frozenset(known[model]) for model in models if model in known}


def _alike(frame: pd.DataFrame) -> list[tuple[list[str], int]]:
  """Models [2 or more] whose rows are equal, and how many numbers these have."""
  finite = np.isfinite(frame.to_numpy(float)).sum(axis=1)
  groups: dict[bytes, list[int]] = collections.defaultdict(list)
  for place, row in enumerate(frame.to_numpy(float) + 0.0):  # no -0
    groups[row.tobytes()].append(place)
  alike = [of for of in groups.values() if len(of) > 1 and finite[of[0]] >= FEWEST]
  return [([str(frame.index[i]) for i in of], int(finite[of[0]])) for of in alike]


def _named(models: Sequence[str]) -> str:
  more = f" and {len(models) - MOST_NAMED} more" if len(models) > MOST_NAMED else ""
  return ", ".join(models[:MOST_NAMED]) + more
