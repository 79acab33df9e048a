import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from biasjax.data import preprocess
from biasjax.ops import grey
from biasjax.ops.pixels import unit_interval


def ours(pixels: np.ndarray) -> np.ndarray:
  return np.asarray(jax.jit(lambda p: grey.luma(unit_interval(p)))(jnp.asarray(pixels)))


def test_luma_is_pillows_for_sampled_colours():
  colours = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
  np.testing.assert_array_equal(ours(colours), np.asarray(Image.fromarray(colours).convert("L")))


def test_luma_is_pillows_for_every_level_of_each_channel():
  levels = np.arange(256, dtype=np.uint8)
  for other in (0, 127, 255):
    colours = np.full((3, 256, 3), other, np.uint8)
    for channel in range(3):
      colours[channel, :, channel] = levels
    np.testing.assert_array_equal(ours(colours), np.asarray(Image.fromarray(colours).convert("L")))


@pytest.mark.reference
def test_luma_is_pillows_for_photographs(reference):
  paths = sorted((reference / "data/imagenet_sample").glob("*/*.JPEG"))[::10]
  assert len(paths) == 20
  for path in paths:
    pixels = preprocess.preprocess(path.read_bytes())
    np.testing.assert_array_equal(ours(pixels), np.asarray(Image.fromarray(pixels).convert("L")))


def test_contrast_is_scaled_about_the_image_own_mean():
  pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
  light = np.asarray(Image.fromarray(pixels).convert("L")) / 255
  expected = (light - light.mean()) * 0.2 + 0.449
  result = jax.jit(lambda p: grey.low_contrast(unit_interval(p), 0.2, 0.449))(jnp.asarray(pixels))
  np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
