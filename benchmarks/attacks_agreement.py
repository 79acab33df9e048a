"""Robust accuracy under each part of AutoAttack, here and by the published package, on the same network.

python -m benchmarks.attacks_agreement --images=FOLDER [--networks=FOLDER] [--seeds=1] [--output=FILE.json]

Each attack runs alone, on all photographs; with several seeds figures are means over them, since all but FAB
start at random. The package is pyautoattack, the authors' code to be installed;
needs requirements-dev.txt.
"""

import json
import pathlib
import time

import jax
import numpy as np
import torch
from absl import app, flags

from benchmarks import small_networks
from biasjax import partition, probes
from biasjax.engine.programs import logits_step
from biasjax.probes.base import Victim
from biasjax.probes.decisions import every_class

IMAGES = flags.DEFINE_string("images", None, "A folder of class folders of photographs.", required=True)
NETWORKS = flags.DEFINE_string("networks", "benchmarks/out/networks", "Where the trained networks are kept.")
COUNT = flags.DEFINE_integer("count", 256, "Photographs that are attacked.", lower_bound=1)
ATTACKS = flags.DEFINE_list("attacks", ["apgd-ce", "apgd-t", "fab-t", "square"], "Which.")
NORMS = flags.DEFINE_list("norms", ["linf", "l2"], "In which threat models.")
KINDS = flags.DEFINE_list("kinds", ["standard", "robust"], "Of which networks.")
QUERIES = flags.DEFINE_integer("queries", 1000, "Of Square, for both.")
SEEDS = flags.DEFINE_integer("seeds", 1, "Of both, with which each attack is repeated.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Where to write the figures as JSON.")

# Budgets at which about half of the photographs withstand, where a difference between attacks would show.
EPS = {
  ("standard", "linf"): 2.0,
  ("robust", "linf"): 8.0,
  ("standard", "l2"): 0.3,
  ("robust", "l2"): 0.9,
}


def published(model: torch.nn.Module, attack: str, norm: str, eps: float, images, labels, seed) -> np.ndarray:
  """Which photographs withstand the package's attack, bool [n]."""
  from pyautoattack import AutoAttack

  x, y = torch.from_numpy(np.moveaxis(images, -1, 1).copy()), torch.from_numpy(labels)
  run = AutoAttack(
    model,
    attacks=[attack],
    version="custom",
    norm={"linf": "Linf", "l2": "L2"}[norm],
    eps=eps,
    device="cpu",
    seed=seed,
  )
  # What the version "standard" sets.
  run.apgd.n_restarts = run.apgd_targeted.n_restarts = run.fab.n_restarts = 1
  run.apgd_targeted.n_target_classes = run.fab.n_target_classes = 9
  run.square.n_queries = QUERIES.value
  found = run.run_standard_evaluation(x, y, batch_size=len(x))
  found = found[0] if isinstance(found, tuple) else found
  return (model(found).argmax(1) == y).numpy()


def ours(model, attack: str, norm: str, eps: str, images, labels, seed: int) -> np.ndarray:
  """Which photographs withstand biasjax' attack, bool [n]."""
  probe = probes.get(f"autoattack:eps={eps}:norm={norm}:attacks={attack}:queries={QUERIES.value}")
  split = partition.of_process()
  victim = Victim(logits_step(model.apply, "float32"), every_class, split.share(model.variables), split)
  keys = jax.random.key_data(jax.random.split(jax.random.key(seed), len(images)))
  batch = split.put((images, labels.astype(np.int32)[:, None]))
  ((_, attacked),) = probe.attack(victim, lambda _: split.put(np.asarray(keys)), *batch)
  return np.asarray(model.apply(model.variables, split.get(attacked.images))).argmax(1) == labels


def main(argv: list[str]) -> None:
  del argv
  torch.set_num_threads(1)  # the two libraries' threads would wait for each other
  images, labels = small_networks.photographs(IMAGES.value)
  rows = []
  for kind in KINDS.value:
    model, converted = small_networks.both_ways(NETWORKS.value, kind, images, labels)
    x, y = images[: COUNT.value], labels[: COUNT.value]
    for norm in NORMS.value:
      eps = EPS[kind, norm]
      for attack in ATTACKS.value:
        seeds = range(SEEDS.value)
        started = time.perf_counter()
        here = np.array([ours(converted, attack, norm, f"{eps:g}", x, y, seed) for seed in seeds])
        between = time.perf_counter()
        theirs = eps / 255 if norm == "linf" else eps
        there = np.array([published(model, attack, norm, theirs, x, y, seed) for seed in seeds])
        row = {
          "network": kind,
          "norm": norm,
          "eps": eps,
          "attack": attack,
          "biasjax": 100 * float(here.mean()),
          "published": 100 * float(there.mean()),
          "of_each_seed": [(100 * of_seeds.mean(axis=1)).round(1).tolist() for of_seeds in (here, there)],
          "only_here": int((here[0] & ~there[0]).sum()),
          "only_there": int((there[0] & ~here[0]).sum()),
          "seconds": [between - started, time.perf_counter() - between],
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
        if OUTPUT.value:
          pathlib.Path(OUTPUT.value).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
