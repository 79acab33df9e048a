"""Who was right about which stimulus of an experiment, and resamples of both stimuli and people.

A number about people is meant for other people and other stimuli too, so both are drawn again with
replacement, independently of each other (the pigeonhole bootstrap: Owen 2007): stimuli within each condition,
the same for all observers, as Klein et al. 2025 (arXiv 2507.06645) do; and people, one fewer than there are,
without which few people would seem to differ less than they do (Rao & Wu 1988). How often such intervals hold
the truth is simulated by benchmarks/people.py. NumPy and pandas only.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.statistics import cohens_kappa

RESAMPLES = 2000


def out_of_distribution(condition: str) -> bool:
  """Whether a condition ("<experiment>/<condition>") is in the means over conditions out of distribution.

  Those that are not distorted, or that people cannot see either, are not (Geirhos et al. 2021), nor are those
  that the experiment does not have.
  """
  experiment, _, name = condition.partition("/")
  known = layouts.PARAMETRIC.get(experiment, ("",))
  return name in known and condition not in layouts.NOT_OUT_OF_DISTRIBUTION


@dataclasses.dataclass(frozen=True)
class Panel:
  """The observers of one experiment.

  Attributes:
    experiment: its name.
    people, networks: the observers' names; in this order they are the rows of `right` and `seen`.
    conditions: "<experiment>/<condition>", or "<experiment>" where it has none.
    right, seen: of each condition, float32 [observers, stimuli]: 1 where an observer was right about a
      stimulus, and where they saw it at all. The stimuli are those that any person saw.
    trials: of each observer, the stimuli out of distribution that they saw, whether or not people did.
  """

  experiment: str
  people: tuple[str, ...]
  networks: tuple[str, ...]
  conditions: tuple[str, ...]
  right: tuple[np.ndarray, ...]
  seen: tuple[np.ndarray, ...]
  trials: tuple[int, ...]

  @functools.cached_property
  def weights(self) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """How often each stimulus is drawn, float32 [1 + RESAMPLES, stimuli] of each condition; and each person.

    The first row is what was observed: each once. The seed is the experiment's name, so that draws of
    different experiments are independent. Of two people both are drawn: one has nobody to be compared with.
    """
    rng = np.random.default_rng(list(self.experiment.encode()))
    stimuli = tuple(_draw(rng, seen.shape[1], seen.shape[1]).astype(np.float32) for seen in self.seen)
    persons = len(self.people)
    return stimuli, _draw(rng, persons, max(persons - 1, min(persons, 2)))

  @property
  def ood(self) -> list[int]:
    """Which of the conditions are out of distribution."""
    return [i for i, condition in enumerate(self.conditions) if out_of_distribution(condition)]

  def kappas(self, first: int, others: Sequence[int]) -> np.ndarray:
    """Cohen's kappa of one observer with others under `ood`, float [ood, 1 + RESAMPLES, others]."""
    found = np.full((len(self.ood), RESAMPLES + 1, len(others)), np.nan)
    for which, condition in enumerate(self.ood):
      right, drawn = self.right[condition], self.weights[0][condition]
      both = self.seen[condition][first] * self.seen[condition][others]
      mine, theirs = right[first] * both, right[others] * both
      counted = np.concatenate([mine * theirs, mine, theirs, both])  # float32 counts are exact up to 2**24
      found[which] = cohens_kappa(*np.split(drawn @ counted.T, 4, axis=1))
    return found

  def shared(self, first: int, others: Sequence[int]) -> np.ndarray:
    """How many stimuli of each of `ood` one observer saw and others saw too, int [ood, others]."""
    counts = [(self.seen[c][first] * self.seen[c][others]).sum(-1) for c in self.ood]
    return np.array(counts, int).reshape(len(self.ood), len(others))

  def stimuli(self, conditions: Sequence[int]) -> int:
    """How many stimuli of these conditions any person saw."""
    return sum(self.seen[c].shape[1] for c in conditions)

  def shared_with_any(self, observers: Mapping[int, Sequence[int]]) -> int:
    """How many stimuli of `ood` any of the observers and any of those they are compared with saw."""
    of = [(first, list(others)) for first, others in observers.items()]
    seen = (np.any([s[first] * s[others].max(0) for first, others in of], axis=0) for s in self.seen)
    return sum(int(of_condition.sum()) for c, of_condition in enumerate(seen) if c in self.ood)

  def accuracy_of_people(self, conditions: Sequence[int]) -> tuple[int, np.ndarray]:
    """People's decisions under some conditions, and the share of right ones, float [1 + RESAMPLES]."""
    stimuli, persons = self.weights
    k = len(self.people)
    right, n = np.zeros((2, RESAMPLES + 1))
    for c in conditions:
      counts = stimuli[c] @ np.concatenate([self.right[c][:k], self.seen[c][:k]]).T
      right += (persons * counts[:, :k]).sum(-1)
      n += (persons * counts[:, k:]).sum(-1)
    return int(n[0]), right / np.where(n > 0, n, np.nan)


def _draw(rng: np.random.Generator, size: int, draws: int) -> np.ndarray:
  """How often each of `size` is among so many draws, int [1 + RESAMPLES, size]; the first row is ones."""
  drawn = rng.integers(max(size, 1), size=(RESAMPLES, draws)) + size * np.arange(RESAMPLES)[:, None]
  counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size)
  return np.concatenate([np.ones((1, size), int), counts])


def panel(experiment: str, people: Sequence[pd.DataFrame], networks: Sequence[pd.DataFrame]) -> Panel:
  """The observers of one experiment; their tables have the columns stimulus, condition and right."""
  observers = [*people, *networks]
  conditions = sorted({c for table in people for c in table["condition"].unique()})
  rights, seens = [], []
  for condition in conditions:
    columns = [_of_condition(table, condition) for table in observers]
    stimuli = pd.Index(sorted(set().union(*(column.index for column in columns[: len(people)]))))
    values = np.array([column.reindex(stimuli).to_numpy(np.float32) for column in columns])
    seens.append((~np.isnan(values)).astype(np.float32))
    rights.append(np.nan_to_num(values))
  names = [table.attrs["observer"] for table in observers]
  of_people, of_networks = tuple(names[: len(people)]), tuple(names[len(people) :])
  trials = tuple(int(table["condition"].map(out_of_distribution).sum()) for table in observers)
  return Panel(experiment, of_people, of_networks, tuple(conditions), tuple(rights), tuple(seens), trials)


def _of_condition(table: pd.DataFrame, condition: str) -> pd.Series:
  mine = table[table["condition"] == condition]
  return mine.drop_duplicates("stimulus").set_index("stimulus")["right"].astype(np.float32)
