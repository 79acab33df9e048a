"""Published estimates against published numbers; the continuous one against simulated observers."""

import json
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from biasjax import channels

SDS = np.array(channels.PUBLISHED_SDS)


@pytest.mark.reference
def test_published_vectors_give_the_published_values(reference):
  rows = json.loads((reference / "reference/golden_gaussian_fits.json").read_text())
  assert len(rows) == 38
  for row in rows:
    found = channels.published_channel(tuple(row["thresholds"]))
    assert found.bw == pytest.approx(abs(row["bw"]), rel=1e-6)
    assert found.pns == pytest.approx(row["pns"], rel=1e-6)
    if len(set(row["thresholds"])) == 1:
      assert math.isnan(found.cf)
    else:
      assert found.cf == pytest.approx(row["cf"], rel=1e-6)


@pytest.mark.reference
def test_recorded_networks_give_their_published_thresholds_and_channels(reference):
  networks = json.loads((reference / "reference/golden_trials.json").read_text())["critical_band"]
  assert len(networks) == 43
  for network in networks.values():
    accuracy = np.array(network["accuracy"])
    raw = channels.published_thresholds(accuracy)
    norm = channels.published_thresholds(100 * accuracy / network["clean_acc"])
    assert list(raw) == network["thresholds"]
    assert list(norm) == network["thresholds_norm_by_clean"]
    for thresholds, expected in ((raw, network), (norm, network["norm"])):
      found = channels.published_channel(tuple(thresholds.tolist()))
      if len(set(thresholds)) == 1:
        assert math.isnan(found.cf)
        continue
      # The optimiser stops within 1e-5 of a hardly curved optimum where all but one threshold are equal.
      assert found.bw == pytest.approx(abs(expected["bw"]), rel=1e-5)
      assert found.cf == pytest.approx(expected["cf"], rel=1e-4)
      assert found.pns == pytest.approx(expected["pns"], rel=1e-5)


def test_channels_that_the_bound_holds_down_share_their_peak():
  # Free of its bound each of these fits rises above 4; with it the optimiser stops at another distance below.
  for thresholds in (
    (0, 1, 4, 4, 3, 3, 1),
    (0, 1, 3, 4, 4, 2, 0),
    (0, 4, 4, 3, 3, 1, 1),
    (0, 1, 2, 3, 4, 4, 3),
  ):
    (free, _, _), _ = scipy.optimize.curve_fit(
      lambda f, a, mu, sigma: a * np.exp(-((f - mu) ** 2) / (2 * sigma**2)),
      range(7),
      thresholds,
      p0=(4, 3, 2),
    )
    assert free > 4.001
    assert channels.published_channel(thresholds).pns == 1
  assert channels.published_channel((0, 1, 2, 3, 2, 1, 0)).pns < 0.75


def test_thresholds_count_down_from_the_strongest_noise():
  accuracy = np.array([[90, 90, 90, 90, 40], [80, 80, 80, 50, 30], [60, 60, 40, 0, 0], [55, 49, 0, 0, 0]])
  assert channels.published_thresholds(accuracy).tolist() == [0, 1, 2, 3, 3]


def test_exactly_half_is_not_above_half():
  assert channels.published_thresholds(np.array([[50.0], [50.0]])).tolist() == [1]


def observer(sensitivities, *, clean=0.7, slope=3.0, chance=0.001, sds=SDS):
  """Probabilities of being right [1 + S B] where accuracy halves at thresholds of these sensitivities."""
  log2_sd = math.log2(0.16) + 0.5 - np.asarray(sensitivities, float)
  # Where the curve is half way to chance, given where it is at half of `clean`.
  kept = (clean / 2 - chance) / (clean - chance)
  half_way = log2_sd + scipy.special.logit(kept) / slope / math.log(2)
  falling = chance + (clean - chance) / (1 + (sds / 2.0 ** half_way[:, None]) ** slope)
  return np.concatenate([[clean], falling.ravel()])


def gaussian(height, mu, sigma, bands=7):
  return height * np.exp(-((np.arange(bands) - mu) ** 2) / (2 * sigma**2))


def fit(p, n, rng, *, chance=0.001, sds=SDS, shared=0.0, criterion=None):
  """The channel of n simulated images; `shared` is how much of their difficulty all conditions share."""
  if not shared:
    right = rng.binomial(n, p).astype(float)
    return channels.fit_channel(channels.fit_psychometric(right, np.full(len(p), n), sds, chance), criterion)
  difficulty = math.sqrt(shared) * rng.standard_normal((n, 1))
  latent = difficulty + math.sqrt(1 - shared) * rng.standard_normal((n, len(p)))
  outcomes = (latent < scipy.special.ndtri(p)).astype(float)
  fitted = channels.fit_psychometric(outcomes.sum(0), np.full(len(p), n), sds, chance, outcomes)
  return channels.fit_channel(fitted, criterion)


def covered(result, truth):
  return [
    getattr(result.low, name) <= getattr(truth, name) <= getattr(result.high, name)
    for name in ("bw", "cf", "pns")
  ]


OBSERVERS = {
  "narrow, independent images": ((3.2, 4.0, 1.0), {"clean": 0.7}, 500, 0.0),
  "broad, shared images": ((3.5, 3.5, 2.0), {"clean": 0.75}, 500, 0.6),
  "16 categories, more noise levels": (
    (3.0, 4.5, 1.5),
    {"clean": 0.9, "chance": 1 / 16, "sds": np.array([0.01, *SDS, 0.32])},
    300,
    0.0,
  ),
}


@pytest.mark.parametrize("name", OBSERVERS)
def test_intervals_cover_a_known_channel(name):
  """95 % intervals in 100 simulations each: 88 or more is what 95 % gives in 99.8 % of such tests."""
  shape, options, n, shared = OBSERVERS[name]
  truth = channels.channel(*shape)
  p = observer(gaussian(*shape), **options)
  rng = np.random.default_rng(0)
  of_fit = {key: options[key] for key in ("chance", "sds") if key in options}
  hits = [covered(fit(p, n, rng, shared=shared, **of_fit), truth) for _ in range(100)]
  assert (np.sum(hits, axis=0) >= 88).all()


def test_thresholds_of_single_bands_are_covered():
  sensitivities = gaussian(3.2, 4.0, 1.5)
  p, rng = observer(sensitivities), np.random.default_rng(1)
  truth = 2.0 ** (math.log2(0.16) + 0.5 - sensitivities)
  fits = [fit(p, 300, rng) for _ in range(60)]
  hits = np.mean([(f.sd_low <= truth) & (truth <= f.sd_high) for f in fits])
  assert 0.92 < hits < 0.98


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_goodness_of_fit_is_uniform_for_a_channel_and_small_for_what_is_none(shared):
  """Thresholds move together, by the noise-free accuracy and by images that all conditions share."""
  rng = np.random.default_rng(2)
  p = observer(gaussian(3.5, 3.5, 2.0))
  good = np.array([fit(p, 300, rng, shared=shared).p_value for _ in range(120)])
  for level in (0.1, 0.3, 0.5):
    # 3 standard errors of a share of 120.
    assert abs(np.mean(good < level) - level) < 3 * math.sqrt(level * (1 - level) / 120)
  two_peaks = gaussian(3.0, 1.0, 0.7) + gaussian(3.0, 5.0, 0.7)
  assert fit(observer(two_peaks), 500, rng, shared=shared).p_value < 0.001
  skewed = (0, 0.2, 1, 2.6, 3.6, 3.4, 1.2)
  assert fit(observer(skewed), 500, rng, shared=shared).p_value < 0.001


def test_observers_that_the_published_estimate_ties_are_told_apart():
  rng = np.random.default_rng(3)
  narrow, broad = (0.2, 1.2, 2.2, 3.4, 3.8, 3.6, 2.6), (0.4, 1.4, 2.4, 3.45, 3.6, 3.55, 2.9)
  results, published = [], []
  for sensitivities in (narrow, broad):
    p = observer(sensitivities, slope=5.0)
    accuracy = np.concatenate([np.full((1, 7), p[0]), p[1:].reshape(7, 4).T])
    thresholds = channels.published_thresholds(100 * accuracy / p[0])
    published.append(channels.published_channel(tuple(thresholds.tolist())))
    results.append(fit(p, 5000, rng))
  assert published[0] == published[1]
  assert results[0].high.bw < results[1].low.bw


def test_continuous_sensitivities_round_to_published_thresholds():
  log2_sd = np.log2([0.3, 0.17, 0.15, 0.09, 0.07, 0.041, 0.021, 0.019, 0.012])
  rounded = np.clip(np.rint(channels.sensitivities(log2_sd)), 0, 4)
  for threshold, sd in zip(rounded, 2.0**log2_sd, strict=True):
    passes = [0.9, *np.where(sd > SDS, 0.9, 0.1)]
    assert channels.published_thresholds(100 * np.array(passes)[:, None]).tolist() == [threshold]


def test_a_flat_observer_has_no_centre():
  result = fit(observer(np.full(7, 2.5)), 500, np.random.default_rng(4))
  assert math.isnan(result.estimate.cf)
  assert math.isnan(result.estimate.bw)
  assert result.low.pns < 2 ** (2.5 - 4) < result.high.pns


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_the_height_of_a_flat_channel_is_covered(shared):
  """Thresholds that move together tell less than so many that do not."""
  rng, p = np.random.default_rng(12), observer(np.full(7, 2.5))
  fits = [fit(p, 400, rng, shared=shared) for _ in range(80)]
  hits = [f.low.pns <= 2 ** (2.5 - 4) <= f.high.pns for f in fits if math.isnan(f.estimate.bw)]
  assert len(hits) > 70
  assert np.mean(hits) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / len(hits))
  tested = np.array([f.p_value for f in fits])  # the flat line fits
  assert abs(np.mean(tested < 0.3) - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 80)


def test_a_threshold_outside_the_noise_that_was_shown_is_an_extrapolation():
  """Sensitivities of 4.5 and 0.5 octaves are thresholds at the ends of the published noise, 0.01 and 0.16."""
  result = fit(observer([0.0, 1.0, 2.0, 5.2, 5.4, 3.0, -2.0]), 3000, np.random.default_rng(13))
  np.testing.assert_array_equal(result.beyond, [True, False, False, True, True, False, True])
  np.testing.assert_array_equal(result.beyond, (result.sd < 0.02) | (result.sd > 0.16))


def test_a_band_that_never_disturbs_is_no_reason_for_a_poor_fit():
  """Accuracy is flat in three bands, so that their thresholds are anywhere beyond the strongest noise."""
  sensitivities = np.array([-8, -8, 0.8, 2.4, 3.0, 1.5, -8.0])
  result = fit(observer(sensitivities), 1000, np.random.default_rng(5))
  assert result.p_value > 0.01
  assert np.isfinite(result.estimate.bw)
  assert (result.sd_high[[0, 1, 6]] > 1).all()


def test_raw_thresholds_need_an_accuracy_above_the_criterion():
  rng = np.random.default_rng(6)
  assert np.isnan(fit(observer(gaussian(3.2, 4.0, 1.5), clean=0.4), 500, rng, criterion=0.5).sd).all()
  raw = fit(observer(gaussian(3.2, 4.0, 1.5), clean=0.9), 3000, rng, criterion=0.5)
  norm = fit(observer(gaussian(3.2, 4.0, 1.5), clean=0.9), 3000, rng)
  assert (raw.sd < norm.sd).all()  # 50 % of 90 % is passed later than half


def test_maximum_likelihood_is_what_a_general_optimiser_finds():
  rng = np.random.default_rng(7)
  p = observer(gaussian(3.2, 4.0, 1.5))
  right = rng.binomial(400, p)
  found = channels.fit_psychometric(right, np.full(29, 400), SDS, 0.001)

  def loss(theta):
    level = 0.001 + 0.999 * scipy.special.expit(theta[0])
    falling = 0.001 + (level - 0.001) / (1 + (SDS / 2.0 ** theta[1:8, None]) ** np.exp(theta[8:, None]))
    model = np.concatenate([[level], falling.ravel()])
    means, spreads = zip(*channels.PRIORS, strict=True)
    prior = np.repeat(means, (1, 7, 7)), np.repeat(spreads, (1, 7, 7))
    likelihood = right * np.log(model) + (400 - right) * np.log1p(-model)
    return -likelihood.sum() + (((theta - prior[0]) / prior[1]) ** 2).sum() / 2

  start = np.concatenate([[0.0], np.full(7, -3.5), np.full(7, 1.0)])
  general = scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-4})
  assert loss(found.theta) <= general.fun + 1e-6
  np.testing.assert_allclose(found.theta, general.x, rtol=0, atol=2e-3)


def test_conditions_that_were_not_run_change_nothing():
  """Zero decisions at one SD are as if that SD had not been asked for."""
  rng = np.random.default_rng(8)
  sds = np.array([0.02, 0.04, 0.05, 0.08, 0.16])
  p = observer(gaussian(3.2, 4.0, 1.5), sds=sds)
  right, n = rng.binomial(300, p), np.full(len(p), 300)
  keep = np.concatenate([[True], np.tile(sds != 0.05, 7)])
  right[~keep], n[~keep] = 0, 0
  full = channels.fit_psychometric(right, n, sds, 0.001)
  fewer = channels.fit_psychometric(right[keep], n[keep], sds[sds != 0.05], 0.001)
  np.testing.assert_allclose(full.theta, fewer.theta, atol=1e-4)
  assert full.df == fewer.df


def test_a_vector_without_a_single_best_gaussian_has_no_channel():
  """Any height from 1 to 4 fits two equal neighbours exactly; the published fit wanders and does not end."""
  found = channels.published_channel((0, 0, 0, 1, 1, 0, 0))
  assert math.isnan(found.bw)
  assert math.isnan(found.cf)
  assert math.isnan(found.pns)


def test_a_width_that_nothing_tells_has_an_interval_without_end():
  # Four images, right or wrong under 17 conditions: a peak of any width would do.
  rows = ("11011110111110111", "11001111111111011", "10001111110111011", "11001111111001011")
  outcomes = np.array([[float(digit) for digit in row] for row in rows])
  fitted = channels.fit_psychometric(outcomes.sum(0), np.full(17, 4), SDS, 1 / 3, outcomes)
  found = channels.fit_channel(fitted, 0.5, 2.0)
  assert found.low.bw < found.estimate.bw < 50 * 2 * math.sqrt(math.log(4)) + 1e-6
  assert found.high.bw > 1e100
