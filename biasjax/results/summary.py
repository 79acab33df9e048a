"""From stored observations to tables: results.csv, metrics.csv and excluded.csv (docs/results.md)."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa

from biasjax import named
from biasjax.errors import BiasjaxError
from biasjax.results import across, groups, kept, mixing, sampled
from biasjax.results.kept import Kept
from biasjax.results.sampled import Followed, Population
from biasjax.results.store import Loaded, Store, write_file
from biasjax.results.unit import SAMPLE, SETTINGS, Unit

# What a table holds of a metric (`probes.base.Metric`), besides its name; of a sample, more.
MEASURED = ("value", "low", "high", "n", "chance", "flag", "detail")
INCOMPLETE = "-incomplete"  # ends columns of a benchmark of which a part is there
NUMBERS = (*MEASURED, "margin", "effective_n", "estimator", "correlation")


@runtime_checkable
class Summarised(Protocol):
  """What tables need of a probe (`probes.base.Probe`)."""

  @property
  def conditions(self) -> Mapping[str, Any]:
    """By name."""
    ...

  @property
  def needs(self) -> Sequence[str]:
    """The probes whose observations `summarise` wants beside its own."""
    ...

  @property
  def summarise(self) -> Callable[[Mapping[str, pd.DataFrame]], Sequence[Any]]:
    """Observations by probe -> metrics (`probes.base.Metric`)."""
    ...


@dataclasses.dataclass(frozen=True)
class Summary:
  """Every number that follows from stored observations.

  Attributes:
    metrics: columns model, dataset, probe, metric, `NUMBERS` and `SETTINGS`; sorted by model and dataset.
    excluded: {dataset: {example id: reason}} of the images that could not be decoded.
    incomplete: what is left out because chunks are missing, a sentence each.
    notes: what numbers of a dataset should be read with, a sentence each.
  """

  metrics: pd.DataFrame
  excluded: dict[str, dict[str, str]]
  incomplete: list[str]
  notes: list[str] = dataclasses.field(default_factory=list)


def summarise(store: Store, get_probe: Callable[[str, int], Summarised]) -> Summary:
  """Summarises what is complete; no model and no device is needed.

  Args:
    store: the observations.
    get_probe: (name, pixels of a side) -> probe, for its summary.

  Raises:
    BiasjaxError: observations are damaged, none are complete, or they were made with different settings, of
      different images, or by several networks of one name.
  """
  with _memory_of_the_system():
    return _summarised(store, get_probe)


@contextlib.contextmanager
def _memory_of_the_system() -> Iterator[None]:
  """Arrow's own allocator gives large blocks back at once, and gets them anew: up to half of the time."""
  before = pa.default_memory_pool()
  pa.set_memory_pool(pa.system_memory_pool())
  try:
    yield
  finally:
    pa.set_memory_pool(before)


def _summarised(store: Store, get_probe: Callable[[str, int], Summarised]) -> Summary:
  store.look_again()
  rows, incomplete, used = [], [], {}
  units = {(unit.model, unit.dataset, unit.probe): unit for unit in store.units()}
  for (model, dataset), names in _grouped(units).items():
    reader = _Reader(store, {name: units[model, dataset, name] for name in names})
    called: dict[str, str] = {}  # column -> probe
    for name in names:
      unit = units[model, dataset, name]
      probe = get_probe(name, unit.key["preprocess"]["crop"])
      lacking = [of for of in (name, *probe.needs) if not reader.complete(of, get_probe)]
      if lacking:
        incomplete.append(
          f"{model}, {name} on {dataset} lacks observations of {' and '.join(lacking)}: "
          "run it to the end to have it in the tables"
        )
        continue
      try:
        used[unit] = _metrics(reader, name, probe)
      except BiasjaxError as error:
        incomplete.append(f"{model}, {name} on {dataset}: {error}")
        continue
      partial = store.manifest["datasets"][dataset].get("incomplete", False)
      named = [_column(metric, dataset, partial) for metric, *_ in used[unit].metrics]
      if clash := taken(called, named, name):
        del used[unit]
        incomplete.append(f"{model}, {name} on {dataset}: {clash}")
        continue
      for column, (_, *numbers) in zip(named, used[unit].metrics, strict=True):
        rows.append((model, dataset, name, column, *numbers, *unit.settings.values()))
    try:
      grouping = groups.kept(store, dataset)
    except BiasjaxError as error:
      grouping = None
      incomplete.append(str(error))
    answered = units.get((model, dataset, "accuracy"))
    if grouping is not None and answered is not None and answered in used:
      for metric, of in groups.rows(grouping, reader.frame("accuracy")):
        column = _column(metric, dataset, store.manifest["datasets"][dataset].get("incomplete", False))
        numbers = (of.get(number, "" if number == "estimator" else math.nan) for number in NUMBERS)
        rows.append((model, dataset, groups.PROBE, column, *numbers, *answered.settings.values()))
  if not rows:
    raise BiasjaxError(f"{store.workdir} holds nothing complete: {incomplete[0] if incomplete else 'no run'}")
  mixing.refuse_different_settings(store, list(used))
  mixing.refuse_different_networks(store, list(used))
  mixing.refuse_different_images(store, {unit: of.contents for unit, of in used.items()})
  metrics = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", *NUMBERS, *SETTINGS])
  metrics = pd.concat([metrics, _with_settings(across.derive(metrics), metrics)], ignore_index=True)
  notes = [
    f"{dataset}: {note}"
    for dataset, known in sorted(store.manifest["datasets"].items())
    for note in known.get("notes", ())
  ]
  notes += mixing.versions(list(used))
  notes += mixing.environments({unit: of.environments for unit, of in used.items()})
  excluded: dict[str, dict[str, str]] = {}
  for unit, of in used.items():
    if of.excluded:
      excluded.setdefault(unit.dataset, {}).update(of.excluded)
  return Summary(metrics, excluded, incomplete, notes)


def _grouped(units: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], list[str]]:
  """(model, dataset) -> the probes that it was asked, in order."""
  grouped: dict[tuple[str, str], list[str]] = {}
  for model, dataset, probe in units:
    grouped.setdefault((model, dataset), []).append(probe)
  return grouped


class _Reader:
  """The observations of one model on one dataset, each read at most once; `units` are by their probes."""

  def __init__(self, store: Store, units: Mapping[str, Unit]):
    self.store, self.units = store, units
    self._digests: dict[str, str] = {}
    self._loaded: dict[str, Loaded] = {}
    self._frames: dict[str, pd.DataFrame] = {}
    self._population: Population | None = None
    self._followed: dict[str, Followed] = {}

  def complete(self, probe: str, get_probe: Callable[[str, int], Summarised]) -> bool:
    """Whether everything is observed, or, of a sample, as much as its margin wants."""
    unit = self.units.get(probe)
    if unit is None or SAMPLE not in unit.key:
      return unit is not None and not self.store.missing(unit)
    if probe not in self._followed:
      self._population = self._population or sampled.population(self.store, self.units)
      needed = sampled.helpers(unit)
      if self._population is None or not all(self.complete(of, get_probe) for of, _ in needed.values()):
        return False
      further = {
        name: sampled.observed_by(
          self.store, self.units[of], self._population, condition, self._followed.get(of)
        )
        for name, (of, condition) in needed.items()
      }
      conditions = tuple(get_probe(probe, unit.key["preprocess"]["crop"]).conditions)
      self._followed[probe] = Followed(self.store, unit, self._population, conditions, further)
    return not self._followed[probe].wanted

  def digest(self, probe: str) -> str:
    """Of the files."""
    if probe not in self._digests:
      self._digests[probe] = self.store.digest(self.units[probe])
    return self._digests[probe]

  def loaded(self, probe: str) -> Loaded:
    """The observations as they are stored."""
    if probe not in self._loaded:
      self._loaded[probe] = self.store.load(self.units[probe])
      self._digests[probe] = self._loaded[probe].digest
    return self._loaded[probe]

  def frame(self, probe: str) -> pd.DataFrame:
    """The observations as `summarise` of a probe takes them."""
    if probe not in self._frames:
      frame = self.loaded(probe).frame()
      frame.attrs["labels"] = self.units[probe].key.get("labels", "imagenet")
      frame.attrs["classes"] = self.units[probe].key.get("classes")
      if probe in self._followed:
        frame.attrs[SAMPLE] = sampled.of(self._followed[probe])
      self._frames[probe] = frame
    return self._frames[probe]


def observed(
  store: Store, units: Sequence[Unit], get_probe: Callable[[str, int], Summarised]
) -> dict[str, pd.DataFrame]:
  """Complete observations of one model on one dataset, by probe, as `summarise` of a probe takes them.

  Args:
    store: where they are.
    units: of the model on the dataset.
    get_probe: as of `summarise`.

  Raises:
    BiasjaxError: observations are damaged.
  """
  reader = _Reader(store, {unit.probe: unit for unit in units})
  complete = [unit.probe for unit in units if reader.complete(unit.probe, get_probe)]
  return {probe: reader.frame(probe) for probe in complete}


def unfinished(
  store: Store, units: Sequence[Unit], get_probe: Callable[[str, int], Summarised]
) -> list[Unit]:
  """Those of `units` that are to be observed further."""
  registered = {(unit.model, unit.dataset, unit.probe): unit for unit in store.units()}
  left = []
  for (model, dataset), names in _grouped((unit.model, unit.dataset, unit.probe) for unit in units).items():
    mine = {of: unit for (owner, where, of), unit in registered.items() if (owner, where) == (model, dataset)}
    reader = _Reader(store, mine)
    left += [mine[name] for name in names if not reader.complete(name, get_probe)]
  return left


def _metrics(reader: _Reader, name: str, probe: Summarised) -> Kept:
  """What is kept of a unit, if nothing has changed since; else made again, and kept.

  Raises:
    BiasjaxError: observations are damaged, or there are none.
  """
  unit, code = reader.units[name], kept.code_of(probe.summarise)
  of_sample = [sampled.CLEAN, *(of for of, _ in sampled.helpers(unit).values())] if SAMPLE in unit.key else []
  wanted = tuple(dict.fromkeys((name, *probe.needs, *of_sample)))
  found = kept.find(reader.store, unit) if code else None
  if found and found.code == code and found.read == {of: reader.digest(of) for of in wanted}:
    return found
  observations = {of: reader.frame(of) for of in wanted}
  loaded = reader.loaded(name)
  if not len(observations[name]):
    image, reason = next(iter(loaded.excluded.items()), ("", ""))
    raise BiasjaxError(f"no image could be decoded{f', e.g. {image}: {reason}' if image else ''}")
  metrics = said(probe, observations)
  read = {of: reader.digest(of) for of in wanted}
  contents = "" if SAMPLE in unit.key else loaded.contents
  made = Kept(code, read, metrics, loaded.excluded, contents, loaded.environments)
  if code:
    kept.keep(reader.store, unit, made)
  return made


def said(probe: Summarised, observations: Mapping[str, pd.DataFrame]) -> list[tuple[Any, ...]]:
  """The metrics of observations: (name, *`NUMBERS`) of each, as Python's own strings and numbers.

  Args:
    probe: the one that says them; its `summarise` may be anybody's.
    observations: of one model on one dataset, by probe.

  Raises:
    BiasjaxError: `summarise` fails, or gives something else.
  """
  given = named.answer("its summarise", probe.summarise, observations)
  page = "(docs/adding-a-probe.md)"
  found = list(given) if isinstance(given, Iterable) else [given]
  if not all(hasattr(metric, number) for metric in found for number in ("name", *NUMBERS)):
    raise BiasjaxError(f"its summarise gives {type(given).__name__}, no list of Metric {page}")
  metrics = [(metric.name, *map(_plain, (getattr(metric, number) for number in NUMBERS))) for metric in found]
  for name, *numbers in metrics:
    try:
      name.format(dataset="")
    except Exception as error:  # no text, or braces that name something else
      raise BiasjaxError(
        f"its summarise calls a number {name!r}: expected a text, in braces {{dataset}} only {page}"
      ) from error
    for number, value in zip(NUMBERS, numbers, strict=True):
      if not isinstance(value, str if number in ("flag", "estimator") else int | float):
        expected = "a text" if number in ("flag", "estimator") else "a number"
        raise BiasjaxError(
          f"its summarise gives {type(value).__name__} as {number} of {name}, not {expected} {page}"
        )
  return metrics


def taken(called: dict[str, str], named: Iterable[str], probe: str) -> str:
  """Enters what a probe's numbers are called; what is wrong with it, where one is called so already, else "".

  Args:
    called: number -> probe, of one model and dataset so far.
    named: the probe's numbers.
    probe: its name.
  """
  mine: dict[str, str] = {}
  for name in named:
    if other := called.get(name) or mine.get(name):
      twice = "twice" if other == probe else f"as {other} does"
      return f"it calls a number {name!r} {twice}: each needs a name of its own (docs/adding-a-probe.md)"
    mine[name] = probe
  called |= mine
  return ""


def _plain(value: Any) -> Any:
  """A number as Python has it, which JSON keeps to the last bit; also of an array that is one number."""
  return value.item() if hasattr(value, "item") and np.shape(value) == () else value


def _column(name: str, dataset: str, incomplete: bool) -> str:
  """The name of a metric in tables; of a dataset that is not whole, no number is called like the whole's."""
  if not incomplete:
    return name.format(dataset=dataset)
  marked = f"{dataset}{INCOMPLETE}"
  return name.format(dataset=marked) if "{dataset}" in name else f"{name}@{marked}"


def of_whole(column: str, dataset: str) -> str:
  """What a metric, as tables name it, is called where its dataset is whole."""
  marked = f"{dataset}{INCOMPLETE}"
  return column.removesuffix(f"@{marked}").replace(marked, dataset)


def _with_settings(derived: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
  """Rows that follow from a model's others, with what these were made with; several joined by "; "."""
  joined = metrics.groupby("model")[list(SETTINGS)].agg(lambda values: "; ".join(dict.fromkeys(values)))
  return derived.assign(**{name: derived["model"].map(joined[name]) for name in SETTINGS})


def wide(metrics: pd.DataFrame) -> pd.DataFrame:
  """A row for each model and a column for each metric, named and scaled as in the paper's table.

  Metrics whose names do not hold the dataset (the biases) come from one dataset; where several have been
  probed, the others' columns end in "@dataset".
  """
  table = metrics.assign(column=columns(metrics))
  order = list(dict.fromkeys(table["column"]))
  return table.pivot(index="model", columns="column", values="value")[order].reset_index()


def columns(metrics: pd.DataFrame) -> np.ndarray:
  """What each row of `metrics` is called as a column of `wide`; str [rows]."""
  return np.where(across.own(metrics), metrics["metric"], metrics["metric"] + "@" + metrics["dataset"])


def write_tables(store: Store, summary: Summary) -> None:
  """Writes results.csv (wide), metrics.csv (with intervals and counts) and excluded.csv (images left out)."""
  left_out = [
    (dataset, image, reason)
    for dataset, images in sorted(summary.excluded.items())
    for image, reason in sorted(images.items())
  ]
  tables = {
    "results.csv": wide(summary.metrics),
    "metrics.csv": summary.metrics,
    "excluded.csv": pd.DataFrame(left_out, columns=["dataset", "example_id", "reason"]),
  }
  for name, table in tables.items():
    write_file(store.workdir / name, table.to_csv(index=False).encode())
