"""Adversarial training within an L2 ball (Madry et al. 2018).

Strength: eps, the Euclidean norm over all values of an image in [0, 1]. Option `steps` (3): of projected
gradient ascent from the image, each of length 2.5 * eps / steps.
"""

from biasjax.train.interventions.base import Intervention, ascent, whole

NAME = "l2_adversarial"


def make(strength: float, *, steps: str = "3") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: `steps` is no whole number from 1.
  """
  count = whole(NAME, "steps", steps, 1)

  def attack(keys, victim, images):
    del keys  # it starts at the image
    return ascent("l2", victim.losses, images, images, strength, count)

  return Intervention(NAME, strength, attack=attack if strength else None)
