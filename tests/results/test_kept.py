"""Kept metrics are used again only where nothing that they follow from has changed, and equal fresh ones."""

import functools
import io
import json
import logging
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax import probes
from biasjax.probes import critical_band
from biasjax.probes.base import Metric
from biasjax.results import kept
from biasjax.results.store import Store
from biasjax.results.summary import summarise, write_tables
from biasjax.results.unit import Unit
from deadline import DEADLINE_S

ROOT = pathlib.Path(__file__).parents[2]
IMAGES = 40
PROBES = ("accuracy", "spectral", "critical_band")
IMAGENET = stored_runs.images("imagenet", IMAGES)


def write(store: Store, model: str, name: str, seed: int) -> None:
  """Made-up observations in two chunks, the first image of the second one undecodable."""
  probe = probes.get(name)
  key = {"labels": "imagenet", "preprocess": {"crop": 224}, "model": model, "probe": name}
  unit = Unit(model, IMAGENET.name, name, key)
  store.register(IMAGENET, [unit])
  rng = np.random.default_rng(seed)
  for chunk in store.chunks(IMAGENET.name):
    ids = [f"n{i % 4:08d}/{i}.JPEG" for i in range(*chunk)]
    excluded = {ids.pop(0): "truncated"} if chunk[0] else {}
    n = len(ids) * len(probe.conditions)
    columns = {
      "condition": np.repeat(list(probe.conditions), len(ids)),
      "example_id": ids * len(probe.conditions),
      "label": rng.integers(4, size=n),
      "prediction": rng.integers(4, size=n),
      "rank": rng.integers(3, size=n),
      "confidence": rng.random(n, np.float32),
      "nll": rng.random(n, np.float32),
      "brier": rng.random(n, np.float32),
    }
    store.write(unit, chunk, columns, excluded, contents=np.ones(chunk[1] - chunk[0], np.uint32))


def tables(store: Store, get_probe=probes.get) -> dict[str, bytes]:
  write_tables(store, summarise(store, get_probe))
  return {path.name: path.read_bytes() for path in pathlib.Path(store.workdir).glob("*.csv")}


def fresh(store: Store) -> dict[str, bytes]:
  """The tables of the same observations where nothing is kept."""
  shutil.rmtree(store.workdir / kept.FOLDER, ignore_errors=True)
  return tables(store)


SUMMARISED = """
import sys
from biasjax import probes
from biasjax.results.store import Store
from biasjax.results.summary import summarise, write_tables
store = Store(sys.argv[1])
write_tables(store, summarise(store, probes.get))
"""


def python(code: str, store: Store, checkout: pathlib.Path = ROOT) -> subprocess.CompletedProcess:
  command = [sys.executable, "-c", code, str(store.workdir)]
  return subprocess.run(
    command, cwd=checkout, capture_output=True, text=True, timeout=DEADLINE_S, check=False
  )


@pytest.fixture
def store(tmp_path):
  made = Store(tmp_path / "out", IMAGES // 2)
  for model in ("one", "two"):
    for seed, name in enumerate(PROBES):
      write(made, model, name, seed + 10 * (model == "two"))
  return made


@pytest.fixture
def loads(monkeypatch):
  """(model, probe) of the units whose observations are decoded, as that happens."""
  found, load = [], Store.load

  def counted(self, unit):
    found.append((unit.model, unit.probe))
    return load(self, unit)

  monkeypatch.setattr(Store, "load", counted)
  return found


def test_kept_numbers_are_the_fresh_ones_byte_for_byte(store, loads):
  first = tables(store)
  assert len(loads) == 2 * len(PROBES)  # each once, though others rest on accuracy as well
  loads.clear()
  assert tables(store) == first
  assert not loads
  assert fresh(store) == first
  assert b"truncated" in first["excluded.csv"]


def test_of_two_networks_only_the_changed_one_is_summarised_again(store, loads):
  before = tables(store)
  loads.clear()
  write(store, "two", "accuracy", 99)
  after = tables(store)
  assert set(loads) == {("two", "accuracy"), ("two", "spectral")}  # what rests on it
  assert after == fresh(store)
  then, now = (pd.read_csv(io.BytesIO(made["metrics.csv"])) for made in (before, after))
  one = then["model"] == "one"
  pd.testing.assert_frame_equal(then[one], now[one])
  assert not then[~one].equals(now[~one])


def test_other_code_and_other_options_summarise_again(store, loads, monkeypatch):
  first = tables(store)
  loads.clear()
  with monkeypatch.context() as patched:
    patched.setattr(kept, "OWN_CODE", "of another version")
    assert tables(store) == first
  assert len(loads) == 2 * len(PROBES)
  options = functools.partial(critical_band.summarise, name="critical_band", size=224)
  codes = [kept.code_of(functools.partial(options, sds=sds)) for sds in ((0.02, 0.04), (0.02, 0.08))]
  assert all(codes)
  assert codes[0] != codes[1]


@pytest.mark.parametrize(
  "name",
  [
    "accuracy",
    "spectral",
    "critical_band",
    "shape",
    "suppression",
    "pgd",
    "corruptions",
    "sensitivity",
    "gradient_spectrum",
  ],
)
def test_what_the_probes_of_biasjax_make_is_kept(name):
  assert kept.code_of(probes.get(name).summarise)


def test_an_edited_seed_of_resampling_is_no_old_number(store, tmp_path):
  checkout = tmp_path / "checkout"
  shutil.copytree(ROOT / "biasjax", checkout / "biasjax", ignore=shutil.ignore_patterns("__pycache__"))

  def summarised() -> pd.DataFrame:
    done = python(SUMMARISED, store, checkout)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(store.workdir / "metrics.csv")

  before = summarised()
  statistics = checkout / "biasjax/statistics.py"
  seeded = "def bootstrap_means(outcomes: np.ndarray, resamples: int, seed: int = "
  assert f"{seeded}0" in statistics.read_text()
  statistics.write_text(statistics.read_text().replace(f"{seeded}0", f"{seeded}1"))
  after = summarised()
  published = before["metric"].str.startswith("metric/criticalband/")
  assert not before[published].equals(after[published])
  pd.testing.assert_frame_equal(before[~published], after[~published])


def test_code_that_is_not_biasjax_own_is_never_taken_for_unchanged(store):
  class Probe:
    needs, conditions = (), {"clean": 0}

    def __init__(self, value: float):
      self.value = value

    def summarise(self, observations):
      return [Metric("top1_acc/{dataset}", self.value, 2.0, 90.0, 1)]

  for value in (8.0, 9.0):
    made = Probe(value)
    summary = summarise(store, lambda name, size, made=made: made)
    assert set(summary.metrics["value"]) == {value}


@pytest.mark.parametrize(
  "damage",
  [
    lambda text: text[: len(text) // 2],
    lambda text: "[]",
    lambda text: json.dumps(json.loads(text)["kept"]),
    lambda text: text.replace('"top1_acc/{dataset}", ', '"top1_acc/{dataset}", 1'),
    lambda text: text.replace('"detail"', '"details"').replace('"metrics"', '"metric"'),
  ],
)
def test_a_damaged_file_is_made_again(store, damage, caplog):
  first = tables(store)
  (path,) = (store.workdir / kept.FOLDER / "imagenet/accuracy/one").iterdir()
  whole = path.read_text()
  assert damage(whole) != whole
  path.write_text(damage(whole))
  with caplog.at_level(logging.WARNING):
    assert tables(store) == first
  assert "is made again" in caplog.text
  assert path.read_text() == whole


def test_a_process_killed_while_it_writes_leaves_what_was_there(store):
  first = tables(store)
  (path,) = (store.workdir / kept.FOLDER / "imagenet/accuracy/one").iterdir()
  whole = path.read_bytes()
  killed = """
import os, sys
from biasjax.results import kept, store
from etils import epath
write = type(epath.Path("x")).write_bytes
def half(self, content):
  write(self, content[: len(content) // 2])
  os.kill(os.getpid(), 9)
type(epath.Path("x")).write_bytes = half
found = store.Store(sys.argv[1])
unit = next(u for u in found.units() if (u.model, u.probe) == ("one", "accuracy"))
kept.keep(found, unit, kept.find(found, unit))
"""
  done = python(killed, store)
  assert done.returncode == -9, done.stderr
  assert path.read_bytes() == whole
  assert tables(Store(store.workdir)) == first


def test_where_nothing_can_be_kept_tables_are_the_same(store):
  first = tables(store)
  shutil.rmtree(store.workdir / kept.FOLDER)
  (store.workdir / kept.FOLDER).write_text("no folder can be here")
  assert tables(store) == first
