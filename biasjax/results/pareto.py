"""Which of several networks no other one beats in everything: Pareto fronts, and how sure they are."""

import numpy as np
import pandas as pd

DRAWS = 200
DIGITS = 9  # after the point: far finer than one image in any number of them, far coarser than rounding
# The two rules that a front can be told by; what is measured is better the smaller it is.
RULES = {
  "front": "no other is at least as good in everything and better in something",
  "front_strict": "no other is better in everything (the rule of Dooley et al. 2023's code)",
}


def settled(points: np.ndarray) -> np.ndarray:
  """`points` to `DIGITS`: rounding tells the gaps 14/15 - 7/15 and 8/15 - 1/15 apart, which are one."""
  return np.round(points, DIGITS)


def dominated(points: np.ndarray) -> np.ndarray:
  """bool [m, m]: whether i is dominated by j: j is no worse in anything, and better in something.

  Args:
    points: float [m, k], smaller is better; a point with a NaN neither dominates nor is dominated.
  """
  points = settled(points)
  of, by = points[:, None], points[None, :]
  return np.logical_and(np.all(by <= of, axis=2), np.any(by < of, axis=2))


def layers(points: np.ndarray) -> np.ndarray:
  """The non-dominated sort: 0 for the front, 1 for that of the others, and so on; -1 with a NaN. int [m]."""
  found = np.full(len(points), -1)
  left, beaten = np.logical_not(np.any(np.isnan(points), axis=1)), dominated(points)
  at = 0
  while left.any():
    front = left & ~np.any(beaten & left[None, :], axis=1)
    found[front], at = at, at + 1
    left &= ~front
  return found


def front_strict(points: np.ndarray) -> np.ndarray:
  """bool [m]: whether no other point is strictly better in everything, NaN points included (`RULES`)."""
  points = settled(points)
  return ~np.any(np.all(points[None, :] < points[:, None], axis=2), axis=1)


def points_of(right: np.ndarray, group: np.ndarray) -> np.ndarray:
  """(error, gap between the best and the worst group) of each network, points of per cent, float [m, 2].

  Args:
    right: bool [n, m], of the same images.
    group: int [n], ascending.
  """
  starts = np.flatnonzero(np.diff(group, prepend=-1))
  counts = np.diff(np.append(starts, len(group)))[:, None]
  accuracy = np.add.reduceat(right.astype(np.int64), starts, axis=0) / counts
  error = 1 - right.mean(axis=0)
  return 100 * np.stack([error, accuracy.max(axis=0) - accuracy.min(axis=0)], axis=1)


def share_on_front(right: np.ndarray, group: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
  """How often each network is on the front when images are drawn anew within their groups, float [m].

  Args:
    right, group: as in `points_of`.
    draws, seed: of the bootstrap, in which all networks meet the same images.
  """
  rng = np.random.default_rng(seed)
  starts = np.flatnonzero(np.diff(group, prepend=-1))
  counts = np.diff(np.append(starts, len(group)))
  first, many = np.repeat(starts, counts), np.repeat(counts, counts)
  on = np.zeros(right.shape[1])
  for _ in range(draws):
    drawn = first + (rng.random(len(group)) * many).astype(np.int64)
    on += layers(points_of(right[drawn], group)) == 0
  return on / draws


def table(models: list[str], right: np.ndarray, group: np.ndarray) -> pd.DataFrame:
  """A row each: model, error, disparity, front, front_strict, layer, dominated_by, share_on_front.

  `front` and `front_strict` are told by `RULES`; `dominated_by` names those that dominate it, joined by "; ".

  Args:
    models: m names.
    right: bool [n, m], whether each decision on an image is right.
    group: [n], of the images.
  """
  code = np.unique(group, return_inverse=True)[1]
  order = np.argsort(code, kind="stable")
  right, code = right[order], code[order]
  points = points_of(right, code)
  layer, beaten = layers(points), dominated(points)
  return pd.DataFrame(
    {
      "model": models,
      "error": points[:, 0],
      "disparity": points[:, 1],
      "front": layer == 0,
      "front_strict": front_strict(points),
      "layer": layer,
      "dominated_by": ["; ".join(np.array(models)[row]) for row in beaten],
      "share_on_front": share_on_front(right, code),
    }
  )
