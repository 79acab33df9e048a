"""How often intervals of error consistency hold the truth: python -m benchmarks.people --repeats=200

Simulated experiments of the sizes of model-vs-human's. Observers see the same stimuli, which differ in
difficulty; people differ in ability and in what is difficult for them. The truth is the mean kappa over other
people and other stimuli. As a Markdown table, in per cent, of a network with people and of people with each
other: intervals over stimuli and people, as biasjax has them, and over stimuli alone.
"""

import dataclasses
import itertools

import numpy as np
import pandas as pd
from absl import app, flags

from biasjax.recorded import people
from biasjax.statistics import percentile_interval

REPEATS = flags.DEFINE_integer("repeats", 200, "Simulated experiments of each kind.", lower_bound=1)

ABILITY = 0.3  # standard deviation between people, of the noise within them
TASTE = 0.25  # likewise, of the weight that a stimulus' difficulty has for them, around WEIGHT
WEIGHT = 0.8
LIKENESS = 0.5  # the weight that it has for the network


@dataclasses.dataclass(frozen=True)
class Design:
  """An experiment: people, stimuli of each condition, and how easy the conditions are (in noise SD)."""

  people: int
  stimuli: int
  ease: tuple[float, ...]


DESIGNS = (
  Design(4, 160, (1.5, 1.0, 0.5, 0.0, -0.5)),
  Design(4, 640, (1.0,)),
  Design(10, 160, (0.5,)),
  Design(5, 800, (0.0,)),
  Design(10, 1280, (0.5,)),
)


def experiment(design: Design, rng: np.random.Generator) -> list[np.ndarray]:
  """Of each condition, who is right: bool [people + 1, stimuli], the network last."""
  ability = np.append(ABILITY * rng.normal(size=design.people), -0.3)
  weight = np.append(WEIGHT + TASTE * rng.normal(size=design.people), LIKENESS)
  difficulty = rng.normal(size=(len(design.ease), design.stimuli))
  noise = rng.normal(size=(len(design.ease), design.people + 1, design.stimuli))
  ease = np.array(design.ease)[:, None, None]
  return list(ease + ability[:, None] + weight[:, None] * difficulty[:, None] + noise > 0)


def tables(right: list[np.ndarray]) -> list[pd.DataFrame]:
  """The same as decisions in an experiment of so many conditions, a table for each observer."""
  name, conditions = ("contrast", ("c50", "c30", "c15", "c10", "c05")) if len(right) > 1 else ("edge", ("",))
  found = []
  for observer in range(len(right[0])):
    parts = [
      pd.DataFrame({"condition": f"{name}/{condition}".rstrip("/"), "right": of[observer]})
      for condition, of in zip(conditions, right, strict=False)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["stimulus"] = [f"{i:06d}" for i in range(len(table))]
    table.attrs = {"observer": f"subject-{observer}", "experiment": name}
    found.append(table)
  return found


def truth(design: Design, rng: np.random.Generator, people_of_each: int = 150) -> np.ndarray:
  """Mean kappa of the network with people, and of people with each other, of 4,500 people: float [2]."""
  means = []
  for _ in range(30):
    kappas = []
    for right in experiment(dataclasses.replace(design, people=people_of_each, stimuli=4000), rng):
      p = right.mean(1)
      agreement = (right.astype(np.float32) @ right.T.astype(np.float32)) / right.shape[1]
      kappas.append(2 * (agreement - np.outer(p, p)) / (p[:, None] + p - 2 * np.outer(p, p)))
    mean = np.mean(kappas, axis=0)
    means.append((mean[-1, :-1].mean(), mean[:-1, :-1][np.triu_indices(people_of_each, 1)].mean()))
  return np.mean(means, axis=0)


def over_stimuli(of: people.Panel) -> list[tuple[float, float]]:
  """Intervals over stimuli alone, of the network and of people."""
  n = len(of.people)
  network = of.kappas(n, list(range(n)))
  pairs = [of.kappas(first, list(range(first + 1, n))) for first in range(n - 1)]
  means = (np.nanmean(k, axis=(0, 2))[1:] for k in (network, np.concatenate(pairs, axis=2)))
  return [percentile_interval(mean) for mean in means]


def coverage(design: Design, repeats: int) -> np.ndarray:
  """How often intervals (over both, stimuli alone) of the network and of people hold the truth: [2, 2]."""
  rng = np.random.default_rng(0)
  true = truth(design, rng)
  held = np.zeros((2, 2))
  for _ in range(repeats):
    *persons, network = tables(experiment(design, rng))
    network.attrs["observer"] = "network"
    rows = people.consistency(persons, [network]).set_index("observer").loc[["network", people.PEOPLE]]
    both = list(zip(rows["low"], rows["high"], strict=True))
    alone = over_stimuli(people.panels(persons, [network])[0])
    for way, intervals in enumerate((both, alone)):
      held[way] += [low <= value <= high for value, (low, high) in zip(true, intervals, strict=True)]
  return held / repeats


def main(argv: list[str]) -> None:
  del argv
  print("| people | conditions | stimuli | network | people | network, over stimuli | people, over stimuli |")
  print("| --- | --- | --- | --- | --- | --- | --- |")
  for design in DESIGNS:
    held = 100 * coverage(design, REPEATS.value)
    numbers = " | ".join(f"{value:.0f}" for value in itertools.chain(*held))
    print(f"| {design.people} | {len(design.ease)} | {design.stimuli} | {numbers} |", flush=True)


if __name__ == "__main__":
  app.run(main)
