"""The table with all that is in it: importing this enters every operation."""

from biasjax.traced import (  # noqa: F401 (each enters its own)
  arranging,
  convolution,
  normalising,
  numbers,
  pointwise,
  pooling,
  products,
  reductions,
  resizing,
  sampling,
  spectra,
)
from biasjax.traced.table import OPERATIONS, PRODUCTS

__all__ = ["OPERATIONS", "PRODUCTS"]
