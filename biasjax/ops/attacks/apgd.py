"""Auto-PGD: the step size follows the loss.

Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks", section 3.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from biasjax.ops.attacks import threat
from biasjax.ops.attacks.loop import Scores, Task
from biasjax.ops.attacks.losses import LOSSES, is_right, right_classes
from biasjax.types import Images

RHO = 0.75  # share of steps that must raise the loss, or the step is halved
MOMENTUM = 0.75
# Checkpoints as shares of all iterations: the first interval, by how much each is shorter, the shortest.
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06


def checkpoints(iterations: int) -> np.ndarray:
  """int [iterations + 1]: at iterations where the step may be halved, those since the last such; else 0."""
  interval = max(int(FIRST * iterations), 1)
  shorter, shortest = max(int(SHORTER * iterations), 1), max(int(SHORTEST * iterations), 1)
  intervals = np.zeros(iterations + 1, np.int32)
  at = interval
  while at <= iterations:
    intervals[at] = interval
    interval = max(interval - shorter, shortest)
    at += interval
  return intervals


class State(NamedTuple):
  """APGD's state: where it is, where it was, its best point with loss and gradient, and what it has seen.

  `raised` counts the iterations since the last checkpoint that raised the loss. `adversarial` is the first
  iterate that the network has wrong, and stays.
  """

  x: Images
  previous: Images
  best: Images
  best_gradients: Images
  best_loss: Float[Array, "b"]
  loss: Float[Array, "b"]
  raised: Int[Array, "b"]
  step_size: Float[Array, "b"]
  checked_loss: Float[Array, "b"]
  halved: Bool[Array, "b"]
  adversarial: Images
  broken: Bool[Array, "b"]
  stuck: Bool[Array, "b"]


@dataclasses.dataclass(frozen=True)
class Apgd:
  """Auto-PGD with momentum; an example is finished at its first iterate that is wrong.

  Attributes:
    loss: a key of `LOSSES`.
    norm: of the threat model.
    iterations: steps; gradients are one more.
  """

  loss: str = "ce"
  norm: threat.Norm = "linf"
  iterations: int = 100

  @property
  def steps(self) -> int:
    """Each looks at an iterate and moves on: the last iterate is looked at too."""
    return self.iterations + 1

  def start(self, eps: threat.Eps, task: Task) -> State:
    """At a random point at distance eps, with steps of twice that."""
    x = threat.on_sphere(self.norm, task.keys, task.images, eps)
    batch, dtype = len(task.labels), x.dtype
    lowest = jnp.full(batch, -jnp.inf, dtype)
    return State(
      x=x,
      previous=x,
      best=x,
      best_gradients=jnp.zeros_like(x),
      best_loss=lowest,
      loss=lowest,
      raised=jnp.zeros(batch, jnp.int32),
      step_size=jnp.full(batch, 2, dtype) * eps.astype(dtype),
      checked_loss=lowest,
      halved=jnp.ones(batch, bool),
      adversarial=x,
      broken=jnp.zeros(batch, bool),
      stuck=jnp.zeros(batch, bool),
    )

  def step(self, scores: Scores, eps: threat.Eps, i: Int[Array, ""], task: Task, state: State) -> State:
    """Looks at an iterate, at checkpoints halves the step or not, and moves."""

    def total(x):
      of_x = scores(x)
      right = right_classes(task.labels, of_x.shape[1])
      losses = LOSSES[self.loss](of_x, right, task.targets)
      return losses.sum(), (losses, ~is_right(of_x, right))

    gradients, (loss, wrong) = jax.grad(total, has_aux=True)(state.x)
    stuck = threat.useless(gradients)
    state = state._replace(
      adversarial=_where(wrong & ~state.broken, state.x, state.adversarial), broken=state.broken | wrong
    )
    better = loss > state.best_loss
    best = _where(better, state.x, state.best)
    best_gradients = _where(better, gradients, state.best_gradients)
    best_loss = jnp.maximum(loss, state.best_loss)
    raised = state.raised + ((i > 0) & (loss > state.loss))

    # Conditions 1 and 2 of section 3.3; the second only where the last checkpoint did not halve.
    interval = jnp.asarray(checkpoints(self.iterations))[i]
    stalled = (raised <= RHO * interval) | (~state.halved & (state.checked_loss >= best_loss))
    checking = interval > 0
    halve = checking & stalled
    x, gradients = _where(halve, best, state.x), _where(halve, best_gradients, gradients)
    step_size = jnp.where(halve, state.step_size / 2, state.step_size)
    momentum = jnp.where(i > 0, 1 - MOMENTUM, 0.0).astype(x.dtype)
    return State(
      x=self._move(eps, task.images, x, state.previous, gradients, step_size, momentum),
      previous=x,
      best=best,
      best_gradients=best_gradients,
      best_loss=best_loss,
      loss=loss,
      raised=jnp.where(checking, 0, raised),
      step_size=step_size,
      # The first checkpoint compares with the loss of the starting point.
      checked_loss=jnp.where(checking | (i == 0), best_loss, state.checked_loss),
      halved=jnp.where(checking, halve, state.halved),
      adversarial=state.adversarial,
      broken=state.broken,
      stuck=stuck,
    )

  def _move(self, eps, originals, x, previous, gradients, step_size, momentum):
    """Equation 2 of the paper: a projected step, mixed with the last movement, projected again."""
    ahead = x + step_size[:, None, None, None] * threat.steepest(self.norm, gradients)
    ahead = threat.project(self.norm, originals, ahead, eps)
    mixed = x + (1 - momentum) * (ahead - x) + momentum * (x - previous)
    return threat.project(self.norm, originals, mixed, eps)


def _where(condition: Bool[Array, "b"], this: Images, other: Images) -> Images:
  return jnp.where(condition[:, None, None, None], this, other)
