"""biasjax: how is an image classifier biased, and does that explain how it generalises?"""

from biasjax.version import __version__

__all__ = ["__version__"]
