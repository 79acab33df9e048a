"""Training from a state on disk to a trained network; killed and started again, it ends with the same one."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from biasjax import messages, numerics
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.partition import Partition
from biasjax.train import batches, step
from biasjax.types import Variables
from biasjax.version import __version__

logger = logging.getLogger(__name__)
IN_FLIGHT = 8  # steps that may wait on the device: enough that it is never idle
UNFINISHED = ".orbax-checkpoint-tmp"  # ends the name under which Orbax writes
SMALLER = "try a smaller train.learning_rate"
KEPT = 2  # states; the one before the last is there if the last is damaged
Log = list[tuple[float, float]]  # (loss, accuracy) of each step so far


class DivergedError(BiasjaxError):
  """The loss of a training, or its network, is not finite any more."""


@dataclasses.dataclass(frozen=True)
class States:
  """The states of one training on disk: <folder>/<step>, each appearing whole.

  Attributes:
    folder: on a disk.
    identity: what must be equal for a state to be gone on from, as JSON.
    devices: over which steps are split; on others a training may go on, which is said: it ends otherwise.
    kind: of the devices, with their cores where those are a processor's; likewise. "" where it plays no part.
  """

  folder: epath.Path
  identity: dict[str, Any]
  devices: int = 1
  kind: str = ""

  def save(self, state: step.State, log: Log) -> None:
    """Writes a state (NumPy arrays) and forgets older ones.

    Raises:
      BiasjaxError: storage failed.
    """
    at = int(state["step"])
    about = {"identity": self.identity, "log": log, "devices": self.devices, "kind": self.kind}
    about["version"] = __version__
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      for part in self.folder.iterdir():
        if UNFINISHED in part.name:  # of a process that was killed, or had no room
          part.rmtree(missing_ok=True)
      path = self.folder / f"{at:08d}"
      if path.exists():  # it was found damaged, and training went on from the one before
        path.rmtree()
      # Orbax writes under another name and renames, but only where nothing is overwritten.
      handler = ocp.CompositeCheckpointHandler()
      with load.storing(), load.plain(path) as written, ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(
          written,
          args=ocp.args.Composite(about=ocp.args.JsonSave(about), state=ocp.args.StandardSave(state)),
        )
      for old in self._steps()[:-KEPT]:
        (self.folder / old).rmtree()
    except OSError as error:
      raise BiasjaxError(f"cannot write {self.folder}: {error}; start again to go on") from error

  def _steps(self) -> list[str]:
    if not self.folder.exists():
      return []
    return sorted(path.name for path in self.folder.iterdir() if path.name.isdecimal())

  def latest(self, like: step.State, steps: int | None = None) -> tuple[step.State, Log] | None:
    """The last state, with its log; None if there is none.

    Args:
      like: a state of the same structure and shapes.
      steps: of the whole training, where that is known.

    Raises:
      BiasjaxError: it belongs to another training.
    """
    for name in reversed(self._steps()):
      path = (self.folder / name).resolve()
      with ocp.Checkpointer(ocp.CompositeCheckpointHandler("about", "state")) as checkpointer:
        try:
          about = checkpointer.restore(path, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
          if about["identity"] != self.identity:
            changed = ", ".join(_changed(about["identity"], self.identity))
            raise BiasjaxError(
              f"{self.folder} holds a training with another {changed}: go on as it was started, or name "
              "another --workdir or train.name"
            )
          wanted = ocp.args.Composite(state=ocp.args.StandardRestore(like))
          restored = checkpointer.restore(path, args=wanted)["state"]
        except BiasjaxError:
          raise
        # Orbax and TensorStore raise many types for what is damaged, without a common base.
        except Exception as error:
          logger.warning("%s is damaged (%s): the state before it is used", path, error)
          continue
      before, kind = about.get("devices", self.devices), about.get("kind", self.kind)
      if before != self.devices and int(name) != steps:
        messages.warn(
          f"note: {self.folder} was trained on {before} device(s) and goes on on {self.devices}: BatchNorm "
          "normalises each one's rows, so that it does not end as it would have"
        )
      elif kind != self.kind and int(name) != steps:
        messages.warn(
          f"note: {self.folder} was trained on {kind} and goes on on {self.kind}: sums are made in other "
          "parts there, so that last digits may not end as they would have"
        )
      if about.get("version") != __version__:
        by = f"biasjax {about['version']}" if "version" in about else "an earlier biasjax"
        messages.warn(
          f"note: {self.folder} was trained by {by}, and this is {__version__}, which may compute otherwise: "
          "name another --workdir or train.name to train anew"
        )
      return restored, [tuple(row) for row in about["log"]]
    return None


def _changed(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
  """The names of what differs; of what has parts itself, as train has settings, those of the parts."""
  found = []
  for name in sorted({*there, *here}):
    one, other = there.get(name), here.get(name)
    if isinstance(one, dict) and isinstance(other, dict):
      found += [f"{name}.{part}" for part in _changed(one, other)]
    elif one != other:
      found.append(name)
  return found


@numerics.settled()
def train(
  recipe: step.Recipe,
  variables: Variables,
  source: Source,
  states: States,
  partition: Partition,
  *,
  batch_size: int,
  save_every: int,
  keep_every: int,
  keep: Callable[[int, Variables], None],
  others: Sequence[Variables] = (),
  columns: Mapping[str, np.ndarray] | None = None,
) -> tuple[list[Variables], Log]:
  """Trains, going on from the last state that is there.

  Args:
    recipe: how.
    variables: to begin with, NumPy arrays or JAX arrays on the host.
    source: what to train on.
    states: where states are kept.
    partition: where steps run.
    batch_size: examples of a step, over all devices.
    save_every: steps from one state to the next.
    keep_every: steps from one call of `keep` to the next; 0 for none.
    keep: called with the steps so far and the first network as it is then.
    others: what the objective's other members begin with.
    columns: what the objective sees of all examples, as its `prepare` made it.

  Returns:
    The variables of the trained networks that are kept (`step.kept`), and loss and accuracy of each step.

  Raises:
    BiasjaxError: the batch does not divide over the devices, or storage failed.
    DivergedError: the loss, or a network, is not finite.
  """
  if batch_size % len(partition.devices):
    raise BiasjaxError(f"--batch_size={batch_size} does not divide over {len(partition.devices)} devices")
  like = jax.tree.map(np.asarray, step.init(recipe, variables, others, source.length))
  found = states.latest(like, recipe.steps)
  state, log = found or (like, [])
  run = _program(partition, dataclasses.replace(recipe, seed=0))  # the seed is an argument
  fixed = partition.share((numerics.seed_key(recipe.seed), dict(columns or {})))
  shared, start = partition.share(state), int(state["step"])
  progress = messages.progress(total=recipe.steps, initial=start, unit=" steps", desc="training")
  waiting = []
  with progress:
    for batch in batches.batches(source, recipe.seed, batch_size, start, recipe.steps):
      # Examples come in random order, so the next one of the batch is any other one.
      mixed = (np.roll(batch.pixels, -1, 0), np.roll(batch.labels, -1, 0))
      shared, measured = run(
        shared, *fixed, *partition.put((batch.pixels, batch.labels, batch.indices, *mixed))
      )
      waiting.append(measured)
      if len(waiting) > IN_FLIGHT:
        jax.block_until_ready(waiting[-IN_FLIGHT])
      start += 1
      progress.update()
      saving, keeping = start % save_every == 0, keep_every and start % keep_every == 0
      if saving or keeping or start == recipe.steps:
        log += [_row(partition.first(row), start - len(waiting) + i) for i, row in enumerate(waiting, 1)]
        waiting = []
        state = partition.first(shared)
        trained = step.kept(recipe, state)
        # The loss was, before the update.
        if not all(np.isfinite(values).all() for values in jax.tree.leaves(trained)):
          raise DivergedError(f"the weights after step {start} are not finite: {SMALLER}")
        if keeping:
          keep(start, trained[0])
        states.save(state, log)
        progress.set_postfix_str(f"loss {log[-1][0]:.3f}")
  return step.kept(recipe, state), log


@functools.lru_cache(maxsize=1)
def _program(partition: Partition, recipe: step.Recipe) -> Callable:
  """The compiled step: a sweep trains networks that differ in seed or data alone one after another."""
  return partition.program(step.make(recipe), shared=3, batched_out=False)


def _row(measured: dict[str, Any], at: int) -> tuple[float, float]:
  loss, accuracy = float(measured["loss"]), float(measured["accuracy"])
  if not np.isfinite(loss):
    raise DivergedError(f"the loss of step {at} is not finite: {SMALLER}")
  return loss, accuracy
