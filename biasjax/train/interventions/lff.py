"""Learning from Failure (Nam et al. 2020): what a biased network fails at weighs more.

Two networks of one architecture see the same batches. The biased one learns by the generalised cross-entropy
(`gce`), q p^q CE as the authors' code has it. Of every training example both losses are remembered as running
averages (the first visit's is the first loss), each divided by the largest of its class; the kept network's
cross-entropy is weighted by W = biased / (biased + kept). W is not brought to mean 1: the kept network's
learning rate is lower for it, as published.

Strength: the exponent of W; 1 as published. Options: `q` (0.7); `decay` (0.7) of the averages; `scale`,
"official" or "true", which leaves out the factor q and so is the gradient of (1 - p^q) / q.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention, Objective, number
from biasjax.train.interventions.gce import amplified

NAME = "lff"
SEEN, BIASED, KEPT = "seen", "biased", "kept"
LEAST = 1e-8  # added to what is divided by, as published
Column = Float[Array, "n"]


def remember(
  memory: Mapping[str, Column],
  at: Int[Array, "b"],
  biased: Float[Array, "b"],
  kept: Float[Array, "b"],
  decay: float,
) -> dict[str, Column]:
  """The memory after the losses of the examples `at` were seen."""
  share = 1 - decay * memory[SEEN][at]  # all of it, where nothing is remembered yet
  now = {BIASED: biased, KEPT: kept}
  after = {
    name: memory[name].at[at].set(decay * memory[name][at] + share * loss) for name, loss in now.items()
  }
  return after | {SEEN: memory[SEEN].at[at].set(1.0)}


def weights(
  memory: Mapping[str, Column], labels: Int[Array, "n"], at: Int[Array, "b"], classes: int
) -> Float[Array, "b"]:
  """W of the examples `at`, in [0, 1]."""

  def relative(column):
    largest = jax.ops.segment_max(column, labels, classes)
    return column[at] / (largest[labels[at]] + LEAST)

  biased, kept = relative(memory[BIASED]), relative(memory[KEPT])
  return biased / (biased + kept + LEAST)


def make(strength: float, *, q: str = "0.7", decay: str = "0.7", scale: str = "official") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: an option is out of its range.
  """
  power, keep = number(NAME, "q", q, 0, 1), number(NAME, "decay", decay, 0, 1)
  if scale not in ("official", "true"):
    raise BiasjaxError(f"interventions: {NAME}:scale={scale}: expected official or true")
  factor = power if scale == "official" else 1.0

  def loss(c):
    kept, biased = c.forward(0, c.images)[0], c.forward(1, c.images)[0]
    of_kept, of_biased = (optax.softmax_cross_entropy(logits, c.targets) for logits in (kept, biased))
    seen_biased, seen_kept = (jax.lax.stop_gradient(c.gather(each)) for each in (of_biased, of_kept))
    memory = remember(c.memory, c.gather(c.indices), seen_biased, seen_kept, keep)
    weight = weights(memory, c.columns["label"], c.indices, kept.shape[1]) ** strength
    of_both = factor * amplified(biased, c.labels, c.targets, power) + weight * of_kept
    return jnp.mean(of_both), memory

  objective = Objective(loss, members=2, needs=("label",), memory=(BIASED, KEPT, SEEN))
  return Intervention(NAME, strength, objective=objective if strength else None)
