"""The filters against NumPy's FFT in double precision, written from the published definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.ops import fourier
from oracles import published_band_pass


@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("shape", [(224, 224), (32, 32), (16, 24)])
def test_filters_are_the_published_ones(shape, low):
  image = np.random.default_rng(shape[1]).random((*shape, 3), np.float32)
  for r in (0, 1, 3, min(shape) // 2 - 1, min(shape) // 2):
    ours = fourier.band_pass(fourier.spectrum(jnp.asarray(image)), jnp.int32(r), jnp.bool_(low))
    np.testing.assert_allclose(ours, published_band_pass(image, r, low=low), rtol=0, atol=1e-5)


def test_keeping_everything_gives_the_image_back():
  image = np.random.default_rng(0).random((32, 32, 3), np.float32)
  ours = fourier.band_pass(fourier.spectrum(jnp.asarray(image)), jnp.int32(16), jnp.bool_(True))
  np.testing.assert_allclose(ours, image, rtol=0, atol=1e-6)


def test_the_published_block_keeps_a_frequency_without_its_conjugate():
  mask = np.asarray(fourier.half_open(8, 8, jnp.int32(2)))
  assert mask[-2, 0]
  assert not mask[2, 0]
  assert mask.sum() == 16


def test_channels_do_not_mix():
  image = np.zeros((16, 16, 3), np.float32)
  image[..., 1] = np.random.default_rng(0).random((16, 16))
  ours = fourier.band_pass(fourier.spectrum(jnp.asarray(image)), jnp.int32(3), jnp.bool_(True))
  assert not np.asarray(ours)[..., [0, 2]].any()
  assert np.asarray(ours)[..., 1].any()


@pytest.mark.parametrize("block", [fourier.symmetric, fourier.radial])
@pytest.mark.parametrize("shape", [(32, 32), (15, 24)])
def test_other_blocks_hold_each_frequency_with_its_conjugate(block, shape):
  for r in (0, 1, 5):
    mask = np.asarray(block(*shape, jnp.int32(r)))
    assert mask[0, 0]
    np.testing.assert_array_equal(mask, np.roll(mask[::-1, ::-1], (1, 1), (0, 1)))


def distance(shape, norm):
  y, x = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
  return np.maximum(abs(y), abs(x)) if norm == "largest" else np.hypot(y, x)


@pytest.mark.parametrize(("block", "norm"), [(fourier.symmetric, "largest"), (fourier.radial, "euclidean")])
@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("keep_mean", [True, False])
def test_variants_are_what_numpy_makes_of_them(block, norm, low, keep_mean):
  image = np.random.default_rng(5).random((32, 32, 3), np.float32)
  kept = (distance((32, 32), norm) <= 7) == low
  kept[0, 0] |= keep_mean
  filtered = np.fft.ifft2(np.fft.fft2(image.astype(np.float64), axes=(0, 1)) * kept[..., None], axes=(0, 1))
  assert np.abs(filtered.imag).max() < 1e-12
  given = fourier.spectrum(jnp.asarray(image)), jnp.int32(7), jnp.bool_(low)
  ours = fourier.band_pass(*given, block=block, keep_mean=keep_mean)
  np.testing.assert_allclose(ours, np.clip(filtered.real, 0, 1), rtol=0, atol=1e-5)


def test_a_high_pass_that_keeps_the_mean_is_hardly_clipped():
  image = np.clip(np.random.default_rng(6).normal(0.5, 0.1, (64, 64, 3)), 0, 1).astype(np.float32)
  given = fourier.spectrum(jnp.asarray(image)), jnp.int32(8), jnp.bool_(False)
  rectified = np.asarray(fourier.band_pass(*given))
  kept = np.asarray(fourier.band_pass(*given, keep_mean=True))
  assert 0.4 < (rectified == 0).mean() < 0.6
  assert (kept == 0).mean() < 0.001
  np.testing.assert_allclose(kept.mean((0, 1)), image.mean((0, 1)), atol=1e-3)


def published_wave(size: int, row: int, column: int) -> np.ndarray:
  """Yin et al. 2019: an inverse real FFT of a half spectrum with one 1 in it, and then of norm 1."""
  spectrum = np.zeros((size, size // 2 + 1), complex)
  if column < 0:
    row, column = -row, -column
  spectrum[row % size, column] = 1
  made = np.fft.irfft2(spectrum, s=(size, size))
  return made / np.linalg.norm(made)


@pytest.mark.parametrize("size", [16, 15, 224])
def test_a_wave_is_the_published_basis_image_and_has_norm_1(size):
  half = size // 2
  for row, column in ((0, 0), (0, 1), (3, 2), (-3, 2), (2, -3), (half, 0), (half, half), (5, half)):
    ours = np.asarray(fourier.wave(size, jnp.int32(row), jnp.int32(column)))
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(ours, published_wave(size, row, column), rtol=0, atol=2e-6)


def test_waves_of_different_frequencies_are_orthogonal_and_opposite_ones_are_equal():
  waves = {
    (i, j): np.asarray(fourier.wave(8, jnp.int32(i), jnp.int32(j))) for i in range(8) for j in range(8)
  }
  for i, j in waves:
    np.testing.assert_allclose(waves[i, j], waves[-i % 8, -j % 8], rtol=0, atol=1e-6)
  different = [min((i, j), (-i % 8, -j % 8)) == (i, j) for i, j in waves]
  rows = np.stack([wave.ravel() for wave in waves.values()])[different]
  np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), rtol=0, atol=1e-6)
  assert len(rows) == 8 * 8 / 2 + 2  # four frequencies are their own opposite


@pytest.mark.parametrize("size", [8, 9, 24])
def test_rings_hold_each_frequency_once_and_all_of_the_power(size):
  rings = min(16, size // 2)
  of, edges = fourier.rings_of(size, rings), [0, *fourier.ring_edges(size, rings), np.inf]
  for i in range(size):
    for j in range(size):
      length = np.hypot(min(i, size - i), min(j, size - j))
      ring = next(k for k, edge in enumerate(edges) if length <= edge + 1e-9)
      assert of[i, j] == ring, (i, j)
      assert fourier.lengths(size)[i, j] == pytest.approx(length)
  image = np.random.default_rng(size).normal(size=(2, size, size, 3)).astype(np.float32)
  power = np.asarray(fourier.power(jnp.asarray(image)))
  np.testing.assert_allclose(power.sum((1, 2)), (image**2).sum((1, 2, 3)) / 3, rtol=1e-5)
