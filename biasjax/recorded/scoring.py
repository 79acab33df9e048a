"""Recorded decisions beside the networks that were probed: shape bias, accuracy, and who errs on what."""

import os
import pathlib

import pandas as pd
from etils import epath

from biasjax.recorded import people, trials
from biasjax.results.store import Store, write_file
from biasjax.terminal import aligned, cell


def score_trials(pattern: str, workdir: str | os.PathLike) -> str:
  """What recorded decisions say, and who errs on the same stimuli as whom; as text, for a terminal.

  Decisions about cue-conflict stimuli give shape bias: trials.csv and error_consistency.csv in `workdir`.
  Those of the other experiments of model-vs-human give accuracy by condition and consistency with people:
  people.csv and people_consistency.csv. The networks that have been probed there are compared with them.

  Raises:
    BiasjaxError: no file matches, one is no table of trials, or the folder cannot be written.
  """
  paths = trials.matching(pattern)
  others = [path for path in paths if people.experiment_of(path) not in (None, "cue-conflict")]
  conflict = [path for path in paths if path not in others]
  parts = [_score_conflict(conflict, epath.Path(workdir))] if conflict else []
  if others:
    known = [path for path in paths if people.experiment_of(path)]
    parts.append(_score_experiments(known, epath.Path(workdir)))
  return "\n\n".join(parts)


def _score_conflict(paths: list[pathlib.Path], workdir: epath.Path) -> str:
  recorded = trials.read_all(paths)
  table = trials.summarise(recorded)
  pairs = trials.consistency({**recorded, **_probed_decisions(workdir)})
  persons = [name for name, decisions in recorded.items() if trials.is_person(decisions)]
  write_file(workdir / "trials.csv", table.to_csv(index=False).encode())
  write_file(workdir / "error_consistency.csv", pairs.to_csv(index=False).encode())
  rows = [["file", "n_conflict", "n_shape", "n_texture", "shape bias"]]
  for r in table.itertuples():
    rows.append(
      [r.file, str(r.n_conflict), str(r.n_shape), str(r.n_texture), cell(r.shape_bias, r.low, r.high)]
    )
  if persons:
    rows += [[], ["observer", "error consistency with people (mean kappa)"]]
    rows += [[r.observer, cell(r.kappa)] for r in trials.with_people(pairs, persons).itertuples()]
  return aligned(rows)


def _score_experiments(paths: list[pathlib.Path], workdir: epath.Path) -> str:
  persons = [people.read(path) for path in paths]
  networks = []
  if (workdir / "run.json").exists():
    store = Store(workdir)
    for unit in store.units():
      about_people = unit.key.get("labels") == "model_vs_human" and unit.probe == "accuracy"
      if about_people and not store.missing(unit):
        networks += people.of_network(store.read(unit)[0], unit.model)
  accuracy, kappas = people.accuracy([*persons, *networks]), people.consistency(persons, networks)
  write_file(workdir / "people.csv", accuracy.to_csv(index=False).encode())
  write_file(workdir / "people_consistency.csv", kappas.to_csv(index=False).encode())
  return aligned(people.lines(kappas, sorted({table.attrs["observer"] for table in persons})))


def _probed_decisions(workdir: epath.Path) -> dict[str, pd.DataFrame]:
  """Model (on dataset) -> its decisions about cue-conflict stimuli, of what is complete in `workdir`."""
  if not (workdir / "run.json").exists():
    return {}
  store = Store(workdir)
  units = [unit for unit in store.units() if unit.probe == "shape" and not store.missing(unit)]
  return {f"{u.model} ({u.dataset})": trials.from_observations(store.read(u)[0]) for u in units}
