"""Decisions that a run stored beside its table, read through the store, which verifies them."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.results import conditions
from biasjax.results.store import Store
from biasjax.results.unit import SAMPLE, Unit


@dataclasses.dataclass(frozen=True)
class Observations:
  """What a run holds.

  Attributes:
    store: where it is.
    units: {(model, dataset, probe): unit}.
  """

  store: Store
  units: Mapping[tuple[str, str, str], Unit]

  def read(self, model: str, dataset: str, probe: str) -> pd.DataFrame | None:
    """Every observation of one unit, names and ids as text; None if there is none, or not of every image.

    Raises:
      BiasjaxError: a file is damaged.
    """
    unit = self.units.get((model, dataset, probe))
    if unit is None or SAMPLE in unit.key or self.store.missing(unit):
      return None
    return self.store.read(unit)[0]

  def images(self, model: str, dataset: str, probe: str) -> int:
    """How many images a unit has; 0 if there is none."""
    known = (model, dataset, probe) in self.units
    return self.store.manifest["datasets"][dataset]["length"] if known else 0

  def classes(self) -> dict[str, Mapping[int, str]]:
    """Dataset -> what its classes are called, by label."""
    kinds = {unit.dataset: str(unit.key.get("labels", "imagenet")) for unit in self.units.values()}
    named = {name: self.store.class_names(name, kind) for name, kind in kinds.items()}
    return {name: {label: ", ".join(of) for label, of in names.items()} for name, names in named.items()}

  def conditions_in_ids(self, model: str, dataset: str, probe: str) -> bool:
    """Whether ids are "<corruption>/<severity>/<image>", so that one image has many."""
    return self.units[model, dataset, probe].key.get("labels") in conditions.IN_IDS

  def accuracy(self, model: str, dataset: str, probe: str, column: str) -> pd.Series | None:
    """The share of decisions that are right for each image, of the conditions that a column is about.

    Args:
      model, dataset, probe: the unit.
      column: of the table; where it ends in the name of a condition only that one counts.

    Returns:
      float in [0, 1], indexed by the image's id; None as `read`.

    Raises:
      BiasjaxError: a file is damaged.
    """
    table = self.read(model, dataset, probe)
    if table is None:
      return None
    image, condition = table["example_id"], table["condition"]
    if self.conditions_in_ids(model, dataset, probe):
      condition, image = conditions.split(image)
    named = [name for name in condition.unique() if column.endswith(name)]
    mine = condition.eq(max(named, key=len)).to_numpy() if named else np.ones(len(table), bool)
    right = (table["rank"].to_numpy() == 0)[mine].astype(float)
    image = image.to_numpy()[mine]
    if len(set(image)) == len(image):
      return pd.Series(right, index=image)
    return pd.Series(right).groupby(image).mean()


def beside(table: str) -> Observations | None:
  """Those of the run that wrote `table`; None if there is no run.json.

  Raises:
    BiasjaxError: it is there and cannot be read.
  """
  folder = pathlib.Path(table).parent
  return of(Store(folder)) if (folder / "run.json").is_file() else None


def of(store: Store) -> Observations:
  """Those of a working directory.

  Raises:
    BiasjaxError: its run.json does not hold what it should.
  """
  try:
    units = {(unit.model, unit.dataset, unit.probe): unit for unit in store.units()}
    {name: store.manifest["datasets"][name]["length"] for _, name, _ in units}
  except (KeyError, TypeError) as error:
    path = store.workdir / "run.json"
    raise BiasjaxError(f"{path} cannot be read ({error}): mend it, or move it away") from error
  return Observations(store, units)
