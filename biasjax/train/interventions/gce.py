"""Generalised cross-entropy (Zhang & Sabuncu 2018): what is easy weighs more, so that a network stays biased.

The gradient is p^q times that of the cross-entropy, p being the probability of the example's own class; this
is how Nam et al. (2020) train the network that learns the bias. For `pseudo_labels`, say.

Strength: q, 0 to 1.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from biasjax.train.interventions.base import Intervention, Objective, require_share
from biasjax.types import Logits

NAME = "gce"


def own(logits: Logits, labels: Int[Array, "b"]) -> Float[Array, "b"]:
  """The probability of each example's own class."""
  return jnp.take_along_axis(jax.nn.softmax(logits), labels[:, None], axis=1)[:, 0]


def amplified(
  logits: Logits, labels: Int[Array, "b"], targets: Float[Array, "b k"], q: float
) -> Float[Array, "b"]:
  """p^q times the cross-entropy, p^q not differentiated: its gradient is that of (1 - p^q) / q."""
  return jax.lax.stop_gradient(own(logits, labels) ** q) * optax.softmax_cross_entropy(logits, targets)


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def loss(c):
    logits, _ = c.forward(0, c.images)
    return jnp.mean(amplified(logits, c.labels, c.targets, strength)), c.memory

  return Intervention(NAME, strength, objective=Objective(loss) if strength else None)
