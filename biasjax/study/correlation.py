"""Rank correlation, and how sure one can be of it: intervals, permutation, multiplicity.

A bootstrap resample is a weight for each model (how often it was drawn), so that all resamples are ranked at
once by cumulative sums over one ordering, without sorting any of them.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats

from biasjax.statistics import CONFIDENCE

# With fewer models even a perfect order is reached by chance in more than 5 % of all orders (2 / 4! = .083).
MIN_MODELS = 5
ALPHA = 0.05
CHUNK = 2**22  # numbers that one step of the bootstrap holds


def midranks(values: np.ndarray) -> np.ndarray:
  """Ranks from 1, ties sharing their mean. float [n] -> float [n]."""
  return scipy.stats.rankdata(values)


def weighted_midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """The midrank that each model has in a sample which holds it `weights` times.

  Args:
    values: float [n].
    weights: [draws, n], how often each is in the sample.

  Returns:
    float [draws, n]; a model that is not in the sample has a rank all the same, and weight 0.
  """
  distinct, which = np.unique(values, return_inverse=True)
  if len(distinct) == len(values):
    counts = weights[:, np.argsort(values)]
  else:
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(distinct)))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
  ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
  return ranks[:, which]


def _unit(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """[draws, n], scaled so that a weighted correlation is a plain dot product; NaN if constant."""
  total = weights.sum(axis=1, keepdims=True)
  centred = values - (weights * values).sum(axis=1, keepdims=True) / total
  scaled = np.sqrt(weights) * centred
  norm = np.sqrt((scaled**2).sum(axis=1, keepdims=True))
  with np.errstate(invalid="ignore"):
    return np.where(norm > 1e-9, scaled / np.where(norm > 1e-9, norm, 1), np.nan)


def spearman_draws(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Spearman's correlation of every column of x with every column of y in each weighted sample.

  Args:
    x: float [n, v].
    y: float [n, w].
    weights: [draws, n].

  Returns:
    float [draws, v, w]; NaN where a sample holds only one distinct value.
  """
  n = len(x)
  step = max(1, CHUNK // (n * (x.shape[1] + y.shape[1])))
  parts = []
  for start in range(0, len(weights), step):
    w = weights[start : start + step].astype(float)
    ux = np.stack([_unit(weighted_midranks(column, w), w) for column in x.T], axis=1)
    uy = np.stack([_unit(weighted_midranks(column, w), w) for column in y.T], axis=2)
    parts.append(ux @ uy)
  return np.clip(np.concatenate(parts), -1, 1)


def resamples(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
  """How often each of n models is in each bootstrap sample. int [draws, n]."""
  return rng.multinomial(n, np.full(n, 1 / n), size=draws)


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
  bias = scipy.stats.norm.ppf(below)
  z = scipy.stats.norm.ppf([0.5 - confidence / 2, 0.5 + confidence / 2])
  levels = scipy.stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
  low, high = np.quantile(draws, levels)
  return float(low), float(high)


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


def permutation_p(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
  """Two-sided p of the dot products of centred columns, from orders of y's rows.

  Args:
    x: float [n, v], columns centred (within blocks, if the orders keep to them).
    y: float [n, w], likewise.
    orders: int [orders, n], of `permutations`. If the first is the identity, all orders are there and p is
      exact; else it is (1 + as extreme) / (1 + orders) (Phipson & Smyth 2010).

  Returns:
    float [v, w].
  """
  observed = np.abs(x.T @ y)
  tolerance = 1e-9 * (1 + observed)
  step = max(1, CHUNK // (len(x) * y.shape[1]))
  extreme = np.zeros(observed.shape, int)
  for start in range(0, len(orders), step):
    products = np.einsum("nv,bnw->bvw", x, y[orders[start : start + step]], optimize=True)
    extreme += (np.abs(products) >= observed - tolerance).sum(axis=0)
  exact = np.array_equal(orders[0], np.arange(len(x)))
  return extreme / len(orders) if exact else (1 + extreme) / (1 + len(orders))


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


def tied(values: np.ndarray) -> int:
  """How many models share their value with another one."""
  _, counts = np.unique(values, return_counts=True)
  return int(counts[counts > 1].sum())


def smallest_significant(n: int) -> float:
  """The smallest |Spearman| that reaches p < .05 with n models, by Student's t; NaN below three."""
  if n < 3:
    return math.nan
  t = scipy.stats.t.ppf(1 - ALPHA / 2, n - 2)
  return float(t / math.sqrt(n - 2 + t**2))


def plain(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
  """Spearman, Pearson and Kendall's tau-b with two-sided p, by scipy; NaN if a column is constant."""
  names = ("spearman", "p", "pearson", "pearson_p", "kendall", "kendall_p")
  if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
    return dict.fromkeys(names, math.nan)
  tests: Any = (scipy.stats.spearmanr, scipy.stats.pearsonr, scipy.stats.kendalltau)
  results = [test(x, y) for test in tests]
  return dict(zip(names, (float(v) for r in results for v in (r.statistic, r.pvalue)), strict=True))


def spearman(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Spearman's correlation and its two-sided p over the models that have both values; NaN if undefined."""
  both = np.isfinite(x) & np.isfinite(y)
  x, y = x[both], y[both]
  if len(x) < MIN_MODELS or np.ptp(x) == 0 or np.ptp(y) == 0:
    return math.nan, math.nan
  # Written out, since scipy's own takes ten times as long and is asked thousands of times.
  rx, ry = midranks(x) - (len(x) + 1) / 2, midranks(y) - (len(y) + 1) / 2
  r = min(max(float(rx @ ry) / math.sqrt(float(rx @ rx) * float(ry @ ry)), -1.0), 1.0)
  if 1 - abs(r) < 1e-12:
    return r, 0.0
  t = r * math.sqrt((len(x) - 2) / (1 - r**2))
  return r, float(2 * scipy.special.stdtr(len(x) - 2, -abs(t)))


def cells(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  groups: Mapping[str, np.ndarray],
  draws: int,
  rng: np.random.Generator,
) -> pd.DataFrame:
  """Every bias against every axis in every group.

  Args:
    biases, axes: float, a row for each model; NaN where a value is missing.
    groups: {name: bool [models]}.
    draws: bootstrap resamples and permutations.
    rng: the source of both.

  Returns:
    A row for each cell, ordered by bias, axis and group: `bias, axis, group, n, missing, ties_bias,
    ties_axis, spearman, p, pearson, pearson_p, kendall, kendall_p, low, high, p_permutation, p_holm, p_bh,
    reason`. low and high are Spearman's 95 % BCa interval; the adjusted p are over all the cells here that
    have one; reason says why a number is missing.
  """
  rows = {}
  for group, members in groups.items():
    # Cells whose models are the same share resamples, so that their intervals can be held side by side.
    for chosen, pairs in by_models(biases, axes, members):
      for (bias, axis), row in _cells_of(biases[chosen], axes[chosen], pairs, draws, rng).items():
        missing = int(members.sum() - chosen.sum())
        rows[bias, axis, group] = {"bias": bias, "axis": axis, "group": group, "missing": missing} | row
  order = itertools.product(biases.columns, axes.columns, groups)
  table = pd.DataFrame([rows[key] for key in order], columns=COLUMNS)
  table["p_holm"] = holm(table["p"].to_numpy(float))
  table["p_bh"] = benjamini_hochberg(table["p"].to_numpy(float))
  return table


COLUMNS = [
  *("bias", "axis", "group", "n", "missing", "ties_bias", "ties_axis", "spearman", "p"),
  *(
    "pearson",
    "pearson_p",
    "kendall",
    "kendall_p",
    "low",
    "high",
    "p_permutation",
    "p_holm",
    "p_bh",
    "reason",
  ),
]


def by_models(
  biases: pd.DataFrame, axes: pd.DataFrame, members: np.ndarray
) -> list[tuple[np.ndarray, list[tuple[str, str]]]]:
  """Pairs (bias, axis) gathered by the models of `members` that have both values: (bool [models], pairs)."""
  gathered: dict[bytes, list[tuple[str, str]]] = {}
  for bias, axis in itertools.product(biases.columns, axes.columns):
    both = members & np.isfinite(biases[bias].to_numpy()) & np.isfinite(axes[axis].to_numpy())
    gathered.setdefault(both.tobytes(), []).append((bias, axis))
  return [(np.frombuffer(key, bool), pairs) for key, pairs in gathered.items()]


def _cells_of(
  biases: pd.DataFrame, axes: pd.DataFrame, pairs: list[tuple[str, str]], draws: int, rng: np.random.Generator
) -> dict[tuple[str, str], dict]:
  """The cells `pairs`, whose models are all the same ones."""
  n = len(biases)
  if n < MIN_MODELS:
    reason = f"{n} models: with fewer than {MIN_MODELS} even a perfect order can be chance"
    return {pair: {"n": n, "ties_bias": 0, "ties_axis": 0, "reason": reason} for pair in pairs}
  names_x, names_y = (list(dict.fromkeys(names)) for names in zip(*pairs, strict=True))
  x, y = biases[names_x].to_numpy(), axes[names_y].to_numpy()
  weights = np.concatenate([resamples(n, draws, rng), 1 - np.eye(n, dtype=int)])
  sampled = spearman_draws(x, y, weights)
  ranks_x, ranks_y = (np.stack([midranks(c) for c in v.T], axis=1) for v in (x, y))
  orders = permutations(np.zeros(n, int), draws, rng)
  p = permutation_p(ranks_x - ranks_x.mean(axis=0), ranks_y - ranks_y.mean(axis=0), orders)
  rows = {}
  for bias, axis in pairs:
    i, j = names_x.index(bias), names_y.index(axis)
    row = {"n": n, "ties_bias": tied(x[:, i]), "ties_axis": tied(y[:, j]), **plain(x[:, i], y[:, j])}
    if math.isnan(row["spearman"]):
      row["reason"] = f"{bias if np.ptp(x[:, i]) == 0 else axis} is the same for all {n} models"
    else:
      row["p_permutation"] = float(p[i, j])
      row["low"], row["high"] = bca(row["spearman"], sampled[:draws, i, j], sampled[draws:, i, j])
      if math.isnan(row["low"]):
        row["reason"] = "no interval: resampling these models does not change their order"
    rows[bias, axis] = row
  return rows
