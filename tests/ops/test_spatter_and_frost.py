"""Spatter step by step against OpenCV, frost against a crop and a sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from biasjax.errors import BiasjaxError
from biasjax.ops import frost, spatter

cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
from benchmarks import originals  # noqa: E402 (needs OpenCV)

SIZE = 64


def levels(image):
  return np.rint(np.asarray(image) * 255).astype(int)


@pytest.fixture(scope="module")
def picture():
  return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def layer():
  """uint8 [SIZE, SIZE]: smooth noise with steps, down to 0."""
  smooth = cv2.GaussianBlur(np.random.default_rng(1).normal(size=(SIZE, SIZE)), (0, 0), 2)
  return np.uint8(np.clip(100 + 900 * smooth, 0, 255))


def test_edges_are_opencvs(layer):
  for plane in (layer, np.where(layer > 120, layer, 0).astype(np.uint8), layer.T.copy()):
    expected = cv2.Canny(plane, 50, 150) > 0
    assert 50 < expected.sum() < expected.size / 2
    np.testing.assert_array_equal(spatter.edges(jnp.asarray(plane, jnp.int32)), expected)


def test_distances_are_opencvs_up_to_the_furthest():
  rng = np.random.default_rng(2)
  for share in (0.1, 0.01, 0.001):
    seeds = rng.uniform(size=(SIZE, SIZE)) < share
    seeds[5, 7] = True
    expected = cv2.distanceTransform(255 * np.uint8(~seeds), cv2.DIST_L2, 5)
    np.testing.assert_allclose(
      spatter.distance(jnp.asarray(seeds)), np.minimum(expected, spatter.FURTHEST), atol=1e-4
    )


def test_equalised_levels_are_opencvs():
  rng = np.random.default_rng(3)
  for plane in (
    rng.integers(3, 21, (SIZE, SIZE)),
    np.full((SIZE, SIZE), 7),
    rng.binomial(20, 0.3, (SIZE, SIZE)),
  ):
    expected = cv2.equalizeHist(plane.astype(np.uint8))
    np.testing.assert_array_equal(spatter.equalised(jnp.asarray(plane, jnp.int32), 20), expected)


@pytest.mark.parametrize("severity", range(5))
def test_spatter_is_opencvs_given_the_same_noise(picture, severity):
  splashed = jax.jit(spatter.splashed)
  for seed in range(3):
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE)).astype(np.float32)
    expected = originals.spatter(picture, severity, noise).astype(int)
    found = splashed(jnp.asarray(noise), jnp.asarray(picture / 255, jnp.float32), jnp.int32(severity))
    assert np.abs(levels(found) - expected).max() <= 1
    assert (expected != picture).mean() > 0.02


def test_no_two_images_are_spattered_alike(picture):
  image, spattered = jnp.asarray(picture / 255, jnp.float32), jax.jit(spatter.spatter)
  one, other = (levels(spattered(jax.random.key(k), image, jnp.int32(1))) for k in (0, 1))
  assert (one != other).mean() > 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Stand-ins for photographs: three of different sizes, told apart by their red."""
  path = tmp_path_factory.mktemp("frost")
  y, x = np.mgrid[:90, :120]
  for i, (height, width) in enumerate(((90, 120), (70, 70), (80, 100))):
    photograph = np.stack(
      [np.full((height, width), 60 * (i + 1)), y[:height, :width], x[:height, :width]], -1
    )
    Image.fromarray(photograph.astype(np.uint8)).save(path / f"frost{i + 1}.png")
  (path / "notes.txt").write_text("not a photograph")
  return path


def test_frost_is_a_crop_of_a_photograph_added_to_the_image(picture, folder):
  photographs = frost.read(str(folder), SIZE)
  black = jnp.zeros((SIZE, SIZE, 3), jnp.float32)
  run = jax.jit(lambda key, image, severity: frost.frost(key, image, severity, photographs))
  seen = set()
  for k in range(12):
    severity, key = k % 5, jax.random.key(k)
    _, of_frost = frost.FROST[severity]
    alone = levels(run(key, black, jnp.int32(severity)))
    which = round(alone[0, 0, 0] / of_frost / 60) - 1
    top, left = (round((of - 0.5) / of_frost) for of in alone[0, 0, 1:] + 1)
    photograph = np.asarray(Image.open(folder / f"frost{which + 1}.png"))
    places = [(top + dy, left + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    inside = [at for at in places if min(at) >= 0 and all(np.add(at, SIZE) <= photograph.shape[:2])]
    expected = [originals.frosted(picture, severity, photograph, *at) for at in inside]
    found = levels(run(key, jnp.asarray(picture / 255, jnp.float32), jnp.int32(severity)))
    assert min(np.abs(found - of).max() for of in expected) <= 1
    seen.add((which, top, left))
  assert len({which for which, *_ in seen}) == 3
  assert len(seen) > 8


def test_the_sixth_photograph_is_never_taken(folder, tmp_path):
  for i in range(6):
    Image.fromarray(np.full((80, 80, 3), i, np.uint8)).save(tmp_path / f"frost{i + 1}.png")
  assert frost.read(str(tmp_path), SIZE).levels.max() == 4


def test_photographs_that_cannot_serve_are_refused(folder, tmp_path):
  with pytest.raises(BiasjaxError, match="no such folder"):
    frost.read(str(tmp_path / "nowhere"), SIZE)
  with pytest.raises(BiasjaxError, match="holds no photograph"):
    frost.read(str(tmp_path), SIZE)
  with pytest.raises(BiasjaxError, match=r"frost2\.png has 70 x 70 pixels: more than 70"):
    frost.read(str(folder), 70)
  (tmp_path / "broken.jpg").write_bytes(b"no image")
  with pytest.raises(BiasjaxError, match=r"broken\.jpg cannot be read"):
    frost.read(str(tmp_path), SIZE)
