"""Images made for the tests, and a folder of them in ImageNet's layout."""

import io
import pathlib

import numpy as np
from PIL import Image


def pixels(width: int, height: int, channels: int = 3, seed: int = 0) -> np.ndarray:
  """Smooth structure and noise, uint8 [height, width, channels]."""
  rng = np.random.default_rng((width, height, seed))
  y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
  waves = 128 + 80 * np.sin(x / 17 + np.arange(channels) + seed) * np.cos(y / 23)
  return np.clip(waves + rng.normal(0, 20, waves.shape), 0, 255).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, image_format: str = "JPEG", **options) -> bytes:
  """The bytes of an image file."""
  image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
  buffer = io.BytesIO()
  image.save(buffer, image_format, **options)
  return buffer.getvalue()


def class_folder(
  root: pathlib.Path, counts: dict[str, int], size: tuple[int, int] = (60, 48)
) -> pathlib.Path:
  """`counts[wnid]` different JPEG files in each class's folder."""
  for c, (wnid, count) in enumerate(counts.items()):
    (root / wnid).mkdir(parents=True)
    for i in range(count):
      (root / wnid / f"{wnid}_{i}.JPEG").write_bytes(encoded(pixels(*size, seed=100 * c + i)))
  return root
