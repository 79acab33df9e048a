"""One table is made in one way: its columns say how, and what would mix is refused before it is computed."""

import json

import pandas as pd
import pytest

from biasjax import probes
from biasjax.cli import commands
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store
from biasjax.results.summary import summarise
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


def test_a_mixture_that_is_there_makes_no_table(asked, tmp_path):
  assert commands.measure(asked) == 0
  path = tmp_path / "out/run.json"
  manifest = json.loads(path.read_text())
  old = manifest["units"][1]
  changed = old["key"] | {"seed": 7}
  folder = Store(tmp_path / "out")
  before = folder.folder(folder.units()[1])
  manifest["units"][1] = old | {"key": changed}
  path.write_text(json.dumps(manifest))
  store = Store(tmp_path / "out")
  before.rename(store.folder(store.units()[1]))
  with pytest.raises(
    BiasjaxError, match=r"by more than one seed, 0 \(a, accuracy on first\) and 7 \(a, accuracy on sec"
  ):
    summarise(store, probes.get)


def test_several_versions_of_biasjax_are_said(asked, tmp_path):
  assert commands.measure(asked) == 0
  path = tmp_path / "out/run.json"
  manifest = json.loads(path.read_text())
  store = Store(tmp_path / "out")
  before = store.folder(store.units()[1])
  manifest["units"][1]["key"]["biasjax"] = "0.2.9"
  path.write_text(json.dumps(manifest))
  store = Store(tmp_path / "out")
  before.rename(store.folder(store.units()[1]))
  summary = summarise(store, probes.get)
  assert any("more than one version of biasjax" in note and "0.2.9 (a)" in note for note in summary.notes)
  assert set(summary.metrics.loc[summary.metrics["dataset"] == "second", "version"]) == {"0.2.9"}
