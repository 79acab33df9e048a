"""How the models might have been others: bootstrap samples of models and of families, and orders by chance.

A bootstrap sample is a weight for each model: how often it was drawn.
"""

import functools
import itertools
import math

import numpy as np
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.statistics import CONFIDENCE, percentile_interval

KEPT = 8  # samples of so many sets of models are at hand at a time


class Resampling:
  """Samples and orders of n models, the same ones wherever n models are asked about.

  What is drawn depends on the seed, on what is drawn, and on nothing that was drawn before.

  Args:
    draws: how many samples, and how many orders (all of them, where those are fewer).
    seed: of the generator.
  """

  def __init__(self, draws: int, seed: int):
    self.draws, self._seed = draws, seed
    kept = functools.lru_cache(maxsize=KEPT)
    self._models, self._families, self._orders = (
      kept(self._draw_models),
      kept(self._draw_families),
      kept(self._draw_orders),
    )

  def _rng(self, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([self._seed, *purpose])

  def models(self, n: int) -> np.ndarray:
    """How often each of n models is in each sample. int [draws, n]."""
    return self._models(n)

  def _draw_models(self, n: int) -> np.ndarray:
    return _small(self._rng(0, n).multinomial(n, np.full(n, 1 / n), size=self.draws))

  def families(self, category: np.ndarray) -> np.ndarray | None:
    """How often each model is in samples of families: categories drawn again, then models in each.

    Each time that a category is drawn, as many of its models are drawn as it has, with replacement: the
    two-stage bootstrap of clusters (Davison & Hinkley 1997, section 3.8). Samples of one model alone, which
    can tell nothing, are left out.

    Args:
      category: [n], of each model.

    Returns:
      int [draws or fewer, n]; None where all models are of one category.
    """
    _, blocks = np.unique(category.astype(str), return_inverse=True)
    return self._families(tuple(blocks.tolist())) if blocks.size and blocks.max() else None

  def _draw_families(self, blocks: tuple[int, ...]) -> np.ndarray:
    of = np.array(blocks)
    sizes = np.bincount(of)
    rng = self._rng(1, *sizes.tolist())
    weights = np.empty((self.draws, len(of)), int)
    chosen = _equal_chances(len(sizes), self.draws, rng)
    for block, size in enumerate(sizes):
      weights[:, of == block] = rng.multinomial(chosen[:, block] * size, np.full(size, 1 / size))
    return _small(weights[(weights > 0).sum(axis=1) > 1])

  def orders(self, n: int, least: int = 0) -> np.ndarray:
    """Orders of n models, `least` or more. int [orders, n], as `permutations` returns them."""
    return self.within(np.zeros(n, int), least)

  def within(self, blocks: np.ndarray, least: int = 0) -> np.ndarray:
    """Orders in which each model stays within its block. int [orders, n], as `permutations` returns them."""
    return self._orders(tuple(blocks.tolist()), max(self.draws, least))

  def _draw_orders(self, blocks: tuple[int, ...], draws: int) -> np.ndarray:
    of = np.array(blocks, int)
    return _small(permutations(of, draws, self._rng(2, len(of), *np.bincount(of).tolist())))


def _equal_chances(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
  """How often each of n is in samples of n with replacement. int [draws, n].

  Where there are fewer different samples than draws, each comes as often as it is likely to, give or take
  one: of 7 families this halves what chance does to the end of an interval.
  """
  if math.comb(2 * n - 1, n) > draws:
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)
  different = np.array(list(itertools.combinations_with_replacement(range(n), n)))
  counts = (different[:, :, None] == np.arange(n)).sum(axis=1)
  chances = scipy.stats.multinomial.pmf(counts, n, np.full(n, 1 / n))
  places = (np.arange(draws) + rng.random()) / draws * chances.sum()
  return counts[np.minimum(np.searchsorted(np.cumsum(chances), places), len(counts) - 1)]


def _small(numbers: np.ndarray) -> np.ndarray:
  """The same numbers in fewer bytes."""
  return numbers.astype(np.int16 if numbers.size and numbers.max() < 2**15 else np.int32)


def permutations(blocks: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
  """Orders of n models, each model staying within its block; all of them where they are few.

  Args:
    blocks: int [n], whose equal entries may be exchanged.
    draws: how many orders, where all of them would be more.
    rng: the source of randomness.

  Returns:
    int [orders, n]. Where all orders fit into `draws`, each once, the identity first.
  """
  _, sizes = np.unique(blocks, return_counts=True)
  members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
  if math.prod(math.factorial(min(int(s), 12)) for s in sizes) <= draws:
    orders = []
    for choice in itertools.product(*(itertools.permutations(m) for m in members)):
      order = np.empty(len(blocks), int)
      order[np.concatenate(members)] = np.concatenate(choice)
      orders.append(order)
    return np.array(orders)
  keys = rng.random((draws, len(blocks)))
  result = np.empty((draws, len(blocks)), int)
  for m in members:
    result[:, m] = m[np.argsort(keys[:, m], axis=1)]
  return result


def bca(
  estimate: float, draws: np.ndarray, jackknife: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float]:
  """Efron's bias-corrected and accelerated interval (Efron 1987, "Better Bootstrap Confidence Intervals").

  Args:
    estimate: of the whole sample.
    draws: float [draws], of resamples; NaN draws are left out.
    jackknife: float [n], with each model left out in turn.
    confidence: of the interval.

  Returns:
    (low, high); NaN where the draws do not vary, or the estimate lies beyond all of them, or leaving one
    model out makes the statistic undefined.
  """
  draws = draws[np.isfinite(draws)]
  if len(draws) < 100 or not np.isfinite(estimate) or not np.isfinite(jackknife).all():
    return math.nan, math.nan
  below = (np.mean(draws < estimate - 1e-12) + np.mean(draws <= estimate + 1e-12)) / 2
  deviations = jackknife.mean() - jackknife
  spread = float(deviations @ deviations)
  if not 0 < below < 1 or spread < 1e-20 or np.ptp(draws) < 1e-12:
    return math.nan, math.nan
  acceleration = float((deviations**3).sum()) / (6 * spread**1.5)
  bias = scipy.special.ndtri(below)
  z = scipy.special.ndtri([0.5 - confidence / 2, 0.5 + confidence / 2])
  levels = scipy.special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
  low, high = np.quantile(draws, levels)
  return float(low), float(high)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
  """The bootstrap's 95 % percentile interval of draws [draws]; NaN where none is defined, or none differ.

  A sample in which a bias or an axis does not vary shows no relation, and counts as 0. To leave such samples
  out would be to take it for sure that families differ: of two families, each of one value, those that are
  left hold both, and always tell the same.

  Of samples of families it is this one that keeps what it promises: where families differ and nothing is
  related it leaves out zero in 2 to 8 of 100 cases with 2 to 20 families, BCa in 18 (benchmarks/families.py).
  """
  defined = np.isfinite(draws)
  if not defined.any() or np.ptp(draws[defined]) < 1e-12:
    return math.nan, math.nan
  return percentile_interval(np.where(defined, draws, 0.0))
