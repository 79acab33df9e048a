"""How small networks are trained in tests."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from biasjax.data.sources import Source
from biasjax.models.architecture import Architecture
from biasjax.partition import Partition
from biasjax.train import loop, step


def recipe(architecture: Architecture, **changed: Any) -> step.Recipe:
  """Eight plain steps, but for what is changed."""
  plain = {"interventions": (), "steps": 8, "warmup_steps": 0, "learning_rate": 0.05, "momentum": 0.9}
  plain |= {"weight_decay": 0.01, "label_smoothing": 0.0, "average_decay": 0.0, "seed": 3}
  return step.Recipe(architecture=architecture, **plain | changed)


@functools.cache
def program(recipe: step.Recipe, kind: str, devices: int) -> tuple[Partition, Callable]:
  """A partition over so many devices and a step of a recipe, which all tests of a file compile once."""
  partition = Partition(kind, jax.devices()[:devices])
  return partition, partition.compile(step.make(recipe), shared=3, batched_out=False)


class Killed(Exception):
  """A training's end in the middle of it."""


def run_loop(
  recipe: step.Recipe,
  source: Source,
  folder: pathlib.Path,
  *,
  stop_at: int | None = None,
  partition: Partition | None = None,
  **more: Any,
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
    partition or Partition("shard_map"),
    batch_size=4,
    save_every=2,
    keep_every=1,
    keep=keep,
    **more,
  )
