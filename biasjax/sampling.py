"""What a random sample of images says of all of them, and when it says enough. NumPy and scipy only.

Design-based (Särndal, Swensson & Wretman 1992): the images are given, which are looked at is random. An order
at random, the same for all networks, is looked at from its beginning, so that samples are nested and
differences between networks are paired. What is cheap, the answers to the clean images, is known of all of
them and takes out of an average what it explains. Looks are taken at growing sizes; the probability of an
error is spent over them (Lan & DeMets 1983), so that intervals cover at whatever look one stops.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.statistics import CONFIDENCE, interval_of_share

LARGEST_STEP, SMALLEST_STEP = 256, 64  # images between two sizes at which looks can be taken
STEPS_IN_ALL = 100  # of a dataset, at least, where it is large enough
FIRST = 2  # steps before the first look
# The error probability is spent by where so many standard errors are within the margin; it is a little more
# than the 1.96 of a single look, since there were looks before.
LAST = 1.98
# Of that information, at most: what a look spends after which one goes on. It gave no interval, and what it
# would have spent is left for the next.
HELD = 0.8
FURTHER = 1.04  # times the information of a look that just missed is the next one planned for
AT_ONCE = 0.6  # of what is needed: where twice the images are more than that, what is needed is next
RARE = 30  # images of the rarer outcome below which no regression is fitted
NEGLIGIBLE = 1e-9  # a probability
POINTS = 48  # of the quadrature
HIGHEST_NLL = 10.0  # nats
SMALLEST_COMPONENT = 1e-3  # the variance, of columns of variance 1, of what is regressed on
RIDGE = 1e-3  # of the variance of a component


def order(names: Sequence[str], seed: int) -> np.ndarray:
  """The random order in which images are looked at: int [n], indices; by a keyed hash of each one's name.

  Whoever knows the names has the same order, and an image that is added changes nothing for the others.
  """

  def key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16, key=f"order {seed}".encode()).digest()

  keys = [key(name) for name in names]
  return np.array(sorted(range(len(keys)), key=lambda at: (keys[at], names[at])), np.int64)


def step(length: int) -> int:
  """Images between two sizes at which looks can be taken, of a dataset of `length`: a power of two."""
  found = SMALLEST_STEP
  while found < LARGEST_STEP and 2 * found * STEPS_IN_ALL <= length:
    found *= 2
  return found


def covariates(right: np.ndarray, confidence: np.ndarray, nll: np.ndarray) -> np.ndarray:
  """What averages are regressed on, float64 [images, 6]: of a network's answers to the clean images.

  A constant, whether it is right, its confidence, the product of both, the right class' probability and its
  negative log-likelihood (up to 10 nats).
  """
  right, confidence, nll = (np.asarray(of, float) for of in (right, confidence, nll))
  columns = (right, confidence, right * confidence, np.exp(-nll), np.minimum(nll, HIGHEST_NLL) / HIGHEST_NLL)
  return np.stack([np.ones(len(right)), *columns], axis=1)


class Known:
  """What is known of every image before any is sampled, as components that do not correlate.

  Args:
    values: float [all, k], `covariates` in the random order.

  Attributes:
    values: float64 [all, r], a constant and the principal components, of variance 1. What others all but tell
      is left out: a coefficient for it could be anything.
  """

  def __init__(self, values: np.ndarray):
    values = np.asarray(values, float)
    centred = values - values.mean(0)
    spread = centred.std(0)
    left, singular, _ = np.linalg.svd(centred[:, spread > 0] / spread[spread > 0], full_matrices=False)
    components = left[:, singular**2 > SMALLEST_COMPONENT * len(values)] * math.sqrt(len(values))
    self.values = np.concatenate([np.ones((len(values), 1)), components], axis=1)
    self._solved: dict[int, tuple[np.ndarray, float]] = {}

  def __len__(self) -> int:
    return len(self.values)

  def fit(self, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(coefficients, residuals of the outcomes of the first n, degrees of freedom).

    By least squares, with so little of a ridge that a component which the sample all but lacks counts for
    nothing. Residuals add up to 0; the first coefficient is the mean of what is predicted of all.
    """
    n = len(outcomes)
    mine = self.values[:n]
    if n not in self._solved:  # many conditions share it
      squares = mine.T @ mine
      ridge = RIDGE * n * np.eye(len(squares))
      ridge[0, 0] = 0
      inverse = np.linalg.inv(squares + ridge)
      self._solved[n] = inverse, float(np.trace(inverse @ squares))
    inverse, freedom = self._solved[n]
    coefficients = inverse @ (mine.T @ outcomes)
    return coefficients, outcomes - mine @ coefficients, freedom


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What a share over all images is estimated to be.

  Attributes:
    value: in [0, 1].
    variance: of it, about what all images would give; 0 where all were looked at.
    n: images looked at.
    of: all images.
    estimator: "mean", "regression" or "two-phase regression".
    correlation: of the outcome with what is predicted of it; 0 for "mean".
    unexplained: the variance of one image's outcome about what is predicted of it from what all have.
    parts: makes `predicted` and `errors`.
  """

  value: float
  variance: float
  n: int
  of: int
  estimator: str
  correlation: float
  unexplained: float
  parts: Callable[[], tuple[np.ndarray, np.ndarray]] = dataclasses.field(repr=False)

  @functools.cached_property
  def _parts(self) -> tuple[np.ndarray, np.ndarray]:
    predicted, errors = self.parts()
    return predicted - (float(predicted.mean()) - self.value), errors

  @property
  def predicted(self) -> np.ndarray:
    """Of each image, float64 [of], with the mean `value`."""
    return self._parts[0]

  @property
  def errors(self) -> np.ndarray:
    """Outcomes less what is predicted, times the images that each stands for; float64 [of], with the mean 0.

    0 for images that were not looked at.
    """
    return self._parts[1]

  @property
  def effective(self) -> float:
    """Of so many images, drawn likewise, the plain mean is as precise; at most all."""
    error = self.variance + self.unexplained / self.of
    return min(self.value * (1 - self.value) / error, float(self.of)) if error > 0 else float(self.n)

  def interval(self, critical: float) -> tuple[float, float]:
    """Within [0, 1], `critical` standard errors to each side, as Wilson's (`interval_of_share`)."""
    if self.n >= self.of:
      return self.value, self.value
    confidence = 1 - 2 * float(scipy.special.ndtr(-min(critical, 7.0)))
    most = 1 / (1 / self.n - 1 / self.of)
    return interval_of_share(self.value, self.variance, most, confidence)

  def half(self, critical: float) -> float:
    """The longer side of `interval`."""
    low, high = self.interval(critical)
    return max(self.value - low, high - self.value)

  def spread(self, critical: float) -> np.ndarray:
    """An outcome for each image, float64 [of]: as if all had been looked at, with the mean `value`.

    They spread so much that the usual interval of a mean (1.96 standard errors) holds what drawing all images
    anew does, and `critical` standard errors of what looking at a sample of them does.
    """
    wider = (critical / _z(1 - CONFIDENCE)) ** 2
    wanted = self.unexplained / self.of + wider * self.variance
    there = float(self.errors @ self.errors) / self.of**2
    return (
      self.predicted + (math.sqrt(wanted / there) if self.variance > 0 and there > 0 else 1.0) * self.errors
    )


def estimate(outcomes: np.ndarray, known: Known, further: np.ndarray | None = None) -> Estimate:
  """The mean over all images of what was observed of the first n in random order.

  By regression (Cochran 1977, section 7): what the covariates predict, by least squares, averaged over all
  images, with finite population correction. The plain mean, where regression does not pay: where residuals,
  by their degrees of freedom, spread no less, or where one outcome is rare.

  With `further` in two phases (Cochran 1977, section 12; Särndal, Swensson & Wretman 1992, section 9.7): what
  was observed of more images, though not of all, predicts the outcome for these.

  Args:
    outcomes: float [n], in [0, 1].
    known: of all.
    further: float [m, q], m >= n, covariates of the first m.
  """
  y = np.asarray(outcomes, float)
  n, of = len(y), len(known)
  average = float(y.mean())
  total = float(((y - average) ** 2).sum())
  rare = min(float(y.sum()), n - float(y.sum())) < RARE
  if n == of:
    return _estimate(y, of, average, 0.0, 0.0, "mean", y - average, total, lambda: (y, np.zeros(n)))
  spread = total / max(n - 1, 1)
  single = _estimate(
    *(y, of, average, spread * (1 / n - 1 / of), spread, "mean", y - average, total),
    lambda: (np.full(of, average), _standing_for([y - average], of)),
  )
  if rare:
    return single
  coefficients, residuals, freedom = known.fit(y)
  if n > freedom + 1 and (dispersion := _dispersion(residuals, freedom)) < spread:
    variance = dispersion * (1 / n - 1 / of)
    single = _estimate(
      *(y, of, float(coefficients[0]), variance, dispersion, "regression", residuals, total),
      lambda: (known.values @ coefficients, _standing_for([residuals], of)),
    )
  if further is None or len(further) <= n:
    return single
  many = len(further)
  both = Known(np.concatenate([known.values[:many, 1:], further], axis=1))
  coefficients_of_both, errors, freedom = both.fit(y)
  within = _dispersion(errors, freedom)
  of_guess, apart, freedom = known.fit(both.values @ coefficients_of_both)
  between = _dispersion(apart, freedom)
  variance = between * (1 / many - 1 / of) + within * (1 / n - 1 / of)
  if variance >= single.variance:
    return single
  return _estimate(
    *(y, of, float(of_guess[0]), variance, between + within, "two-phase regression", errors, total),
    lambda: (known.values @ of_guess, _standing_for([apart, errors], of)),
  )


def _standing_for(parts: Sequence[np.ndarray], of: int) -> np.ndarray:
  """Errors of the first images, [n] each, times the images that each stands for; float64 [of]."""
  every = np.zeros(of)
  for errors in parts:
    every[: len(errors)] += of / len(errors) * errors
  return every


def _dispersion(residuals: np.ndarray, freedom: float) -> float:
  """Variance of residuals, and what fitting the coefficients costs, to first order.

  As if one more image were judged otherwise than predicted: where a condition changes hardly an answer, a
  sample has few of those that it changes or none, and would seem to know more than it does (as Agresti & Min
  2005 add to discordant pairs).
  """
  n = len(residuals)
  return float(residuals @ residuals + 1) / (n - freedom) * (1 + (freedom - 1) / n)


def _estimate(y, of, mean, variance, unexplained, estimator, errors, total, parts) -> Estimate:
  explained = 1 - float(errors @ errors) / total if total and estimator != "mean" else 0.0
  return Estimate(
    value=min(max(mean, 0.0), 1.0),
    variance=variance,
    n=len(y),
    of=of,
    estimator=estimator,
    correlation=math.sqrt(max(explained, 0.0)),
    unexplained=unexplained,
    parts=parts,
  )


def obrien_fleming(time: float, alpha: float = 1 - CONFIDENCE) -> float:
  """What of the error probability is spent at a share `time` of the information (Lan & DeMets 1983).

  So that little is spent early: 2 - 2 Phi(z / sqrt(time)) on each side, half of `alpha` in all.
  """
  return 4 * float(scipy.special.ndtr(-_z(alpha / 2) / math.sqrt(time)))


def _z(alpha: float) -> float:
  return float(-scipy.special.ndtri(alpha / 2))


@functools.lru_cache(maxsize=4096)
def critical_values(information: tuple[float, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
  """How many standard errors are half an interval at each look; inf where nothing is spent.

  Two-sided, so that the probability that any interval up to a look misses is what is spent by then (Armitage,
  McPherson & Rowe 1969; Lan & DeMets 1983): the estimates move like a Brownian motion in information, whose
  density between the bounds is integrated from look to look.

  Args:
    information: 1 / variance at each look, growing, in any unit.
    spent: of the error probability, by each look, not falling.
  """
  nodes, weights = np.polynomial.legendre.leggauss(POINTS)
  bounds, before, density, at, passed = [], 0.0, np.ones(1), np.zeros(1), 0.0
  for now, total in zip(information, spent, strict=True):
    if total - passed < NEGLIGIBLE:
      bounds.append(math.inf)
      continue
    apart = math.sqrt(now - before)
    scale = math.sqrt(now)

    def beyond(bound, apart=apart, scale=scale, density=density, at=at):
      below, above = ((sign * at - bound * scale) / apart for sign in (-1, 1))
      return float(density @ (scipy.special.ndtr(below) + scipy.special.ndtr(above)))

    left = total - passed
    bound = float(scipy.optimize.brentq(lambda at_bound, left=left: beyond(at_bound) - left, 0.0, 8.0))
    bounds.append(bound)
    points = nodes * bound * scale
    kernel = np.exp(-0.5 * ((points[:, None] - at[None]) / apart) ** 2) / (apart * math.sqrt(2 * math.pi))
    density = weights * bound * scale * (kernel @ density)
    at, before, passed = points, now, total
  return tuple(bounds)


@dataclasses.dataclass
class Watch:
  """Looks at one average until it is known to a margin.

  Where the next look is, and whether one stops, depends on how precise estimates are, not on what they say.

  Attributes:
    margin: half the width wanted of the interval, a fraction.
    length: images in all.
    at: how many are to have been looked at by the next look.
    done: whether it is known.
    critical: of the last look, standard errors that half the interval has.
  """

  margin: float
  length: int
  at: int = 0
  done: bool = False
  critical: float = math.inf
  _information: tuple[float, ...] = ()
  _spent: tuple[float, ...] = ()

  def __post_init__(self):
    self.at = self.at or min(FIRST * step(self.length), self.length)

  def look(self, found: Estimate) -> None:
    """Takes note of the estimate from the first `at` images."""
    if self.at >= self.length or found.n >= found.of:
      self.done, self.critical = True, 0.0
      return
    half = found.half(LAST)
    information = (self.margin / half) ** 2
    if information > (self._information[-1] if self._information else 0.0):  # else it tells nothing new
      spent = (*self._spent, obrien_fleming(min(information, 1.0)))
      self.critical = critical_values((*self._information, information), spent)[-1]
      self.done = self.critical < math.inf and found.half(self.critical) <= self.margin
      if self.done:
        return
      self._information += (information,)
      self._spent += (obrien_fleming(min(information, HELD)),)
    self.at = min(self._next(found, information), self.length)

  def _next(self, found: Estimate, information: float) -> int:
    """Images that are needed, or twice as many as now where those are far off; in whole steps."""
    planned = max(1.0, FURTHER * information)
    apart = 1 / found.n - 1 / found.of
    enough = 1 / (1 / found.of + apart * information / planned)
    wanted = math.ceil(self.at / found.n * (2 * found.n if 2 * found.n < AT_ONCE * enough else enough))
    each = step(self.length)
    return max(-(-wanted // each) * each, self.at + each)


def most(length: int, margin: float) -> int:
  """Images that a sample has in the worst case, about: half of them are right, and nothing predicts which.

  Args:
    length: images in all.
    margin: a fraction.
  """
  enough = 1 / (1 / length + (margin / LAST) ** 2 / 0.25)
  each = step(length)
  return min(max(-(-math.ceil(enough) // each), FIRST) * each, length)
