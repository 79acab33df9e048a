"""Accuracy under projected gradient descent, PGD-40 as published: at eps .5/255 ("low") and 4/255 ("high").

Gavrikov & Keuper 2024: 40 steps of 2/255 in L-infinity on the cross-entropy, from a random point of the ball,
the last iterate. Where the step is longer than the budget, as at the low one, every iterate but the first is
a corner of the box. Options are probes of their own with columns of their own (docs/attacks.md).
"""

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import losses, threat
from biasjax.ops.attacks.pgd import Pgd
from biasjax.probes import adversary
from biasjax.probes.base import Attacked, Metric, Probe, Victim

# The low budget is the published code's default; the high one is not recorded, see docs/attacks.md.
PUBLISHED = {"low": 0.5 / 255, "high": 4 / 255}
STEP = 2  # 1/255
DEFAULTS = {
  "eps": "",
  "norm": "linf",
  "steps": "40",
  "step": "",
  "loss": "ce",
  "start": "random",
  "restarts": "1",
  "keep": "last",
  "curve": "no",
}
L2_EPS = "0.5"


def attack(
  victim: Victim,
  keys: Any,
  images: Any,
  labels: Any,
  *,
  stage: adversary.Stage,
  budgets: Mapping[str, float],
  norm: threat.Norm,
  keep: bool,
  curve: bool,
  only: Collection[str] | None = None,
) -> Iterator[tuple[str, Attacked]]:
  """The batch under each budget, or `only` some; with `curve`, each starts from the smaller one's result.

  Restarts are at random there too, since all from one image would be the same attack.
  """
  on = adversary.Adversary(victim, images, labels, norm)
  smaller = None
  for condition, eps in budgets.items():
    asked = only is None or condition in only
    if not asked and not curve:
      continue
    stages = [stage]
    if smaller:
      continued = dataclasses.replace(cast(Pgd, stage.attack), start_at="task")
      stages = [dataclasses.replace(stage, attack=continued, restarts=1)]
      stages += [dataclasses.replace(stage, restarts=stage.restarts - 1)] * (stage.restarts > 1)
    outcome = on.attack(stages, eps, keys(condition), keep=keep, smaller=smaller)
    smaller = outcome if curve else None
    if asked:
      yield on.attacked(condition, eps, outcome)


def summarise(
  observations: Mapping[str, pd.DataFrame], *, name: str, column: str, budgets: Mapping[str, float]
) -> list[Metric]:
  """Accuracy at each budget in per cent, over all images, with Wilson's 95 % intervals."""
  return [adversary.accuracy(observations[name], c, f"top1_acc/{column}/{c}") for c in budgets]


def build(name: str, column: str, stage: adversary.Stage, budgets: Mapping[str, float], **how: Any) -> Probe:
  """A probe that runs one gradient attack at each of `budgets`; `how` as in `attack`."""
  parameters = {"attack": dataclasses.asdict(stage.attack), "restarts": stage.restarts, **how}
  return Probe(
    name=name,
    conditions={condition: np.float64(eps) for condition, eps in budgets.items()},
    perturb=lambda key, image, condition: image,
    summarise=functools.partial(summarise, name=name, column=column, budgets=budgets),
    parameters=parameters | {"budgets": dict(budgets)},
    attack=functools.partial(attack, stage=stage, budgets=budgets, **how),
    forwards=3.0 * stage.attack.steps * stage.restarts,
    sampled=True,
    alike=adversary.alike(how["norm"], budgets),
  )


def make(
  size: int = 224,
  *,
  eps: str = DEFAULTS["eps"],
  norm: str = DEFAULTS["norm"],
  steps: str = DEFAULTS["steps"],
  step: str = DEFAULTS["step"],
  loss: str = DEFAULTS["loss"],
  start: str = DEFAULTS["start"],
  restarts: str = DEFAULTS["restarts"],
  keep: str = DEFAULTS["keep"],
  curve: str = DEFAULTS["curve"],
) -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side.
    eps: budgets, ascending and joined by "+"; in 1/255 for linf. By default the published two, 0.5 for l2.
    norm: linf or l2.
    steps: gradients.
    step: their length, in 1/255 for linf, or a multiple of eps as in "0.1eps"; by default 2, and in l2
      2.5 eps over steps (Madry et al. 2018).
    loss: ce, margin or dlr.
    start: random or image.
    restarts: random starts, each on the images that are still right.
    keep: the last iterate as published, or the best one, whose margin is greatest.
    curve: yes for budgets that each start from the smaller one's result, so that accuracy never rises.

  Raises:
    BiasjaxError: another value.
  """
  del size  # nothing here depends on it
  given = {
    "eps": eps,
    "norm": norm,
    "steps": steps,
    "step": step,
    "loss": loss,
    "start": start,
    "restarts": restarts,
    "keep": keep,
    "curve": curve,
  }
  name = adversary.variant("pgd", given, DEFAULTS)
  allowed = {
    "norm": ("linf", "l2"),
    "loss": ("ce", "margin", "dlr"),
    "start": ("random", "image"),
    "keep": ("last", "best"),
    "curve": ("no", "yes"),
  }
  for option, values in allowed.items():
    adversary.one_of("pgd", option, given[option], values)
  budgets = dict(PUBLISHED) if norm == "linf" and not eps else adversary.budgets("pgd", eps or L2_EPS, norm)
  iterations = adversary.whole_number("pgd", "steps", steps)
  length, relative = _step(step, norm, iterations)
  stage = adversary.Stage(
    name="pgd",
    attack=Pgd(
      norm=cast(threat.Norm, norm),
      iterations=iterations,
      step_size=length,
      relative=relative,
      loss=loss,
      start_at=start,
      best=keep == "best",
    ),
    restarts=adversary.whole_number("pgd", "restarts", restarts),
    fewest_classes=losses.FEWEST_FOR_DLR if loss == "dlr" else 2,
  )
  if stage.restarts > 1 and start == "image":
    raise BiasjaxError(f"probe pgd: restarts={restarts} from the image itself would all be the same attack")
  column = adversary.variant(f"PGD-{iterations}", given, DEFAULTS | {"steps": steps})
  # With restarts, what does not break an image is kept by its margin.
  by_margin = keep == "best" or stage.restarts > 1
  return build(name, column, stage, budgets, norm=norm, keep=by_margin, curve=curve == "yes")


def _step(step: str, norm: str, iterations: int) -> tuple[float, bool]:
  """The length of a step, and whether it is a multiple of eps."""
  if not step:
    return (STEP / 255, False) if norm == "linf" else (2.5 / iterations, True)
  if norm == "linf" and step.endswith("/255"):
    raise BiasjaxError(
      f"probe pgd: step={step}: steps are in 1/255 already: step={step.removesuffix('/255')}"
    )
  try:
    length = float(step.removesuffix("eps"))
  except ValueError:
    length = 0.0
  if not 0 < length < float("inf"):
    raise BiasjaxError(
      f"probe pgd: step={step}: expected a positive number, or a multiple of eps like 0.1eps"
    )
  if step.endswith("eps"):
    return length, True
  return (length / 255 if norm == "linf" else length), False
