"""How far a sample has come: what stored observations say so far, and what is still to be observed.

It follows from what is stored alone, chunk by chunk in order, so that a run that starts again, or another
process, or whoever makes the tables, finds the same. A chunk holds the conditions whose averages were not
known to the margin before it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from biasjax.errors import BiasjaxError
from biasjax.results.chunk import codes
from biasjax.results.store import Store
from biasjax.results.unit import SAMPLE, Unit
from biasjax.sampling import Estimate, Known, Watch, covariates, estimate

CLEAN = "accuracy"  # the probe that every image is asked: its answers are the covariates


class Population:
  """The images that could be decoded, in the order in which they are looked at, and what is known of each.

  Args:
    store: where observations are.
    unit: of the clean images, complete.

  Attributes:
    ids: str [n].
    known: of them.
  """

  def __init__(self, store: Store, unit: Unit):
    loaded = store.load(unit)
    table = loaded.table
    self.ids = np.array(table["example_id"].to_pylist(), object)
    right = table["rank"].to_numpy() == 0
    self.known = Known(covariates(right, table["confidence"].to_numpy(), table["nll"].to_numpy()))
    self._rows = {0: 0}
    for footer in loaded.footers:
      start, stop = footer.chunk
      self._rows[stop] = self._rows[start] + stop - start - len(footer.excluded)

  def rows(self, index: int) -> int:
    """How many of the dataset's images before the one at `index`, where a chunk begins, could be decoded."""
    return self._rows[index]


class Followed:
  """One model under one probe, of a random sample.

  Args:
    store: where observations are.
    unit: whose key says to which margin.
    population: of the dataset, as the model sees it.
    conditions: of the probe.
    further: {condition: float [m, 1]}, what cheaper probes said of the first images (`helpers`).

  Attributes:
    reached: index of the first image of which nothing is observed.
  """

  def __init__(
    self,
    store: Store,
    unit: Unit,
    population: Population,
    conditions: Sequence[str],
    further: Mapping[str, np.ndarray] | None = None,
  ):
    self.store, self.unit, self.population = store, unit, population
    self.further = further or {}
    self.reached = 0
    length = store.manifest["datasets"][unit.dataset]["length"]
    margin = unit.key[SAMPLE]["margin"] / 100
    self.watches = {name: Watch(margin, length) for name in conditions}
    self._right: dict[str, list[np.ndarray]] = {name: [] for name in conditions}
    self.advance()

  @property
  def wanted(self) -> tuple[str, ...]:
    """The conditions that are to be observed further."""
    return tuple(name for name, watch in self.watches.items() if not watch.done)

  @property
  def until(self) -> int:
    """Index up to which `wanted` are to be observed before anything is decided."""
    return min(self.watches[name].at for name in self.wanted)

  def outcomes(self, condition: str) -> np.ndarray:
    """Whether each image that was looked at is right, float64 [n]."""
    parts = self._right[condition]
    if len(parts) > 1:
      parts[:] = [np.concatenate(parts)]
    return parts[0] if parts else np.zeros(0)

  def estimate(self, condition: str) -> Estimate:
    """From all that was looked at."""
    return estimate(self.outcomes(condition), self.population.known, self.further.get(condition))

  def advance(self) -> None:
    """Takes in the chunks that are there beyond those that are known, as far as all of `wanted` has them.

    Raises:
      BiasjaxError: a chunk is damaged, or of other images or conditions than the sample goes on with.
    """
    for chunk in self.store.chunks(self.unit.dataset):
      if chunk[0] < self.reached:
        continue
      if not self.wanted or not self.store.has(self.unit, chunk):
        return
      self._take(chunk)
      self.reached = chunk[1]
      for name in self.wanted:
        if self.watches[name].at == self.reached:
          self.watches[name].look(self.estimate(name))

  def _take(self, chunk: tuple[int, int]) -> None:
    table = self.store.load(self.unit, [chunk]).table
    condition, names = codes(table["condition"])
    example, ids = codes(table["example_id"])
    start, stop = (self.population.rows(index) for index in chunk)
    expected = self.population.ids[start:stop]
    found = names.to_pylist()
    if set(found) != set(self.wanted) and stop > start:
      raise self._other(chunk, f"conditions ({', '.join(sorted(set(found) ^ set(self.wanted))[:3])})")
    right = table["rank"].to_numpy() == 0
    named = np.array(ids.to_pylist(), object)
    for at, name in enumerate(found):
      rows = condition == at
      if not np.array_equal(named[example[rows]], expected):
        raise self._other(chunk, "images")
      self._right[name].append(right[rows].astype(float))

  def _other(self, chunk: tuple[int, int], what: str) -> BiasjaxError:
    unit = self.unit
    return BiasjaxError(
      f"{self.store.folder(unit)}: examples {chunk[0]} to {chunk[1]} of {unit.model}, {unit.probe}, are of "
      f"other {what} than the sample goes on with: delete that folder and start the run again"
    )


@dataclasses.dataclass(frozen=True, eq=False)  # pandas compares attrs when tables are joined
class Sample:
  """What a table of a sample's observations is to be read with (`DataFrame.attrs`).

  Attributes:
    ids: str [n], all images that could be decoded, in the order in which they are looked at.
    known: of them.
    critical: standard errors that half of each condition's interval has.
    further: as of `Followed`.
  """

  ids: np.ndarray
  known: Known
  critical: Mapping[str, float]
  further: Mapping[str, np.ndarray]

  def __deepcopy__(self, memo) -> "Sample":
    return self  # pandas copies `attrs` with every table


def of(followed: Followed) -> Sample:
  """Of a sample that is complete."""
  critical = {name: watch.critical for name, watch in followed.watches.items()}
  return Sample(followed.population.ids, followed.population.known, critical, followed.further)


def population(store: Store, units: Mapping[str, Unit]) -> Population | None:
  """What samples of one model on one dataset rest on; None where the clean images are not all observed.

  Args:
    store: where observations are.
    units: of the model on the dataset, by probe.
  """
  clean = units.get(CLEAN)
  return None if clean is None or store.missing(clean) else Population(store, clean)


def helpers(unit: Unit) -> dict[str, tuple[str, str]]:
  """{condition: (probe, condition)} of the cheaper probes whose answers help; by the unit's key."""
  return {name: (of[0], of[1]) for name, of in unit.key[SAMPLE].get("helped_by", {}).items()}


def observed_by(
  store: Store, unit: Unit, population: Population, condition: str, followed: Followed | None
) -> np.ndarray:
  """What a helper said: whether each of the images that it was asked about is right, float [m, 1].

  Args:
    store: where observations are.
    unit: of the helper, which is complete.
    population: of the dataset.
    condition: of the helper.
    followed: of the helper, where it is of a sample itself.
  """
  if followed is not None:
    return followed.outcomes(condition)[:, None]
  table = store.load(unit).table
  rows = np.array(table["condition"].to_pylist(), object) == condition
  if not np.array_equal(np.array(table["example_id"].to_pylist(), object)[rows], population.ids):
    raise BiasjaxError(f"{store.folder(unit)}: it has other images than the clean ones: start the run again")
  return (table["rank"].to_numpy()[rows] == 0).astype(float)[:, None]
