"""Random numbers against their distributions, and their words against the generator's published ones."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from biasjax.ops import draw


def test_words_are_threefrys():
  """Salmon et al. 2011: the two words of the block 0, 0 under key 0, 0 are in their code's known answers."""
  key = jax.random.wrap_key_data(jnp.zeros(2, jnp.uint32), impl="threefry2x32")
  assert int(draw.bits(key, ())) == 0x6B200159 ^ 0x99BA4EFE


@pytest.mark.parametrize(
  ("made", "distribution"),
  [
    (lambda key: draw.uniform(key, (200, 201)), stats.uniform()),
    (lambda key: draw.uniform(key, (200, 201), -2, 3), stats.uniform(-2, 5)),
    (lambda key: draw.normal(key, (200, 201)), stats.norm()),
  ],
)
def test_numbers_have_their_distribution_and_neighbours_are_independent(made, distribution):
  numbers = np.asarray(made(jax.random.key(0)))
  assert stats.kstest(numbers.ravel(), distribution.cdf).pvalue > 0.001
  centred = numbers - numbers.mean()
  for axis in (0, 1):
    correlation = (centred * np.roll(centred, 1, axis)).mean() / centred.var()
    assert abs(correlation) < 4 / np.sqrt(numbers.size)
  assert np.abs(np.asarray(made(jax.random.key(1))) - numbers).mean() > 0.1


def test_a_batch_of_keys_gives_each_ones_numbers():
  keys = jax.random.split(jax.random.key(0), 3)
  together = jax.vmap(lambda key: draw.normal(key, (5,)))(keys)
  for key, numbers in zip(keys, together, strict=True):
    np.testing.assert_array_equal(numbers, draw.normal(key, (5,)))


@pytest.mark.parametrize("shape", [(), (7,), (5, 6, 3)])
def test_numbers_are_those_of_jax(shape):
  key = jax.random.key(5)
  np.testing.assert_array_equal(draw.bits(key, shape), jax.random.bits(key, shape))
  np.testing.assert_array_equal(draw.uniform(key, shape), jax.random.uniform(key, shape))
  for low, high in ((-1.0, 1.0), (-45.0, 45.0), (0.2, 0.3)):
    expected = jax.random.uniform(key, shape, minval=low, maxval=high)
    np.testing.assert_allclose(draw.uniform(key, shape, low, high), expected, rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(draw.normal(key, shape), jax.random.normal(key, shape), rtol=2e-5, atol=1e-7)


def test_normal_numbers_are_the_quantiles_of_uniform_ones():
  key, shape = jax.random.key(2), (1000, 1000)
  drawn = np.asarray(draw.uniform(key, shape, -1.0), float)
  extreme = drawn == -1  # which has no quantile
  found, expected = np.asarray(draw.normal(key, shape)), math.sqrt(2) * special.erfinv(drawn)
  np.testing.assert_allclose(found[~extreme], expected[~extreme], rtol=6e-7)
  assert np.abs(expected[~extreme]).max() > 4.5
  edge = np.nextafter(np.float32(-1), np.float32(0))
  assert (found[extreme] == np.float32(math.sqrt(2) * special.erfinv(float(edge)))).all()
