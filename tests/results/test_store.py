"""The store at the scale of the paper: few files, few calls; and what was written by another version."""

import json
import math
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax import configuration, probes
from biasjax.data import datasets
from biasjax.engine import schedule
from biasjax.errors import BiasjaxError
from biasjax.results import chunk
from biasjax.results.store import Store
from biasjax.results.unit import Unit


def columns(start: int, stop: int, conditions=("clean",)) -> dict:
  n = (stop - start) * len(conditions)
  ids = [f"image{i}" for i in range(start, stop)] * len(conditions)
  numbers = {name: np.zeros(n, np.int32) for name in ("label", "prediction", "rank")}
  numbers |= {name: np.zeros(n, np.float32) for name in ("confidence", "nll", "brier")}
  return {"condition": np.repeat(list(conditions), stop - start), "example_id": ids} | numbers


def filled(workdir, models=("a", "b"), length=40, size=4) -> Store:
  store = Store(workdir, size)
  store.register(
    stored_runs.images("made", length), [Unit(model, "made", "accuracy", {"of": model}) for model in models]
  )
  for unit in store.units():
    for start, stop in store.chunks("made"):
      store.write(unit, (start, stop), columns(start, stop), {})
  return store


def test_whether_a_run_is_complete_takes_a_listing_of_each_folder(tmp_path, monkeypatch):
  filled(tmp_path / "out")
  store = Store(tmp_path / "out")
  listed, opened = [], []
  of_path = type(store.workdir)
  iterdir, opening = of_path.iterdir, of_path.open
  monkeypatch.setattr(of_path, "iterdir", lambda path: listed.append(path) or iterdir(path))
  monkeypatch.setattr(of_path, "open", lambda path, *a, **k: opened.append(path) or opening(path, *a, **k))
  monkeypatch.setattr(of_path, "read_bytes", None)
  for _ in range(3):
    assert not any(store.missing(unit) for unit in store.units())
  assert (len(listed), len(opened)) == (2, 0)
  store.look_again()
  (
    tmp_path / "out/observations/made/accuracy/a" / store.units()[0].digest / "00000008-00000012.parquet"
  ).unlink()
  assert [store.missing(unit) for unit in store.units()] == [[(8, 12)], []]


# How many images there are: docs/datasets.md, counted there as published
DEVICES = [(1, "gpu", 256), (1, "gpu", 64), (8, "gpu", 2048), (1, "cpu", 64), (1, "cpu", 8)]


@pytest.mark.parametrize(("devices", "platform", "rows"), DEVICES)
@pytest.mark.parametrize("models", [1, 48])
def test_a_network_of_the_papers_protocol_takes_few_files(devices, platform, rows, models):
  config = configuration.load("paper").get_config()
  files, lost = 0, 0.0
  for name in config.dataset:
    row = datasets.get(name)
    located = [probes.located(spec) for spec in config.probes]
    asked = [probes.get(probe) for probe, where in located if where in ("", row.name)]
    asked = [probe for probe in asked if row.labels in probe.decide]
    looks = models * sum(len(probe.conditions) * probe.forwards for probe in asked)
    size = schedule.chunk_size(looks, row.images, rows, devices, platform)
    assert size % rows == 0 or (size < rows and size % devices == 0)
    files += len(asked) * math.ceil(row.images / size)
    lost = max(lost, min(size, row.images) * looks)
  assert files < 4000
  if platform == "gpu":  # 20 minutes of a device that makes 1,500 passes of a ResNet-50 a second
    assert lost / devices < 20 * 60 * 1500


def test_a_chunk_is_whole_batches_where_there_are_so_many_images():
  assert schedule.chunk_size(1, 10**6, 96, 1, "gpu") % 96 == 0
  assert schedule.chunk_size(10**9, 10, 64, 1, "cpu") == 64


def test_a_directory_keeps_the_chunks_it_was_started_with(tmp_path):
  store = Store(tmp_path / "out", create=True)
  store.register(stored_runs.images("made", 40), [Unit("a", "made", "accuracy", {})], 16)
  again = Store(tmp_path / "out", create=True)
  again.register(stored_runs.images("made", 40), [Unit("b", "made", "accuracy", {})], 8)
  assert again.chunks("made") == [(0, 16), (16, 32), (32, 40)]
  with pytest.raises(BiasjaxError, match=r"holds made in chunks of 16 images, not --chunk_size=8: leave"):
    Store(tmp_path / "out", 8)


def test_results_of_the_version_before_are_read(tmp_path):
  store = filled(tmp_path / "out")
  path = tmp_path / "out/run.json"
  manifest = json.loads(path.read_text())
  for dataset in manifest["datasets"].values():
    del dataset["chunk_size"]
  path.write_text(json.dumps(manifest | {"format": 2, "chunk_size": 4}))
  old = Store(tmp_path / "out")
  pd.testing.assert_frame_equal(old.read(old.units()[0])[0], store.read(store.units()[0])[0])


def test_a_run_json_that_is_damaged_is_one_line_and_what_is_computed_is_found_again_without_it(tmp_path):
  store = filled(tmp_path / "out")
  path = tmp_path / "out/run.json"
  whole = path.read_bytes()
  known = json.loads(whole)
  dataset, unit = known["datasets"]["made"], known["units"][0]
  for content in (
    *(b"", whole[: len(whole) // 2], whole[:-1], b"\xff" * 9),
    *(json.dumps(other).encode() for other in ([], None, {}, {"format": 3})),
    *(
      json.dumps(known | changed).encode()
      for changed in (
        {"datasets": []},
        {"datasets": {"made": {}}},
        {"datasets": {"made": dataset | {"chunk_size": 0}}},
        {"datasets": {"made": dataset | {"length": "8"}}},
        {"units": [1]},
        {"units": [{"model": "a"}]},
        {"units": [unit | {"key": 3}]},
        {"units": None},
      )
    ),
  ):
    path.write_bytes(content)
    with pytest.raises(BiasjaxError, match=r"run.json is damaged \(.+\): delete it and start the same run"):
      Store(tmp_path / "out")
  path.unlink()
  again, units = Store(tmp_path / "out", 4), store.units()
  again.register(stored_runs.images("made", 40), units)
  pd.testing.assert_frame_equal(again.read(units[0])[0], store.read(units[0])[0])


def test_a_file_under_the_name_of_another_chunk_is_damaged(tmp_path):
  content = chunk.encode(
    {"model": "a", "dataset": "made", "probe": "accuracy"}, columns(0, 4), chunk.Footer((0, 4), {}, {})
  )
  assert chunk.decode(content, (0, 4))[0].num_rows == 4
  with pytest.raises(chunk.Damaged, match="footer"):
    chunk.decode(content, (4, 8))


@pytest.mark.parametrize(
  "ids", [["image0", "image1", "image1", "image3"], ["image0", "image1", "image2"]], ids=["twice", "missing"]
)
def test_each_example_is_there_once_for_each_condition(ids):
  rows = columns(0, 4, ("clean", "noisy"))
  kept = [i for i in range(8) if i < 4 or i - 4 < len(ids)]
  rows = {name: np.asarray(values)[kept] for name, values in rows.items()}
  rows["example_id"] = [*rows["example_id"][:4], *ids]
  content = chunk.encode(
    {"model": "a", "dataset": "made", "probe": "accuracy"}, rows, chunk.Footer((0, 4), {}, {})
  )
  with pytest.raises(chunk.Damaged, match="it has not each of its 4 examples once"):
    chunk.decode(content, (0, 4))


def test_what_is_read_is_what_was_written(tmp_path):
  store = Store(tmp_path / "out", 5)
  unit = Unit("a", "made", "spectral", {})
  store.register(stored_runs.images("made", 8), [unit])
  rng = np.random.default_rng(0)
  written = []
  for start, stop in store.chunks("made"):
    rows = columns(start, stop, ("low", "high"))
    rows["rank"] = rng.integers(0, 9, len(rows["rank"])).astype(np.int32)
    rows["broken_by"] = [f"attack{i % 2}" for i in range(len(rows["rank"]))]
    store.write(unit, (start, stop), rows, {})
    written.append(pd.DataFrame(rows))
  expected = pd.concat(written, ignore_index=True)
  for found in (store.read(unit)[0], store.load(unit).frame()):
    assert list(found["model"]) == ["a"] * 16
    pd.testing.assert_frame_equal(
      found[list(expected)].astype({"condition": "str", "example_id": "str"}), expected, check_dtype=False
    )


@pytest.mark.parametrize("conditions", [("clean",), ("clean", "dark")])
def test_a_chunk_of_which_nothing_could_be_decoded_is_read_beside_others(tmp_path, conditions):
  store = Store(tmp_path / "out", 4)
  store.register(stored_runs.images("made", 12), [Unit("a", "made", "accuracy", {})])
  (unit,) = store.units()
  for start, stop in store.chunks("made"):
    broken = start == 4
    excluded = {f"image{i}": "truncated" for i in range(start, stop) if broken}
    store.write(unit, (start, stop), columns(start, start if broken else stop, conditions), excluded)
  loaded = store.load(unit)
  for frame in (loaded.frame(), loaded.frame(strings=True)):
    ids = [f"image{i}" for i in range(4)] * len(conditions)
    ids += [f"image{i}" for i in range(8, 12)] * len(conditions)
    assert frame["example_id"].to_list() == ids
    assert frame["condition"].to_list() == [of for _ in "ab" for of in conditions for _ in range(4)]
  assert list(loaded.excluded) == ["image4", "image5", "image6", "image7"]


def test_the_docs_say_how_to_read_the_columns_that_some_probes_add(tmp_path, monkeypatch):
  """pandas alone takes the first file's columns, and leaves the others out."""
  monkeypatch.chdir(tmp_path)
  store = Store("out", 4)
  units = {name: Unit("a", "imagenet", name, {"of": name}) for name in ("accuracy", "pgd")}
  store.register(stored_runs.images("imagenet", 4), units.values())
  further = {"norm": np.full(4, 0.5, np.float32), "broken_by": ["", "pgd", "", "pgd"]}
  store.write(units["accuracy"], (0, 4), columns(0, 4), {})
  store.write(units["pgd"], (0, 4), columns(0, 4) | further, {})
  page = (pathlib.Path(__file__).parents[2] / "docs/results.md").read_text()
  plain, whole = (
    next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if word in code)
    for word in ("groupby", "unify_schemas")
  )
  names: dict = {}
  exec(plain, names)
  assert "norm" not in names["observations"]
  exec(whole, names)
  found = names["observations"].set_index(["probe", "example_id"]).sort_index()
  assert len(found) == 8
  assert found.loc["pgd", "broken_by"].tolist() == further["broken_by"]
  assert found.loc["accuracy", "norm"].isna().all()
  assert names["attacked"]["norm"].tolist() == [0.5] * 4


@pytest.mark.parametrize("later", [("clean",), ("clean", "b")])
def test_a_sample_of_which_a_chunk_has_one_condition_and_another_several_is_read(tmp_path, later):
  """Ids of one condition are read as they are, of several as codes."""
  store = Store(tmp_path, 4)
  unit = Unit("a", "made", "spectral", {"of": "a", "sample": {"margin": 1.0}})
  store.register(stored_runs.images("made", 12), [unit])
  for start, conditions in ((0, ("clean", "b")), (4, later), (8, ("clean",))):
    store.write(unit, (start, start + 4), columns(start, start + 4, conditions), {})
  found, _ = store.read(unit)
  expected = [f"image{i}" for i in range(12)]
  assert found.loc[found["condition"] == "clean", "example_id"].tolist() == expected
  assert store.load(unit).frame()["example_id"].astype(str).tolist() == found["example_id"].tolist()
