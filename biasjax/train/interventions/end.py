"""EnD (Tartaglione et al. 2021): features of one bias are pushed apart, those of one class are held together.

The cross-entropy gets two penalties of the cosines of features (before the classifier) of all pairs in the
batch, over all devices. Orthogonality: the sum of a bias' cosines, taken absolute, over all biases, divided
by the number of pairs that share a bias. Parallelism: 1 minus the mean of (1 + cosine) / 2 over pairs of one
class and different bias. Needs the bias of each example.

Departures: features are normalised for the penalty only, not within the network, which stays a plain ResNet;
and all pairs count, where the authors' code takes those in which the larger bias comes first, half of them.

Strength: what both penalties are multiplied by. Options `alpha` (1) of orthogonality, `beta` (1) of
parallelism.
"""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from biasjax.train.interventions.base import Intervention, Objective, number

NAME = "end"


def penalties(
  features: Float[Array, "b d"], labels: Int[Array, "b"], bias: Int[Array, "b"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """(orthogonality, parallelism); 0 where there is no such pair."""
  unit = features / jnp.sqrt(jnp.sum(features**2, axis=1, keepdims=True) + 1e-12)
  cosine = jnp.clip(unit @ unit.T, -1.0, 1.0)
  others = 1 - jnp.eye(len(features))
  alike = (bias[:, None] == bias[None, :]).astype(cosine.dtype)
  # Each pair twice, once from either side; and a bias' sum once for each of its rows.
  of_bias = alike @ jnp.sum(cosine * alike * others, axis=1) / 2
  apart = jnp.sum(jnp.abs(of_bias) / jnp.sum(alike, axis=1))
  across = (labels[:, None] == labels[None, :]) * (1 - alike)
  together = jnp.sum(across * (1 + cosine) / 2) / 2
  sharing, crossing = jnp.sum(alike * others) / 2, jnp.sum(across) / 2
  ortho = apart / jnp.maximum(sharing, 1.0)
  return ortho, jnp.where(crossing > 0, 1 - together / jnp.maximum(crossing, 1.0), 0.0)


def make(strength: float, *, alpha: str = "1", beta: str = "1") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: an option is out of its range.
  """
  of_ortho, of_par = number(NAME, "alpha", alpha, 0), number(NAME, "beta", beta, 0)

  def loss(c):
    logits, features = c.forward(0, c.images)
    bias = c.columns["bias"][c.indices]
    ortho, par = penalties(*map(c.gather, (features, c.labels, bias)))
    entropy = jnp.mean(optax.softmax_cross_entropy(logits, c.targets))
    return entropy + strength * (of_ortho * ortho + of_par * par), c.memory

  return Intervention(NAME, strength, objective=Objective(loss, needs=("bias",)) if strength else None)
