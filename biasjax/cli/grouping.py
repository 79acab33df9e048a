"""How far groups of images are apart, from stored decisions: tables, a Pareto front, columns for a study."""

import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from biasjax import probes
from biasjax.data import annotations
from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.results import conditions, groups, pareto
from biasjax.results.store import Store, write_file
from biasjax.results.summary import summarise, write_tables
from biasjax.terminal import aligned, cell

ACCURACY, CLEAN = "accuracy", "clean"


def run(asked: Mapping[str, Any]) -> int:
  """Compares groups in what a working directory holds; returns the exit status.

  Writes groups.csv, disparity.csv, pareto.csv with a figure for each dataset, and keeps which image is of
  which group, so that results.csv has the disparities now and whenever tables are made again.

  Args:
    asked: `groups`, see `results.groups.chosen`; `annotations`, a file, or None; `workdir`; `probes`, whose
      decisions are compared, of which accuracy's make the front and the columns.

  Raises:
    BiasjaxError: a mistake in what was asked, or something cannot be read or written.
  """
  store = Store(asked["workdir"])
  wanted = [name for name in asked["probes"] if "@" not in name]
  divided = grouped(store, asked["groups"], annotated(asked))
  of_groups, compared, notes = groups.tables(store, divided, wanted)
  fronts, more = _fronts(store, divided)
  written = {"groups.csv": of_groups, "disparity.csv": compared}
  written |= {"pareto.csv": fronts} if len(fronts) else {}
  for name, table in written.items():
    write_file(store.workdir / name, table.to_csv(index=False).encode())
  for dataset, of in divided.items():
    groups.keep(store, dataset, of)
  write_tables(store, summarise(store, probes.get))
  print(text(compared, fronts))
  drawn = _drawn(store, fronts)
  for note in dict.fromkeys([*notes, *more]):
    warn(f"note: {note}")
  print(f"{store.workdir}: {', '.join([*written, *drawn])}; columns disparity/... of results.csv")
  return 0


def annotated(asked: Mapping[str, Any]) -> annotations.Annotations | None:
  """What --annotations names, if anything.

  Raises:
    BiasjaxError: it cannot be read.
  """
  return annotations.read(asked["annotations"]) if asked.get("annotations") else None


def grouped(store: Store, by: str, known: annotations.Annotations | None) -> dict[str, pd.Series]:
  """The group of each example of every dataset whose accuracy is there and that can be so divided.

  Raises:
    BiasjaxError: none can.
  """
  found: dict[str, pd.Series] = {}
  refused = None
  for unit in store.units():
    if unit.probe != ACCURACY or unit.dataset in found or store.missing(unit):
      continue
    observed = store.read(unit)[0].drop_duplicates("example_id")
    try:
      labels = str(unit.key.get("labels", "imagenet"))
      found[unit.dataset] = groups.chosen(
        by, labels, observed, unit.dataset, known, store.class_names(unit.dataset, labels)
      )
    except BiasjaxError as error:  # of another dataset it may be true
      refused = refused or error
  if not found:
    raise refused or BiasjaxError(f"--groups: {store.workdir} holds no whole run of the probe accuracy")
  return found


def _fronts(store: Store, grouped: Mapping[str, pd.Series]) -> tuple[pd.DataFrame, list[str]]:
  """pareto.csv: of each dataset that several networks were asked about; and notes."""
  found, notes = [], []
  for dataset, of in grouped.items():
    units = [u for u in store.units() if (u.dataset, u.probe) == (dataset, ACCURACY) and not store.missing(u)]
    if len(units) < 2:
      continue
    frames = {unit.model: store.read(unit)[0][["example_id", "rank"]] for unit in units}
    several = any(unit.key.get("labels") in conditions.IN_IDS for unit in units)
    if several or any(frame["example_id"].duplicated().any() for frame in frames.values()):
      notes.append(f"{dataset} asks about an image several times: no front is made of it")
      continue
    right, group = groups.together(frames, of)
    found.append(pareto.table(list(frames), right, group).assign(dataset=dataset))
  return pd.concat(found, ignore_index=True) if found else pd.DataFrame(), notes


def _drawn(store: Store, fronts: pd.DataFrame) -> list[str]:
  """The pictures of the fronts; none where --workdir is no local folder."""
  folder = pathlib.Path(store.workdir)
  if not len(fronts) or not folder.is_dir():
    return []
  from biasjax.report import pareto as picture  # only here: matplotlib takes its time

  return [path.name for path in picture.draw(fronts, folder)]


def text(compared: pd.DataFrame, fronts: pd.DataFrame) -> str:
  """A line for each network, dataset and condition; then who is on the front."""
  header = ["model", "dataset", "groups", "worst group", "gap, points", "by chance", "p", "rank disparity"]
  lines = [header]
  for row in compared.itertuples():
    plain = (row.probe, row.condition) == (ACCURACY, CLEAN)
    where = row.dataset if plain else f"{row.dataset}, {row.probe} {row.condition}"
    lines.append(
      [
        *(str(row.model), where, str(row.groups), str(row.worst), cell(row.gap, row.low, row.high)),
        *(f"{row.gap_by_chance:.1f}", f"{row.p:.4g}", f"{row.rank_disparity:.2f}"),
      ]
    )
  said = [aligned(lines)]
  for dataset, of in fronts.groupby("dataset", sort=False) if len(fronts) else ():
    front = of[of["front"]].sort_values("error")
    names = ", ".join(f"{row.model} ({100 * row.share_on_front:.0f} %)" for row in front.itertuples())
    said.append(f"{dataset}: {pareto.RULES['front']}: {names}; in brackets, in how many draws of images")
    strict = of.loc[of["front_strict"] & ~of["front"], "model"]
    if len(strict):
      said.append(f"also by the weaker rule, {pareto.RULES['front_strict']}: {', '.join(strict)}")
  return "\n".join(said)
