"""Along a swept factor: how each bias and axis moves, and whether moving the bias moves the axis."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.errors import BiasjaxError
from biasjax.statistics import CONFIDENCE
from biasjax.study import correlation
from biasjax.study.definitions import Series
from biasjax.study.resampling import Resampling
from biasjax.study.sampling import Intervals

MIN_POINTS = 3


def members(
  series: Sequence[Series], models: pd.Index, same: Mapping[str, str] | None = None
) -> dict[str, dict[str, float]]:
  """{series: {model: factor}}, in ascending order of the factor; only series with `MIN_POINTS` values.

  Args:
    series: the patterns.
    models: names.
    same: {another name of one of the models: that model}, which stands for it in the series.

  Raises:
    BiasjaxError: a pattern is no regular expression with a group `x` that holds a number.
  """
  found, called = {}, {model: model for model in models} | dict(same or {})
  for one in series:
    try:
      pattern = re.compile(one.pattern)
      factors: dict[str, float] = {}
      for name, model in called.items():
        if match := pattern.fullmatch(name):
          factors.setdefault(model, float(match["x"]))
    except (re.error, IndexError, TypeError, ValueError) as error:
      raise BiasjaxError(
        f"study.series.{one.name}: {one.pattern!r} needs a group (?P<x>...) that holds a number ({error})"
      ) from error
    factors |= {called[name]: float(x) for name, x in one.extra if name in called}
    if len(set(factors.values())) >= MIN_POINTS:
      found[one.name] = dict(sorted(factors.items(), key=lambda item: item[1]))
  return found


def points(factors: Mapping[str, float], measures: pd.DataFrame, intervals: Intervals) -> pd.DataFrame:
  """Each measure at each value of the factor.

  Args:
    factors: {model: factor}; models of one value are seeds of one setting.
    measures: float, a row for each model.
    intervals: of each, from its images.

  Returns:
    `measure, x, n, value, low, high, effect, effect_low, effect_high`. With several seeds the interval is
    Student's over them, and none where they are equal, whose variance is not seen; with one it is of its
    images alone, which says nothing of another training. effect is the difference to the smallest x, with
    Welch's interval where both have several seeds.
  """
  rows = []
  x = np.array(list(factors.values()))
  for measure in measures:
    values, lows, highs = (
      t.loc[list(factors), measure].to_numpy() for t in (measures, intervals.low, intervals.high)
    )
    known = np.isfinite(values)
    if not known.any():
      continue
    start = values[known & (x == x[known].min())]
    for at in np.unique(x[known]):
      here = known & (x == at)
      value, n = values[here].mean(), int(here.sum())
      half = _half_width(values[here]) if n > 1 else math.nan
      low, high = (value - half, value + half) if n > 1 else (lows[here][0], highs[here][0])
      effect, half_effect = math.nan, math.nan
      if at > x[known].min():
        effect, half_effect = value - start.mean(), _welch(values[here], start)
      rows.append(
        (
          *(measure, at, n, value, low, high),
          *(effect, effect - half_effect, effect + half_effect),
        )
      )
  columns = ["measure", "x", "n", "value", "low", "high", "effect", "effect_low", "effect_high"]
  return pd.DataFrame(rows, columns=columns)


def _half_width(values: np.ndarray) -> float:
  n = len(values)
  if np.ptp(values) == 0:
    return math.nan
  return float(scipy.special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * values.std(ddof=1) / math.sqrt(n))


def _welch(a: np.ndarray, b: np.ndarray) -> float:
  """Half of Welch's interval of a difference of means; NaN unless both have several values."""
  if min(len(a), len(b)) < 2 or np.ptp(a) + np.ptp(b) == 0:
    return math.nan
  interval = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
  return float(interval.high - interval.low) / 2


def trends(
  factors: Mapping[str, float],
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  resampling: Resampling,
) -> pd.DataFrame:
  """Spearman of each measure with the factor, and of each bias with each axis, along the series.

  Returns:
    `first, second, n, spearman, p`, first being "factor" or a bias; p from permutations (exact where all fit
    into the draws).
  """
  models = list(factors)
  of_factor = pd.DataFrame({"factor": list(factors.values())}, index=models)
  measures = pd.concat([biases, axes], axis=1).loc[models]
  everyone = np.ones(len(models), bool)
  found = correlation.tested(of_factor, measures, everyone, resampling)
  found |= correlation.tested(biases.loc[models], axes.loc[models], everyone, resampling)
  rows = [(*pair, *of) for pair, of in found.items()]
  return pd.DataFrame(rows, columns=["first", "second", "n", "spearman", "p"])
