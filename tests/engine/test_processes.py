"""Several processes, killed and started again in other numbers, end with the observations of one.

Every process ends by itself, or a time limit ends the test.
"""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from biasjax.results.store import Store
from deadline import DEADLINE_S
from made_images import class_folder
from made_models import made_checkpoint

ROOT = pathlib.Path(__file__).parents[2]
COUNTS = {"n01440764": 8, "n01443537": 8, "n15075141": 8}
CHUNKS = 6 * 2  # of four images, for accuracy and for spectral


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
  """A network, pictures, and what one process makes of them."""
  root = tmp_path_factory.mktemp("processes")
  class_folder(root / "images", COUNTS)
  made_checkpoint(root / "net", 0)
  done = subprocess.run(
    command(root, root / "one"), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S
  )
  assert done.returncode == 0, done.stderr
  return root


def command(root: pathlib.Path, workdir: pathlib.Path, *more: object) -> list[str]:
  flags = [f"--models={root / 'net'}", f"--dataset=made=folder:{root / 'images'}", f"--workdir={workdir}"]
  flags += ["--probes=accuracy,spectral", "--chunk_size=4", "--batch_size=1", "--noreport"]
  return [sys.executable, "run.py", *flags, *map(str, more)]


@contextlib.contextmanager
def started(commands: list[list[str]], devices: int = 1):
  """The processes; whatever happens, none is left."""
  flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"} if devices > 1 else {}
  environment = os.environ | flags  # footers say with which flags a chunk was computed
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
  processes = [subprocess.Popen(c, cwd=ROOT, env=environment, text=True, **pipes) for c in commands]
  try:
    yield processes
  finally:
    for process in processes:
      process.kill()
      process.communicate()


def together(root: pathlib.Path, workdir: pathlib.Path, count: int) -> list[list[str]]:
  """Commands of processes that find each other."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  flags = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}"]
  return [command(root, workdir, *flags, f"--process_id={i}") for i in range(count)]


def written(workdir: pathlib.Path) -> int:
  return len(list(workdir.rglob("*.parquet")))


def wait_for(chunks: int, workdir: pathlib.Path, processes) -> None:
  limit = time.monotonic() + DEADLINE_S
  while written(workdir) < chunks:
    assert time.monotonic() < limit, "they are too slow"
    assert all(p.poll() in (None, 0) for p in processes), [p.communicate() for p in processes]
    time.sleep(0.02)


def same_observations(root: pathlib.Path, workdir: pathlib.Path) -> None:
  order = ["probe", "condition", "example_id"]
  expected, found = (
    pd.read_parquet(folder / "observations").sort_values(order, ignore_index=True)
    for folder in (root / "one", workdir)
  )
  continuous = ["confidence", "nll", "brier"]
  pd.testing.assert_frame_equal(expected.drop(columns=continuous), found.drop(columns=continuous))
  for column in continuous:
    np.testing.assert_allclose(expected[column], found[column], rtol=2e-5)


def test_when_one_of_two_hosts_dies_the_other_finishes(made, tmp_path):
  with started(together(made, tmp_path / "out", 2), devices=4) as processes:
    wait_for(2, tmp_path / "out", processes)
    processes[1].send_signal(signal.SIGKILL)
    printed, errors = processes[0].communicate(timeout=DEADLINE_S)
    assert processes[0].returncode == 0, errors
  assert re.search(r"^top1_acc/made +24 ", printed, re.MULTILINE)
  same_observations(made, tmp_path / "out")


def test_when_all_die_others_of_another_number_go_on(made, tmp_path):
  with started(together(made, tmp_path / "out", 2)) as processes:
    wait_for(2, tmp_path / "out", processes)
    for process in processes:
      process.send_signal(signal.SIGKILL)
  before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
  assert 2 <= len(before) < CHUNKS
  shards = [command(made, tmp_path / "out", f"--shard={i}/3") for i in range(1, 4)]
  with started(shards) as processes:
    ended = [process.communicate(timeout=DEADLINE_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, ended
  assert sum("95 % intervals" in printed for printed, _ in ended) >= 1  # the last to end makes the tables
  assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing was computed again
  same_observations(made, tmp_path / "out")


def test_told_to_stop_it_finishes_the_chunk_and_says_so(made, tmp_path):
  with started([command(made, tmp_path / "out")]) as (process,):
    wait_for(1, tmp_path / "out", [process])
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
  assert process.returncode == 75
  assert "stopped as told; start the same command again to go on" in errors
  count = written(tmp_path / "out")
  assert count < CHUNKS
  assert count % 2 == 0  # accuracy and spectral of each chunk that was begun
  done = subprocess.run(command(made, tmp_path / "out"), cwd=ROOT, capture_output=True, timeout=DEADLINE_S)
  assert done.returncode == 0
  for path in (made / "one/observations").rglob("*.parquet"):
    assert (tmp_path / "out" / path.relative_to(made / "one")).read_bytes() == path.read_bytes()


def test_the_log_tells_chunk_by_chunk_what_was_done(made):
  lines = (made / "one/log-0-of-1.txt").read_text().splitlines()
  assert "start: 1 model(s), made; 1 x cpu, batch size 1, float32" in lines[0]
  assert len([line for line in lines if "are written: 23 steps of 4 images" in line]) == CHUNKS / 2


def test_a_directory_that_another_run_uses_is_refused(made, tmp_path):
  with Store(tmp_path / "out", 4).lock("0-of-1"):
    done = subprocess.run(
      command(made, tmp_path / "out"), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S
    )
  assert done.returncode == 1
  assert done.stderr.startswith(f"run.py: error: another run is at work in {tmp_path / 'out'}: wait for it")
  assert not written(tmp_path / "out")
