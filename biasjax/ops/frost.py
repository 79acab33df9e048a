"""ImageNet-C's frost: a part of one of some photographs of frost, added to the image.

Hendrycks & Dietterich 2019 (arXiv:1903.12261). Their repository has six photographs beside the code
(frost1.png to frost6.jpg), of which the code only ever takes the first five; they are not ours to ship.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image as PillowImage

from biasjax.errors import BiasjaxError
from biasjax.ops import draw
from biasjax.ops.corruptions import Severity, of_severity, truncated
from biasjax.types import Image, RandomKey

FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # shares of the image and of frost
COUNT = 5
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True, eq=False)
class Photographs:
  """Photographs of frost.

  Attributes:
    levels: padded to one size, RGB.
    sizes: how many rows and columns of each are its own.
  """

  levels: UInt8[np.ndarray, "n h w 3"]
  sizes: Int[np.ndarray, "n 2"]


def read(folder: str, size: int) -> Photographs:
  """The first five photographs of a folder, by name.

  Args:
    folder: with PNG or JPEG files.
    size: pixels of a side of the images that they will be added to.

  Raises:
    BiasjaxError: no such folder, no photograph in it, or one that cannot be read or is not larger than the
      images.
  """
  root = pathlib.Path(folder).expanduser()
  if not root.is_dir():
    raise BiasjaxError(f"frost_dir={folder}: there is no such folder: name one with photographs of frost")
  files = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES)[:COUNT]
  if not files:
    raise BiasjaxError(f"frost_dir={folder}: it holds no photograph ({', '.join(SUFFIXES)})")
  found = []
  for file in files:
    try:
      with PillowImage.open(file) as opened:
        found.append(np.asarray(opened.convert("RGB")))
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
      raise BiasjaxError(f"frost_dir: {file} cannot be read: {error}") from error
    if min(found[-1].shape[:2]) <= size:
      height, width = found[-1].shape[:2]
      raise BiasjaxError(
        f"frost_dir: {file} has {width} x {height} pixels: more than {size} a side are needed for images of "
        f"{size} x {size}"
      )
  sizes = np.array([photograph.shape[:2] for photograph in found], np.int32)
  levels = np.zeros((len(found), *sizes.max(0), 3), np.uint8)
  for padded, photograph in zip(levels, found, strict=True):
    padded[: photograph.shape[0], : photograph.shape[1]] = photograph
  return Photographs(levels, sizes)


def frost(key: RandomKey, image: Image, severity: Severity, photographs: Photographs) -> Image:
  """The weighted sum of the image and a random crop of a random photograph."""
  of_photograph, of_place = jax.random.split(key)
  which = jax.random.randint(of_photograph, (), 0, len(photographs.sizes))
  size = image.shape[0]
  room = jnp.asarray(photographs.sizes)[which] - size
  top, left = jnp.floor(draw.uniform(of_place, (2,)) * room).astype(jnp.int32)
  crop = jax.lax.dynamic_slice(jnp.asarray(photographs.levels), (which, top, left, 0), (1, size, size, 3))
  of_image, of_frost = of_severity(FROST, severity)
  return truncated(of_image * image + of_frost * crop[0].astype(jnp.float32) / 255)
