"""The published table gives the published numbers, and shows what is fragile about them."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from biasjax.study import analysis, output, significance, table
from biasjax.study import definitions as definitions_module
from made_tables import definitions as published_definitions

pytestmark = pytest.mark.reference
multipletests = pytest.importorskip("statsmodels.stats.multitest", reason="needs statsmodels").multipletests

# The reference's names for our biases, and what else it holds for whole-table columns.
BIASES = {
  "shape_bias": "shape_bias",
  "low_freq_bias_LPP": "LPP",
  "high_freq_bias_HPP": "HPP",
  "critical_bw_norm": "critical_bw",
  "critical_cf_norm": "critical_cf",
  "critical_pns_norm": "critical_pns",
}


@pytest.fixture(scope="session")
def study(reference):
  config = published_definitions() | {"draws": 2000}
  asked = definitions_module.parse(config)
  paper = reference / "data" / "paper"
  read = table.read(str(paper / "benchmark.csv"), str(paper / "r50_categories.json"), asked.used_columns())
  return analysis.analyse(read, asked, seed=0)


@pytest.fixture(scope="session")
def expected(reference):
  return json.loads((reference / "reference" / "expected_correlations.json").read_text())


def compare(row, cell):
  """One cell with the reference: Spearman, Pearson and Kendall, each with p."""
  assert row["n"] == cell["n"]
  for name, p in (("spearman", "p"), ("pearson", "pearson_p"), ("kendall", "kendall_p")):
    want = cell[name]
    if want["r"] is None or math.isnan(want["r"]):
      assert math.isnan(row[name])
      continue
    assert row[name] == pytest.approx(want["r"], abs=1e-9)
    assert row[p] == pytest.approx(want["p"], abs=1e-9)


def index(rows, *keys):
  return {tuple(row[key] for key in keys): row for row in rows}


def test_every_bias_and_axis_correlates_as_expected(study, expected):
  found = index(study.tables["correlations"].to_dict("records"), "bias", "axis", "group")
  assert len(found) == 72
  for name, bias in BIASES.items():
    for axis, groups in expected["bias_x_axis"][name].items():
      for group, cell in groups.items():
        compare(found[bias, axis, group], cell)


def test_every_bias_and_benchmark_correlates_as_expected(study, expected):
  found = index(study.tables["benchmarks"].to_dict("records"), "bias", "axis", "group")
  for name, bias in BIASES.items():
    for column, groups in expected["bias_x_benchmark"][name].items():
      for group, cell in groups.items():
        compare(found[bias, column, group], cell)


def test_every_pair_of_biases_correlates_as_expected(study, expected):
  found = index(study.tables["bias_by_bias"].to_dict("records"), "bias", "axis")
  assert len(found) == len(expected["bias_x_bias"]) == 30
  for pair, cell in expected["bias_x_bias"].items():
    compare(found[tuple(BIASES[name] for name in pair.split("|"))], cell)


def test_the_posters_102_cells_come_out_of_study_json(study, expected, tmp_path):
  output.write(study, tmp_path, seed=0, source={})
  written = json.loads((tmp_path / "study.json").read_text())
  cells = index(written["correlations"], "bias", "axis", "group")
  pairs = index(written["bias_by_bias"], "bias", "axis", "group")
  poster = expected["poster"]
  printed = {
    (BIASES[bias], axis, group): value
    for bias, axes in poster["bias_x_axis"].items()
    for axis, groups in axes.items()
    for group, value in groups.items()
  }
  names = [BIASES.get(name, name) for name in poster["bias_x_bias_order"]]
  for i, first in enumerate(names):
    for j, second in enumerate(names):
      if i != j:
        printed[first, second, "Total"] = poster["bias_x_bias"][i][j]
  assert len(printed) == 102
  for key, value in printed.items():
    cell = cells.get(key) or pairs[key]
    shown = round(cell["spearman"], 2) if cell["p"] < 0.05 else 0
    assert shown == pytest.approx(value, abs=1e-9), key


def test_study_json_has_the_promised_keys(study, tmp_path):
  output.write(study, tmp_path, seed=0, source={})
  written = json.loads((tmp_path / "study.json").read_text())
  keys = {"bias", "axis", "group", "n", "spearman", "p", "low", "high", "p_holm", "p_bh"}
  for name, rows in (("correlations", 72), ("bias_by_bias", 30)):
    assert len(written[name]) == rows
    assert all(keys <= set(row) for row in written[name])
  assert {row["bias"] for row in written["correlations"]} == set(BIASES.values())
  assert {row["axis"] for row in written["correlations"]} == {"ID", "Robustness", "Concepts", "Adversarial"}


def test_models_have_the_expected_biases_and_axes(study, expected):
  found = analysis.models(study)
  for model, values in expected["per_model"].items():
    for name in ("ID", "Robustness", "Concepts", "Adversarial", "LPP", "HPP"):
      assert found.loc[model, name] == pytest.approx(values[name], abs=1e-9)
    assert found.loc[model, "category"] == values["category"]


# What FACTS.md says of each doubtful definition: (bias, axis, group) -> (correlation, p < .05).
DEFINITIONS = {
  "ID without ReaL": {
    ("shape_bias", "ID", "Total"): (-0.77, True),
    ("LPP", "ID", "Total"): (-0.28, False),
    ("HPP", "ID", "Total"): (0.64, True),
    ("critical_bw", "ID", "Total"): (-0.71, True),
    ("critical_cf", "ID", "Total"): (0.10, False),
    ("critical_pns", "ID", "Total"): (0.30, True),
    ("shape_bias", "ID", "AT"): (-1.00, True),
    ("LPP", "ID", "AT"): (-1.00, True),
    ("HPP", "ID", "AT"): (0.83, True),
    ("critical_cf", "ID", "Other"): (0.36, True),
  },
  "Robustness with 15 corruptions, not 19": {
    ("critical_bw", "Robustness", "AT"): (-0.53, True),
    ("shape_bias", "Robustness", "AT"): (-0.86, True),
  },
  "Concepts without Stylized": {
    ("shape_bias", "Concepts", "Total"): (-0.12, False),
    ("shape_bias", "Concepts", "Other"): (0.11, False),
    ("LPP", "Concepts", "Total"): (0.14, False),
    ("HPP", "Concepts", "Total"): (0.68, True),
    ("critical_bw", "Concepts", "Total"): (-0.54, True),
    ("critical_bw", "Concepts", "Other"): (-0.49, True),
  },
  "critical band of raw accuracy": {
    ("critical_bw", "ID", "Total"): (-0.70, True),
    ("critical_bw", "Robustness", "Total"): (-0.68, True),
    ("critical_bw", "Concepts", "Total"): (-0.13, False),
    ("critical_bw", "Adversarial", "Total"): (0.15, False),
  },
  "raw accuracy, not its ratio to clean accuracy": {
    ("LPP", "ID", "AT"): (0.28, False),
    ("LPP", "Robustness", "AT"): (0.44, False),
    ("LPP", "Concepts", "AT"): (0.85, True),
    ("LPP", "ID", "Total"): (0.29, True),
    ("LPP", "Concepts", "Total"): (0.61, True),
  },
  "eps 0 not counted as adversarial training": {("HPP", "Adversarial", "AT"): (-0.49, False)},
  "Adversarial at the high budget": {
    ("shape_bias", "Adversarial", "Total"): (0.68, True),
    ("shape_bias", "Adversarial", "AT"): (0.98, True),
    ("LPP", "Adversarial", "AT"): (0.98, True),
    ("HPP", "Adversarial", "AT"): (-0.81, True),
    ("critical_pns", "Adversarial", "AT"): (-0.85, True),
  },
  "Robustness without ImageNet-A": {
    ("shape_bias", "Robustness", "Total"): (-0.42, True),
    ("critical_bw", "Robustness", "Total"): (-0.66, True),
    ("critical_bw", "Robustness", "Other"): (-0.32, False),
    ("LPP", "Robustness", "Other"): (0.65, True),
  },
  "z-scored benchmarks": {
    ("LPP", "Concepts", "Total"): (0.18, False),
    ("shape_bias", "Concepts", "Other"): (0.33, False),
    ("critical_bw", "Concepts", "Total"): (-0.45, True),
    ("LPP", "ID", "Total"): (-0.29, True),
  },
}


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_other_definitions_give_the_known_correlations(study, definition):
  rows = study.tables["definitions"]
  found = index(rows[rows["definition"] == definition].to_dict("records"), "bias", "axis", "group")
  for key, (r, significant) in DEFINITIONS[definition].items():
    assert found[key]["spearman"] == pytest.approx(r, abs=0.0051), key
    assert (found[key]["p"] < 0.05) == significant, key


def test_fifteen_corruptions_change_no_sign_and_no_significance(study):
  checks = study.tables["checks"]
  mine = checks[checks["check"] == "Robustness with 15 corruptions, not 19"]
  assert len(mine) == 18
  assert set(mine["verdict"]) == {"holds"}


def test_chance_corrected_high_pass_keeps_every_conclusion(study):
  checks = study.tables["checks"]
  assert set(checks.loc[checks["check"] == "high-pass accuracy above chance", "verdict"]) == {"holds"}


def test_leaving_eps_0_out_changes_one_conclusion_among_adversarially_trained(study):
  checks = study.tables["checks"]
  mine = checks[(checks["check"] == "eps 0 not counted as adversarial training") & (checks["group"] == "AT")]
  changed = mine[mine["verdict"] != "holds"]
  assert [tuple(row) for row in changed[["bias", "axis", "n"]].to_numpy()] == [("HPP", "Adversarial", 14)]


def test_multiplicity_keeps_22_and_36_of_40_cells_by_students_p(study):
  p = study.tables["correlations"]["p"].to_numpy()
  holm, bh = significance.holm(p), significance.benjamini_hochberg(p)
  assert [(v < 0.05).sum() for v in (p, holm, bh)] == [40, 22, 36]


def test_corrections_are_of_the_permutation_p_and_agree_with_students_but_at_the_edge(study):
  cells = study.tables["correlations"]
  p = cells["p_permutation"].to_numpy()
  for name, method in (("p_holm", "holm"), ("p_bh", "fdr_bh")):
    np.testing.assert_allclose(cells[name], multipletests(p, method=method)[1])
  students = significance.holm(cells["p"].to_numpy())
  differ = (cells["p_holm"] < 0.05) != (students < 0.05)
  assert students[differ].min(initial=1) > 0.03
  assert students[differ].max(initial=0) < 0.07


def test_multiplicity_over_all_models_keeps_11_and_12_of_15_cells(study):
  cells = study.tables["correlations"]
  total = cells[cells["group"] == "Total"]
  p = total["p"].to_numpy()
  holm, bh = significance.holm(p), significance.benjamini_hochberg(p)
  assert [(v < 0.05).sum() for v in (p, holm, bh)] == [15, 11, 12]
  pairs = [f"{b}x{a}" for b, a in total[["bias", "axis"]].to_numpy()]
  lost = {pair for pair, before, after in zip(pairs, p, bh, strict=True) if before < 0.05 <= after}
  assert lost == {"LPPxConcepts", "critical_bwxConcepts", "critical_pnsxID"}


# (bias, axis) -> (within categories, p); None where FACTS.md says only that it survives.
WITHIN = {
  ("critical_bw", "ID"): (-0.28, 0.18),
  ("shape_bias", "Robustness"): (-0.24, 0.16),
  ("HPP", "ID"): (0.31, 0.07),
  ("HPP", "Adversarial"): (0.17, 0.31),
  ("critical_bw", "Adversarial"): (0.27, 0.10),
  ("shape_bias", "ID"): (-0.66, None),
  ("shape_bias", "Adversarial"): (0.65, None),
  ("LPP", "Adversarial"): (0.83, None),
  ("HPP", "Robustness"): (0.43, None),
  ("critical_pns", "ID"): (0.50, None),
}


def test_within_categories_half_the_claims_are_left(study):
  rows = study.tables["within"]
  found = index(rows[rows["group"] == "Total"].to_dict("records"), "bias", "axis")
  for key, (r, p) in WITHIN.items():
    assert found[key]["within"] == pytest.approx(r, abs=0.0051), key
    if p is None:
      assert found[key]["within_p"] < 0.05, key
    else:
      assert found[key]["within_p"] == pytest.approx(p, abs=0.04), key


def test_simpsons_paradox_is_named_for_hpp_and_adversarial_alone(study):
  rows = study.tables["within"]
  flagged = rows[rows["simpson"] & (rows["group"] == "Total")]
  assert flagged[["bias", "axis"]].to_numpy().tolist() == [["HPP", "Adversarial"]]
  said = [s for s in study.sentences if s.level == "paradox"]
  assert len(said) == 1
  assert "Simpson's paradox: high-frequency bias and adversarial robustness" in said[0].text


def test_leaving_a_category_out_flips_two_claims(study):
  rows = study.tables["without_category"]
  rows = rows[rows["group"] == "Total"]
  ranges = rows.groupby(["bias", "axis"])["spearman"].agg(["min", "max"]).round(2)
  assert ranges.loc[("HPP", "Adversarial")].tolist() == [-0.58, 0.53]
  assert ranges.loc[("critical_bw", "Adversarial")].tolist() == [-0.30, 0.74]
  checks = study.tables["checks"]
  flips = checks[
    checks["check"].str.startswith("without ") & (checks["verdict"] == "flips") & (checks["group"] == "Total")
  ]
  assert {("HPP", "Adversarial"), ("critical_bw", "Adversarial")} <= set(
    map(tuple, flips[["bias", "axis"]].to_numpy())
  )


def test_the_ratio_artefact_flips_lpp_among_adversarially_trained(study):
  checks = study.tables["checks"]
  row = checks[
    (checks["check"] == "raw accuracy, not its ratio to clean accuracy")
    & (checks["group"] == "AT")
    & (checks["bias"] == "LPP")
    & (checks["axis"] == "ID")
  ].iloc[0]
  assert row["claim"] == "Low-frequency bias falls with in-distribution accuracy"
  assert row["verdict"] == "flips"


def test_the_verdict_establishes_what_is_known_to_be_robust(study):
  claims = study.tables["claims"]
  found = index(claims[claims["group"] == "Total"].to_dict("records"), "bias", "axis")
  for key in (("shape_bias", "ID"), ("LPP", "Adversarial"), ("HPP", "Robustness")):
    assert found[key]["status"] == "established", key
  assert {found["critical_cf", axis]["status"] for axis in study.axes} == {"no relation"}
  for key in (("LPP", "Concepts"), ("HPP", "Adversarial"), ("critical_pns", "ID"), ("critical_bw", "ID")):
    assert found[key]["status"] == "fragile", key
  assert any("No single bias has an established relation" in s.text for s in study.sentences)


def test_high_budget_robustness_is_missing_for_26_models(study):
  rows = study.tables["benchmarks"]
  high = rows[(rows["axis"] == "top1_acc/PGD-40/high") & (rows["group"] == "Total")]
  assert set(high["n"]) == {22}
  assert set(high["missing"]) == {26}


def test_ties_of_the_critical_band_are_counted(study, reference):
  vectors = json.loads((reference / "reference" / "criticalband_thresholds_by_model.json").read_text())
  of_models = pd.Series({m: tuple(vectors[m]["thresholds_norm"]) for m in study.biases.index})
  assert of_models.nunique() == 20
  expected = int(of_models.duplicated(keep=False).sum())
  cells = study.tables["correlations"]
  total = cells[(cells["bias"] == "critical_bw") & (cells["group"] == "Total")]
  assert set(total["ties_bias"]) == {expected}


def test_shape_bias_rises_along_both_adversarial_series(study):
  trends = study.tables["series_trends"]
  mine = trends[(trends["first"] == "factor") & trends["second"].isin(["shape_bias", "ID"])]
  found = {(row.series, row.second): row for row in mine.itertuples()}
  for series in ("L2 adversarial training", "Linf adversarial training"):
    assert found[series, "shape_bias"].spearman > 0.9
    assert found[series, "ID"].spearman < -0.9
    assert found[series, "shape_bias"].p < 0.05


def test_the_unused_models_are_noted(study):
  assert any(note.startswith("22 models") and "in no category" in note for note in study.notes)
