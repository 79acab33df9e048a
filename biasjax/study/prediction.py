"""Do the biases predict an axis together, for models of a family that was not seen?

Each category is left out in turn (each model, where there is one category), a predictor is fitted to the
others, and its predictions for the ones left out are gathered. R-squared is 1 - (squared errors) / (squared
deviations from the mean of all); it is below zero where the mean alone predicts better.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import scipy.optimize

from biasjax.study import correlation
from biasjax.study.correlation import bca, resamples

# Fewer models than this leave nothing to fit six numbers to.
MIN_MODELS = 10
# A ridge in units of the standardised predictors: keeps fits defined where they are collinear or few.
RIDGE = 1e-3
SWEEPS = 20  # of backfitting; it settles in far fewer

Predictor = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def constant(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
  """The mean of the models seen. float [n, v], [n], [m, v] -> [m], as all predictors here."""
  del train
  return np.full(len(test), target.mean())


def linear(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
  """Least squares on standardised predictors."""
  centre, spread = train.mean(axis=0), train.std(axis=0)
  spread = np.where(spread > 1e-12, spread, np.inf)  # a predictor that does not vary says nothing
  x = (train - centre) / spread
  weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (target - target.mean()))
  return target.mean() + (test - centre) / spread @ weights


def monotone(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
  """A sum of monotone functions, one of each predictor, by backfitting of isotonic regressions.

  Each function rises or falls as Spearman's correlation does in the models seen, and stays at its last value
  beyond them.
  """
  signs = [_sign(column, target) for column in train.T]
  fitted = np.zeros_like(train)
  for _ in range(SWEEPS):
    for j, sign in enumerate(signs):
      residual = target - target.mean() - fitted.sum(axis=1) + fitted[:, j]
      fitted[:, j] = _isotonic(train[:, j], residual, sign)
      fitted[:, j] -= fitted[:, j].mean()
  result = np.full(len(test), target.mean())
  for j in range(train.shape[1]):
    order = np.argsort(train[:, j])
    result += np.interp(test[:, j], train[order, j], fitted[order, j])
  return result


def _sign(column: np.ndarray, target: np.ndarray) -> int:
  r, _ = correlation.spearman(column, target)
  return -1 if r < 0 else 1


def _isotonic(x: np.ndarray, y: np.ndarray, sign: int) -> np.ndarray:
  """The monotone function of x nearest to y, at x; equal x share a value."""
  distinct, which, counts = np.unique(x, return_inverse=True, return_counts=True)
  means = np.bincount(which, y) / counts
  if len(distinct) == 1:
    return np.full(len(x), means[0])
  return sign * scipy.optimize.isotonic_regression(sign * means, weights=counts).x[which]


def rank_based(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
  """Least squares from ranks to rank, and back to values: linear in order, whatever the scales.

  A new model's rank is its place among those seen.
  """
  n = len(train)
  ranks = np.stack([correlation.midranks(column) for column in train.T], axis=1)
  places = np.stack([_place(seen, new) for seen, new in zip(train.T, test.T, strict=True)], axis=1)
  predicted = linear(ranks, correlation.midranks(target), places)
  return np.interp(predicted, np.arange(1, n + 1), np.sort(target))


def _place(seen: np.ndarray, new: np.ndarray) -> np.ndarray:
  """The rank that each of `new` would have among `seen`: between its neighbours, or theirs if it ties."""
  ordered = np.sort(seen)
  return (np.searchsorted(ordered, new, "left") + np.searchsorted(ordered, new, "right")) / 2 + 0.5


def out_of_sample(x: np.ndarray, y: np.ndarray, folds: np.ndarray, predict: Predictor) -> np.ndarray:
  """Each fold's predictions from the others. float [n, v], [n], int [n] -> float [n]."""
  predicted = np.empty(len(y))
  for fold in np.unique(folds):
    test = folds == fold
    predicted[test] = predict(x[~test], y[~test], x[test])
  return predicted


def r_squared(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """1 - squared errors / squared deviations from the mean, in each weighted sample. [draws, n] -> [draws]."""
  error = weights @ (y - predicted) ** 2
  total, mean = weights.sum(axis=1), weights @ y / weights.sum(axis=1)
  spread = weights @ y**2 - total * mean**2
  return 1 - np.divide(error, spread, out=np.full(len(error), np.nan), where=spread > 1e-12)


def predict_axes(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  category: np.ndarray,
  reference: str,
  draws: int,
  rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
  """Predicts every axis from all biases, from in-distribution accuracy, and from nothing.

  Args:
    biases, axes: float, a row for each model.
    category: [models], what is left out together.
    reference: the axis of in-distribution accuracy.
    draws: bootstrap resamples of the models.
    rng: their source.

  Returns:
    `axis, predictor, inputs, n, folds, r2, low, high, gain, gain_low, gain_high`: gain is R-squared above
    that from in-distribution accuracy (linear). Intervals are BCa over models, the fitted predictions taken
    as they are. Then `axis, predictor, model, value, predicted`; and notes on what could not be computed.
  """
  rows, points, notes = [], [], []
  for axis in axes:
    by_accuracy = axis != reference and reference in axes
    inputs = biases.join(axes[[reference]].add_prefix("_")) if by_accuracy else biases
    complete = np.isfinite(inputs.to_numpy()).all(axis=1) & np.isfinite(axes[axis].to_numpy())
    n, y = int(complete.sum()), axes.loc[complete, axis].to_numpy()
    _, folds = np.unique(category[complete].astype(str), return_inverse=True)
    if n and folds.max() == 0:
      folds = np.arange(n)
    if n < max(MIN_MODELS, biases.shape[1] + 3) or np.ptp(y) == 0:
      constant_axis = n > 1 and np.ptp(y) == 0
      why = "it does not vary" if constant_axis else f"only {n} models have all biases"
      notes.append(f"{axis} was not predicted: {why}.")
      continue
    x = biases.loc[complete].to_numpy()
    accuracy = axes.loc[complete, [reference]].to_numpy() if by_accuracy else None
    tries: list[tuple[str, str, np.ndarray | None, Predictor]] = [
      ("constant", "nothing", x, constant),
      ("accuracy", reference, accuracy, linear),
      ("linear", "all biases", x, linear),
      ("monotone", "all biases", x, monotone),
      ("rank-based", "all biases", x, rank_based),
    ]
    weights = np.concatenate([np.ones((1, n), int), resamples(n, draws, rng), 1 - np.eye(n, dtype=int)])
    scores = {}
    for name, of, columns, predict in tries:
      if columns is None:
        continue
      predicted = out_of_sample(columns, y, folds, predict)
      scores[name] = r_squared(y, predicted, weights)
      points += [(axis, name, m, v, p) for m, v, p in zip(biases.index[complete], y, predicted, strict=True)]
      gain = scores[name] - scores["accuracy"] if "accuracy" in scores and of == "all biases" else None
      row = {"axis": axis, "predictor": name, "inputs": of, "n": n, "folds": int(folds.max()) + 1}
      row |= dict(zip(("r2", "low", "high"), _interval(scores[name], draws), strict=True))
      row |= dict(zip(("gain", "gain_low", "gain_high"), _interval(gain, draws), strict=True))
      rows.append(row)
  columns = [
    "axis",
    "predictor",
    "inputs",
    "n",
    "folds",
    "r2",
    "low",
    "high",
    "gain",
    "gain_low",
    "gain_high",
  ]
  named = ["axis", "predictor", "model", "value", "predicted"]
  return pd.DataFrame(rows, columns=columns), pd.DataFrame(points, columns=named), notes


def _interval(values: np.ndarray | None, draws: int) -> tuple[float, float, float]:
  """(estimate, low, high) of one number computed on the sample, `draws` resamples and the jackknife."""
  if values is None:
    return math.nan, math.nan, math.nan
  return float(values[0]), *bca(float(values[0]), values[1 : draws + 1], values[draws + 1 :])
