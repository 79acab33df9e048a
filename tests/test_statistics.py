"""Intervals against published numbers, and by what they promise: coverage."""

import math

import numpy as np
import pytest
import scipy.stats

from biasjax import statistics


@pytest.mark.parametrize(
  ("successes", "n", "low", "high"),
  [
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
  ],
)
def test_wilson_gives_newcombes_table(successes, n, low, high):
  np.testing.assert_allclose(statistics.wilson(successes, n), (low, high), atol=5e-5)


def test_wilson_of_nothing_is_undetermined():
  assert all(map(math.isnan, statistics.wilson(0, 0)))


def simulated(rng, n: int, clean: float, kept: float, gained: float) -> tuple[np.ndarray, np.ndarray]:
  """Right decisions, filtered and clean: a filter loses some of the right ones and gains a few."""
  right = rng.random(n) < clean
  filtered = np.where(right, rng.random(n) < kept, rng.random(n) < gained)
  return filtered.astype(float), right.astype(float)


def test_the_ratios_interval_covers_the_truth_as_often_as_it_says():
  rng = np.random.default_rng(0)
  clean, kept, gained = 0.7, 0.6, 0.05
  truth = (clean * kept + (1 - clean) * gained) / clean
  covered = 0
  for _ in range(2000):
    ratio, low, high = statistics.ratio_of_means(*simulated(rng, 400, clean, kept, gained))
    assert low < ratio < high
    covered += low <= truth <= high
  assert 0.935 < covered / 2000 < 0.965  # 3 standard errors about 0.95


def test_the_ratios_interval_is_the_bootstraps():
  rng = np.random.default_rng(1)
  numerator, denominator = simulated(rng, 500, 0.8, 0.3, 0.02)
  draws = rng.integers(0, 500, (4000, 500))
  ratios = numerator[draws].mean(axis=1) / denominator[draws].mean(axis=1)
  _, low, high = statistics.ratio_of_means(numerator, denominator)
  np.testing.assert_allclose((low, high), np.quantile(ratios, (0.025, 0.975)), atol=0.006)


def test_an_accuracy_of_zero_still_has_an_interval():
  clean = np.repeat([1.0, 0.0], [40, 10])
  ratio, low, high = statistics.ratio_of_means(np.zeros(50), clean)
  assert (ratio, low, high) == (0.0, *statistics.wilson(0, 40))
  assert high > 0.05


def test_a_filter_that_changes_nothing_still_has_an_interval():
  clean = np.repeat([1.0, 0.0], [40, 10])
  assert statistics.ratio_of_means(clean, clean) == (1.0, *statistics.wilson(40, 40))


def test_a_ratio_to_nothing_is_undetermined():
  assert all(map(math.isnan, statistics.ratio_of_means(np.ones(3), np.zeros(3))))


def test_the_mean_has_students_interval():
  values = np.random.default_rng(0).normal(3, 2, 30)
  expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
  assert statistics.mean(values) == pytest.approx((values.mean(), expected.low, expected.high))


def test_the_mean_of_equal_values_has_wilsons_interval_or_none():
  assert statistics.mean(np.zeros(20)) == (0.0, *statistics.wilson(0, 20))
  assert statistics.mean(np.ones(20)) == (1.0, *statistics.wilson(20, 20))
  value, low, high = statistics.mean(np.full(20, 0.3))
  assert value == pytest.approx(0.3)
  assert np.isnan([low, high]).all()
  assert np.isnan(statistics.mean(np.array([]))).all()


def test_calibration_is_perfect_where_confidence_is_the_accuracy_of_its_bin():
  confidence, right = np.repeat([0.5, 0.75], [4, 4]), np.array([1, 1, 0, 0, 1, 1, 1, 0], bool)
  assert statistics.calibration_error(confidence, right)[0] == pytest.approx(0)
  assert statistics.calibration_error(confidence, ~right)[0] == pytest.approx((0 + 0.5) / 2)
