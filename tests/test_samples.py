"""Sampling with a stated margin: against published tables, textbook formulas, another library, and draws."""

import math

import numpy as np
import pytest
import scipy.stats

from biasjax import sampling
from biasjax.probes.observed import Sampled, sampling_of
from biasjax.sampling import Known, Watch, critical_values, estimate, obrien_fleming


def pocock(time: float) -> float:
  """Lan & DeMets' spending function of Pocock's type, 5 %."""
  return 0.05 * math.log(1 + (math.e - 1) * time)


# Two-sided 5 %, five looks at equal information: Lan & DeMets' spending functions as tabulated by Reboussin,
# DeMets, Kim & Lan (2000), and as gsDesign and ldbounds print them.
@pytest.mark.parametrize(
  ("spend", "table"),
  [
    (obrien_fleming, (4.877, 3.357, 2.680, 2.290, 2.031)),
    (pocock, (2.438, 2.427, 2.410, 2.397, 2.386)),
  ],
)
def test_bounds_are_those_of_published_tables(spend, table):
  times = tuple(k / 5 for k in range(1, 6))
  bounds = critical_values(times, tuple(spend(time) for time in times))
  np.testing.assert_allclose(bounds, table, atol=2e-3)


@pytest.mark.parametrize(
  ("looks", "constant"), [(2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)]
)  # Jennison & Turnbull 2000, table 2.1
def test_pococks_constants_spend_five_per_cent(looks, constant):
  z = np.random.default_rng(0).normal(size=(400_000, looks)).cumsum(1) / np.sqrt(np.arange(1, looks + 1))
  crossed = np.cumsum(
    np.bincount(np.argmax(np.abs(z) > constant, 1)[(np.abs(z) > constant).any(1)], minlength=looks)
  )
  information = tuple(float(k) for k in range(1, looks + 1))
  bounds = critical_values(information, tuple((crossed / len(z)).tolist()))
  assert crossed[-1] / len(z) == pytest.approx(0.05, abs=2e-3)
  np.testing.assert_allclose(bounds, constant, atol=0.03)


def test_one_look_has_the_usual_interval_and_looks_that_spend_nothing_none():
  assert critical_values((3.0,), (0.05,)) == pytest.approx((1.959964,), abs=1e-6)
  assert critical_values((1e-3, 1.0), (obrien_fleming(1e-3), 0.05)) == pytest.approx(
    (math.inf, 1.959964), abs=1e-4
  )


def population(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Outcomes 0/1 [n] and covariates [n, 6] that tell something of them."""
  rng = np.random.default_rng(seed)
  strength = rng.normal(size=n)
  confidence = scipy.stats.logistic.cdf(np.abs(strength) * 2)
  right = strength + 0.5 * rng.normal(size=n) > -0.5
  nll = np.log1p(np.exp(-3 * strength))
  outcome = strength + rng.normal(size=n) > 0.3
  return outcome.astype(float), sampling.covariates(right, confidence, nll)


def test_the_regression_estimate_is_that_of_least_squares():
  y, x = population()
  n = 500
  slope, intercept, r, *_ = scipy.stats.linregress(x[:n, 2], y[:n])
  found = estimate(y[:n], Known(x[:, [0, 2]]))
  assert found.estimator == "regression"
  assert found.value == pytest.approx(intercept + slope * x[:, 2].mean(), abs=2e-5)
  assert found.correlation == pytest.approx(abs(r), abs=1e-4)
  # Cochran 1977, equation 7.29: (1 - f) / n * sum of squares / (n - 2), and 1 / n more for the slope; and one
  # image more that is judged otherwise.
  squares = ((y[:n] - intercept - slope * x[:n, 2]) ** 2).sum() + 1
  assert found.variance == pytest.approx((1 / n - 1 / len(y)) * squares / (n - 2) * (1 + 1 / n), rel=1e-4)
  assert found.effective == pytest.approx(n / (1 - r**2), rel=0.02)


def test_covariates_that_tell_nothing_leave_the_plain_mean():
  rng = np.random.default_rng(1)
  plain = 0
  for _ in range(200):
    y, noise = (rng.random(300) < 0.4).astype(float), rng.normal(size=(3000, 1))
    found = estimate(y, Known(np.concatenate([np.ones((3000, 1)), noise], 1)))
    r = abs(np.corrcoef(y, noise[:300, 0])[0, 1]) * math.sqrt(298)
    # The squares of 300 outcomes add up to 72, of which 1 / 298 is a correlation's, and one is added.
    limit = math.sqrt(1 + 298 / (300 * y.var()))
    assert limit - 0.3 < r < limit + 0.5 or (found.estimator == "mean") == (r < limit)
    plain += found.estimator == "mean"
    if found.estimator == "mean":
      assert found.value == y.mean()
      assert found.effective == pytest.approx(300, rel=0.01)
  assert 180 < plain < 200  # |r| below 2.3 / sqrt(n - 2), or little more


def test_all_images_give_the_share_itself():
  y, x = population(300)
  found = estimate(y, Known(x))
  assert found.value == y.mean()
  assert found.variance == 0
  assert found.half(2.0) == 0


def test_nothing_counted_is_as_uncertain_as_it_is():
  low, high = estimate(np.zeros(512), Known(population(50_000)[1])).interval(1.959964)
  assert low == 0
  assert high == pytest.approx(0.0073, abs=5e-4)  # Wilson's


def variances(estimates: list) -> tuple[float, float, float]:
  values = np.array([of.value for of in estimates])
  return values.mean(), values.var(), float(np.mean([of.variance for of in estimates]))


def test_the_variance_is_that_over_samples():
  y, x = population()
  rng = np.random.default_rng(2)
  found = []
  for _ in range(300):
    at = rng.permutation(len(y))
    found.append(estimate(y[at][:400], Known(x[at])))
  mean, truly, said = variances(found)
  assert mean == pytest.approx(y.mean(), abs=0.003)
  assert said == pytest.approx(truly, rel=0.25)
  assert said < 0.75 * y.var() / 400


def test_two_phases_have_the_variance_over_samples_and_a_smaller_one():
  y, x = population()
  rng = np.random.default_rng(3)
  cheaper = np.where(rng.random(len(y)) < 0.93, y, 1 - y)
  found, single = [], []
  for _ in range(300):
    at = rng.permutation(len(y))
    known = Known(x[at])
    found.append(estimate(y[at][:300], known, cheaper[at][:1500, None]))
    single.append(estimate(y[at][:300], known))
  assert {of.estimator for of in found} == {"two-phase regression"}
  mean, truly, said = variances(found)
  assert mean == pytest.approx(y.mean(), abs=0.003)
  assert said == pytest.approx(truly, rel=0.25)
  assert said < 0.6 * variances(single)[2]


@pytest.mark.parametrize("two_phases", [False, True])
def test_the_outcomes_that_stand_for_all_have_the_estimates_mean_and_interval(two_phases):
  y, x = population()
  further = np.stack([y[:1500] * 0.5], 1) + x[:1500, 3:4] if two_phases else None
  found = estimate(y[:400], Known(x), further)
  every = found.spread(1.959964)
  assert every.mean() == pytest.approx(found.value, abs=1e-12)
  error = every.var() / len(y)
  # Of images drawn anew: y's variance over all of them, and what the sample adds.
  assert error == pytest.approx(y.var() / len(y) + found.variance, rel=0.06)
  wider = found.spread(2 * 1.959964).var() / len(y)
  assert wider - error == pytest.approx(3 * found.variance, rel=0.03)


def stop(y: np.ndarray, known: Known, margin: float) -> tuple[Watch, sampling.Estimate]:
  watch = Watch(margin, len(y))
  while True:
    found = estimate(y[: watch.at], known)
    watch.look(found)
    if watch.done:
      return watch, found


@pytest.mark.parametrize("share", [0.004, 0.5])
def test_intervals_cover_where_one_stops(share):
  rng = np.random.default_rng(int(1000 * share))
  y, x = population(12_000)
  rank = x[:, 4] + 0.7 * rng.random(len(y))
  y = (rank > np.quantile(rank, 1 - share)).astype(float)
  hits, looked = 0, []
  for _ in range(100):
    at = rng.permutation(len(y))
    watch, found = stop(y[at], Known(x[at]), 0.015)
    assert found.half(watch.critical) <= 0.015
    hits += abs(found.value - y.mean()) <= found.half(watch.critical)
    looked.append(found.n)
  assert hits >= 100 * 0.95 - 2.6 * math.sqrt(100 * 0.95 * 0.05)
  # A plain mean needs so many where that is known beforehand.
  needed = 1 / (1 / len(y) + (0.015 / 1.96) ** 2 / y.var())
  assert np.mean(looked) <= max(1.1 * needed, 1000)


def test_intervals_cover_where_a_condition_changes_hardly_an_answer():
  _, x = population(20_000)
  clean = x[:, 1]
  y = np.where(np.random.default_rng(1).random(len(clean)) < 0.011, 1 - clean, clean)
  rng, hits = np.random.default_rng(2), 0
  for _ in range(400):
    at = rng.permutation(len(y))
    watch, found = stop(y[at], Known(x[at]), 0.01)
    hits += abs(found.value - y.mean()) <= found.half(watch.critical)
  assert hits >= 400 * 0.95 - 2.6 * math.sqrt(400 * 0.95 * 0.05)


def test_the_margin_of_a_mean_covers_where_conditions_change_hardly_an_answer():
  """Eight conditions of which each turns two answers in a thousand, nearly all the same ones."""
  _, x = population(5000)
  clean, rng, hits, replays = x[:, 1], np.random.default_rng(3), 0, 60
  turned = (rng.random((8, len(clean))) < 0.0002) ^ (rng.random(len(clean)) < 0.002)
  outcomes = np.where(turned, 1 - clean, clean)
  for _ in range(replays):
    at = rng.permutation(len(clean))
    known, samples = Known(x[at]), []
    for y in outcomes:
      watch, found = stop(y[at], known, 0.01)
      samples.append(Sampled(found, watch.critical))
    margin = sampling_of(samples)["margin"] / 100
    hits += abs(np.mean([of.estimate.value for of in samples]) - outcomes.mean()) <= margin
    # No wider than if all erred alike.
    assert margin <= np.mean([of.estimate.half(of.critical) for of in samples]) + 1e-12
  assert hits >= replays * 0.95 - 2.6 * math.sqrt(replays * 0.95 * 0.05)


def test_the_margin_of_a_mean_of_conditions_without_a_hit_is_theirs():
  of = Sampled(estimate(np.zeros(512), Known(population(50_000)[1])), 2.0)
  low, high = of.estimate.interval(2.0)
  assert sampling_of([of, of, of])["margin"] == pytest.approx(100 * (high - low))
  assert low == 0 < high


def test_the_order_is_one_of_names_nested_and_another_with_another_seed():
  names = [f"n{i}/{i}.png" for i in range(500)]
  order = sampling.order(names, 0)
  assert sorted(order) == list(range(500))
  turned = sampling.order(names[::-1], 0)
  assert [names[::-1][at] for at in turned] == [names[at] for at in order]
  fewer = names[::3]
  left = [name for name in (names[at] for at in order) if name in set(fewer)]
  assert left == [fewer[at] for at in sampling.order(fewer, 0)]
  assert (sampling.order(names, 1) != order).mean() > 0.9
  # Uniform: where the first half of the names comes in the order.
  assert scipy.stats.mannwhitneyu(np.flatnonzero(order < 250), np.flatnonzero(order >= 250)).pvalue > 1e-3


@pytest.mark.parametrize(
  ("length", "step"), [(100, 64), (5000, 64), (12_800, 128), (50_000, 256), (10**6, 256)]
)
def test_steps_follow_from_the_number_of_images_alone(length, step):
  assert sampling.step(length) == step


def test_what_a_covariate_adds_to_nearly_the_same_ones_is_left_out():
  y, x = population(3000, seed=4)
  rng = np.random.default_rng(5)
  twice = np.concatenate([x, x[:, 2:3] + 1e-4 * rng.standard_t(2, size=(3000, 1))], axis=1)
  for _ in range(50):
    at = rng.permutation(len(y))
    once, again = (estimate(y[at][:200], Known(of[at])) for of in (x, twice))
    assert again.value == pytest.approx(once.value, abs=0.01)
