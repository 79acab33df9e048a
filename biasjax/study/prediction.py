"""Do the biases predict an axis together, for models of a family that was not seen?

Each category is left out in turn (each model, where there is one category), a predictor is fitted to the
others, and its predictions for the ones left out are gathered. R-squared is 1 - (squared errors) / (squared
deviations from the mean of all); it is below zero where the mean alone predicts better.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.messages import counted
from biasjax.study import correlation
from biasjax.study.resampling import Resampling, bca, percentiles

# Fewer models than this leave nothing to fit six numbers to.
MIN_MODELS = 10
# A ridge in units of the standardised predictors: keeps fits defined where they are collinear or few.
RIDGE = 1e-3
# By as little as this each of several monotone functions is drawn to 0. Without it many sums of them fit the
# models seen alike and predict others differently, and which is found depends on the predictors' order.
SHRINKAGE = 0.03
SETTLED = 1e-5  # what a sweep of backfitting still changes at its end, in standard deviations of the target
MOST_SWEEPS = 1000  # 100 to 300 are usual

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
  """A sum of monotone functions f_j, one of each predictor, by backfitting of isotonic regressions.

  Each function rises or falls as Spearman's correlation does in the models seen, and stays at its last value
  beyond them. They minimise |target - mean - sum f_j|^2 + SHRINKAGE sum |f_j|^2, which only one set of them
  does, in whatever order the predictors come.
  """
  signs = [_sign(column, target) for column in train.T]
  distinct = [np.unique(column, return_inverse=True, return_counts=True)[1:] for column in train.T]
  fitted, residual = np.zeros_like(train), target - target.mean()
  for _ in range(MOST_SWEEPS):
    changed = 0.0
    for j, sign in enumerate(signs):
      before = fitted[:, j].copy()
      residual = residual + before
      fitted[:, j] = _isotonic(*distinct[j], residual, sign) / (1 + SHRINKAGE)
      residual = residual - fitted[:, j]
      changed = max(changed, float(np.abs(fitted[:, j] - before).max()))
    if changed <= SETTLED * target.std():
      break
  result = np.full(len(test), target.mean())
  for j in range(train.shape[1]):
    order = np.argsort(train[:, j])
    result += np.interp(test[:, j], train[order, j], fitted[order, j])
  return result


def _sign(column: np.ndarray, target: np.ndarray) -> int:
  r, _ = correlation.spearman(column, target)
  return -1 if r < 0 else 1


def _isotonic(which: np.ndarray, counts: np.ndarray, y: np.ndarray, sign: int) -> np.ndarray:
  """The monotone function of x nearest to y, of mean 0, at x; equal x share a value.

  Args:
    which: int [n], which of its distinct values, in order, each x is.
    counts: int [distinct], how many x have each.
    y: float [n], of mean 0.
    sign: -1 for a function that falls.
  """
  if len(counts) == 1:
    return np.zeros(len(y))
  means = np.bincount(which, y) / counts
  values = sign * scipy.optimize.isotonic_regression(sign * means, weights=counts).x[which]
  return values - values.mean()


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
  y, predicted = y - y.mean(), predicted - y.mean()
  error, total, first, second = (
    weights @ np.stack([(y - predicted) ** 2, np.ones(len(y)), y, y**2], axis=1)
  ).T
  spread = second - first**2 / total
  return 1 - np.divide(error, spread, out=np.full(len(error), np.nan), where=spread > 1e-12)


def predict_axes(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  category: np.ndarray,
  reference: str,
  resampling: Resampling,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
  """Predicts every axis from all biases, from in-distribution accuracy, and from nothing.

  Args:
    biases, axes: float, a row for each model.
    category: [models], what is left out together.
    reference: the axis of in-distribution accuracy.
    resampling: samples of models and families.

  Returns:
    `COLUMNS`: gain is R-squared above that from in-distribution accuracy (linear). low and high are BCa's
    over models, family_low and family_high over families, where there are several; the fitted predictions are
    taken as they are. Then `axis, predictor, model, value, predicted`; and notes on what was not computed.
  """
  rows, points, notes = [], [], []
  for axis in axes:
    by_accuracy = axis != reference and reference in axes
    inputs = biases.join(axes[[reference]].add_prefix("_")) if by_accuracy else biases
    complete = np.isfinite(inputs.to_numpy()).all(axis=1) & np.isfinite(axes[axis].to_numpy())
    n, y = int(complete.sum()), axes.loc[complete, axis].to_numpy()
    _, folds = np.unique(category[complete].astype(str), return_inverse=True)
    families = int(folds.max()) + 1 if n else 0
    if families == 1:
      folds = np.arange(n)
    if n < max(MIN_MODELS, biases.shape[1] + 3) or np.ptp(y) == 0:
      constant_axis = n > 1 and np.ptp(y) == 0
      few = f"only {counted(n, 'model')} {'has' if n == 1 else 'have'} all biases"
      why = "it does not vary" if constant_axis else few
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
    of_families = resampling.families(category[complete])
    samples = [
      np.ones((1, n)),
      resampling.models(n),
      1 - np.eye(n),
      *([] if of_families is None else [of_families]),
    ]
    ends = np.cumsum([len(sample) for sample in samples])[:-1]
    weights = np.concatenate(samples, dtype=float)
    scores = {}
    for name, of, columns, predict in tries:
      if columns is None:
        continue
      predicted = out_of_sample(columns, y, folds, predict)
      scores[name] = r_squared(y, predicted, weights)
      points += [(axis, name, m, v, p) for m, v, p in zip(biases.index[complete], y, predicted, strict=True)]
      row = {"axis": axis, "predictor": name, "inputs": of, "n": n, "folds": int(folds.max()) + 1}
      row |= {"families": families, "r2": float(scores[name][0])} | _intervals(np.split(scores[name], ends))
      if "accuracy" in scores and of == "all biases":
        gain = scores[name] - scores["accuracy"]
        row |= {"gain": float(gain[0])} | _intervals(np.split(gain, ends), "gain_")
      rows.append(row)
  named = ["axis", "predictor", "model", "value", "predicted"]
  return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(points, columns=named), notes


COLUMNS = [
  *(
    "axis",
    "predictor",
    "inputs",
    "n",
    "folds",
    "families",
    "r2",
    "low",
    "high",
    "family_low",
    "family_high",
  ),
  *("gain", "gain_low", "gain_high", "gain_family_low", "gain_family_high"),
]


def _intervals(parts: list[np.ndarray], prefix: str = "") -> dict[str, float]:
  """Both intervals of a number, as it is on the sample, samples of models, without each, and of families."""
  whole, sampled, without, *of_families = parts
  found = [*bca(float(whole[0]), sampled, without), *(percentiles(of_families[0]) if of_families else ())]
  names = ("low", "high", "family_low", "family_high")
  return {prefix + name: edge for name, edge in zip(names, found, strict=False)}
