"""Samples that grow until accuracies are known to a margin: against all images, killed, in other orders."""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from biasjax import partition, probes
from biasjax.data.layouts import Place
from biasjax.data.sources import Example, Source
from biasjax.engine import evaluate, programs, schedule
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Victim
from biasjax.probes.decisions import every_class
from biasjax.results.store import Store
from biasjax.results.summary import observed, summarise
from deadline import DEADLINE_S
from killed import killed_after

SIZE, CLASSES, MARGIN = 16, 4, 6.0
PROBES = ("accuracy", "spectral")


@functools.cache
def patterns() -> np.ndarray:
  """float32 [classes, 768], of unit length, without a mean."""
  rng = np.random.default_rng(5)
  waves = [
    np.kron(rng.normal(size=(SIZE // 2**k, SIZE // 2**k, 3)), np.ones((2**k, 2**k, 1))) for k in range(4)
  ]
  flat = np.stack([wave.ravel() - wave.mean() for wave in waves])
  return (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)


@functools.cache
def drawn(count: int) -> Source:
  """Patterns of four classes, strong or weak, under noise; one cannot be decoded."""
  rng = np.random.default_rng(0)
  labels, encoded = rng.integers(0, CLASSES, count), []
  for label in labels:
    strength = 255 * rng.gamma(2.0, 0.25)
    values = 128 + strength * patterns()[label].reshape(SIZE, SIZE, 3) + rng.normal(0, 12, (SIZE, SIZE, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    encoded.append(buffer.getvalue())
  encoded[7] = b"no image"
  places = [Place(f"{label}/{i}.png", int(label)) for i, label in enumerate(labels)]

  def read(index: int) -> Example:
    return Example(encoded[index], places[index].label, places[index].example_id)

  return Source(
    "made", count, read, "made", "memory", labels="classes", resize=None, crop=SIZE, places=places
  ).in_random_order(0)


def scores(variables, images):
  return 40 * (images - 0.5).reshape(len(images), -1) @ variables


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """Compares an image with each pattern, as it remembers them."""

  name: str
  wrong: float
  architecture: str = "linear"
  classes: int = CLASSES
  size: None = None

  @property
  def variables(self):
    rng = np.random.default_rng(len(self.name) + ord(self.name[0]))
    return jnp.asarray(
      patterns().T + self.wrong * rng.normal(size=(3 * SIZE**2, CLASSES)).astype(np.float32) / 28
    )

  @property
  def certificate(self):
    return {}

  @property
  def fingerprint(self):
    return f"{self.name} {self.wrong}"

  @property
  def apply(self):
    return scores


A, B = Network("a", 0.5), Network("b", 1.5)


def run(
  models, workdir, *, count=1400, margin=MARGIN, names=PROBES, chunk_size=None, source=None, **settings
):
  source = source or drawn(count)
  store = Store(workdir, chunk_size, create=True)
  planned = [probes.get(name, SIZE) for name in names]
  margins = {(source.name, probe.name): margin for probe in planned if margin and probe.sampled}
  evaluate.evaluate(models, planned, source, store, evaluate.Settings(margins=margins, **settings))
  return store


def metrics(store: Store) -> pd.DataFrame:
  return summarise(store, probes.get).metrics.set_index(["model", "metric"])


@pytest.fixture(scope="module")
def sampled(tmp_path_factory) -> Store:
  return run([A, B], tmp_path_factory.mktemp("sampled"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Store:
  return run([A, B], tmp_path_factory.mktemp("whole"), margin=0)


def contents(workdir) -> dict[str, bytes]:
  folder = pathlib.Path(workdir)
  found = sorted(path for path in folder.rglob("*") if path.is_file() and "summaries" not in path.parts)
  return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_each_number_of_a_sample_is_within_its_margin_of_that_of_all_images(sampled, whole):
  found, full = metrics(sampled), metrics(whole)
  assert list(found.index) == list(full.index)
  of_sample = found["estimator"] != ""
  off = (found["value"] - full["value"]).abs()
  same = [column for column in ("value", "low", "high", "n", "chance") if column]
  pd.testing.assert_frame_equal(found.loc[~of_sample, same], full.loc[~of_sample, same])
  accuracies = (
    of_sample & (found["probe"] == "spectral") & found.index.get_level_values(1).str.startswith("top1")
  )
  assert accuracies.sum() == 44
  assert (found.loc[accuracies, "margin"] <= MARGIN).all()
  assert found.loc[accuracies, "n"].max() < 0.5 * full["n"].max()
  assert found.loc[accuracies, "n"].nunique() > 1  # each condition as many as it needs
  known = of_sample & found["margin"].notna()
  assert known.sum() > 100
  assert (
    off[known] <= found.loc[known, "margin"]
  ).mean() > 0.8  # they are of one sample, and so miss together
  # What other images would change is in the interval, too: it is wider than that of all images.
  width = (found["high"] - found["low"])[accuracies]
  assert (width >= (full["high"] - full["low"])[accuracies] * 0.999).all()
  assert (found.loc[accuracies, "estimator"] == "regression").any()


def test_tables_of_samples_can_be_joined(sampled):
  units = {model: [unit for unit in sampled.units() if unit.model == model] for model in "ab"}
  tables = [observed(sampled, of, probes.get)["spectral"] for of in units.values()]
  assert len(pd.concat(tables)) == sum(map(len, tables))


def test_ratios_of_a_sample_have_margins_that_hold_the_ratio_of_all(sampled, whole):
  found, full = metrics(sampled), metrics(whole)
  for model in "ab":
    for name in ("LPP", "HPP", "spectral-bias"):
      row = found.loc[(model, name)]
      assert 0 < row["margin"] < 0.1
      assert abs(row["value"] - full.loc[(model, name), "value"]) <= 1.3 * row["margin"]


@pytest.mark.parametrize("written", [25, 49])
def test_a_killed_run_ends_in_the_same_bytes(sampled, tmp_path, monkeypatch, written):
  with killed_after(written, monkeypatch):
    run([A, B], tmp_path)
  with contextlib.suppress(BiasjaxError):  # nothing is complete
    assert not (metrics(Store(tmp_path))["estimator"] != "").all()
  run([A, B], tmp_path)
  assert contents(tmp_path) == contents(sampled.workdir)


def test_numbers_do_not_depend_on_the_order_of_networks_nor_on_batches_and_chunks(sampled, tmp_path):
  expected = metrics(sampled)
  found = metrics(run([B, A], tmp_path, chunk_size=32, batch_size=37))
  pd.testing.assert_frame_equal(found, expected, rtol=1e-5, check_exact=False)


def test_two_processes_that_share_a_sample_end_in_the_numbers_of_one(sampled, tmp_path):
  share = "import sys, test_samples_grow as t; t.run_share(sys.argv[1], int(sys.argv[2]))"
  environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
  processes = [
    subprocess.Popen([sys.executable, "-c", share, str(tmp_path), str(rank)], env=environment, stderr=-1)
    for rank in range(2)
  ]
  ended = [process.communicate(timeout=DEADLINE_S)[1] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], ended
  found = metrics(Store(tmp_path))
  pd.testing.assert_frame_equal(found, metrics(sampled).loc[["a"]], rtol=1e-5, check_exact=False)


def run_share(workdir: str, rank: int) -> None:
  """What one of two processes computes, each looking often what the other has."""
  schedule.POLL_S = 0.05
  run([A], workdir, worker=schedule.Worker(rank, 2, helps=True))


def test_a_small_dataset_is_asked_whole(tmp_path):
  found = metrics(run([A], tmp_path, count=120))
  spectral = found[(found["probe"] == "spectral") & found["n"].notna()]
  assert (spectral["n"] == 119).all()
  assert (spectral["margin"].fillna(0) == 0).all()


def test_chunks_that_do_not_divide_the_steps_of_a_sample_are_refused(tmp_path):
  with pytest.raises(BiasjaxError, match="grows by 64"):
    run([A], tmp_path, chunk_size=48)
  assert not (tmp_path / "run.json").exists()  # so that it can be left out, as is advised


def test_a_cheaper_attack_helps_to_know_a_dearer_one(tmp_path):
  names = ("accuracy", "pgd:eps=8:steps=1", "autoattack:eps=8:attacks=apgd-ce:steps=10")
  store = run([A], tmp_path, count=600, margin=12.0, names=names, batch_size=64)
  (unit,) = (unit for unit in store.units() if unit.probe == names[2])
  assert unit.key["sample"] == {"margin": 12.0, "helped_by": {"eps=8": [names[1], "eps=8"]}}
  rows = metrics(store).loc["a"]
  rows = rows[(rows["estimator"] != "") & ~rows.index.str.contains("after")]
  by_probe = rows.set_index("probe")
  assert by_probe.loc[names[1], "n"] >= by_probe.loc[names[2], "n"]
  assert (rows["margin"] <= 12).all()


def test_an_attack_of_some_budgets_is_that_of_all(tmp_path):
  probe = probes.get("pgd:eps=2+8:steps=2", SIZE)
  only = ("eps=8",)
  images = np.random.default_rng(0).random((4, SIZE, SIZE, 3)).astype(np.float32)
  split = partition.of_process()
  victim = Victim(programs.logits_step(scores, "float32"), every_class, split.share(A.variables), split)
  labels = np.zeros((4, 1), np.int32)
  keys = np.zeros((4, 2), np.uint32)
  batch = split.put((images, labels))
  given = dict(probe.attack(victim, lambda condition: split.put(keys), *batch))
  some = dict(probe.attack(victim, lambda condition: split.put(keys), *batch, only=only))
  assert list(some) == list(only)
  np.testing.assert_array_equal(split.get(some["eps=8"].images), split.get(given["eps=8"].images))
