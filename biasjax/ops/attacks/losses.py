"""What an attack raises: functions of scores that are greater the more wrong the network is.

Scores are a decision's: softmax over them is the probability of each competing class, and classes that do not
compete are -inf. An example may have several right classes; with one, each loss is the published one.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from biasjax.ops.extremes import greatest
from biasjax.types import Logits

Right = Bool[Array, "b k"]
Losses = Float[Array, "b"]
Targets = Int[Array, "b"]
Loss = Callable[[Logits, Right, Targets], Losses]

# Keeps a quotient finite where all scores are equal, as published.
TINY = 1e-12
# Competing classes that the difference of logits ratio is defined for.
FEWEST_FOR_DLR = 4


def right_classes(labels: Int[Array, "b l"], classes: int) -> Right:
  """Which of `classes` are right for each example; labels that are -1 name none."""
  return jnp.any(labels[:, :, None] == jnp.arange(classes)[None, None], axis=1)


def is_right(scores: Logits, right: Right) -> Bool[Array, "b"]:
  """Whether the prediction is right; ties go to the lower class, as everywhere."""
  return jnp.take_along_axis(right, jnp.argmax(scores, axis=1)[:, None], axis=1)[:, 0]


def _best_right(scores: Logits, right: Right) -> Losses:
  return greatest(jnp.where(right, scores, -jnp.inf), (1,))


def margin(scores: Logits, right: Right, target: Targets) -> Losses:
  """Best wrong score minus best right one: positive where the network is wrong. `target` plays no part."""
  del target
  return greatest(jnp.where(right, -jnp.inf, scores), (1,)) - _best_right(scores, right)


def target_margin(scores: Logits, right: Right, target: Targets) -> Losses:
  """The target's score minus the best right one."""
  return jnp.take_along_axis(scores, target[:, None], axis=1)[:, 0] - _best_right(scores, right)


def cross_entropy(scores: Logits, right: Right, target: Targets) -> Losses:
  """Minus the log probability of the right classes, in nats. `target` plays no part."""
  del target
  of_right = jax.nn.logsumexp(jnp.where(right, scores, -jnp.inf), axis=1)
  return jax.nn.logsumexp(scores, axis=1) - of_right


def dlr(scores: Logits, right: Right, target: Targets) -> Losses:
  """Difference of logits ratio (Croce & Hein 2020, equation 6): the margin over best minus third best score.

  It does not change when scores are shifted or scaled. `target` plays no part. Needs 3 competing classes.
  """
  best = jax.lax.top_k(scores, 3)[0]
  return margin(scores, right, target) / (best[:, 0] - best[:, 2] + TINY)


def targeted_dlr(scores: Logits, right: Right, target: Targets) -> Losses:
  """The targeted ratio (Croce & Hein 2020, equation 7): target's score minus the right one, over the spread.

  The spread is the best score minus the mean of the third and fourth. Needs 4 competing classes.
  """
  best = jax.lax.top_k(scores, 4)[0]
  return target_margin(scores, right, target) / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + TINY)


LOSSES: dict[str, Loss] = {
  "ce": cross_entropy,
  "margin": margin,
  "dlr": dlr,
  "targeted-dlr": targeted_dlr,
}
