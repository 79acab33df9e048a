"""biasjax: how is an image classifier biased, and does that explain how it generalises?"""

from typing import TYPE_CHECKING

from biasjax.errors import BiasjaxError
from biasjax.version import __version__

if TYPE_CHECKING:
  from biasjax.library import Measured, load, measure

__all__ = ["BiasjaxError", "Measured", "__version__", "load", "measure"]


def __getattr__(name: str):
  # JAX and Orbax take seconds to import, and not everything needs them.
  if name in ("Measured", "load", "measure"):
    from biasjax import library

    return getattr(library, name)
  raise AttributeError(f"module 'biasjax' has no attribute {name!r}")
