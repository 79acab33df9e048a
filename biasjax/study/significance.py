"""How surprising a rank correlation would be if there were none: permutations, exact p, multiplicity."""

import bisect
import functools
import math

import numpy as np
import scipy  # its modules are loaded where they are first used, which takes a second

ALPHA = 0.05
# With fewer models even a perfect order is reached by chance in more than 5 % of all orders (2 / 4! = .083).
MIN_MODELS = 5
CHUNK = 2**18  # numbers that one step holds: few enough for a core's own memory
# Orders for each hypothesis that is corrected for, so that after Holm the smallest p can be .01.
ORDERS_A_CELL = 100
EXACT = 10  # models up to which the distribution is enumerated; beyond, a series that is as good


def permutation_p(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
  """Two-sided p of the dot products of centred columns, from orders of y's rows.

  Args:
    x: float [n, v], columns centred (within blocks, if the orders keep to them).
    y: float [n, w], likewise.
    orders: int [orders, n], of `resampling.permutations`. If the first is the identity, all orders are there
      and p is exact; else it is (1 + as extreme) / (1 + orders) (Phipson & Smyth 2010).

  Returns:
    float [v, w].
  """
  observed = np.abs(x.T @ y)
  extreme = np.zeros(observed.shape, int)
  for products in _shuffled(x, y, orders):
    extreme += (np.abs(products) >= (observed - 1e-9 * (1 + observed))[:, None]).sum(axis=1)
  return _share(extreme, orders)


def partial_p(x: np.ndarray, y: np.ndarray, given: np.ndarray, orders: np.ndarray) -> np.ndarray:
  """Two-sided p of the partial correlations of x with y given a third variable.

  What `given` leaves of y is shuffled and added to what it explains, and the partial correlation computed
  again (Freedman & Lane 1983): exact only where what is left is exchangeable.

  Args:
    x: float [n, v], columns centred, what a least-squares fit on `given` leaves of them.
    y: float [n, w], likewise.
    given: float [n], centred.
    orders: int [orders, n], of `resampling.permutations`.

  Returns:
    float [v, w].
  """
  direction = (given / math.sqrt(float(given @ given)))[:, None]
  norms = np.sqrt((x**2).sum(axis=0))[:, None]
  left = np.sqrt((y**2).sum(axis=0))
  observed = np.abs(x.T @ y) / (norms * left)
  extreme = np.zeros(observed.shape, int)
  for products in _shuffled(np.concatenate([x, direction], axis=1), y, orders):
    # A shuffled rest is no longer free of `given`, which is taken out of it again.
    rest = np.sqrt(np.maximum(left**2 - products[-1] ** 2, 1e-12 * left**2))
    shuffled = np.abs(products[:-1]) / (norms[:, None] * rest)
    extreme += (shuffled >= observed[:, None] - 1e-9).sum(axis=1)
  return _share(extreme, orders)


def _shuffled(x: np.ndarray, y: np.ndarray, orders: np.ndarray):
  """x.T @ y[order] for some orders at a time. float [v, orders, w]."""
  n, width = y.shape
  step = max(1, CHUNK // (max(n, 1) * max(width, 1)))
  for start in range(0, len(orders), step):
    taken = np.take(y.T, orders[start : start + step], axis=1)  # [w, orders, n]
    yield np.moveaxis(taken @ x, (0, 1, 2), (2, 1, 0))


def _share(extreme: np.ndarray, orders: np.ndarray) -> np.ndarray:
  exact = np.array_equal(orders[0], np.arange(orders.shape[1]))
  return extreme / len(orders) if exact else (1 + extreme) / (1 + len(orders))


def smallest_significant(n: int) -> float:
  """The smallest |Spearman| that reaches p < .05 with n models whose values all differ; NaN where none does.

  From the exact distribution over all n! orders up to 10 models; beyond, from the Edgeworth series of Best &
  Roberts (1975, algorithm AS 89), which agrees with published tables to three decimals.
  """
  if n < MIN_MODELS:
    return math.nan
  largest = n * (n * n - 1) // 3  # the sum of squared differences of the reversed order
  sums = range(0, largest // 2, 2)  # of squared differences; they are even
  below = _exact_below(n).__getitem__ if n <= EXACT else functools.partial(_edgeworth_below, n)
  last = bisect.bisect_left(sums, ALPHA, key=lambda total: 2 * below(total)) - 1
  return 1 - 2 * sums[last] / largest


@functools.cache
def _exact_below(n: int) -> np.ndarray:
  """The share of all orders whose sum of squared rank differences is at most 0, 1, 2, ..."""
  largest = n * (n * n - 1) // 3
  # {places that are taken (bits): how many ways there are to each sum}, model by model.
  ways = {0: np.bincount([0], minlength=largest + 1)}
  for i in range(n):
    longer: dict[int, np.ndarray] = {}
    for taken, counts in ways.items():
      for j in range(n):
        if not taken >> j & 1:
          into = longer.setdefault(taken | 1 << j, np.zeros(largest + 1, int))
          into[(i - j) ** 2 :] += counts[: largest + 1 - (i - j) ** 2]
    ways = longer
  return np.cumsum(ways[2**n - 1]) / math.factorial(n)


def _edgeworth_below(n: int, total: int) -> float:
  """P(sum of squared rank differences <= total), by AS 89; the distribution is symmetric."""
  largest, b = n * (n * n - 1) // 3, 1 / n
  x = (6 * (largest - total - 1) * b / (n * n - 1) - 1) * math.sqrt(n - 1)
  y = x**2
  inner = 0.0879 + 0.0151 * b - y * (0.0072 - 0.0831 * b + y * b * (0.0131 - 4.6e-4 * y))
  middle = -0.0758 + b * (0.1033 + 0.3932 * b) - y * b * inner
  u = x * b * (0.2274 + b * (0.2531 + 0.1745 * b) + y * middle)
  return min(max(u / math.exp(y / 2) + float(scipy.special.ndtr(-x)), 0.0), 1.0)


def holm(p: np.ndarray) -> np.ndarray:
  """Holm's adjusted p (1979): the chance of any false finding is kept. NaN stays NaN and is not counted."""
  return _adjust(p, _holm)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
  """Benjamini and Hochberg's adjusted p (1995): the share of false findings is kept. NaN as in `holm`."""
  return _adjust(p, scipy.stats.false_discovery_control)


def _holm(p: np.ndarray) -> np.ndarray:
  order = np.argsort(p)
  stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
  adjusted = np.empty(len(p))
  adjusted[order] = np.minimum(stepped, 1)
  return adjusted


def _adjust(p: np.ndarray, method) -> np.ndarray:
  adjusted, known = np.full(len(p), np.nan), np.isfinite(p)
  if known.any():
    adjusted[known] = method(np.asarray(p)[known])
  return adjusted
