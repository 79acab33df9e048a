"""Adversarial training within an L-infinity ball (Madry et al. 2018).

Strength: eps in 1/255. Option `steps` (3): of projected gradient ascent from a random start, each of
2.5 * eps / steps.
"""

import jax.numpy as jnp

from biasjax.ops.attacks import threat
from biasjax.train.interventions.base import Intervention, ascent, whole

NAME = "linf_adversarial"


def make(strength: float, *, steps: str = "3") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: `steps` is no whole number from 1.
  """
  count, eps = whole(NAME, "steps", steps, 1), strength / 255

  def attack(keys, victim, images):
    start = threat.within("linf", keys, images, jnp.float32(eps))
    return ascent("linf", victim.losses, images, start, eps, count)

  return Intervention(NAME, strength, attack=attack if strength else None)
