"""The script for an accelerator, with a setting that a CPU can do."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import made_models
from benchmarks import device
from deadline import DEADLINE_S


def test_a_network_with_batchnorm_folded_into_its_kernels_says_the_same():
  model = made_models.made_model("net", 0)
  images = np.random.default_rng(0).random((2, 33, 40, 3), np.float32)
  found = jax.jit(device.apply_folded(model.architecture, "float32"))(device.folded(model.variables), images)
  expected = jax.jit(model.apply)(model.variables, images)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_goes_on_at_once_counts_once_and_gaps_do_not():
  assert device.busy(iter([(5.0, 7.0), (0.0, 2.0), (1.0, 3.0), (6.0, 6.5)])) == (5.0, 7.0)
  assert device.busy(iter([])) == (0.0, 0.0)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  path = tmp_path_factory.mktemp("device") / "figures.json"
  flags = ["--network=small", "--size=32", "--batch=4", "--seconds=0.02", f"--output={path}"]
  command = [sys.executable, "-m", "benchmarks.device", *flags]
  run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
  assert run.returncode == 0, run.stderr
  return json.loads(path.read_text()), run.stdout


def test_every_figure_is_there_and_in_the_table(done):
  report, printed = done
  precisions = [f"{p}{how}" for p in device.PRECISIONS for how in ("", ", BatchNorm folded")]
  assert list(report["forward_per_s"]) == precisions
  assert list(report["perturb_per_s"]) == ["spectral", "critical_band"]
  assert min([*report["forward_per_s"].values(), *report["perturb_per_s"].values()]) > 0
  assert report["skipped"] == []
  assert 0 <= report["idle_share"] < 1
  assert report["pass_over_forward"] > 0
  assert len(printed.strip().splitlines()) == 2 + 6 + 2 + 3
  assert f"{report['idle_share']:.3g}" in printed


def test_what_there_is_no_time_for_is_said(monkeypatch):
  clock = device.Clock(minutes=0)
  assert not clock.allows("whole pass")
  report = {"network": "n", "size": 1, "batch": 1, "device": "d", "forward_per_s": {}, "perturb_per_s": {}}
  assert "| whole pass | skipped, no time left |" in device.table(report | {"skipped": clock.skipped})
