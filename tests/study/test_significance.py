"""How surprising a correlation would be if there were none, against other implementations and known truth."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from biasjax.study import correlation, significance
from biasjax.study.resampling import Resampling

multipletests = pytest.importorskip("statsmodels.stats.multitest", reason="needs statsmodels").multipletests


def test_the_exact_permutation_p_is_scipys():
  rng = np.random.default_rng(5)
  x, y = rng.normal(size=(2, 6))
  y += x
  rx, ry = (correlation.midranks(v) - 3.5 for v in (x, y))
  orders = Resampling(1000, 0).orders(6)
  expected = scipy.stats.permutation_test(
    (x,), lambda v: scipy.stats.spearmanr(v, y).statistic, permutation_type="pairings", n_resamples=np.inf
  )
  assert significance.permutation_p(rx[:, None], ry[:, None], orders)[0, 0] == pytest.approx(expected.pvalue)


def test_permutation_p_of_many_models_is_near_students():
  rng = np.random.default_rng(7)
  x, y = rng.normal(size=(2, 40))
  y += 0.3 * x
  rx, ry = (correlation.midranks(v) - 20.5 for v in (x, y))
  orders = Resampling(20_000, 0).orders(40)
  p = significance.permutation_p(rx[:, None], ry[:, None], orders)[0, 0]
  assert p == pytest.approx(scipy.stats.spearmanr(x, y).pvalue, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 5, 72])
def test_adjusted_p_are_statsmodels(n):
  rng = np.random.default_rng(n)
  for p in (rng.random(n), np.round(rng.random(n), 1), rng.random(n) ** 6):
    np.testing.assert_allclose(significance.holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(significance.benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_cells_without_p_do_not_count_in_the_adjustment():
  p = np.array([0.01, math.nan, 0.04])
  np.testing.assert_allclose(significance.holm(p), [0.02, math.nan, 0.04])
  np.testing.assert_allclose(significance.benjamini_hochberg(p), [0.02, math.nan, 0.04])


# Two-sided .05 of Zar (1984), Biostatistical Analysis, table B.20, and of Ramsey (1989).
CRITICAL = {
  **{5: 1.000, 6: 0.886, 7: 0.786, 8: 0.738, 9: 0.700, 10: 0.648, 11: 0.618, 12: 0.587, 13: 0.560},
  **{14: 0.538, 15: 0.521, 16: 0.503, 18: 0.472, 20: 0.447, 25: 0.398, 30: 0.362},
}


@pytest.mark.parametrize("n", CRITICAL)
def test_the_smallest_significant_correlation_is_that_of_published_tables(n):
  assert significance.smallest_significant(n) == pytest.approx(CRITICAL[n], abs=0.0006)


def test_the_smallest_significant_correlation_is_that_of_all_orders():
  ranks = np.arange(7.0)
  values = np.array([np.corrcoef(ranks, order)[0, 1] for order in itertools.permutations(ranks)]).round(12)
  significant = [v for v in np.unique(np.abs(values)) if (np.abs(values) >= v).mean() < 0.05]
  assert significance.smallest_significant(7) == pytest.approx(significant[0])


def test_of_many_models_it_is_students():
  t = scipy.stats.t.ppf(0.975, 498)
  assert significance.smallest_significant(500) == pytest.approx(t / math.sqrt(498 + t**2), abs=2e-4)


@pytest.mark.parametrize("n", [3, 4])
def test_of_fewer_than_five_models_none_is_significant(n):
  assert math.isnan(significance.smallest_significant(n))


def centred_ranks(*columns):
  return [scipy.stats.rankdata(column) - (len(column) + 1) / 2 for column in columns]


def partial_p(x, y, given, orders):
  """p of one pair, from ranks."""
  x, y, given = centred_ranks(x, y, given)
  rest = [v - given * (given @ v) / (given @ given) for v in (x, y)]
  return significance.partial_p(rest[0][:, None], rest[1][:, None], given, orders)[0, 0]


def test_a_partial_p_of_many_models_is_near_students():
  for seed in range(5):
    rng = np.random.default_rng(seed)
    given = rng.normal(size=40)
    x, y = given + rng.normal(size=40), 0.5 * given + rng.normal(size=40)
    ranks = centred_ranks(x, y, given)
    rest = [v - ranks[2] * (ranks[2] @ v) / (ranks[2] @ ranks[2]) for v in ranks[:2]]
    r = np.corrcoef(*rest)[0, 1]
    expected = 2 * scipy.stats.t.sf(abs(r) * math.sqrt(37 / (1 - r**2)), 37)
    assert partial_p(x, y, given, Resampling(20_000, seed).orders(40)) == pytest.approx(expected, abs=0.02)


def test_a_partial_p_has_its_size_where_nothing_is_left():
  orders, rejected = Resampling(1000, 0).orders(8), []
  for seed in range(300):
    rng = np.random.default_rng(seed)
    given = rng.normal(size=8)
    rejected.append(
      partial_p(given + 3 * rng.normal(size=8), 2 * rng.normal(size=8) - given, given, orders) < 0.05
    )
  assert np.mean(rejected) < 0.10  # .05, within four standard errors


@pytest.mark.parametrize("n", [5, 6])
def test_of_so_few_models_nothing_survives_the_correction(n):
  # 24 cells: even a perfect order has p = 2 / n!, times 24. Student's p of a perfect order is 0.
  rng = np.random.default_rng(n)
  for _ in range(10):
    biases, axes = (pd.DataFrame(rng.normal(size=(n, k))).add_prefix("v") for k in (6, 4))
    axes = axes.add_prefix("a")
    groups, category = {"Total": np.ones(n, bool)}, np.array(["all"] * n, object)
    cells = correlation.cells(biases, axes, groups, category, Resampling(200, 0))
    assert cells["p_holm"].min() >= 0.05
    assert cells["p_bh"].min() >= 0.05
