"""Pixels are torchvision's, bit for bit."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from biasjax.data import preprocess
from made_images import encoded, pixels


@pytest.fixture(scope="module")
def published(torchvision):
  """The paper's transform by torchvision, on its own loader's image; uint8 [224, 224, 3]."""
  transforms = torchvision.transforms
  transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])

  def apply(encoded: bytes) -> np.ndarray:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # Pillow on transparent palettes
      return np.asarray(transform(Image.open(io.BytesIO(encoded)).convert("RGB")))

  return apply


def exif_rotated() -> bytes:
  exif = Image.Exif()
  exif[0x0112] = 6  # orientation: rotate by 90 degrees when shown
  return encoded(Image.fromarray(pixels(400, 300)), "JPEG", exif=exif)


def transparent_palette() -> bytes:
  image = Image.fromarray(pixels(300, 300)).quantize(64)
  return encoded(image, "PNG", transparency=bytes(range(64)))


ODD_FILES = {
  "rgb": lambda: encoded(Image.fromarray(pixels(500, 375)), "JPEG"),
  "portrait": lambda: encoded(Image.fromarray(pixels(333, 501)), "JPEG"),
  "grey": lambda: encoded(Image.fromarray(pixels(400, 300, 1)[..., 0]), "JPEG"),
  "grey_16_bit": lambda: encoded(Image.fromarray(pixels(300, 300, 1)[..., 0].astype(np.uint16) * 200), "PNG"),
  "cmyk": lambda: encoded(Image.fromarray(pixels(400, 300)).convert("CMYK"), "JPEG"),
  "palette": lambda: encoded(Image.fromarray(pixels(400, 300)).quantize(64), "PNG"),
  "palette_transparent": transparent_palette,
  "rgba": lambda: encoded(Image.fromarray(pixels(400, 300, 4)), "PNG"),
  "grey_alpha": lambda: encoded(Image.fromarray(pixels(400, 300, 4)).convert("LA"), "PNG"),
  "exif_rotated": exif_rotated,
  "png_named_jpeg": lambda: encoded(Image.fromarray(pixels(320, 280)), "PNG"),
  "exact": lambda: encoded(Image.fromarray(pixels(256, 256)), "PNG"),
  "short_side_exact": lambda: encoded(Image.fromarray(pixels(256, 391)), "PNG"),
  "already_cropped": lambda: encoded(Image.fromarray(pixels(224, 224)), "PNG"),
  "tiny": lambda: encoded(Image.fromarray(pixels(5, 3)), "PNG"),
  "panorama": lambda: encoded(Image.fromarray(pixels(1203, 97)), "PNG"),
}


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_odd_files_equal_torchvision(kind, published):
  content = ODD_FILES[kind]()
  np.testing.assert_array_equal(preprocess.preprocess(content), published(content))


def test_exif_orientation_is_ignored():
  content = exif_rotated()
  assert preprocess.decode(content).size == (400, 300)


@pytest.mark.reference
def test_photographs_equal_torchvision(reference, published):
  paths = sorted(reference.glob("data/imagenet_sample/*/*"))
  assert len(paths) == 200
  for path in paths:
    content = path.read_bytes()
    np.testing.assert_array_equal(preprocess.preprocess(content), published(content), err_msg=path.name)


def test_a_truncated_file_is_refused_and_not_filled_with_grey():
  content = encoded(Image.fromarray(pixels(400, 300)), "JPEG")
  with pytest.raises(ValueError, match="cannot be decoded"):
    preprocess.preprocess(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff"])
def test_bytes_that_are_no_image_are_refused(content):
  with pytest.raises(ValueError, match="cannot be decoded"):
    preprocess.preprocess(content)
