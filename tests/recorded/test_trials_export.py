"""What a run writes for others is read by them, or as they read it, and says the same."""

import io
import pathlib

import numpy as np
import pandas as pd
import pytest
import trial_files
import yaml
from etils import epath

import stored_runs
from biasjax import probes
from biasjax.data.classes import categories
from biasjax.recorded import export, files, scoring
from biasjax.results.store import Store

SHAPES = [
  f"{shape}{i}-{texture}{i}.png" for i, (shape, texture) in enumerate([("bird", "car"), ("dog", "cat")] * 6)
]


def conflict(folder, answers):
  """A run that has asked a network about cue conflict; the texture is a class as well."""
  label = [categories().index(name.rstrip("0123456789")) for name in (s.split("-")[0] for s in SHAPES)]
  ids = [f"{categories()[of]}/{name}" for of, name in zip(label, SHAPES, strict=True)]
  said = [categories().index(answer) for answer in answers]
  of_net = {"net_a": {"cue-conflict": stored_runs.decisions(label, said)}}
  stored_runs.write(folder, of_net, "conflict", "shape", ids, "cue_conflict")
  return Store(folder)


def as_model_vs_human_reads(folder: pathlib.Path) -> pd.DataFrame:
  """plotting_helper.get_experimental_data of github.com/bethgelab/model-vs-human, without its checks."""
  table = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))])
  table.columns = [name.lower() for name in table.columns]
  table["condition"] = table["condition"].astype(str)
  return table


def shape_bias_of_model_vs_human(table: pd.DataFrame) -> float:
  """plotting.analyses.ShapeBias.analysis."""
  texture = table["imagename"].map(lambda name: name.split("_")[-1].split(".")[0].split("-")[-1])
  texture = texture.map(lambda name: "".join(c for c in name if not c.isdigit()))
  apart = table[table["category"] != texture]
  shape = (apart["object_response"] == apart["category"]).sum() / len(table)
  by_texture = (apart["object_response"] == texture[apart.index]).sum() / len(table)
  return shape / (shape + by_texture)


def test_trials_are_read_as_model_vs_human_does_and_give_its_shape_bias(tmp_path):
  answers = ["bird", "cat", "car", "cat", "bird", "dog", "oven", "dog", "bird", "cat", "bird", "clock"]
  store = conflict(tmp_path / "run", answers)
  ((path, text),) = export.recorded(store, store.units())
  assert path == "cue-conflict/cue-conflict_net-a_session-1.csv"
  (tmp_path / path).parent.mkdir()
  (tmp_path / path).write_text(text)
  table = as_model_vs_human_reads(tmp_path / "cue-conflict")
  assert list(table.columns) == [
    "subj",
    "session",
    "trial",
    "rt",
    "object_response",
    "category",
    "condition",
    "imagename",
  ]
  assert set(table["subj"]) == {"net_a"}
  assert set(table["condition"]) == {"0"}
  assert list(table["trial"]) == list(range(1, 13))
  assert table["rt"].isna().all()
  # For the shape: bird, bird, dog, dog, bird, bird; for the texture: car and three cats.
  assert shape_bias_of_model_vs_human(table) == pytest.approx(6 / 10)
  found = {m.name: m.value for m in probes.get("shape").summarise({"shape": store.read(store.units()[0])[0]})}
  assert found["shape-bias"] == pytest.approx(6 / 10)
  assert (files.read(tmp_path / path)["response"] == answers).all()  # and by this project


def test_networks_whose_names_differ_in_a_dash_have_files_of_their_own(tmp_path):
  label = [categories().index(name.rstrip("0123456789")) for name in (s.split("-")[0] for s in SHAPES)]
  ids = [f"{categories()[of]}/{name}" for of, name in zip(label, SHAPES, strict=True)]
  said = {key: {"cue-conflict": stored_runs.decisions(label, label)} for key in ("net_a", "net-a")}
  stored_runs.write(tmp_path / "run", said, "conflict", "shape", ids, "cue_conflict")
  table = metrics().replace({"model": {"a": "net a", "b": "net-a"}})
  written = export.write(Store(tmp_path / "run"), table, epath.Path(tmp_path / "out"))
  recorded = [pd.read_csv(path) for path in written if path.parent.name == "cue-conflict"]
  assert sorted(of["subj"].iloc[0] for of in recorded) == ["net-a", "net_a"]
  cards = [path.read_text() for path in written if path.name == "README.md"]
  assert [sum(f"# {name}\n" in card for card in cards) for name in ("net a", "net-a")] == [1, 1]


def test_experiments_keep_their_conditions_categories_and_names(tmp_path):
  ids = [
    "colour/dnn/session-1/0001_cl_dnn_bw_boat_40_n02951358_5952.png",
    "colour/dnn/session-1/0002_cl_dnn_cr_dog_40_n02099601_1.png",
    "edge/bear/bear3.png",
  ]
  right, said = (
    np.array([categories().index(n) for n in names])
    for names in (["boat", "dog", "bear"], ["car", "dog", "cat"])
  )
  of_net = {"net": {"clean": stored_runs.decisions(right, said)}}
  stored_runs.write(tmp_path, of_net, "model_vs_human", "accuracy", ids, "model_vs_human")
  store = Store(tmp_path)
  found = {
    path: pd.read_csv(pathlib.Path(_saved(tmp_path, path, text)))
    for path, text in export.recorded(store, store.units())
  }
  assert set(found) == {"colour/colour_net_session-1.csv", "edge/edge_net_session-1.csv"}
  colour = found["colour/colour_net_session-1.csv"]
  assert list(colour["condition"]) == ["bw", "cr"]
  assert list(colour["category"]) == ["boat", "dog"]
  assert list(colour["object_response"]) == ["car", "dog"]
  assert list(colour["imagename"]) == [pathlib.PurePosixPath(name).name for name in ids[:2]]
  assert list(found["edge/edge_net_session-1.csv"]["condition"]) == [0]


def _saved(folder, path, text):
  (folder / path.replace("/", "_")).write_text(text)
  return folder / path.replace("/", "_")


def metrics():
  """Two networks on two datasets."""
  settings = {"precision": "float32", "seed": "0", "preprocessing": "bilinear 256, crop 224", "version": "1"}
  rows = []
  for model, dataset, metric, value, detail in (
    ("a", "imagenet", "top1_acc/imagenet", 70.1234, False),
    ("a", "imagenet", "top5_acc/imagenet", 90.5, True),
    ("b", "imagenet", "top1_acc/imagenet", 75.0, False),
    ("b", "imagenet", "top5_acc/imagenet", 92.0, True),
    ("a", "conflict", "shape-bias", 0.25, False),
    ("a", "conflict", "LPP", np.nan, False),
  ):
    row = {
      "model": model,
      "dataset": dataset,
      "probe": "p",
      "metric": metric,
      "value": value,
      "detail": detail,
    }
    rows.append(row | {"low": value - 1, "high": value + 2, "n": 500, "chance": 0.1, "flag": ""} | settings)
  return pd.DataFrame(rows)


def test_a_model_card_is_read_by_the_hub_and_its_rows_carry_the_protocol():
  hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
  table = metrics()
  card = hub.ModelCard(export.card("a", table[table["model"] == "a"]))
  assert card.data.model_name == "a"
  results = {(r.dataset_type, r.metric_type): r for r in card.data.eval_results}
  assert set(results) == {("imagenet-1k", "accuracy"), ("conflict", "shape-bias")}
  accuracy = results["imagenet-1k", "accuracy"]
  assert accuracy.metric_value == 70.1234
  assert accuracy.task_type == "image-classification"
  said = accuracy.metric_args
  assert (said["low"], said["high"], said["n"], said["chance"]) == (
    pytest.approx(69.1234),
    pytest.approx(72.1234),
    500,
    0.1,
  )
  assert said["preprocessing"] == "bilinear 256, crop 224"
  assert yaml.safe_load(str(card.data))["model-index"][0]["name"] == "a"
  assert "| conflict | shape-bias | 0.25 | -0.75 to 2.25 | 500 |" in card.text


def test_a_part_of_imagenet_is_not_called_imagenet_on_a_card():
  table = metrics().replace({"metric": {"top1_acc/imagenet": "top1_acc/imagenet-incomplete"}})
  front = yaml.safe_load(export.card("a", table[table["model"] == "a"]).split("---")[1])
  of = [result["dataset"] for result in front["model-index"][0]["results"]]
  part = "imagenet-incomplete"
  assert of == [{"type": part, "name": part}, {"type": "conflict", "name": "conflict"}]


def test_a_model_card_says_of_a_sample_how_sure_it_is():
  table = metrics().assign(margin=np.nan, effective_n=np.nan, estimator="")
  table.loc[0, ["margin", "effective_n", "estimator"]] = [0.98, 812.5, "regression"]
  front = yaml.safe_load(export.card("a", table[table["model"] == "a"]).split("---")[1])
  of_sample, of_all = (result["metrics"][0]["args"] for result in front["model-index"][0]["results"])
  assert (of_sample["margin"], of_sample["effective_n"], of_sample["estimator"]) == (
    0.98,
    812.5,
    "regression",
  )
  assert not {"margin", "effective_n", "estimator"} & set(of_all)


def test_a_table_has_timms_columns_best_first():
  units = [
    stored_runs.Unit(
      m, "imagenet", "accuracy", {"preprocess": {"crop": 224, "resize": 256, "interpolation": "bilinear"}}
    )
    for m in "ab"
  ]
  (named,) = export.timm_tables(metrics(), units)
  assert named[0] == "imagenet"
  # The header of results-imagenet.csv in timm's repository.
  header = "model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation"
  assert named[1].splitlines() == [
    header,
    "b,75.000,25.000,92.000,8.000,,224,0.875,bilinear",
    "a,70.123,29.877,90.500,9.500,,224,0.875,bilinear",
  ]


def test_all_of_it_lies_in_one_folder(tmp_path):
  store = conflict(tmp_path / "run", ["bird"] * 12)
  written = export.write(store, metrics(), epath.Path(tmp_path / "shared"))
  names = {str(path.relative_to(tmp_path / "shared")) for path in written}
  assert names == {
    "raw-data/cue-conflict/cue-conflict_net-a_session-1.csv",
    "cards/a/README.md",
    "cards/b/README.md",
    "timm/results-imagenet.csv",
  }
  assert all(path.exists() for path in written)


def test_two_datasets_of_one_experiment_are_two_observers(tmp_path):
  """One network asked about stimuli in two folders: other stimuli, and once more the same ones."""
  parts = {"all": SHAPES, "first": SHAPES[:6], "again": SHAPES[:6]}
  for dataset, names in parts.items():
    label = [categories().index(name.split("-")[0].rstrip("0123456789")) for name in names]
    ids = [f"{categories()[of]}/{name}" for of, name in zip(label, names, strict=True)]
    # For the shape of half of the stimuli of "all", of each in the others.
    said = [of if i % 2 or dataset != "all" else 0 for i, of in enumerate(label)]
    of_net = {"net": {"cue-conflict": stored_runs.decisions(label, said)}}
    stored_runs.write(tmp_path / "run", of_net, dataset, "shape", ids, "cue_conflict")
  store = Store(tmp_path / "run")
  found = {path: pd.read_csv(io.StringIO(text)) for path, text in export.recorded(store, store.units())}
  counts = {
    table["subj"].iloc[0]: (len(table), (table["object_response"] == table["category"]).sum())
    for table in found.values()
  }
  # In the order of the datasets' names; "first" says what "again" says.
  assert counts == {"net": (6, 6), "net@all": (12, 6)}
  assert set(found) == {f"cue-conflict/cue-conflict_{name}_session-1.csv" for name in ("net", "net-all")}
  # And so has --trials, beside whoever was recorded.
  birds = [("bird", "bird", "0", name) for name in SHAPES if name.startswith("bird")]
  trial_files.write(tmp_path, "cue-conflict", "subject-01", birds)
  scoring.score_trials(f"{tmp_path}/*.csv", tmp_path / "run")
  table = pd.read_csv(tmp_path / "run/people.csv").query("kind == 'network' and condition == 'all'")
  rows = table[["observer", "n", "accuracy"]].itertuples(index=False, name=None)
  assert set(rows) == {("net", 6, 1.0), ("net@all", 12, 0.5)}
