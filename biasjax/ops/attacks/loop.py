"""What all attacks share: the task, and a loop of steps as one program or as many."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from biasjax.ops.attacks.threat import Eps, Keys
from biasjax.types import Images, Logits

Scores = Callable[[Images], Logits]


class Task(NamedTuple):
  """What an attack is given for each example.

  Attributes:
    keys: of its noise.
    images: the originals, float [b, h, w, c] in [0, 1].
    labels: the right classes, -1 where there are fewer.
    targets: the class that a targeted attack wants.
    starts: where to begin, for an attack that is told.
  """

  keys: Keys
  images: Images
  labels: Int[Array, "b l"]
  targets: Int[Array, "b"]
  starts: Images


@runtime_checkable
class Attack(Protocol):
  """Steps over a batch; pure, and hashable, so that it is compiled once.

  A state is a named tuple of arrays [b, ...] with `adversarial`, the images that the attack ends with,
  `broken`, where it has nothing left to do, and `stuck`, where the last gradient said nothing (`useless`).
  """

  @property
  def steps(self) -> int:
    """How many."""
    ...

  def start(self, eps: Eps, task: Task) -> Any:
    """The state before the first step; does not ask the network."""
    ...

  def step(self, scores: Scores, eps: Eps, i: Int[Array, ""], task: Task, state: Any) -> Any:
    """The state after step `i`."""
    ...


def steps_between(
  attack: Attack, scores: Scores, eps: Eps, first: Int[Array, ""], end: Int[Array, ""], task: Task, state: Any
) -> Any:
  """The state after the steps from `first` to before `end`, or once all examples are broken; one program."""

  def unfinished(carry) -> Bool[Array, ""]:
    i, state = carry
    return (i < end) & ~jnp.all(state.broken)

  def step(carry):
    i, state = carry
    return i + 1, attack.step(scores, eps, i, task, state)

  return jax.lax.while_loop(unfinished, step, (jnp.asarray(first, jnp.int32), state))[1]
