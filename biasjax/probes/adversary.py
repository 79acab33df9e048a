"""An attack on one batch: which examples are still right, in which order they are attacked, and what is kept.

Shared by the probes that attack. An example that the network has wrong is not attacked further: those that
are right are gathered into smaller batches of few fixed sizes, so that little is computed for nothing and
little is compiled.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from biasjax import numerics
from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import loop, losses, threat
from biasjax.ops.attacks.apgd import Apgd
from biasjax.ops.attacks.fab import Fab
from biasjax.ops.attacks.pgd import Pgd
from biasjax.ops.attacks.square import Square
from biasjax.partition import Partition
from biasjax.probes import chance
from biasjax.probes.base import Attacked, Metric, Victim
from biasjax.probes.decisions import Decision
from biasjax.probes.observed import accuracies, interval, sampling_of

CLEAN = "clean"  # in `broken_by`: wrong before any attack
MOST_TARGETS = 9  # as AutoAttack
# The host asks after so many steps whether there is anything left to do; it also bounds what waits on a CPU.
STEPS_BETWEEN_LOOKS = 4
STEPS_BETWEEN_GATHERINGS = 256  # of a long search: what is broken by then leaves the batch
SMALLEST_GROUP = 8
EACH_SMALLER_BY = 4


@dataclasses.dataclass(frozen=True)
class Stage:
  """One attack of a sequence.

  Attributes:
    name: as it appears in the column `broken_by`.
    attack: what it does.
    targeted: whether it is run against each of the most likely wrong classes in turn.
    restarts: how often, each with randomness of its own.
    fewest_classes: competing classes that it needs.
  """

  name: str
  attack: Pgd | Apgd | Fab | Square
  targeted: bool = False
  restarts: int = 1
  fewest_classes: int = 2


class Look(NamedTuple):
  """What the network says about images: arrays [n]; `ranked` [n, t] are wrong classes, likeliest first."""

  right: Any
  margin: Any
  ranked: Any
  competing: Any


class Adversary:
  """Attacks the examples of one batch for one budget after another.

  Args:
    victim: the network.
    images: float [b, h, w, 3] in the partition's form.
    labels: int32 [b, l], likewise.
    norm: of the budgets.
    on_host: whether the host runs the loop over steps, a program a step; by default on CPU only, where XLA
      runs a network inside a loop more slowly.
  """

  def __init__(
    self, victim: Victim, images: Any, labels: Any, norm: threat.Norm, on_host: bool | None = None
  ):
    self.victim = victim
    self.norm: threat.Norm = norm
    devices = victim.partition.devices
    self.on_host = devices[0].platform == "cpu" if on_host is None else on_host
    self.variables = victim.variables  # of gradients
    if devices[0].platform == "cpu" and victim.ease:
      self.variables = victim.partition.compile(victim.ease, shared=1, batched_out=False)(victim.variables)
    self.images, self.labels = victim.partition.get((images, labels))
    self.sizes = group_sizes(len(self.labels), len(devices))
    self.clean = self.look(self.images, np.arange(len(self.labels)))

  def attack(
    self,
    stages: Sequence[Stage],
    eps: float,
    keys: Any,
    *,
    keep: bool = True,
    smaller: "Progress | None" = None,
  ) -> "Progress":
    """The outcome of all stages in order, each on the examples that are still right.

    Args:
      stages: the attacks.
      eps: the budget.
      keys: uint32 [b, 2] in the partition's form.
      keep: of several attempts at an example that stays right, the one with the greatest margin; otherwise
        the last one.
      smaller: of a smaller budget: what it broke stays as it is, the others start from its images.

    Raises:
      BiasjaxError: fewer classes compete than a stage needs.
    """
    keys = self.victim.partition.get(keys)
    outcome = smaller.copy() if smaller else Progress.of_clean(self.images, self.clean)
    outcome.stuck[:] = True  # until an attempt is not
    starts = outcome.images.copy()
    for stage in stages:
      self._refuse_few_classes(stage)
      for target in range(self._targets(stage)):
        for restart in range(stage.restarts):
          rows = np.flatnonzero(outcome.right)
          if not len(rows):
            return outcome
          tag = zlib.crc32(f"{stage.name}/{target}/{restart}".encode())
          found, stuck = self._run(stage.attack, eps, tag, keys, starts, self.clean.ranked[:, target], rows)
          outcome.take(rows, found, self.look(found, rows), stage.name, keep)
          outcome.stuck[rows] &= stuck
    return outcome

  def _refuse_few_classes(self, stage: Stage) -> None:
    attacked = self.clean.competing[self.clean.right]
    if len(attacked) and attacked.min() < stage.fewest_classes:
      raise BiasjaxError(
        f"{stage.name} compares the best {stage.fewest_classes} classes, but only {attacked.min()} compete "
        "here: choose another loss, or attacks without it"
      )

  def _targets(self, stage: Stage) -> int:
    if not stage.targeted or not self.clean.right.any():
      return 1
    return min(self.clean.ranked.shape[1], int(self.clean.competing[self.clean.right].min()) - 1)

  def look(self, images: np.ndarray, rows: np.ndarray) -> Look:
    """Asks the network about `images` [n, ...], which belong to the examples `rows`."""
    partition = self.victim.partition
    logits = partition.compile(self.victim.logits, shared=1)
    step = partition.compile(_look(self.victim.decide))

    def call(images, labels):
      return step(logits(self.victim.variables, images), labels)

    return _grouped(partition, self.sizes, call, images, self.labels[rows])

  def _run(self, attack, eps, tag, keys, starts, targets, rows) -> tuple[np.ndarray, np.ndarray]:
    """The images [n, ...] that `attack` ends with for the examples `rows`, and whether it was stuck, [n]."""
    partition, variables, scores = self.victim.partition, self.variables, self.victim.scores
    shared = partition.share((np.asarray(eps, self.images.dtype), np.uint32(tag)))

    def at_once(first: int, end: int, task: loop.Task, state: Any) -> Any:
      ends = partition.share((np.int32(first), np.int32(end)))
      return partition.compile(_steps(scores, attack), shared=3)(variables, shared, ends, task, state)

    def by_steps(first: int, end: int, task: loop.Task, state: Any) -> Any:
      step = partition.compile(_step(scores, attack), shared=3)
      for i in range(first, end):
        state = step(variables, shared, partition.share(np.int32(i)), task, state)
        if (i + 1) % STEPS_BETWEEN_LOOKS == 0 and partition.get(state.broken).all():
          break
      return state

    def run(*of_group):
      task = loop.Task(*of_group)
      state = partition.compile(_start(attack), shared=1)(shared, task)
      return self._to_the_end(by_steps if self.on_host else at_once, attack.steps, task, state)

    arrays = (keys[rows], self.images[rows], self.labels[rows], targets[rows], starts[rows])
    return _grouped(partition, self.sizes, run, *arrays)

  def _to_the_end(self, advance: Callable, steps: int, task: loop.Task, state: Any) -> tuple[Any, Any]:
    """The images after all steps, and whether they were stuck.

    Now and then those that are broken leave, where the others fit a smaller batch: nothing changes for them.
    """
    partition = self.victim.partition
    ended: list[tuple[np.ndarray, Any]] = []  # (rows of the task, what they ended with)
    rows = np.arange(len(partition.get(state.broken)))
    for first in range(0, steps, STEPS_BETWEEN_GATHERINGS):
      end = min(first + STEPS_BETWEEN_GATHERINGS, steps)
      state = advance(first, end, task, state)
      left = np.flatnonzero(~partition.get(state.broken))
      if end == steps or not len(left):
        break
      size = min(size for size in self.sizes if size >= len(left))
      if size < len(rows):
        ended.append((rows, partition.get((state.adversarial, state.stuck))))
        chosen = np.resize(left, size)  # over and over, as far as they are fewer
        rows = rows[chosen]
        taken = jax.tree.map(lambda x, chosen=chosen: x[chosen], partition.get((task, state)))
        task, state = partition.put(taken)
    if not ended:
      return state.adversarial, state.stuck
    (_, whole), *later = [*ended, (rows, partition.get((state.adversarial, state.stuck)))]
    found = tuple(np.array(part) for part in whole)
    for of_rows, parts in later:
      for into, part in zip(found, parts, strict=True):
        into[of_rows] = part
    return partition.put(found)

  def attacked(self, condition: str, eps: float, outcome: "Progress") -> tuple[str, Attacked]:
    """What a probe yields for one condition, the norms checked.

    Columns: `broken_by` (the attack that first made the network wrong, "clean" where it was, "" where it is
    right), `loss` (the margin: best wrong minus best right score, float32), `norm` (of the perturbation,
    in double precision) and `stuck` (whether it is right, and no attempt ended with a gradient to follow).

    Raises:
      RuntimeError: a perturbation exceeds its budget, which is a defect.
    """
    measured = threat.measured_norms(self.norm, self.images, outcome.images)
    slack = threat.rounding(self.norm, self.images.shape[1:], self.images.dtype, eps)
    if (measured > eps + slack).any() or outcome.images.min() < 0 or outcome.images.max() > 1:
      largest = measured.max()
      raise RuntimeError(f"{condition}: a perturbation of norm {largest} exceeds its budget of {eps}")
    columns = {
      "broken_by": outcome.broken_by.copy(),
      "loss": outcome.margin.astype(np.float32),
      "norm": measured,
      "stuck": outcome.right & outcome.stuck,
    }
    return condition, Attacked(self.victim.partition.put(outcome.images), columns)


@dataclasses.dataclass
class Progress:
  """Where an attack stands, for each example: image, whether it is right, margin, what broke it, whether all
  attempts were stuck."""

  images: np.ndarray
  right: np.ndarray
  margin: np.ndarray
  broken_by: np.ndarray
  stuck: np.ndarray

  @classmethod
  def of_clean(cls, images: np.ndarray, clean: Look) -> "Progress":
    """Before any attack."""
    broken_by = np.where(clean.right, "", CLEAN).astype(object)
    # The first attempt at an example that is right counts in any case.
    margin = np.where(clean.right, -np.inf, clean.margin)
    return cls(images.copy(), clean.right.copy(), margin, broken_by, np.ones(len(margin), bool))

  def copy(self) -> "Progress":
    """One that can be changed."""
    return Progress(*(getattr(self, field.name).copy() for field in dataclasses.fields(self)))

  def take(self, rows: np.ndarray, images: np.ndarray, look: Look, name: str, keep: bool) -> None:
    """Takes in what attack `name` made of `rows`, all of which were right."""
    better = ~look.right | (look.margin > self.margin[rows]) if keep else np.ones(len(rows), bool)
    rows, images = rows[better], images[better]
    self.images[rows], self.margin[rows] = images, look.margin[better]
    self.right[rows] = look.right[better]
    self.broken_by[rows[~look.right[better]]] = name


def group_sizes(batch: int, devices: int) -> tuple[int, ...]:
  """The sizes of batches that are compiled, largest first: the whole, a quarter, and so on."""
  sizes = [batch]
  while True:
    smaller = -(-sizes[-1] // (EACH_SMALLER_BY * devices)) * devices
    if smaller < SMALLEST_GROUP or smaller >= sizes[-1]:
      return tuple(sizes)
    sizes.append(smaller)


def groups(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
  """(rows, size) of the groups for `count` rows; more than half of each is used where sizes allow it."""
  left = count
  while left:
    fitting = [size for size in sizes if size >= left]
    smaller = [size for size in sizes if size < left]
    size = fitting[-1] if fitting and (2 * left > fitting[-1] or not smaller) else smaller[0]
    used = min(size, left)
    yield used, size
    left -= used


def _grouped(partition: Partition, sizes: Sequence[int], call: Callable, *arrays: np.ndarray) -> Any:
  """call(*arrays) by groups of rows, each padded with its first row; NumPy."""
  parts, first = [], 0
  for used, size in groups(len(arrays[0]), sizes):
    rows = np.full(size, first)
    rows[:used] += np.arange(used)
    result = partition.get(call(*(partition.put(array[rows]) for array in arrays)))
    parts.append(jax.tree.map(lambda x, used=used: x[:used], result))
    first += used
  return jax.tree.map(lambda *of_groups: np.concatenate(of_groups), *parts)


@functools.lru_cache(maxsize=64)
def _look(decide: Decision) -> Callable:
  """(logits, labels) -> Look."""

  def look(logits, labels):
    of_images = decide(logits)
    right = losses.right_classes(labels, of_images.shape[1])
    unused = jnp.zeros(len(labels), jnp.int32)
    wrong = jnp.where(right, -jnp.inf, of_images)
    return Look(
      losses.is_right(of_images, right),
      losses.margin(of_images, right, unused),
      jax.lax.top_k(wrong, min(MOST_TARGETS, wrong.shape[1] - 1))[1],
      jnp.sum(of_images > -jnp.inf, axis=1, dtype=jnp.int32),
    )

  return look


def _keyed(task: loop.Task, tag: Any) -> loop.Task:
  """The task with random keys, folded with what tells one attempt from another."""
  keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(numerics.keys(task.keys), tag)
  return task._replace(keys=keys)


@functools.lru_cache(maxsize=256)
def _start(attack: loop.Attack) -> Callable:
  return lambda shared, task: attack.start(shared[0], _keyed(task, shared[1]))


@functools.lru_cache(maxsize=256)
def _step(scores: Callable, attack: loop.Attack) -> Callable:
  def step(variables, shared, i, task, state):
    eps, tag = shared
    with numerics.settled():
      return attack.step(functools.partial(scores, variables), eps, i, _keyed(task, tag), state)

  return step


@functools.lru_cache(maxsize=256)
def _steps(scores: Callable, attack: loop.Attack) -> Callable:
  def steps(variables, shared, ends, task, state):
    (eps, tag), (first, end) = shared, ends
    with numerics.settled():
      asked = functools.partial(scores, variables)
      return loop.steps_between(attack, asked, eps, first, end, _keyed(task, tag), state)

  return steps


def accuracy(observations: pd.DataFrame, condition: str, column: str, *, detail: bool = False) -> Metric:
  """Accuracy in per cent on what `condition` made of all images, with Wilson's 95 % interval.

  An attack may go below chance, and that is no flag; what is at chance may be a network that says the same of
  every image, which no attack can change. Images that count as right because the attack was stuck are one.
  """
  said = accuracies(observations, [condition])
  right, guessing = said.right[:, 0], float(said.chance[0])
  value, low, high = interval(right, said.samples)
  flags = [chance.flag(low, high, guessing, below=False)]
  table = observations[observations["condition"] == condition]
  if stuck := int(np.sum(table.get("stuck", False) & (table["rank"] == 0))):
    of = len(table)
    flags.append(f"no gradient to follow on {stuck} of {of} images, which count as right: use autoattack")
  numbers: dict[str, Any] = {"n": len(right)} | sampling_of(said.samples)
  edges = 100 * value, 100 * low, 100 * high
  flag = "; ".join(filter(None, flags))
  return Metric(column, *edges, detail=detail, chance=100 * guessing, flag=flag, **numbers)


def alike(norm: str, budgets: Mapping[str, float]) -> dict[str, str]:
  """What conditions of attacks are about (`Probe.alike`): the norm and the budget."""
  return {condition: f"{norm} {eps:.9g}" for condition, eps in budgets.items()}


def budgets(probe: str, eps: str, norm: str) -> dict[str, float]:
  """Conditions "eps=VALUE" of ascending budgets joined by "+", in 1/255 for linf.

  Raises:
    BiasjaxError: another norm, or the budgets are no ascending numbers from 0 on.
  """
  if norm not in ("linf", "l2"):
    raise BiasjaxError(f"probe {probe}: norm={norm}: expected linf or l2")
  try:
    values = [float(value) for value in eps.split("+")]
  except ValueError:
    values = []
  if norm == "linf" and "/255" in eps:
    raise BiasjaxError(
      f"probe {probe}: eps={eps}: budgets are in 1/255 already: eps={eps.replace('/255', '')}"
    )
  if not values or values != sorted(set(values)) or not 0 <= values[0] <= values[-1] < float("inf"):
    raise BiasjaxError(f"probe {probe}: eps={eps}: expected ascending numbers joined by +, like 0.5+1+4")
  return {f"eps={value:g}": value / 255 if norm == "linf" else value for value in values}


def whole_number(probe: str, option: str, value: str, least: int = 1) -> int:
  """An option that counts.

  Raises:
    BiasjaxError: it is no whole number, or too small.
  """
  if not value.isdecimal() or int(value) < least:
    raise BiasjaxError(f"probe {probe}: {option}={value}: expected a whole number from {least} on")
  return int(value)


def one_of(probe: str, option: str, value: str, allowed: Sequence[str]) -> str:
  """An option with few values.

  Raises:
    BiasjaxError: another one.
  """
  if value not in allowed:
    raise BiasjaxError(f"probe {probe}: {option}={value}: expected one of {', '.join(allowed)}")
  return value


def variant(probe: str, given: Mapping[str, str], defaults: Mapping[str, str]) -> str:
  """The probe's name with the options that are not as by default."""
  return ":".join([probe, *(f"{k}={v}" for k, v in given.items() if v != defaults[k])])
