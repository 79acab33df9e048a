"""How small networks are trained in tests."""

import pathlib
from typing import Any

from etils import epath

from biasjax.data.sources import Source
from biasjax.models.resnet import Architecture
from biasjax.partition import Partition
from biasjax.train import loop, step


def recipe(architecture: Architecture, **changed: Any) -> step.Recipe:
  """Eight plain steps, but for what is changed."""
  plain = {"interventions": (), "steps": 8, "warmup_steps": 0, "learning_rate": 0.05, "momentum": 0.9}
  plain |= {"weight_decay": 0.01, "label_smoothing": 0.0, "average_decay": 0.0, "seed": 3}
  return step.Recipe(architecture=architecture, **plain | changed)


class Killed(Exception):
  """A training's end in the middle of it."""


def run_loop(
  recipe: step.Recipe, source: Source, folder: pathlib.Path, *, stop_at: int | None = None, **more: Any
) -> tuple[list, loop.Log]:
  """(networks, log) of `loop.train`; raises Killed when the state after `stop_at` steps is on disk."""

  def keep(at, variables):
    if at == stop_at:
      raise Killed

  return loop.train(
    recipe,
    step.fresh(recipe.architecture, recipe.seed),
    source,
    loop.States(epath.Path(folder), {"who": "test"}),
    Partition("shard_map"),
    batch_size=4,
    save_every=2,
    keep_every=1,
    keep=keep,
    **more,
  )
