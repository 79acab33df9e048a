"""Accuracy under AutoAttack, the ensemble that robustness is compared by (Croce & Hein 2020).

"standard": APGD on the cross-entropy, targeted APGD on the difference of logits ratio against 9 classes,
targeted FAB against 9 classes, Square with 5,000 queries, in this order, each on the images still right.
Departures from the published package are in docs/attacks.md.
"""

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import losses, threat
from biasjax.ops.attacks.apgd import Apgd
from biasjax.ops.attacks.fab import Fab
from biasjax.ops.attacks.square import Square
from biasjax.probes import adversary
from biasjax.probes.base import Attacked, Metric, Probe, Victim

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
# RobustBench's budgets for ImageNet.
DEFAULT_EPS = {"linf": "4", "l2": "3"}
DEFAULTS = {
  "eps": "",
  "norm": "linf",
  "attacks": "+".join(STANDARD),
  "steps": "100",
  "queries": "5000",
  "restarts": "1",
}


def stages(norm: threat.Norm, steps: int, queries: int, restarts: int) -> dict[str, adversary.Stage]:
  """Every attack that can be asked for, by name."""
  four = losses.FEWEST_FOR_DLR
  return {
    stage.name: stage
    for stage in (
      adversary.Stage("apgd-ce", Apgd("ce", norm, steps), restarts=restarts),
      adversary.Stage("apgd-dlr", Apgd("dlr", norm, steps), restarts=restarts, fewest_classes=four),
      adversary.Stage("apgd-t", Apgd("targeted-dlr", norm, steps), True, restarts, fewest_classes=four),
      adversary.Stage("fab-t", Fab(norm, steps), targeted=True),  # not random: a restart would repeat it
      adversary.Stage("square", Square(norm, queries), restarts=restarts),
    )
  }


def forwards(stage: adversary.Stage) -> int:
  """Forward passes of a stage on an image that it does not break, a gradient counted as two more."""
  a_step = {Apgd: 3, Fab: 4, Square: 1}[type(stage.attack)]
  return a_step * stage.attack.steps * stage.restarts * (adversary.MOST_TARGETS if stage.targeted else 1)


def attack(
  victim: Victim,
  keys: Any,
  images: Any,
  labels: Any,
  *,
  sequence: Sequence[adversary.Stage],
  budgets: Mapping[str, float],
  norm: threat.Norm,
  only: Collection[str] | None = None,
) -> Iterator[tuple[str, Attacked]]:
  """The batch under each budget, or those of `only`."""
  on = adversary.Adversary(victim, images, labels, norm)
  for condition, eps in budgets.items():
    if only is not None and condition not in only:
      continue
    yield on.attacked(condition, eps, on.attack(sequence, eps, keys(condition)))


def summarise(
  observations: Mapping[str, pd.DataFrame],
  *,
  name: str,
  column: str,
  budgets: Mapping[str, float],
  sequence: Sequence[str],
) -> list[Metric]:
  """Accuracy at each budget in per cent, over all images, with Wilson's 95 % intervals; and after each
  attack.

  The accuracy after an attack counts the images that no attack up to it broke, by what the attacks saw.
  """
  metrics = []
  for condition in budgets:
    metrics.append(adversary.accuracy(observations[name], condition, f"{column}/{condition}"))
    table = observations[name][observations[name]["condition"] == condition]
    for last in range(len(sequence) - 1):
      broken = table["broken_by"].isin([adversary.CLEAN, *sequence[: last + 1]])
      after = table.assign(rank=broken.astype(int))
      metrics.append(
        adversary.accuracy(after, condition, f"{column}/{condition}/after {sequence[last]}", detail=True)
      )
  return metrics


def make(
  size: int = 224,
  *,
  eps: str = DEFAULTS["eps"],
  norm: str = DEFAULTS["norm"],
  attacks: str = DEFAULTS["attacks"],
  steps: str = DEFAULTS["steps"],
  queries: str = DEFAULTS["queries"],
  restarts: str = DEFAULTS["restarts"],
) -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side.
    eps: budgets, ascending and joined by "+"; in 1/255 for linf. By default 4, and 3 for l2.
    norm: linf or l2.
    attacks: which, in order, joined by "+": apgd-ce, apgd-dlr, apgd-t, fab-t, square.
    steps: of APGD and FAB.
    queries: of Square.
    restarts: of the attacks that are random.

  Raises:
    BiasjaxError: another value.
  """
  del size  # nothing here depends on it
  given = {
    "eps": eps,
    "norm": norm,
    "attacks": attacks,
    "steps": steps,
    "queries": queries,
    "restarts": restarts,
  }
  adversary.one_of("autoattack", "norm", norm, tuple(DEFAULT_EPS))
  of_norm = cast(threat.Norm, norm)
  counts = [
    adversary.whole_number("autoattack", option, given[option]) for option in ("steps", "queries", "restarts")
  ]
  known = stages(of_norm, *counts)
  wanted = attacks.split("+")
  for one in wanted:
    adversary.one_of("autoattack", "attacks", one, tuple(known))
  if len(set(wanted)) < len(wanted):
    raise BiasjaxError(f"probe autoattack: attacks={attacks}: each once; more restarts are restarts=...")
  name = adversary.variant("autoattack", given, DEFAULTS)
  column = f"top1_acc/{adversary.variant('AutoAttack', given, DEFAULTS)}"
  budgets = adversary.budgets("autoattack", eps or DEFAULT_EPS[norm], norm)
  sequence = [known[one] for one in wanted]
  return Probe(
    name=name,
    conditions={condition: np.float64(value) for condition, value in budgets.items()},
    perturb=lambda key, image, condition: image,
    summarise=functools.partial(summarise, name=name, column=column, budgets=budgets, sequence=wanted),
    parameters={
      "budgets": budgets,
      "attacks": [{"name": s.name, "restarts": s.restarts} | dataclasses.asdict(s.attack) for s in sequence],
    },
    attack=functools.partial(attack, sequence=sequence, budgets=budgets, norm=of_norm),
    forwards=float(sum(forwards(stage) for stage in sequence)),
    sampled=True,
    alike=adversary.alike(norm, budgets),
  )
