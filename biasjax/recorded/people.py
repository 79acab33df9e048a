"""Networks beside people in the experiments of model-vs-human: accuracy by condition, and error consistency.

Geirhos et al. 2021: 17 experiments, each done by 4 to 10 people. Decisions are tables as of `files.read`, one
for each observer and experiment. NumPy and pandas only.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.recorded.files import is_person, stimulus
from biasjax.recorded.panels import Panel, out_of_distribution, panel
from biasjax.statistics import percentile_interval, wilson

ACCURACY = ["observer", "kind", "experiment", "condition", "n", "accuracy", "low", "high"]
CONSISTENCY = ["observer", "kind", "experiment", "people", "conditions", "trials", "n"]
CONSISTENCY += ["fewest", "undefined", "kappa", "low", "high"]
EVERY, OOD = "all", "ood"
PERSON, NETWORK, PEOPLE = "person", "network", "people"
# Of so few trials under one condition a kappa's interval is some .5 wide.
FEW = 50


def of_network(observations: pd.DataFrame, name: str) -> list[pd.DataFrame]:
  """A network's decisions by experiment, as `files.read` gives an observer's, from its observations."""
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


def split(observers: Iterable[pd.DataFrame]) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
  """The people among the observers, and the networks."""
  observers = list(observers)
  people = [table for table in observers if is_person(table.attrs["observer"])]
  return people, [table for table in observers if not is_person(table.attrs["observer"])]


def panels(people: Sequence[pd.DataFrame], networks: Sequence[pd.DataFrame]) -> list[Panel]:
  """A panel for each experiment that people did."""

  def of(tables: Sequence[pd.DataFrame], experiment: str) -> list[pd.DataFrame]:
    return [table for table in tables if table.attrs["experiment"] == experiment]

  experiments = sorted({table.attrs["experiment"] for table in people})
  return [panel(name, of(people, name), of(networks, name)) for name in experiments]


# --- Accuracy ----------------------------------------------------------------------------------------------


def accuracy(people: Sequence[pd.DataFrame], networks: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """Accuracy of each observer, and of people together.

  Returns:
    Columns `ACCURACY`: a row for each observer, experiment and condition; the condition "all" is all trials
    of the experiment, "ood" those out of distribution. Observer "people" is all people's decisions. The
    experiment "all" is the mean of "ood" over the 17 experiments, of people and of each network that has all.
    Intervals (95 %): Wilson's over the trials of one observer; of people, over people and stimuli (`panels`),
    and Wilson's over stimuli where there is one person, or all decisions are right, or none; of the mean,
    from those of the experiments, which are independent.
  """
  rows = []
  for kind, table in (*((PERSON, t) for t in people), *((NETWORK, t) for t in networks)):
    observer, experiment = table.attrs["observer"], table.attrs["experiment"]
    for condition, wanted in _parts(experiment, table["condition"].unique()):
      right = table.loc[table["condition"].isin(wanted), "right"]
      n, hits = len(right), int(right.sum())
      rows.append((observer, kind, experiment, condition, n, hits / n, *wilson(hits, n)))
  for of in panels(people, []):
    for condition, wanted in _parts(of.experiment, of.conditions):
      which = [of.conditions.index(name) for name in wanted]
      n, shares = of.accuracy_of_people(which)
      share, stimuli = float(shares[0]), of.stimuli(which)
      several = len(of.people) > 1 and 0 < share < 1
      interval = percentile_interval(shares[1:]) if several else wilson(round(share * stimuli), stimuli)
      rows.append((PEOPLE, PEOPLE, of.experiment, condition, n, share, *interval))
  return _with_every(pd.DataFrame(rows, columns=ACCURACY), "accuracy", "condition")


def _parts(experiment: str, conditions: Iterable[str]) -> list[tuple[str, list[str]]]:
  """What an accuracy is given of: a name, and which conditions it is over."""
  conditions = sorted(conditions)
  counted = [name for name in conditions if out_of_distribution(name)]
  parts = [(EVERY, conditions)] + ([(OOD, counted)] if counted else [])
  if experiment in layouts.PARAMETRIC:
    parts += [(name.split("/")[1], [name]) for name in conditions]
  return parts


# --- Error consistency -------------------------------------------------------------------------------------


def consistency(people: Sequence[pd.DataFrame], networks: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """Mean error consistency of each observer with the (other) people, and of people among themselves.

  Geirhos, Meding & Wichmann 2020, as model-vs-human computes it: Cohen's kappa of two observers under each
  condition, its mean over people, and the mean of these over the conditions out of distribution. Conditions
  are never pooled: that some are harder for everybody would count as agreement.

  Returns:
    Columns `CONSISTENCY`: a row for each observer and experiment; observer "people" is the mean over pairs of
    people, what two people have in common and so what a network's kappa is to be seen beside. The experiment
    "all" is the mean over the 17, of people and of each network that has all. `people` and `conditions` are
    how many the mean is over, `trials` the stimuli out of distribution that the observer saw, `n` those of
    them that any of the (other) people saw, `fewest` the smallest number that one kappa is of, that is with
    one person under one condition, and `undefined` the kappas that chance alone explains (both always right,
    or never), which are left out of the mean (model-vs-human counts them as 1). The interval (95 %,
    percentiles) is over stimuli within conditions and over people (`panels`); over stimuli only where there
    is one person to be compared with, or two among themselves. kappa is NaN where no trial is shared or all
    are undefined.
  """
  rows = []
  for of in panels(people, networks):
    everybody = range(len(of.people))
    compared = {}
    for observer, name in enumerate((*of.people, *of.networks)):
      others = [other for other in everybody if other != observer]
      if others:
        kind = PERSON if observer in everybody else NETWORK
        compared[observer] = _Compared(others, of.kappas(observer, others), of.shared(observer, others))
        rows.append((name, kind, of.experiment, *_mean_kappa(of, {observer: compared[observer]})))
    if len(everybody) > 1:
      people_alone = {person: compared[person] for person in everybody}
      rows.append((PEOPLE, PEOPLE, of.experiment, *_mean_kappa(of, people_alone, among=True)))
  counts = dict.fromkeys(("people", "conditions", "trials", "n", "fewest", "undefined"), "Int64")
  return _with_every(pd.DataFrame(rows, columns=CONSISTENCY).astype(counts), "kappa")


@dataclasses.dataclass(frozen=True)
class _Compared:
  """An observer's kappas with people, float [ood, draws, people], of so many stimuli, int [ood, people]."""

  people: list[int]
  kappas: np.ndarray
  shared: np.ndarray


def _mean_kappa(of: Panel, compared: Mapping[int, _Compared], among: bool = False) -> tuple[int | float, ...]:
  """From `people` on, what is to be said of the mean kappa of observers with people.

  Args:
    of: the experiment.
    compared: by observer.
    among: whether the observers are all the people, who are drawn like those they are compared with.
  """
  persons = of.weights[1]
  total, weight = np.zeros((2, len(of.ood), len(persons)))
  undefined = 0
  for first, with_people in compared.items():
    drawn = persons[:, with_people.people] * (persons[:, [first]] if among else 1)
    known = ~np.isnan(with_people.kappas)
    total += (np.where(known, with_people.kappas, 0) * drawn).sum(-1)
    weight += (known * drawn).sum(-1)
    undefined += int(((with_people.shared > 0) & ~known[:, 0]).sum())
  with np.errstate(invalid="ignore"):  # a draw may have no kappa under a condition
    by_condition = total / weight
    draws = np.nansum(by_condition, 0) / (~np.isnan(by_condition)).sum(0)
  shared = np.concatenate([with_people.shared for with_people in compared.values()], axis=1)
  first = next(iter(compared))
  people = len(compared) if among else int(shared.any(0).sum())
  conditions = int((~np.isnan(by_condition[:, 0])).sum())
  trials = of.stimuli(of.ood) if among else of.trials[first]
  n = of.shared_with_any({observer: with_people.people for observer, with_people in compared.items()})
  # Among people each pair is met twice.
  counts = people, conditions, trials, n, int(shared.min(initial=trials)), undefined // (2 if among else 1)
  met = draws[1:][~np.isnan(draws[1:])]  # of few people a draw may be of one, who meets nobody
  return *counts, float(draws[0]), *percentile_interval(met)


def _with_every(table: pd.DataFrame, value: str, condition: str | None = None) -> pd.DataFrame:
  """The table, and the mean over the 17 experiments of people and of each network that has all of them."""
  counted = table[(table["kind"] != PERSON) & ((table[condition] == OOD) if condition else True)]
  rows = []
  for observer, of in counted.dropna(subset=[value]).groupby("observer", sort=False):
    if len(of) < len(layouts.EXPERIMENTS):
      continue
    mean = of[value].mean()
    # Donner & Zou 2012: the distances to the ends add up as variances do.
    low, high = (np.linalg.norm(of[edge] - of[value]) / len(of) for edge in ("low", "high"))
    row = {"observer": observer, "kind": of["kind"].iloc[0], "experiment": EVERY, "n": of["n"].sum()}
    row |= {value: mean, "low": mean - low, "high": mean + high}
    rows.append(row | ({condition: OOD} if condition else {}))
  return pd.concat([table, pd.DataFrame(rows)], ignore_index=True)[list(table.columns)] if rows else table


def notes_on(table: pd.DataFrame) -> list[str]:
  """What a reader of `consistency` has to know: whose kappa rests on few shared trials, or is undefined."""
  notes = []
  for row in table[(table["experiment"] != EVERY) & (table["kind"] != PERSON)].itertuples():
    who = "people share" if row.kind == PEOPLE else f"{row.observer} shares"
    whom = "each other" if row.kind == PEOPLE else "people"
    if not row.n:
      notes.append(
        f"{row.experiment}: {who} no trial with {whom}, so there is no kappa: are the stimuli named alike?"
      )
    elif row.n < row.trials / 2 or row.fewest < FEW:
      notes.append(
        f"{row.experiment}: {who} {row.n} of {row.trials} trials with {whom}, and {row.fewest} where it is "
        "fewest (one person, one condition): little for a kappa"
      )
    if row.undefined:
      notes.append(
        f"{row.experiment}: {row.undefined} of {row.observer}'s kappas are undefined (both always right, or "
        "never) and left out of the mean; model-vs-human counts them as 1"
      )
  return notes
