"""Predictors against known functions and an independent implementation."""

import numpy as np
import pandas as pd
import pytest
import scipy

from biasjax.study import prediction
from biasjax.study.resampling import Resampling

sm = pytest.importorskip("statsmodels.api", reason="needs statsmodels")


def data(n=60, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(n, 3))
  return x, rng


def test_the_linear_predictor_is_least_squares():
  x, rng = data()
  y = x @ [1.0, -2.0, 0.0] + 0.5 * rng.normal(size=60)
  model = sm.OLS(y[:50], sm.add_constant(x[:50])).fit()
  expected = model.predict(sm.add_constant(x[50:]))
  np.testing.assert_allclose(prediction.linear(x[:50], y[:50], x[50:]), expected, rtol=1e-3, atol=1e-3)


def test_the_monotone_predictor_finds_a_saturating_sum():
  x, _ = data(200)
  y = np.tanh(3 * x[:, 0]) - np.exp(x[:, 1] / 2)
  error = prediction.monotone(x[:150], y[:150], x[150:]) - y[150:]
  linear = prediction.linear(x[:150], y[:150], x[150:]) - y[150:]
  assert np.mean(error**2) < 0.1 * y.var()
  assert np.mean(error**2) < np.mean(linear**2)


def test_the_monotone_predictor_is_one_whatever_the_predictors_order():
  x, rng = data(50)
  x = np.concatenate([x, x + 0.5 * rng.normal(size=x.shape)], axis=1)  # that say much the same
  y = x[:, 0] + x[:, 1] + 0.5 * rng.normal(size=50)
  predicted = prediction.monotone(x[:40], y[:40], x[40:])
  turned = prediction.monotone(x[:40, ::-1], y[:40], x[40:, ::-1])
  np.testing.assert_allclose(predicted, turned, atol=1e-3)


def test_the_monotone_predictor_is_what_nonnegative_least_squares_finds():
  x, rng = data(40)
  y = x @ [1.0, -1.0, 0.5] + rng.normal(size=40)
  seen, new, target = x[:30], x[30:], y[:30] - y[:30].mean()
  # A monotone function is a sum of steps between neighbours, each of a size that is not negative.
  signs = [np.sign(scipy.stats.spearmanr(column, target).statistic) for column in seen.T]
  of_each = []
  for column, sign in zip(seen.T, signs, strict=True):
    steps = sign * (column[:, None] > np.sort(column)[None, :-1])
    of_each.append(steps - steps.mean(axis=0))
  alone = scipy.linalg.block_diag(*of_each) * np.sqrt(prediction.SHRINKAGE)
  sizes, _ = scipy.optimize.nnls(
    np.concatenate([np.concatenate(of_each, axis=1), alone]), np.concatenate([target, np.zeros(len(alone))])
  )
  expected = np.full(10, y[:30].mean())
  for column, later, steps, size in zip(seen.T, new.T, of_each, np.split(sizes, 3), strict=True):
    order = np.argsort(column)
    expected += np.interp(later, column[order], (steps @ size)[order])
  np.testing.assert_allclose(prediction.monotone(seen, y[:30], new), expected, atol=1e-3)


def test_the_rank_based_predictor_does_not_see_monotone_scales():
  x, rng = data()
  y = x[:, 0] + 0.1 * rng.normal(size=60)
  plain = prediction.rank_based(x[:40], y[:40], x[40:])
  warped = prediction.rank_based(np.exp(x[:40]), y[:40], np.exp(x[40:]))
  np.testing.assert_allclose(plain, warped)


@pytest.mark.parametrize("predict", [prediction.linear, prediction.monotone, prediction.rank_based])
def test_predictors_survive_a_constant_and_a_repeated_column(predict):
  x, _ = data(30)
  x[:, 1], x[:, 2] = 1.0, x[:, 0]
  predicted = predict(x[:20], x[:20, 0], x[20:])
  assert np.corrcoef(predicted, x[20:, 0])[0, 1] > 0.9


def test_a_fold_is_predicted_without_itself():
  folds = np.array([0, 0, 1, 1, 2, 2])
  y = np.array([0.0, 0.0, 10.0, 10.0, 20.0, 20.0])
  predicted = prediction.out_of_sample(np.zeros((6, 1)), y, folds, prediction.constant)
  np.testing.assert_allclose(predicted, [15, 15, 10, 10, 5, 5])


def test_r_squared_of_each_sample_is_that_of_the_sample_written_out():
  rng = np.random.default_rng(0)
  y, predicted = rng.normal(size=(2, 12))
  weights = rng.multinomial(12, np.full(12, 1 / 12), size=5)
  for w, value in zip(weights, prediction.r_squared(y, predicted, weights), strict=True):
    sample, guess = np.repeat(y, w), np.repeat(predicted, w)
    expected = 1 - ((sample - guess) ** 2).sum() / ((sample - sample.mean()) ** 2).sum()
    assert value == pytest.approx(expected)


def run(x, y, n_categories=4):
  frame = pd.DataFrame(x, columns=["b0", "b1", "b2"])
  axes = pd.DataFrame({"ID": x[:, 2], "other": y})
  category = np.array([f"c{i % n_categories}" for i in range(len(x))], object)
  return prediction.predict_axes(frame, axes, category, "ID", Resampling(300, 0))


def test_what_biases_add_to_accuracy_is_measured():
  x, rng = data(80)
  table, _, _ = run(x, x[:, 0] + x[:, 2] + 0.1 * rng.normal(size=80))
  rows = table.set_index(["axis", "predictor"])
  assert rows.loc[("other", "linear"), "r2"] > 0.9
  assert 0.2 < rows.loc[("other", "accuracy"), "r2"] < 0.7
  assert rows.loc[("other", "linear"), "gain_low"] > 0
  assert ("ID", "accuracy") not in rows.index


def test_noise_is_not_predicted():
  x, rng = data(80, seed=5)
  table, _, _ = run(x, rng.normal(size=80))
  rows = table.set_index(["axis", "predictor"])
  assert (rows.loc["other", "low"] < 0).all()


def test_one_category_is_left_out_a_model_at_a_time():
  x, _ = data(20)
  table, _, _ = run(x, x[:, 0], n_categories=1)
  assert set(table["folds"]) == {20}


def test_too_few_models_are_not_predicted_and_that_is_said():
  x, _ = data(8)
  table, points, notes = run(x, x[:, 0])
  assert not len(table)
  assert not len(points)
  assert notes == [
    "ID was not predicted: only 8 models have all biases.",
    "other was not predicted: only 8 models have all biases.",
  ]
