"""Random spatial filters that are not learnt: only what combines them is (Gavrikov & Keuper 2023).

Strength: what is taken from the updates of every convolution larger than 1x1; at 1 they stay as they are, at
random when training starts from scratch.
"""

from biasjax.train.interventions.base import Intervention, require_share

NAME = "frozen_filters"


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def update_scale(path, parameter):
    spatial = path[-1] == "kernel" and parameter.ndim == 4 and max(parameter.shape[:2]) > 1
    return 1 - strength if spatial else 1.0

  return Intervention(NAME, strength, update_scale=update_scale)
