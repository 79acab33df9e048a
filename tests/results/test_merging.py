"""Working directories that fit together become one; others are refused by name, and nothing is written."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax.errors import BiasjaxError
from biasjax.results import merging
from biasjax.results.store import Store, chunks
from biasjax.results.unit import Unit
from deadline import DEADLINE_S

KEY = {"labels": "imagenet", "preprocess": {"crop": 224}, "seed": 0, "precision": "float32"}


def written(
  folder,
  model,
  *,
  dataset="photos",
  fingerprint="f",
  length=7,
  chunk=4,
  skip=(),
  salt=0,
  recipe="paper",
  key=(),
):
  """A directory with a network's accuracy on made images; returns its store."""
  store = Store(folder, chunk, create=True)
  unit = Unit(model, dataset, "accuracy", KEY | {"model": f"weights of {model}"} | dict(key))
  store.settle([unit], recipe)
  store.register(stored_runs.images(dataset, length, fingerprint), [unit])
  for start, stop in chunks(length, chunk):
    if (start, stop) in skip:
      continue
    label = np.arange(start, stop)
    wrong = (label + len(model)) % 3 == 0
    rows = {
      "condition": ["clean"] * len(label),
      "example_id": [f"{i}.png" for i in label],
      "label": label,
      "prediction": label + wrong,
      "rank": wrong.astype(int),
      **dict.fromkeys(("confidence", "nll", "brier"), np.full(len(label), 0.5, np.float32)),
    }
    store.write(unit, (start, stop), rows, {}, contents=np.asarray(label + 1 + salt, np.uint32))
  store.look_again()
  return store


def test_observations_of_all_are_in_the_merged_one(tmp_path):
  first = written(tmp_path / "a", "one")
  second = written(tmp_path / "b", "two")
  more = written(tmp_path / "c", "two", dataset="others", length=5)
  into = Store(tmp_path / "out", create=True)
  merging.merge([first, second, more], into)
  found = Store(tmp_path / "out")
  names = [(unit.model, unit.dataset) for unit in found.units()]
  assert names == [("one", "photos"), ("two", "others"), ("two", "photos")]
  for store in (first, second, more):
    for unit in store.units():
      assert not found.missing(unit)
      pd.testing.assert_frame_equal(found.read(unit)[0], store.read(unit)[0])
  merging.merge([first, second, more], Store(tmp_path / "out"))  # again: nothing changes
  assert [u.digest for u in Store(tmp_path / "out").units()] == [u.digest for u in found.units()]


def test_chunks_of_one_network_in_two_directories_are_put_together(tmp_path):
  first = written(tmp_path / "a", "one", skip=[(0, 4)])
  second = written(tmp_path / "b", "one", skip=[(4, 7)])
  merging.merge([first, second], Store(tmp_path / "out", create=True))
  found = Store(tmp_path / "out")
  (unit,) = found.units()
  assert list(found.read(unit)[0]["label"]) == list(range(7))


def test_sizes_of_chunks_do_not_matter_where_all_images_are_one(tmp_path):
  first, second = (written(tmp_path / name, name, chunk=size) for name, size in (("a", 9), ("b", 7)))
  merging.merge([first, second], Store(tmp_path / "out", create=True))
  found = Store(tmp_path / "out")
  assert [list(found.read(unit)[0]["label"]) for unit in found.units()] == [list(range(7))] * 2
  assert not any(found.missing(unit) for unit in found.units())


@pytest.mark.parametrize(
  ("other", "message"),
  [
    ({"model": "one", "key": {"model": "others"}}, "one, accuracy on photos, and not the same: networks of"),
    (
      {"model": "one", "dataset": "others", "key": {"model": "others"}},
      "two networks under one name, one, accuracy on photos and one, accuracy on others",
    ),
    ({"fingerprint": "g"}, "under the name photos (other names, sizes or labels, or the order of a sample"),
    ({"length": 6}, "hold different images under the name photos (7 and 6)"),
    ({"chunk": 3}, "hold chunks of different sizes under the name photos (4 and 3)"),
    ({"key": {"seed": 1}}, "more than one seed, 0 (one, accuracy on photos) and 1 (two"),
    ({"key": {"precision": "bfloat16"}}, "more than one precision, float32 (one"),
    ({"recipe": "native"}, "--preprocess=native"),
    ({"salt": 1}, "have seen different images of photos, e.g. example 0"),
  ],
)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(tmp_path, other, message):
  other = {"model": "two", **other}
  first = written(tmp_path / "a", "one")
  second = written(tmp_path / "b", **other)
  with pytest.raises(BiasjaxError, match=re.escape(message)) as error:
    merging.merge([first, second], Store(tmp_path / "out", create=True))
  assert "\n" not in str(error.value)
  assert not (tmp_path / "out").exists()


def run(*arguments):
  command = [sys.executable, "run.py", "--summarise", *map(str, arguments)]
  return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_one_command_makes_the_tables_of_several_directories(tmp_path):
  written(tmp_path / "a", "one")
  written(tmp_path / "b", "three")
  both = f"--workdir={tmp_path / 'a'},{tmp_path / 'b'}"
  done = run(both)
  assert done.returncode == 1
  assert "say where the merged one goes with --output=" in done.stderr
  done = run(both, f"--output={tmp_path / 'out'}")
  assert done.returncode == 0, done.stderr
  table = pd.read_csv(tmp_path / "out/results.csv").set_index("model")["top1_acc/photos"]
  # Wrong are labels 0, 3 and 6 of "one", and 1 and 4 of "three".
  assert dict(table) == pytest.approx({"one": 100 * 4 / 7, "three": 100 * 5 / 7})
  assert json.loads((tmp_path / "out/run.json").read_text())["preprocess"] == "paper"
  done = run(f"--workdir={tmp_path / 'b'}", f"--output={tmp_path / 'copy'}")
  assert done.returncode == 0, done.stderr
  assert list(pd.read_csv(tmp_path / "copy/results.csv")["model"]) == ["three"]
  assert not (tmp_path / "b/results.csv").exists()
  done = run(both, f"--output={tmp_path / 'a'}")
  assert done.returncode == 0, done.stderr  # the second into the first
  assert list(pd.read_csv(tmp_path / "a/results.csv")["model"]) == ["one", "three"]
