"""How far apart groups of images are: accuracies, mean ranks, and the gap that equal groups would show.

Dooley et al., "Rethinking bias mitigation: fairer architectures make for fairer face recognition", NeurIPS
2023, compare two groups of faces. The best and the worst of several groups differ also where the network
treats all alike, the more the more groups there are and the fewer images each has; so the gap that permuted
group labels give stands beside each gap.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.statistics import CONFIDENCE, spread_of_classes, wilson

DRAWS = 2000
NONE = "equal groups would show as large a gap"
# Of exactly two groups, in the order of their names.
PAIR = ("first", "second", "disparity_ratio", "rank_ratio", "error_ratio")


def of_groups(group: np.ndarray, rank: np.ndarray) -> pd.DataFrame:
  """A row for each group, by name: group, n, right, accuracy, low, high (per cent, Wilson's), mean_rank.

  Args:
    group: str [n], of each image.
    rank: int [n], of the right class, 0 where it comes first.
  """
  names, code = np.unique(group.astype(str), return_inverse=True)
  n, right = np.bincount(code), np.bincount(code, rank == 0).astype(int)
  edges = [wilson(int(hits), int(of)) for hits, of in zip(right, n, strict=True)]
  return pd.DataFrame(
    {
      "group": names,
      "n": n,
      "right": right,
      "accuracy": 100 * right / n,
      "low": [100 * low for low, _ in edges],
      "high": [100 * high for _, high in edges],
      "mean_rank": np.bincount(code, rank) / n,
    }
  )


def gaps_by_chance(right: np.ndarray, n: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
  """The gap between the best and the worst group under permuted group labels, fractions [draws].

  Args:
    right: int [groups], right decisions of each.
    n: int [groups], images of each.
    draws: permutations.
    seed: of the draws.
  """
  # Dealing out the right decisions is what permuting labels does, of groups of any number.
  dealt = np.random.default_rng(seed).multivariate_hypergeometric(n, int(right.sum()), size=draws) / n
  return dealt.max(axis=1) - dealt.min(axis=1)


def interval_of_gap(
  right: np.ndarray, n: np.ndarray, draws: int = DRAWS, seed: int = 0, confidence: float = CONFIDENCE
) -> tuple[float, float]:
  """An interval of the gap between the best and the worst of these groups, fractions: for other images.

  It knows that the extremes were picked: the range of true accuracies is no further from the range of
  observed ones than the range of the errors, of which the interval takes a quantile (by a parametric
  bootstrap, from shares with two hits and two misses more, so that none of 0 or 1 is taken for sure). Of two
  groups it is the ordinary interval of a difference; of many it is wide, and covers more than it says. It
  leaves out 0 only where permuted labels seldom give as large a gap (`gaps_by_chance`): groups that are equal
  err more alike than shares that were seen to differ.

  Args:
    right, n: as in `gaps_by_chance`.
    draws, seed: of the bootstrap.
    confidence: of the interval.
  """
  share = (right + 2) / (n + 4)
  errors = np.random.default_rng(seed).binomial(n, share, size=(draws, len(n))) / n - share
  reach = float(np.quantile(errors.max(axis=1) - errors.min(axis=1), confidence))
  gap, equal = float(np.ptp(right / n)), float(np.quantile(gaps_by_chance(right, n, draws, seed), confidence))
  return max(gap - max(reach, equal), 0.0), min(gap + reach, 1.0)


def compare(groups: pd.DataFrame) -> dict[str, Any]:
  """How far groups are apart: a row of disparity.csv.

  `groups` (how many), `n`; `worst` and `best` by accuracy; `gap` between them in points of per cent with
  `low` and `high`; `gap_by_chance`, the mean under permuted labels, and `p`, how often these give as large a
  gap; `sd`, the standard deviation between groups without what sampling adds, in points; `rank_disparity`,
  between the highest and the lowest mean rank; `error_quotient`, the worst group's error over the best's.

  Of two groups m and f, `first` and `second`, also |1 - a_m / a_f| of accuracies, |1 - r_m / r_f| of mean
  ranks and |1 - e_m / e_f| of errors, which change when the groups are exchanged; gap and rank_disparity are
  the paper's disparity |a_m - a_f| and rank disparity |r_m - r_f|.

  Args:
    groups: of `of_groups`.

  Raises:
    BiasjaxError: there is but one group.
  """
  if len(groups) < 2:
    few = (
      f"all images are of one group, {groups['group'].iloc[0]}" if len(groups) else "no image is of a group"
    )
    raise BiasjaxError(f"{few}: there is nothing to compare")
  right, n = groups["right"].to_numpy(), groups["n"].to_numpy()
  accuracy, error = right / n, 1 - right / n
  worst, best = int(accuracy.argmin()), int(accuracy.argmax())
  gap, by_chance = float(np.ptp(accuracy)), gaps_by_chance(right, n)
  low, high = interval_of_gap(right, n)
  found = {
    "groups": len(groups),
    "n": int(n.sum()),
    "worst": groups["group"].iloc[worst],
    "best": groups["group"].iloc[best],
    "gap": 100 * gap,
    "low": 100 * low,
    "high": 100 * high,
    "gap_by_chance": 100 * float(by_chance.mean()),
    "p": (1 + int((by_chance >= gap - 1e-12).sum())) / (1 + len(by_chance)),
    "sd": 100 * spread_of_classes(right, n)[0],
    "rank_disparity": float(np.ptp(groups["mean_rank"].to_numpy())),
    "error_quotient": _quotient(error[worst], error[best]),
  }
  if len(groups) > 2:
    return found | dict.fromkeys(PAIR[:2], "") | dict.fromkeys(PAIR[2:], math.nan)
  pairs = zip(PAIR[2:], (accuracy, groups["mean_rank"].to_numpy(), error), strict=True)
  ratios = {name: abs(1 - _quotient(of[0], of[1])) for name, of in pairs}
  return found | {"first": groups["group"].iloc[0], "second": groups["group"].iloc[1]} | ratios


def _quotient(one: float, other: float) -> float:
  """one / other; 1 where they are equal, NaN where only the other is 0."""
  return 1.0 if one == other else float(one / other) if other else math.nan


def metrics(groups: pd.DataFrame) -> list[tuple[str, Mapping[str, Any]]]:
  """Rows of metrics.csv: (name, its value, low, high, n, chance, flag, detail), "{dataset}" in the name."""
  found = compare(groups)
  none = {"low": math.nan, "high": math.nan, "n": found["n"], "chance": math.nan, "flag": "", "detail": True}
  worst = groups.set_index("group").loc[found["worst"]]
  flag = "" if found["p"] < 1 - CONFIDENCE else NONE
  return [
    (
      "disparity/{dataset}",
      none
      | {"value": found["gap"], "low": found["low"], "high": found["high"], "flag": flag, "detail": False},
    ),
    ("disparity/{dataset}/by-chance", none | {"value": found["gap_by_chance"]}),
    ("disparity/{dataset}/beyond-chance", none | {"value": found["gap"] - found["gap_by_chance"]}),
    (
      "disparity/{dataset}/worst",
      none | {"value": worst["accuracy"], "low": worst["low"], "high": worst["high"], "n": int(worst["n"])},
    ),
    ("disparity/{dataset}/rank", none | {"value": found["rank_disparity"]}),
  ]
