"""biasjax: how is an image classifier biased, and does that explain how it generalises?"""

from typing import TYPE_CHECKING

from biasjax.errors import BiasjaxError
from biasjax.version import __version__

if TYPE_CHECKING:
  from biasjax.library import Images, Measured, images, load, measure

__all__ = ["BiasjaxError", "Images", "Measured", "__version__", "images", "load", "measure"]


def __getattr__(name: str):
  # JAX and Orbax take seconds to import, and not everything needs them.
  if name in __all__:
    from biasjax import library

    return getattr(library, name)
  raise AttributeError(f"module 'biasjax' has no attribute {name!r}")
