"""PyTorch checkpoints to Flax ones, without torch: python -m convert --help."""

import pathlib
from collections.abc import Sequence


def resolve(specs: Sequence[str], *, offline: bool = False) -> list[pathlib.Path]:
  """The folders of converted checkpoints that names stand for; see `convert.resolving.resolve`."""
  # Imported late: JAX takes seconds to start.
  from convert.resolving import resolve

  return resolve(specs, offline=offline)
