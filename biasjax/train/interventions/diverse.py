"""Diverse networks (Teney et al. 2022): trained together, and kept from agreeing for the same reasons.

After "Evading the simplicity bias": several networks of one architecture learn the same task from different
beginnings. Beside the sum of their cross-entropies the alignment of every two of them is minimised: how alike
the gradients of their top classes' logits with respect to the image are, averaged over images. All are
exported, NAME and NAME_member1 and so on; which one generalises is for data out of distribution to say
(`--table`, or the study). At strength 0 they are trained independently.

Departure: the published alignment, the plain dot product of the two gradients, has no lower bound: two
networks lower it without end by making their gradients long and opposite, and learn nothing more. Here it is
bounded: the squared cosine, or the squared dot product.

Strength: what the alignment is multiplied by. Options: `members` (4); `similarity`, "cosine" or "squared".
"""

import itertools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from biasjax.errors import BiasjaxError
from biasjax.ops.extremes import greatest
from biasjax.train.interventions.base import Intervention, Objective, whole

NAME = "diverse"
SIMILARITIES = ("cosine", "squared")


def alignment(gradients: Float[Array, "m b d"], similarity: str) -> Float[Array, ""]:
  """The sum over pairs of networks of the mean over images of how alike their gradients are, from 0."""
  product = jnp.einsum("mbd,nbd->mnb", gradients, gradients)
  if similarity == "cosine":
    squares = jnp.einsum("mbd,mbd->mb", gradients, gradients) + 1e-12
    alike = product**2 / (squares[:, None] * squares[None, :])
  else:
    alike = product**2
  pairs = itertools.combinations(range(len(gradients)), 2)
  return sum((jnp.mean(alike[m, n]) for m, n in pairs), jnp.zeros(()))


def make(strength: float, *, members: str = "4", similarity: str = "cosine") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: `members` is no whole number from 1, or a similarity that is unknown or has no lower bound.
  """
  count = whole(NAME, "members", members, 1)
  if similarity in ("dot", "published"):
    raise BiasjaxError(
      f"interventions: {NAME}:similarity={similarity}: the plain dot product has no lower bound: networks "
      f"lower it without end by long and opposite gradients; use one of {', '.join(SIMILARITIES)}"
    )
  if similarity not in SIMILARITIES:
    raise BiasjaxError(
      f"interventions: {NAME}:similarity={similarity}: expected one of {', '.join(SIMILARITIES)}"
    )

  def loss(c):
    entropies = [
      jnp.mean(optax.softmax_cross_entropy(c.forward(m, c.images)[0], c.targets)) for m in range(count)
    ]
    total = sum(entropies, jnp.zeros(()))
    if strength and count > 1:
      tops = [jax.grad(lambda x, m=m: jnp.sum(greatest(c.forward(m, x)[0], (1,)))) for m in range(count)]
      gradients = jnp.stack([top(c.images).reshape(len(c.images), -1) for top in tops])
      total = total + strength * alignment(gradients, similarity)
    return total, c.memory

  return Intervention(NAME, strength, objective=Objective(loss, members=count, kept=count))
