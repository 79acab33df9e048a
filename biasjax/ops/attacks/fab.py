"""FAB, the fast adaptive boundary attack, targeted.

Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
algorithm 1, and its targeted version from "Reliable evaluation of adversarial robustness", section 5.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from biasjax.ops.attacks import threat
from biasjax.ops.attacks.loop import Scores, Task
from biasjax.ops.attacks.losses import is_right, right_classes, target_margin
from biasjax.types import Images

ALPHA_MAX = 0.1  # how far a step may be biased towards the original
ETA = 1.05  # extrapolation beyond the boundary
BETA = 0.9  # how much of the way back to the original is kept once the boundary is crossed
SMALLEST = 1e-8  # of a distance that is divided by
# Newton's method on a concave, piecewise linear function ends by itself; this is beyond what was ever seen.
NEWTON_STEPS = 50


class State(NamedTuple):
  """FAB's state; `adversarial` is the first image within the budget that the network has wrong."""

  x: Images
  adversarial: Images
  broken: Bool[Array, "b"]
  stuck: Bool[Array, "b"]


@dataclasses.dataclass(frozen=True)
class Fab:
  """Steps towards the linearised boundary with the task's target class, biased towards the original.

  FAB looks for the least perturbation; here an example is finished once one within the budget is found.

  Attributes:
    norm: that is made small.
    steps: projections; each is two forward passes and a gradient.
  """

  norm: threat.Norm = "linf"
  steps: int = 100

  def start(self, eps: threat.Eps, task: Task) -> State:
    """At the image itself."""
    del eps
    none = jnp.zeros(len(task.labels), bool)
    return State(task.images, task.images, broken=none, stuck=none)

  def step(self, scores: Scores, eps: threat.Eps, i: Int[Array, ""], task: Task, state: State) -> State:
    """Linearise, project both points, move, and come back part of the way where the boundary is crossed."""
    del i

    def total(x):
      of_x = scores(x)
      ahead = target_margin(of_x, right_classes(task.labels, of_x.shape[1]), task.targets)
      return ahead.sum(), ahead

    x = state.x
    gradients, ahead = jax.grad(total, has_aux=True)(x)
    stuck = threat.useless(gradients)
    gradients = jnp.where(stuck[:, None, None, None], 0.0, gradients)
    away = x - task.images
    # The linearised classifier at the original.
    ahead_there = ahead - jnp.sum(gradients * away, axis=threat.PIXELS)
    here = to_boundary(self.norm, x, gradients, ahead)
    there = to_boundary(self.norm, task.images, gradients, ahead_there)
    near = jnp.maximum(threat.norms(self.norm, here), SMALLEST)
    far = jnp.maximum(threat.norms(self.norm, there), SMALLEST)
    alpha = jnp.minimum(near / (near + far), ALPHA_MAX)
    x = ((x + ETA * here) * (1 - alpha) + (task.images + ETA * there) * alpha).clip(0.0, 1.0)

    of_x = scores(x)
    wrong = ~is_right(of_x, right_classes(task.labels, of_x.shape[1]))
    found = wrong & (threat.norms(self.norm, x - task.images)[:, 0, 0, 0] <= eps) & ~state.broken
    back = task.images + BETA * (x - task.images)
    return State(
      x=jnp.where(wrong[:, None, None, None], back, x),
      adversarial=jnp.where(found[:, None, None, None], x, state.adversarial),
      broken=state.broken | found,
      stuck=stuck,
    )


def to_boundary(norm: threat.Norm, x: Images, normal: Images, offset: Float[Array, "b"]) -> Images:
  """The least d with offset + <normal, d> = 0 and x + d in [0, 1]; as far as the box allows if there is none.

  Every pixel moves by min(t * speed, room) in its own direction, for one t: speed is 1 in L-infinity and the
  size of its gradient in L2. What all cover together is concave and piecewise linear in t, so Newton's method
  from t = 0 meets the smallest t from below, exactly and without sorting.

  Args:
    norm: in which d is least.
    x: float [b, h, w, c] in [0, 1].
    normal: the hyperplane's, float [b, h, w, c].
    offset: float [b], the linear function's value at x.
  """
  direction = -jnp.sign(normal) * jnp.sign(offset)[:, None, None, None]
  weight = jnp.abs(normal)
  # Scaled, so that squares of small gradients do not underflow.
  largest = jnp.max(weight, axis=threat.PIXELS, keepdims=True)
  largest = jnp.where(largest > 0, largest, 1.0)
  weight = weight / largest
  wanted = jnp.abs(offset)[:, None, None, None] / largest
  speed = jnp.ones_like(weight) if norm == "linf" else weight
  room = jnp.where(direction > 0, 1 - x, x)
  room = jnp.where(direction == 0, 0.0, room)

  def covered(t):
    return jnp.sum(weight * jnp.minimum(t * speed, room), axis=threat.PIXELS, keepdims=True)

  def newton(carry):
    steps, t, _ = carry
    slope = jnp.sum(weight * speed * (t * speed < room), axis=threat.PIXELS, keepdims=True)
    moved = t + jnp.maximum(wanted - covered(t), 0.0) / jnp.where(slope > 0, slope, 1.0)
    moved = jnp.where(slope > 0, moved, t)
    return steps + 1, moved, jnp.any(moved > t)

  def unfinished(carry):
    steps, _, moving = carry
    return moving & (steps < NEWTON_STEPS)

  _, t, _ = jax.lax.while_loop(unfinished, newton, (0, jnp.zeros_like(wanted), jnp.array(True)))
  return direction * jnp.minimum(t * speed, room)
