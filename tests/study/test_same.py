"""Networks that a table has under several names."""

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax.results.store import Store
from biasjax.study import analysis, definitions, same, series, stored
from biasjax.study.definitions import Series
from biasjax.study.table import Table

DEFINED = {
  "draws": 200,
  "columns": [],
  "biases": [{"name": "bias", "mean": ["shape-bias"]}],
  "axes": [{"name": "ID", "mean": ["top1_acc/drawn"]}, {"name": "OOD", "mean": ["top1_acc/other"]}],
  "groups": [{"name": "Total"}],
  **{name: [] for name in ("benchmarks", "variations", "series", "sizes")},
  "checkpoints": "",
  "certificates": "",
}


def table(models, seed=0):
  rng = np.random.default_rng(seed)
  columns = ("shape-bias", "top1_acc/drawn", "top1_acc/other")
  frame = pd.DataFrame(
    {name: rng.random(len(models)) * 90 for name in columns}, index=pd.Index(models, name="model")
  )
  return Table(frame, pd.Series("all", index=frame.index))


def run(folder, weights):
  """A run that has measured {model: digest of its weights}."""
  folder.mkdir()
  store = Store(folder, chunk_size=3)
  units = [
    stored_runs.Unit(
      name, "drawn", "accuracy", {"model": digest, "labels": "imagenet", "preprocess": {"crop": 64}}
    )
    for name, digest in weights.items()
  ]
  store.register(stored_runs.images("drawn", 3), units)
  return stored.of(store)


def test_a_network_of_two_names_counts_once(tmp_path):
  names = [f"net{i}" for i in range(8)]
  of = table([*names, "copy"])
  of.frame.loc["copy"] = of.frame.loc["net3"]
  observed = run(tmp_path / "run", {name: name for name in names} | {"copy": "net3"})
  study = analysis.analyse(of, definitions.parse(DEFINED), 0, observed)
  cell = study.tables["correlations"].set_index("axis").loc["OOD"]
  eight = of.frame.loc[names]
  expected = eight["shape-bias"].corr(eight["top1_acc/other"], method="spearman")
  assert cell["n"] == 8
  assert cell["spearman"] == pytest.approx(expected)
  assert any("copy has the weights of net3" in note for note in study.notes)


def test_equal_weights_seen_in_another_way_are_two_networks(tmp_path):
  observed = run(tmp_path / "run", {"a": "x", "b": "x"})
  key = dict(observed.units["b", "drawn", "accuracy"].key) | {"preprocess": {"crop": 32}}
  units = dict(observed.units) | {("b", "drawn", "accuracy"): stored_runs.Unit("b", "drawn", "accuracy", key)}
  observed = stored.Observations(observed.store, units)
  assert list(same.once(table(["a", "b"]), observed).frame.index) == ["a", "b"]


def test_equal_numbers_without_a_run_are_named_and_count():
  of = table(["a", "b", "c"])
  of.frame.loc["c"] = of.frame.loc["a"]
  found = same.once(of, None)
  assert list(found.frame.index) == ["a", "b", "c"]
  (note,) = found.notes
  assert note.startswith("a, c have the same 3 numbers")


def test_a_copy_stands_in_each_series_that_its_names_are_of(tmp_path):
  """The untouched network is strength 0 of both interventions."""
  models = ["low_0", "low_1", "low_2", "high_1", "high_2"]
  both = [Series(name, rf"{name}_(?P<x>\d)") for name in ("low", "high")]
  found = series.members(both, pd.Index(models), {"high_0": "low_0"})
  assert found["high"] == {"low_0": 0.0, "high_1": 1.0, "high_2": 2.0}
  assert found["low"] == {"low_0": 0.0, "low_1": 1.0, "low_2": 2.0}


@pytest.mark.reference
def test_the_published_table_has_no_network_twice(reference):
  from biasjax.study import table as tables

  read = tables.read(str(reference / "data/paper/benchmark.csv"), None, ())
  assert same.once(read, None).notes == read.notes
