"""Corruptions against the libraries that ImageNet-C was made with, and against loops in NumPy."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from biasjax.ops import corruptions, draw, jpeg

cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
from benchmarks import originals  # noqa: E402 (needs OpenCV)

SIZE = 64
SEVERITIES = range(5)


@pytest.fixture(scope="module")
def picture():
  """uint8 [SIZE, SIZE, 3]: smooth ground, an edge, some texture, a grey and a black patch."""
  rng = np.random.default_rng(0)
  ground = cv2.GaussianBlur(rng.uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 5)
  picture = np.clip(5 * (ground - ground.mean()) + 120, 0, 255).astype(np.uint8)
  picture[10:30, 20:40] = (200, 40, 90)
  picture[40:60, 8:24] = rng.integers(0, 256, (20, 16, 3))
  picture[2:8, 50:60] = 77
  picture[50:56, 50:60] = 0
  return picture


def corrupted(picture, name, severity, key=None):
  """int [h, w, 3], levels."""
  image = jnp.asarray(picture, jnp.float32) / 255
  run = jax.jit(corruptions.CORRUPTIONS[name])
  levels = np.asarray(run(jax.random.key(0) if key is None else key, image, jnp.int32(severity))) * 255
  np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
  return np.rint(levels).astype(int)


DETERMINISTIC = ("gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate")


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_what_is_not_random_is_the_libraries_within_a_level(picture, name):
  for severity in SEVERITIES:
    expected = getattr(originals, name)(picture, severity).astype(int)
    difference = np.abs(corrupted(picture, name, severity) - expected)
    assert difference.max() <= 1, severity
    # Whole levels that double precision misses by a little are cut to the one below.
    assert difference.mean() < 0.25
    assert np.abs(expected - picture.astype(int)).mean() > 1


def test_pixelate_is_pillows(picture):
  for severity in SEVERITIES:
    expected = originals.pixelate(picture, severity).astype(int)
    np.testing.assert_array_equal(corrupted(picture, "pixelate", severity), expected)


def saved(picture, quality):
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "JPEG", quality=quality)
  return np.asarray(Image.open(file))


def test_jpeg_is_pillows_to_the_last_bit(picture):
  compressed = jax.jit(jpeg.compressed)
  for before in (picture, saved(picture, 80)):  # a picture that was a JPEG has coefficients between two steps
    for quality in (1, 7, 10, 15, 18, 25, 50, 75, 95, 100):
      levels = np.asarray(compressed(jnp.asarray(before, jnp.float32) / 255, jnp.int32(quality))) * 255
      np.testing.assert_array_equal(np.rint(levels).astype(np.uint8), saved(before, quality))


@pytest.mark.parametrize("shape", [(16, 16), (33, 47), (8, 100), (30, 18)])
def test_jpeg_of_any_shape_is_pillows(shape):
  noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
  levels = np.asarray(jax.jit(jpeg.compressed)(jnp.asarray(noise, jnp.float32) / 255, jnp.int32(30))) * 255
  np.testing.assert_array_equal(np.rint(levels).astype(np.uint8), saved(noise, 30))


# --- random ones: the part after the draw, against the library; the draw, by its moments -------------------


def test_glass_blur_copies_as_the_published_loop_does(picture):
  for severity, (_, reach, times) in enumerate(corruptions.GLASS):
    key = jax.random.key(severity)
    drawn = [np.asarray(draw.uniform(jax.random.fold_in(key, i), (2, SIZE * SIZE))) for i in range(times)]
    moves = np.floor(np.stack(drawn) * 2 * reach).astype(int).reshape(times, 2, SIZE, SIZE) - reach
    expected = originals.glass_blur(picture, severity, moves).astype(int)
    difference = np.abs(corrupted(picture, "glass_blur", severity, key) - expected)
    assert np.quantile(difference, 0.999) <= 1
    assert difference.mean() < 0.05


MOTION_WAYS = {
  "chosen": corruptions.smeared,
  "loop": lambda image, *of: corruptions.sum_of_shifts(image, *corruptions.motion_path(*of)),
  "spectra": lambda image, *of: corruptions.product_with_path(image, *corruptions.motion_path(*of)),
}


@pytest.mark.parametrize("way", MOTION_WAYS)
@pytest.mark.parametrize("angle", [-45.0, -31.0, 0.0, 17.0, 45.0, -90.0, -135.0])
def test_motion_blur_is_image_magicks(picture, angle, way):
  blur = jax.jit(MOTION_WAYS[way])
  for radius, sigma in corruptions.MOTION:
    found = np.asarray(blur(jnp.asarray(picture, jnp.float32), *map(jnp.float32, (radius, sigma, angle))))
    expected = originals.motion_blurred(picture, radius, sigma, angle)
    # A shift that lies on the edge between two pixels may round to the other one.
    assert np.abs(found - expected).mean() < 0.5


def test_each_image_of_a_batch_has_its_own_motion(picture):
  angles = jnp.array([-45.0, 10.0, 45.0])
  pictures = jnp.stack([jnp.roll(jnp.asarray(picture, jnp.float32), 5 * i, axis=1) for i in range(3)])
  blur = jax.jit(jax.vmap(corruptions.smeared, in_axes=(0, None, None, 0)))
  for i, found in enumerate(blur(pictures, jnp.float32(15), jnp.float32(8), angles)):
    expected = originals.motion_blurred(np.asarray(pictures[i]), 15, 8, float(angles[i]))
    assert np.abs(np.asarray(found) - expected).mean() < 0.5


def test_elastic_transform_is_opencvs_and_scipys(picture):
  smooth = cv2.GaussianBlur(picture, (0, 0), 2)
  for severity, (_, _, reach) in enumerate(corruptions.ELASTIC):
    key = jax.random.key(severity)
    of_map, of_y, of_x = jax.random.split(key, 3)
    corners = np.asarray(draw.uniform(of_map, (3, 2), -reach, reach)) / reach
    moves = np.stack([draw.uniform(k, (SIZE, SIZE), -1, 1) for k in (of_y, of_x)])
    expected = originals.elastic_transform(smooth, severity, corners, moves).astype(int)
    difference = np.abs(corrupted(smooth, "elastic_transform", severity, key) - expected)
    # OpenCV has 32 places between two pixels.
    assert np.quantile(difference, 0.99) <= 2
    assert difference.max() <= 6


def test_no_pixel_of_a_batch_is_moved_elsewhere():
  """White noise, where a pixel that is interpolated between the wrong neighbours stands out."""
  size, severity = 224, 2
  keys = jax.random.split(jax.random.key(0), 16)[12:]
  images = np.random.default_rng(0).uniform(size=(16, size, size, 3)).astype(np.float32)[12:]
  corrupt = jax.jit(jax.vmap(corruptions.elastic_transform, in_axes=(0, 0, None)))
  found = np.rint(np.asarray(corrupt(keys, jnp.asarray(images), jnp.int32(severity))) * 255)
  for key, image, moved in zip(keys, images, found, strict=True):
    of_map, of_y, of_x = jax.random.split(key, 3)
    corners = np.asarray(draw.uniform(of_map, (3, 2), -1, 1))
    moves = np.stack([draw.uniform(k, (size, size), -1, 1) for k in (of_y, of_x)])
    expected = originals.elastic_transform(image * 255, severity, corners, moves)
    assert np.abs(moved - expected.astype(int)).max() <= 6


def test_plasma_is_the_published_algorithms():
  size, decay = 32, 1.7
  numbers = np.random.default_rng(3).uniform(-1, 1, size * size)
  found, lowest, highest = jax.jit(corruptions.plasma)(jnp.asarray(numbers, jnp.float32), jnp.float32(decay))
  heights, step, wibble, left = np.zeros((size, size)), size, 100.0, list(numbers)

  def drawn(count):
    return np.array([[wibble * wibble * left.pop(0) for _ in range(count)] for _ in range(count)])

  def at(y, x):
    return heights[y % size, x % size]

  while step >= 2:
    half, count = step // 2, size // step
    noise = drawn(count)
    for i in range(count):
      for j in range(count):
        y, x = i * step + half, j * step + half
        around = [at(y + a * half, x + b * half) for a in (-1, 1) for b in (-1, 1)]
        heights[y, x] = sum(around) / 4 + noise[i, j]
    for oy, ox in ((0, half), (half, 0)):
      noise = drawn(count)
      values = np.zeros((count, count))
      for i in range(count):
        for j in range(count):
          y, x = i * step + oy, j * step + ox
          around = [at(y - half, x), at(y + half, x), at(y, x - half), at(y, x + half)]
          values[i, j] = sum(around) / 4 + noise[i, j]
      heights[oy::step, ox::step] = values
    step, wibble = half, wibble / decay
  assert (lowest, highest) == (found.min(), found.max())
  span = heights.max() - heights.min()
  np.testing.assert_allclose(
    (found - lowest) / (highest - lowest), (heights - heights.min()) / span, atol=1e-5
  )


def test_fog_keeps_the_brightest_value_and_snow_only_whitens(picture):
  for severity in SEVERITIES:
    fog = corrupted(picture, "fog", severity)
    thickness = corruptions.FOG[severity][0]
    brightest = picture.max() / 255
    assert fog.max() <= 255 * brightest
    assert fog.min() >= 0
    # Darkest possible: no fog at all there.
    assert (fog >= np.floor(picture * brightest / (brightest + thickness)) - 1).all()
    share = corruptions.SNOW[severity][-1]
    assert (corrupted(picture, "snow", severity) >= np.floor(share * picture) - 1).all()


def test_snow_is_what_the_published_steps_give(picture):
  for severity in SEVERITIES:
    key = jax.random.key(severity)
    of_flakes, of_angle = jax.random.split(key)
    noise = np.asarray(draw.normal(of_flakes, (SIZE, SIZE, 1)))[..., 0]
    angle = float(draw.uniform(of_angle, (), -135, -45))
    expected = originals.snow(picture, severity, noise, angle).astype(int)
    difference = np.abs(corrupted(picture, "snow", severity, key) - expected)
    # A shift that lies on the edge between two pixels may round to the other one.
    assert np.quantile(difference, 0.995) <= 2


NOISE_MEAN_AND_SD = {
  # Of a value v in [0, 1] that noise does not drive out of range.
  "gaussian_noise": lambda v, s: (v, corruptions.GAUSSIAN_NOISE[s]),
  "speckle_noise": lambda v, s: (v, v * corruptions.SPECKLE_NOISE[s]),
  "shot_noise": lambda v, s: (v, np.sqrt(v / corruptions.SHOT_NOISE[s])),
  "impulse_noise": lambda v, s: (
    v + corruptions.IMPULSE_NOISE[s] * (0.5 - v),
    np.sqrt(
      (1 - corruptions.IMPULSE_NOISE[s]) * v**2
      + corruptions.IMPULSE_NOISE[s] / 2
      - (v + corruptions.IMPULSE_NOISE[s] * (0.5 - v)) ** 2
    ),
  ),
}


@pytest.mark.parametrize("name", NOISE_MEAN_AND_SD)
def test_noise_has_the_mean_and_the_spread_that_it_should(name):
  level = 102  # 0.4
  flat = np.full((SIZE, SIZE, 3), level, np.uint8)
  severities = SEVERITIES if name == "impulse_noise" else (0,)  # of the others stronger ones are clipped
  for severity in severities:
    values = (
      corrupted(flat, name, severity) + (0.5 if name in ("gaussian_noise", "speckle_noise") else 0.25)
    ) / 255
    mean, sd = NOISE_MEAN_AND_SD[name](level / 255, severity)
    assert values.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(values.size) + 0.002)
    # Of rare events the spread is known as well as their number is.
    assert values.std() == pytest.approx(sd, rel=0.1 if name == "impulse_noise" else 0.05)


def test_shot_noise_is_poisson():
  """Counts at a flat level against the distribution, by chi squared."""
  from scipy import stats

  flat = np.full((SIZE, SIZE, 3), 128, np.uint8)
  for severity in (2, 4):
    photons = corruptions.SHOT_NOISE[severity]
    counts = np.rint(corrupted(flat, "shot_noise", severity) / 255 * photons).astype(int).ravel()
    most = photons  # more are clipped to white
    probability = stats.poisson.pmf(np.arange(most), photons * 128 / 255)
    expected = np.append(probability, 1 - probability.sum()) * counts.size
    observed = np.bincount(np.minimum(counts, most), minlength=most + 1)
    keep = expected > 5
    chi = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
    assert chi < stats.chi2.ppf(0.999, keep.sum() - 1)


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_a_corruption_works_at_other_sizes_and_in_a_batch(name):
  images = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 48, 48, 3)), jnp.float32)
  images = jnp.round(images * 255) / 255
  keys = jax.random.split(jax.random.key(0), 2)
  corrupt = jax.jit(jax.vmap(corruptions.CORRUPTIONS[name], in_axes=(0, 0, None)))
  together = corrupt(keys, images, jnp.int32(2))
  elsewhere = corrupt(keys[::-1], images.at[0].set(0.5)[::-1], jnp.int32(2))[0]
  assert together.shape == images.shape
  assert 0 <= float(together.min()) <= float(together.max()) <= 1
  assert float(jnp.abs(together[1] - elsewhere).mean()) < 1e-3
  assert float(jnp.abs(together[1] - images[1]).mean()) > 1e-3


@pytest.mark.parametrize("severity", [0, 4])
def test_an_elastic_transform_does_not_depend_on_how_many_images_go_with_it(severity):
  images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3)), jnp.float32) / 255
  keys = jax.random.split(jax.random.key(0), 8)
  corrupt = jax.jit(jax.vmap(corruptions.elastic_transform, in_axes=(0, 0, None)))
  with jax.default_matmul_precision("float32"):
    together = corrupt(keys, images, jnp.int32(severity))
    alone = [corrupt(keys[i : i + 1], images[i : i + 1], jnp.int32(severity))[0] for i in range(8)]
  np.testing.assert_array_equal(together, jnp.stack(alone))
