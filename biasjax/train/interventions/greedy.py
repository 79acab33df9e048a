"""General Greedy De-bias (Han et al. 2023): a network fits what a biased one leaves of the label.

The biased network learns by cross-entropy; the kept one's is weighted by 1 - lambda p, p being the biased
network's probability of the example's own class (before the step, not differentiated). With lambda = 1 this
is gradient supervision (the authors' GS: cross-entropy against clip(y - p, 0, 1)), with lambda = 0 plain
training; by default lambda rises from one to the other in the course of training (their curriculum, CR):
sin(pi/2 (u + offset) / (1 + offset)) at the share u of training. Both networks have one architecture here
(the self-ensemble): no kind of bias is known beforehand.

Strength: what lambda is multiplied by, 0 to 1; 1 as published. Options: `curve`, "cr" or "gs"; `offset`
(0.5).
"""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention, Objective, number, require_share
from biasjax.train.interventions.gce import own

NAME = "greedy"


def curriculum(progress: Float[Array, ""], offset: float) -> Float[Array, ""]:
  """Lambda, at the share `progress` of training."""
  return jnp.sin(math.pi / 2 * (progress + offset) / (1 + offset))


def make(strength: float, *, curve: str = "cr", offset: str = "0.5") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1, or an option is out of its range.
  """
  require_share(NAME, strength)
  if curve not in ("cr", "gs"):
    raise BiasjaxError(f"interventions: {NAME}:curve={curve}: expected cr or gs")
  start = number(NAME, "offset", offset, 0)

  def loss(c):
    kept, biased = c.forward(0, c.images)[0], c.forward(1, c.images)[0]
    of_kept, of_biased = (optax.softmax_cross_entropy(logits, c.targets) for logits in (kept, biased))
    share = curriculum(c.progress, start) if curve == "cr" else 1.0
    weight = 1 - strength * share * jax.lax.stop_gradient(own(biased, c.labels))
    return jnp.mean(of_biased + weight * of_kept), c.memory

  return Intervention(NAME, strength, objective=Objective(loss, members=2) if strength else None)
