"""The losses of attacks against PyTorch and against their published formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.ops.attacks import losses

SCORES = np.random.default_rng(0).normal(0, 3, (9, 7)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 5, 6, 0, 1])
TARGETS = (LABELS + 2) % 7


def value(name, scores=SCORES, labels=LABELS[:, None], targets=TARGETS):
  right = losses.right_classes(jnp.asarray(labels), scores.shape[1])
  return np.asarray(losses.LOSSES[name](jnp.asarray(scores), right, jnp.asarray(targets)))


def published(name: str, z: np.ndarray, y: int, t: int) -> float:
  """Equations 6 and 7 of Croce & Hein 2020, and the margin, one example at a time."""
  best, others = np.sort(z)[::-1], np.delete(z, y)
  return {
    "margin": others.max() - z[y],
    "dlr": -(z[y] - others.max()) / (best[0] - best[2]),
    "targeted-dlr": -(z[y] - z[t]) / (best[0] - (best[2] + best[3]) / 2),
  }[name]


@pytest.mark.parametrize("name", ["margin", "dlr", "targeted-dlr"])
def test_a_loss_is_its_published_formula(name):
  expected = [published(name, *row) for row in zip(SCORES.astype(np.float64), LABELS, TARGETS, strict=True)]
  np.testing.assert_allclose(value(name), expected, rtol=1e-5)


def test_cross_entropy_is_that_of_pytorch():
  torch = pytest.importorskip("torch", reason="parity tests need torch")
  expected = torch.nn.functional.cross_entropy(
    torch.from_numpy(SCORES), torch.from_numpy(LABELS), reduction="none"
  )
  np.testing.assert_allclose(value("ce"), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_the_ratio_does_not_change_when_scores_are_scaled_or_shifted():
  for name in ("dlr", "targeted-dlr"):
    np.testing.assert_allclose(value(name, 100 * SCORES + 7), value(name), rtol=1e-3)


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_classes_that_do_not_compete_change_neither_loss_nor_gradient(name):
  masked = np.concatenate([SCORES, np.full((9, 2), -np.inf, np.float32)], axis=1)

  def total(scores):
    right = losses.right_classes(jnp.asarray(LABELS)[:, None], scores.shape[1])
    return losses.LOSSES[name](scores, right, jnp.asarray(TARGETS)).sum()

  np.testing.assert_allclose(value(name, masked), value(name), rtol=1e-6)
  gradient = jax.grad(lambda z: total(jnp.where(jnp.arange(9)[None] < 7, z, -jnp.inf)))(jnp.asarray(masked))
  np.testing.assert_allclose(gradient[:, :7], jax.grad(total)(jnp.asarray(SCORES)), rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(gradient[:, 7:], 0.0)


def test_any_of_several_right_classes_is_right():
  scores = jnp.array([[0.0, 3.0, 2.0, 1.0]] * 3)
  right = losses.right_classes(jnp.array([[2, 1], [0, -1], [3, 2]]), 4)
  np.testing.assert_array_equal(losses.is_right(scores, right), [True, False, False])
  unused = jnp.zeros(3, jnp.int32)
  np.testing.assert_allclose(losses.margin(scores, right, unused), [-2.0, 3.0, 1.0])
  share = np.exp([3.0, 2.0]).sum() / np.exp([0.0, 3.0, 2.0, 1.0]).sum()
  np.testing.assert_allclose(losses.cross_entropy(scores, right, unused)[0], -np.log(share), rtol=1e-5)
