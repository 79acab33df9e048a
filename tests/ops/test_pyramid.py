"""The bands against pyrtools, and against what a Laplacian pyramid is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.ops import pyramid


def noise(size: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).standard_normal((size, size))


def bands(image: np.ndarray) -> list[np.ndarray]:
  run = jax.jit(pyramid.band)
  levels = range(pyramid.levels(len(image)))
  return [np.asarray(run(jnp.asarray(image, jnp.float32), jnp.int32(level))[0]) for level in levels]


@pytest.mark.parametrize("size", [224, 64, 50])
def test_bands_are_those_of_pyrtools(size):
  pyrtools = pytest.importorskip("pyrtools", reason="parity tests need pyrtools")
  image = noise(size)
  expected = pyrtools.pyramids.LaplacianPyramid(image)
  found = bands(image)
  assert len(found) == expected.num_scales
  for level, band in enumerate(found):
    np.testing.assert_allclose(band, expected.recon_pyr(levels=level), rtol=0, atol=1e-6)


def test_224_pixels_hold_seven_bands():
  assert pyramid.levels(224) == 7


def test_bands_sum_to_the_image():
  image = noise(64)
  np.testing.assert_allclose(sum(bands(image)), image, rtol=0, atol=2e-6)


def test_a_constant_image_lies_in_the_lowest_band_alone():
  *octaves, rest = bands(np.full((64, 64), 0.7))
  np.testing.assert_allclose(rest, 0.7, atol=1e-6)
  assert max(np.abs(band).max() for band in octaves) < 1e-6


def test_each_band_is_an_octave_above_the_next():
  def peak(band):
    power = np.abs(np.fft.fft2(band)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(224, 1 / 224), np.fft.fftfreq(224, 1 / 224)))
    return (power * frequency).sum() / power.sum()

  means = np.mean([[peak(band) for band in bands(noise(224, seed))[1:5]] for seed in range(4)], axis=0)
  assert ((means[:-1] / means[1:] > 1.6) & (means[:-1] / means[1:] < 2.4)).all()


def test_the_finest_band_comes_along_for_every_level():
  image = jnp.asarray(noise(64), jnp.float32)
  finest = pyramid.band(image, jnp.int32(0))[0]
  for level in range(pyramid.levels(64)):
    np.testing.assert_array_equal(pyramid.band(image, jnp.int32(level))[1], finest)
