"""C-bar's corruptions against the published loops over pixels, given what was drawn; and what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.data import layouts
from biasjax.ops import corruptions_bar as bar

cv2 = pytest.importorskip("cv2", reason="the originals need OpenCV")
from benchmarks import originals  # noqa: E402 (needs OpenCV)

SIZE = 40


def picture(size):
  rng = np.random.default_rng(0)
  ground = cv2.GaussianBlur(rng.uniform(0, 255, (size, size, 3)).astype(np.float32), (0, 0), 4)
  return np.clip(5 * (ground - ground.mean()) + 120, 0, 255).astype(np.uint8)


def levels(image):
  return np.rint(np.asarray(image) * 255).astype(int)


def test_they_are_the_published_ten():
  assert tuple(sorted(bar.CORRUPTIONS)) == tuple(sorted(layouts.CBAR))
  assert set(bar.DRAWN) == set(bar.APPLIED) == set(bar.STRENGTHS)


@pytest.mark.parametrize("name", bar.STRENGTHS)
def test_a_corruption_is_the_published_one_given_what_is_drawn(name):
  # Of an odd size where it plays a part.
  size = SIZE + 1 if name == "brownish_noise" else SIZE
  image, corrupt = picture(size), jax.jit(bar.CORRUPTIONS[name])
  for severity in (0, 4):
    key = jax.random.key(severity)
    drawn = {of: np.asarray(value) for of, value in bar.DRAWN[name](key, size).items()}
    expected = getattr(originals, name)(image, severity, **drawn).astype(int)
    found = levels(corrupt(key, jnp.asarray(image, jnp.float32) / 255, jnp.int32(severity)))
    # Where something jumps, float32 may fall to the other side.
    assert (np.abs(found - expected) > 2).mean() < 0.002
    assert np.abs(expected - image).mean() > 0.5


DRAWS = {
  "single_frequency_greyscale": {"phase": (0, 2 * np.pi)},
  "cocentric_sine_waves": {
    "centre": (0, 224),
    "frequency": (0, 10),
    "amplitude": (0, 22.4),
    "width": (0, 22.4),
  },
  "plasma_noise": {
    **{"time": (0, 6 * np.pi), "sharpness": (0.5, 1)},
    **{"scale": (0.075 * 224, 0.2 * 224), "iterations": (4, 6)},
  },
  "caustic_refraction": {"time": (0.5, 2), "scale": (0.75 * 224, 1.25 * 224)},
  "checkerboard_cutout": {"angle": (0, 2 * np.pi), "side": (22.4, 56), "cells": (0, 1)},
  "sparkles": {"centres": (0, 224), "rays": (50, 199)},
  "inverse_sparkles": {"centre": (56, 168), "rays": (50, 199)},
  "brownish_noise": {"phases": (0, 2 * np.pi)},
}


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_is_uniform_over_the_published_range(name):
  draw = jax.jit(jax.vmap(lambda key: bar.DRAWN[name](key, 224)))
  count = 20 if name == "brownish_noise" else 300
  drawn = draw(jax.random.split(jax.random.key(0), count))
  for of, (low, high) in DRAWS[name].items():
    values = np.asarray(drawn[of]).ravel()[:20_000].astype(float)
    assert low <= values.min() < low + 0.05 * (high - low) + 1e-6
    assert high - 0.05 * (high - low) - 1e-6 < values.max() <= high
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.08 * (high - low))


def test_the_frequencies_of_a_plane_wave_are_one_free_and_one_smaller():
  draw = jax.jit(jax.vmap(lambda key: bar.DRAWN["single_frequency_greyscale"](key, 224)))
  drawn = draw(jax.random.split(jax.random.key(1), 2000))
  frequency = np.abs(np.asarray(drawn["frequency"]))
  larger, smaller = frequency.max(axis=1), frequency.min(axis=1)
  assert larger.max() <= np.pi
  assert larger.mean() == pytest.approx(np.pi / 2, abs=0.1)
  assert (smaller / larger).mean() == pytest.approx(0.5, abs=0.03)
  assert (frequency[:, 0] > frequency[:, 1]).mean() == pytest.approx(0.5, abs=0.05)


def test_gradients_of_perlins_noise_are_those_of_the_published_integers():
  """Of two integers from -256 to 255, over 256, normalised; each place of the permutation once."""
  drawn = bar.DRAWN["perlin_noise"](jax.random.key(0), 224)
  np.testing.assert_array_equal(np.sort(drawn["order"]), np.arange(256))
  gradients = np.asarray(drawn["gradients"])
  np.testing.assert_allclose(np.linalg.norm(gradients, axis=1), 1, atol=1e-6)
  # Directions of a square's points: more along its diagonals, by which |x y| is larger than 1 / pi.
  rng = np.random.default_rng(0)
  points = rng.integers(-256, 256, (100_000, 2)).astype(float)
  points /= np.linalg.norm(points, axis=1, keepdims=True).clip(1)
  expected = np.abs(points[:, 0] * points[:, 1])
  found = np.abs(gradients[:, 0] * gradients[:, 1])
  assert found.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / 16)


@pytest.mark.parametrize(("name", "slope"), [("blue_noise_sample", 1), ("brownish_noise", -2)])
def test_noise_has_the_published_spectrum(name, slope):
  phases = bar.DRAWN[name](jax.random.key(0), 64)["phases"]
  noise = np.asarray(bar.coloured(phases, slope))[0]
  power = np.abs(np.fft.fftshift(np.fft.fft2(noise))) ** 2
  y, x = np.mgrid[:64, :64] - 32
  radius = np.hypot(y, x)
  near, far = (power[(radius >= low) & (radius < high)].mean() for low, high in ((6, 9), (22, 26)))
  assert np.log(far / near) / np.log(24 / 7.5) == pytest.approx(2 * slope, abs=0.5)
  assert noise.std() == pytest.approx(1, abs=1e-4)
