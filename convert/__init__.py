"""PyTorch checkpoints to Flax ones, without torch: python -m convert --help."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from etils import epath


def resolve(specs: Sequence[str], *, offline: bool = False) -> list["epath.Path"]:
  """The folders of converted checkpoints that names stand for; see `convert.resolving.resolve`."""
  # Imported late: JAX takes seconds to start.
  from convert.resolving import resolve

  return resolve(specs, offline=offline)
