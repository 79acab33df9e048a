"""Pictures that a network gets right, and wrong under a condition."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from biasjax.results.store import Store
from biasjax.results.unit import Unit

CLEAN = "clean"


@dataclasses.dataclass(frozen=True)
class Flip:
  """One of them.

  Attributes:
    model, dataset, probe, condition: what was asked.
    example_id: of the image.
    at: the image's place in the dataset, or a few before it where images are excluded.
    label: the right class.
    instead: what the network says under the condition.
  """

  model: str
  dataset: str
  probe: str
  condition: str
  example_id: str
  at: int
  label: int
  instead: int


def find(
  store: Store, unit: Unit, clean: Unit, conditions: Sequence[str], taken: Collection[str], most: int
) -> list[Flip]:
  """Of each condition the image of which the network was surest, until there are enough.

  Only the first chunk of examples is looked at.

  Args:
    store: where decisions are.
    unit: the probe that asks under conditions.
    clean: the same network's accuracy on the same images.
    conditions: in the order in which they are to be shown.
    taken: ids of images that are shown already.
    most: how many.

  Raises:
    BiasjaxError: stored decisions are damaged.
  """
  chunk = store.chunks(unit.dataset)[:1]
  if not chunk or not (store.has(unit, chunk[0]) and store.has(clean, chunk[0])):
    return []
  asked, plain = (store.load(of, chunk).frame(strings=True) for of in (unit, clean))
  plain = plain[plain["condition"] == CLEAN].reset_index(drop=True)
  sure = plain[plain["rank"] == 0].set_index("example_id")["confidence"]
  places: Mapping[str, int] = {name: at for at, name in enumerate(plain["example_id"])}
  taken, found = set(taken), []
  for condition in conditions:
    wrong = asked[(asked["condition"] == condition) & (asked["rank"] > 0)]
    wrong = wrong[wrong["example_id"].isin(sure.index) & ~wrong["example_id"].isin(taken)]
    if not len(wrong) or len(found) == most:
      continue
    row = wrong.iloc[int(pd.Series(sure.loc[wrong["example_id"]].to_numpy()).argmax())]
    name = str(row["example_id"])
    taken.add(name)
    where = (unit.model, unit.dataset, unit.probe, condition, name, places[name])
    found.append(Flip(*where, int(row["label"]), int(row["prediction"])))
  return found
