"""Random numbers against their distributions, and their words against the generator's published ones."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import special, stats

from biasjax.ops import draw


def test_words_are_threefrys():
  """Salmon et al. 2011's test vectors: both words of the block with counter 0, 1 hold the first two."""
  key = jax.random.wrap_key_data(jnp.zeros(2, jnp.uint32), impl="threefry2x32")
  words = np.asarray(draw.bits(key, (4,)))

  def rotated(x, by):
    return (x << by | x >> (32 - by)) & 0xFFFFFFFF

  def threefry(key, counter):
    schedule = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = ((of + k) & 0xFFFFFFFF for of, k in zip(counter, schedule[:2], strict=True))
    for group in range(5):
      for by in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
        x = (x + y) & 0xFFFFFFFF
        y = rotated(y, by) ^ x
      x = (x + schedule[(group + 1) % 3]) & 0xFFFFFFFF
      y = (y + schedule[(group + 2) % 3] + group + 1) & 0xFFFFFFFF
    return x, y

  assert threefry((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)  # of the paper's code
  pairs = [threefry((0, 0), (i, i + 2)) for i in (0, 1)]
  assert words.tolist() == [pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]]


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
def test_words_are_those_of_jaxs_own_generator(shape):
  key = jax.random.key(5)
  expected = threefry_2x32(jax.random.key_data(key), jnp.arange(np.prod(shape, dtype=int), dtype=jnp.uint32))
  np.testing.assert_array_equal(draw.bits(key, shape), expected.reshape(shape))


def test_normal_numbers_are_the_quantiles_of_uniform_ones():
  key, shape = jax.random.key(2), (1000, 1000)
  drawn = np.asarray(draw.uniform(key, shape, -1.0), float)
  extreme = drawn == -1  # which has no quantile
  found, expected = np.asarray(draw.normal(key, shape)), math.sqrt(2) * special.erfinv(drawn)
  np.testing.assert_allclose(found[~extreme], expected[~extreme], rtol=6e-7)
  assert np.abs(expected[~extreme]).max() > 4.5
  edge = np.nextafter(np.float32(-1), np.float32(0))
  assert (found[extreme] == np.float32(math.sqrt(2) * special.erfinv(float(edge)))).all()
