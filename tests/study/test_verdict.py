"""What may be said of given numbers."""

import math

import pandas as pd
import pytest

from biasjax.study import correlation, definitions, fragility, prediction, verdict

LABELS = {"b": "Shape bias", "a": "Robustness"}


def cell(group, spearman, p, low=0.2, high=0.9, **more):
  known = {"bias": "b", "axis": "a", "group": group, "n": 20, "spearman": spearman, "p": p}
  known |= {"p_permutation": p, "p_holm": p, "p_bh": p, "low": low, "high": high, "families": 1}
  return {"family_low": math.nan, "family_high": math.nan, "ties_bias": 0, "reason": ""} | known | more


def judged(*cells):
  """(the status of the first cell, what is said of it)."""
  table = pd.DataFrame(cells)
  nothing = pd.DataFrame(columns=["bias", "axis", "group", "given", "n", "spearman", "p"])
  checks = fragility.checks(table, {}, {}, nothing, {}, LABELS)
  standing = verdict.statuses(table, checks)
  asked = definitions.parse(
    {
      "biases": [{"name": "b", "mean": ["b"], "label": "Shape bias"}],
      "axes": [{"name": "a", "mean": ["a"], "label": "Robustness"}],
      "groups": [{"name": name} for name in table["group"]],
    }
  )
  within = pd.DataFrame(columns=["bias", "axis", "pooled", "pooled_p", "within", "within_p", "simpson"])
  within["simpson"] = within["simpson"].astype(bool)
  order = pd.DataFrame(columns=["measure", "axis", "worst", "mean", "worst_environment", "environments"])
  none = pd.DataFrame(columns=prediction.COLUMNS)
  said = verdict.sentences(asked, LABELS, table, standing, within, none, order)
  return standing["status"][0], said[1]


def test_a_relation_that_holds_everywhere_is_said_to_hold_in_each_check():
  status, said = judged(cell("Total", 0.6, 0.001), cell("AT", 0.7, 0.01))
  assert status == "established"
  assert said.text == "Shape bias rises with robustness in each of 4 checks."


def test_a_group_in_which_it_cannot_be_told_is_named_and_not_counted_as_holding():
  status, said = judged(cell("Total", 0.6, 0.001), cell("AT", -0.1, 0.7))
  assert status == "established"
  assert (
    said.text
    == "Shape bias rises with robustness in 3 of 4 checks, but among AT: flips (\N{MINUS SIGN}0.10)."
  )


def test_a_group_that_shows_the_opposite_leaves_nothing_established():
  status, said = judged(cell("Total", 0.6, 0.001), cell("AT", -0.8, 0.001))
  assert status == "fragile"
  assert "is not established: among AT: flips (\N{MINUS SIGN}0.80)" in said.text


def test_the_interval_over_families_decides():
  wide = cell("Total", 0.6, 0.001, family_low=-0.1, family_high=0.9, families=7)
  status, said = judged(wide)
  assert status == "fragile"
  assert "the interval over families includes zero" in said.text
  assert "95 % \N{MINUS SIGN}0.10 to 0.90 over families, 0.20 to 0.90 over models" in said.numbers
  assert correlation.deciding(wide) == (-0.1, 0.9)
  narrow = cell("Total", 0.6, 0.001, low=-0.1, high=0.9, family_low=0.2, family_high=0.8, families=7)
  assert judged(narrow)[0] == "established"


def test_words_go_by_the_permutation_p_and_not_by_students():
  status, said = judged(cell("Total", 1.0, 0.0, p_permutation=0.08, p_holm=1.0, p_bh=1.0, low=math.nan))
  assert status == "no relation"
  assert "shows no relation" in said.text


def predicted(gain, r2=(0.5, 0.2, 0.8), family=(math.nan, math.nan), gain_family=(math.nan, math.nan)):
  """What is said of three predictors with the same scores."""
  same = {"axis": "a", "inputs": "all biases", "n": 40, "folds": 7, "families": 7}
  same |= dict(zip(("r2", "low", "high"), r2, strict=True))
  same |= dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
  same |= dict(zip(("family_low", "family_high"), family, strict=True))
  same |= dict(zip(("gain_family_low", "gain_family_high"), gain_family, strict=True))
  rows = [{**same, "predictor": name} for name in ("linear", "monotone", "rank-based")]
  (said,) = verdict.predicted(pd.DataFrame(rows, columns=prediction.COLUMNS), LABELS)
  return said.text


NOT = "Robustness of a family not seen is not predicted by all biases together"
IS = "Robustness of a family not seen is predicted by all biases together"


@pytest.mark.parametrize(
  ("scores", "expected"),
  [
    ({"gain": (0.3, 0.1, 0.5)}, f"{IS}, better than by in-distribution accuracy."),
    ({"gain": (0.1, -0.1, 0.3)}, f"{IS}, not reliably better than by in-distribution accuracy."),
    # Above a very bad prediction, but itself no better than the mean.
    ({"gain": (2.0, 0.5, 3.0), "r2": (0.1, -0.3, 0.4)}, f"{NOT}."),
    (
      {"gain": (-2.0, -3.0, -0.5), "r2": (-0.1, -0.5, 0.2)},
      f"{NOT}, and worse than by in-distribution accuracy.",
    ),
    # Intervals over families decide, of the prediction and of the gain.
    ({"gain": (0.3, 0.1, 0.5), "family": (-0.5, 0.9)}, f"{NOT}."),
    (
      {"gain": (0.3, 0.1, 0.5), "family": (0.1, 0.9), "gain_family": (-0.2, 0.8)},
      f"{IS}, not reliably better than by in-distribution accuracy.",
    ),
  ],
)
def test_a_gain_is_claimed_only_where_the_prediction_is_established(scores, expected):
  assert predicted(**scores) == expected


@pytest.mark.parametrize(
  ("p", "said"),
  [
    (0.012, "p = .012"),
    (0.0499, "p = .0499"),
    (0.04996, "p = .04996"),
    (500 / 10_001, "p = .049995"),
    (0.0494, "p = .049"),
    (0.05, "p = .050"),
    (0.0504, "p = .050"),
    (0.0004, "p < .001"),
    (0.9999, "p = 1.000"),
    (1.0, "p = 1.000"),
  ],
)
def test_a_p_below_a_twentieth_is_not_printed_as_one(p, said):
  assert verdict.probability(p) == said


@pytest.mark.parametrize(
  ("low", "high", "said"),
  [
    (0.004, 0.4, "0.004 to 0.40"),
    (-0.004, 0.4, "\N{MINUS SIGN}0.004 to 0.40"),
    (-0.4, -0.00021, "\N{MINUS SIGN}0.40 to \N{MINUS SIGN}0.0002"),
    (0.0, 0.4, "0.00 to 0.40"),
    (1e-17, 0.4, "0.00 to 0.40"),
    (0.006, 0.4, "0.01 to 0.40"),
  ],
)
def test_an_end_of_an_interval_shows_on_which_side_of_zero_it_is(low, high, said):
  assert verdict.span(low, high) == said
