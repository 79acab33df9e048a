"""Noise thresholds and the channel they trace: the published estimate and a continuous one.

Both describe how strongly noise in each of B octave bands disturbs recognition, and fit a Gaussian to it,

  t(f) = A exp(-(f - mu)^2 / (2 sigma^2)),  f = 0 (lowest) .. B - 1,

to "sensitivities" t in octaves of noise SD: t = 4 where SD 0.02 is already too much, 0 where 0.16 is not. The
channel's bandwidth is its full width at half height, 2 sqrt(ln 4) |sigma| octaves; its centre 1.75 * 2^mu
cycles/image (at 224 pixels); its peak noise sensitivity 2^(A - 4). Subramanian et al. 2023; Gavrikov & Keuper
2024.
"""

import dataclasses
import functools
import math
import warnings
from typing import Any

import numpy as np
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.statistics import CONFIDENCE, Z

PUBLISHED_SDS = (0.02, 0.04, 0.08, 0.16)
STRONGEST = PUBLISHED_SDS[-1]
HIGHEST = 4.0  # the most that a published channel's A may be
LOWEST_CENTRE = 1.75  # cycles/image, of band 0 with 7 bands at 224 pixels


@dataclasses.dataclass(frozen=True)
class Channel:
  """bandwidth (octaves), centre (cycles/image), peak noise sensitivity; NaN where undetermined."""

  bw: float
  cf: float
  pns: float


UNDETERMINED = Channel(math.nan, math.nan, math.nan)


def _gaussian(f: np.ndarray, height: float, mu: float, sigma: float) -> np.ndarray:
  return height * np.exp(-((f - mu) ** 2) / (2 * sigma**2))


def channel(height: float, mu: float, sigma: float, lowest: float = LOWEST_CENTRE) -> Channel:
  """Properties of a Gaussian channel."""
  return Channel(
    bw=2 * math.sqrt(math.log(4)) * abs(float(sigma)),
    cf=lowest * 2.0 ** float(mu),
    pns=2.0 ** (float(height) - 4),
  )


# --- as published ------------------------------------------------------------------------------------------


def published_thresholds(accuracy: np.ndarray, criterion: float = 50.0) -> np.ndarray:
  """For each band, how many of the SDs have to be taken away from the strongest down.

  The index, counted from the strongest noise, of the first SD whose accuracy exceeds `criterion`; that of
  SD 0 also where none does, so that "passes only without noise" and "never passes" are one number.

  Args:
    accuracy: float [..., 1 + SDs, bands], in the criterion's units; rows from SD 0 up.
    criterion: 50 per cent as published.

  Returns:
    int [..., bands], 0 .. SDs.
  """
  passes = accuracy[..., ::-1, :] > criterion
  return np.where(passes.any(-2), passes.argmax(-2), accuracy.shape[-2] - 1)


@functools.lru_cache(maxsize=100_000)
def published_channel(thresholds: tuple[int, ...], lowest: float = LOWEST_CENTRE) -> Channel:
  """The Gaussian fitted by least squares to integer thresholds, A within [0, 4].

  The fit and its start are the published ones, so that it ends in the published optimum. Four departures:
  sigma's sign, which the fit leaves free, is dropped; the centre of a flat vector, an accident of the
  optimiser, is NaN (its bandwidth and pns are, too, but stand in published tables, and are kept); a vector
  for which the fit does not end has no channel; and an A that is kept from rising by its bound is 4, where
  the optimiser stops up to 1e-5 before it, elsewhere for each vector: such networks share their pns.
  """
  bands, wanted = np.arange(len(thresholds)), np.array(thresholds, float)
  with warnings.catch_warnings():
    # Of a flat vector, whose covariance does not exist; it is not used.
    warnings.simplefilter("ignore", scipy.optimize.OptimizeWarning)
    try:
      (height, mu, sigma), _ = scipy.optimize.curve_fit(
        _gaussian,
        bands,
        wanted,
        p0=(1.0, 0.0, 1.0),
        bounds=((0, -np.inf, -np.inf), (HIGHEST, np.inf, np.inf)),
      )
    except RuntimeError:  # it wandered off without end
      return UNDETERMINED
  if len(set(thresholds)) == 1:
    return dataclasses.replace(channel(height, mu, sigma, lowest), cf=math.nan)
  there, at_most = (
    float(((_gaussian(bands, of, mu, sigma) - wanted) ** 2).sum()) for of in (height, HIGHEST)
  )
  return channel(HIGHEST if at_most <= there + 1e-12 else height, mu, sigma, lowest)


# --- continuous --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Psychometric:
  """Accuracy as a function of noise SD in each band, fitted to counts.

  p_b(s) = g + (p0 - g) / (1 + (s / a_b)^k_b): from the noise-free accuracy p0, which all bands share, down to
  chance g; half way at SD a_b.

  Attributes:
    theta: float [1 + 2 B]: logit((p0 - g) / (1 - g)), log2 a_b, ln k_b.
    covariance: of theta.
    chance: g.
    deviance, df: of the fit to the counts, against one free probability a condition.
    strengths: float [S], log2 of the noise SDs that were shown.
    images: that the covariance is estimated from, if it is one over images; else None.
  """

  theta: np.ndarray
  covariance: np.ndarray
  chance: float
  deviance: float
  df: int
  strengths: np.ndarray
  images: int | None = None

  @property
  def bands(self) -> int:
    """How many bands there are."""
    return len(self.theta) // 2

  @property
  def clean(self) -> float:
    """Accuracy without noise, a fraction."""
    return self.chance + (1 - self.chance) * float(scipy.special.expit(self.theta[0]))


# Weak priors, in the manner of psignifit (Schuett et al. 2016), that keep an estimate finite where the counts
# say nothing: of a band that never disturbs, or of one that already the weakest noise blots out. (mean, SD)
# of logit, log2 a, ln k.
PRIORS = ((0.0, 5.0), (math.log2(0.08), 4.0), (math.log(2.5), 0.8))


def fit_psychometric(
  right: np.ndarray,
  n: np.ndarray,
  sds: np.ndarray,
  chance: float,
  outcomes: np.ndarray | None = None,
  worth: np.ndarray | None = None,
) -> Psychometric:
  """Fits all bands together by (penalised) maximum likelihood.

  Args:
    right: float [1 + S B], right decisions without noise, then band by band with SDs ascending.
    n: float [1 + S B], decisions; 0 where a condition was not run.
    sds: float [S], the noise SDs, ascending, > 0.
    chance: accuracy of guessing.
    outcomes: 0/1 [images, 1 + S B], the same decisions image by image. If given, the covariance is the
      sandwich over images: conditions are not independent where they share their images. Otherwise
      conditions are taken as independent binomials.
    worth: float [1 + S B], how many decisions each outcome stands for where that is not one: of a sample.
  """
  strengths = np.log2(np.asarray(sds, float))
  bands = (len(right) - 1) // len(strengths)
  mean = np.repeat([p[0] for p in PRIORS], (1, bands, bands))
  precision = np.repeat([p[1] ** -2.0 for p in PRIORS], (1, bands, bands))

  def objective(theta):
    p, _ = _curve(theta, strengths, chance)
    log_likelihood = scipy.special.xlogy(right, p) + scipy.special.xlogy(n - right, 1 - p)
    return log_likelihood.sum() - 0.5 * precision @ (theta - mean) ** 2

  theta = _start(right, n, strengths, chance, bands)
  value = objective(theta)
  for _ in range(200):  # Fisher scoring; some 10 steps are usual
    p, slope = _curve(theta, strengths, chance)
    weighted = slope / (p * (1 - p))[:, None]
    information = (slope.T * n) @ weighted + np.diag(precision)
    step = np.linalg.solve(information, weighted.T @ (right - n * p) - precision * (theta - mean))
    scale = 1.0
    while scale > 1e-6 and objective(theta + scale * step) < value:
      scale /= 2
    theta = theta + scale * step
    previous, value = value, objective(theta)
    if value - previous < 1e-9 * (1 + abs(value)):
      break
  p, slope = _curve(theta, strengths, chance)
  weighted = slope / (p * (1 - p))[:, None]
  bread = np.linalg.inv((slope.T * n) @ weighted + np.diag(precision))
  covariance = bread
  if outcomes is not None:
    scores = (outcomes - p if worth is None else (outcomes - p) * worth) @ weighted
    covariance = bread @ (scores.T @ scores + np.diag(precision)) @ bread
  observed = right / np.maximum(n, 1)
  deviance = 2 * (
    scipy.special.xlogy(right, np.where(right > 0, observed, 1) / p)
    + scipy.special.xlogy(n - right, np.where(right < n, 1 - observed, 1) / (1 - p))
  )
  df = int((n > 0).sum()) - len(theta)
  images = None if outcomes is None else len(outcomes)
  return Psychometric(theta, covariance, chance, float(deviance.sum()), df, strengths, images)


def _curve(theta: np.ndarray, strengths: np.ndarray, chance: float) -> tuple[np.ndarray, np.ndarray]:
  """Accuracy [1 + S B] and its derivatives [1 + S B, 1 + 2 B]."""
  bands = len(theta) // 2
  level = scipy.special.expit(theta[0])
  slope = np.exp(theta[1 + bands :])[:, None]
  distance = slope * (strengths[None] - theta[1 : 1 + bands, None]) * math.log(2)
  kept = scipy.special.expit(-distance)
  span = (1 - chance) * level
  p = np.concatenate([[chance + span], (chance + span * kept).ravel()])
  derivative = np.zeros((len(p), len(theta)))
  derivative[:, 0] = (p - chance) * (1 - level)
  inner = span * kept * (1 - kept)
  rows = 1 + np.arange(kept.size).reshape(kept.shape)
  columns = np.arange(bands)[:, None]
  derivative[rows, 1 + columns] = inner * slope * math.log(2)
  derivative[rows, 1 + bands + columns] = -inner * distance
  return np.clip(p, 1e-9, 1 - 1e-9), derivative


def _start(right, n, strengths, chance, bands) -> np.ndarray:
  """Where accuracy first falls below half way to chance, at a typical slope."""
  accuracy = (right + 0.5) / (n + 1)
  level = np.clip((accuracy[0] - chance) / (1 - chance), 0.01, 0.99)
  below = accuracy[1:].reshape(bands, -1) < chance + (accuracy[0] - chance) / 2
  first = np.where(below.any(1), below.argmax(1), len(strengths))
  edges = np.concatenate([[strengths[0] - 0.5], (strengths[1:] + strengths[:-1]) / 2, [strengths[-1] + 0.5]])
  return np.concatenate([[scipy.special.logit(level)], edges[first], np.full(bands, PRIORS[2][0])])


def log_thresholds(theta: np.ndarray, chance: float, criterion: float | None) -> np.ndarray:
  """log2 of the SD at which accuracy falls to `criterion`, for each band; NaN where it never exceeds it.

  Args:
    theta: of a `Psychometric`.
    chance: of guessing.
    criterion: a fraction; None for half of the noise-free accuracy.
  """
  bands = len(theta) // 2
  span = (1 - chance) * scipy.special.expit(theta[0])
  target = (chance + span) / 2 if criterion is None else criterion
  kept = (target - chance) / span
  if not 0 < kept < 1:
    return np.full(bands, math.nan)
  return theta[1 : 1 + bands] - scipy.special.logit(kept) / np.exp(theta[1 + bands :]) / math.log(2)


def _with_covariance(function, theta: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """function(theta) and its covariance by the delta method."""
  steps = 1e-5 * np.eye(len(theta))
  jacobian = np.stack([(function(theta + h) - function(theta - h)) / 2e-5 for h in steps], axis=1)
  return function(theta), jacobian @ covariance @ jacobian.T


@dataclasses.dataclass(frozen=True)
class ContinuousFit:
  """Thresholds and the channel through them, with 95 % intervals.

  Attributes:
    sd, sd_low, sd_high: float [B], thresholds as noise SDs; NaN where accuracy never exceeds the criterion.
    estimate, low, high: the channel; NaN where no peak can be told from a flat line (bw, cf), or where there
      are no thresholds (all).
    p_value: goodness of fit to the thresholds (`_goodness_of_fit`) of the Gaussian, or of a flat line where
      no peak can be told from it; NaN where thresholds are as few as parameters.
    beyond: bool [B], whether a threshold lies outside the noise that was shown, and so is an extrapolation.
  """

  sd: np.ndarray
  sd_low: np.ndarray
  sd_high: np.ndarray
  estimate: Channel
  low: Channel
  high: Channel
  p_value: float
  beyond: np.ndarray


def sensitivities(log2_sd: np.ndarray) -> np.ndarray:
  """Thresholds in octaves, so that rounding to an integer within 0..4 gives the published threshold."""
  return math.log2(STRONGEST) + 0.5 - log2_sd


def no_fit(bands: int) -> ContinuousFit:
  """What is known of an observer that has no thresholds: nothing."""
  missing = np.full(bands, math.nan)
  none = UNDETERMINED
  return ContinuousFit(missing, missing, missing, none, none, none, math.nan, np.zeros(bands, bool))


def fit_channel(
  fitted: Psychometric, criterion: float | None, lowest: float = LOWEST_CENTRE
) -> ContinuousFit:
  """The Gaussian channel through continuous thresholds, each weighted by its own standard error.

  The Gaussian falls to 0, which means a threshold of 0.16 * sqrt(2) or anything above: a sensitivity below 0
  is therefore taken as "at most 0", as in a censored (Tobit) regression. Unlike the published fit, the height
  is not bounded at 4. Intervals are Wald's, on mu, A and ln sigma, with the covariance that the thresholds
  have among themselves.

  Args:
    fitted: the psychometric functions.
    criterion: accuracy, a fraction, at the threshold; None for half of the noise-free accuracy (`_norm`).
    lowest: centre of band 0, cycles/image.
  """
  chance, bands = fitted.chance, fitted.bands
  x, covariance = _with_covariance(
    lambda theta: log_thresholds(theta, chance, criterion), fitted.theta, fitted.covariance
  )
  if not np.isfinite(covariance).all():
    return no_fit(bands)
  error = np.sqrt(np.diag(covariance))
  correlation = covariance / np.outer(error, error)
  sd, sd_low, sd_high = (2.0**edge for edge in (x, x - Z * error, x + Z * error))
  beyond = (x < fitted.strengths[0]) | (x > fitted.strengths[-1])

  t, f = sensitivities(x), np.arange(bands)

  def residuals(model):
    # Of a sensitivity below 0 all that counts is how far the model is above it: P(t <= 0 | model).
    censored = np.sqrt(np.maximum(-2 * (scipy.special.log_ndtr(-model / error) + math.log(2)), 0))
    return np.where(t > 0, (t - model) / error, -censored)

  def of_parameters(parameters):
    return residuals(_gaussian(f, parameters[0], parameters[1], math.exp(parameters[2])))

  def goodness(model, of_fit, jacobian):
    # A threshold beyond what matters to a model that is about 0 there says nothing of it.
    counted = (t > 0) | (model > error)
    return _goodness_of_fit(
      of_fit[counted], jacobian[counted], correlation[np.ix_(counted, counted)], fitted.images
    )

  bounds = ((0, -bands, math.log(0.2)), (20, 2 * bands, math.log(50)))
  height = min(max(t.max(), 0.5), 19)
  fits = [
    scipy.optimize.least_squares(of_parameters, (height, mu, math.log(sigma)), bounds=bounds, x_scale=1.0)
    for mu in (t.argmax(), bands / 2)
    for sigma in (1.0, 3.0)
  ]
  best = min(fits, key=lambda fit: fit.cost)
  flat: Any = scipy.optimize.minimize_scalar(
    lambda level: (residuals(np.full(bands, level)) ** 2).sum(), bounds=(0, 20), method="bounded"
  )
  chi_squared = 2 * scipy.special.gammaincinv(1, CONFIDENCE)  # its quantile, with 2 degrees of freedom
  if flat.fun - 2 * best.cost < chi_squared:
    level, step = float(flat.x), 1e-5
    at, above = (residuals(np.full(bands, level + by)) for by in (0.0, step))
    jacobian = (above - at)[:, None] / step
    half = float(Z * _errors(jacobian, correlation)[0])
    peak, low, high = (Channel(math.nan, math.nan, 2.0 ** (level + by - 4)) for by in (0.0, -half, half))
    p_value = goodness(np.full(bands, level), at, jacobian)
    return ContinuousFit(sd, sd_low, sd_high, peak, low, high, p_value, beyond)
  errors = _errors(best.jac, correlation)

  def moved(by):
    # Where nothing tells the width, an edge may lie beyond what a number can hold.
    height, mu, log_sigma = np.clip(best.x + by * errors, -700, 700)
    return channel(height, mu, math.exp(log_sigma), lowest)

  p_value = goodness(_gaussian(f, best.x[0], best.x[1], math.exp(best.x[2])), best.fun, best.jac)
  return ContinuousFit(sd, sd_low, sd_high, moved(0), moved(-Z), moved(Z), p_value, beyond)


def _errors(jacobian: np.ndarray, correlation: np.ndarray) -> np.ndarray:
  """Standard errors of parameters that least squares found, where the residuals are correlated.

  Args:
    jacobian: float [B, parameters], of the residuals.
    correlation: float [B, B], of the residuals, each of variance 1.
  """
  bread = np.linalg.pinv(jacobian.T @ jacobian)
  return np.sqrt(np.diag(bread @ jacobian.T @ correlation @ jacobian @ bread))


def _goodness_of_fit(
  residuals: np.ndarray, jacobian: np.ndarray, correlation: np.ndarray, images: int | None
) -> float:
  """P of residuals as large as these, if the model holds.

  What is left after the fit, M r with M = 1 - J J^+, has the covariance M R M; its quadratic form with the
  inverse of that, on the space that the fit leaves, is chi-squared. Thresholds share images and the
  noise-free accuracy, and so move together: taken for independent they would be seen to differ too little,
  and the fit would never be rejected. Where the covariance is estimated over images it is Hotelling's T^2.

  Args:
    residuals: float [B], each divided by its standard error.
    jacobian, correlation: as in `_errors`.
    images: of the covariance, or None.
  """
  left, size, _ = np.linalg.svd(jacobian)
  rank = int((size > 1e-6 * size.max(initial=0.0)).sum())
  free = left[:, rank:]
  df = free.shape[1]
  if not df or (images is not None and images <= df):
    return math.nan
  rest, spread = free.T @ residuals, free.T @ correlation @ free
  squared = float(rest @ np.linalg.solve(spread, rest))
  if images is None:
    return float(scipy.special.chdtrc(df, squared))
  return float(scipy.special.fdtrc(df, images - df, squared * (images - df) / (df * (images - 1))))
