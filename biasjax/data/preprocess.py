"""Encoded bytes to uint8 pixels: of 8 bits bit for bit what torchvision makes of a PIL image."""

import io
import re

import numpy as np
from PIL import Image

from biasjax.data.files import pointer

RESIZE = 256  # short side, bilinear, as published
CROP = 224
ADDRESS = re.compile(r" <_io\.BytesIO object at 0x[0-9a-f]+>| at 0x[0-9a-f]+")
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0


# Formats whose grey levels of more than 8 bits fill the range that the file names; FITS, say, is none.
FULL_RANGE = ("PNG", "TIFF", "PPM", "JPEG2000")


def decode(encoded: bytes) -> Image.Image:
  """The RGB image in `encoded` (JPEG, PNG, ...): any mode is converted, EXIF rotation is ignored.

  This is torchvision's default loader, `Image.open(...).convert("RGB")`, but for grey images of more than 8
  bits: there it clips at 255, so that all but the darkest becomes white; here the upper 8 bits are taken, as
  both do for colour.

  Raises:
    ValueError: the bytes cannot be decoded, or not to their end; or the file does not tell which value is
      white (floating point, 32 bits).
  """
  try:
    with Image.open(io.BytesIO(encoded)) as opened:
      image = _upper_byte(opened)
      if image.mode != "RGB":
        return image.convert("RGB")
      image.load()  # to convert what is RGB would copy it
      return image
  except MemoryError:
    raise
  # Pillow's decoders raise whatever the damage leads them to; which of them it is tells a user nothing.
  except Exception as error:
    # Where the bytes lie in memory is Pillow's to say, and another place at each run.
    said = pointer(encoded) or ADDRESS.sub("", str(error))
    raise ValueError(f"{len(encoded)} bytes that cannot be decoded: {said}") from error


def _upper_byte(image: Image.Image) -> Image.Image:
  """The image, or of a grey one with more than 8 bits the upper 8."""
  if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
    return image
  tags = getattr(image, "tag_v2", {})  # of TIFF
  bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
  # Pillow gives the levels of 16-bit PNM as "I", scaled to 0..65535; in TIFF that is 32 bits, or signed ones.
  if image.format not in FULL_RANGE or image.mode == "F" or (image.mode == "I" and tags):
    raise ValueError(
      f"pixels of mode {image.mode}, of which it is not known which is white: save 8 or 16 bits"
    )
  levels = (np.asarray(image).astype(np.uint32) >> (bits - 8)).astype(np.uint8)
  return Image.fromarray(255 - levels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else levels)


INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resize(image: Image.Image, short_side: int, interpolation: str = "bilinear") -> Image.Image:
  """`image` with its short side at `short_side`, with antialiasing (torchvision `Resize`).

  The long side is truncated, not rounded, as in torchvision.
  """
  width, height = image.size
  short, long = min(width, height), max(width, height)
  if short == short_side:
    return image
  long = int(short_side * long / short)
  size = (short_side, long) if width <= height else (long, short_side)
  return image.resize(size, INTERPOLATIONS[interpolation])


def center_crop(image: Image.Image, size: int) -> Image.Image:
  """The central size x size pixels (torchvision `CenterCrop`; Python's rounding of halves included)."""
  left = round((image.width - size) / 2)
  top = round((image.height - size) / 2)
  return image.crop((left, top, left + size, top + size))


def preprocess(
  encoded: bytes,
  *,
  short_side: int | None = RESIZE,
  crop: int = CROP,
  interpolation: str = "bilinear",
  squash: bool = False,
  stimulus: int | None = None,
) -> np.ndarray:
  """Pixels, uint8 [crop, crop, 3] in 0..255: decode, resize, crop; by default as the paper for every model.

  Args:
    encoded: the file's bytes.
    short_side: pixels; None for stimuli that are shown whole.
    crop: pixels of a side.
    interpolation: one of `INTERPOLATIONS`.
    squash: whether both sides are brought to `short_side`, whatever their ratio.
    stimulus: pixels of a side that a stimulus must have, which is then brought to crop x crop; None if it
      must have these and is shown as it is.

  Raises:
    ValueError: the bytes cannot be decoded, or a stimulus is of another size.
  """
  image = decode(encoded)
  if short_side is None:
    side = stimulus or crop
    if image.size != (side, side):
      raise ValueError(f"{image.width}x{image.height} pixels, but these stimuli are {side}x{side}")
    return np.asarray(resize(image, crop, interpolation))
  if squash:
    square = image.resize((short_side, short_side), INTERPOLATIONS[interpolation])
    return np.asarray(center_crop(square, crop))
  return np.asarray(center_crop(resize(image, short_side, interpolation), crop))
