"""biasjax: how is an image classifier biased, and does that explain how it generalises?"""

from typing import TYPE_CHECKING

from biasjax.version import __version__

if TYPE_CHECKING:
  from biasjax.models.load import load

__all__ = ["__version__", "load"]


def __getattr__(name: str):
  # JAX and Orbax take seconds to import, and not everything needs them.
  if name == "load":
    from biasjax.models.load import load

    return load
  raise AttributeError(f"module 'biasjax' has no attribute {name!r}")
