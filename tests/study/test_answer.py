"""The answer in three sentences says what given numbers say, and no more."""

import math

import pandas as pd
import pytest

from biasjax.study import answer, prediction, verdict

LABELS = {"b": "Shape bias", "c": "Low-frequency bias", "a": "In-distribution accuracy", "r": "Robustness"}
ESTABLISHED, FRAGILE, NONE = verdict.ESTABLISHED, verdict.FRAGILE, verdict.NONE
PREDICTORS = ("linear", "monotone", "rank-based")


def claims(*rows):
  """Standing of (bias, axis, status, spearman, apart); p is below .05 but for no relation."""
  columns = ["bias", "axis", "status", "spearman", "apart"]
  table = pd.DataFrame(rows, columns=columns).astype({"apart": object})
  return table.assign(group="Total", p=[0.5 if row[2] == NONE else 0.001 for row in rows])


def predicted(axis, lows, gains=(math.nan,) * 3):
  """Three predictors of an axis, by the low ends of R-squared and of the gain over accuracy."""
  return [
    {"axis": axis, "predictor": name, "inputs": "all biases", "n": 40, "folds": 7, "families": 7, "r2": 0.5}
    | {"low": low, "high": 0.9, "family_low": low, "family_high": 0.9}
    | {"gain": 0.2, "gain_low": gain, "gain_high": 0.9, "gain_family_low": gain, "gain_family_high": 0.9}
    for name, low, gain in zip(PREDICTORS, lows, gains, strict=True)
  ]


def said(standing, foretold=(), failed=(), families=7):
  cells = pd.DataFrame([{"group": "Total", "n": 40, "families": families}])
  columns = ["bias", "axis", "group", "kind", "verdict"]
  checks = pd.DataFrame([(*one, "Total", kind, "weakens") for *one, kind in failed], columns=columns)
  table = pd.DataFrame(list(foretold), columns=prediction.COLUMNS)
  return answer.answer(standing, cells, checks, table, LABELS, "Total", "a")


def test_what_is_established_is_named_and_what_is_not_is_counted():
  standing = claims(
    ("b", "a", ESTABLISHED, -0.8, None),
    ("b", "r", FRAGILE, -0.5, False),
    ("c", "a", NONE, 0.1, None),
    ("c", "r", FRAGILE, 0.4, True),
  )
  first, second, third = said(
    standing,
    [*predicted("a", (0.1, -0.2, -0.3)), *predicted("r", (0.2, 0.1, 0.3), (0.1, -0.1, 0.1))],
    [("b", "r", "interval"), ("c", "r", "interval"), ("c", "r", "multiplicity")],
  )
  assert first == (
    "Partly: of 2 biases 1 goes with one of 2 kinds of generalisation, none with all (shape bias falls with "
    "in-distribution accuracy)."
  )
  assert second == (
    "Of a family of models not seen, all biases together predict robustness (no better than in-distribution "
    "accuracy does); in-distribution accuracy by linear fits only."
  )
  assert third == (
    "2 more relations have p < .05 but fail a check (both the interval over families), so they are not "
    "established; for robustness nothing is."
  )


def test_where_nothing_is_established_the_models_cannot_tell():
  standing = claims(("b", "a", FRAGILE, 0.5, None), ("b", "r", NONE, 0.1, None))
  first, last = said(standing, failed=[("b", "a", "multiplicity")])
  assert first.startswith("These 40 models cannot tell: none of 2 relations")
  assert "1 relation has p < .05 but fails a check (the correction for many tests)" in last
  assert "below 0.31 cannot be told from none" in last  # a two-sided 5 % of 40: .312 (Zar's table)


@pytest.mark.parametrize(
  ("signs", "opening", "tail"),
  [
    ((0.8, 0.7), "Yes: of 1 bias 1 goes with 2 of 2 kinds", "shape bias with all ("),
    ((0.8, -0.7), "Partly: of 1 bias 1 goes with 2 of 2 kinds", "none with all in one direction ("),
  ],
)
def test_one_bias_explains_all_only_if_more_of_it_is_better_or_worse_everywhere(signs, opening, tail):
  standing = claims(("b", "a", ESTABLISHED, signs[0], None), ("b", "r", ESTABLISHED, signs[1], True))
  (first,) = said(standing)
  assert first.startswith(opening)
  assert tail in first


def test_all_biases_together_explain_it_only_if_they_say_more_than_accuracy():
  nothing = claims(("b", "a", NONE, 0.1, None), ("b", "r", NONE, 0.1, None))
  works = (0.2, 0.2, 0.2)
  assert said(nothing, predicted("r", works, works))[0].startswith("Yes: none of 2 relations")
  assert said(nothing, predicted("r", works, (0.2, -0.1, 0.2)))[0].startswith("Partly: none of 2 relations")
  assert said(nothing, predicted("r", (-0.1, 0.2, 0.2), works))[0].startswith("These 40 models cannot tell")


def test_what_is_about_accuracy_alone_and_what_is_about_one_family_is_said():
  standing = claims(("b", "r", ESTABLISHED, 0.8, False), ("b", "a", NONE, 0.1, None))
  first = said(standing, families=1)[0]
  assert first.startswith("Partly, all models taken as one family: of 1 bias")
  assert "rises with robustness, but not at equal in-distribution accuracy)" in first


def test_an_r_squared_far_below_zero_is_said_to_be_that():
  assert verdict.score(-218.28) == "far below zero"
  assert verdict.score(-0.994) == "\N{MINUS SIGN}0.99"
  assert verdict.score_span(-218.28, 0.5) == "far below zero to 0.50"
  assert verdict.score_span(-1226.1, -8.9) == "far below zero"


def test_a_sentence_about_one_kind_alone_is_whole():
  standing = claims(("b", "a", NONE, 0.1, None), ("b", "r", ESTABLISHED, 0.8, True))
  assert said(standing)[-1] == "For in-distribution accuracy nothing is established."
