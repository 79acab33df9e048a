"""Networks beside people in the experiments of model-vs-human: accuracy by condition, and error consistency.

Geirhos et al. 2021: 17 experiments, each done by 4 to 10 people; their trials are CSV files named
<experiment>_subject-<number>_session_<number>.csv with the columns subj, object_response, category, condition
and imagename. NumPy and pandas only.
"""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.errors import BiasjaxError
from biasjax.statistics import error_consistency, mean, wilson

EXPECTED = ("subj", "object_response", "category", "condition", "imagename")
ACCURACY = ["observer", "experiment", "condition", "n", "accuracy", "low", "high"]
CONSISTENCY = ["observer", "experiment", "people", "kappa", "low", "high"]
EVERY = "all"


def experiment_of(path: str | pathlib.Path) -> str | None:
  """The experiment that a file of trials belongs to, by its name; None where it names none."""
  name = pathlib.Path(path).name.split("_")[0]
  return name if name in layouts.EXPERIMENTS else None


def stimulus(name: str, experiment: str) -> str:
  """What was shown, alike in the files of people and of networks, which differ in trial and observer.

  <trial>_<experiment>_<observer>_<condition>_<category>_<..> of a trial, or <..> where that is all of a
  network's stimulus.
  """
  fields = pathlib.PurePosixPath(name).stem.split("_")
  if experiment in layouts.PARAMETRIC or experiment in ("sketch", "stylized"):
    return "_".join([layouts.canonical(fields[3]), *fields[4:]]) if len(fields) > 4 else name
  return fields[-1]


def read(path: str | pathlib.Path) -> pd.DataFrame:
  """One person's trials: columns stimulus, condition ("<experiment>/<condition>"), right (bool).

  `attrs` has the `observer` and the `experiment`.

  Raises:
    BiasjaxError: it cannot be read, is of no known experiment, or lacks a column.
  """
  experiment = experiment_of(path)
  try:
    # "na" is an answer here, and "true" and "3" are conditions.
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"{path} cannot be read as a CSV of trials: {' '.join(str(error).split())}") from error
  missing = [name for name in EXPECTED if name not in table]
  if experiment is None or missing or not len(table):
    wrong = f"no column {missing[0]!r}" if missing else "no trials" if experiment else "no known experiment"
    raise BiasjaxError(f"{path}: {wrong}; trials need {', '.join(EXPECTED)} and a name <experiment>_...csv")
  conditions = [_condition(experiment, condition) for condition in table["condition"]]
  decisions = pd.DataFrame(
    {
      "stimulus": [stimulus(name, experiment) for name in table["imagename"]],
      "condition": conditions,
      "right": (table["object_response"] == table["category"]).to_numpy(),
    }
  )
  decisions.attrs = {"observer": str(table["subj"][0]), "experiment": experiment}
  return decisions


def _condition(experiment: str, condition: str) -> str:
  return f"{experiment}/{layouts.canonical(condition)}" if experiment in layouts.PARAMETRIC else experiment


def of_network(observations: pd.DataFrame, name: str) -> list[pd.DataFrame]:
  """A network's decisions by experiment, as `read` gives a person's, from its observations."""
  places = [layouts.experiment(example_id.split("/")) for example_id in observations["example_id"]]
  condition = np.array([place.condition if place else "" for place in places])
  experiment = np.array([where.split("/")[0] for where in condition])
  right = observations["rank"].to_numpy() == 0
  found = []
  for wanted in sorted(set(experiment) - {""}):
    mine = experiment == wanted
    names = observations["example_id"].to_numpy()[mine]
    decisions = pd.DataFrame(
      {
        "stimulus": [stimulus(example_id, wanted) for example_id in names],
        "condition": condition[mine],
        "right": right[mine],
      }
    )
    decisions.attrs = {"observer": name, "experiment": wanted}
    found.append(decisions)
  return found


def accuracy(decisions: Iterable[pd.DataFrame]) -> pd.DataFrame:
  """A row for each observer, experiment and condition (and one for all conditions): columns `ACCURACY`."""
  rows = []
  for table in decisions:
    observer, experiment = table.attrs["observer"], table.attrs["experiment"]
    parts = [(EVERY, table["right"])]
    if experiment in layouts.PARAMETRIC:
      parts += [(where.split("/")[1], of) for where, of in table.groupby("condition")["right"]]
    for condition, right in parts:
      n, hits = len(right), int(right.sum())
      rows.append((observer, experiment, condition, n, hits / n, *wilson(hits, n)))
  return pd.DataFrame(rows, columns=ACCURACY)


def consistency(people: Sequence[pd.DataFrame], networks: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """Mean error consistency of each observer with the (other) people: columns `CONSISTENCY`.

  Geirhos, Meding & Wichmann 2020. Over the stimuli that both have seen, conditions that are not out of
  distribution left out (`layouts.NOT_OUT_OF_DISTRIBUTION`); the interval is over people (Student's t). The
  row of all experiments is the mean over them, without an interval.
  """
  right = {id(table): _rights(table) for table in (*people, *networks)}
  rows = []
  for table in (*people, *networks):
    observer, experiment = table.attrs["observer"], table.attrs["experiment"]
    kappas = []
    for person in people:
      if person.attrs["experiment"] != experiment or person is table:
        continue
      mine, theirs = right[id(table)], right[id(person)]
      both = mine.index.intersection(theirs.index)
      if len(both):
        pair = mine[both].to_numpy(bool), theirs[both].to_numpy(bool)
        kappas.append(error_consistency(*pair, resamples=1)[0])
    kappas = [kappa for kappa in kappas if not np.isnan(kappa)]
    if kappas:
      rows.append((observer, experiment, len(kappas), *mean(np.array(kappas))))
  table = pd.DataFrame(rows, columns=CONSISTENCY)
  whole = table.groupby("observer", sort=False)["kappa"].agg(["mean", "count"])
  every = [
    (observer, EVERY, np.nan, of["mean"], np.nan, np.nan)
    for observer, of in whole.iterrows()
    if of["count"] == len(layouts.EXPERIMENTS)
  ]
  return pd.concat([table, pd.DataFrame(every, columns=CONSISTENCY)], ignore_index=True) if every else table


def _rights(table: pd.DataFrame) -> pd.Series:
  counted = table[~table["condition"].isin(layouts.NOT_OUT_OF_DISTRIBUTION)]
  # Who saw a stimulus more than once counts with the first time.
  return counted.groupby("stimulus", sort=False)["right"].first()


def lines(table: pd.DataFrame, people: Sequence[str]) -> list[list[str]]:
  """A header and a row for each experiment: mean kappa of people with each other, and of networks with them.

  Args:
    table: of `consistency`.
    people: which observers are people.
  """
  networks = [name for name in dict.fromkeys(table["observer"]) if name not in people]
  rows = [["error consistency with people", "people", *networks]]
  for experiment, of in table[table["experiment"] != EVERY].groupby("experiment"):
    kappa = of.set_index("observer")["kappa"]
    among = kappa[kappa.index.isin(people)].mean()
    rows.append([str(experiment), f"{among:.3f}", *(f"{kappa.get(name, np.nan):.3f}" for name in networks)])
  return rows
