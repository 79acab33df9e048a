"""ImageNet-W's watermark: white characters over the middle of the image, half transparent.

Li et al. 2023 (arXiv:2212.04825), who found that networks take such marks for cartons. Text, place, size,
colour and opacity are theirs; their code's licence permits no commercial use, so that the text is drawn anew
by Pillow, from the two characters of the same free font.
"""

import functools
import importlib.resources

import jax.numpy as jnp
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from biasjax.types import Image

TEXT = "捷径" * 3  # "shortcut"
FONT = "info/watermark.otf"
LEFT, TOP = 0.01, 0.4  # of the image's side
OPACITY = round(0.5 * 255) / 255
FONT_SIZES = {224: 36, 384: 62, 512: 82, 518: 84}


def font_size(size: int) -> int:
  """In pixels, for images of `size` pixels a side."""
  return FONT_SIZES.get(size, int(size / 6.22))


@functools.cache
def coverage(size: int) -> np.ndarray:
  """How much of each pixel is covered by text, float32 [size, size] in [0, 1]."""
  plane = PillowImage.new("L", (size, size))
  with importlib.resources.as_file(importlib.resources.files("biasjax.data").joinpath(FONT)) as path:
    font = ImageFont.truetype(str(path), font_size(size))
    ImageDraw.Draw(plane).text((LEFT * size, TOP * size), TEXT, fill=255, font=font)
  return np.asarray(plane, np.float32) / 255


def watermarked(image: Image) -> Image:
  """The image with the watermark, of whole levels over 255."""
  alpha = OPACITY * jnp.asarray(coverage(image.shape[0]))[..., None]
  return jnp.round(255 * (image + (1 - image) * alpha)) / 255
