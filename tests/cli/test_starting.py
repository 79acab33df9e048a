"""However a command fails to start or is stopped, it says so in one line; libraries' warnings are logged."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import warnings

import pandas as pd
import pytest
from PIL import Image

import deadline
import made_tables
from biasjax.cli import exits, starting
from biasjax.engine import launch
from biasjax.errors import BiasjaxError
from in_process import run
from made_images import class_folder, encoded, pixels
from made_models import made_checkpoint

ROOT = pathlib.Path(__file__).parents[2]
RUN, CONVERT = ("run.py",), ("-m", "convert")
# A module that interrupts as a user would; a process that was started in the background may ignore that.
INTERRUPT = """import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> pathlib.Path:
  root = tmp_path_factory.mktemp("ready")
  class_folder(root / "val", {"n01440764": 2, "n15075141": 2})
  made_checkpoint(root / "net", 0)
  return root


def measuring(ready: pathlib.Path, workdir: pathlib.Path, *more: str) -> list[str]:
  flags = [f"--models={ready / 'net'}", f"--dataset=imagenet=folder:{ready / 'val'}", "--probes=accuracy"]
  return [*RUN, *flags, f"--workdir={workdir}", "--batch_size=4", "--noreport", *more]


def started(arguments, **environment: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, *arguments],
    cwd=ROOT,
    env=os.environ | environment,
    capture_output=True,
    text=True,
    timeout=deadline.DEADLINE_S,
    check=False,
  )


@pytest.mark.parametrize(
  ("variable", "value", "said"),
  [
    ("JAX_PLATFORMS", "cuda", "JAX does not start: .*: JAX_PLATFORMS=cuda says what it may use: unset it"),
    ("JAX_PLATFORMS", "nonesuch", "JAX does not start: .*'nonesuch' is not in the list of known backends"),
    (
      "JAX_ENABLE_X64",
      "maybe",
      "JAX cannot be imported: .*'maybe'.*: check what is set, .*JAX_ENABLE_X64=maybe",
    ),
    ("JAX_NUM_CPU_DEVICES", "many", "JAX cannot be imported: .*many"),
    ("XLA_FLAGS", "--xla_nonsense=1", "XLA does not start with XLA_FLAGS='--xla_nonsense=1': Unknown flag"),
    ("XLA_FLAGS", "nonsense.txt", "XLA does not start with XLA_FLAGS='nonsense.txt': Could not open file"),
  ],
)
def test_jax_that_does_not_start_is_one_line(ready, tmp_path, variable, value, said):
  import re

  done = started(measuring(ready, tmp_path / "out"), **{variable: value})
  assert done.returncode == exits.MISTAKE
  (line,) = done.stderr.splitlines()
  assert re.match(f"run.py: error: {said}", line)


@pytest.mark.parametrize(
  "arguments",
  [
    [*RUN, "--dry_run", "--models=x", "--dataset=folder:x", "--probes=accuracy"],
    [*RUN, "--config=configs/train.py", "--dataset=folder:x"],
    [*CONVERT, "--checkpoint=x.safetensors", "--output=y"],
  ],
  ids=["dry_run", "train", "convert"],
)
def test_every_command_that_computes_says_it(arguments):
  done = started(arguments, JAX_PLATFORMS="nonesuch")
  assert done.returncode == exits.MISTAKE
  (line,) = done.stderr.splitlines()
  assert "error: JAX does not start: " in line


def test_a_jax_that_is_not_whole_is_one_line(monkeypatch):
  monkeypatch.setitem(sys.modules, "jax", None)
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  for name in [name for name in os.environ if name.startswith("JAX_")]:
    monkeypatch.delenv(name)
  with pytest.raises(
    BiasjaxError, match=r"JAX cannot be imported: .*check the installation of jax and jaxlib"
  ):
    launch.import_jax()


def test_a_working_directory_that_may_not_be_written_is_one_line(ready, tmp_path):
  (tmp_path / "file").write_text("x")
  for _, *arguments in (
    measuring(ready, tmp_path / "file/out"),
    [*RUN, "--summarise", f"--workdir={tmp_path}/file"],
  ):
    done = run(*arguments)
    assert done.returncode == exits.MISTAKE
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
  "arguments", [[*RUN, "--list=probes"], [*CONVERT, "--inspect=a.pth"]], ids=["run", "convert"]
)
def test_ctrl_c_while_importing_is_one_line(arguments, tmp_path):
  # A package that is imported on the way interrupts, as a user would who waits for it.
  (tmp_path / "jax").mkdir()
  (tmp_path / "jax/__init__.py").write_text(INTERRUPT)
  done = started(arguments, PYTHONPATH=f"{tmp_path}:{ROOT}")
  assert done.returncode == exits.INTERRUPTED
  assert done.stderr.splitlines() == [
    f"{'convert' if 'convert' in arguments else 'run.py'}: stopped; start the same command again to go on"
  ]


def test_ctrl_c_in_the_study_is_one_line(tmp_path):
  made_tables.table(12, 0).to_csv(tmp_path / "results.csv", index=False)
  (tmp_path / "matplotlib").mkdir()
  (tmp_path / "matplotlib/__init__.py").write_text(INTERRUPT)
  done = started(
    [*RUN, f"--table={tmp_path / 'results.csv'}", f"--output={tmp_path / 'study'}"],
    PYTHONPATH=f"{tmp_path}:{ROOT}",
  )
  assert done.returncode == exits.INTERRUPTED
  assert done.stderr.splitlines() == ["run.py: stopped; start the same command again to go on"]


def test_a_second_ctrl_c_stops_at_once_in_one_line(ready, tmp_path):
  command = [sys.executable, *measuring(ready, tmp_path / "out", "--chunk_size=4")]
  process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
  log = tmp_path / "out/log-0-of-1.txt"
  limit = time.monotonic() + deadline.DEADLINE_S
  try:
    # It is listening once it has said that it starts; another time when it has heard the first.
    for said in ("start: ", "stopping after the chunk in hand"):
      while process.poll() is None and not (log.exists() and said in log.read_text()):
        assert time.monotonic() < limit
        time.sleep(0.005)
      process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=deadline.DEADLINE_S)
  finally:
    process.kill()
    process.communicate()
  assert process.returncode == exits.INTERRUPTED
  assert "Traceback" not in errors


def warned() -> bytes:
  """A palette with transparency, of which Pillow warns."""
  image = Image.fromarray(pixels(60, 60)).quantize(64)
  return encoded(image, "PNG", transparency=bytes(range(64)))


def test_warnings_of_libraries_go_to_the_log_and_not_to_the_terminal(tmp_path):
  made_checkpoint(tmp_path / "net", 0)
  folder = class_folder(tmp_path / "val", {"n01440764": 2}) / "n01440764"
  (folder / "palette.png").write_bytes(warned())
  with (
    pytest.warns(UserWarning, match="Palette images with Transparency"),
    Image.open(folder / "palette.png") as image,
  ):
    image.convert("RGB")
  done = started(measuring(tmp_path, tmp_path / "out"))
  assert (done.returncode, done.stderr) == (0, "")
  assert "Palette images with Transparency" in (tmp_path / "out/log-0-of-1.txt").read_text()


def test_warnings_of_pandas_in_the_study_stay_away(tmp_path):
  # So many columns that pandas warns of a fragmented frame, and one that is text in one row.
  frame = made_tables.table(12, 0)
  more = {f"more{i}": ["x", *range(11)] for i in range(300)}
  pd.concat([frame, pd.DataFrame(more)], axis=1).to_csv(tmp_path / "results.csv", index=False)
  done = started([*RUN, f"--table={tmp_path / 'results.csv'}", f"--output={tmp_path / 'study'}"])
  assert "Warning" not in done.stderr


def test_warnings_are_kept_for_those_who_import_biasjax():
  with pytest.warns(UserWarning, match="of mine"):
    warnings.warn("of mine", UserWarning, stacklevel=1)


def test_a_reader_who_has_seen_enough_does_not_end_the_command():
  reading, writing = os.pipe()
  with os.fdopen(writing, "w") as stream:
    shown = starting.Readable(stream)
    print("a line", file=shown, flush=True)
    assert os.read(reading, 100) == b"a line\n"
    os.close(reading)
    for _ in range(3):
      print("x" * 100_000, file=shown, flush=True)
    shown.write("left in the buffer")
