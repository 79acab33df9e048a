"""Budgets: projections, directions and starting points, by hypothesis and against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from small_scores import SIZE, pictures

from biasjax.ops.attacks import fab, threat

NORMS = ("linf", "l2")
project = jax.jit(threat.project, static_argnums=0)
budget = st.floats(0.0, 2.0, width=32)
seed = st.integers(0, 2**31)


@pytest.mark.parametrize("norm", NORMS)
@given(eps=budget, seed=seed, spread=st.floats(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_projection_is_within_the_budget_and_the_range(norm, eps, seed, spread):
  rng = np.random.default_rng(seed)
  originals = pictures(3, seed)
  images = (originals + spread * rng.normal(size=originals.shape)).astype(np.float32)
  projected = np.asarray(project(norm, jnp.asarray(originals), jnp.asarray(images), jnp.float32(eps)))
  slack = threat.rounding(norm, originals.shape[1:], np.dtype(np.float32), eps)
  assert threat.measured_norms(norm, originals, projected).max() <= eps + slack
  assert projected.min() >= 0
  assert projected.max() <= 1


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_within_the_budget_stays_as_it_is(norm):
  originals = pictures(4)
  images = jnp.asarray(originals * 0.999)
  np.testing.assert_array_equal(threat.project(norm, jnp.asarray(originals), images, jnp.float32(3)), images)


@pytest.mark.parametrize("draw", [threat.within, threat.on_sphere])
@pytest.mark.parametrize("norm", NORMS)
def test_a_starting_point_fills_its_budget(norm, draw):
  grey = np.full((200, SIZE, SIZE, 3), 0.5, np.float32)
  keys = jax.random.split(jax.random.key(0), len(grey))
  eps = 0.1
  started = threat.measured_norms(
    norm, grey, np.asarray(jax.jit(draw, static_argnums=0)(norm, keys, jnp.asarray(grey), jnp.float32(eps)))
  )
  assert started.max() <= eps * (1 + 1e-5)
  assert started.min() > 0.95 * eps  # in 300 dimensions nearly all of a ball is at its surface
  if draw is threat.on_sphere:
    np.testing.assert_allclose(started, eps, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_has_length_1_even_where_squares_underflow(norm):
  gradients = np.random.default_rng(0).normal(0, 1e-30, (3, SIZE, SIZE, 3)).astype(np.float32)
  gradients[2] = 0
  directions = np.asarray(threat.steepest(norm, jnp.asarray(gradients)))
  np.testing.assert_allclose(
    threat.measured_norms(norm, np.zeros_like(directions), directions), [1, 1, 0], rtol=1e-5
  )


def least_change(norm: str, x: np.ndarray, normal: np.ndarray, offset: float) -> float | None:
  """The norm of the least d with offset + normal d = 0 and x + d in [0, 1], by scipy; None if none is."""
  n = len(x)
  if norm == "linf":
    # Variables d and t: minimise t with |d| <= t.
    found = scipy.optimize.linprog(
      np.r_[np.zeros(n), 1],
      A_ub=np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]]),
      b_ub=np.zeros(2 * n),
      A_eq=np.r_[normal, 0][None],
      b_eq=[-offset],
      bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
    )
    return found.fun if found.success else None
  found = scipy.optimize.minimize(
    lambda d: d @ d,
    np.zeros(n),
    jac=lambda d: 2 * d,
    bounds=list(zip(-x, 1 - x, strict=True)),
    constraints={"type": "eq", "fun": lambda d: offset + normal @ d, "jac": lambda d: normal},
    method="SLSQP",
    options={"ftol": 1e-12, "maxiter": 300},
  )
  return float(np.sqrt(found.fun)) if found.success else None


to_boundary = jax.jit(fab.to_boundary, static_argnums=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("offset", [-0.7, 0.4, 2.5, -6.0])
def test_the_projection_onto_the_boundary_is_the_least_one(norm, offset):
  rng = np.random.default_rng(abs(int(10 * offset)))
  x = rng.uniform(-0.2, 1.2, (1, 3, 3, 2)).clip(0, 1)
  normal = rng.normal(size=x.shape)
  moved = np.asarray(
    to_boundary(norm, *(jnp.asarray(a, jnp.float32) for a in (x, normal, np.array([offset]))))
  )
  assert (x + moved).min() >= -1e-6
  assert (x + moved).max() <= 1 + 1e-6
  expected = least_change(norm, x.ravel(), normal.ravel(), offset)
  reached = offset + (normal * moved).sum()
  if expected is None:  # as far as the box allows
    furthest = np.where(np.sign(normal) * np.sign(offset) > 0, -x, 1 - x)
    np.testing.assert_allclose(moved, furthest, atol=1e-6)
  else:
    assert reached == pytest.approx(0, abs=1e-5)
    assert threat.measured_norms(norm, x * 0, moved)[0] == pytest.approx(expected, rel=1e-3)


def test_the_measured_norm_is_that_of_numpy_in_double_precision():
  a, b = pictures(2, 1), pictures(2, 2)
  for norm, order in (("linf", np.inf), ("l2", 2)):
    difference = (b.astype(np.float64) - a).reshape(2, -1)
    expected = np.linalg.norm(difference, order, axis=1)
    np.testing.assert_allclose(threat.measured_norms(norm, a, b), expected, rtol=1e-12)
