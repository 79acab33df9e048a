"""Amplitudes that an attack moves: by how much, which way, and that phases stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.errors import BiasjaxError
from biasjax.train import interventions
from biasjax.train.interventions import sada
from biasjax.train.interventions.base import Victim

SIZE = 16
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32)


def images(n: int = 3) -> np.ndarray:
  """Pictures of faint contrast, which no step takes out of [0, 1]."""
  return (0.5 + 0.02 * np.random.default_rng(1).normal(size=(n, SIZE, SIZE, 3))).astype(np.float32)


def linear(right: bool = True) -> Victim:
  return Victim(
    lambda x: jnp.sum(x * jnp.asarray(WEIGHTS)[None], axis=(1, 2, 3)),
    lambda x: jnp.full(len(x), right),
  )


def attacked(spec: str, shown=None, victim=None) -> np.ndarray:
  (intervention,) = interventions.parse(spec)
  shown = jnp.asarray(images() if shown is None else shown)
  return np.asarray(
    intervention.attack(jax.random.split(jax.random.key(0), len(shown)), victim or linear(), shown)
  )


def test_one_step_on_a_linear_loss_is_its_closed_form():
  """dL/dA of a frequency is Re(e^(-iP) FFT(w)), up to a factor above 0 (Parseval)."""
  shown = images()
  spectrum = np.fft.fft2(shown.astype(np.float64), axes=(1, 2))
  amplitude, phase = np.abs(spectrum), np.angle(spectrum)
  slope = np.real(np.exp(-1j * phase) * np.fft.fft2(WEIGHTS.astype(np.float64), axes=(0, 1))[None])
  expected = amplitude * (1 + 0.1 * np.sign(slope))
  # The mean is half a picture's worth: it leaves [0, 1] unless it stays.
  found = attacked("sada:steps=1=0.1", shown)
  again = np.fft.fft2(found.astype(np.float64), axes=(1, 2))
  inner = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE, 1 / SIZE), np.fft.fftfreq(SIZE, 1 / SIZE))) > 0.5
  strong = amplitude[:, inner] > 0.02  # of weaker ones float32 leaves no phase
  np.testing.assert_allclose(np.abs(again)[:, inner][strong], expected[:, inner][strong], rtol=2e-3)
  turned = np.angle(again * np.exp(-1j * phase))[:, inner][strong]
  np.testing.assert_allclose(turned, 0, atol=2e-3)


def test_the_loss_of_a_linear_network_is_never_lowered():
  victim = linear()
  before = np.asarray(victim.losses(jnp.asarray(images(8))))
  for spec in ("sada=0.1", "sada:steps=1=0.4", "sada=0.4"):
    assert (np.asarray(victim.losses(jnp.asarray(attacked(spec, images(8))))) > before).all()


def test_an_image_that_is_wrong_already_is_not_moved():
  np.testing.assert_allclose(attacked("sada=0.4", victim=linear(right=False)), images(), atol=2e-6)


def test_a_map_says_by_how_much_each_radius_is_moved(tmp_path):
  path = tmp_path / "map.csv"
  path.write_text("radius,sensitivity\n0,0\n3,0\n3.01,1\n20,1\n")
  before = np.abs(np.fft.rfft2(images().astype(np.float64), axes=(1, 2)))
  found = np.abs(np.fft.rfft2(attacked(f"sada:steps=1:map={path}=0.1").astype(np.float64), axes=(1, 2)))
  change = np.abs(found / before - 1)
  radius = sada.radii(SIZE, SIZE)
  strong = before > 0.1
  inner = strong & ((radius > 0) & (radius < 3))[None, :, :, None]
  outer = strong & (radius > 3.5)[None, :, :, None]
  assert np.median(change[inner]) == pytest.approx(0.1, abs=1e-3)
  assert np.median(change[outer]) == pytest.approx(0.2, abs=1e-3)


def test_the_start_raises_the_mean_of_each_channel_at_random():
  shown = 0.2 * images()
  found = attacked("sada:start=1=1e-6", shown)
  ratio = found.mean((1, 2)) / shown.mean((1, 2))
  assert 1 <= ratio.min() < ratio.max() <= 2
  assert np.std(ratio) > 0.05
  np.testing.assert_allclose(
    found - found.mean((1, 2), keepdims=True), shown - shown.mean((1, 2), keepdims=True), atol=1e-5
  )


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("radius,other\n1,1\n", "expected the columns"),
    ("radius,sensitivity\n1,2\n", "expected radii"),
    ("radius,sensitivity\n", "expected radii"),
    ("radius,sensitivity\n1,x\n", "expected the columns"),
    ("radius,sensitivity\n1,0,5\n", "more fields than the header"),
  ],
)
def test_a_map_of_something_else_is_refused(tmp_path, text, message):
  (tmp_path / "map.csv").write_text(text)
  with pytest.raises(BiasjaxError, match=message):
    interventions.parse(f"sada:map={tmp_path / 'map.csv'}=0.4")
  with pytest.raises(BiasjaxError, match="cannot be read"):
    interventions.parse(f"sada:map={tmp_path / 'none.csv'}=0.4")
