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


def error_consistency(
  first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE, resamples: int = 2000
) -> tuple[float, float, float]:
  """Cohen's kappa of who is right when: above 0, two observers err on the same trials more than by chance.

  Geirhos, Meding & Wichmann 2020. The interval is a bootstrap over trials (percentiles), with a fixed seed.

  Args:
    first, second: bool [n], whether each observer is right on the same n trials.
    confidence: of the interval.
    resamples: of the bootstrap.

  Returns:
    (kappa, low, high); NaN where chance alone explains everything (both always right, or both never).
  """
  n = len(first)
  if n == 0:
    return math.nan, math.nan, math.nan
  cells = np.bincount(2 * first.astype(int) + second.astype(int), minlength=4)

  def kappa(counts: np.ndarray) -> np.ndarray:
    share = counts / counts.sum(-1, keepdims=True)
    p, q = share[..., 2] + share[..., 3], share[..., 1] + share[..., 3]
    expected = p * q + (1 - p) * (1 - q)
    observed = share[..., 0] + share[..., 3]
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is left to explain
      return (observed - expected) / (1 - expected)

  drawn = np.random.default_rng(0).multinomial(n, cells / n, size=resamples)
  return float(kappa(cells[None])[0]), *percentile_interval(kappa(drawn), confidence)
