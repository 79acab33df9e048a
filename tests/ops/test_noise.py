import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from biasjax.ops import noise, pyramid
from oracles import published_repair


@pytest.fixture(scope="module")
def every_branch():
  """An image and noise that leave [0, 1] on both sides, by little and by much."""
  rng = np.random.default_rng(0)
  image = rng.random((100, 100)).astype(np.float32)
  added = rng.choice([0.0, 0.2, -0.2, 0.7, -0.7, 0.95, -0.95, 3.0, -3.0], image.shape).astype(np.float32)
  return image, added


def repaired(image, added, sd=0.5, seed=0):
  run = jax.jit(noise.repair, static_argnums=4)
  arrays = (jnp.asarray(image), jnp.asarray(added), jnp.float32(sd))
  return np.asarray(run(jax.random.key(seed), *arrays, 0.1))


def test_repair_is_the_published_loop(every_branch):
  image, added = every_branch
  expected = published_repair(image, added, 0.1)
  again, total = np.isnan(expected), image + added
  branches = [(total >= 0) & (total <= 1), (total < 0) & ~again, (total > 1) & ~again]
  branches += [(total < 0) & again, (total > 1) & again]
  assert min(branch.sum() for branch in branches) > 100
  np.testing.assert_allclose(repaired(image, added)[~again], expected[~again], rtol=0, atol=1e-6)


def test_noise_drawn_again_is_normal_given_that_it_fits(every_branch):
  image, added = every_branch
  again = np.isnan(published_repair(image, added, 0.1))
  result = repaired(image, added)
  assert (result >= 0).all()
  assert (result <= 1).all()
  x = image[again].astype(float)
  share = scipy.stats.truncnorm.cdf((result[again] - x) / 0.5, -x / 0.5, (1 - x) / 0.5)
  assert scipy.stats.kstest(share, "uniform").pvalue > 0.01


def test_noise_drawn_again_does_not_depend_on_the_batch(every_branch):
  image, added = every_branch
  quiet = np.zeros_like(added)
  run = jax.jit(jax.vmap(lambda key, i, n: noise.repair(key, i, n, jnp.float32(0.5), 0.1)))
  keys = jnp.stack([jax.random.key(0), jax.random.key(1)])
  both = run(keys, jnp.stack([image, image]), jnp.stack([added, quiet]))
  np.testing.assert_array_equal(both[0], repaired(image, added))
  np.testing.assert_array_equal(both[1], image)


def test_pixels_in_range_are_left_alone():
  image = np.full((8, 8), 0.5, np.float32)
  added = np.linspace(-0.5, 0.5, 64, dtype=np.float32).reshape(8, 8)
  np.testing.assert_array_equal(repaired(image, added), image + added)


@pytest.mark.parametrize("level", range(7))
def test_every_band_has_the_power_of_the_finest(level):
  key = jax.random.key(3)
  white = jax.random.normal(key, (224, 224))
  finest = pyramid.band(white, jnp.int32(0))[0]
  octave = noise.octave_noise(key, 224, jnp.int32(level))
  assert float(noise.rms(octave)) == pytest.approx(float(noise.rms(finest)), rel=1e-5)
  assert 0.94 < float(noise.rms(octave)) < 0.96


def test_octave_noise_is_a_multiple_of_the_band_of_white_noise():
  key = jax.random.key(4)
  band = np.asarray(pyramid.band(jax.random.normal(key, (64, 64)), jnp.int32(2))[0]).ravel()
  octave = np.asarray(noise.octave_noise(key, 64, jnp.int32(2))).ravel()
  assert np.corrcoef(band, octave)[0, 1] == pytest.approx(1, abs=1e-6)
