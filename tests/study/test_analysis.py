"""Whole studies of tables whose truth is known."""

import json
import re

import pandas as pd
import pytest

import made_tables
from biasjax.errors import BiasjaxError
from biasjax.study import analysis, definitions, output, table

DRAWS = 200


def study(folder, frame, of_models=None, **changes):
  asked = made_tables.write(folder, frame, of_models)
  defined = definitions.parse(asked["study"] | {"draws": DRAWS} | changes)
  read = table.read(asked["table"], asked["categories"], defined.used_columns())
  return analysis.analyse(read, defined, seed=0)


def statuses(found):
  claims = found.tables["claims"]
  total = claims[claims["group"] == "Total"]
  return {(row.bias, row.axis): row.status for row in total.itertuples()}


@pytest.mark.parametrize("seed", range(3))
def test_of_independent_numbers_nothing_is_established(tmp_path, seed):
  found = study(tmp_path, made_tables.table(40, seed), made_tables.categories(40))
  assert not {"established", "depends on a definition"} & set(statuses(found).values())
  assert found.sentences[0].text.startswith("Nothing is established")
  for sentence in found.sentences:
    assert sentence.level not in ("established", "depends on a definition")
    said = sentence.text
    assert not re.search(r"(rises|falls) with", said) or "that is not established" in said


def test_a_planted_relation_is_the_one_that_is_established(tmp_path):
  found = study(tmp_path, made_tables.table(60, 1, plant=0.7), made_tables.categories(60))
  assert statuses(found)["HPP", "Robustness"] == "established"
  sure = [s for s in found.sentences if s.level == "established"]
  assert len(sure) == 1
  assert sure[0].text.startswith("High-frequency bias rises with robustness in each of")


def test_a_planted_relation_is_predicted_out_of_sample(tmp_path):
  found = study(tmp_path, made_tables.table(60, 1, plant=0.7), made_tables.categories(60))
  rows = found.tables["prediction"].set_index(["axis", "predictor"])
  assert rows.loc[("Robustness", "linear"), "low"] > 0
  assert rows.loc[("Concepts", "linear"), "low"] < 0
  said = {s.text for s in found.sentences if s.level == "prediction"}
  assert "Concepts of a family not seen is not predicted by all biases together." in {
    text.replace(", and worse than by in-distribution accuracy", "") for text in said
  }
  assert any(
    text.startswith("Robustness of a family not seen is predicted by all biases together") for text in said
  )


def test_five_models_and_few_columns_have_a_study_that_says_what_it_lacks(tmp_path):
  frame = made_tables.table(5, 0)[
    ["model", "shape-bias", *made_tables.AXIS_COLUMNS["ID"], "top1_acc/PGD-40/low"]
  ]
  found = study(tmp_path, frame)
  assert found.biases.columns.tolist() == ["shape_bias"]
  assert found.axes.columns.tolist() == ["ID", "Adversarial"]
  said = " ".join(found.notes)
  assert "LPP was not computed: the table has no column metric/bandpass/LFC/0.1 and 4 more" in said
  assert "Robustness was not computed: the table has no column top1_acc/imagenet-a" in said
  assert "Total has 5 models: only |rho| of 1.00 or more can be told from no relation" in said
  assert "No categories were given" in said
  written = output.as_json(found, 0, {})
  json.dumps(written, allow_nan=False)
  assert [row["n"] for row in written["correlations"] if row["group"] == "Total"] == [5, 5]
  assert "not computed" not in output.text_summary(found).splitlines()[2]


def test_a_group_without_models_is_left_out_and_one_that_is_another_is_not_counted_twice(tmp_path):
  found = study(tmp_path, made_tables.table(5, 0))
  assert list(found.groups) == ["Total"]
  assert not any("AT has" in note for note in found.notes)
  assert "Other has the models of Total: nothing is said of it twice." in found.notes
  # Two-sided, one order of 120 among 24 cells.
  assert any("after Holm over 24 cells not even a perfect order" in note for note in found.notes)


def test_no_p_is_corrected_for_a_group_that_is_another(tmp_path):
  asked = [{"name": "Total"}, {"name": "All", "without": ["nobody"]}]
  once, twice = (
    study(tmp_path, made_tables.table(12, 0, plant=0.8), groups=groups).tables["correlations"]
    for groups in (asked[:1], asked)
  )
  pd.testing.assert_frame_equal(once, twice)


def test_four_models_have_a_study_that_says_nothing(tmp_path):
  found = study(tmp_path, made_tables.table(4, 0))
  assert [s.text for s in found.sentences] == ["Nothing can be said: no correlation could be computed."]
  assert found.tables["correlations"]["spearman"].isna().all()


def test_accuracies_that_look_like_shares_are_said(tmp_path):
  frame = made_tables.table(6, 0)
  accuracies = [name for name in frame if name.startswith("top1_acc")]
  for of, said in ((frame, False), (frame.assign(**frame[accuracies] / 100), True)):
    notes = " ".join(study(tmp_path, of).notes)
    assert ("top1_acc/imagenet is nowhere above 1: accuracies are taken for per cent" in notes) == said


def test_numbers_that_cannot_be_read_are_the_reason_that_is_given(tmp_path):
  frame = made_tables.table(6, 0)
  accuracies = [name for name in frame if name.startswith("top1_acc")]
  with pytest.raises(
    BiasjaxError, match=r"no axis .* Line 2 .model0., column top1_acc/imagenet: '\d+% ' is no"
  ):
    study(tmp_path, frame.assign(**{name: frame[name].map("{:.0f}% ".format) for name in accuracies}))


def test_a_table_without_any_bias_is_refused(tmp_path):
  frame = made_tables.table(10, 0)[["model", "top1_acc/imagenet"]]
  with pytest.raises(BiasjaxError, match="no bias of the config can be computed"):
    study(tmp_path, frame)


def test_constant_and_missing_columns_are_noted_and_the_rest_computed(tmp_path):
  frame = made_tables.table(20, 0)
  frame["shape-bias"] = 0.5
  frame.loc[:2, "top1_acc/imagenet-c"] = None
  found = study(tmp_path, frame, made_tables.categories(20))
  said = " ".join(found.notes)
  assert "shape_bias is 0.5 for all models: it correlates with nothing." in said
  assert "Robustness is missing for 3 of 20 models" in said
  cells = found.tables["correlations"].set_index(["bias", "axis", "group"])
  assert cells.loc[("shape_bias", "ID", "Total"), "reason"] == "shape_bias is the same for all 20 models"
  assert cells.loc[("HPP", "Robustness", "Total"), "n"] == 17
  assert cells.loc[("HPP", "ID", "Total"), "n"] == 20


def test_any_columns_can_be_studied(tmp_path):
  frame = made_tables.table(12, 3).rename(columns={"shape-bias": "curvature", "top1_acc/imagenet": "top1"})
  found = study(
    tmp_path,
    frame,
    biases=[{"name": "curved", "mean": ["curvature"]}],
    axes=[{"name": "clean", "mean": ["top1"]}],
    groups=None,
    variations=[{"name": "mistaken", "biases": [{"name": "curvd", "mean": ["curvature"]}]}],
    series=[],
    benchmarks=[],
  )
  assert found.tables["correlations"][["bias", "axis", "group", "n"]].to_numpy().tolist() == [
    ["curved", "clean", "Total", 12]
  ]
  assert "'mistaken' varies nothing: the study has no curvd." in found.notes


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"biases": [{"name": "b", "meen": ["a"]}]}, "study.biases.b.meen is unknown: did you mean mean?"),
    ({"biases": [{"name": "b"}]}, "study.biases.b has no mean"),
    ({"biases": [{"name": "b", "mean": "a"}]}, "study.biases.b.mean is 'a': a list of names is needed"),
    ({"biases": [{"name": "b", "mean": ["a"], "chance": 0.1}]}, "study.biases.b.chance needs times"),
    ({"biases": [{"name": "b", "mean": ["a"], "label": 3}]}, "study.biases.b.label is 3: a text is needed"),
    ({"axes": [{"name": "LPP", "mean": ["a"]}]}, "has 'LPP' as a bias and as an axis"),
    ({"columns": [{"name": "shape-bias", "mean": ["a"]}]}, "shape-bias is a column of the table already"),
    ({"benchmarks": "a"}, "study.benchmarks is 'a': a list of names is needed"),
    ({"checkpoints": 3}, "study.checkpoints is 3: a text is needed"),
    ({"variations": ["v"]}, "study.variations should be a list"),
    ({"variations": [{"name": "v", "move": [["m"]]}]}, "a list of .model, category. is needed"),
    (
      {"series": [{"name": "s", "pattern": "m", "extra": [["a", "b"]]}]},
      "a list of .model, number. is needed",
    ),
    (
      {"sizes": [{"name": "p", "models": ["m"], "columns": [["a", 0]]}]},
      "should be a list of .column, images",
    ),
    ({"biases": {"b": ["a"]}}, "study.biases should be a list"),
    ({"axes": []}, "defines no axes"),
    ({"axes": [{"name": "b", "mean": ["a"]}, {"name": "b", "mean": ["a"]}]}, "study.axes names 'b' twice"),
    ({"axes": [{"name": "category", "mean": ["a"]}]}, "names a measure 'category'"),
    ({"biases": [{"name": "model", "mean": ["a"]}]}, "names a measure 'model'"),
    ({"draws": 5}, "study.draws is 5"),
    ({"sizes": [["a", 5]]}, "study.sizes should be a list of"),
    (
      {"sizes": [{"name": "p", "models": ["m"], "columns": ["a", 5]}]},
      "study.sizes.p.columns should be a list",
    ),
    ({"sizes": [{"name": "p", "columns": [["a", 5]]}]}, "study.sizes.p has no models"),
    ({"grups": []}, "study.grups is unknown: did you mean groups?"),
    ({"series": [{"name": "s", "pattern": "(model.)"}]}, r"study.series.s: '\(model.\)' needs a group"),
    ({"series": [{"name": "s", "pattern": "("}]}, "study.series.s: '\\(' needs a group"),
  ],
)
def test_a_wrong_definition_is_named_in_one_line(tmp_path, change, message):
  with pytest.raises(BiasjaxError, match=message) as caught:
    study(tmp_path, made_tables.table(6, 0), **change)
  assert "\n" not in str(caught.value)


def test_the_seed_decides_every_number(tmp_path):
  frame, kinds = made_tables.table(20, 0), made_tables.categories(20)
  one, two = (output.as_json(study(tmp_path, frame, kinds), 0, {}) for _ in range(2))
  assert one == two


def test_latex_writes_powers_of_ten_and_what_was_not_asked(tmp_path):
  found = study(tmp_path, made_tables.table(60, 1, plant=0.9), made_tables.categories(60))
  tables = output.latex_tables(found)
  cells = found.tables["benchmarks"]
  smallest = cells["p"][cells["p"] > 0].min()  # Student's
  number, power = f"{smallest:.2e}".split("e")
  assert int(power) < -5
  assert f"${float(number):g} \\times 10^{{{int(power)}}}$" in tables["benchmarks"]
  for text in tables.values():
    assert not re.search(r"\de-?\d|None|nan", text)


def test_latex_keeps_special_characters_as_they_are(tmp_path):
  assert output.escape("a_b & 5 % of {x}") == r"a\_b \& 5 \% of \{x\}"
  found = study(tmp_path, made_tables.table(20, 0), made_tables.categories(20))
  for name, text in output.latex_tables(found).items():
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = {line.replace(r"\&", "").count("&") for line in lines}
    assert len(columns) == 1, name
    assert text.startswith(r"\begin{tabular}{" + "l" * (columns.pop() + 1) + "}")
    assert r"\toprule" in text
    assert r"\bottomrule" in text


def test_a_column_without_numbers_is_like_one_that_is_not_there(tmp_path):
  frame = made_tables.table(20, 0)
  without = study(tmp_path, frame.drop(columns="shape-bias"))
  empty = study(tmp_path, frame.assign(**{"shape-bias": float("nan")}))
  assert list(empty.biases) == list(without.biases)
  assert len(without.tables["prediction"]) == 19
  pd.testing.assert_frame_equal(empty.tables["prediction"], without.tables["prediction"])
  assert "shape_bias was not computed: all its numbers are missing." in empty.notes


def test_equal_means_of_numbers_in_another_order_tie(tmp_path):
  # (70.1 + 60.2 + 50.3) / 3 and (50.3 + 60.2 + 70.1) / 3 are two numbers of 64 bits.
  frame = made_tables.table(8, 0)
  columns = made_tables.AXIS_COLUMNS["ID"]
  frame.loc[2, columns], frame.loc[5, columns] = [70.1, 60.2, 50.3], [50.3, 60.2, 70.1]
  cells = study(tmp_path, frame).tables["correlations"].set_index(["bias", "axis", "group"])
  assert cells.at[("HPP", "ID", "Total"), "ties_axis"] == 2
  exact = frame[made_tables.BIAS_COLUMNS["HPP"][0]].corr(
    frame[columns].sum(axis=1).round(6), method="spearman"
  )
  assert cells.at[("HPP", "ID", "Total"), "spearman"] == pytest.approx(exact, abs=1e-12)


def test_a_z_scored_column_that_does_not_vary_says_nothing(tmp_path):
  frame = made_tables.table(12, 3)
  frame["top1_acc/imagenet-v2"] = 0.0
  found = study(tmp_path, frame).tables["definitions"].set_index(["definition", "bias", "axis", "group"])
  others = frame[["top1_acc/imagenet", "top1_acc/imagenet-real"]]
  expected = frame["shape-bias"].corr(
    ((others - others.mean()) / others.std()).sum(axis=1), method="spearman"
  )
  assert found.at[("z-scored benchmarks", "shape_bias", "ID", "Total"), "spearman"] == pytest.approx(expected)


def test_one_model_is_counted_as_one(tmp_path):
  found = study(tmp_path, made_tables.table(1, 0))
  said = [*found.notes, output.text_summary(found), json.dumps(output.as_json(found, 0, {}))]
  assert sum("1 model: " in text or "1 model," in text for text in said) >= 3
  assert not [text for text in said if re.search(r"\b1 models", text)]
