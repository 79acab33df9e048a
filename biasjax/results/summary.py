"""From stored observations to tables: results.csv, metrics.csv and excluded.csv (docs/results.md)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.results import across, mixing
from biasjax.results.store import SETTINGS, Store, Unit, write_file

# What a table holds of a metric (`probes.base.Metric`), besides its name.
NUMBERS = ("value", "low", "high", "n", "chance", "flag", "detail")


@runtime_checkable
class Summarised(Protocol):
  """What tables need of a probe (`probes.base.Probe`)."""

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
    BiasjaxError: observations are damaged, none are complete, or they were made with different settings or
      of different images.
  """
  store.look_again()
  rows, excluded, incomplete = [], {}, []
  contents: dict[Unit, str] = {}
  machines: dict[Unit, Sequence[Mapping[str, str]]] = {}
  units = {(unit.model, unit.dataset, unit.probe): unit for unit in store.units()}
  for (model, dataset, name), of_name in units.items():
    probe = get_probe(name, of_name.key["preprocess"]["crop"])
    wanted = {other: units.get((model, dataset, other)) for other in (name, *probe.needs)}
    lacking = [other for other, unit in wanted.items() if unit is None or store.missing(unit)]
    if lacking:
      incomplete.append(
        f"{model}, {name} on {dataset} lacks observations of {' and '.join(lacking)}: "
        "run it to the end to have it in the tables"
      )
      continue
    observations = {}
    for other in wanted:
      unit = units[model, dataset, other]
      try:
        loaded = store.load(unit)
      except BiasjaxError as error:
        incomplete.append(f"{model}, {other} on {dataset}: {error}")
        break
      observations[other] = loaded.frame(strings=True)
      observations[other].attrs["labels"] = unit.key.get("labels", "imagenet")
      excluded.setdefault(dataset, {}).update(loaded.excluded)
      contents[unit], machines[unit] = loaded.contents, loaded.environments
    if len(observations) < len(wanted):
      continue
    if not len(observations[name]):
      raise BiasjaxError(f"{model}, {name} on {dataset}: no image could be decoded")
    for metric in probe.summarise(observations):
      column = _column(metric.name, dataset, store.manifest["datasets"][dataset].get("incomplete", False))
      numbers = (getattr(metric, number) for number in NUMBERS)
      rows.append((model, dataset, name, column, *numbers, *of_name.settings.values()))
  if not rows:
    raise BiasjaxError(f"{store.workdir} holds nothing complete: {incomplete[0] if incomplete else 'no run'}")
  mixing.refuse_different_settings(store, list(contents))
  mixing.refuse_different_images(store, list(contents), contents)
  metrics = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", *NUMBERS, *SETTINGS])
  metrics = pd.concat([metrics, _with_settings(across.derive(metrics), metrics)], ignore_index=True)
  notes = [
    f"{dataset}: {note}"
    for dataset, known in sorted(store.manifest["datasets"].items())
    for note in known.get("notes", ())
  ]
  notes += mixing.versions(list(contents)) + mixing.environments(machines)
  return Summary(metrics, {k: v for k, v in excluded.items() if v}, incomplete, notes)


def _column(name: str, dataset: str, incomplete: bool) -> str:
  """The name of a metric in tables; of a dataset that is not whole, no number is called like the whole's."""
  if not incomplete:
    return name.format(dataset=dataset)
  marked = f"{dataset}-incomplete"
  return name.format(dataset=marked) if "{dataset}" in name else f"{name}@{marked}"


def _with_settings(derived: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
  """Rows that follow from a model's others, with what these were made with; several joined by "; "."""
  joined = metrics.groupby("model")[list(SETTINGS)].agg(lambda values: "; ".join(dict.fromkeys(values)))
  return derived.assign(**{name: derived["model"].map(joined[name]) for name in SETTINGS})


def wide(metrics: pd.DataFrame) -> pd.DataFrame:
  """A row for each model and a column for each metric, named and scaled as in the paper's table.

  Metrics whose names do not hold the dataset (the biases) come from one dataset; where several have been
  probed, the others' columns end in "@dataset".
  """
  owner = {metric: _preferred(set(rows["dataset"])) for metric, rows in metrics.groupby("metric")}
  own = metrics["dataset"].to_numpy() == np.array([owner[metric] for metric in metrics["metric"]])
  column = np.where(own, metrics["metric"], metrics["metric"] + "@" + metrics["dataset"])
  table = metrics.assign(column=column)
  order = list(dict.fromkeys(table["column"]))
  return table.pivot(index="model", columns="column", values="value")[order].reset_index()


def _preferred(datasets: set[str]) -> str:
  return "imagenet" if "imagenet" in datasets else min(datasets)


def write_tables(store: Store, summary: Summary) -> None:
  """Writes results.csv (wide), metrics.csv (with intervals and counts) and excluded.csv (images left out)."""
  left_out = [
    (dataset, image, reason)
    for dataset, images in sorted(summary.excluded.items())
    for image, reason in sorted(images.items())
  ]
  tables = {
    "results.csv": wide(summary.metrics),
    "metrics.csv": summary.metrics.drop(columns="detail"),
    "excluded.csv": pd.DataFrame(left_out, columns=["dataset", "example_id", "reason"]),
  }
  for name, table in tables.items():
    write_file(store.workdir / name, table.to_csv(index=False).encode())
