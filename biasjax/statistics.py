"""Intervals for what is counted, and for ratios of it. NumPy and scipy only."""

import math

import numpy as np
import scipy.stats

CONFIDENCE = 0.95


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
  """Wilson's score interval of a proportion (Wilson 1927), as fractions in [0, 1]; NaN for n = 0."""
  if n == 0:
    return math.nan, math.nan
  interval = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
  return float(interval.low), float(interval.high)


def ratio_of_means(
  numerator: np.ndarray, denominator: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
  """mean(numerator) / mean(denominator) over the same examples, with an interval.

  The interval is the delta method's for paired samples. Where the residuals have no variance (an accuracy
  of exactly zero, say) it would have no width, and it is Wilson's instead, for a share of the examples that
  count in the denominator.

  Args:
    numerator: float [n], in [0, 1] for each example.
    denominator: float [n], 0 or 1 for each example.
    confidence: of the interval.

  Returns:
    (ratio, low, high); all NaN where the denominator is zero throughout.
  """
  n, total = len(denominator), denominator.sum()
  if total == 0:
    return math.nan, math.nan, math.nan
  ratio = float(numerator.sum() / total)
  residuals = numerator - ratio * denominator
  variance = float(residuals @ residuals) / max(n - 1, 1)
  if math.isclose(variance, 0.0, abs_tol=1e-15):
    low, high = wilson(round(min(numerator.sum(), total)), round(total), confidence)
    return ratio, low, high
  z = scipy.stats.norm.ppf(0.5 + confidence / 2)
  half = float(z * math.sqrt(variance / n) * n / total)
  return ratio, ratio - half, ratio + half


def bootstrap_means(outcomes: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
  """Column means of `outcomes` [n, k] over rows drawn with replacement; float [resamples, k]."""
  n, rng = len(outcomes), np.random.default_rng(seed)
  means = np.empty((resamples, outcomes.shape[1]))
  for i in range(resamples):
    means[i] = np.bincount(rng.integers(n, size=n), minlength=n) @ outcomes / n
  return means


def percentile_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
  """The bootstrap's percentile interval of `values` [n], those that are NaN left out; NaN if all are."""
  values = values[~np.isnan(values)]
  if not len(values):
    return math.nan, math.nan
  low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
  return float(low), float(high)


def ratio_of_totals(
  numerator: np.ndarray, denominator: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
  """sum(numerator) / sum(denominator) over clusters (subjects, say), with an interval over the clusters.

  Args:
    numerator, denominator: float [clusters].
    confidence: of the interval, by linearisation with Student's t (Cochran 1977, section 6.3).

  Returns:
    (ratio, low, high) within [0, 1]; NaN where the denominator is zero, no interval for a single cluster.
  """
  k, total = len(denominator), denominator.sum()
  if total == 0:
    return math.nan, math.nan, math.nan
  ratio = float(numerator.sum() / total)
  if k < 2:
    return ratio, math.nan, math.nan
  residuals = numerator - ratio * denominator
  error = math.sqrt(k / (k - 1) * float(residuals @ residuals)) / total
  half = float(scipy.stats.t.ppf(0.5 + confidence / 2, k - 1) * error)
  return ratio, max(ratio - half, 0.0), min(ratio + half, 1.0)


def cohens_kappa(both: np.ndarray, first: np.ndarray, second: np.ndarray, n: np.ndarray) -> np.ndarray:
  """Cohen's kappa of two observers being right, from counts (Cohen 1960; Geirhos et al. 2020).

  (agreement - expected) / (1 - expected), where expected is how often two observers of these accuracies would
  be right or wrong together by chance.

  Args:
    both: trials that both are right in, of any shape.
    first, second: trials that each is right in, likewise.
    n: trials, likewise.

  Returns:
    float64 of that shape; NaN where n is 0 and where expected is 1: both are always right, or never.
    model-vs-human calls it 1 there, although such observers agree just as often as chance has them agree.
  """
  both, first, second, n = (np.asarray(of, float) for of in (both, first, second, n))
  with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where nothing is left to explain
    p, q = first / n, second / n
    expected = p * q + (1 - p) * (1 - q)
    agreement = (n - first - second + 2 * both) / n
    return np.where(expected < 1, (agreement - expected) / (1 - expected), np.nan)


def error_consistency(
  first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE, resamples: int = 2000
) -> tuple[float, float, float]:
  """`cohens_kappa` of who is right when: above 0, two observers err on the same trials more than by chance.

  Geirhos, Meding & Wichmann 2020. The interval is a bootstrap over trials (percentiles, Klein et al. 2025),
  with a fixed seed: about these two observers, for other trials like these.

  Args:
    first, second: bool [n], whether each observer is right on the same n trials, all of one condition: trials
      of an easy and a hard one together agree because of what they have in common.
    confidence: of the interval.
    resamples: of the bootstrap.

  Returns:
    (kappa, low, high); NaN where chance alone explains everything (both always right, or both never).
  """
  n = len(first)
  if n == 0:
    return math.nan, math.nan, math.nan
  cells = np.bincount(2 * first.astype(int) + second.astype(int), minlength=4)
  drawn = np.random.default_rng(0).multinomial(n, cells / n, size=resamples)
  counts = np.concatenate([cells[None], drawn])
  _, only_second, only_first, both = counts.T
  kappas = cohens_kappa(both, both + only_first, both + only_second, counts.sum(-1))
  return float(kappas[0]), *percentile_interval(kappas[1:], confidence)


def mean(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
  """The mean of `values` [n] with Student's t interval; NaN for n = 0, no interval for n = 1.

  Where all values are equal there is no variance to see. Zeros or ones are then counts, and have Wilson's
  interval; others have none.
  """
  n = len(values)
  if n == 0:
    return math.nan, math.nan, math.nan
  average = float(np.mean(values, dtype=float))
  spread = float(np.std(values, ddof=1, dtype=float)) if n > 1 else 0.0
  if n > 1 and spread > 1e-12 * max(1.0, abs(average)):
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, n - 1)) * spread / math.sqrt(n)
    return average, average - half, average + half
  if average in (0.0, 1.0):
    return average, *wilson(round(average * n), n, confidence)
  return average, math.nan, math.nan


def calibration_error(
  confidence_of: np.ndarray, right: np.ndarray, bins: int = 15
) -> tuple[float, float, float]:
  """Expected calibration error (Guo et al. 2017): |confidence - accuracy| in bins of equal width, by size.

  The interval is the delta method's: the error is the mean of (confidence - right) with its bin's sign.
  It takes the signs as known, so it is too narrow, and the error too large, where bins are nearly calibrated.

  Args:
    confidence_of: float [n], of each prediction, in (0, 1].
    right: bool [n], whether it is right.
    bins: how many.

  Returns:
    (error, low, high), low not below 0; NaN for n = 0.
  """
  if not len(right):
    return math.nan, math.nan, math.nan
  # Bins are (0, 1/15], (1/15, 2/15], ...
  which = np.clip(np.ceil(confidence_of.astype(float) * bins).astype(int) - 1, 0, bins - 1)
  gap = confidence_of.astype(float) - right
  sign = np.sign(np.bincount(which, gap, bins))
  value, low, high = mean(sign[which] * gap)
  return value, max(low, 0.0), high


def spread_of_classes(right: np.ndarray, n: np.ndarray) -> tuple[float, float, float]:
  """Standard deviation of accuracy between classes, without what sampling adds to it, with an interval.

  Args:
    right: int [classes], right decisions.
    n: int [classes], decisions; classes with fewer than two are left out.

  Returns:
    (sd, low, high) as fractions: the square roots of the unbiased variance, and of its interval over classes
    (normal). 0 where sampling alone explains the differences; NaN for fewer than two classes.
  """
  counted = n > 1
  p, n = right[counted] / n[counted], n[counted]
  k = len(p)
  if k < 2:
    return math.nan, math.nan, math.nan
  # The variance of p around its mean, less the binomial variance of each p.
  terms = (p - p.mean()) ** 2 * k / (k - 1) - p * (1 - p) / (n - 1)
  value, low, high = mean(terms)
  value, low, high = (math.sqrt(max(edge, 0.0)) for edge in (value, low, high))
  return value, low, high
