"""Samples of models and of families, and orders by chance."""

import itertools

import numpy as np
import pytest
import scipy.stats

from biasjax.study import correlation, resampling
from biasjax.study.resampling import Resampling

FAMILIES = np.repeat(["a", "b", "c", "d", "e", "f", "g"], [1, 10, 12, 3, 1, 15, 6]).astype(object)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bca_is_scipys_from_the_same_draws(confidence):
  rng = np.random.default_rng(3)
  x = rng.exponential(size=40)
  result = scipy.stats.bootstrap(
    (x,), np.mean, n_resamples=2000, method="BCa", confidence_level=confidence, rng=rng
  )
  jackknife = np.array([np.delete(x, i).mean() for i in range(len(x))])
  low, high = resampling.bca(x.mean(), result.bootstrap_distribution, jackknife, confidence)
  assert low == pytest.approx(result.confidence_interval.low, rel=1e-9)
  assert high == pytest.approx(result.confidence_interval.high, rel=1e-9)


def test_bca_has_no_interval_for_a_perfect_order():
  x = np.arange(8.0)[:, None]
  weights = Resampling(500, 0).models(8)
  draws = correlation.spearman_draws(x, x, weights)[:, 0, 0]
  assert np.isnan(resampling.bca(1.0, draws, np.ones(8))).all()


def test_few_models_have_all_their_orders():
  orders = resampling.permutations(np.zeros(5, int), 1000, np.random.default_rng(0))
  assert {tuple(o) for o in orders} == set(itertools.permutations(range(5)))
  assert len(orders) == 120


@pytest.mark.parametrize("draws", [50, 10_000])
def test_permutations_stay_within_their_blocks(draws):
  blocks = np.array([0, 1, 0, 2, 1, 0, 2, 2, 0])
  orders = resampling.permutations(blocks, draws, np.random.default_rng(0))
  assert (np.sort(orders, axis=1) == np.arange(9)).all()
  assert (blocks[orders] == blocks).all()
  assert len(np.unique(orders[:, 0])) == 4


def test_a_sample_has_as_many_models_as_there_are():
  weights = Resampling(100, 0).models(7)
  assert (weights.sum(axis=1) == 7).all()


def test_what_is_drawn_does_not_depend_on_what_was_drawn_before():
  one, two = Resampling(100, 3), Resampling(100, 3)
  two.orders(9)
  two.models(11)
  np.testing.assert_array_equal(one.models(12), two.models(12))
  np.testing.assert_array_equal(one.orders(12), two.orders(12))
  assert (Resampling(100, 4).models(12) != one.models(12)).any()


@pytest.mark.parametrize(
  "draws", [5000, 500]
)  # more draws than there are samples of 7 families (1,716), or fewer
def test_a_sample_of_families_holds_each_as_often_as_it_was_drawn(draws):
  weights = Resampling(draws, 0).families(FAMILIES)
  totals = np.stack([weights[:, name == FAMILIES].sum(axis=1) for name in "abcdefg"], axis=1)
  sizes = np.array([(name == FAMILIES).sum() for name in "abcdefg"])
  assert (totals % sizes == 0).all()
  chosen = totals // sizes
  assert (chosen.sum(axis=1) == 7).all()
  # Each is drawn Binomial(7, 1/7) times; four standard errors of independent draws.
  error = 4 * np.sqrt(6 / 7 / draws)
  np.testing.assert_allclose(chosen.mean(axis=0), 1, atol=error)
  assert (chosen == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.02)
  # Its models are drawn anew: not each of them once.
  assert (weights[:, FAMILIES == "f"].max(axis=1) > chosen[:, 5]).mean() > 0.5


def test_one_family_has_no_samples_of_families():
  assert Resampling(100, 0).families(np.array(["a"] * 8, object)) is None


def test_intervals_over_families_keep_their_promise_where_families_differ():
  # 48 models of 7 families, as published; biases and axes differ between families, and are unrelated.
  place = np.unique(FAMILIES, return_inverse=True)[1]
  out = {"families": [], "models": []}
  for seed in range(40):
    rng, samples = np.random.default_rng(seed), Resampling(400, seed)
    x, y = (rng.normal(size=(7, 4))[place] + 0.5 * rng.normal(size=(48, 4)) for _ in range(2))
    for name, weights in (("families", samples.families(FAMILIES)), ("models", samples.models(48))):
      drawn = correlation.spearman_draws(x, y, weights).reshape(400, 16)
      edges = np.array([resampling.percentiles(column) for column in drawn.T])
      out[name].append(((edges[:, 0] > 0) | (edges[:, 1] < 0)).mean())
  # .05 promised; 640 cells, whose dependence within a simulation makes three standard errors about .05.
  assert np.mean(out["families"]) < 0.10
  assert np.mean(out["models"]) > 0.3


def test_samples_in_which_a_bias_does_not_vary_show_no_relation():
  """A bias that is the same in a family is one observation: of 3 families a ninth of the draws have only one.

  The axis rises with the bias in every sample in which both vary, which 3 families show by chance in a third.
  """
  x, families = np.repeat([0.0, 1.0, 2.0], 5)[:, None], np.repeat(list("abc"), 5).astype(object)
  y = 3 * x + np.random.default_rng(0).normal(size=(15, 1)) / 10
  drawn = correlation.spearman_draws(x, y, Resampling(2000, 0).families(families))[:, 0, 0]
  assert np.isnan(drawn).mean() == pytest.approx(1 / 9, abs=0.03)
  low, high = resampling.percentiles(drawn)
  assert (low, high) == (0.0, pytest.approx(np.nanquantile(drawn, 0.975), abs=0.02))


def test_no_interval_over_families_where_no_sample_varies_or_all_have_one_order():
  assert np.isnan(resampling.percentiles(np.full(400, np.nan))).all()
  assert np.isnan(resampling.percentiles(np.ones(400))).all()


def test_a_family_of_one_model_says_nothing_alone():
  """Of 3 families a 27th of the samples are 3 times the one model, which neither show a relation nor none."""
  families = np.array(["a"] * 9 + ["b"] * 8 + ["c"], object)
  x = np.arange(18.0)[:, None]
  y = x + np.random.default_rng(0).normal(size=(18, 1))
  samples = Resampling(2000, 0).families(families)
  assert len(samples) / 2000 == pytest.approx(26 / 27, abs=0.01)
  assert resampling.percentiles(correlation.spearman_draws(x, y, samples)[:, 0, 0])[0] > 0.8
