"""Left and right exchanged.

Strength: the probability that an image is changed; 0.5 is usual.
"""

from biasjax.train.interventions.base import Intervention, sometimes

NAME = "flip"


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  return sometimes(NAME, strength, lambda key, image, other: image[:, ::-1])
