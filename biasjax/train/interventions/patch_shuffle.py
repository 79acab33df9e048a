"""Shape scrambled: the image is cut into squares, which change places.

Strength: the probability that an image is changed. Option `grid` (4): squares a side.
"""

import jax

from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention, sometimes, whole
from biasjax.types import Image, RandomKey

NAME = "patch_shuffle"


def shuffle(key: RandomKey, image: Image, grid: int) -> Image:
  """`image` with its grid x grid squares in random order.

  Raises:
    BiasjaxError: the side is no multiple of `grid`.
  """
  height, width, channels = image.shape
  if height % grid or width % grid:
    raise BiasjaxError(f"{NAME}:grid={grid}: does not divide images of {height}x{width} pixels")
  h, w = height // grid, width // grid
  patches = image.reshape(grid, h, grid, w, channels).swapaxes(1, 2).reshape(grid * grid, h, w, channels)
  patches = patches[jax.random.permutation(key, grid * grid)]
  return patches.reshape(grid, grid, h, w, channels).swapaxes(1, 2).reshape(height, width, channels)


def make(strength: float, *, grid: str = "4") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1, or `grid` is no whole number from 2.
  """
  side = whole(NAME, "grid", grid, 2)
  return sometimes(NAME, strength, lambda key, image, other: shuffle(key, image, side))
