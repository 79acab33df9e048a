"""The commands beside run.py: what they say of a mistake, of storage that fails, and of a Ctrl-C."""

import subprocess
import sys

import pytest

from biasjax import messages
from biasjax.errors import BiasjaxError
from deadline import DEADLINE_S


def raising(error):
  def work():
    raise error

  return work


@pytest.mark.parametrize(
  ("error", "status", "line"),
  [
    (BiasjaxError("--x=3: expected 4"), 1, "name: error: --x=3: expected 4"),
    (PermissionError(13, "Permission denied", "/a"), 1, "name: error: /a: Permission denied"),
    (OSError(28, "No space left on device"), 1, "name: error: No space left on device"),
    (OSError("record 3 is gone"), 1, "name: error: record 3 is gone"),
    (KeyboardInterrupt(), 75, "name: stopped"),
  ],
)
def test_what_stops_a_command_is_one_line(capsys, error, status, line):
  assert messages.ended(raising(error), "name") == status
  assert capsys.readouterr().err == f"{line}\n"


def test_what_a_command_made_is_printed_and_a_defect_keeps_its_traceback(capsys):
  assert messages.ended(lambda: 3, "name") == 0
  assert capsys.readouterr() == ("3\n", "")
  with pytest.raises(ZeroDivisionError):
    messages.ended(raising(ZeroDivisionError()), "name")


@pytest.mark.parametrize(
  ("module", "flags"),
  [
    ("biasjax.data.builders.synthetic_biased", ["--output={file}/world"]),
    ("biasjax.data.builders.synthetic_conflict", ["--data_dir={file}/data", "--per_category=0"]),
    ("biasjax.train.biasing", ["--annotations={file}", "--output={file}/weights.csv"]),
    ("biasjax.train.pseudo_labels", ["--model={file}", "--dataset=folder:{file}", "--output={file}/p.csv"]),
  ],
)
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, module, flags):
  (tmp_path / "file").write_text("no folder")
  asked = [flag.format(file=tmp_path / "file") for flag in flags]
  command = [sys.executable, "-m", module, *asked]
  done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
  assert done.returncode == 1
  assert done.stderr.startswith(f"{module.rpartition('.')[2]}: error: ")
  assert str(tmp_path / "file") in done.stderr
  assert done.stderr.count("\n") == 1
