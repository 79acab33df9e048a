"""Intervals for what is counted, and for ratios of it. NumPy and scipy only."""

import math
from collections.abc import Sequence

import numpy as np
import scipy  # its modules are loaded where they are first used, which takes a second

CONFIDENCE = 0.95
DRAWN_AT_ONCE = 16  # resamples, whose means are one product of matrices


Z = 1.959963984540054  # half a 95 % interval in standard errors; computing it would load scipy everywhere


def _normal(confidence: float) -> float:
  return float(scipy.special.ndtri(0.5 + confidence / 2))


def wilson(successes: int | float, n: int | float, confidence: float = CONFIDENCE) -> tuple[float, float]:
  """Wilson's score interval of a proportion (Wilson 1927), as fractions in [0, 1]; NaN for n = 0."""
  return _wilson(successes / n, n, _normal(confidence)) if n else (math.nan, math.nan)


def _wilson(p: float, n: int | float, critical: float) -> tuple[float, float]:
  """The shares whose score test does not reject p, the share of n decisions; n need not be whole."""
  square = critical**2 / n
  centre, half = p + square / 2, math.sqrt(max(square * (p * (1 - p) + square / 4), 0.0))
  low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
  return max(low, 0.0) if p > 0 else 0.0, min(high, 1.0) if p < 1 else 1.0


def interval_of_share(
  share: float,
  variance: float,
  most: int | float,
  confidence: float = CONFIDENCE,
  df: int | float = math.inf,
) -> tuple[float, float]:
  """Wilson's interval of a share that is no plain count, for the number of decisions it is worth.

  A share with this variance is worth share (1 - share) / variance independent decisions (Korn & Graubard
  1998), so that the interval stays in [0, 1] and has no width of 0 where nothing, or everything, is counted.

  Args:
    share: the estimate, in [0, 1].
    variance: of it.
    most: decisions that it is worth where the variance is 0, which then says nothing.
    confidence: of the interval.
    df: degrees of freedom of the variance; Student's t stands for the normal distribution.
  """
  worth = share * (1 - share) / variance if variance > 0 and 0 < share < 1 else most
  return _wilson(share, worth, float(scipy.special.stdtrit(df, 0.5 + confidence / 2)))


def ratio_of_means(
  numerator: np.ndarray,
  denominator: np.ndarray,
  confidence: float = CONFIDENCE,
  *,
  chance: tuple[float, float] = (0.0, 0.0),
  largest: float = math.inf,
) -> tuple[float, float, float]:
  """mean(numerator) / mean(denominator) over the same examples, with an interval.

  The interval is Fieller's (1954), paired: the ratios r for which mean(numerator) - r mean(denominator)
  cannot be told from 0. Its variance is the one that the numerator has if r is the ratio, in proportion to
  m (1 - m) of its mean m, as in Wilson's interval, so that few or no hits are as uncertain as they are: where
  the denominator is always 1 it is Wilson's interval; for two counts it is the score interval of a ratio of
  paired proportions (Nam & Blackwelder 2002), but with the share of hits that count in the denominator as it
  is observed. Where few examples change, their variance is told badly as well, so the upper end of a ratio to
  what varies is no lower than that of Fieller's interval with one changed example more (in the manner of
  Agresti & Min 2005), nor than that of one whose variance grows with the ratio, as it must where examples are
  only gained (`_further`; then it is Wilson's of a Poisson count). It is cut to what the ratio can be: the
  numerator lies in [0, 1], and the denominator's mean in its own interval.

  Args:
    numerator: float [n], in [0, 1] for each example.
    denominator: float [n], not negative; 0 or 1 for each example, say.
    confidence: of the interval.
    chance: what guessing gives for each; the ratio is then that of what lies above it.
    largest: that the ratio can be, where more is known than that the numerator is at most 1.

  Returns:
    (ratio, low, high); all NaN where the denominator is zero throughout, or cannot be told from its chance.
  """
  n = len(denominator)
  below, above = (float(np.mean(part, dtype=float)) for part in (numerator, denominator))
  guessed, left = chance[0], above - chance[1]
  if above == 0 or (chance[1] > 0 and wilson(above * n, n, confidence)[0] <= chance[1]):
    return math.nan, math.nan, math.nan
  ratio = (below - guessed) / left
  x, y = np.asarray(numerator, float) - below, np.asarray(denominator, float) - above
  # Var(numerator) = dispersion m (1 - m) and Cov = together m, of a mean m = guessed + r left. Few hits (or
  # few misses) tell the dispersion, 1 of zeros and ones, badly: as if one more had counted in full.
  few = n * min(below, 1 - below)
  dispersion = (_product(x, x) / max(below, 1 - below) + 1) / (few + 1)
  together = _product(x, y) / n / below if below > 0 else 0.0
  # (below - m)^2 <= z^2 / n Var(numerator - r denominator) is a quadratic in r: a r^2 + b r + c <= 0.
  z2 = _normal(confidence) ** 2 / n
  a = left**2 - z2 * (-dispersion * left**2 - 2 * left * together + _product(y, y) / n)
  b = -2 * (below - guessed) * left - z2 * (dispersion * left * (1 - 2 * guessed) - 2 * guessed * together)
  c = (below - guessed) ** 2 - z2 * dispersion * guessed * (1 - guessed)
  least, most = -guessed / left, min((1 - guessed) / left, largest)
  root = math.sqrt(max(b * b - 4 * a * c, 0.0))
  if a > 0:
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
  else:
    # The denominator may be as small as one likes: what holds the estimate has no other end.
    first, second = (
      ((-b + root) / (2 * a), (-b - root) / (2 * a)) if a < 0 and b * b > 4 * a * c else (most, least)
    )
    low, high = (second, most) if ratio >= second else (least, first)
  if not y.any():
    return ratio, min(max(low, least), ratio), max(min(high, most), ratio)
  # The denominator may be as low as its own interval says, and the ratio as high.
  most = min((1 - guessed) / max(wilson(min(above, 1) * n, n, confidence)[0] - chance[1], 1e-9), largest)
  a, b = left**2 - z2 * _product(y, y) / n, (below - guessed) * left - z2 * _product(x, y) / n
  ends = [most]
  if a > 0:
    changed, more = (_product(x, x) + 1) / n, _further(numerator, denominator)
    grown = _product(x, x) / n - more * (below - guessed)
    ends = []
    for half, variance in ((b, changed), (b + z2 * more * left / 2, grown)):
      c = (below - guessed) ** 2 - z2 * variance
      ends.append((half + math.sqrt(max(half * half - a * c, 0.0))) / a)
  return ratio, min(max(low, least), ratio), max(min(max(high, *ends), most), ratio)


def _further(numerator: np.ndarray, denominator: np.ndarray) -> float:
  """By how much the variance of numerator - denominator grows with its mean, in [0, 1].

  As of Poisson counts of gains and losses whose difference is given, to first order about their maximum
  likelihood: 1 where there are gains only, or no change; 0 where losses are as many or more.
  """
  apart = np.asarray(numerator, float) - np.asarray(denominator, float)
  gains = np.maximum(apart, 0)
  gained, lost = float(gains.sum()), float(gains.sum() - apart.sum())
  size = (_product(gains, gains) + 1) / (gained + 1)  # of a gain
  return size * max((gained - lost) / (gained + lost), 0.0) if gained + lost > 0 else size


def fieller(
  numerator: np.ndarray, denominator: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
  """mean(numerator) / mean(denominator) of any numbers of the same examples, with Fieller's interval (1954).

  `ratio_of_means` knows more of what it is given: shares.

  Args:
    numerator, denominator: float [n].
    confidence: of the interval.

  Returns:
    (ratio, low, high); all NaN where the denominator's mean is not above 0 beyond chance: then the ratio may
    be anything.
  """
  n = len(denominator)
  if n < 2:
    return math.nan, math.nan, math.nan
  x, y = float(np.mean(numerator)), float(np.mean(denominator))
  square = float(scipy.special.stdtrit(n - 1, 0.5 + confidence / 2)) ** 2 / n
  (xx, xy), (_, yy) = np.cov(numerator, denominator)
  a, b, c = y**2 - square * yy, x * y - square * xy, x**2 - square * xx
  if y <= 0 or a <= 0:
    return math.nan, math.nan, math.nan
  root = math.sqrt(max(b**2 - a * c, 0.0))
  return x / y, float((b - root) / a), float((b + root) / a)


def _product(x: np.ndarray, y: np.ndarray) -> float:
  """x @ y by NumPy's own sum: threads of a BLAS wait busily after each of many small products."""
  return float((x * y).sum())


def mean_of_shares(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
  """The mean of `values` [n], each in [0, 1], with an interval within [0, 1]: `ratio_of_means` to 1."""
  if not len(values):
    return math.nan, math.nan, math.nan
  return ratio_of_means(values, np.ones(len(values)), confidence, largest=1.0)


def mean_over_classes(
  right: np.ndarray, n: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
  """The plain mean of the classes' accuracies, with an interval about these classes: images are drawn.

  Args:
    right: int [classes], right decisions.
    n: int [classes], decisions, at least one of each class.
    confidence: of the interval, `interval_of_share`'s. Its variance is that of a stratified mean (Cochran
      1977, section 5.4); a class of one decision has the variance of one at the mean, which is the most that
      such classes have together.

  Returns:
    (mean, low, high), fractions; NaN without classes.
  """
  k = len(n)
  if not k:
    return math.nan, math.nan, math.nan
  p = right / n
  average = float(p.mean())
  variances = np.where(n > 1, p * (1 - p) / np.maximum(n - 1, 1), average * (1 - average))
  return average, *interval_of_share(average, float(variances.sum()) / k**2, float(n.sum()), confidence)


def mean_of_intervals(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float, float]:
  """The mean of independent estimates [k], from their intervals of equal confidence (Zou & Donner 2008).

  It is inside the intervals' own range: the mean of accuracies stays an accuracy.
  """
  value = float(np.mean(values))
  below, above = (math.sqrt(float(((values - edge) ** 2).sum())) / len(values) for edge in (low, high))
  return value, value - below, value + above


def _clustered(influence: np.ndarray, clusters: Sequence[np.ndarray]) -> tuple[float, int]:
  """(variance of influence.sum(), degrees of freedom) where examples of one cluster move together.

  One way, or two ways that cross (Cameron, Gelbach & Miller 2011, equation 2.8): the variance over the
  clusters of each, less the one over their cells. Not below that of either way alone, so that chance cannot
  make it small. The degrees of freedom are those of the way with fewer clusters.
  """

  def over(groups: np.ndarray) -> tuple[float, int]:
    numbered = (
      groups.dtype.kind == "i" and groups.min(initial=0) >= 0 and groups.max(initial=0) <= len(groups)
    )
    index = groups if numbered else np.unique(groups, return_inverse=True)[1]  # which sorts
    sums, k = np.bincount(index, influence), int(np.count_nonzero(np.bincount(index)))
    return (k / (k - 1) * _product(sums, sums) if k > 1 else 0.0), k

  ways = [over(groups) for groups in clusters]
  variance = sum(of for of, _ in ways)
  if len(clusters) == 2:
    _, cell = np.unique(np.stack(clusters, axis=1), axis=0, return_inverse=True)
    variance -= over(cell)[0]
  return max(variance, *(of for of, _ in ways)), min(k for _, k in ways) - 1


def bootstrap_means(outcomes: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
  """Column means of `outcomes`, bool or float [n, k], over rows drawn anew; float64 [resamples, k]."""
  n, rng = len(outcomes), np.random.default_rng(seed)
  exact = np.float32 if n < 2**24 else np.float64  # for sums of whole numbers up to n
  outcomes = outcomes.astype(exact)
  counts, times = np.empty((resamples, outcomes.shape[1])), np.empty((DRAWN_AT_ONCE, n), exact)
  for start in range(0, resamples, DRAWN_AT_ONCE):
    some = counts[start : start + DRAWN_AT_ONCE]
    for row in range(len(some)):
      times[row] = np.bincount(rng.integers(n, size=n), minlength=n)
    some[:] = times[: len(some)] @ outcomes
  return counts / n


def percentile_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
  """The bootstrap's percentile interval of `values` [n], as wide as holds that share of all of them.

  Those that are NaN, of resamples that leave the number undetermined, are in none: the interval holds the
  more of the others. NaN where these are fewer than it should hold.
  """
  known = values[~np.isnan(values)]
  if not len(known) or len(known) < confidence * len(values):
    return math.nan, math.nan
  half = confidence * len(values) / len(known) / 2
  low, high = np.quantile(known, [max(0.5 - half, 0.0), min(0.5 + half, 1.0)])
  return float(low), float(high)


def ratio_of_totals(
  numerator: np.ndarray,
  denominator: np.ndarray,
  clusters: Sequence[np.ndarray] = (),
  confidence: float = CONFIDENCE,
) -> tuple[float, float, float]:
  """sum(numerator) / sum(denominator), a share, with an interval over clusters.

  By linearisation (Cochran 1977, section 6.3) with the variance between clusters, which may cross two ways
  (`_clustered`), Student's t, and `interval_of_share`'s ends. Where there is no variance to see (nothing, or
  everything, is counted) there are as many independent decisions as there are clusters of the fewer kind.

  Args:
    numerator, denominator: float [n], numerator <= denominator, a row for each subject, or each decision.
    clusters: none, so that each row is a cluster; or one or two arrays [n] that say which cluster a row
      belongs to: the shape's and the texture's image of a stimulus, say.
    confidence: of the interval.

  Returns:
    (ratio, low, high) within [0, 1]; NaN where the denominator is zero. A single cluster is worth one
    decision; of a single row that is no cluster's there is no interval.
  """
  total = float(denominator.sum())
  if total == 0:
    return math.nan, math.nan, math.nan
  ratio = float(numerator.sum() / total)
  counted = denominator > 0
  ways = [of[counted] for of in clusters] or [np.arange(int(counted.sum()))]
  variance, df = _clustered((numerator - ratio * denominator)[counted] / total, ways)
  if df < 1:
    return ratio, *(_wilson(ratio, 1, _normal(confidence)) if clusters else (math.nan, math.nan))
  return ratio, *interval_of_share(ratio, variance, df + 1, confidence, df)


def difference_of_ratios(
  first: tuple[np.ndarray, np.ndarray],
  second: tuple[np.ndarray, np.ndarray],
  clusters: Sequence[np.ndarray] = (),
  confidence: float = CONFIDENCE,
) -> tuple[float, float, float]:
  """sum / sum of the first less that of the second, over the same examples, with an interval that knows it.

  For two networks on the same stimuli: shape biases (decisions for the shape, decisions for either), or
  accuracies (right, ones). Linearised and paired, with the variance between clusters and Student's t; to
  which one discordant example is added (in the manner of Agresti & Min 2005), so that two networks that
  answer alike have an interval too. Where examples differ mostly one way, a larger difference has a larger
  variance, as of a Poisson count, and the end beyond the difference is no nearer than Wilson's of one.

  Args:
    first, second: (numerator, denominator), each float [n], row by row the same examples.
    clusters: as in `ratio_of_totals`.
    confidence: of the interval.

  Returns:
    (difference, low, high), within [-1, 1] where no numerator is negative or beyond its denominator; NaN
    where a denominator is zero, no interval for a single cluster.
  """
  totals = [float(denominator.sum()) for _, denominator in (first, second)]
  if not all(totals):
    return math.nan, math.nan, math.nan
  ratios = [float(top.sum()) / total for (top, _), total in zip((first, second), totals, strict=True)]
  linear = [
    (top - ratio * bottom) / total
    for (top, bottom), ratio, total in zip((first, second), ratios, totals, strict=True)
  ]
  # What is right under a filter counts, where nothing is without it.
  counted = np.any([part != 0 for part in (*first, *second)], axis=0)
  ways = [of[counted] for of in clusters] or [np.arange(int(counted.sum()))]
  variance, df = _clustered((linear[0] - linear[1])[counted], ways)
  difference = ratios[0] - ratios[1]
  if df < 1:
    return difference, math.nan, math.nan
  t, one = float(scipy.special.stdtrit(df, 0.5 + confidence / 2)), 1 / math.sqrt(totals[0] * totals[1])
  half = t * math.sqrt(variance + one**2)
  changed = (first[0] / totals[0] - second[0] / totals[1])[counted]
  either, squares = float(np.abs(changed).sum()), _product(changed, changed)
  # By how much the variance grows with the difference: by a difference's size as far as they go one way, less
  # what the square of their mean takes away; and by as much more as examples of a cluster move together.
  one_way = abs(difference) / either if either > 1e-12 else 1.0
  alone = squares - difference**2 / len(changed)
  together = max(variance / alone, 1.0) if alone > 0 else 1.0
  growth = one_way * (squares + one**2) / (either + one) - 2 * abs(difference) / len(changed)
  grows = t**2 / 2 * together * max(growth, 0.0)
  beyond = max(half, grows + math.sqrt(grows**2 + t**2 * variance))
  down, up = (half, beyond) if difference > 0 else (beyond, half) if difference < 0 else (beyond, beyond)
  # A ratio to what is right on other occasions, accuracy under a filter to the clean one, may be beyond 1.
  shares = all((top >= 0).all() and (top <= bottom).all() for top, bottom in (first, second))
  most = 1.0 if shares else math.inf
  return difference, max(difference - down, -most), min(difference + up, most)


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
  first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE, draws: int = 2000
) -> tuple[float, float, float]:
  """`cohens_kappa` of who is right when: above 0, two observers err on the same trials more than by chance.

  Geirhos, Meding & Wichmann 2020. The interval is about these two observers, for other trials like these: the
  middle of what the shares of trials that both, either or neither are right in may be after Jeffreys' prior
  (half a trial each), drawn with a fixed seed. A bootstrap over trials (Klein et al. 2025) is the same where
  every share rests on many trials; where observers hardly err it holds the truth in 20 to 80 of 100 cases.

  Args:
    first, second: bool [n], whether each observer is right on the same n trials, all of one condition: trials
      of an easy and a hard one together agree because of what they have in common.
    confidence: of the interval.
    draws: of the shares.

  Returns:
    (kappa, low, high); NaN where chance alone explains everything (both always right, or both never).
  """
  cells = np.bincount(2 * first.astype(int) + second.astype(int), minlength=4)
  _, only_second, only_first, both = cells.tolist()
  kappa = float(cohens_kappa(*map(np.array, (both, both + only_first, both + only_second, len(first)))))
  if math.isnan(kappa):
    return math.nan, math.nan, math.nan
  _, only_second, only_first, both = np.random.default_rng(0).dirichlet(cells + 0.5, size=draws).T
  kappas = cohens_kappa(both, both + only_first, both + only_second, np.ones(draws))
  low, high = percentile_interval(kappas, confidence)
  return kappa, min(low, kappa), max(high, kappa)


def mean(
  values: np.ndarray, confidence: float = CONFIDENCE, clusters: np.ndarray | None = None
) -> tuple[float, float, float]:
  """The mean of `values` [n] with Student's t interval; NaN for n = 0, no interval for n = 1.

  Where all values are equal there is no variance to see. Zeros or ones are then counts, and have Wilson's
  interval; others have none. Nor has a mean that is infinite.

  Args:
    values: float [n].
    confidence: of the interval.
    clusters: [n], whose equal entries move together: the interval is over them, and n their number.
  """
  if not len(values):
    return math.nan, math.nan, math.nan
  average = float(np.mean(values, dtype=float))
  if not math.isfinite(average):
    return average, math.nan, math.nan
  if clusters is None:
    n = len(values)
    error = float(np.std(values, ddof=1, dtype=float)) / math.sqrt(n) if n > 1 else 0.0
  else:
    variance, df = _clustered((np.asarray(values, float) - average) / len(values), [clusters])
    n, error = df + 1, math.sqrt(variance)
  if n > 1 and error * math.sqrt(n) > 1e-12 * max(1.0, abs(average)):
    half = float(scipy.special.stdtrit(n - 1, 0.5 + confidence / 2)) * error
    return average, average - half, average + half
  if average in (0.0, 1.0):
    return average, *wilson(round(average * n), n, confidence)
  return average, math.nan, math.nan


def calibration_error(
  confidence_of: np.ndarray, right: np.ndarray, bins: int = 15, clusters: np.ndarray | None = None
) -> tuple[float, float, float]:
  """Expected calibration error (Guo et al. 2017): |confidence - accuracy| in bins of equal width, by size.

  The error is published as it is, and is too large: gaps of bins that are calibrated add up, too. The
  interval is of the error of all images like these, in these bins, and knows it (`_sizes_of`), and that some
  may be wrong (or right) where none is; where nothing tells how far a gap may be off, it is that of `mean`.

  Args:
    confidence_of: float [n], of each prediction, in (0, 1].
    right: bool [n], whether it is right.
    bins: how many.
    clusters: as in `mean`.

  Returns:
    (error, low, high) within [0, 1]; NaN for n = 0.
  """
  if not len(right):
    return math.nan, math.nan, math.nan
  # Bins are (0, 1/15], (1/15, 2/15], ...
  which = np.clip(np.ceil(confidence_of.astype(float) * bins).astype(int) - 1, 0, bins - 1)
  gap = confidence_of.astype(float) - right
  total = np.bincount(which, gap, bins)
  value, low, high = mean(np.sign(total)[which] * gap, clusters=clusters)
  group = np.arange(len(gap)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
  k, gaps = int(group.max()) + 1, total / len(gap)
  of_group = np.bincount(group * bins + which, gap, k * bins).reshape(k, bins)
  apart = (of_group - np.bincount(group)[:, None] * gaps) / len(gap)
  covariance = np.einsum("ki,kj->ij", apart, apart) * k / max(k - 1, 1)
  if k > 1 and math.isfinite(low) and covariance.trace() > 1e-24:
    # Where few are wrong, or right, how many tells their variance badly; where none is, as many may be as in
    # Wilson's interval.
    size, rights = np.bincount(which, minlength=bins), np.bincount(which, right, bins)
    few = np.minimum(rights, size - rights) * k / len(gap)
    covariance += np.diag((Z / k) ** 2 * size / len(gap) / (few + 1))
    critical = float(scipy.special.stdtrit(k - 1, 0.5 + CONFIDENCE / 2))
    low, high = _sizes_of(gaps, covariance, critical)
    high = max(high, value)
  return value, max(low, 0.0), min(high, 1.0)


def _sizes_of(gaps: np.ndarray, covariance: np.ndarray, critical: float) -> tuple[float, float]:
  """Between which the sum of absolute values of means may lie, where `gaps` were observed of these means.

  Those whose observed sum, which exceeds theirs since errors add to it whatever their sign, would be that of
  `gaps` to within `critical` standard errors, by the moments of normal distributions that are folded at 0. Of
  the means only the sum is asked: they are taken in proportion to all of `gaps`, and to those that are beyond
  `critical` standard errors; both ends are the further ones.

  Args:
    gaps: float [bins].
    covariance: float [bins, bins], of their errors.
    critical: half an interval in standard errors.
  """
  observed, variance = float(np.abs(gaps).sum()), np.diag(covariance)
  sd = np.sqrt(variance)
  between = covariance - np.diag(variance)

  def beyond(times: float, shape: np.ndarray, sign: int) -> float:
    means = times * shape
    ratio = np.divide(means, sd, out=np.zeros_like(means), where=sd > 0)
    slope = np.where(sd > 0, 1 - 2 * scipy.special.ndtr(-ratio), np.sign(means))  # of the absolute value
    sizes = math.sqrt(2 / math.pi) * sd * np.exp(-(ratio**2) / 2) + means * slope
    spread = float((means**2 + variance - sizes**2).sum() + slope @ between @ slope)
    return float(sizes.sum()) + sign * critical * math.sqrt(max(spread, 0.0)) - observed

  ends = []
  for shape in (gaps, np.where(np.abs(gaps) > critical * sd, gaps, 0.0)):
    size = float(np.abs(shape).sum())
    if size > 0:
      most = (observed + 10 * critical * float(sd.sum())) / size
      ends.append(
        [
          0.0
          if beyond(0.0, shape, sign) >= 0
          else size * float(scipy.optimize.brentq(beyond, 0.0, most, args=(shape, sign)))
          for sign in (1, -1)
        ]
      )
  if not ends:
    return 0.0, 0.0
  low, high = zip(*ends, strict=True)
  return min(low), max(high)


def spread_of_classes(
  right: np.ndarray, n: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
  """Standard deviation of accuracy between these classes, without what sampling of images adds to it.

  Args:
    right: int [classes], right decisions.
    n: int [classes], decisions; classes with fewer than two are left out.
    confidence: of the interval.

  Returns:
    (sd, low, high) as fractions: the square roots of the unbiased variance, and of its interval, normal with
    the error that the classes' own binomial errors make. 0 where sampling alone explains the differences; NaN
    for fewer than two classes.
  """
  counted = n > 1
  p, n = right[counted] / n[counted], n[counted]
  k = len(p)
  if k < 2:
    return math.nan, math.nan, math.nan
  # The variance of p around its mean, less the binomial variance of each p.
  of_each = p * (1 - p) / (n - 1)
  between = float(((p - p.mean()) ** 2).sum()) / (k - 1) - float(of_each.mean())
  # d between / d p, and what the squares of the errors add.
  if not of_each.any():  # all or none of each class are right, which does not say that it would always be so
    one_kind = (n + 0.5) / (n + 1)
    of_each = one_kind * (1 - one_kind) / n
  slope = 2 * (p - p.mean()) / (k - 1) - (1 - 2 * p) / (k * (n - 1))
  error = math.sqrt(float((slope**2 * of_each).sum() + 2 * (of_each**2).sum() / (k - 1) ** 2))
  half = _normal(confidence) * error
  value, low, high = (math.sqrt(max(edge, 0.0)) for edge in (between, between - half, between + half))
  return value, low, high
