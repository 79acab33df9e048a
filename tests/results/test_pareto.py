"""Pareto fronts of points whose front is known."""

import numpy as np
import pandas as pd

from biasjax.results import pareto

STAIRS = np.array([[1.0, 9], [2, 5], [4, 4], [7, 1]])


def test_the_front_of_a_staircase_is_the_staircase():
  assert (pareto.layers(STAIRS) == 0).all()
  assert not pareto.dominated(STAIRS).any()


def test_of_points_on_a_rising_line_the_best_is_the_front_and_each_is_a_layer():
  line = np.array([[3.0, 30], [1, 10], [2, 20]])
  np.testing.assert_array_equal(pareto.layers(line), [2, 0, 1])
  np.testing.assert_array_equal(pareto.dominated(line).sum(axis=1), [2, 0, 1])


def test_a_dominated_point_changes_nothing():
  with_one = np.vstack([STAIRS, [[5.0, 6]]])
  np.testing.assert_array_equal(pareto.layers(with_one), [0, 0, 0, 0, 1])
  np.testing.assert_array_equal(pareto.dominated(with_one)[4], [False, True, True, False, False])


def test_the_rules_differ_where_one_thing_is_equal_and_where_a_number_is_missing():
  points = np.array([[1.0, 5], [1, 7], [2, 5], [np.nan, 0], [2, 8]])
  np.testing.assert_array_equal(pareto.layers(points) == 0, [True, False, False, False, False])
  np.testing.assert_array_equal(pareto.front_strict(points), [True, True, True, True, False])
  assert pareto.layers(points)[3] == -1
  # Equal points do not dominate each other.
  np.testing.assert_array_equal(pareto.layers(np.array([[1.0, 2], [1, 2]])), [0, 0])


def test_layers_are_those_of_taking_fronts_away():
  rng = np.random.default_rng(0)
  points = rng.integers(0, 8, (40, 3)).astype(float)
  found, left, at = pareto.layers(points), set(range(40)), 0
  while left:
    front = {
      i
      for i in left
      if not any((points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in left)
    }
    assert {i for i in range(40) if found[i] == at} == front
    left, at = left - front, at + 1


def test_gaps_that_are_equal_are_equal_whatever_they_are_differences_of():
  n, rng = 15, np.random.default_rng(0)
  right = rng.integers(0, n + 1, (60, 3))  # of so many images of each group
  networks = np.stack([np.arange(n) < count for count in right.ravel()]).reshape(60, 3 * n)
  points = pareto.points_of(networks.T, np.repeat([0, 1, 2], n))
  exact = [(-row.sum(), row.max() - row.min()) for row in right]  # whole numbers of images
  beaten = [[j[0] <= i[0] and j[1] <= i[1] and j != i for j in exact] for i in exact]
  np.testing.assert_array_equal(pareto.dominated(points), beaten)
  strictly = [not any(j[0] < i[0] and j[1] < i[1] for j in exact) for i in exact]
  np.testing.assert_array_equal(pareto.front_strict(points), strictly)


def made(n=240):
  """Right decisions of four networks on images of three groups; one is dominated by far."""
  rng = np.random.default_rng(4)
  group = rng.choice(["x", "y", "z"], n)
  shares = {
    "good": (0.95, 0.9, 0.9),
    "fair": (0.8, 0.8, 0.8),
    "bad": (0.6, 0.2, 0.5),
    "even": (0.8, 0.8, 0.78),
  }
  right = np.stack(
    [
      rng.random(n) < pd.Series(dict(zip("xyz", of, strict=True)))[group].to_numpy() for of in shares.values()
    ],
    axis=1,
  )
  return list(shares), right, group


def test_a_table_counts_what_pandas_counts():
  models, right, group = made()
  found = pareto.table(models, right, group).set_index("model")
  for model, of in zip(models, right.T, strict=True):
    by = pd.Series(of).groupby(group).mean()
    assert np.isclose(found.at[model, "error"], 100 * (1 - of.mean()))
    assert np.isclose(found.at[model, "disparity"], 100 * (by.max() - by.min()))
  assert found.at["good", "front"]
  assert found.at["bad", "share_on_front"] == 0
  assert set(found.at["bad", "dominated_by"].split("; ")) == {"good", "fair", "even"}
  on = found["share_on_front"]
  assert 0 < on["fair"] < 1
  assert on["good"] > 0.95
