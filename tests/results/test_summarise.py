"""Tables again from stored observations, and trials, as a user types them."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import sources
from biasjax.data.classes import categories
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Metric
from biasjax.results.store import Store
from biasjax.results.summary import summarise, write_tables
from biasjax.results.unit import Unit
from deadline import DEADLINE_S
from made_images import class_folder

ROOT = pathlib.Path(__file__).parents[2]
WNIDS = {"n01440764": 3, "n02391049": 3}


def python(*arguments: object) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=DEADLINE_S,
    check=False,
  )


def observed(store: Store, source: sources.Source, probe_name: str, seed: int) -> None:
  """Made-up observations of one probe, as the pass writes them."""
  probe = probes.get(probe_name)
  key = {"drawn": seed, "labels": source.labels, "preprocess": {"crop": source.crop}}
  unit = Unit("net", source.name, probe.name, key)
  store.register(source, [unit])
  examples = [source.read(i) for i in range(source.length)]
  n, rng = len(examples) * len(probe.conditions), np.random.default_rng(seed)
  columns = {
    "condition": np.repeat(list(probe.conditions), len(examples)),
    "example_id": [example.example_id for example in examples] * len(probe.conditions),
    "label": [example.label for example in examples] * len(probe.conditions),
    "prediction": rng.integers(len(categories()), size=n),
    "rank": rng.integers(2, size=n),
    "confidence": rng.random(n, np.float32),
    "nll": rng.random(n, np.float32),
    "brier": rng.random(n, np.float32),
  }
  store.write(unit, (0, len(examples)), columns, {})


def cue_folder(root: pathlib.Path) -> pathlib.Path:
  for shape, texture in (("cat", "dog"), ("dog", "cat"), ("bear", "car"), ("car", "car")):
    (root / shape).mkdir(parents=True)
    (root / shape / f"{shape}1-{texture}2.png").write_bytes(b"never decoded here")
  return root


def test_where_no_image_could_be_decoded_it_is_said_why(tmp_path):
  images = sources.folder(class_folder(tmp_path / "images", {"n01440764": 2}))
  store, unit = (
    Store(tmp_path / "out", 2),
    Unit("net", images.name, "accuracy", {"preprocess": {"crop": 224}}),
  )
  store.register(images, [unit])
  names = ("condition", "example_id", "label", "prediction", "rank", "confidence", "nll", "brier")
  store.write(
    unit, (0, 2), {name: [] for name in names}, {place.example_id: "0 bytes" for place in images.places}
  )
  with pytest.raises(
    BiasjaxError, match=r"no image could be decoded, e\.g\. n01440764/n01440764_0\.JPEG: 0 bytes"
  ):
    summarise(store, probes.get)


def test_every_table_follows_from_the_observations_alone(tmp_path):
  images = sources.folder(class_folder(tmp_path / "images", WNIDS))
  stimuli = sources.cue_conflict(cue_folder(tmp_path / "stimuli"))
  store = Store(tmp_path / "out", 100)
  for i, name in enumerate(("accuracy", "spectral", "spectral:mask=radial", "critical_band")):
    observed(store, images, name, i)
  observed(store, stimuli, "shape", 9)
  write_tables(store, summarise(store, probes.get))
  tables = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.csv")}
  shutil.rmtree(tmp_path / "images")  # neither images nor networks are there any more
  shutil.rmtree(tmp_path / "stimuli")
  for name in tables:
    (tmp_path / "out" / name).unlink()

  done = python("run.py", "--summarise", f"--workdir={tmp_path / 'out'}")
  assert done.returncode == 0, done.stderr
  assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.csv")} == tables
  assert "shape-bias" in done.stdout
  columns = set(pd.read_csv(tmp_path / "out/results.csv").columns)
  assert {f"metric/criticalband/{p}{s}" for p in ("bw", "cf", "pns") for s in ("", "_norm")} <= columns
  assert {"shape-bias", "LPP", "HPP", "LPP:mask=radial", "metric/bandpass/LFC/0.1"} <= columns
  metrics = pd.read_csv(tmp_path / "out/metrics.csv")
  for bias in ("shape-bias", "LPP", "HPP", "criticalband/continuous/bw_norm", "metric/criticalband/bw_norm"):
    (row,) = metrics[metrics["metric"] == bias].itertuples()
    if bias == "metric/criticalband/bw_norm":  # of four images too many resamples have no channel
      assert "no channel" in row.flag
      assert np.isnan(row.low)
      assert np.isnan(row.high)
    else:
      assert np.isnan(row.value) or row.low <= row.value <= row.high


class Flagging:
  """A probe of one number."""

  needs = ()

  @property
  def conditions(self):
    return {"clean": 0}

  def summarise(self, observations):
    n = len(observations["accuracy"])
    return [Metric("top1_acc/{dataset}", 8.0, 2.0, 20.0, n, chance=6.25, flag="accuracy at chance, nearly")]


def test_chance_and_flags_reach_the_files(tmp_path):
  images = sources.folder(class_folder(tmp_path / "images", WNIDS))
  store = Store(tmp_path / "out", 100)
  observed(store, images, "accuracy", 0)
  write_tables(store, summarise(store, lambda name, size: Flagging()))
  (row,) = pd.read_csv(tmp_path / "out/metrics.csv").itertuples()
  assert (row.chance, row.flag, row.value) == (6.25, "accuracy at chance, nearly", 8.0)


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (["top1_acc/{dataset}"], "it calls a number 'top1_acc/imagenet' as accuracy does"),
    (["mine", "mine"], "it calls a number 'mine' twice"),
    (None, "its summarise gives NoneType, no list of Metric"),
  ],
)
def test_what_a_probe_of_ones_own_says_wrongly_is_left_out_and_said(tmp_path, names, message):
  """The numbers of the other probes stay."""

  class Wrong(Flagging):
    def summarise(self, observations):
      return names and [Metric(name, 8.0, 2.0, 20.0, 6) for name in names]

  images = sources.folder(class_folder(tmp_path / "images", WNIDS))
  store = Store(tmp_path / "out", 100)
  for i, name in enumerate(("accuracy", "spectral")):
    observed(store, images, name, i)
  accuracy = summarise(store, probes.get).metrics.query("probe == 'accuracy'")
  found = summarise(store, lambda name, size: Wrong() if name == "spectral" else probes.get(name, size))
  assert found.incomplete[0].startswith(f"net, spectral on imagenet: {message}")
  assert list(found.metrics["metric"]) == list(accuracy["metric"])
  write_tables(store, found)


def test_trials_are_compared_with_the_networks_of_the_workdir(tmp_path):
  stimuli = sources.cue_conflict(cue_folder(tmp_path / "stimuli"), "cue")
  observed(Store(tmp_path / "out", 100), stimuli, "shape", 9)
  rows = ["subj,object_response,category,imagename"]
  rows += [f"subject-01,cat,{s},1_x_{s}1-{t}2.png" for s, t in (("cat", "dog"), ("bear", "car"))]
  (tmp_path / "person.csv").write_text("\n".join(rows))
  done = python("run.py", f"--trials={tmp_path}/*.csv", f"--workdir={tmp_path / 'out'}")
  assert done.returncode == 0, done.stderr
  pairs = pd.read_csv(tmp_path / "out/error_consistency.csv")
  assert list(pairs.loc[0, ["first", "second", "n"]]) == ["subject-01", "net (cue)", 2]
  assert pd.read_csv(tmp_path / "out/trials.csv").loc[0, "n_conflict"] == 2


def test_mistakes_are_one_line(tmp_path):
  for flags, message in (
    (["--summarise", f"--workdir={tmp_path / 'nothing'}"], "holds no results"),
    ([f"--trials={tmp_path}/*.csv", f"--workdir={tmp_path}"], "no file matches"),
    (
      [f"--dataset=folder:{class_folder(tmp_path / 'images', WNIDS)}", "--models=x", "--probes=shape"],
      "probe shape needs a dataset with labels cue_conflict",
    ),
  ):
    done = python("run.py", *flags)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
