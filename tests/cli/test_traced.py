"""Traced networks in run.py: no torch, beside others of other sizes, the numbers of the network itself."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np

import made_programs
from biasjax.data import preprocess
from biasjax.models import load
from biasjax.results.store import Store
from deadline import DEADLINE_S
from made_images import class_folder

ROOT = pathlib.Path(__file__).parents[2]
# torch cannot be imported in the process that measures.
WITHOUT_TORCH = """
import importlib.abc, runpy, sys

class Without(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path, target=None):
    if name.partition(".")[0] in ("torch", "torchvision", "timm"):
      raise ImportError(name)

sys.meta_path.insert(0, Without())
runpy.run_path("run.py", run_name="__main__")
"""


def without_torch(*flags: str, **environment: str) -> list:
  return [[sys.executable, "-c", WITHOUT_TORCH, *flags], {"cwd": ROOT, "env": os.environ | environment}]


def test_killed_and_resumed_on_eight_devices_a_traced_network_gives_the_same_bytes(tmp_path):
  pictures = class_folder(tmp_path / "val", {"n02391049": 9, "n07747607": 11})
  folder = made_programs.made_checkpoint(tmp_path / "traced", 1, size=32, classes=1000)
  eight = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

  def start(workdir: str) -> subprocess.Popen:
    flags = [f"--models={folder}", f"--dataset=imagenet=folder:{pictures}", f"--workdir={tmp_path / workdir}"]
    flags += ["--probes=accuracy,spectral", "--batch_size=1", "--chunk_size=8", "--noreport"]
    command, how = without_torch(*flags, XLA_FLAGS=eight)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **how)

  def finished(process: subprocess.Popen) -> None:
    said = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 0, said

  finished(start("whole"))
  cut, limit = start("cut"), time.monotonic() + DEADLINE_S
  while len(list((tmp_path / "cut").rglob("*.parquet"))) < 2 and cut.poll() is None:  # of 6
    assert time.monotonic() < limit
    time.sleep(0.01)
  cut.kill()
  cut.communicate()
  assert not (tmp_path / "cut/results.csv").exists()
  finished(start("cut"))
  written = {
    name: {
      path.relative_to(tmp_path / name): path.read_bytes()
      for path in (tmp_path / name).rglob("*")
      if path.suffix in (".csv", ".json", ".parquet")
    }
    for name in ("whole", "cut")
  }
  assert len(written["whole"]) >= 9
  assert written["whole"] == written["cut"]


def test_traced_networks_of_two_sizes_are_measured_without_torch(tmp_path):
  pictures = class_folder(tmp_path / "val", {"n02391049": 3, "n07747607": 4})
  folders = {
    size: made_programs.made_checkpoint(tmp_path / f"of{size}", 1, size=size, classes=1000)
    for size in (32, 48)
  }
  flags = [f"--models={','.join(map(str, folders.values()))}", f"--dataset=imagenet=folder:{pictures}"]
  flags += ["--probes=accuracy", f"--workdir={tmp_path / 'out'}", "--batch_size=4", "--noreport"]
  command, how = without_torch(*flags)
  done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, **how)
  assert done.returncode == 0, done.stderr
  store = Store(str(tmp_path / "out"))
  for size, folder in folders.items():
    model = load.load(folder)
    table = next(store.read(unit)[0] for unit in store.units() if unit.model == folder.name)
    assert len(table) == 7
    resize = round(256 * size / 224)
    for row in table.itertuples():
      given = (pictures / str(row.example_id)).read_bytes()
      shown = preprocess.preprocess(given, short_side=resize, crop=size)[None].astype(np.float32) / 255
      logits = np.asarray(model.apply(model.variables, shown))[0]
      assert row.prediction == logits.argmax()
