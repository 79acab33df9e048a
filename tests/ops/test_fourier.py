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
  mask = np.asarray(fourier.square_mask(8, 8, jnp.int32(2)))
  assert mask[-2, 0]
  assert not mask[2, 0]
  assert mask.sum() == 16


def test_channels_do_not_mix():
  image = np.zeros((16, 16, 3), np.float32)
  image[..., 1] = np.random.default_rng(0).random((16, 16))
  ours = fourier.band_pass(fourier.spectrum(jnp.asarray(image)), jnp.int32(3), jnp.bool_(True))
  assert not np.asarray(ours)[..., [0, 2]].any()
  assert np.asarray(ours)[..., 1].any()
