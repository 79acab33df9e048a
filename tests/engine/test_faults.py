"""What goes wrong around a run is named, and costs nothing that was finished."""

import errno
import itertools
import os
import time

import jax
import numpy as np
import pytest
from etils import epath

from biasjax import probes
from biasjax.data import sources
from biasjax.engine import evaluate, launch, rates
from biasjax.engine.schedule import Worker
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from made_images import class_folder
from made_models import made_model

COUNTS = {"n01440764": 4, "n01443537": 3, "n15075141": 4}


@pytest.fixture
def source(tmp_path):
  return sources.folder(class_folder(tmp_path / "images", COUNTS), "made")


def run(source, workdir, models=None, **of_settings) -> Store:
  store = Store(workdir, 4)
  settings = evaluate.Settings(batch_size=4, **of_settings)
  evaluate.evaluate(models or [made_model("a", 0)], [probes.get("accuracy")], source, store, settings)
  return store


def contents(workdir) -> dict[str, bytes]:
  return {str(p.relative_to(workdir)): p.read_bytes() for p in sorted(workdir.rglob("*")) if p.is_file()}


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path, source, monkeypatch):
  run(source, tmp_path / "whole")
  write, count = type(epath.Path(tmp_path)).write_bytes, itertools.count()

  def full(self, content):
    if next(count) < 3:  # run.json and two chunks
      return write(self, content)
    write(self, content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

  with monkeypatch.context() as patch:
    patch.setattr(type(epath.Path(tmp_path)), "write_bytes", full)
    with pytest.raises(BiasjaxError, match=r"cannot write .*00000008-00000011.parquet: .*No space left"):
      run(source, tmp_path / "full")
  assert len(list((tmp_path / "full").rglob("*.parquet*"))) == 2
  run(source, tmp_path / "full")
  assert contents(tmp_path / "full") == contents(tmp_path / "whole")


def test_a_directory_that_cannot_be_written_is_named(tmp_path, source):
  (tmp_path / "file").write_text("")
  with pytest.raises(BiasjaxError, match=r"cannot write into .*file/out"):
    run(source, tmp_path / "file/out")


def test_damage_inside_a_chunk_is_set_aside_and_computed_again(tmp_path, source):
  store = run(source, tmp_path / "out")
  before = contents(tmp_path / "out")
  path = next((tmp_path / "out").rglob("*4-*.parquet"))
  damaged = bytearray(path.read_bytes())
  for at in range(40, 400, 7):
    damaged[at] ^= 255
  path.write_bytes(damaged)
  with pytest.raises(BiasjaxError, match=r"holds nothing complete: a, accuracy on made: .* set aside"):
    summarise(store, probes.get)
  run(source, tmp_path / "out")
  after = contents(tmp_path / "out")
  assert {name: after[name] for name in before} == before
  assert len(summarise(store, probes.get).metrics)


def test_one_damaged_unit_does_not_hide_the_others(tmp_path, source):
  store = run(source, tmp_path / "out", [made_model("a", 0), made_model("b", 1)])
  path = next((tmp_path / "out/observations/made/accuracy/a").rglob("*.parquet"))
  damaged = bytearray(path.read_bytes())
  damaged[40:200] = bytes(160)
  path.write_bytes(damaged)
  summary = summarise(store, probes.get)
  assert set(summary.metrics["model"]) == {"b"}
  assert "a, accuracy on made" in summary.incomplete[0]


def test_results_do_not_depend_on_the_wall_clock(tmp_path, source, monkeypatch):
  run(source, tmp_path / "whole")
  monkeypatch.setattr(time, "time", itertools.count(1e9, -3600).__next__)
  run(source, tmp_path / "backwards")
  assert contents(tmp_path / "backwards") == contents(tmp_path / "whole")


def test_too_little_memory_on_the_device_is_one_message(tmp_path, source):
  import dataclasses

  def apply(variables, images):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

  model = dataclasses.replace(made_model("a", 0), apply=apply)
  with pytest.raises(BiasjaxError, match="not enough memory for --batch_size=4: name a smaller one"):
    run(source, tmp_path / "out", [model])


def test_two_runs_register_their_models_side_by_side(tmp_path, source):
  first, second = Store(tmp_path / "out", 4), Store(tmp_path / "out", 4)
  for store, name in ((first, "a"), (second, "b")):
    work = evaluate.units([made_model(name, 0)], [probes.get("accuracy")], source, evaluate.Settings())
    store.register(source, itertools.chain(*work))
  assert [unit.model for unit in Store(tmp_path / "out").units()] == ["a", "b"]


def test_a_run_of_another_format_is_not_read(tmp_path):
  (tmp_path / "run.json").write_text('{"format": 1, "chunk_size": 4, "datasets": {}, "units": []}')
  with pytest.raises(BiasjaxError, match="was written by another version of biasjax"):
    Store(tmp_path)


# The batch size that is found by trying


def rate_of(speeds: dict[int, float]):
  def forward(model, probe, source, settings):
    if settings.batch_size not in speeds:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    return rates.Rate(speeds[settings.batch_size], 0.0)

  return forward


@pytest.mark.parametrize(
  ("speeds", "expected"),
  [
    ({8: 10.0, 16: 18.0, 32: 30.0}, 32),  # 64 does not fit
    ({8: 10.0, 16: 18.0, 32: 18.5, 64: 40.0}, 16),  # 32 gains too little
    ({8: 10.0}, 8),
  ],
)
def test_auto_takes_the_batch_that_fits_and_gains(source, monkeypatch, speeds, expected):
  monkeypatch.setattr(rates, "forward", rate_of(speeds))
  found = rates.batch_size([made_model("a", 0)], [probes.get("accuracy")], source, evaluate.Settings())
  assert found == expected


def test_auto_says_when_nothing_fits(source, monkeypatch):
  monkeypatch.setattr(rates, "forward", rate_of({}))
  with pytest.raises(BiasjaxError, match="a: the device has no memory for 8 images at a time"):
    rates.batch_size([made_model("a", 0)], [probes.get("accuracy")], source, evaluate.Settings())


# What a process settles before it computes


@pytest.mark.parametrize(("shard", "worker"), [("1/8", (0, 8)), ("8/8", (7, 8)), (None, (0, 1))])
def test_shards_count_from_one(shard, worker):
  assert launch.parse_shard(shard) == Worker(*worker)


@pytest.mark.parametrize("shard", ["0/8", "9/8", "3", "a/b", "-1/8", "1/0"])
def test_a_senseless_shard_is_refused(shard):
  with pytest.raises(BiasjaxError, match="expected NUMBER/COUNT, 1/8 to 8/8"):
    launch.parse_shard(shard)


@pytest.mark.parametrize(
  ("environment", "expected"),
  [
    ({}, False),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, False),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, True),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, False),
    ({"SLURM_NTASKS": "4"}, False),  # the batch script itself, not one of its tasks
    ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
    ({"TPU_WORKER_HOSTNAMES": "10.0.0.2,10.0.0.3"}, True),
  ],
)
def test_a_job_of_several_processes_is_recognised(environment, expected):
  assert launch.on_cluster(environment) == expected


def test_bfloat16_keeps_variables_and_logits_in_float32():
  from biasjax.models import load
  from made_models import ARCHITECTURE

  model = made_model("a", 0)
  images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
  exact, rounded = (
    np.asarray(load.apply_function(ARCHITECTURE, precision)(model.variables, images))
    for precision in ("float32", "bfloat16")
  )
  assert rounded.dtype == np.float32
  difference = np.abs(exact - rounded).max() / exact.std()
  assert 1e-4 < difference < 0.1  # 8 bits of mantissa, and not 24


@pytest.mark.parametrize(
  "own", [{"JAX_COMPILATION_CACHE_DIR": "/mine"}, {"JAX_ENABLE_COMPILATION_CACHE": "0"}]
)
def test_what_a_user_says_about_compiled_programs_stays(tmp_path, own):
  given = dict(own)
  launch.keep_programs(tmp_path, given)
  assert given == own


def test_programs_for_another_processor_are_kept_apart(tmp_path, monkeypatch):
  for instructions in ("fpu avx2", "fpu avx2 avx512f"):
    about = f"flags: {instructions}\n\nflags: of the second core"
    monkeypatch.setattr(launch.pathlib.Path, "read_text", lambda path, about=about: about)
    launch.keep_programs(tmp_path, {})
  assert len(list((tmp_path / "compiled").iterdir())) == 2


def test_programs_are_not_kept_where_nothing_can_be_written(tmp_path):
  (tmp_path / "compiled").write_text("in the way")
  given = {}
  launch.keep_programs(tmp_path, given)
  assert given == {}
