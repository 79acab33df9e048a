"""One table is made in one way: its columns say how, and what would mix is refused before it is computed."""

import json
import shutil

import pandas as pd
import pytest

from biasjax import probes
from biasjax.cli import commands
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from biasjax.results.unit import Unit
from biasjax.version import __version__
from made_images import class_folder
from made_models import made_checkpoint

COUNTS = {"n01440764": 3, "n01443537": 2}
ASKED = {
  "probes": ["accuracy"],
  "data_dir": None,
  "manual_dir": None,
  "limit": None,
  "allow_incomplete": False,
  "preprocess": "paper",
  "batch_size": "5",
  "chunk_size": None,
  "decode_threads": 2,
  "seed": 0,
  "offline": True,
  "precision": "float32",
  "partitioner": "shard_map",
  "keep_adversarial": 0,
  "shard": "1/1",
  "profile": None,
}


@pytest.fixture
def asked(tmp_path):
  folders = {name: class_folder(tmp_path / name, COUNTS) for name in ("first", "second")}
  for seed, name in enumerate("ab"):
    made_checkpoint(tmp_path / name, seed)
  return ASKED | {
    "models": [str(tmp_path / "a")],
    "dataset": [f"{name}=folder:{folder}" for name, folder in folders.items()],
    "workdir": str(tmp_path / "out"),
  }


def test_settings_that_one_table_would_mix_are_refused_before_anything_is_computed(asked, tmp_path):
  assert commands.measure(asked) == 0
  for name, value, then in (
    ("precision", "bfloat16", "float32"),
    ("seed", 7, 0),
    ("preprocess", "native", "paper"),
  ):
    other = asked | {"models": [str(tmp_path / "b")], name: value}
    with pytest.raises(
      BiasjaxError, match=rf"by --{name}={then} \(a, accuracy on first\).* by --{name}={value}: one"
    ):
      commands.measure(other)
    with pytest.raises(BiasjaxError, match=rf"--{name}={then} \(a, accuracy on second\)"):
      commands.measure(asked | {"dataset": asked["dataset"][:1], name: value})
  assert not list((tmp_path / "out/observations").glob("*/*/b"))
  metrics = pd.read_csv(tmp_path / "out/metrics.csv", dtype=str)
  assert set(metrics["model"]) == {"a"}


def test_numbers_that_are_all_replaced_may_be_made_in_another_way(asked, tmp_path):
  assert commands.measure(asked) == 0
  assert commands.measure(asked | {"seed": 7, "precision": "bfloat16"}) == 0
  metrics = pd.read_csv(tmp_path / "out/metrics.csv", dtype=str)
  said = metrics[["precision", "seed", "preprocessing", "version"]].drop_duplicates()
  assert said.to_numpy().tolist() == [["bfloat16", "7", "bilinear 256, crop 224", __version__]]


def rekeyed(workdir, **changed):
  """The store in a folder, whose second unit and its observations now have another key."""
  path = workdir / "run.json"
  manifest = json.loads(path.read_text())
  store = Store(workdir)
  before = store.folder(store.units()[1])
  manifest["units"][1]["key"] |= changed
  path.write_text(json.dumps(manifest))
  store = Store(workdir)
  before.rename(store.folder(store.units()[1]))
  return store


def test_a_mixture_that_is_there_makes_no_table(asked, tmp_path):
  assert commands.measure(asked) == 0
  store = rekeyed(tmp_path / "out", seed=7)
  with pytest.raises(
    BiasjaxError, match=r"by more than one seed, 0 \(a, accuracy on first\) and 7 \(a, accuracy on sec"
  ):
    summarise(store, probes.get)


def test_several_versions_of_biasjax_are_said(asked, tmp_path):
  assert commands.measure(asked) == 0
  store = rekeyed(tmp_path / "out", biasjax="0.2.9")
  summary = summarise(store, probes.get)
  assert any("more than one version of biasjax" in note and "0.2.9 (a)" in note for note in summary.notes)
  assert set(summary.metrics.loc[summary.metrics["dataset"] == "second", "version"]) == {"0.2.9"}


def replaced(folder, by):
  """The network in a folder becomes another one of the same name."""
  shutil.rmtree(folder)
  shutil.copytree(by, folder)


def table(folder):
  return pd.read_csv(folder / "metrics.csv").set_index("metric")["value"]


def test_a_network_that_is_replaced_under_its_name_is_never_mixed_with_the_one_before(
  asked, tmp_path, capsys
):
  asked |= {"dataset": asked["dataset"][:1]}
  both = {"probes": ["accuracy", "spectral"]}
  shutil.copytree(tmp_path / "a", tmp_path / "before")
  assert commands.measure(asked | both) == 0
  first = table(tmp_path / "out")
  assert "LPP" in first
  replaced(tmp_path / "a", tmp_path / "b")
  capsys.readouterr()
  assert commands.measure(asked) == 0
  said = capsys.readouterr().err
  assert "a, spectral on first leaves the tables: it is of another network of that name" in said
  alone = asked | {"models": [str(tmp_path / "b")], "workdir": str(tmp_path / "alone")}
  assert commands.measure(alone) == 0
  pd.testing.assert_series_equal(table(tmp_path / "out"), table(tmp_path / "alone"))
  replaced(tmp_path / "a", tmp_path / "before")
  written = sorted((tmp_path / "out/observations").rglob("*.parquet"))
  assert commands.measure(asked | both) == 0
  pd.testing.assert_series_equal(table(tmp_path / "out"), first)
  assert sorted((tmp_path / "out/observations").rglob("*.parquet")) == written  # all of it was there


def test_on_other_images_the_network_before_leaves_the_tables_as_well(asked, tmp_path, capsys):
  assert commands.measure(asked) == 0
  replaced(tmp_path / "a", tmp_path / "b")
  capsys.readouterr()
  assert commands.measure(asked | {"dataset": asked["dataset"][:1]}) == 0
  assert "a, accuracy on second leaves the tables" in capsys.readouterr().err
  assert set(pd.read_csv(tmp_path / "out/metrics.csv")["dataset"]) == {"first"}


def test_two_networks_under_one_name_make_no_table(asked, tmp_path):
  assert commands.measure(asked) == 0
  store = rekeyed(tmp_path / "out", model="other weights")
  with pytest.raises(
    BiasjaxError,
    match="two networks under one name, a, accuracy on first and a, accuracy on second",
  ):
    summarise(store, probes.get)


@pytest.mark.parametrize(
  ("model", "dataset", "crop", "another"),
  [
    ("weights", "first", 224, False),
    ("others", "first", 224, True),
    ("others", "second", 224, True),
    ("others", "second", 64, False),  # a function's digest is of one size
    ("others", "first", 64, True),
  ],
)
def test_which_units_cannot_be_of_one_network(model, dataset, crop, another):
  mine = Unit("a", "first", "accuracy", {"model": "weights", "preprocess": {"crop": 224}})
  other = Unit("a", dataset, "spectral", {"model": model, "preprocess": {"crop": crop}})
  assert mine.another_network(other) == other.another_network(mine) == another


def test_stored_answers_may_come_from_a_file_for_each_dataset():
  mine, other, same = (
    Unit("a", dataset, "accuracy", {"model": f"answers {file}", "preprocess": {"crop": 224}})
    for dataset, file in (("first", "1"), ("second", "2"), ("first", "3"))
  )
  assert not mine.another_network(other)
  assert mine.another_network(same)
