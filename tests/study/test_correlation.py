"""Statistics against independent implementations, and against known truth."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from biasjax.study import correlation

multipletests = pytest.importorskip("statsmodels.stats.multitest", reason="needs statsmodels").multipletests


def repeated(values, weights):
  return np.repeat(values, weights)


@pytest.mark.parametrize("seed", range(20))
def test_weighted_ranks_are_those_of_the_sample_written_out(seed):
  rng = np.random.default_rng(seed)
  values = rng.integers(0, 5, 3 + seed // 2).astype(float)
  weights = rng.integers(0, 3, (5, len(values)))
  ranks = correlation.weighted_midranks(values, weights)
  for w, r in zip(weights, ranks, strict=True):
    np.testing.assert_allclose(repeated(r, w), scipy.stats.rankdata(repeated(values, w)))


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrapped_correlations_are_scipys_of_the_sample_written_out(ties):
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(2, 20))
  if ties:
    x, y = np.round(x), np.round(2 * y)
  weights = correlation.resamples(20, 50, rng)
  draws = correlation.spearman_draws(x[:, None], y[:, None], weights)[:, 0, 0]
  expected = [scipy.stats.spearmanr(repeated(x, w), repeated(y, w)).statistic for w in weights]
  np.testing.assert_allclose(draws, expected, atol=1e-12)


def test_a_constant_sample_has_no_correlation():
  draws = correlation.spearman_draws(np.ones((5, 1)), np.arange(5.0)[:, None], np.ones((1, 5), int))
  assert np.isnan(draws).all()


def test_a_resample_has_as_many_models_as_there_are():
  weights = correlation.resamples(7, 100, np.random.default_rng(0))
  assert (weights.sum(axis=1) == 7).all()


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bca_is_scipys_from_the_same_draws(confidence):
  rng = np.random.default_rng(3)
  x = rng.exponential(size=40)
  result = scipy.stats.bootstrap(
    (x,), np.mean, n_resamples=2000, method="BCa", confidence_level=confidence, rng=rng
  )
  jackknife = np.array([np.delete(x, i).mean() for i in range(len(x))])
  low, high = correlation.bca(x.mean(), result.bootstrap_distribution, jackknife, confidence)
  assert low == pytest.approx(result.confidence_interval.low, rel=1e-9)
  assert high == pytest.approx(result.confidence_interval.high, rel=1e-9)


def test_bca_has_no_interval_for_a_perfect_order():
  x = np.arange(8.0)[:, None]
  weights = correlation.resamples(8, 500, np.random.default_rng(0))
  draws = correlation.spearman_draws(x, x, weights)[:, 0, 0]
  assert np.isnan(correlation.bca(1.0, draws, np.ones(8))).all()


def test_few_models_have_all_their_orders():
  orders = correlation.permutations(np.zeros(5, int), 1000, np.random.default_rng(0))
  assert {tuple(o) for o in orders} == set(itertools.permutations(range(5)))
  assert len(orders) == 120


@pytest.mark.parametrize("draws", [50, 10_000])
def test_permutations_stay_within_their_blocks(draws):
  blocks = np.array([0, 1, 0, 2, 1, 0, 2, 2, 0])
  orders = correlation.permutations(blocks, draws, np.random.default_rng(0))
  assert (np.sort(orders, axis=1) == np.arange(9)).all()
  assert (blocks[orders] == blocks).all()
  assert len(np.unique(orders[:, 0])) == 4


def test_the_exact_permutation_p_is_scipys():
  rng = np.random.default_rng(5)
  x, y = rng.normal(size=(2, 6))
  y += x
  rx, ry = (correlation.midranks(v) - 3.5 for v in (x, y))
  orders = correlation.permutations(np.zeros(6, int), 1000, rng)
  expected = scipy.stats.permutation_test(
    (x,), lambda v: scipy.stats.spearmanr(v, y).statistic, permutation_type="pairings", n_resamples=np.inf
  )
  assert correlation.permutation_p(rx[:, None], ry[:, None], orders)[0, 0] == pytest.approx(expected.pvalue)


def test_permutation_p_of_many_models_is_near_students():
  rng = np.random.default_rng(7)
  x, y = rng.normal(size=(2, 40))
  y += 0.3 * x
  rx, ry = (correlation.midranks(v) - 20.5 for v in (x, y))
  orders = correlation.permutations(np.zeros(40, int), 20_000, rng)
  p = correlation.permutation_p(rx[:, None], ry[:, None], orders)[0, 0]
  assert p == pytest.approx(scipy.stats.spearmanr(x, y).pvalue, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 5, 72])
def test_adjusted_p_are_statsmodels(n):
  rng = np.random.default_rng(n)
  for p in (rng.random(n), np.round(rng.random(n), 1), rng.random(n) ** 6):
    np.testing.assert_allclose(correlation.holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(correlation.benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 48])
def test_spearman_and_its_p_are_scipys(n, ties):
  x, y = np.random.default_rng(n).normal(size=(2, n))
  if ties:
    x, y = np.round(x), np.round(2 * y)
  expected = scipy.stats.spearmanr(x, y)
  assert correlation.spearman(x, y) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)
  assert correlation.spearman(x, x) == pytest.approx((1.0, 0.0))


def test_cells_without_p_do_not_count_in_the_adjustment():
  p = np.array([0.01, math.nan, 0.04])
  np.testing.assert_allclose(correlation.holm(p), [0.02, math.nan, 0.04])
  np.testing.assert_allclose(correlation.benjamini_hochberg(p), [0.02, math.nan, 0.04])


def test_the_smallest_significant_correlation_has_p_of_5_percent():
  for n in (5, 15, 48, 500):
    r = correlation.smallest_significant(n)
    t = r * math.sqrt((n - 2) / (1 - r**2))
    assert 2 * scipy.stats.t.sf(t, n - 2) == pytest.approx(0.05)


def frames(x, y):
  n = len(x)
  return pd.DataFrame({"bias": x}), pd.DataFrame({"axis": y}), {"Total": np.ones(n, bool)}


def test_missing_values_are_left_out_of_their_cells_alone():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 20))
  biases = pd.DataFrame({"a": x, "b": np.where(np.arange(20) < 5, np.nan, x)})
  table = correlation.cells(biases, pd.DataFrame({"axis": y}), {"Total": np.ones(20, bool)}, 200, rng)
  assert table["n"].tolist() == [20, 15]
  assert table["missing"].tolist() == [0, 5]
  assert table["spearman"][1] == pytest.approx(scipy.stats.spearmanr(x[5:], y[5:]).statistic)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_models_have_no_correlation_but_a_reason(n):
  table = correlation.cells(*frames(np.arange(n) * 1.0, np.arange(n) * 1.0), 200, np.random.default_rng(0))
  assert table["spearman"].isna().all()
  assert "even a perfect order" in table["reason"][0]


def test_a_constant_column_is_named():
  x = np.arange(10.0)
  table = correlation.cells(*frames(x, np.ones(10)), 200, np.random.default_rng(0))
  assert table["reason"][0] == "axis is the same for all 10 models"
  assert math.isnan(table["p"][0])


def test_the_same_seed_gives_the_same_numbers():
  x, y = np.random.default_rng(0).normal(size=(2, 30))
  one, two = (correlation.cells(*frames(x, y), 500, np.random.default_rng(4)) for _ in range(2))
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
  rng = np.random.default_rng(12)
  covered = 0
  for i in range(repeats):
    weights = np.concatenate([correlation.resamples(n, draws, rng), 1 - np.eye(n, dtype=int)])
    sampled = correlation.spearman_draws(x[:, [i]], y[:, [i]], weights)[:, 0, 0]
    estimate = scipy.stats.spearmanr(x[:, i], y[:, i]).statistic
    low, high = correlation.bca(estimate, sampled[:draws], sampled[draws:])
    covered += low <= truth <= high
  # 95 % nominal; four standard errors of the simulation below, and the bootstrap's known shortfall at n = 40.
  assert 0.88 <= covered / repeats <= 0.99


def test_permutation_test_has_its_size_under_the_null_and_power_under_a_plant():
  repeats, n = 400, 30
  rejected = {}
  for rho in (0.0, 0.6):
    x, y = normal_pairs(rho, n, repeats, seed=21)
    rx, ry = (scipy.stats.rankdata(v, axis=0) - (n + 1) / 2 for v in (x, y))
    orders = correlation.permutations(np.zeros(n, int), 500, np.random.default_rng(22))
    p = [correlation.permutation_p(rx[:, [i]], ry[:, [i]], orders)[0, 0] for i in range(repeats)]
    rejected[rho] = np.mean(np.array(p) < 0.05)
  assert 0.02 <= rejected[0.0] <= 0.09  # .05 within four standard errors
  assert rejected[0.6] > 0.85  # Spearman's power at n = 30 is about .93
