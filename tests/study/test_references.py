"""One's own networks among reference rows."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

import made_tables
from biasjax.errors import BiasjaxError
from biasjax.report import command, highlight, standing
from biasjax.statistics import wilson
from biasjax.study import definitions, references, sampling

CLEAN, V2 = "top1_acc/imagenet", "top1_acc/imagenet-v2"
COLUMNS = ["model", CLEAN, "shape-bias", *made_tables.BIAS_COLUMNS["LPP"]]


def own_table(folder: pathlib.Path, dataset: str = "imagenet", **values: dict[str, float]) -> str:
  """A results.csv and its metrics.csv: {model: {column: value}}, each 1 either way, of 500 images."""
  folder.mkdir(exist_ok=True)
  pd.DataFrame.from_dict(values, orient="index").rename_axis("model").to_csv(folder / "results.csv")
  rows = [
    (model, dataset, _probe(column), column, value, value - 1, value + 1, 500, "", "")
    for model, of in values.items()
    for column, value in of.items()
  ]
  columns = ["model", "dataset", "probe", "metric", "value", "low", "high", "n", "chance", "flag"]
  pd.DataFrame(rows, columns=columns).to_csv(folder / "metrics.csv", index=False)
  return str(folder / "results.csv")


def _probe(column: str) -> str:
  return "shape" if column == "shape-bias" else "accuracy" if column.startswith("top1_acc") else "spectral"


def reference_table(folder: pathlib.Path, n: int = 8) -> str:
  made_tables.table(n, 0)[[*COLUMNS, V2]].to_csv(folder / "benchmark.csv", index=False)
  return str(folder / "benchmark.csv")


def test_ones_own_stay_whatever_the_categories_name_and_equal_names_are_told_apart(tmp_path):
  own = own_table(tmp_path / "mine", model1={CLEAN: 70.0}, mine={CLEAN: 60.0})
  (tmp_path / "kinds.json").write_text(json.dumps({"recipes": ["model0", "model1"], "other": ["model2"]}))
  table = references.read(own, str(tmp_path / "kinds.json"), [reference_table(tmp_path)], [CLEAN])
  kinds = {"model1": "recipes", "mine": "own", "model0": "recipes", "model2": "other"}
  assert dict(table.category) == kinds | {"model1 (benchmark)": "recipes"}
  assert table.highlighted == ["model1", "mine"]
  published = made_tables.table(8, 0).set_index("model")
  assert table.frame.at["model1", CLEAN] == 70
  assert table.frame.at["model1 (benchmark)", CLEAN] == published.at["model1", CLEAN]
  notes = " ".join(table.notes)
  assert "5 models of benchmark.csv in no category" in notes
  assert "its row of benchmark.csv is called 'model1 (benchmark)'" in notes


def test_two_files_of_one_name_with_a_model_in_common_are_refused(tmp_path):
  own = own_table(tmp_path / "mine", model1={CLEAN: 70.0})
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    reference_table(tmp_path / name)
  paths = [str(tmp_path / name / "benchmark.csv") for name in ("a", "b")]
  with pytest.raises(BiasjaxError, match=r"b/benchmark.csv: model1 \(benchmark\) is there already"):
    references.read(own, None, paths, [CLEAN])


def test_ones_own_keep_their_intervals_and_references_have_those_of_their_size(tmp_path):
  own = own_table(tmp_path / "mine", model1={CLEAN: 70.0, "shape-bias": 2.5})
  table = references.read(own, None, [reference_table(tmp_path)], [CLEAN])
  names = tuple(f"model{i}" for i in range(8))
  known = sampling.columns(table, [definitions.Sizes("published", names, {CLEAN: 1000})])
  assert known.of("model1", CLEAN) == (69, 71)
  assert known.n.at["model1", CLEAN] == 500
  share = float(made_tables.table(8, 0).set_index("model").at["model1", CLEAN]) / 100
  expected = [100 * edge for edge in wilson(share * 1000, 1000)]
  assert known.of("model1 (benchmark)", CLEAN) == pytest.approx(expected)


def test_what_a_run_has_measured_itself_keeps_its_interval_beside_others(tmp_path):
  """Others have the cutoffs of LPP and not LPP."""
  of = dict.fromkeys(made_tables.BIAS_COLUMNS["LPP"], 0.5)
  own = own_table(tmp_path / "mine", mine={CLEAN: 60.0, "LPP": 0.5, **of})
  table = references.read(own, None, [reference_table(tmp_path)], COLUMNS)
  asked = definitions.parse(made_tables.definitions())
  values, _ = definitions.compute(asked.biases, table.frame)
  found, _ = sampling.measures({"LPP": asked.biases["LPP"]}, values, table, sampling.columns(table, ()))
  assert found.of("mine", "LPP") == (-0.5, 1.5)
  assert np.isnan(found.of("model2", "LPP")).all()


def test_an_axis_is_made_of_what_all_have_and_says_so(tmp_path):
  own = own_table(tmp_path / "mine", mine={CLEAN: 60.0, "shape-bias": 0.3})
  table = references.read(own, None, [reference_table(tmp_path)], COLUMNS)
  asked, notes = references.shared(definitions.parse(made_tables.definitions()), table)
  assert asked.axes["ID"].mean == (CLEAN,)
  assert asked.axes["ID"].label == "In-distribution accuracy (imagenet)"
  assert asked.axes["Adversarial"].mean == ("top1_acc/PGD-40/low",)  # of no use to anyone here
  assert asked.biases["shape_bias"].label == "Shape bias"
  made_of = f"In-distribution accuracy is made of {CLEAN}, which all tables have: {V2} is not in the table"
  assert any(note.startswith(made_of) for note in notes)
  assert any(note.startswith("Low-frequency bias has no column in common") for note in notes)
  values, _ = definitions.compute(asked.axes, table.frame)
  assert values.at["mine", "ID"] == 60
  assert values["ID"].notna().all()


def test_a_column_named_by_another_dataset_is_compared_with_nothing(tmp_path):
  own = own_table(tmp_path / "mine", mine={"top1_acc/folder": 60.0, "shape-bias": 0.3})
  table = references.read(own, None, [reference_table(tmp_path)], COLUMNS)
  config = made_tables.definitions() | {"axes": [{"name": "ID", "mean": [CLEAN, V2]}]}
  asked, notes = references.shared(definitions.parse(config), table)
  values, _ = definitions.compute(asked.axes, table.frame)
  assert np.isnan(values.at["mine", "ID"])
  assert any(note.startswith("ID has no column in common") for note in notes)


def test_biases_on_other_images_are_left_out_and_said(tmp_path):
  """A folder's LPP has the name of ImageNet's."""
  of = dict.fromkeys(made_tables.BIAS_COLUMNS["LPP"], 0.5)
  own = own_table(tmp_path / "mine", mine=of, dataset="folder")
  table = references.read(own, None, [reference_table(tmp_path)], COLUMNS)
  assert table.frame.loc["mine", list(of)].isna().all()
  assert table.frame.loc["model1", list(of)].notna().all()
  first = next(iter(of))
  assert any(note.startswith(f"{first} and 4 more columns of folder: reference rows") for note in table.notes)


@pytest.mark.parametrize(
  ("dataset", "probe", "column", "theirs", "expected"),
  [
    ("imagenet", "spectral", "LPP", [CLEAN], True),
    ("folder", "spectral", "LPP", [CLEAN], False),
    ("drawn", "spectral", "LPP", ["top1_acc/drawn"], True),
    ("cue-conflict", "shape", "shape-bias", [], True),
    ("conflict", "shape", "shape-bias", [CLEAN], False),
    ("folder", "pgd:steps=3", "top1_acc/PGD-3/low", [CLEAN], False),
    ("imagenet-c", "accuracy", "top1_acc/fog_3", [CLEAN], True),
  ],
)
def test_which_images_a_bias_may_be_compared_on(dataset, probe, column, theirs, expected):
  assert references.comparable(dataset, probe, column, theirs) == expected


def test_a_study_shows_ones_own_in_its_figures_with_their_intervals(tmp_path):
  values = {CLEAN: 60.0, V2: 50.0, "shape-bias": 0.3}
  own = own_table(tmp_path / "mine", mine=values)
  asked = {"table": own, "categories": None, "compare": None, "output": str(tmp_path / "study"), "seed": 0}
  config = made_tables.few(made_tables.definitions(), "shape_bias")
  config |= {"axes": made_tables.definitions()["axes"][:1]}
  assert command.run({**asked, "study": config, "beside": [reference_table(tmp_path)]}) == 0
  drawn = (tmp_path / "study/figures/scatter_shape_bias.svg").read_text()
  assert highlight.COLOUR in drawn
  assert drawn.count(">mine</text>") == 2  # at its point, and in the legend
  written = json.loads((tmp_path / "study/study.json").read_text())
  mine = next(r for r in written["intervals"] if (r["model"], r["measure"]) == ("mine", "shape_bias"))
  assert (mine["low"], mine["high"]) == pytest.approx((-0.7, 1.3))
  assert {r["n"] for r in written["correlations"]} == {9}


def test_references_of_a_page_are_others_and_tables_told_apart(tmp_path):
  columns = ["model", "dataset", "probe", "metric", "value"]
  others = pd.DataFrame([("other", "imagenet", "accuracy", CLEAN, 50.0)], columns=columns)
  found = standing.references(others, [reference_table(tmp_path)], ["model1"])
  assert list(found.index[:3]) == ["other", "model0", "model1 (benchmark)"]
  assert found.at["other", CLEAN] == 50
  assert len(found) == 9
