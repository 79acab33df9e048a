"""The script that compiles for devices that are not here, with one that is."""

import subprocess
import sys

import jax
import pytest

from benchmarks import ahead
from deadline import DEADLINE_S

ARGUMENTS = ["ahead", "--network=small", "--size=32", "--batch=2", "--parts=network,decisions,watermark"]


def test_each_program_has_a_row_and_what_does_not_compile_an_error(monkeypatch, capsys):
  monkeypatch.setattr(ahead, "devices", lambda target: jax.devices())
  monkeypatch.setattr(sys, "argv", ARGUMENTS)
  whole = ahead.compiled

  def compiled(mesh, function, *arguments):
    if function is ahead.programs.observation:
      raise jax.errors.JaxRuntimeError("INTERNAL: no such kernel")
    return whole(mesh, function, *arguments)

  monkeypatch.setattr(ahead, "compiled", compiled)
  with pytest.raises(SystemExit) as ended:
    ahead.main()
  assert ended.value.code == 1
  rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
  assert [row[0] for row in rows[:3]] == [f"network, {precision}" for precision in ahead.PRECISIONS]
  assert [row[0] for row in rows[-2:]] == ["watermark, preparation", "watermark, perturbation"]
  for name, seconds, memory in rows:
    assert float(seconds) >= 0
    assert memory == "INTERNAL: no such kernel" if "observation" in name else float(memory) >= 0


def test_what_cannot_be_compiled_for_is_one_line():
  command = [sys.executable, "-m", "benchmarks.ahead", "--target=v99:1x1"]
  run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
  assert run.returncode == 1
  assert len(run.stderr.strip().splitlines()) == 1
  assert "--target=v99:1x1: cannot be compiled for" in run.stderr
