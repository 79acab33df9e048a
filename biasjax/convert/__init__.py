"""PyTorch checkpoints to Flax ones, without torch: python -m convert --help."""

from collections.abc import Sequence

from etils import epath


def resolve(specs: Sequence[str], *, offline: bool = False) -> list[epath.Path]:
  """The folders of converted checkpoints that names stand for; see `convert.resolving.resolve`."""
  # Imported late: JAX takes seconds to start.
  from biasjax.convert.resolving import resolve

  return resolve(specs, offline=offline)


def not_fetched(specs: Sequence[str]) -> tuple[list[str], list[str]]:
  """(what is at hand, what would have to be fetched); see `convert.resolving.not_fetched`."""
  from biasjax.convert.resolving import not_fetched

  return not_fetched(specs)
