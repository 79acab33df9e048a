"""Robust sign-error: can a bias say which of two models generalises better, wherever one looks?

Dziugaite et al. 2020, "In Search of Robust Measures of Generalization": the error is taken in each
environment apart, and the worst one counts, since a mean over all pairs hides the settings in which a measure
misleads.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy  # its modules are loaded where they are first used, which takes a second

# An environment of fewer pairs says nothing.
MIN_PAIRS = 3


def environments(
  category: np.ndarray, series: Mapping[str, Mapping[str, float]], models: pd.Index
) -> dict[str, np.ndarray]:
  """The pairs of models that belong together.

  Args:
    category: [models]; an environment is a pair of categories, or one category.
    series: {name: {model: factor}}; an environment is the pairs of one series whose factor differs.
    models: names, in the order of `category`.

  Returns:
    {environment: int [pairs, 2]}, indices of models; only environments of at least `MIN_PAIRS` pairs.
  """
  place = {model: i for i, model in enumerate(models)}
  found = {}
  names = list(dict.fromkeys(category))
  for a, b in itertools.combinations_with_replacement(names, 2):
    of_a, of_b = np.flatnonzero(category == a), np.flatnonzero(category == b)
    pairs = itertools.combinations(of_a, 2) if a == b else itertools.product(of_a, of_b)
    found[f"within {a}" if a == b else f"{a} / {b}"] = np.array(list(pairs)).reshape(-1, 2)
  for name, factors in series.items():
    known = [(place[m], x) for m, x in factors.items() if m in place]
    pairs = [(i, j) for (i, x), (j, z) in itertools.combinations(known, 2) if x != z]
    found[f"along {name}"] = np.array(pairs, int).reshape(-1, 2)
  return {name: pairs for name, pairs in found.items() if len(pairs) >= MIN_PAIRS}


def pair_weights(difference: np.ndarray, error: np.ndarray) -> np.ndarray:
  """How sure the sign of a difference is: 2 Phi(|difference| / error) - 1, in [0, 1].

  A pair within noise counts for nearly nothing, a clear one for one.

  Args:
    difference: float [pairs].
    error: float [pairs], the standard error of the difference; NaN where it is not known: weight 1.
  """
  with np.errstate(divide="ignore", invalid="ignore"):
    weights = 2 * scipy.special.ndtr(np.abs(difference) / error) - 1
  return np.where(np.isfinite(error) & (error > 0), weights, 1.0)


def sign_error(measure: np.ndarray, axis: np.ndarray, weights: np.ndarray) -> float:
  """The weighted share of pairs whose order the measure gets wrong; a tie of the measure is half wrong.

  Args:
    measure: float [pairs], differences of the measure.
    axis: float [pairs], differences of what it should order.
    weights: float [pairs].

  Returns:
    In [0, 1]; .5 is guessing; NaN where no pair has weight.
  """
  weights = np.where(axis == 0, 0.0, weights)
  total = weights.sum()
  if total < 1e-9:
    return math.nan
  return float((weights * (1 - np.sign(measure) * np.sign(axis)) / 2).sum() / total)


def table(
  measures: pd.DataFrame, axes: pd.DataFrame, errors: pd.DataFrame, found: Mapping[str, np.ndarray]
) -> pd.DataFrame:
  """The sign-error of every measure for every axis in every environment.

  Args:
    measures, axes: float, a row for each model.
    errors: the standard error of each axis; NaN where it is not known.
    found: of `environments`.

  Returns:
    `measure, axis, environment, pairs, weight, direction, error`. direction is +1 where the axis is taken to
    rise with the measure, -1 where to fall with it: whichever is right more often over all pairs. weight is
    the number of pairs that their weights amount to.
  """
  rows = []
  for measure, axis in itertools.product(measures, axes):
    if measure == axis:
      continue
    x, y, e = (v.to_numpy() for v in (measures[measure], axes[axis], errors[axis]))
    known = np.isfinite(x) & np.isfinite(y)
    of_models = []
    for name, pairs in found.items():
      i, j = pairs[known[pairs].all(axis=1)].T
      weights = pair_weights(y[i] - y[j], np.hypot(e[i], e[j]))
      weights[y[i] == y[j]] = 0  # there is no order to get wrong
      of_models.append((name, len(i), weights.sum(), sign_error(x[i] - x[j], y[i] - y[j], weights)))
    i, j = np.triu_indices(len(x), 1)
    both = known[i] & known[j]
    i, j = i[both], j[both]
    overall = sign_error(x[i] - x[j], y[i] - y[j], pair_weights(y[i] - y[j], np.hypot(e[i], e[j])))
    direction = -1 if overall > 0.5 else 1
    for name, pairs, weight, error in of_models:
      if pairs >= MIN_PAIRS:
        rows.append((measure, axis, name, pairs, weight, direction, error if direction > 0 else 1 - error))
  columns = ["measure", "axis", "environment", "pairs", "weight", "direction", "error"]
  return pd.DataFrame(rows, columns=columns)


def summary(errors: pd.DataFrame) -> pd.DataFrame:
  """`measure, axis, direction, environments, mean, worst, worst_environment`, from `table`."""
  rows = []
  for (measure, axis), found in errors.dropna(subset=["error"]).groupby(["measure", "axis"], sort=False):
    worst = found.loc[found["error"].idxmax()]
    rows.append(
      {
        "measure": measure,
        "axis": axis,
        "direction": found["direction"].iloc[0],
        "environments": len(found),
        "mean": found["error"].mean(),
        "worst": worst["error"],
        "worst_environment": worst["environment"],
      }
    )
  columns = ["measure", "axis", "direction", "environments", "mean", "worst", "worst_environment"]
  return pd.DataFrame(rows, columns=columns)
