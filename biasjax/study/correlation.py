"""Rank correlation, and how sure one can be of it.

A bootstrap sample is a weight for each model (how often it was drawn), so that all samples are ranked at once
by cumulative sums over one ordering, without sorting any of them.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.messages import counted
from biasjax.study.resampling import Resampling, bca, percentiles
from biasjax.study.significance import (
  MIN_MODELS,
  ORDERS_A_CELL,
  benjamini_hochberg,
  holm,
  permutation_p,
)

CHUNK = 2**20  # numbers that one step of the bootstrap holds


def midranks(values: np.ndarray) -> np.ndarray:
  """Ranks from 1 down each column, ties sharing their mean. float [n, ...] -> float [n, ...]."""
  return scipy.stats.rankdata(values, axis=0)


def centred_midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """The midrank that each model has in a sample which holds it `weights` times, less the ranks' mean.

  Args:
    values: float [n].
    weights: [draws, n], how often each is in the sample.

  Returns:
    float [draws, n]; a model that is not in the sample has a rank all the same, and weight 0.
  """
  distinct, which = np.unique(values, return_inverse=True)
  order = np.argsort(which, kind="stable")
  counts = weights[:, order]
  if len(distinct) < len(values):
    starts = np.searchsorted(which[order], np.arange(len(distinct)))
    counts = np.add.reduceat(counts, starts, axis=1)
  ranks = np.cumsum(counts, axis=1, dtype=float)
  half = ranks[:, -1:] / 2
  ranks -= counts / 2
  ranks -= half
  return ranks[:, which]


def _unit(values: np.ndarray, weights: np.ndarray, roots: np.ndarray) -> np.ndarray:
  """Ranks [draws, n], scaled so that a weighted correlation is a plain dot product; NaN if constant.

  Args:
    values: float [n].
    weights: float [draws, n].
    roots: of the weights.
  """
  scaled = centred_midranks(values, weights)
  scaled *= roots
  norm = np.sqrt(np.einsum("dn,dn->d", scaled, scaled))
  scaled /= np.where(norm > 1e-9, norm, np.nan)[:, None]
  return scaled


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
    roots = np.sqrt(w)
    ux = np.stack([_unit(column, w, roots) for column in x.T])
    uy = ux if y is x else np.stack([_unit(column, w, roots) for column in y.T])
    parts.append(np.einsum("vdn,wdn->dvw", ux, uy, optimize=True))
  return np.clip(np.concatenate(parts), -1, 1)


def tied(values: np.ndarray) -> int:
  """How many models share their value with another one."""
  _, counts = np.unique(values, return_counts=True)
  return int(counts[counts > 1].sum())


def spearman(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Spearman's correlation and Student's two-sided p over the models that have both values; NaN if undefined.

  For few models that p is too small, 0 for a perfect order: `tested` has the one to go by.
  """
  both = np.isfinite(x) & np.isfinite(y)
  x, y = x[both], y[both]
  if len(x) < MIN_MODELS or np.ptp(x) == 0 or np.ptp(y) == 0:
    return math.nan, math.nan
  return _pearson(midranks(x), midranks(y))


def _pearson(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Pearson's correlation with Student's two-sided p."""
  # Written out, since scipy's own takes ten times as long and is asked hundreds of times.
  x, y = x - x.mean(), y - y.mean()
  r = min(max(float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)), -1.0), 1.0)
  if 1 - abs(r) < 1e-12:
    return r, 0.0
  t = r * math.sqrt((len(x) - 2) / (1 - r**2))
  return r, float(2 * scipy.special.stdtr(len(x) - 2, -abs(t)))


def plain(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
  """Spearman, Pearson and Kendall's tau-b with textbook two-sided p; NaN if one is constant."""
  names = ("spearman", "p", "pearson", "pearson_p", "kendall", "kendall_p")
  if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
    return dict.fromkeys(names, math.nan)
  kendall: Any = scipy.stats.kendalltau(x, y)
  values = (*_pearson(midranks(x), midranks(y)), *_pearson(x, y), kendall.statistic, kendall.pvalue)
  return dict(zip(names, map(float, values), strict=True))


Related = tuple[float, float]  # a correlation, its two-sided permutation p; NaN where undefined


def ranked(frame: pd.DataFrame, chosen: np.ndarray, names: Iterable[str]) -> pd.DataFrame:
  """Centred midranks of the chosen models (bool [models]) in the columns `names`, each column once."""
  columns = list(dict.fromkeys(names))
  ranks = midranks(frame.loc[chosen, columns].to_numpy())
  return pd.DataFrame(ranks - ranks.mean(axis=0), columns=columns)


def ranked_pairs(
  biases: pd.DataFrame, axes: pd.DataFrame, chosen: np.ndarray, pairs: Iterable[tuple[str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
  """`ranked` biases and axes of the pairs."""
  names_x, names_y = zip(*pairs, strict=True)
  return ranked(biases, chosen, names_x), ranked(axes, chosen, names_y)


def related(x: pd.DataFrame, y: pd.DataFrame, orders: np.ndarray) -> dict[tuple[str, str], Related]:
  """Every column of x against every one of y, all of them centred; `orders` as `permutation_p` wants them."""
  u, v = x.to_numpy(), y.to_numpy()
  norms = np.sqrt(np.outer((u**2).sum(axis=0), (v**2).sum(axis=0)))
  defined = norms > 1e-9
  r = np.divide(u.T @ v, norms, out=np.full(norms.shape, np.nan), where=defined)
  p = np.where(defined, permutation_p(u, v, orders), np.nan)
  found = zip(np.clip(r, -1, 1).ravel().tolist(), p.ravel().tolist(), strict=True)
  return dict(zip(itertools.product(x.columns, y.columns), found, strict=True))


def tested(
  biases: pd.DataFrame, axes: pd.DataFrame, members: np.ndarray, resampling: Resampling
) -> dict[tuple[str, str], tuple[int, float, float]]:
  """(models, Spearman, permutation p) of every bias and axis over `members`, bool [models]."""
  found: dict[tuple[str, str], tuple[int, float, float]] = {}
  for chosen, pairs in by_models(biases, axes, members):
    n, of_pairs = int(chosen.sum()), {}
    if n >= MIN_MODELS:
      x, y = ranked_pairs(biases, axes, chosen, pairs)
      of_pairs = related(x, y, resampling.orders(n))
    found |= {pair: (n, *of_pairs.get(pair, (math.nan, math.nan))) for pair in pairs}
  return found


def cells(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  groups: Mapping[str, np.ndarray],
  category: np.ndarray,
  resampling: Resampling,
) -> pd.DataFrame:
  """Every bias against every axis in every group.

  Args:
    biases, axes: float, a row for each model; NaN where a value is missing.
    groups: {name: bool [models]}.
    category: [models], the family that each belongs to.
    resampling: samples and orders.

  Returns:
    A row for each cell, ordered by bias, axis and group, with `COLUMNS`. p is Student's, as published;
    p_permutation is what p_holm and p_bh correct over all the cells here that have one. low and high are
    Spearman's 95 % BCa interval over models, family_low and family_high the one over families, where there
    are several (`families`). reason says why a number is missing.
  """
  rows = {}
  count = biases.shape[1] * axes.shape[1] * len(groups)
  for group, members in groups.items():
    for chosen, pairs in by_models(biases, axes, members):
      found = _cells_of(biases[chosen], axes[chosen], pairs, category[chosen], count, resampling)
      for (bias, axis), row in found.items():
        missing = int(members.sum() - chosen.sum())
        rows[bias, axis, group] = {"bias": bias, "axis": axis, "group": group, "missing": missing} | row
  order = itertools.product(biases.columns, axes.columns, groups)
  return corrected(pd.DataFrame([rows[key] for key in order], columns=COLUMNS))


def corrected(cells_: pd.DataFrame) -> pd.DataFrame:
  """The same cells with p_holm and p_bh over all of them, from p_permutation."""
  p = cells_["p_permutation"].to_numpy(float)
  return cells_.assign(p_holm=holm(p), p_bh=benjamini_hochberg(p))


COLUMNS = [
  *("bias", "axis", "group", "n", "missing", "ties_bias", "ties_axis", "spearman", "p"),
  *("pearson", "pearson_p", "kendall", "kendall_p", "low", "high"),
  *("families", "family_low", "family_high", "p_permutation", "p_holm", "p_bh", "reason"),
]


def deciding(row: Mapping | pd.Series, prefix: str = "") -> tuple[float, float]:
  """The interval that decides what is said: over families where there is one, else over models.

  Args:
    row: with the numbers `low`, `high`, `family_low`, `family_high`.
    prefix: of these names.
  """
  low, high = row[f"{prefix}family_low"], row[f"{prefix}family_high"]
  return (low, high) if math.isfinite(low) else (row[f"{prefix}low"], row[f"{prefix}high"])


def by_models(
  biases: pd.DataFrame, axes: pd.DataFrame, members: np.ndarray
) -> list[tuple[np.ndarray, list[tuple[str, str]]]]:
  """Pairs (bias, axis) gathered by the models of `members` that have both values: (bool [models], pairs)."""
  gathered: dict[bytes, list[tuple[str, str]]] = {}
  known_x, known_y = ({name: np.isfinite(v.to_numpy()) for name, v in of.items()} for of in (biases, axes))
  for bias, axis in itertools.product(biases.columns, axes.columns):
    both = members & known_x[bias] & known_y[axis]
    gathered.setdefault(both.tobytes(), []).append((bias, axis))
  return [(np.frombuffer(key, bool), pairs) for key, pairs in gathered.items()]


def _cells_of(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  pairs: list[tuple[str, str]],
  category: np.ndarray,
  count: int,
  resampling: Resampling,
) -> dict[tuple[str, str], dict]:
  """The cells `pairs` of `count`, whose models are all the same ones."""
  n, families = len(biases), len(set(category))
  if n < MIN_MODELS:
    reason = f"{counted(n, 'model')}: with fewer than {MIN_MODELS} even a perfect order can be chance"
    empty = {"n": n, "ties_bias": 0, "ties_axis": 0, "families": families, "reason": reason}
    return dict.fromkeys(pairs, empty)
  names_x, names_y = (list(dict.fromkeys(names)) for names in zip(*pairs, strict=True))
  x, y = biases[names_x].to_numpy(), axes[names_y].to_numpy()
  y = x if np.array_equal(x, y) else y  # a measure against every other: ranked once
  sampled = spearman_draws(x, y, resampling.models(n))
  without = spearman_draws(x, y, 1 - np.eye(n, dtype=int))
  of_families = resampling.families(category)
  by_family = None if of_families is None else spearman_draws(x, y, of_families)
  ranks_x, ranks_y = midranks(x), midranks(y)
  orders = resampling.orders(n, ORDERS_A_CELL * count)
  p = permutation_p(ranks_x - ranks_x.mean(axis=0), ranks_y - ranks_y.mean(axis=0), orders)
  rows = {}
  for bias, axis in pairs:
    i, j = names_x.index(bias), names_y.index(axis)
    row: dict[str, Any] = {
      "n": n,
      "ties_bias": tied(x[:, i]),
      "ties_axis": tied(y[:, j]),
      "families": families,
    }
    row |= plain(x[:, i], y[:, j])
    if math.isnan(row["spearman"]):
      row["reason"] = f"{bias if np.ptp(x[:, i]) == 0 else axis} is the same for all {n} models"
    else:
      row["p_permutation"] = float(p[i, j])
      row["low"], row["high"] = bca(row["spearman"], sampled[:, i, j], without[:, i, j])
      if by_family is not None:
        row["family_low"], row["family_high"] = percentiles(by_family[:, i, j])
      if math.isnan(row["low"]):
        row["reason"] = "no interval: resampling these models does not change their order"
    rows[bias, axis] = row
  return rows
