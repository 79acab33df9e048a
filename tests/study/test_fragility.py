"""What a claim's checks say of tables whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from biasjax.study import correlation, definitions, fragility, verdict
from biasjax.study.resampling import Resampling

sm = pytest.importorskip("statsmodels.api", reason="needs statsmodels")


def frames(x, y):
  return pd.DataFrame({"bias": x}), pd.DataFrame({"axis": y})


def grouped(slope, shift, seed, n=20, groups=4):
  """Categories in which y moves by `slope` with x, and whose means move by `shift`."""
  rng = np.random.default_rng(seed)
  category = np.repeat(np.arange(groups), n)
  x = rng.normal(size=groups * n)
  y = slope * x + 0.3 * rng.normal(size=groups * n) + shift * 3 * category
  return x + 3 * category, y, np.array([f"c{c}" for c in category], object)


@pytest.mark.parametrize(
  ("base", "check", "expected"),
  [
    ((0.5, 0.01), (0.4, 0.02), "holds"),
    ((0.5, 0.01), (0.4, 0.20), "weakens"),
    ((0.5, 0.01), (-0.1, 0.60), "flips"),
    ((-0.5, 0.01), (0.5, 0.01), "flips"),
    ((0.1, 0.60), (-0.1, 0.60), "holds"),
    ((0.1, 0.60), (0.5, 0.01), "appears"),
    ((0.5, 0.01), (math.nan, math.nan), "not computed"),
  ],
)
def test_a_check_has_one_of_five_outcomes(base, check, expected):
  assert fragility.verdict(*base, *check) == expected


def test_a_planted_simpsons_paradox_is_found():
  x, y, category = grouped(slope=-1.0, shift=1.0, seed=0)
  row = fragility.within(*frames(x, y), category, np.ones(80, bool), Resampling(500, 0)).iloc[0]
  assert row["pooled"] > 0.7
  assert row["within"] < -0.5
  assert row["within_p"] < 0.01
  assert row["simpson"]


def test_no_paradox_is_named_where_pooled_and_within_agree():
  x, y, category = grouped(slope=1.0, shift=1.0, seed=1)
  row = fragility.within(*frames(x, y), category, np.ones(80, bool), Resampling(500, 0)).iloc[0]
  assert row["within"] > 0.5
  assert not row["simpson"]


def test_shifts_between_categories_alone_leave_nothing_within():
  rejected = []
  for seed in range(100):
    x, y, category = grouped(slope=0.0, shift=1.0, seed=seed, n=8)
    row = fragility.within(*frames(x, y), category, np.ones(32, bool), Resampling(200, seed)).iloc[0]
    rejected.append(row["within_p"] < 0.05)
  assert 0 < np.mean(rejected) < 0.15  # .05, within four standard errors and one more for discreteness


def test_categories_of_one_model_do_not_count_within():
  x, y, category = grouped(slope=1.0, shift=0.0, seed=2)
  category[:2] = ["lonely", "alone"]
  row = fragility.within(*frames(x, y), category, np.ones(80, bool), Resampling(200, 0)).iloc[0]
  assert row["n"] == 78
  assert row["categories"] == 4


def test_one_category_has_no_within():
  x, y, _ = grouped(slope=1.0, shift=1.0, seed=0)
  same = np.full(80, "c", object)
  row = fragility.within(*frames(x, y), same, np.ones(80, bool), Resampling(200, 0)).iloc[0]
  assert math.isnan(row["within"])
  assert not len(fragility.leave_one_category_out(*frames(x, y), same, np.ones(80, bool), Resampling(200, 0)))


def test_leaving_a_category_out_is_the_correlation_of_the_others():
  x, y, category = grouped(slope=1.0, shift=-1.0, seed=3)
  table = fragility.leave_one_category_out(*frames(x, y), category, np.ones(80, bool), Resampling(5000, 0))
  assert table["without"].tolist() == ["c0", "c1", "c2", "c3"]
  for row in table.itertuples():
    kept = category != row.without
    expected = scipy.stats.spearmanr(x[kept], y[kept])
    assert row.spearman == pytest.approx(expected.statistic)
    assert row.p == pytest.approx(expected.pvalue, abs=0.02)  # from permutations


def test_a_models_influence_is_the_correlation_with_it_less_that_without_it():
  rng = np.random.default_rng(4)
  x, y = rng.normal(size=(2, 12))
  table = fragility.leave_one_model_out(*frames(x, y), np.ones(12, bool))
  whole = scipy.stats.spearmanr(x, y).statistic
  assert len(table) == 12
  for i, row in enumerate(table.itertuples()):
    without = scipy.stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic
    assert (row.spearman_without, row.influence) == pytest.approx((without, whole - without))


def given(x, y, third):
  """The row of one bias and axis given a third variable."""
  axes = pd.DataFrame({"axis": y, "third": third})
  everyone = np.ones(len(x), bool)
  (row,) = fragility.given(
    pd.DataFrame({"bias": x}), axes, "third", everyone, Resampling(5000, 0)
  ).itertuples()
  return row


def test_partial_correlation_is_that_of_residual_ranks():
  rng = np.random.default_rng(6)
  third = rng.normal(size=30)
  x, y = third + rng.normal(size=30), -third + rng.normal(size=30)
  ranks = [scipy.stats.rankdata(v) for v in (x, y, third)]
  design = sm.add_constant(ranks[2])
  residuals = [sm.OLS(r, design).fit().resid for r in ranks[:2]]
  found = given(x, y, third)
  assert found.spearman == pytest.approx(np.corrcoef(residuals)[0, 1])
  # The p of x's slope in a regression of y on x and the third.
  slope = sm.OLS(ranks[1], sm.add_constant(np.stack([ranks[0], ranks[2]], axis=1))).fit()
  assert found.p == pytest.approx(slope.pvalues[1], abs=0.02)
  assert found.n == 30


def test_what_a_third_variable_makes_is_gone_given_it():
  rng = np.random.default_rng(7)
  third = rng.normal(size=300)
  x, y = third + 0.5 * rng.normal(size=300), third + 0.5 * rng.normal(size=300)
  assert scipy.stats.spearmanr(x, y).statistic > 0.6
  found = given(x, y, third)
  assert abs(found.spearman) < 0.15
  assert found.p > 0.01


def test_partial_correlation_given_the_same_order_is_undefined():
  x = np.arange(10.0)
  assert math.isnan(given(x, np.random.default_rng(0).normal(size=10), x**3).spearman)


def asked(**parts):
  base = {
    "biases": [{"name": "b", "mean": ["x"]}],
    "axes": [{"name": "a", "mean": ["y"]}],
    "groups": [{"name": "Total"}, {"name": "kind", "only": ["kind"]}],
  }
  return definitions.parse(base | parts)


def test_a_variation_touches_only_what_it_redefines():
  models = [f"m{i}" for i in range(12)]
  x = np.arange(12.0)
  frame = pd.DataFrame({"x": x, "y": x[::-1], "z": x}, index=models)
  category = pd.Series(["kind"] * 6 + ["other"] * 6, index=models)
  study = asked(
    variations=[
      {"name": "other axis", "axes": [{"name": "a", "mean": ["z"]}]},
      {"name": "one moves", "move": [["m0", "other"]]},
      {"name": "no such column", "axes": [{"name": "a", "mean": ["w"]}]},
    ]
  )
  axis, move, absent = (
    fragility.under(v, study, frame, category, Resampling(200, 0)) for v in study.variations
  )
  assert axis["spearman"].tolist() == [1.0, 1.0]
  assert move[["group", "n"]].to_numpy().tolist() == [["kind", 5]]
  assert set(absent["reason"]) == {"the table has no column w"}


@pytest.mark.parametrize("constant", ["bias", "axis"])
def test_what_is_the_same_in_each_category_is_not_established(constant):
  """Three categories of eight: three observations, whose best order is one of six, however many models."""
  category = np.repeat(list("abc"), 8).astype(object)
  step = np.repeat([0.0, 1.0, 2.0], 8)
  varied = step + np.random.default_rng(0).normal(size=24) / 10
  biases, axes = frames(*((step, varied) if constant == "bias" else (varied, step)))
  everyone, samples = np.ones(24, bool), Resampling(500, 0)
  cells = correlation.cells(biases, axes, {"Total": everyone}, category, samples)
  assert cells["p_permutation"].item() < 0.01
  within = fragility.within(biases, axes, category, everyone, samples)
  nothing = pd.DataFrame(columns=["bias", "axis", "group", "given", "n", "spearman", "p"])
  labels = {"bias": "Bias", "axis": "Axis"}
  checks = fragility.checks(cells, {"Total": within}, {}, nothing, {}, labels).set_index("check")
  assert checks.loc["within categories", "verdict"] == "weakens"
  assert verdict.statuses(cells, checks.reset_index())["status"].tolist() == ["fragile"]
