"""Stored answers as a network: what one said of the written stimuli gives the numbers of the network."""

import pathlib
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from biasjax.cli import commands
from biasjax.errors import BiasjaxError
from biasjax.models import load
from deadline import DEADLINE_S
from examples import stimuli
from in_process import Done, run
from made_images import class_folder, encoded, pixels
from made_models import made_checkpoint

ROOT = pathlib.Path(__file__).parents[2]
MEASURING = {
  **dict.fromkeys(("data_dir", "manual_dir", "limit", "shard", "distributed", "coordinator"), None),
  **dict.fromkeys(("num_processes", "process_id", "profile", "report_to", "chunk_size"), None),
  **{"allow_incomplete": False, "preprocess": "paper", "batch_size": "4", "seed": 0, "offline": True},
  **{"precision": "float32", "partitioner": "shard_map", "keep_adversarial": 0, "decode_threads": 4},
}
OBSERVED = ["prediction", "rank", "confidence", "nll", "brier"]


def python(*arguments: object) -> subprocess.CompletedProcess:
  command = [sys.executable, *map(str, arguments)]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def logits_of(model, files: list[pathlib.Path]) -> np.ndarray:
  """What somebody else's program would do: read the files, divide by 255, ask."""

  def image(path):
    return np.load(path) if path.suffix == ".npy" else np.asarray(Image.open(path), np.float32) / 255

  batches = [files[i : i + 4] for i in range(0, len(files), 4)]
  said = [model.apply(model.variables, np.stack([image(path) for path in batch])) for batch in batches]
  return np.concatenate([np.asarray(of) for of in said])


class Made:
  """A network, photographs, stimuli of two cues, and what the network said of what was written of them."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self.net = made_checkpoint(folder / "net", 0)
    self.val = class_folder(folder / "val", {"n01440764": 3, "n01443537": 3})
    self.conflict = folder / "conflict"
    for i, name in enumerate(("dog/dog1-cat2", "dog/dog2-dog1", "car/car1-bear1", "oven/oven3-boat2")):
      (self.conflict / name).parent.mkdir(parents=True, exist_ok=True)
      (self.conflict / f"{name}.png").write_bytes(encoded(pixels(224, 224, seed=i), "PNG"))
    self.dataset = f"--dataset=images=folder:{self.val},cue_conflict:{self.conflict}"
    self.answers = {}
    self.said = {}
    for form, probes in (("png", ["accuracy", "shape"]), ("npy", ["spectral", "shape"])):
      out = folder / form
      self.said[form] = self.write(probe=probes, output=str(out), format=form)
      listed = pd.read_csv(out / "stimuli.csv")
      said = logits_of(load.load(self.net), [out / file for file in listed["file"]])
      table = pa.Table.from_pandas(listed).append_column("logits", pa.array(list(said)))
      self.answers[form] = folder / f"{form}.parquet"
      pq.write_table(table, self.answers[form])

  def write(self, **asked: object) -> str:
    """What examples.stimuli says."""
    usual = {"data_dir": None, "manual_dir": None, "limit": None, "allow_incomplete": False, "size": None}
    usual |= {"seed": 0, "batch_size": 4, "dataset": self.dataset.partition("=")[2].split(",")}
    return stimuli.write(types.SimpleNamespace(**usual | asked))

  def run(self, answers: object, workdir: pathlib.Path, probes: str) -> Done:
    flags = [f"--models={self.net},answers:{answers}", f"--probes={probes}", self.dataset]
    return run(*flags, f"--workdir={workdir}", "--batch_size=4", "--noreport")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  return Made(tmp_path_factory.mktemp("answers"))


@pytest.fixture(
  scope="module", params=[("png", "accuracy,shape"), ("npy", "spectral,shape")], ids=lambda p: p[0]
)
def measured(made, request, tmp_path_factory) -> tuple[str, pathlib.Path]:
  """A form, and the working directory of the network and its answers in it."""
  form, probes = request.param
  out = tmp_path_factory.mktemp(form) / "out"
  done = made.run(made.answers[form], out, probes)
  assert done.returncode == 0, done.stderr
  return form, out


def test_a_networks_own_answers_give_its_own_metrics(measured):
  form, out = measured
  metrics = pd.read_csv(out / "metrics.csv").set_index(["metric", "dataset"])
  of_network, of_answers = (metrics[metrics["model"] == name] for name in ("net", form))
  assert len(of_network) == len(of_answers) > 5
  for column in ("value", "low", "high", "n", "chance"):
    a, b = of_network[column], of_answers.loc[of_network.index, column]
    np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6, err_msg=column)
  table = pd.read_parquet(out / "observations")
  keys = ["dataset", "probe", "condition", "example_id"]
  a, b = (table[table["model"] == name].set_index(keys).sort_index() for name in ("net", form))
  np.testing.assert_array_equal(a[["label", "prediction", "rank"]], b[["label", "prediction", "rank"]])


@pytest.mark.parametrize("measured", [("png", "accuracy,shape")], indirect=True, ids=["png"])
def test_observations_are_answers_too(made, measured, tmp_path):
  table = pd.read_parquet(measured[1] / "observations")
  table[table["model"] == "net"].drop(columns="model").astype(str).to_csv(tmp_path / "kept.csv", index=False)
  done = made.run(f"{tmp_path / 'kept.csv'}", tmp_path / "again", "accuracy,shape")
  assert done.returncode == 0, done.stderr
  assert done.stderr.count("accuracy on images with this seed is taken on trust") == 1
  again = pd.read_parquet(tmp_path / "again/observations")
  for column in ["example_id", "label", *OBSERVED]:
    a, b = (again[again["model"] == name][column].to_numpy() for name in ("net", "kept"))
    np.testing.assert_array_equal(a, b)


def test_writing_goes_on_and_other_stimuli_are_refused(made):
  asked = {"probe": ["accuracy", "shape"], "output": str(made.folder / "png"), "format": "png"}
  assert "10 images, 10 of them written now" in made.said["png"]
  assert "10 images, 0 of them written now" in made.write(**asked)
  with pytest.raises(BiasjaxError, match="pgd asks the network itself, step by step"):
    made.write(**asked | {"probe": ["pgd@images", "shape"]})
  flags = [f"--probe={','.join(asked['probe'])}", made.dataset, f"--output={asked['output']}", "--seed=1"]
  done = python("-m", "examples.stimuli", *flags)
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert "holds other stimuli: name another --output" in line


def changed(table: pd.DataFrame, how: str) -> pd.DataFrame:
  if how == "missing":
    return table[1:]
  if how == "twice":
    return pd.concat([table, table[:1]])
  if how == "condition":
    return table.assign(condition=table["condition"].replace("clean", "cleaner"))
  if how == "name":
    return table.assign(example_id=table["example_id"].str.replace("_0", "_9"))
  if how == "label":
    return table.assign(label=table["label"] + 1)
  if how == "contradiction":
    observed = dict.fromkeys(("confidence", "nll", "brier"), 0.5) | {"prediction": 7, "rank": 0}
    return table.drop(columns="logits").assign(**observed)
  if how == "no class":
    observed = dict.fromkeys(("confidence", "nll", "brier"), 0.5) | {"prediction": 1000, "rank": 5}
    return table.drop(columns="logits").assign(**observed)
  if how == "columns":
    return table.drop(columns="logits")
  if how == "not finite":
    return table.assign(logits=[np.full(1000, np.nan, np.float32)] * len(table))
  if how == "ragged":
    return table.assign(logits=[np.zeros(10 + i % 2, np.float32) for i in range(len(table))])
  return table


@pytest.mark.parametrize(
  ("how", "more", "message"),
  [
    ("missing", {}, "5 answers for 6 images: there is none to n01440764/n01440764_0.JPEG"),
    ("twice", {}, "n01440764/n01440764_0.JPEG under clean (accuracy) is answered twice"),
    ("condition", {}, "holds no answers under clean (accuracy on images): 1 of 1 conditions"),
    ("name", {}, "n01440764/n01440764_9.JPEG is none of the images, one of 2 such"),
    ("label", {}, "the label of n01440764/n01440764_0.JPEG under clean (accuracy) is not images's"),
    ("contradiction", {}, "contradict each other (rank 0 is the right class)"),
    ("no class", {}, "is 1000, which is none of the 1,000 classes, 0 to 999"),
    ("columns", {}, "has no column 'prediction': answers are logits"),
    ("not finite", {}, "row 1: its logits are not finite"),
    ("ragged", {}, "logits are not equally many in each row"),
    ("", {"seed": 1}, "are to other images than this run shows: another --seed"),
    ("", {"limit": 4}, "6 answers for 4 images: run with the --limit that they were written with"),
    ("", {"probes": ["pgd@images", "shape"]}, "pgd asks the network itself, step by step"),
    (
      "",
      {"probes": ["critical_band@images", "shape"]},
      "holds no answers to critical_band on images, only to accuracy on",
    ),
  ],
)
def test_what_does_not_match_is_refused_in_one_line(made, tmp_path, how, more, message):
  table = changed(pq.read_table(made.answers["png"]).to_pandas(), how)
  if "limit" in more:
    table = table.drop(columns="stimuli")
  table.to_parquet(tmp_path / "wrong.parquet")
  asked = {"models": [f"answers:{tmp_path / 'wrong.parquet'}"], "probes": ["accuracy@images", "shape"]}
  asked |= {"dataset": made.dataset.partition("=")[2].split(","), "workdir": str(tmp_path / "out")}
  with pytest.raises(BiasjaxError) as caught:
    commands.measure(MEASURING | asked | more)
  assert message in str(caught.value)
  assert "\n" not in str(caught.value)
