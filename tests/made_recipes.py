"""How small networks are trained in tests."""

from typing import Any

from biasjax.models.resnet import Architecture
from biasjax.train import step


def recipe(architecture: Architecture, **changed: Any) -> step.Recipe:
  """Eight plain steps, but for what is changed."""
  plain = {"interventions": (), "steps": 8, "warmup_steps": 0, "learning_rate": 0.05, "momentum": 0.9}
  plain |= {"weight_decay": 0.01, "label_smoothing": 0.0, "average_decay": 0.0, "seed": 3}
  return step.Recipe(architecture=architecture, **plain | changed)
