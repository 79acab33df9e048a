"""Series along a swept factor."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from biasjax.study import series
from biasjax.study.definitions import Series
from biasjax.study.resampling import Resampling
from biasjax.study.sampling import Intervals

MODELS = pd.Index(["net_s0_a", "net_s0_b", "net_s0.5_a", "net_s0.5_b", "net_s1_a", "net_s1_b", "other"])
SWEPT = Series("strength", r"net_s(?P<x>[\d.]+)_\w")


def test_members_are_found_by_name_in_the_order_of_the_factor():
  found = series.members([SWEPT], MODELS[::-1])
  assert list(found["strength"].values()) == [0, 0, 0.5, 0.5, 1, 1]
  assert "other" not in found["strength"]


def test_extra_models_join_a_series():
  swept = Series("strength", SWEPT.pattern, extra=(("other", 2.0), ("absent", 3.0)))
  assert series.members([swept], MODELS)["strength"]["other"] == 2.0
  assert "absent" not in series.members([swept], MODELS)["strength"]


def test_two_values_are_no_series():
  assert not series.members([SWEPT], MODELS[:4])


def frames():
  measures = pd.DataFrame({"bias": [1.0, 1.2, 2.0, 2.4, 4.0, 4.2, 9.0]}, MODELS)
  return measures, Intervals(measures - 0.2, measures + 0.3)


def test_seeds_of_one_setting_give_students_interval_and_welchs_effect():
  measures, errors = frames()
  factors = series.members([SWEPT], MODELS)["strength"]
  last = series.points(factors, measures, errors).iloc[-1]
  assert (last["x"], last["n"], last["value"]) == (1, 2, 4.1)
  expected = scipy.stats.ttest_1samp([4.0, 4.2], 0).confidence_interval()
  assert (last["low"], last["high"]) == pytest.approx((expected.low, expected.high))
  welch = scipy.stats.ttest_ind([4.0, 4.2], [1.0, 1.2], equal_var=False).confidence_interval()
  assert last["effect"] == pytest.approx(3.0)
  assert (last["effect_low"], last["effect_high"]) == pytest.approx((welch.low, welch.high))


def test_seeds_that_give_one_number_show_no_variance_and_have_no_interval():
  measures, errors = frames()
  factors = {MODELS[-3]: 1.0, MODELS[-2]: 1.0, MODELS[0]: 0.0}
  measures.loc[MODELS[-3:-1]] = 4.0
  last = series.points(factors, measures, errors).iloc[-1]
  assert (last["n"], last["value"]) == (2, 4)
  assert np.isnan([last["low"], last["high"], last["effect_low"]]).all()


def test_one_model_has_the_interval_of_its_images():
  measures, errors = frames()
  factors = {"net_s0_a": 0.0, "net_s0.5_a": 0.5, "net_s1_a": 1.0}
  first = series.points(factors, measures, errors).iloc[0]
  assert (first["low"], first["high"]) == pytest.approx((0.8, 1.3))
  assert np.isnan(first["effect"])


def test_a_monotone_series_has_the_exact_p_of_its_orders():
  models = pd.Index([f"m{i}" for i in range(6)])
  factors = {m: float(i) for i, m in enumerate(models)}
  biases = pd.DataFrame({"bias": np.arange(6.0) ** 2}, models)
  axes = pd.DataFrame({"axis": -np.arange(6.0)}, models)
  found = series.trends(factors, biases, axes, Resampling(1000, 0))
  assert found[["first", "second"]].to_numpy().tolist() == [
    ["factor", "bias"],
    ["factor", "axis"],
    ["bias", "axis"],
  ]
  assert found["spearman"].tolist() == pytest.approx([1, -1, -1])
  assert found["p"].tolist() == pytest.approx([2 / 720] * 3)
