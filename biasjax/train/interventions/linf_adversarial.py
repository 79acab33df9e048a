"""Adversarial training within an L-infinity ball (Madry et al. 2018).

Strength: eps in 1/255. Option `steps` (3): of projected gradient ascent from a random start, each of
2.5 * eps / steps.
"""

import jax
import jax.numpy as jnp

from biasjax.train.interventions.base import Intervention, whole

NAME = "linf_adversarial"
REACH = 2.5  # steps together go that many eps (Madry et al. 2018)


def make(strength: float, *, steps: str = "3") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: `steps` is no whole number from 1.
  """
  count, eps = whole(NAME, "steps", steps, 1), strength / 255

  def attack(key, losses, images):
    gradient = jax.grad(lambda x: jnp.sum(losses(x)))

    def step(_, x):
      x = x + (REACH * eps / count) * jnp.sign(gradient(x))
      return jnp.clip(jnp.clip(x, images - eps, images + eps), 0.0, 1.0)

    start = images + eps * jax.random.uniform(key, images.shape, minval=-1.0, maxval=1.0)
    return jax.lax.fori_loop(0, count, step, jnp.clip(start, 0.0, 1.0))

  return Intervention(NAME, strength, attack=attack if strength else None)
