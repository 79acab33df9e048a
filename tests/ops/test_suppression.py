"""Suppressions against OpenCV and NumPy, on smooth and on noisy images."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.ops import suppression
from biasjax.probes import suppression as probe

cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
SIZE = 72
move_tiles = jax.jit(suppression.move_tiles)


@pytest.fixture(scope="module")
def pictures():
  """uint8 [2, SIZE, SIZE, 3]: a smooth one with edges, and noise."""
  rng = np.random.default_rng(0)
  smooth = cv2.GaussianBlur(rng.uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 4)
  smooth = np.clip(4 * (smooth - smooth.mean()) + 128, 0, 255).astype(np.uint8)
  smooth[20:50, 10:40] = (200, 30, 90)
  return np.stack([smooth, rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)])


def perturbed(picture, of, seed=0):
  """uint8, by the probe's one program."""
  image = jnp.asarray(picture, jnp.float32) / 255
  done = jax.jit(probe.perturb)(jax.random.key(seed), image, of)
  levels = np.asarray(done) * 255
  np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
  return np.rint(levels).astype(np.uint8)


@pytest.mark.parametrize(("diameter", "sigma"), probe.BILATERAL)
def test_the_bilateral_filter_is_opencvs_within_a_level(pictures, diameter, sigma):
  for picture in pictures:
    expected = cv2.bilateralFilter(picture, diameter, sigma, 75).astype(int)
    found = perturbed(picture, probe.condition(bilateral=(diameter, sigma)))
    assert np.abs(found - expected).max() <= 1
    assert np.abs(expected - picture.astype(int)).max() > 1


@pytest.mark.parametrize(("taps", "sigma"), probe.BLUR)
def test_the_blur_is_opencvs(pictures, taps, sigma):
  for picture in pictures:
    found = perturbed(picture, probe.condition(blur=(taps, sigma)))
    in_float = cv2.GaussianBlur(picture.astype(np.float32), (taps, taps), sigma)
    assert np.abs(found - in_float).max() <= 0.5 + 1e-3
    # OpenCV rounds an 8-bit blur's weights to 1/256: .0099 of three taps becomes .0117.
    in_levels = cv2.GaussianBlur(picture, (taps, taps), sigma).astype(int)
    assert np.abs(found - in_levels).max() <= (2 if taps == 3 else 1)


def test_grey_is_opencvs_exactly():
  every = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
  expected = np.repeat(cv2.cvtColor(every, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
  np.testing.assert_array_equal(perturbed(every, probe.condition(grey=1.0)), expected)
  blended = np.rint(0.6 * every + 0.4 * expected)
  found = perturbed(every, probe.condition(grey=0.4))
  assert np.abs(found - blended).max() <= 1  # where a half is rounded
  assert (found != blended).mean() < 0.2


def tiles(picture, rows, columns):
  """{bytes and shape of a tile: how often}."""
  found = {}
  for top, bottom in itertools.pairwise(rows):
    for left, right in itertools.pairwise(columns):
      tile = picture[top:bottom, left:right]
      key = (tile.shape, tile.tobytes())
      found[key] = found.get(key, 0) + 1
  return found


def edges(key, grid):
  """As `move_tiles` draws them."""
  of_rows, of_columns, _ = jax.random.split(key, 3)
  return [np.asarray(suppression.splits(k, SIZE, jnp.int32(grid)))[: grid + 1] for k in (of_rows, of_columns)]


@pytest.mark.parametrize("grid", probe.GRIDS)
def test_shuffling_permutes_whole_tiles_of_equal_size(pictures, grid):
  key = jax.random.key(grid)
  image = jnp.asarray(pictures[1], jnp.float32)
  shuffled = np.asarray(move_tiles(key, image, jnp.int32(grid), jnp.bool_(False))).astype(np.uint8)
  rows, columns = edges(key, grid)
  assert (rows[-1], columns[-1]) == (SIZE, SIZE)
  assert set(np.diff(rows)) <= {SIZE // grid, -(-SIZE // grid)}
  assert tiles(shuffled, rows, columns) == tiles(pictures[1], rows, columns)
  assert (shuffled != pictures[1]).any()


@pytest.mark.parametrize("grid", probe.GRIDS)
def test_turning_keeps_tiles_in_their_places(pictures, grid):
  key = jax.random.key(grid)
  image = jnp.asarray(pictures[1], jnp.float32)
  turned = np.asarray(move_tiles(key, image, jnp.int32(grid), jnp.bool_(True))).astype(np.uint8)
  rows, columns = edges(key, grid)
  seen = set()
  for top, bottom in itertools.pairwise(rows):
    for left, right in itertools.pairwise(columns):
      before, after = pictures[1][top:bottom, left:right], turned[top:bottom, left:right]
      turns = [k for k in range(4) if np.array_equal(np.rot90(before, k), after)]
      assert len(turns) == 1
      seen |= set(turns)
  assert len(seen) > 1


def test_every_permutation_of_four_tiles_is_equally_likely():
  image = jnp.asarray(np.kron(np.arange(4).reshape(2, 2), np.ones((8, 8))), jnp.float32)[..., None]
  image = jnp.repeat(image, 3, axis=2)
  keys = jax.random.split(jax.random.key(0), 4800)

  @jax.jit
  @jax.vmap
  def move(key):
    return suppression.move_tiles(key, image, jnp.int32(2), jnp.bool_(False))[::8, ::8, 0]

  orders, counts = np.unique(np.asarray(move(keys)).reshape(4800, 4), axis=0, return_counts=True)
  assert len(orders) == 24
  assert ((counts - 200) ** 2 / 200).sum() < 49.7  # chi squared, 23 degrees of freedom, p = .001


def test_channels_are_shuffled_into_every_order(pictures):
  of = probe.condition(channels=True)
  orders = set()
  for seed in range(40):
    found = perturbed(pictures[1], of, seed)
    orders.add(
      tuple(
        int(np.flatnonzero([(found[..., c] == pictures[1][..., o]).all() for o in range(3)])[0])
        for c in range(3)
      )
    )
  assert len(orders) == 6
  assert all(sorted(order) == [0, 1, 2] for order in orders)


def test_pairs_are_one_after_the_other(pictures):
  of = probe.condition(bilateral=(12, 170.0), grey=1.0)
  smooth = cv2.bilateralFilter(pictures[0], 12, 170, 75)
  expected = cv2.cvtColor(smooth, cv2.COLOR_RGB2GRAY).astype(int)
  assert np.abs(perturbed(pictures[0], of)[..., 0] - expected).max() <= 1


def test_a_condition_at_rest_returns_the_image(pictures):
  np.testing.assert_array_equal(perturbed(pictures[1], probe.condition()), pictures[1])
