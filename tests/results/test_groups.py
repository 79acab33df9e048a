"""Which image is of which group, and the numbers that stand in tables as long as that is kept."""

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax import probes
from biasjax.cli import grouping, main
from biasjax.data import annotations
from biasjax.data.classes import category_index, wordnet_ids
from biasjax.errors import BiasjaxError
from biasjax.results import groups
from biasjax.results.store import Store
from biasjax.results.summary import summarise, write_tables

EXAMPLES = pd.DataFrame({"example_id": ["a.png", "b.png", "c.png"], "label": [0, 1, 0]})


def annotated(tmp_path, text):
  (tmp_path / "known.csv").write_text(text)
  return annotations.read(str(tmp_path / "known.csv"))


def test_groups_are_classes_or_columns_of_annotations(tmp_path):
  assert list(groups.chosen("class", "imagenet", EXAMPLES, "val", None)) == ["tench", "goldfish", "tench"]
  assert list(groups.chosen("class", "classes", EXAMPLES, "val", None)) == ["0", "1", "0"]
  known = annotated(tmp_path, "example_id,group,bias\nc.png,old,1\na.png,new,0\nb.png,old,1\n")
  found = groups.chosen("group", "classes", EXAMPLES, "val", known)
  assert found.to_dict() == {"a.png": "new", "b.png": "old", "c.png": "old"}
  found = groups.chosen("aligned", "classes", EXAMPLES, "val", known)
  assert found.to_dict() == {"a.png": "aligned", "b.png": "aligned", "c.png": "conflicting"}


def test_classes_of_ones_own_go_by_the_names_of_their_folders(tmp_path):
  names = {0: ["landbird"], 1: ["waterbird"]}
  assert list(groups.chosen("class", "classes", EXAMPLES, "val", None, names)) == [
    *("landbird", "waterbird", "landbird")
  ]
  rows = "a.png,landbird\nb.png,landbird\nc.png,waterbird\n"
  found = groups.chosen(
    "aligned", "classes", EXAMPLES, "val", annotated(tmp_path, f"example_id,bias\n{rows}"), names
  )
  assert found.to_dict() == {"a.png": "aligned", "b.png": "conflicting", "c.png": "conflicting"}
  (tmp_path / "of.csv").write_text("class,group\nlandbird,land\n1,water\n")
  found = groups.chosen(str(tmp_path / "of.csv"), "classes", EXAMPLES, "val", None, names)
  assert list(found) == ["land", "water", "land"]
  (tmp_path / "of.csv").write_text("class,group\nlandbrd,land\n")
  with pytest.raises(BiasjaxError, match=r"landbrd is no class of val: did you mean landbird\?"):
    groups.chosen(str(tmp_path / "of.csv"), "classes", EXAMPLES, "val", None, names)


def test_a_name_that_is_another_class_number_is_a_name(tmp_path):
  # Folders 1, 10 and 2 in the order of their names: label 1 is the folder 10, label 2 the folder 2.
  names, examples = {0: ["1"], 1: ["10"], 2: ["2"]}, EXAMPLES.assign(label=[0, 1, 2])
  known = annotated(tmp_path, "example_id,bias\na.png,0\nb.png,1\nc.png,2\n")
  found = groups.chosen("aligned", "classes", examples, "val", known, names)
  assert found.to_dict() == {"a.png": "aligned", "b.png": "conflicting", "c.png": "aligned"}


def test_folders_of_one_label_are_one_class(tmp_path):
  names, examples = {0: ["ant"], 2: ["bee", "cat"]}, EXAMPLES.assign(label=[2, 2, 0])
  assert list(groups.chosen("class", "classes", examples, "val", None, names)) == ["bee, cat"] * 2 + ["ant"]
  known = annotated(tmp_path, "example_id,bias\na.png,cat\nb.png,bee\nc.png,ant\n")
  found = groups.chosen("aligned", "classes", examples, "val", known, names)
  assert list(found) == ["aligned"] * 3
  path = tmp_path / "of.csv"
  path.write_text("class,group\nbee,x\ncat,x\nant,y\n")
  assert list(groups.chosen(str(path), "classes", examples, "val", None, names)) == ["x", "x", "y"]
  for text, message in (
    ("bee,x\ncat,y\n", "bee, cat are one class of val, and of x and y"),
    ("ant,x\n0,y\n", "0, ant are one class of val, and of x and y"),
  ):
    path.write_text(f"class,group\n{text}")
    with pytest.raises(BiasjaxError, match=message):
      groups.chosen(str(path), "classes", examples, "val", None, names)


def test_super_classes_are_the_16_categories_or_those_of_a_file(tmp_path):
  examples = EXAMPLES.assign(label=[207, 0, 409])  # a golden retriever, a tench, a clock
  found = groups.chosen("category", "imagenet", examples, "val", None)
  assert found.to_dict() == {"a.png": "dog", "c.png": "clock"}  # a tench is of no category
  assert {"dog", "clock"} <= set(category_index())
  (tmp_path / "of.csv").write_text(f"class,group\n{wordnet_ids()[207]},animal\ntench,animal\n409,thing\n")
  found = groups.chosen(str(tmp_path / "of.csv"), "imagenet", examples, "val", None)
  assert found.to_dict() == {"a.png": "animal", "b.png": "animal", "c.png": "thing"}


@pytest.mark.parametrize(
  ("by", "labels", "message"),
  [
    ("group", "classes", "--groups=group is a column of annotations: name their file with --annotations"),
    ("category", "classes", "--groups=category: val has labels classes, and not ImageNet's classes"),
    ("clas", "classes", "--groups=clas is unknown: did you mean class?"),
    ("none.csv", "classes", "--groups=none.csv cannot be read"),
  ],
)
def test_a_mistake_is_named(by, labels, message):
  with pytest.raises(BiasjaxError) as raised:
    groups.chosen(by, labels, EXAMPLES, "val", None)
  assert str(raised.value).startswith(message)


def test_a_class_of_two_groups_and_annotations_that_nothing_asks_for_are_refused(tmp_path):
  (tmp_path / "of.csv").write_text("class,group\n1,a\n1,b\n")
  with pytest.raises(BiasjaxError, match="class 1 is of a and of b: keep one"):
    groups.chosen(str(tmp_path / "of.csv"), "classes", EXAMPLES, "val", None)
  (tmp_path / "of.csv").write_text("class,group\ntenhc,a\n1,b\n")
  with pytest.raises(BiasjaxError, match=r"of.csv: tenhc is no class of val: did you mean tench\?"):
    groups.chosen(str(tmp_path / "of.csv"), "imagenet", EXAMPLES, "val", None)
  (tmp_path / "of.csv").write_text("class,group\n1000,a\n1,b\n")
  with pytest.raises(BiasjaxError, match="1000 is no class of val: a class is called like tench"):
    groups.chosen(str(tmp_path / "of.csv"), "imagenet", EXAMPLES, "val", None)
  (tmp_path / "of.csv").write_text("class,group\ntench,ray-finned, a fish\n1,b\n")
  with pytest.raises(BiasjaxError, match=r"row 1 \(tench\) has more fields than the header"):
    groups.chosen(str(tmp_path / "of.csv"), "imagenet", EXAMPLES, "val", None)
  known = annotated(tmp_path, "example_id,group\na.png,x\n")
  with pytest.raises(BiasjaxError, match="is not used with --groups=class"):
    groups.chosen("class", "classes", EXAMPLES, "val", known)
  with pytest.raises(BiasjaxError, match="has no row for 2 of 3 examples of val"):
    groups.chosen("group", "classes", EXAMPLES, "val", known)


LABEL = np.repeat([0, 1], 20)


def run_of(folder, wrong):
  """A run of networks; `wrong` is {model: how many of class 0 and of class 1 are wrong}."""
  said = {}
  for model, (first, second) in wrong.items():
    answers = LABEL.copy()
    answers[:first], answers[20 : 20 + second] = 1, 0
    said[model] = {"clean": stored_runs.decisions(LABEL, answers)}
  stored_runs.write(folder, said, ids=[f"{i:02d}.png" for i in range(40)], chunk=40)
  return Store(folder)


def asked(folder, **more):
  return {
    "workdir": str(folder),
    "groups": "class",
    "annotations": None,
    "probes": ["accuracy", "spectral"],
  } | more


def test_tables_columns_and_the_front_follow_from_stored_decisions(tmp_path, capsys):
  run_of(tmp_path, {"even": (4, 4), "uneven": (0, 10), "worse": (6, 14)})
  assert grouping.run(asked(tmp_path)) == 0
  one, two = "tench", "goldfish"
  of_groups = pd.read_csv(tmp_path / "groups.csv").set_index(["model", "group"])
  assert of_groups.loc[("uneven", two), "accuracy"] == 50
  assert of_groups.loc[("worse", one), "accuracy"] == 70
  compared = pd.read_csv(tmp_path / "disparity.csv").set_index("model")
  assert compared.loc["uneven", ["worst", "best", "gap"]].to_list() == [two, one, 50]
  assert compared.loc["even", "gap"] == 0
  assert compared.loc["uneven", "p"] < 0.01
  front = pd.read_csv(tmp_path / "pareto.csv").set_index("model")
  assert front["front"].to_dict() == {"even": True, "uneven": False, "worse": False}
  assert front.loc["worse", "dominated_by"] == "even"
  assert front.loc["worse", "error"] == 50
  results = pd.read_csv(tmp_path / "results.csv").set_index("model")
  assert results["disparity/drawn"].to_dict() == {"even": 0, "uneven": 50, "worse": 40}
  assert results.loc["uneven", "disparity/drawn/worst"] == 50
  metrics = pd.read_csv(tmp_path / "metrics.csv").set_index(["model", "metric"])
  assert 0 < metrics.loc[("uneven", "disparity/drawn"), "low"] < 50
  assert (tmp_path / "pareto_drawn.png").exists()
  said = capsys.readouterr().out
  assert "even (" in said
  assert "pareto.csv" in said


def test_columns_are_made_again_with_the_tables_from_what_is_there_then(tmp_path):
  run_of(tmp_path, {"net": (0, 10)})
  grouping.run(asked(tmp_path))
  store = run_of(tmp_path, {"other": (2, 2)})
  write_tables(store, summarise(store, probes.get))
  results = pd.read_csv(tmp_path / "results.csv").set_index("model")
  assert results["disparity/drawn"].to_dict() == {"net": 50, "other": 0}
  kept = tmp_path / "groups/drawn.csv"
  kept.write_text(kept.read_text().replace("example_id", "id"))
  summary = summarise(store, probes.get)
  assert not summary.metrics["metric"].str.startswith("disparity").any()
  assert any("groups/drawn.csv cannot be read" in of for of in summary.incomplete)


def test_groups_of_annotations_and_of_a_probe_that_was_not_asked(tmp_path):
  run_of(tmp_path / "out", {"net": (0, 10)})
  rows = "".join(f"{i:02d}.png,{'late' if i % 20 >= 10 else 'early'}\n" for i in range(40))
  (tmp_path / "known.csv").write_text(f"example_id,group\n{rows}")
  assert grouping.run(asked(tmp_path / "out", groups="group", annotations=str(tmp_path / "known.csv"))) == 0
  compared = pd.read_csv(tmp_path / "out/disparity.csv").set_index("model")
  assert compared.loc["net", ["worst", "gap", "groups"]].to_list() == ["early", 50, 2]
  assert not (tmp_path / "out/pareto.csv").exists()  # of one network there is none
  with pytest.raises(BiasjaxError, match="holds no whole run of spectral"):
    grouping.run(asked(tmp_path / "out", probes=["spectral"]))


def test_a_sample_is_said_to_be_one_and_left_out(tmp_path):
  store = run_of(tmp_path, {"net": (0, 10), "sampled": (0, 10)})
  of = next(unit for unit in store.manifest["units"] if unit["model"] == "sampled")
  of["key"] = {**of["key"], "sample": {"margin": 1.0}}
  group = pd.Series(["a"] * 20 + ["b"] * 20, index=[f"{i:02d}.png" for i in range(40)])
  found, _, notes = groups.tables(store, {"drawn": group}, ["accuracy"])
  assert set(found["model"]) == {"net"}
  assert notes == ["sampled, accuracy on drawn asks a random sample: left out"]


def test_by_default_the_decisions_of_accuracy_are_compared(tmp_path):
  right, wrong = stored_runs.decisions(LABEL, LABEL), stored_runs.decisions(LABEL, 1 - LABEL)
  ids = [f"{i:02d}.png" for i in range(40)]
  for probe, said in (("accuracy", {"clean": right}), ("pgd", {"low": right, "high": wrong})):
    stored_runs.write(tmp_path, {"net": said}, probe=probe, ids=ids, chunk=40)
  assert main.compare_groups(asked(tmp_path, probes=["accuracy", "spectral"])) == 0
  assert set(pd.read_csv(tmp_path / "disparity.csv")["probe"]) == {"accuracy"}
  assert main.compare_groups(asked(tmp_path, probes=["pgd"])) == 0
  assert set(pd.read_csv(tmp_path / "disparity.csv")["condition"]) == {"low", "high"}


def test_versions_of_an_image_are_compared_under_each_condition(tmp_path, capsys):
  ids = [f"fog/{severity}/{i:02d}.png" for severity in (1, 5) for i in range(40)]
  label, answers = np.tile(LABEL, 2), np.tile(LABEL, 2)
  answers[:4], answers[60:70] = 1, 0  # at severity 1 four of class 0, at 5 ten of class 1
  said = {name: {"clean": stored_runs.decisions(label, answers)} for name in ("net", "other")}
  stored_runs.write(tmp_path, said, "imagenet-c", ids=ids, labels="imagenet_c", chunk=80)
  assert grouping.run(asked(tmp_path)) == 0
  compared = pd.read_csv(tmp_path / "disparity.csv").set_index(["model", "condition"])
  assert compared["n"].to_list() == [40] * 4
  assert compared.loc["net", "gap"].to_dict() == pytest.approx({"fog_1": 20, "fog_5": 50})
  assert not (tmp_path / "pareto.csv").exists()
  assert not pd.read_csv(tmp_path / "results.csv").columns.str.startswith("disparity").any()
  assert "shows an image under many conditions" in capsys.readouterr().err


def test_one_group_and_nothing_measured_are_refused(tmp_path):
  run_of(tmp_path, {"net": (0, 10)})
  (tmp_path / "of.csv").write_text("class,group\n0,all\n1,all\n")
  with pytest.raises(BiasjaxError, match="--groups, drawn: all images are of one group, all"):
    grouping.run(asked(tmp_path, groups=str(tmp_path / "of.csv")))
  (tmp_path / "of.csv").write_text("class,group\n0,all\n1,nan\n")
  with pytest.raises(BiasjaxError, match=r"class and group, none empty; it has .*'group': 'nan'"):
    grouping.run(asked(tmp_path, groups=str(tmp_path / "of.csv")))
  (tmp_path / "of.csv").write_text("class,group\n5,all\n")
  with pytest.raises(BiasjaxError, match="--groups, drawn: no image is of a group"):
    grouping.run(asked(tmp_path, groups=str(tmp_path / "of.csv")))
