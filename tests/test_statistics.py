"""Intervals against published numbers, and by what they promise: coverage."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
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


def test_z_is_the_normal_distributions_quantile():
  assert scipy.special.ndtri(0.975) == statistics.Z


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
  # Wilson's for a share of the 40, and a little for not knowing how many are right when clean.
  assert (ratio, low) == (0.0, 0.0)
  assert high == pytest.approx(scipy.stats.binomtest(0, 40).proportion_ci(method="wilson").high, rel=0.05)


def test_a_filter_that_changes_nothing_still_has_an_interval():
  clean = np.repeat([1.0, 0.0], [40, 10])
  of_clean = scipy.stats.binomtest(40, 40).proportion_ci(method="wilson").low
  ratio, low, high = statistics.ratio_of_means(clean, clean)
  assert (ratio, low) == pytest.approx((1.0, of_clean))
  # Wilson's upper end of a Poisson count of none, 1.96 squared, is what may be gained to the 40.
  assert high == pytest.approx(1 + 1.96**2 / 40, abs=0.003)


@pytest.mark.parametrize("n", [40, 200, 1000])
@pytest.mark.parametrize("changed", [0.0005, 0.005, 0.01, 0.03])
def test_a_ratio_near_one_of_which_few_images_change_is_covered(n, changed):
  """A filter that loses as many as it gains, in so many of all images; and one that loses twice as many."""
  rng = np.random.default_rng(0)
  clean, runs = 0.8, 1000
  for lost in (changed, 2 * changed):
    covered = 0
    for _ in range(runs):
      drawn = rng.random(n)
      right = drawn < clean
      filtered = (right & (drawn >= lost)) | (~right & (drawn < clean + changed))
      _, low, high = statistics.ratio_of_means(filtered.astype(float), right.astype(float))
      covered += low <= (clean - lost + changed) / clean <= high
    assert covered / runs > 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs)


@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize("clean", [0.6, 0.9])
@pytest.mark.parametrize("conditions", [1, 5])
def test_a_ratio_of_a_filter_that_only_gains_is_covered(n, clean, conditions):
  """So many images gained to be expected, up to most of those that are wrong."""
  rng = np.random.default_rng(0)
  runs = 600
  for expected in (2, 4, 10):
    gained = expected / (n * (1 - clean))
    if gained > 1:
      continue
    low_misses = high_misses = 0
    truth = (clean + (1 - clean) * gained) / clean
    for _ in range(runs):
      right = rng.random(n) < clean
      filtered = np.where(right[:, None], 1.0, rng.random((n, conditions)) < gained).mean(axis=1)
      _, low, high = statistics.ratio_of_means(filtered, right.astype(float))
      low_misses, high_misses = low_misses + (truth < low), high_misses + (truth > high)
    assert max(low_misses, high_misses) / runs < 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)


def test_the_ratio_to_what_is_always_right_is_a_share():
  for hits in (0, 1, 7, 40):
    of_scipy = scipy.stats.binomtest(hits, 40).proportion_ci(method="wilson")
    found = statistics.ratio_of_means((np.arange(40) < hits).astype(float), np.ones(40), largest=1.0)
    assert found == pytest.approx((hits / 40, of_scipy.low, of_scipy.high))


@pytest.mark.parametrize("cells", [(60, 8, 70, 62), (3, 1, 150, 46), (90, 30, 20, 10)])
def test_the_ratios_interval_is_the_score_interval_of_paired_proportions(cells):
  """Nam & Blackwelder 2002, with nuisance parameters found by a general optimiser."""
  both, only, lost, _ = cells
  n = sum(cells)

  def statistic(ratio):
    # The likeliest cells of all whose first margin is `ratio` times their second; x says where both lie.
    def cells_of(x):
      second = scipy.special.expit(x[0]) * min(1, 1 / ratio)
      least, most = max(0.0, second + ratio * second - 1), min(1.0, ratio) * second
      p11 = least + scipy.special.expit(x[1]) * (most - least)
      return p11, ratio * second - p11, second - p11, 1 - ratio * second - second + p11

    def loss(x):
      p = cells_of(x)
      return 1e9 if min(p) <= 0 else -sum(k * math.log(q) for k, q in zip(cells, p, strict=True))

    precisely = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
    found = scipy.optimize.minimize(loss, (0.0, 0.0), method="Nelder-Mead", options=precisely)
    _, p10, p01, _ = cells_of(found.x)
    return (both + only - ratio * (both + lost)) / math.sqrt(n * ratio * (p10 + p01))

  numerator = np.repeat([1.0, 1.0, 0.0, 0.0], cells)
  denominator = np.repeat([1.0, 0.0, 1.0, 0.0], cells)
  ratio, low, high = statistics.ratio_of_means(numerator, denominator)
  ends = (
    scipy.optimize.brentq(lambda r: statistic(r) - 1.96, ratio / 8, ratio),
    scipy.optimize.brentq(lambda r: statistic(r) + 1.96, ratio, 8 * ratio),
  )
  assert (low, high) == pytest.approx(ends, rel=0.04)


@pytest.mark.parametrize("hits", [3, 5, 10])
@pytest.mark.parametrize("conditions", [1, 5])
def test_a_ratio_near_the_floor_is_covered_and_stays_a_ratio(hits, conditions):
  """Few expected hits, of one condition or (summed) of five that hit the same images."""
  rng = np.random.default_rng(hits)
  n, clean, runs, covered = 400, 0.75, 1500, 0
  thinner = np.linspace(1, 0.2, conditions)
  truth = hits / n * thinner.mean() / clean
  for _ in range(runs):
    right = (rng.random(n) < clean).astype(float)
    hit = np.where(right == 1, 0.95 / clean, 0.05 / (1 - clean)) * hits / n
    filtered = (rng.random((n, 1)) < hit[:, None] * thinner).mean(axis=1)
    ratio, low, high = statistics.ratio_of_means(filtered, right)
    assert 0 <= low <= ratio <= high <= 1 / right.mean()
    covered += low <= truth <= high
  assert covered / runs > 0.93 - 2 * math.sqrt(0.93 * 0.07 / runs)


def test_a_ratio_above_chance_is_covered():
  """Of 16 classes: right by knowing, else by guessing; what is known under the filter over what is clean."""
  rng = np.random.default_rng(3)
  n, chance, runs = 300, 1 / 16, 1500
  for known, kept in ((0.8, 0.5), (0.5, 0.02), (0.9, 0.0)):
    covered = 0
    for _ in range(runs):
      knows = rng.random(n) < known
      clean = knows | (rng.random(n) < chance)
      filtered = (knows & (rng.random(n) < kept)) | (rng.random(n) < chance)
      pair = filtered.astype(float), clean.astype(float)
      _, low, high = statistics.ratio_of_means(*pair, chance=(chance, chance))
      covered += low <= kept <= high
    assert 0.935 < covered / runs < 0.97


def test_a_ratio_above_chance_is_undetermined_where_clean_accuracy_is_at_chance():
  right = (np.arange(160) % 16 == 0).astype(float)
  assert all(map(math.isnan, statistics.ratio_of_means(right, right, chance=(1 / 16, 1 / 16))))


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


def test_the_mean_over_classes_is_covered_for_the_classes_that_there_are():
  rng = np.random.default_rng(5)
  p, n = rng.beta(2.5, 1, 60), rng.integers(1, 30, 60)
  covered = 0
  for _ in range(1000):
    value, low, high = statistics.mean_over_classes(rng.binomial(n, p), n)
    assert 0 <= low <= value <= high <= 1
    covered += low <= p.mean() <= high
  assert 0.935 < covered / 1000 < 0.985


def test_the_spread_of_classes_is_covered_for_the_classes_that_there_are():
  rng = np.random.default_rng(6)
  p = np.clip(0.7 + 0.12 * rng.standard_normal(100), 0.02, 0.98)
  n, covered, width = np.full(100, 50), 0, []
  for _ in range(600):
    _, low, high = statistics.spread_of_classes(rng.binomial(n, p), n)
    covered += low <= p.std(ddof=1) <= high
    width.append(high - low)
  assert 0.93 < covered / 600 < 0.98
  assert np.mean(width) < 0.045  # as if other classes were drawn it would be .06


def test_the_spread_of_classes_is_covered_where_few_images_are_all_right_or_all_wrong():
  rng, covered = np.random.default_rng(0), 0
  for _ in range(600):
    p = rng.beta(8, 0.5, size=10)
    _, low, high = statistics.spread_of_classes(rng.binomial(4, p), np.full(10, 4))
    covered += low <= p.std(ddof=1) <= high
  assert covered / 600 > 0.93  # with no width where no class is mixed: .87


def test_the_mean_of_intervals_is_as_wide_as_of_normal_estimates_and_stays_inside():
  values, half = np.array([0.2, 0.5, 0.6]), np.array([0.03, 0.04, 0.05])
  value, low, high = statistics.mean_of_intervals(values, values - half, values + half)
  assert (value - low, high - value) == pytest.approx((np.sqrt((half**2).sum()) / 3,) * 2)
  sure = np.ones(4)
  assert statistics.mean_of_intervals(sure, 0.6 * sure, sure) == pytest.approx((1.0, 0.8, 1.0))


def crossed(rng, shapes: int, textures: int, n: int, spread: float = 0.0, base: float = -1.2, networks=1):
  """Decisions (for the shape, for either) about n of shapes x textures stimuli, and their images.

  Odds of a decision for the shape vary by `spread` from image to image of either kind; networks share half of
  that variance.
  """
  cells = rng.choice(shapes * textures, n, replace=False)
  images = cells // textures, cells % textures
  of_both = [spread * rng.standard_normal(k) for k in (shapes, textures)]
  decided = []
  for _ in range(networks):
    of_one = [spread * rng.standard_normal(k) for k in (shapes, textures)]
    odds = base + sum(
      (both[i] + one[i]) / math.sqrt(2) for both, one, i in zip(of_both, of_one, images, strict=True)
    )
    either = rng.random(n) < 0.6
    decided.append((either & (rng.random(n) < scipy.special.expit(odds)), either))
  return [(a.astype(float), b.astype(float)) for a, b in decided], images


def test_two_way_clusters_have_the_variance_of_statsmodels():
  linear_model = pytest.importorskip("statsmodels.api", reason="compares with statsmodels")
  sandwich = pytest.importorskip("statsmodels.stats.sandwich_covariance")
  [(shape, either)], images = crossed(np.random.default_rng(2), 160, 48, 1200, spread=1.0)
  kept = either > 0
  fitted = linear_model.OLS(shape[kept], np.ones(int(kept.sum()))).fit()
  variance = float(sandwich.cov_cluster_2groups(fitted, *(of[kept] for of in images))[0].item())
  p, low, high = statistics.ratio_of_totals(shape, either, images)
  assert p == pytest.approx(float(fitted.params[0]))
  # Wilson's interval, for as many decisions as that variance is worth, of Student's t.
  t, worth = scipy.stats.t.ppf(0.975, 47), p * (1 - p) / variance
  ends = np.roots([1 + t**2 / worth, -2 * p - t**2 / worth, p**2])
  assert (low, high) == pytest.approx((ends.min(), ends.max()))


def test_a_shape_bias_is_covered_where_stimuli_share_images_and_where_they_do_not_differ():
  rng = np.random.default_rng(7)
  for spread, runs in ((1.0, 400), (0.0, 400)):
    odds = -1.2 + spread * rng.standard_normal((400_000, 2)).sum(axis=1)
    truth, covered, by_wilson = float(scipy.special.expit(odds).mean()), 0, 0
    for _ in range(runs):
      [(shape, either)], images = crossed(rng, 80, 30, 600, spread)
      _, low, high = statistics.ratio_of_totals(shape, either, images)
      covered += low <= truth <= high
      low, high = statistics.wilson(shape.sum(), either.sum())
      by_wilson += low <= truth <= high
    assert 0.92 < covered / runs < 0.99
    assert by_wilson / runs < 0.85 or spread == 0


def test_where_all_is_decided_for_the_shape_an_interval_counts_images_not_decisions():
  ones, rng = np.ones(600), np.random.default_rng(8)
  cells = rng.choice(80 * 30, 600, replace=False)
  value, low, high = statistics.ratio_of_totals(ones, ones, (cells // 30, cells % 30))
  assert (value, high) == (1.0, 1.0)
  assert 0.85 < low < scipy.stats.binomtest(600, 600).proportion_ci(method="wilson").low
  one = scipy.stats.binomtest(1, 1).proportion_ci(method="wilson")  # what a single image is worth
  assert statistics.ratio_of_totals(ones, ones, (np.zeros(600), cells)) == pytest.approx((1, one.low, 1))


def test_a_paired_difference_is_covered_and_narrower_than_an_unpaired_one():
  rng, covered, runs, paired, unpaired = np.random.default_rng(9), 0, 400, [], []
  for _ in range(runs):
    pair, images = crossed(rng, 80, 30, 600, spread=1.0, networks=2)
    _, low, high = statistics.difference_of_ratios(*pair, images)
    covered += low <= 0 <= high
    paired.append(high - low)
    of_each = [statistics.ratio_of_totals(*one, images) for one in pair]
    unpaired.append(math.hypot(*(high - low for _, low, high in of_each)))
  assert 0.92 < covered / runs < 0.99
  assert np.mean(paired) < 0.9 * np.mean(unpaired)


def test_the_difference_of_two_accuracies_is_that_of_paired_proportions():
  """Against the standard error of McNemar's table, with Agresti & Min's one more discordant pair."""
  first, second = (
    np.repeat([1.0, 1.0, 0.0, 0.0], (50, 30, 12, 8)),
    np.repeat([1.0, 0.0, 1.0, 0.0], (50, 30, 12, 8)),
  )
  ones = np.ones(100)
  difference, low, high = statistics.difference_of_ratios((first, ones), (second, ones))
  error = math.sqrt((30 + 12 - (30 - 12) ** 2 / 100) / 99 / 100 + 1 / 100**2)
  half = scipy.stats.t.ppf(0.975, 99) * error
  assert (difference, low, high) == pytest.approx((0.18, 0.18 - half, 0.18 + half))


def test_a_difference_of_ratios_that_are_no_shares_may_be_beyond_1():
  rng, n = np.random.default_rng(0), 100
  (top, other_top), (bottom, other_bottom) = (
    rng.permuted(np.arange(n) < np.array(right)[:, None], axis=1).astype(float) for right in ((14, 9), (7, 9))
  )
  difference, low, high = statistics.difference_of_ratios((top, bottom), (other_top, other_bottom))
  # Both ratios' errors by the delta method, over all rows that count in either, and one discordant row more.
  of_each = (top - 2 * bottom) / 7 - (other_top - other_bottom) / 9
  k = int(np.count_nonzero(top + bottom + other_top + other_bottom))
  assert k > np.count_nonzero(bottom + other_bottom)
  half = scipy.stats.t.ppf(0.975, k - 1) * math.sqrt(k / (k - 1) * float((of_each**2).sum()) + 1 / 63)
  assert difference == pytest.approx(1)
  assert low == pytest.approx(1 - half)
  assert high >= 1 + half - 1e-9


def test_two_networks_that_answer_alike_have_an_interval_too():
  right = (np.arange(50) < 30).astype(float)
  difference, low, high = statistics.difference_of_ratios((right, np.ones(50)), (right, np.ones(50)))
  assert (difference, low) == (0, -high)
  # Tango's score interval (1998) where no pair of 50 is discordant.
  assert high == pytest.approx(1.96**2 / (50 + 1.96**2), rel=0.15)


def test_calibration_is_perfect_where_confidence_is_the_accuracy_of_its_bin():
  confidence, right = np.repeat([0.5, 0.75], [4, 4]), np.array([1, 1, 0, 0, 1, 1, 1, 0], bool)
  assert statistics.calibration_error(confidence, right)[0] == pytest.approx(0)
  assert statistics.calibration_error(confidence, ~right)[0] == pytest.approx((0 + 0.5) / 2)


@pytest.mark.parametrize("over", [0.0, 0.05])
def test_intervals_of_the_calibration_error_hold_the_truth(over):
  """Of a network that is calibrated, and of one that is by so much too confident everywhere."""
  rng, hits = np.random.default_rng(1), 0
  for _ in range(200):
    confidence = 0.1 + 0.9 * rng.beta(4, 1.2, 1000)
    value, low, high = statistics.calibration_error(confidence, rng.random(1000) < confidence - over)
    assert low <= value <= high
    hits += low <= over <= high
  assert hits >= 200 * 0.95 - 2.6 * math.sqrt(200 * 0.95 * 0.05)


def test_the_calibration_error_of_a_network_that_is_seldom_wrong_is_held_where_no_image_shows_it():
  rng, hits = np.random.default_rng(3), 0
  for _ in range(200):
    right = rng.random(40) < 0.97  # all 40 in three of ten sets
    _, low, high = statistics.calibration_error(rng.uniform(0.98, 1, 40), right)
    hits += low <= 0.02 <= high
  assert hits >= 200 * 0.95 - 2.6 * math.sqrt(200 * 0.95 * 0.05)


def test_the_calibration_error_of_images_that_are_there_twice_is_as_uncertain_as_of_each_once():
  rng = np.random.default_rng(2)
  confidence = rng.random(300)
  right, twice = rng.random(300) < confidence**2, np.tile(np.arange(300), 2)
  once = statistics.calibration_error(confidence, right)
  again = statistics.calibration_error(np.tile(confidence, 2), np.tile(right, 2), clusters=twice)
  assert again == pytest.approx(once)
  assert once[1] < once[0] < once[2]


def test_the_bootstrap_draws_rows_with_replacement():
  outcomes = np.random.default_rng(3).random((50, 4)) < 0.4
  drawn, rng = statistics.bootstrap_means(outcomes, 40), np.random.default_rng(0)
  np.testing.assert_array_equal(drawn, [outcomes[rng.integers(50, size=50)].sum(0) / 50 for _ in range(40)])


def test_a_percentile_interval_holds_its_share_of_all_resamples():
  values = np.arange(1000.0)
  assert statistics.percentile_interval(values) == pytest.approx((24.975, 974.025))
  # 30 are undetermined: 950 of the 970 others, in their middle.
  some = np.random.default_rng(0).permutation(np.where(values < 970, values, math.nan))
  low, high = statistics.percentile_interval(some)
  assert (low, high) == pytest.approx((10, 959), abs=1)
  assert ((some >= low) & (some <= high)).mean() == pytest.approx(0.95, abs=0.001)
  assert all(map(math.isnan, statistics.percentile_interval(np.where(values < 940, values, math.nan))))
  assert all(map(math.isnan, statistics.percentile_interval(np.full(3, math.nan))))


@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize("expected", [2, 4, 10])
@pytest.mark.parametrize("gains", [True, False])
def test_a_difference_that_goes_one_way_is_covered_on_either_side(n, expected, gains):
  """One network is right wherever another is, and so many times more, or it is the other way round."""
  rng, runs, every = np.random.default_rng(0), 600, np.ones(n)
  low_misses = high_misses = 0
  truth = (1 if gains else -1) * expected / n
  for _ in range(runs):
    drawn = rng.random(n)
    right, further = drawn < 0.6, (drawn >= 0.6) & (drawn < 0.6 + expected / n)
    pair = (right | further, every), (right, every)
    pair = [(of.astype(float), ones) for of, ones in (pair if gains else pair[::-1])]
    _, low, high = statistics.difference_of_ratios(*pair)
    low_misses, high_misses = low_misses + (truth < low), high_misses + (truth > high)
  assert max(low_misses, high_misses) / runs < 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)


@pytest.mark.parametrize(
  ("n", "accuracy", "copied"),
  [(30, 0.9, 0.3), (100, 0.95, 0.3), (100, 0.9, 0.0), (160, 0.6, 0.5), (500, 0.9, 0.6)],
)
def test_error_consistency_is_covered_also_of_observers_who_hardly_err(n, accuracy, copied):
  """A share of trials is answered as the other answers, which then is the kappa."""
  rng, runs, covered, known = np.random.default_rng(0), 500, 0, 0
  for _ in range(runs):
    first = rng.random(n) < accuracy
    second = np.where(rng.random(n) < copied, first, rng.random(n) < accuracy)
    kappa, low, high = statistics.error_consistency(first, second, draws=500)
    if math.isfinite(kappa):
      assert low <= kappa <= high
      known, covered = known + 1, covered + (low <= copied <= high)
  assert covered / known > 0.95 - 3 * math.sqrt(0.95 * 0.05 / known) - 0.005  # of 500 draws
