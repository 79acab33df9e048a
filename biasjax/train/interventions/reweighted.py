"""Examples weigh so that the bias tells nothing of the class: weights 1 / p(class given bias).

p is counted over the training examples. Weights are brought to mean 1 over them; what is above `largest` is
cut off, and the mean is brought to 1 again. The effective sample size, (sum w)^2 / sum w^2 (Kish), is
printed: of few examples that weigh much little is learnt. The examples are weighted, not drawn by weight, so
that each is shown once an epoch.

Strength: the exponent of the weights; 1 makes class and bias independent. Options: `by`, "bias" or "weight",
which takes the column `weight` of the annotations (of `biasjax.train.biasing`, say); `largest` (10), the
largest weight, in means.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention, Objective, number

NAME = "reweighted"


def inverse(labels: np.ndarray, bias: np.ndarray) -> Float[np.ndarray, "n"]:
  """1 / p(class given bias) of each example, by counts."""
  _, pair, pairs = np.unique(np.stack([labels, bias]), axis=1, return_inverse=True, return_counts=True)
  _, of, biases = np.unique(bias, return_inverse=True, return_counts=True)
  return biases[of] / pairs[pair.reshape(-1)]


def effective(weights: Float[np.ndarray, "n"]) -> float:
  """The effective sample size."""
  return float(weights.sum() ** 2 / (weights**2).sum())


def clipped(weights: Float[np.ndarray, "n"], largest: float) -> Float[np.ndarray, "n"]:
  """Weights of mean 1, after those above `largest` means were cut off."""
  weights = np.minimum(weights / weights.mean(), largest)
  return weights / weights.mean()


def make(strength: float, *, by: str = "bias", largest: str = "10") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: an option is out of its range.
  """
  if by not in ("bias", "weight"):
    raise BiasjaxError(f"interventions: {NAME}:by={by}: expected bias or weight")
  most = number(NAME, "largest", largest, 1)

  def prepare(given: Mapping[str, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    weights = given["weight"] if by == "weight" else inverse(given["label"], given["bias"])
    if not weights.sum() > 0:
      raise BiasjaxError(f"interventions: {NAME}: all weights are 0")
    with np.errstate(over="ignore"):
      weights = weights**strength
    if not 0 < weights.sum() < np.inf:
      raise BiasjaxError(
        f"interventions: {NAME}={strength:g}: weights to this power are beyond what a number holds: lower it"
      )
    weights = clipped(weights, most)
    print(
      f"{NAME}: weights {weights.min():.3g} to {weights.max():.3g} of mean 1; effective sample size "
      f"{effective(weights):,.0f} of {len(weights):,}",
      flush=True,
    )
    return {"weight": weights.astype(np.float32)}

  def loss(c):
    logits, _ = c.forward(0, c.images)
    return jnp.mean(c.columns["weight"][c.indices] * optax.softmax_cross_entropy(logits, c.targets)), c.memory

  needs = ("weight",) if by == "weight" else ("label", "bias")
  objective = Objective(loss, needs=needs, prepare=prepare)
  return Intervention(NAME, strength, objective=objective if strength else None)
