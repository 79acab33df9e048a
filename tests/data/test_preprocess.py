"""Pixels are torchvision's, bit for bit; of grey images with more than 8 bits they are the upper 8."""

import io
import struct
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


# Grey with more than 8 bits.

DEEP = np.random.default_rng(0).integers(0, 65536, (300, 300)).astype(np.uint16)


def tiff(
  values: np.ndarray, *, order: str = "<", photometric: int = 1, bits: int = 16, sample_format: int = 1
):
  """A grey TIFF of one strip, written by hand (TIFF 6.0)."""
  height, width = values.shape
  if bits == 12:  # two values in three bytes, the first bit first
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12) | pairs[:, 1]
    data = np.stack([packed >> 16, packed >> 8, packed], 1).astype(np.uint8).tobytes()
  else:
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
  tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
  tags |= {279: len(data), 339: sample_format}
  entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
  magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
  directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
  return magic + struct.pack(f"{order}I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(
  "content",
  [
    encoded(Image.fromarray(DEEP), "PNG"),
    encoded(Image.fromarray(DEEP), "PPM"),
    encoded(Image.fromarray(DEEP), "TIFF"),
    tiff(DEEP),
    tiff(DEEP, order=">"),
  ],
  ids=["png", "pgm", "tiff", "tiff little-endian", "tiff big-endian"],
)
def test_grey_of_16_bits_is_its_upper_byte(content):
  found = np.asarray(preprocess.decode(content))
  np.testing.assert_array_equal(found, np.repeat((DEEP >> 8)[..., None], 3, axis=2))


def test_deep_files_of_opencv_are_read_as_opencv_reads_them():
  cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
  colour = np.random.default_rng(1).integers(0, 65536, (30, 40, 3)).astype(np.uint16)
  for values, extension in ((DEEP, ".png"), (DEEP, ".tiff"), (colour, ".png")):
    content = cv2.imencode(extension, values)[1]
    expected = cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(np.asarray(preprocess.decode(content.tobytes())), expected)


def test_grey_of_16_bits_shows_what_grey_of_8_bits_does():
  grey = pixels(300, 280, 1)[..., 0]
  deep = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
  np.testing.assert_array_equal(
    preprocess.preprocess(deep), preprocess.preprocess(encoded(Image.fromarray(grey), "PNG"))
  )


def test_a_tiff_whose_white_is_zero_is_inverted():
  found = np.asarray(preprocess.decode(tiff(DEEP, photometric=0)))[..., 0]
  np.testing.assert_array_equal(found, 255 - (DEEP >> 8))


def test_grey_of_12_bits_is_scaled_from_12():
  found = np.asarray(preprocess.decode(tiff(DEEP >> 4, bits=12)))[..., 0]
  np.testing.assert_array_equal(found, DEEP >> 8)


@pytest.mark.parametrize(
  "content",
  [
    encoded(Image.fromarray(np.full((9, 9), 0.5, np.float32)), "TIFF"),
    encoded(Image.fromarray(np.full((9, 9), 70_000, np.int32)), "TIFF"),
    tiff(np.full((9, 9), -5, np.int16), sample_format=2),
    b"Pf\n2 2\n-1\n" + np.zeros(4, "<f4").tobytes(),
  ],
  ids=["float", "32 bits", "signed", "PFM"],
)
def test_grey_of_no_known_range_is_refused(content):
  with pytest.raises(ValueError, match="of which it is not known which is white"):
    preprocess.decode(content)


@pytest.mark.parametrize(
  ("content", "command"),
  [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    (b"/annex/objects/SHA256E-s110000--aa.JPEG\n", "git annex get"),
  ],
)
def test_a_pointer_to_a_file_that_was_not_fetched_is_called_so(content, command):
  with pytest.raises(ValueError, match=f"a pointer to a file that {command} fetches"):
    preprocess.decode(content)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff"])
def test_bytes_that_are_no_image_are_refused(content):
  with pytest.raises(ValueError, match="cannot be decoded"):
    preprocess.preprocess(content)


def test_what_is_said_of_bytes_that_are_no_image_is_the_same_each_time():
  said = set()
  kept = []
  for _ in range(3):
    with pytest.raises(ValueError, match="8 bytes that cannot be decoded: ") as raised:
      preprocess.decode(b"no image")
    said.add(str(raised.value))
    kept.append(raised)  # and so where the bytes lay
  assert len(said) == 1
