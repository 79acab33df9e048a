"""Recorded decisions beside the networks that were probed: shape bias, accuracy, and who errs on what."""

import os
from collections.abc import Collection, Sequence

import pandas as pd
from etils import epath

from biasjax.recorded import files, people, trials
from biasjax.results.store import Store, write_file
from biasjax.results.unit import Unit
from biasjax.terminal import aligned, cell, fitting


def score_trials(pattern: str, workdir: str | os.PathLike) -> str:
  """What recorded decisions say, and who errs on the same stimuli as whom; as text, for a terminal.

  Writes into `workdir`: people.csv, accuracy by observer and condition; people_consistency.csv, error
  consistency with people; and of cue-conflict stimuli trials.csv, shape bias of each file, and
  error_consistency.csv, of each two observers. The networks that have been probed there are compared with the
  recorded observers.

  Raises:
    BiasjaxError: no file matches, one is no table of trials, or the folder cannot be written.
  """
  workdir = epath.Path(workdir)
  paths = files.matching(pattern)
  recordings = dict(zip(files.names(paths), map(files.read, paths), strict=True))
  observers, notes = files.by_observer(recordings.values())
  notes = [*(note for recording in recordings.values() for note in files.notes_on(recording)), *notes]
  probed = _probed(workdir)

  parts, written = [], {}
  conflict = {
    name: table for name, table in recordings.items() if table.attrs["experiment"] == files.CONFLICT
  }
  if conflict:
    mine = [trials.decisions_of(t) for t in observers if t.attrs["experiment"] == files.CONFLICT]
    decisions = {table.attrs["observer"]: table for table in mine}
    persons, _ = people.split(mine)
    # A row that is there again is one trial; a stimulus that is, with another answer, is another decision.
    trial = ["observer", "session", "image", "response"]
    once = {name: t[~t.duplicated(trial)] for name, t in conflict.items()}
    biases = trials.summarise({name: trials.decisions_of(t) for name, t in once.items()}, persons)
    networks = {
      f"{u.model} ({u.dataset})": trials.from_observations(t) for u, t in probed if u.probe == "shape"
    }
    pairs = trials.consistency({**decisions, **networks})
    written |= {"trials.csv": biases, "error_consistency.csv": pairs}
    parts.append(_biases(biases))
    notes += trials.notes_on(pairs)

  networks = _networks(probed)
  persons, others = people.split(renamed(observers, {table.attrs["observer"] for table in networks}))
  accuracy = people.accuracy(persons, [*others, *networks])
  kappas = people.consistency(persons, [*others, *networks])
  written |= {"people.csv": accuracy, "people_consistency.csv": kappas}
  notes += people.notes_on(kappas)
  parts += [_who(persons, [*others, *networks]), *_beside_people(accuracy, kappas)]
  parts += ["\n".join(f"note: {note}" for note in notes)] if notes else []
  for name, table in written.items():
    write_file(workdir / name, table.to_csv(index=False).encode())
  return "\n\n".join([*parts, f"{workdir}: {', '.join(written)}"])


def _probed(workdir: epath.Path) -> list[tuple[Unit, pd.DataFrame]]:
  """What is complete in `workdir` about stimuli that people have seen: units and their observations."""
  if not (workdir / "run.json").exists():
    return []
  store = Store(workdir)
  asked = (("accuracy", "model_vs_human"), ("shape", "cue_conflict"))
  units = [u for u in store.units() if (u.probe, u.key.get("labels")) in asked and not store.missing(u)]
  return [(unit, store.read(unit)[0]) for unit in sorted(units, key=lambda unit: unit.probe)]


def _networks(probed: Sequence[tuple[Unit, pd.DataFrame]]) -> list[pd.DataFrame]:
  """Each probed network's decisions by experiment."""
  asked = []
  for unit, observations in probed:
    if unit.probe == "shape":
      tables = [_as_experiment(trials.from_observations(observations), unit.model)]
    else:
      tables = people.of_network(observations, unit.model)
    asked += [(unit.model, unit.dataset, table.attrs["experiment"], table) for table in tables]
  found = []
  for observer, experiment, table in files.of_datasets(asked):
    table.attrs = {"observer": observer, "experiment": experiment}
    found.append(table)
  return found


def _as_experiment(decisions: pd.DataFrame, model: str) -> pd.DataFrame:
  """Decisions about cue-conflict stimuli as those of an experiment, where the shape is right."""
  table = pd.DataFrame(
    {
      "stimulus": [files.stimulus(name, files.CONFLICT) for name in decisions["image"]],
      "condition": files.CONFLICT,
      "right": (decisions["response"] == decisions["shape"]).to_numpy(bool),
    }
  )
  table.attrs = {"observer": model, "experiment": files.CONFLICT}
  return table


def renamed(observers: Sequence[pd.DataFrame], taken: Collection[str]) -> list[pd.DataFrame]:
  """The recorded observers, of whom those that are called like a network that was probed say so."""
  found = []
  for table in observers:
    name = table.attrs["observer"]
    found.append(table.copy())
    found[-1].attrs["observer"] = f"{name} (recorded)" if name in taken else name
  return found


def _biases(table: pd.DataFrame) -> str:
  rows = [["file", "n_conflict", "n_shape", "n_texture", "shape bias"]]
  for r in table.itertuples():
    rows.append(
      [r.file, str(r.n_conflict), str(r.n_shape), str(r.n_texture), cell(r.shape_bias, r.low, r.high)]
    )
  return aligned(rows)


def _who(persons: Sequence[pd.DataFrame], networks: Sequence[pd.DataFrame]) -> str:
  """Who is taken for a person, and who for a network."""
  kinds = []
  for kind, tables in (("people", persons), ("networks", networks)):
    names = sorted({table.attrs["observer"] for table in tables})
    kinds.append(f"{kind}: {', '.join(names) or 'none'}")
  hint = "" if persons else ' (of a person, subj begins with "subject")'
  return "\n".join([kinds[0] + hint, kinds[1]])


def _beside_people(accuracy: pd.DataFrame, kappas: pd.DataFrame) -> list[str]:
  """A table of kappas and one of accuracies: experiments side by side, people first, then the networks."""
  ood = accuracy[accuracy["condition"] == people.OOD]
  shown = (
    ("error consistency with people: mean kappa, 95 % intervals, stimuli shared", kappas, "kappa"),
    ("accuracy out of distribution, 95 % intervals", ood, "accuracy"),
  )
  parts = []
  for title, table, value in shown:
    table = table[table["kind"] != people.PERSON]
    if not len(table):
      continue
    names = sorted(set(table["observer"]), key=lambda name: (name != people.PEOPLE, name))
    columns = [["", *names]]
    for experiment, rows in table.groupby("experiment", sort=False):
      numbers = {row.observer: cell(getattr(row, value), row.low, row.high) for row in rows.itertuples()}
      if value == "kappa":
        numbers = {row.observer: f"{numbers[row.observer]} n={row.n}" for row in rows.itertuples()}
      columns.append([str(experiment), *(numbers.get(name, "-") for name in names)])
    parts.append("\n".join([title, *fitting(columns)]).rstrip())
  return parts
