"""The commands as a user types them, in a process of their own where that matters."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from biasjax.convert import torchvision
from biasjax.models.architecture import Architecture
from biasjax.models.load import flatten
from biasjax.train import step
from deadline import DEADLINE_S
from in_process import convert, run
from made_images import class_folder

ROOT = pathlib.Path(__file__).parents[2]
COUNTS = {"n02391049": 3, "n04548280": 4, "n07747607": 3}


def command(*arguments: object) -> list[str]:
  return [sys.executable, *map(str, arguments)]


def python(*arguments: object) -> subprocess.CompletedProcess:
  return subprocess.run(
    command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
  )


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> pathlib.Path:
  """A narrow network that nobody trained, saved under torchvision's names and converted."""
  folder = tmp_path_factory.mktemp("converted")
  architecture = Architecture("bottleneck", (1, 1, 1, 1), width=8, inner_width=8)
  variables = flatten(step.fresh(architecture, 0))
  named = torchvision.entries(architecture).items()
  tensors = {name: torchvision.to_torch(variables[entry.path]) for name, entry in named}
  # A block's last scale is 0 before training, and so would most of the network be.
  tensors = {n: t + 0.3 if n.endswith("bn3.weight") else t for n, t in tensors.items()}
  save_file(tensors, folder / "narrow.safetensors")
  output = folder / "narrow"
  done = convert(f"--checkpoint={folder / 'narrow.safetensors'}", f"--output={output}")
  assert done.returncode == 0, done.stderr
  return output


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> pathlib.Path:
  return class_folder(tmp_path_factory.mktemp("images") / "val", COUNTS)


def test_a_second_start_compiles_nothing_and_gives_the_same_bytes(network, pictures, tmp_path):
  environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
  environment |= {"BIASJAX_CACHE": str(tmp_path / "cache")}
  programs, observed = [], []
  for start in ("first", "second"):
    done = subprocess.run(
      command("run.py", *probing(network, pictures, tmp_path / start, "--probes=accuracy", "--noreport")),
      **{"cwd": ROOT, "env": environment, "capture_output": True, "timeout": DEADLINE_S, "check": True},
    )
    assert b"cache" not in done.stderr
    found = sorted((tmp_path / "cache/compiled").rglob("*-cache"))
    programs.append([(path.name, path.stat().st_mtime_ns) for path in found])
    chunks = sorted((tmp_path / start / "observations").rglob("*.parquet"))
    observed.append([path.read_bytes() for path in chunks])
  assert len(programs[0]) >= 4  # pixels, the network, the decision, what is kept
  assert programs[0] == programs[1]
  assert observed[0] == observed[1]


def probing(network, pictures, workdir, *more) -> list[object]:
  flags = [f"--models={network}", f"--dataset=imagenet=folder:{pictures}"]
  flags += [f"--workdir={workdir}", "--batch_size=5"]
  return [*flags, "--chunk_size=5", *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, network, pictures) -> tuple[subprocess.CompletedProcess, pathlib.Path]:
  """A run of its own process that nothing disturbed, and its working directory."""
  folder = tmp_path_factory.mktemp("whole") / "out"
  return python("run.py", *probing(network, pictures, folder)), folder


def test_one_command_prints_and_writes_the_tables(whole):
  done, out = whole
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""  # quiet when not on a terminal
  assert re.search(r"^top1_acc/imagenet +10 ", done.stdout, re.MULTILINE)
  table = pd.read_csv(out / "results.csv")
  cutoffs = [0.01, *np.arange(1, 10) / 10, 0.99]
  bands = [f"metric/bandpass/{band}/{c}" for band in ("LFC", "HFC") for c in cutoffs]
  accuracies = [name.replace("metric", "top1_acc") for name in bands] + [
    "top1_acc/imagenet",
    "top5_acc/imagenet",
  ]
  beside = {f"{name}/imagenet" for name in ("ece", "brier", "nll")}
  beside |= {f"class_acc/imagenet/{name}" for name in ("worst", "worst_class", "mean", "sd")}
  ratios = {name + ending for name in ("LPP", "HPP", *bands) for ending in ("", "/chance-corrected")}
  assert {"model", "spectral-bias", *ratios, *accuracies, *beside} == set(table.columns)
  assert list(table["model"]) == ["narrow"]
  observations = pd.read_parquet(out / "observations")
  columns = [
    "model",
    "dataset",
    "probe",
    "condition",
    "example_id",
    "label",
    "prediction",
    "rank",
    "confidence",
    "nll",
    "brier",
  ]
  assert list(observations.columns) == columns
  assert len(observations) == 10 * 23
  clean = observations[observations["condition"] == "clean"]
  assert clean["rank"].eq(0).mean() * 100 == pytest.approx(table.loc[0, "top1_acc/imagenet"])
  assert set(clean["example_id"]) == {f"{w}/{w}_{i}.JPEG" for w, n in COUNTS.items() for i in range(n)}


def test_killed_and_started_again_it_ends_with_the_same_tables(tmp_path, whole, network, pictures):
  arguments = ["run.py", *probing(network, pictures, tmp_path / "cut", "--noreport")]
  for chunks in (0, 2):  # of 4
    process = subprocess.Popen(command(*arguments), cwd=ROOT, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + DEADLINE_S
    while len(list((tmp_path / "cut").rglob("*.parquet"))) < chunks and process.poll() is None:
      assert time.monotonic() < limit
      time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut/results.csv").exists()
  assert python(*arguments).returncode == 0
  for name in ("results.csv", "metrics.csv", "run.json"):
    assert (tmp_path / "cut" / name).read_bytes() == (whole[1] / name).read_bytes()


def test_an_undecodable_image_is_reported_at_the_end(tmp_path, network):
  root = class_folder(tmp_path / "val", COUNTS)
  path = root / "n04548280/n04548280_2.JPEG"
  path.write_bytes(path.read_bytes()[:600])
  done = run(*probing(network, root, tmp_path / "out", "--noreport"))
  assert done.returncode == 3
  first, last = done.stderr.splitlines()
  assert (
    "n04548280/n04548280_2.JPEG is excluded from all conditions: 600 bytes that cannot be decoded" in first
  )
  assert "1 image(s) excluded" in last
  assert re.search(r"^top1_acc/imagenet +9 ", done.stdout, re.MULTILINE)
  assert list(pd.read_csv(tmp_path / "out/excluded.csv")["example_id"]) == ["n04548280/n04548280_2.JPEG"]


def test_settings_come_from_a_config_and_the_command_line_wins(tmp_path, network, pictures):
  config = tmp_path / "settings.py"
  config.write_text(
    "from ml_collections import ConfigDict\n"
    "def get_config():\n"
    f"  return ConfigDict(dict(probes=['accuracy'], models=['{network}'], dataset=['folder:/nowhere']))\n"
  )
  done = run(f"--config={config}", f"--dataset=mine=folder:{pictures}", f"--workdir={tmp_path / 'out'}")
  assert done.returncode == 0, done.stderr
  columns = list(pd.read_csv(tmp_path / "out/results.csv").columns)
  assert columns[:3] == ["model", "top1_acc/mine", "top5_acc/mine"]
  assert all("/mine" in name for name in columns[1:])


def test_a_benchmark_is_prepared_and_measured(tmp_path, network, pictures):
  where = [f"--data_dir={tmp_path / 'tfds'}", "--allow_incomplete"]
  prepared = run("--prepare=imagenet", f"--manual_dir={pictures}", *where)
  assert prepared.returncode == 0, prepared.stderr
  assert prepared.stdout.splitlines()[-1].endswith("biasjax_imagenet/1.0.0")
  flags = [f"--models={network}", "--dataset=imagenet", "--probes=accuracy", f"--workdir={tmp_path / 'out'}"]
  done = run(*flags, *where, "--limit=6")
  assert done.returncode == 0, done.stderr
  assert re.search(r"^top1_acc/imagenet-incomplete +6 ", done.stdout, re.MULTILINE)
  differs, subset = done.stderr.splitlines()
  assert "imagenet: it is not what its authors published: 10 images instead of 50,000" in differs
  assert "a class-balanced subset, 6 of 10 images" in subset


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "--models is needed"),
    (["--models=nowhere"], "--dataset is needed"),
    (["--models={network}", "--dataset=folder:{empty}"], "holds no images"),
    (["--models={network}", "--dataset=folder:/nowhere"], "/nowhere is not a folder"),
    (["--models={network}", "--dataset=folder:{pictures}", "--probes=spektral"], "did you mean spectral?"),
    (["--config=nowhere.py"], "nowhere.py"),
    (["--models={network}", "--dataset=imagenet_v3"], "did you mean imagenet_v2"),
    (["--models={network}", "--dataset=imagenet_a:{pictures}"], "but none belongs to imagenet_a"),
    (["stray"], "unexpected argument 'stray'"),
    (["--models={network},{namesake}", "--dataset=folder:{pictures}"], "'narrow' is named twice"),
  ],
)
def test_a_users_mistake_is_one_line(tmp_path, network, pictures, arguments, message):
  (tmp_path / "empty").mkdir()
  (tmp_path / "narrow").symlink_to(network)
  places = {"network": network, "pictures": pictures, "empty": tmp_path / "empty"}
  places["namesake"] = tmp_path / "narrow"
  done = run(f"--workdir={tmp_path / 'out'}", *(a.format(**places) for a in arguments))
  assert done.returncode == 1
  assert done.stdout == ""
  (line,) = done.stderr.splitlines()
  assert line.startswith("run.py: error: ")
  assert message in line


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--models=nowhere", "--dataset=folder:{pictures}"], "no model is called 'nowhere'"),
    (["--batch_size=0"], "batch_size"),
    (["--modles=x"], "Unknown command line flag 'modles'. Did you mean: models"),
  ],
)
def test_a_process_that_a_mistake_ends_prints_one_line(tmp_path, pictures, arguments, message):
  done = python("run.py", f"--workdir={tmp_path}", *(a.format(pictures=pictures) for a in arguments))
  assert (done.returncode, done.stdout) == (1, "")
  (line,) = done.stderr.splitlines()
  assert line.startswith("run.py: error: ")
  assert message in line


def test_a_list_of_a_config_is_said_to_be_for_a_copy_of_it():
  done = run("--config=configs/sweep.py", "--config.sweep.seeds=0,1")
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line.startswith("run.py: error: --config.sweep.seeds is a list, which the command line cannot set: ")


def test_a_setting_that_a_config_does_not_have_is_named():
  done = run("--config=configs/train.py", "--config.train.nme=3")
  assert done.returncode == 1
  assert done.stderr.startswith("run.py: error: --config has no such setting: 'nme'")
  assert 'Did you mean "name"' in done.stderr
  assert len(done.stderr.splitlines()) == 1
