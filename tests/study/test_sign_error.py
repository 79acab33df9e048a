"""Robust sign-error on orders that are known."""

import math

import numpy as np
import pandas as pd
import pytest

from biasjax.study import sign_error

CATEGORY = np.array(["a"] * 4 + ["b"] * 4, object)
MODELS = pd.Index([f"m{i}" for i in range(8)])


def table(measure, axis, error=np.nan, series=None):
  frame = pd.DataFrame({"measure": np.asarray(measure, float)}, index=MODELS)
  axes = pd.DataFrame({"axis": np.asarray(axis, float)}, index=MODELS)
  errors = pd.DataFrame({"axis": np.full(8, error)}, index=MODELS)
  found = sign_error.environments(CATEGORY, series or {}, MODELS)
  return sign_error.table(frame, axes, errors, found)


def test_environments_are_pairs_of_categories_and_of_a_series():
  found = sign_error.environments(CATEGORY, {"eps": {"m0": 0.0, "m1": 0.0, "m5": 1.0, "m6": 2.0}}, MODELS)
  assert {name: len(pairs) for name, pairs in found.items()} == {
    "within a": 6,
    "a / b": 16,
    "within b": 6,
    "along eps": 5,  # of 6 pairs, one does not differ in the factor
  }


def test_a_measure_that_orders_as_the_axis_makes_no_error():
  rows = table(np.arange(8), np.arange(8) ** 2)
  assert (rows["error"] == 0).all()
  assert (rows["direction"] == 1).all()


def test_a_measure_that_orders_the_other_way_is_taken_the_other_way():
  rows = table(-np.arange(8), np.arange(8))
  assert (rows["error"] == 0).all()
  assert (rows["direction"] == -1).all()


def test_a_constant_measure_guesses():
  assert set(table(np.ones(8), np.arange(8))["error"]) == {0.5}


def test_a_measure_that_misleads_in_one_category_shows_there():
  axis = np.array([0, 1, 2, 3, 10, 11, 12, 13])
  measure = np.array([3, 2, 1, 0, 10, 11, 12, 13])
  rows = table(measure, axis)
  found = rows.set_index("environment")["error"]
  assert found.to_dict() == {"within a": 1.0, "a / b": 0.0, "within b": 0.0}
  summary = sign_error.summary(rows).iloc[0]
  assert summary["worst"] == 1.0
  assert summary["worst_environment"] == "within a"
  assert summary["mean"] == pytest.approx(1 / 3)


def test_pairs_within_noise_hardly_count():
  weights = sign_error.pair_weights(np.array([0.0, 0.1, 1.96, 10.0]), np.ones(4))
  np.testing.assert_allclose(weights, [0, 0.08, 0.95, 1], atol=0.001)


def test_without_known_noise_all_pairs_count_alike():
  assert sign_error.pair_weights(np.array([0.1, 5.0]), np.array([np.nan, 0.0])).tolist() == [1, 1]


def test_a_wrong_pair_within_noise_is_forgiven():
  measure, axis = np.array([-1.0, 1.0]), np.array([0.01, 10.0])
  weights = sign_error.pair_weights(axis, np.ones(2))
  assert sign_error.sign_error(measure, axis, weights) < 0.02
  assert sign_error.sign_error(measure, axis, np.ones(2)) == 0.5


def test_no_pair_of_any_weight_has_no_error():
  assert math.isnan(sign_error.sign_error(np.ones(2), np.zeros(2), np.ones(2)))


def test_pairs_that_tie_on_the_axis_weigh_nothing():
  """Of six pairs within a, three are of the three that tie; no error is known, so each other counts one."""
  rows = table(np.arange(8), [0, 0, 0, 1, 2, 3, 4, 5]).set_index("environment")
  assert rows.loc["within a", ["pairs", "weight"]].tolist() == [6, 3]
  assert rows.loc["within b", ["pairs", "weight"]].tolist() == [6, 6]
