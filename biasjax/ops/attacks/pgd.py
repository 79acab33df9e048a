"""Projected gradient descent (Madry et al. 2018), and FGSM, its first step (Goodfellow et al. 2015)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from biasjax.ops.attacks import threat
from biasjax.ops.attacks.loop import Scores, Task
from biasjax.ops.attacks.losses import LOSSES, margin, right_classes
from biasjax.types import Images


def move(
  norm: threat.Norm, originals: Images, images: Images, gradients: Images, length: Any, eps: Any
) -> Images:
  """One step of `length` along the steepest ascent, projected into the ball of `eps` and to [0, 1]."""
  return threat.project(norm, originals, images + length * threat.steepest(norm, gradients), eps)


class State(NamedTuple):
  """PGD's state; `margin` is that of `adversarial`, where the best iterate is kept."""

  x: Images
  adversarial: Images
  margin: Float[Array, "b"]
  broken: Bool[Array, "b"]
  stuck: Bool[Array, "b"]


@dataclasses.dataclass(frozen=True)
class Pgd:
  """Steps of fixed length along the steepest ascent of a loss, each projected back.

  FGSM is one step of length eps from the image itself.

  Attributes:
    norm: of the threat model and of the steps.
    iterations: gradients that are taken.
    step_size: of one, in the norm; a multiple of eps where `relative`.
    relative: see there.
    loss: a key of `LOSSES`, of those without a target.
    start_at: "random" in the ball, the "image", or where the "task" says.
    best: keep the iterate with the greatest margin instead of the last one as published.
  """

  norm: threat.Norm = "linf"
  iterations: int = 40
  step_size: float = 2 / 255
  relative: bool = False
  loss: str = "ce"
  start_at: str = "random"
  best: bool = False

  @property
  def steps(self) -> int:
    """One more than gradients where the last iterate has to be looked at too."""
    return self.iterations + self.best

  def start(self, eps: threat.Eps, task: Task) -> State:
    """At a random point, the image, or where the task says, within the budget."""
    x = task.images
    if self.start_at == "random":
      x = threat.within(self.norm, task.keys, task.images, eps)
    elif self.start_at == "task":
      x = threat.project(self.norm, task.images, task.starts, eps)
    batch = len(task.labels)
    none = jnp.zeros(batch, bool)
    return State(x, x, jnp.full(batch, -jnp.inf, x.dtype), broken=none, stuck=none)

  def step(self, scores: Scores, eps: threat.Eps, i: Int[Array, ""], task: Task, state: State) -> State:
    """One gradient, one step, one projection."""
    del i

    def total(x):
      of_x = scores(x)
      right = right_classes(task.labels, of_x.shape[1])
      return LOSSES[self.loss](of_x, right, task.targets).sum(), margin(of_x, right, task.targets)

    gradients, margins = jax.grad(total, has_aux=True)(state.x)
    length = self.step_size * eps if self.relative else self.step_size
    x = move(self.norm, task.images, state.x, gradients, length, eps)
    stuck = threat.useless(gradients)
    if not self.best:
      return state._replace(x=x, adversarial=x, stuck=stuck)
    better = margins > state.margin
    return State(
      x=x,
      adversarial=jnp.where(better[:, None, None, None], state.x, state.adversarial),
      margin=jnp.where(better, margins, state.margin),
      broken=state.broken,
      stuck=stuck,
    )
