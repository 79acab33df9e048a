"""A network in JAX by the name of the function that makes it: --models=MODULE:FUNCTION."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from biasjax.cli import networks
from biasjax.engine import given
from biasjax.errors import BiasjaxError
from deadline import DEADLINE_S
from made_images import class_folder

ROOT = pathlib.Path(__file__).parents[2]
NETS = """
import jax.numpy as jnp
import numpy as np


def apply(variables, images):
  light = images.mean((1, 2))  # [b, 3]
  return light @ variables["weight"] + SHIFT


SHIFT = {shift}


def make():
  weight = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
  return apply, {{"weight": weight}}


def wrong():
  return 3


def fails():
  raise RuntimeError("no weights are here")


def ends():
  raise SystemExit(0)


class Late:
  def __array__(self, *args, **kwargs):
    raise ValueError("no weights yet")


def late():
  return apply, {{"weight": Late()}}
"""


def run(folder: pathlib.Path, *flags: str) -> subprocess.CompletedProcess:
  command = [sys.executable, str(ROOT / "run.py"), *flags]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  return subprocess.run(
    command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
  )


def bytes_of(out: pathlib.Path) -> dict[str, bytes]:
  return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def test_it_is_measured_said_to_run_resumed_and_computed_anew_when_it_changes(tmp_path):
  (tmp_path / "mynets.py").write_text(NETS.format(shift="0.0"))
  val = class_folder(tmp_path / "val", {"n01440764": 3, "n01443537": 2})
  flags = [
    "--models=mynets:make,twin=mynets:make",
    f"--dataset=folder:{val}",
    "--probes=accuracy",
    "--batch_size=4",
    "--noreport",
  ]
  done = run(tmp_path, *flags)
  assert done.returncode == 0, done.stderr
  assert done.stderr.count("mynets:make is imported and called: it runs with your rights") == 1
  table = pd.read_parquet(tmp_path / "out/observations")
  assert set(table["model"]) == {"mynets:make", "twin"}
  weight = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
  namespace: dict = {}
  exec(NETS.format(shift="0.0"), namespace)
  np.testing.assert_array_equal(namespace["make"]()[1]["weight"], weight)
  kept = bytes_of(tmp_path / "out")
  times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
  (tmp_path / "mynets.py").write_text("# a comment\n" + NETS.format(shift="0.0"))
  assert run(tmp_path, *flags).returncode == 0
  assert {path: path.stat().st_mtime_ns for path in times} == times
  assert bytes_of(tmp_path / "out") == kept  # what it computes is the same
  (tmp_path / "mynets.py").write_text(NETS.format(shift="1e3 * jnp.arange(1000)"))
  assert run(tmp_path, *flags).returncode == 0
  assert len(bytes_of(tmp_path / "out")) == 2 * len(kept)
  assert set(pd.read_parquet(tmp_path / "out/observations")["prediction"]) >= {999}


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("mynets:nothing", "AttributeError: module 'mynets' has no attribute 'nothing'; expected PACKAGE"),
    ("nowhere.nets:make", "ModuleNotFoundError: No module named 'nowhere'"),
    ("mynets:wrong", "gives int, not \\(apply, variables\\)"),
    ("mynets:fails", "RuntimeError: no weights are here"),
    ("mynets:ends", r"its function raises SystemExit: 0 \(.*mynets.py, line 28\)"),
    ("broken:make", r"--models=broken:make: ValueError: not ready \(.*broken.py, line 2\)$"),
    ("mynets:late", r"its variables are no tree of arrays: ValueError: no weights yet"),
  ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, spec, message):
  (tmp_path / "mynets.py").write_text(NETS.format(shift="0.0"))
  (tmp_path / "broken.py").write_text("import math\nraise ValueError('not ready')\n")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [*sys.path])
  monkeypatch.delitem(sys.modules, "mynets", raising=False)
  with pytest.raises(BiasjaxError, match=message) as caught:
    given.made(spec, "x", 32)
  assert "\n" not in str(caught.value)
  sys.modules.pop("mynets", None)


@pytest.mark.parametrize(
  ("spec", "other"),
  [
    ("answers:x.parquet", True),
    ("theirs=answers:/data/x.csv", True),
    ("mypackage.nets:make", True),
    ("mine=mypackage.nets:make", True),
    ("resnet50.a1_in1k", False),
    ("gs://bucket/checkpoint", False),
    ("last.ckpt@state_dict:student.", False),
    ("checkpoints/mine", False),
    ("robust_*", False),
  ],
)
def test_what_is_no_checkpoint_is_told_by_its_form(spec, other):
  assert networks.sort([spec]) == networks.Sorted([] if other else [spec], [spec] if other else [])
