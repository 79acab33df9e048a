"""Statistics against independent implementations, and against known truth."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from biasjax.study import correlation, resampling, significance
from biasjax.study.resampling import Resampling


def repeated(values, weights):
  return np.repeat(values, weights)


@pytest.mark.parametrize("seed", range(20))
def test_weighted_ranks_are_those_of_the_sample_written_out(seed):
  rng = np.random.default_rng(seed)
  values = rng.integers(0, 5, 3 + seed // 2).astype(float)
  weights = rng.integers(0, 3, (5, len(values)))
  ranks = correlation.centred_midranks(values, weights)
  for w, r in zip(weights, ranks, strict=True):
    expected = scipy.stats.rankdata(repeated(values, w))
    np.testing.assert_allclose(repeated(r, w), expected - (len(expected) + 1) / 2, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrapped_correlations_are_scipys_of_the_sample_written_out(ties):
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(2, 20))
  if ties:
    x, y = np.round(x), np.round(2 * y)
  weights = Resampling(50, 1).models(20)
  draws = correlation.spearman_draws(x[:, None], y[:, None], weights)[:, 0, 0]
  expected = [scipy.stats.spearmanr(repeated(x, w), repeated(y, w)).statistic for w in weights]
  np.testing.assert_allclose(draws, expected, atol=1e-12)


def test_a_constant_sample_has_no_correlation():
  draws = correlation.spearman_draws(np.ones((5, 1)), np.arange(5.0)[:, None], np.ones((1, 5), int))
  assert np.isnan(draws).all()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 48])
def test_spearman_and_its_p_are_scipys(n, ties):
  x, y = np.random.default_rng(n).normal(size=(2, n))
  if ties:
    x, y = np.round(x), np.round(2 * y)
  expected = scipy.stats.spearmanr(x, y)
  assert correlation.spearman(x, y) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)
  assert correlation.spearman(x, x) == pytest.approx((1.0, 0.0))


def frames(x, y, biases=None):
  n = len(x)
  biases = pd.DataFrame({"bias": x}) if biases is None else biases
  return biases, pd.DataFrame({"axis": y}), {"Total": np.ones(n, bool)}, np.array(["all"] * n, object)


def test_missing_values_are_left_out_of_their_cells_alone():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 20))
  biases = pd.DataFrame({"a": x, "b": np.where(np.arange(20) < 5, np.nan, x)})
  table = correlation.cells(*frames(x, y, biases=biases), Resampling(200, 0))
  assert table["n"].tolist() == [20, 15]
  assert table["missing"].tolist() == [0, 5]
  assert table["spearman"][1] == pytest.approx(scipy.stats.spearmanr(x[5:], y[5:]).statistic)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_models_have_no_correlation_but_a_reason(n):
  table = correlation.cells(*frames(np.arange(n) * 1.0, np.arange(n) * 1.0), Resampling(200, 0))
  assert table["spearman"].isna().all()
  assert "even a perfect order" in table["reason"][0]


def test_a_constant_column_is_named():
  x = np.arange(10.0)
  table = correlation.cells(*frames(x, np.ones(10)), Resampling(200, 0))
  assert table["reason"][0] == "axis is the same for all 10 models"
  assert math.isnan(table["p"][0])


def test_the_same_seed_gives_the_same_numbers():
  x, y = np.random.default_rng(0).normal(size=(2, 30))
  one, two = (correlation.cells(*frames(x, y), Resampling(500, 4)) for _ in range(2))
  pd.testing.assert_frame_equal(one, two)


def normal_pairs(rho, n, repeats, seed):
  """Spearman's population value for a bivariate normal is 6 / pi arcsin(rho / 2)."""
  rng = np.random.default_rng(seed)
  first, second = rng.normal(size=(2, n, repeats))
  return first, rho * first + math.sqrt(1 - rho**2) * second


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_intervals_cover_the_truth_about_as_often_as_they_say(rho):
  repeats, n, draws = 300, 40, 400
  truth = 6 / math.pi * math.asin(rho / 2)
  x, y = normal_pairs(rho, n, repeats, seed=11)
  covered = 0
  for i in range(repeats):
    weights = np.concatenate([Resampling(draws, i).models(n), 1 - np.eye(n, dtype=int)])
    sampled = correlation.spearman_draws(x[:, [i]], y[:, [i]], weights)[:, 0, 0]
    estimate = scipy.stats.spearmanr(x[:, i], y[:, i]).statistic
    low, high = resampling.bca(estimate, sampled[:draws], sampled[draws:])
    covered += low <= truth <= high
  # 95 % nominal; four standard errors of the simulation below, and the bootstrap's known shortfall at n = 40.
  assert 0.88 <= covered / repeats <= 0.99


def test_permutation_test_has_its_size_under_the_null_and_power_under_a_plant():
  repeats, n = 400, 30
  rejected = {}
  for rho in (0.0, 0.6):
    x, y = normal_pairs(rho, n, repeats, seed=21)
    rx, ry = (scipy.stats.rankdata(v, axis=0) - (n + 1) / 2 for v in (x, y))
    orders = Resampling(500, 22).orders(n)
    p = [significance.permutation_p(rx[:, [i]], ry[:, [i]], orders)[0, 0] for i in range(repeats)]
    rejected[rho] = np.mean(np.array(p) < 0.05)
  assert 0.02 <= rejected[0.0] <= 0.09  # .05 within four standard errors
  assert rejected[0.6] > 0.85  # Spearman's power at n = 30 is about .93
