"""The spectrum of the loss gradient: known networks, and PyTorch's gradient in double precision."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import biasjax
from biasjax import library, probes
from biasjax.engine import evaluate, given
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store

SIZE = 16
FREQUENCIES = np.fft.fftfreq(SIZE, 1 / SIZE)
LENGTHS = np.hypot(FREQUENCIES[:, None], FREQUENCIES[None, :])
PIXELS = np.random.default_rng(1).integers(0, 256, (24, SIZE, SIZE, 3), np.uint8)


def linear(weights, images):
  """Two classes, of log odds <weights, image>."""
  odds = images.reshape(len(images), -1) @ weights.ravel()
  return jnp.stack([odds, jnp.zeros_like(odds)], axis=1)


def by_ring(power: np.ndarray) -> list[float]:
  """Sums of a power spectrum [16, 16] over frequency 0, 8 rings of width 1, and what is beyond."""
  edges = [-1, 0, *range(1, 9), 99]
  return [power[(low < LENGTHS) & (high >= LENGTHS)].sum() for low, high in itertools.pairwise(edges)]


def observed(weights, apply=linear, labels=None):
  labels = np.arange(24) % 2 if labels is None else labels
  found = biasjax.measure(apply, weights, PIXELS, labels, "gradient_spectrum")
  return found, found.observations["gradient_spectrum"].sort_values("example_id")


def test_a_linear_networks_spectrum_is_that_of_its_weights_whatever_the_image():
  weights = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32) / 10
  power = (np.abs(np.fft.fft2(weights.astype(float), axes=(0, 1))) ** 2).mean(axis=2) / SIZE**2
  expected = np.array(by_ring(power))
  assert expected.sum() == pytest.approx((weights**2).sum() / 3)  # Parseval
  found, said = observed(weights)
  for ring in range(10):
    np.testing.assert_allclose(said[f"share_{ring}"], expected[ring] / expected.sum(), rtol=1e-4)
  within = (LENGTHS > 0) & (LENGTHS <= 8)
  centroid = (LENGTHS * power)[within].sum() / power[within].sum()
  np.testing.assert_allclose(said["centroid"], centroid, rtol=1e-4)
  # The cross-entropy's gradient is that of the log odds times the probability of the wrong class.
  odds = (PIXELS / 255).reshape(24, -1) @ weights.ravel().astype(float)
  wrong = 1 / (1 + np.exp(np.where(np.arange(24) % 2 == 0, odds, -odds)))
  np.testing.assert_allclose(said["log10_power"], np.log10(expected.sum() * wrong**2), rtol=0, atol=1e-4)
  metrics = found.metrics["value"]
  assert metrics["gradient-spectrum/centroid"] == pytest.approx(centroid, rel=1e-4)
  counts = np.bincount(np.ceil(LENGTHS - 1e-9).astype(int).ravel())
  for ring in range(1, 9):
    level = np.log10(expected[ring] / counts[ring] * wrong**2).mean()
    assert metrics[f"gradient-spectrum/r={ring}"] == pytest.approx(level, abs=1e-4)


def test_a_confident_network_has_the_same_spectrum():
  """Where the probability of the right class rounds to 1 the plain gradient would be 0, or another one."""
  weights = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32)
  weights -= weights.mean()
  odds = (PIXELS / 255).reshape(24, -1) @ weights.ravel().astype(float)
  labels = (odds < 0).astype(int)
  _, one = observed(weights, labels=labels)
  _, sure = observed(weights * 100, labels=labels)
  assert (np.abs(odds * 100) > 90).mean() > 0.8
  assert np.isfinite(sure["log10_power"]).all()
  np.testing.assert_allclose(sure["share_3"], one["share_3"], rtol=1e-3)
  np.testing.assert_allclose(sure["centroid"], one["centroid"], rtol=1e-3)


def test_behind_a_low_pass_filter_there_is_no_gradient_above_the_cutoff():
  mask = (LENGTHS <= 4).astype(np.float32)[:, :, None]

  def filtered(weights, images):
    low = jnp.fft.ifft2(jnp.fft.fft2(images, axes=(1, 2)) * mask[None], axes=(1, 2)).real
    return linear(weights, jnp.tanh(low))

  _, said = observed(np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32) / 10, filtered)
  assert (said[[f"share_{ring}" for ring in range(5, 10)]].to_numpy() < 1e-9).all()
  np.testing.assert_allclose(said[[f"share_{ring}" for ring in range(5)]].sum(axis=1), 1, rtol=1e-5)
  assert (said["centroid"] < 4).all()


def test_images_without_a_gradient_are_left_out_and_counted():
  def flat(weights, images):
    return linear(weights, jnp.where(images[:, :1, :1, :1] > 0.5, images, 0.0))

  found, said = observed(np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32) / 10, flat)
  none = PIXELS[:, 0, 0, 0] / 255 <= 0.5
  assert 3 < none.sum() < 21
  np.testing.assert_array_equal(np.isnan(said["log10_power"]), none)
  np.testing.assert_array_equal(np.isnan(said["centroid"]), none)
  row = found.metrics.loc["gradient-spectrum/centroid"]
  assert row["n"] == 24 - none.sum()
  assert row["flag"] == f"no gradient on {none.sum()} of 24 images, which are left out"


def test_images_without_a_gradient_at_some_frequencies_are_counted_there():
  """A network that sees of bright images the mean, of dark ones all: no ring has power in the former."""

  def mean_only(weights, images):
    return linear(weights, jnp.where(images[:, :1, :1, :1] > 0.5, images.mean((1, 2), keepdims=True), images))

  weights = np.full((SIZE, SIZE, 3), 0.01, np.float32)
  weights[0, 0] = 0.1
  found, _ = observed(weights, mean_only)
  constant = (PIXELS[:, 0, 0, 0] / 255 > 0.5).sum()
  for name in ("centroid", "r=3"):
    row = found.metrics.loc[f"gradient-spectrum/{name}"]
    assert row["n"] == 24 - constant
    assert row["flag"] == f"no gradient at these frequencies on {constant} of 24 images, which are left out"
  assert found.metrics.loc["gradient-spectrum/log10-power", "flag"] == ""


def test_images_that_no_attack_has_changed_are_not_kept_as_its_work(tmp_path):
  names = [f"{i}.png" for i in range(24)]
  source = library._source(
    "drawn", PIXELS, (np.arange(24) % 2)[:, None], names, None, "classes", hashed=False
  )
  network = given.checked("here", "net", linear, np.ones((SIZE, SIZE, 3), np.float32) / 99, SIZE, kept=False)
  settings = evaluate.Settings(batch_size=8, keep_adversarial=4, progress=False)
  asked = [probes.get(name, SIZE) for name in ("gradient_spectrum", "fgsm")]
  evaluate.evaluate([network], asked, source, Store(tmp_path, 24), settings)
  assert [path.name for path in (tmp_path / "adversarial/drawn").iterdir()] == ["fgsm"]


def test_too_small_images_are_refused():
  with pytest.raises(BiasjaxError, match="2 x 2 pixels: at least 4"):
    probes.get("gradient_spectrum", 2)


@pytest.mark.reference
def test_a_trained_networks_spectrum_is_that_of_pytorchs_gradient(reference, tmp_path, torchvision):
  import torch
  from test_sensitivity import torchs_network

  from biasjax.convert import conversion
  from biasjax.data import preprocess
  from biasjax.data.classes import class_index
  from biasjax.models.load import load

  network, file = torchs_network(reference, torchvision)
  conversion.write(conversion.convert(file), tmp_path / "network")
  paths = sorted((reference / "data/imagenette_val").glob("*/*.JPEG"))[::160]
  pixels = np.stack([preprocess.preprocess(path.read_bytes()) for path in paths])
  labels = np.array([class_index()[path.parent.name] for path in paths])
  model = load(tmp_path / "network")
  found = biasjax.measure(
    model.apply, model.variables, pixels, labels, "gradient_spectrum", labels_are="imagenet"
  )
  said = found.observations["gradient_spectrum"].sort_values("example_id")

  mean, sd = (
    torch.tensor(of).double().reshape(3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
  )
  images = torch.tensor(pixels.transpose(0, 3, 1, 2) / 255, dtype=torch.float64, requires_grad=True)
  scores = network.double()((images - mean) / sd)
  torch.nn.functional.cross_entropy(scores, torch.tensor(labels), reduction="sum").backward()
  power = (np.abs(np.fft.fft2(images.grad.numpy())) ** 2).mean(axis=1) / 224**2
  frequencies = np.fft.fftfreq(224, 1 / 224)
  lengths = np.hypot(frequencies[:, None], frequencies[None, :])
  assert len(paths) == 7
  edges = [-1, 0, *(7 * np.arange(1, 17)), 999]
  total = power.sum((1, 2))
  for ring, (low, high) in enumerate(itertools.pairwise(edges)):
    expected = power[:, (low < lengths) & (lengths <= high)].sum(axis=1) / total
    np.testing.assert_allclose(said[f"share_{ring}"], expected, rtol=2e-2, atol=1e-5)
  within = (lengths > 0) & (lengths <= 112)
  centroid = (power * lengths)[:, within].sum(axis=1) / power[:, within].sum(axis=1)
  np.testing.assert_allclose(said["centroid"], centroid, rtol=1e-3)
  np.testing.assert_allclose(said["log10_power"], np.log10(total), rtol=0, atol=1e-2)
