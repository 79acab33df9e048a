"""Logits that owe nothing to the bias: trained with log p(class given bias) added (Hong & Yang 2021).

What the network learns is then the logits of a world in which bias and class are independent: dividing a
biased posterior by p(class given bias) leaves the likelihood. p is counted over the training examples, 1e-9
added; it is added in training only. Needs the bias of each example.

Strength: what the added term is multiplied by; 1 as published.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from biasjax.train.interventions.base import Intervention, Objective

NAME = "balanced_logits"
LEAST = 1e-9  # of a class that never goes with a bias


def log_prior(labels: np.ndarray, bias: np.ndarray, classes: int) -> Float[np.ndarray, "biases classes"]:
  """log p(class given bias), by counts."""
  counts = np.zeros((int(bias.max()) + 1, classes))
  np.add.at(counts, (bias, labels), 1)
  return np.log(counts / counts.sum(axis=1, keepdims=True) + LEAST)


def make(strength: float) -> Intervention:
  """The intervention."""

  def prepare(given: Mapping[str, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    added = strength * log_prior(given["label"], given["bias"], classes)
    return {"bias": given["bias"], "added": added.astype(np.float32)}

  def loss(c):
    logits, _ = c.forward(0, c.images)
    logits = logits + c.columns["added"][c.columns["bias"][c.indices]]
    return jnp.mean(optax.softmax_cross_entropy(logits, c.targets)), c.memory

  objective = Objective(loss, needs=("label", "bias"), prepare=prepare)
  return Intervention(NAME, strength, objective=objective if strength else None)
