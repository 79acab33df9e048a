"""The library with a workdir: what is kept is run.py's, and a start goes on from what is there."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import biasjax
from biasjax import probes
from biasjax.engine import schedule
from biasjax.results.store import Store
from in_process import run
from made_models import PLAIN, VARIABLES, brightness

MANY = np.random.default_rng(3).integers(0, 256, (150, 16, 16, 3), np.uint8)
OF_MANY = np.arange(150) % 3


def ask(folder, model="bright", **more):
  return biasjax.measure(
    brightness, VARIABLES, MANY, OF_MANY, ("accuracy", "spectral"), workdir=folder, model=model, **more
  )


def files(folder: pathlib.Path) -> dict[str, bytes]:
  there = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
  return {str(path.relative_to(folder)): path.read_bytes() for path in there}


def test_what_is_kept_is_what_run_py_keeps_and_summarises(tmp_path):
  found = ask(tmp_path / "out", dataset="noise")
  kept = files(tmp_path / "out")
  assert {"run.json", "results.csv", "metrics.csv", "excluded.csv"} <= kept.keys()
  assert {name.split("/")[1:4:2] == ["noise", "bright"] for name in kept if name.startswith("obs")} == {True}
  summary = pd.read_csv(tmp_path / "out/metrics.csv").set_index("metric")
  for metric in ("LPP", "top1_acc/noise", "top1_acc/bandpass/LFC/0.5"):
    np.testing.assert_allclose(
      summary.loc[metric, ["value", "low", "high"]].to_numpy(float),
      found.metrics.loc[metric, ["value", "low", "high"]].to_numpy(float),
    )
  done = run("--summarise", f"--workdir={tmp_path / 'out'}")
  assert done.returncode == 0, done.stderr
  assert files(tmp_path / "out") == kept
  ask(tmp_path / "out", "again", dataset="noise")
  assert list(pd.read_csv(tmp_path / "out/results.csv")["model"]) == ["again", "bright"]


def test_shape_bias_of_classes_without_names_is_summarised_again(tmp_path):
  found = biasjax.measure(
    *(brightness, VARIABLES, PLAIN, [0, 2, 2, 2], "shape"), textures=[1, 1, 0, 2], workdir=tmp_path / "out"
  )
  kept = files(tmp_path / "out")
  done = run("--summarise", f"--workdir={tmp_path / 'out'}")
  assert done.returncode == 0, done.stderr
  assert files(tmp_path / "out") == kept
  written = pd.read_csv(tmp_path / "out/metrics.csv").set_index("metric")["value"]
  assert written["shape-bias"] == found.metrics.loc["shape-bias", "value"] == 0.5


def test_interrupted_and_started_again_it_keeps_what_is_there_and_ends_with_the_same_bytes(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(schedule, "LOOKS_IN_CHUNK", {"cpu": 64})
  monkeypatch.setattr(schedule, "FEWEST", 64)
  ask(tmp_path / "whole")
  write = Store.write
  written = []

  def dies(self, *args, **more):
    if len(written) == 3:
      raise KeyboardInterrupt
    written.append(write(self, *args, **more))

  monkeypatch.setattr(Store, "write", dies)
  with pytest.raises(KeyboardInterrupt):
    ask(tmp_path / "cut")
  monkeypatch.setattr(Store, "write", write)
  before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").rglob("*.parquet")}
  assert len(before) == 3
  ask(tmp_path / "cut")
  assert {path: path.stat().st_mtime_ns for path in before} == before
  assert files(tmp_path / "cut") == files(tmp_path / "whole")
  assert len(list((tmp_path / "whole").rglob("*.parquet"))) == 6


def test_another_network_or_other_images_under_the_same_names_are_told_apart(tmp_path):
  first = ask(tmp_path / "out").metrics.loc["nll/images", "value"]
  changed = biasjax.measure(
    *(brightness, {"sharpness": jnp.float32(3)}, MANY, OF_MANY, "accuracy"),
    **{"workdir": tmp_path / "out", "model": "bright"},
  )
  assert changed.metrics.loc["nll/images", "value"] != first
  with pytest.raises(
    biasjax.BiasjaxError, match="holds results for a dataset named 'images' that were made on"
  ):
    biasjax.measure(brightness, VARIABLES, MANY[::-1], OF_MANY, "accuracy", workdir=tmp_path / "out")
  own = dataclasses.replace(probes.get("accuracy", 16), name="mine")
  with pytest.raises(biasjax.BiasjaxError, match="probe mine is of your own"):
    biasjax.measure(brightness, VARIABLES, MANY, OF_MANY, [own], workdir=tmp_path / "out")
  given = biasjax.Images(MANY, OF_MANY, [str(i) for i in range(150)], None, "classes", "x", {})
  with pytest.raises(biasjax.BiasjaxError, match="Images bring labels"):
    biasjax.measure(brightness, VARIABLES, given, "accuracy")
