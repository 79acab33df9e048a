"""The bundled networks are what their records say, and differ as their interventions make one expect."""

import json
import pathlib
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from biasjax.convert import conversion
from biasjax.models.load import load
from biasjax.train import interventions
from deadline import DEADLINE_S
from demo import make_zoo

ROOT = pathlib.Path(__file__).parents[1]
NAMES = [name for of_kind in make_zoo.names().values() for name in of_kind]


def test_all_are_there_and_small():
  assert sorted(path.stem for path in make_zoo.ZOO.glob("*.safetensors")) == sorted(NAMES)
  assert sum(path.stat().st_size for path in make_zoo.ZOO.iterdir()) < 10e6
  assert json.loads((make_zoo.ZOO / "categories.json").read_text()) == make_zoo.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_record_says_how_its_network_was_made(name, tmp_path):
  record = json.loads((make_zoo.ZOO / f"{name}.json").read_text())
  kind, seed = name.rsplit("_seed", 1)
  made_from = record["made_from"]
  assert made_from["train"]["interventions"] == make_zoo.INTERVENTIONS[kind]
  assert interventions.parse(made_from["train"]["interventions"])
  assert made_from["seed"] == int(seed)
  assert f"--config.train.name={name}" in shlex.split(record["command"])
  steps = [line["step"] for line in record["log"]]
  assert steps == sorted(steps)
  assert record["log"][-1]["loss"] < record["log"][0]["loss"]
  conversion.write(conversion.convert(make_zoo.ZOO / f"{name}.safetensors"), tmp_path / name)
  certificate = json.loads((tmp_path / name / "certificate.json").read_text())
  for key in ("tensors", "architecture"):
    assert certificate[key] == record["certificate"][key], key
  assert load(tmp_path / name).fingerprint == record["certificate"]["fingerprint"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> pd.DataFrame:
  """What the demo measures that the interventions are about, with 95 % intervals, by its commands."""
  folder: pathlib.Path = tmp_path_factory.mktemp("zoo")
  drawn = "tfds:synthetic_conflict/64px_0"
  kinds = ("baseline", "stylised", "patch_shuffle", "low_pass", "high_pass")
  models = ",".join(f"demo/zoo/{kind}_seed0.safetensors" for kind in kinds)
  splits = {"conflict": "conflict", "drawn": "validation", "shape_only": "shape_only"}
  for command in (
    ["-m", "biasjax.data.builders.synthetic_conflict", "--per_category=0"],
    [
      "run.py",
      "--config=configs/demo.py",
      f"--models={models}",
      "--probes=shape@conflict,spectral@drawn,accuracy@shape_only+drawn",
      "--dataset=" + ",".join(f"{name}={drawn}@{split}" for name, split in splits.items()),
      "--limit=96",
      f"--workdir={folder / 'out'}",
    ],
  ):
    subprocess.run(
      [sys.executable, *command, f"--data_dir={folder}"], cwd=ROOT, check=True, timeout=DEADLINE_S
    )
  return pd.read_csv(folder / "out/metrics.csv")


@pytest.mark.parametrize(
  ("metric", "less", "more"),
  [
    ("shape-bias", "patch_shuffle", "baseline"),
    ("top1_acc/shape_only", "baseline", "stylised"),
    ("LPP", "baseline", "low_pass"),
    ("HPP", "baseline", "high_pass"),
  ],
)
def test_what_the_demo_shows_is_so(measured, metric, less, more):
  rows = measured[measured["metric"].eq(metric)].set_index("model")
  assert rows.loc[f"{more}_seed0", "low"] > rows.loc[f"{less}_seed0", "high"]
