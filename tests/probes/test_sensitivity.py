"""The sensitivity probe: its sample of frequencies, the images, and networks whose error is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import biasjax
import made_observations
from biasjax import probes
from biasjax.errors import BiasjaxError
from biasjax.probes import relative, sensitivity
from oracles import perturbed


def wave(size: int, row: int, column: int) -> np.ndarray:
  """Of norm 1, in double precision."""
  at = np.arange(size)
  made = np.cos(2 * np.pi * (row * at[:, None] + column * at[None, :]) / size)
  return made / np.linalg.norm(made)


def test_the_sample_is_16_radii_of_8_orientations_each_frequency_once():
  frequencies = sensitivity.radial_sample(224)
  assert len(frequencies) == 1 + 4 + 15 * 8  # around radius 1 there are only four
  either = {frozenset({(i % 224, j % 224), (-i % 224, -j % 224)}) for i, j in frequencies.values()}
  assert len(either) == len(frequencies)
  assert frequencies["r=112/0"] == (0, 112)
  assert frequencies["r=8/45"] == (6, 6)
  for name, (row, column) in frequencies.items():
    assert abs(math.hypot(row, column) - sensitivity.radius_of(name)) < 0.75
  assert sensitivity.radii(224) == [1, 8, 16, 23, 31, 38, 45, 53, 60, 68, 75, 82, 90, 97, 105, 112]
  assert sensitivity.radii(8) == [1, 2, 3, 4]


def test_a_map_has_each_frequency_of_the_square_or_its_opposite():
  frequencies = set(sensitivity.square_map(5).values())
  assert len(frequencies) == (25 + 1) / 2
  assert frequencies | {(-i, -j) for i, j in frequencies} == {
    (i, j) for i in range(-2, 3) for j in range(-2, 3)
  }


@pytest.mark.parametrize("condition", ["r=0", "r=15/22.5", "r=32/90", "r=32/45", "r=13/157.5"])
def test_an_image_has_a_wave_of_the_norm_added_to_each_channel_with_a_sign(condition):
  probe = probes.get("sensitivity:rms=0.1", 64)
  pixels = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
  added = 0.1 * 64 * wave(64, *sensitivity.radial_sample(64)[condition])
  shown = perturbed(probe, pixels, condition)
  signs = set()
  for image, before in zip(shown, pixels / 255, strict=True):
    of_image = []
    for channel in range(3):
      fits = [
        sign
        for sign in (-1, 1)
        if np.allclose(
          image[..., channel], np.clip(before[..., channel] + sign * added, 0, 1), rtol=0, atol=2e-6
        )
      ]
      assert len(fits) == 1
      of_image += fits
    signs.add(tuple(of_image))
  assert len(signs) > 3  # each image and channel has one of its own


def test_an_image_may_leave_its_range_where_nothing_is_clipped():
  probe = probes.get("sensitivity:rms=2:clip=no", 16)
  pixels = np.zeros((1, 16, 16, 3), np.uint8)
  (image,) = perturbed(probe, pixels, "r=3/0")
  np.testing.assert_allclose(
    np.abs(image), np.abs(2 * 16 * wave(16, 0, 3))[:, :, None].repeat(3, 2), atol=1e-4
  )


def linear(weights: np.ndarray):
  """A network of two classes whose margin is <weights, first channel>, and images it has margins of."""
  rng = np.random.default_rng(1)
  pixels = rng.integers(0, 256, (400, *weights.shape, 3), np.uint8)
  margins = (pixels[..., 0] / 255 - 0.5).reshape(400, -1) @ weights.ravel()

  def apply(variables, images):
    margin = (images[..., 0] - 0.5).reshape(len(images), -1) @ variables.ravel()
    return jnp.stack([margin, -margin], axis=1)

  return apply, pixels, margins


def test_a_linear_networks_error_is_the_closed_form():
  """Of a margin m that a wave shifts by +- s, half of those with |m| < s turn: none of the others."""
  size, rms = 16, 0.07
  weights = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
  apply, pixels, margins = linear(weights)
  name = f"sensitivity:rms={rms / 2}:clip=no"
  found = biasjax.measure(apply, weights, pixels, (margins < 0).astype(int), name)
  said = found.observations[name]
  expected, variance, wrong = 0.0, 0.0, 0
  for condition, (row, column) in sensitivity.radial_sample(size).items():
    shift = abs(rms / 2 * size * (weights * wave(size, row, column)).sum())
    of = said[said["condition"] == condition].sort_values("example_id")
    turned = of["rank"].to_numpy() > 0
    may = np.abs(margins) < shift
    assert not turned[np.abs(margins) > shift + 1e-4].any()
    expected, variance, wrong = expected + may.sum() / 2, variance + may.sum() / 4, wrong + turned.sum()
  assert variance > 100
  assert abs(wrong - expected) < 4 * math.sqrt(variance)


def test_without_noise_the_error_is_the_clean_one():
  weights = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
  apply, pixels, margins = linear(weights)
  labels = np.where(np.arange(400) < 100, margins > 0, margins < 0).astype(int)  # a quarter is wrong
  found = biasjax.measure(apply, weights, pixels, labels, "sensitivity:rms=0").metrics
  errors = found[found.index.str.startswith("sensitivity:rms=0/error")]["value"]
  assert len(errors) == 1 + 1 + 8
  np.testing.assert_allclose(errors, 25)
  for band in ("mean", "low", "mid", "high"):
    assert found["value"][f"sensitivity:rms=0/{band}"] == 0
    assert found["value"][f"sensitivity:rms=0/{band}/relative"] == pytest.approx(0)
  assert math.isnan(found["value"]["sensitivity:rms=0/centroid"])
  assert found["flag"]["sensitivity:rms=0/centroid"] == sensitivity.NO_RISE


def test_a_network_that_says_one_class_has_the_same_error_everywhere():
  pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)

  def apply(variables, images):
    return jnp.zeros((len(images), 3)) + variables + 0 * images.mean((1, 2))

  found = biasjax.measure(
    apply, np.eye(3, dtype=np.float32)[:1], pixels, np.arange(30) % 3, "sensitivity"
  ).metrics
  errors = found[found.index.str.startswith("sensitivity/error")]
  np.testing.assert_allclose(errors["value"], 100 * 2 / 3)
  assert (errors["flag"] != "").all()


def test_a_network_behind_a_low_pass_filter_does_not_mind_high_frequencies():
  size, cutoff = 32, 5
  weights = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
  frequencies = np.fft.fftfreq(size, 1 / size)
  low = np.hypot(frequencies[:, None], frequencies[None, :]) <= cutoff
  weights = np.fft.ifft2(np.fft.fft2(weights) * low).real.astype(np.float32)
  apply, pixels, margins = linear(weights)
  found = biasjax.measure(
    apply, weights, pixels, (margins < 0).astype(int), "sensitivity:rms=0.02:clip=no"
  ).metrics
  values = found["value"]
  base = "sensitivity:rms=0.02:clip=no"
  assert values[f"{base}/low"] > 5
  assert values[f"{base}/mid"] == values[f"{base}/high"] == 0
  assert all(values[f"{base}/error/r={r}"] == 0 for r in (7, 10, 16))
  assert 1 <= values[f"{base}/centroid"] <= cutoff
  assert found["low"][f"{base}/centroid"] < values[f"{base}/centroid"] < found["high"][f"{base}/centroid"]


def test_rises_are_those_counted_by_hand():
  """Of 100 images 80 are right, and at radius r 80 - r: bands are thirds of 16 radii."""
  found = made_observations.summary(
    "sensitivity", lambda of: 80 - sensitivity.radius_of(of), 100, size=32, clean=80
  )
  counted = {"low": range(1, 6), "mid": range(6, 11), "high": range(11, 17), "mean": range(1, 17)}
  per_radius = {
    r: sum(sensitivity.radius_of(of) == r for of in probes.get("sensitivity", 32).conditions)
    for r in range(1, 17)
  }
  for band, radii in counted.items():
    many = sum(per_radius[r] for r in radii)
    rise = sum(per_radius[r] * r for r in radii) / many
    assert found[f"sensitivity/{band}"].value == pytest.approx(rise)
    assert found[f"sensitivity/{band}/relative"].value == pytest.approx(rise / 80)
    assert found[f"sensitivity/{band}"].low < rise < found[f"sensitivity/{band}"].high
  assert found["sensitivity/error/r=7"].value == pytest.approx(27)
  assert found["sensitivity/error/r=0"].value == pytest.approx(20)
  centroid = sum(r * r for r in range(1, 17)) / sum(range(1, 17))
  assert found["sensitivity/centroid"].value == pytest.approx(centroid)
  corrected = found["sensitivity/mean/relative/chance-corrected"].value
  assert corrected != found["sensitivity/mean/relative"].value


def test_a_rises_interval_is_students_with_one_changed_image_more():
  rng = np.random.default_rng(0)
  for n, change in ((48, 0.02), (48, 0.3), (2000, 0.1)):
    clean = (rng.random(n) < 0.8).astype(float)
    waved = np.abs(clean[:, None] - (rng.random((n, 20)) < change)).mean(axis=1)
    error = math.sqrt(np.var(clean - waved, ddof=1) / n + 1 / n**2)
    low, high = scipy.stats.t.interval(0.95, n - 1, (clean - waved).mean(), error)
    found = relative.difference("rise", clean, waved)
    assert (found.low, found.high) == pytest.approx((100 * low, 100 * high))


def test_there_is_no_centroid_where_waves_of_some_frequencies_help():
  found = made_observations.summary(
    "sensitivity", lambda of: 75 if sensitivity.radius_of(of) > 3 else 99, 100, size=32, clean=80
  )
  metric = found["sensitivity/centroid"]
  assert math.isnan(metric.value)
  assert metric.flag == sensitivity.NO_RISE


def test_a_map_has_an_error_for_each_frequency_and_its_radii():
  found = made_observations.summary(
    "sensitivity:map=5", lambda of: 80 - (20 if of == "i=1/j=-2" else 0), 100, size=32, clean=80
  )
  assert found["sensitivity:map=5/error/i=1/j=-2"].value == pytest.approx(40)
  assert found["sensitivity:map=5/error/i=0/j=1"].value == pytest.approx(20)
  assert found["sensitivity:map=5/error/r=2"].value == pytest.approx(20 + 20 / 6)
  assert "sensitivity:map=5/error/r=3" not in found  # its circle leaves the square
  assert "sensitivity:map=5/low" not in found
  assert found["sensitivity:map=5/mean"].value == pytest.approx(20 / 12)


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("sensitivity:rms=-1", "rms=-1: expected a number from 0 on"),
    ("sensitivity:rms=nan", "rms=nan: expected"),
    ("sensitivity:clip=maybe", "clip=maybe: expected one of yes, no"),
    ("sensitivity:map=30", "map=30: expected an odd number from 3 to 63"),
    ("sensitivity:map=65", "map=65: expected an odd number"),
  ],
)
def test_options_that_do_not_exist_are_refused(name, said):
  with pytest.raises(BiasjaxError, match=said):
    probes.get(name, 64)


def torchs_network(reference, torchvision):
  import torch

  file = reference / "data/checkpoints/resnet18_imagenette.pth.tar"
  network = torchvision.models.resnet18()
  state = torch.load(file, weights_only=True)["state_dict"]
  network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
  return network.eval(), file


@pytest.mark.reference
def test_decisions_of_a_trained_network_are_those_of_pytorch_on_waves_of_numpy(
  reference, tmp_path, torchvision
):
  import torch

  from biasjax.convert import conversion
  from biasjax.data import preprocess
  from biasjax.models.load import load

  network, file = torchs_network(reference, torchvision)
  conversion.write(conversion.convert(file), tmp_path / "network")
  paths = sorted((reference / "data/imagenette_val").glob("*/*.JPEG"))[::80]
  pixels = np.stack([preprocess.preprocess(path.read_bytes()) for path in paths])
  model = load(tmp_path / "network")
  probe = probes.get("sensitivity", 224)
  asked = ("r=0", "r=8/45", "r=31/112.5", "r=112/0")
  jitted = jax.jit(model.apply)
  mean, sd = (np.array(of).reshape(3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
  wrong, close = 0, 0
  for condition in asked:
    shown = perturbed(probe, pixels, condition)
    added = 0.07 * 224 * wave(224, *sensitivity.radial_sample(224)[condition])
    signs = np.sign(np.einsum("bhwc,hw->bc", shown - pixels / 255, added))
    expected = np.clip(pixels / 255 + signs[:, None, None, :] * added[None, :, :, None], 0, 1)
    np.testing.assert_allclose(shown, expected, rtol=0, atol=3e-6)
    with torch.no_grad():
      inputs = torch.tensor((expected.transpose(0, 3, 1, 2) - mean) / sd, dtype=torch.float32)
      theirs = network(inputs).numpy()
    ours = np.asarray(jitted(model.variables, jnp.asarray(shown)))
    best = np.sort(theirs, axis=1)
    close += int((best[:, -1] - best[:, -2] < 1e-3).sum())
    wrong += int((ours.argmax(1) != theirs.argmax(1)).sum())
  assert len(paths) == 13
  assert wrong <= close <= 2
