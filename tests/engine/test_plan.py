"""What a run would do, and what a machine makes of it."""

import json

import pytest

from biasjax import probes
from biasjax.cli import commands, exits
from biasjax.data import sources
from biasjax.engine import benchmark, evaluate, plan
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from made_images import class_folder
from made_models import made_checkpoint, made_model

COUNTS = {"n01440764": 4, "n01443537": 3, "n15075141": 4}
ASKED = {
  "probes": ["accuracy", "spectral"],
  "data_dir": None,
  "manual_dir": None,
  "limit": None,
  "allow_incomplete": False,
  "preprocess": "paper",
  "batch_size": "4",
  "chunk_size": 4,
  "seed": 0,
  "offline": True,
  "precision": "float32",
  "partitioner": "shard_map",
  "keep_adversarial": 0,
  "decode_threads": 16,
  "shard": None,
}


@pytest.fixture
def asked(tmp_path):
  folder = class_folder(tmp_path / "images", COUNTS)
  network = made_checkpoint(tmp_path / "net", 0)
  dataset = [f"made=folder:{folder}"]
  return ASKED | {"models": [str(network)], "dataset": dataset, "workdir": str(tmp_path / "out")}


def test_a_plan_counts_what_is_missing(asked, tmp_path):
  source = sources.open_source(asked["dataset"][0])
  models = [made_model("a", 0), made_model("b", 1)]
  planned, settings = probes.plan(asked["probes"], [source]), evaluate.Settings(batch_size=4)
  store = Store(tmp_path / "out", 4)
  rows = plan.rows(models, planned, [source], store, settings)
  counted = [(row.probe, row.images, row.conditions, row.forwards) for row in rows]
  assert counted == [("accuracy", 11, 1, 22), ("spectral", 11, 22, 484)]
  evaluate.evaluate(models[:1], [probes.get("accuracy")], source, store, settings)
  rows = plan.rows(models, planned, [source], store, settings)
  assert [row.forwards for row in rows] == [11, 484]
  assert all(row.seconds > 0 for row in rows)
  text = plan.text(rows, models, [source], settings, 4)
  assert "2 model(s), 495 forward passes" in text
  assert "on 4 such processes" in text


def test_images_are_decoded_once_for_the_probes_that_lack_something(asked, tmp_path, monkeypatch):
  source = sources.open_source(asked["dataset"][0])
  models, settings = [made_model("a", 0)], evaluate.Settings(batch_size=4)
  planned, store = probes.plan(asked["probes"], [source]), Store(tmp_path / "out", 4)
  monkeypatch.setattr(plan.rates, "decoding", lambda *_: 10.0)
  for name in ("forward", "perturbation"):  # in no time
    monkeypatch.setattr(plan.rates, name, lambda *_: plan.rates.Rate(float("inf"), 0.0))

  def seconds():
    return [row.seconds for row in plan.rows(models, planned, [source], store, settings)]

  assert seconds() == pytest.approx([0.55, 0.55])  # 11 images, ten a second
  evaluate.evaluate(models, [probes.get("accuracy")], source, store, settings)
  assert seconds() == pytest.approx([0, 1.1])


def test_a_dry_run_says_what_is_there_and_writes_nothing(asked, tmp_path, capsys):
  more = {"dataset": [*asked["dataset"], "folder:/nowhere"], "models": [*asked["models"], "resnet50.a1_in1k"]}
  assert commands.dry_run(asked | more) == exits.INCOMPLETE
  printed = capsys.readouterr().out
  assert "found    made: 11 images" in printed
  assert "missing  folder:/nowhere: /nowhere is not a folder" in printed
  assert "found    model net" in printed
  assert "missing  model resnet50.a1_in1k" in printed
  assert "2 model(s), 506 forward passes" in printed
  assert not (tmp_path / "out/observations").exists()


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"limit": 5}, "holds results for a dataset named 'made' that were made on other images"),
    (
      {"precision": "bfloat16", "probes": ["pgd"]},
      "by --precision=float32 .* this run is by --precision=b",
    ),
    (
      {"report": True, "models": ["a", "b", "c"]},
      "--report is about one or two networks, and 3 are",
    ),
    ({"report_to": ["tensorbord:x"]}, "did you mean tensorboard"),
    ({"beside": ["/nowhere/b.csv"]}, "--beside: cannot read /nowhere/b.csv"),
    ({"export": __file__}, "--export=.* is a file: name a folder"),
  ],
)
def test_a_dry_run_refuses_what_the_run_would(asked, tmp_path, changed, message):
  if "models" in changed:
    folders = [str(made_checkpoint(tmp_path / name, seed)) for seed, name in enumerate(changed["models"])]
    changed = changed | {"models": folders}
  source = sources.open_source(asked["dataset"][0])
  store = Store(asked["workdir"], 4)
  units = evaluate.units(
    [made_model("other", 1)], [probes.get("accuracy")], source, evaluate.Settings(batch_size=4)
  )
  store.settle(units[0], "paper")
  store.register(source, units[0])
  before = (tmp_path / "out/run.json").read_bytes()
  for command in (commands.dry_run, commands.measure):
    with pytest.raises(BiasjaxError, match=message):
      command(asked | {"shard": "1/1", "profile": None} | changed)
  assert (tmp_path / "out/run.json").read_bytes() == before


def test_a_dry_run_refuses_chunks_that_a_sample_cannot_grow_by(asked):
  changed = {"probes": ["accuracy", "pgd"], "margin": "5", "chunk_size": 3}
  said = []
  for command in (commands.dry_run, commands.measure):
    with pytest.raises(BiasjaxError, match="chunks of 3 images: with --margin a sample of made") as raised:
      command(asked | {"shard": "1/1", "profile": None} | changed)
    said.append(str(raised.value))
  assert len(set(said)) == 1


@pytest.mark.parametrize(
  ("seconds", "text"), [(3.4, "3 s"), (200, "3.3 min"), (7200, "2.0 h"), (864000, "10.0 days")]
)
def test_durations_are_readable(seconds, text):
  assert plan.duration(seconds) == text


def test_a_benchmark_measures_every_part(asked, tmp_path, capsys):
  benchmark_of = asked | {"models": asked["models"], "distributed": None, "coordinator": None}
  benchmark_of |= {"num_processes": None, "process_id": None}
  assert commands.benchmark_machine(benchmark_of) == 0
  report = json.loads((tmp_path / "out/benchmark.json").read_text())
  assert json.loads(capsys.readouterr().out) == report
  assert set(report["perturb_per_s"]) == {"accuracy", "spectral"}
  assert set(report["compile_s"]) == {"accuracy", "spectral", "network"}
  assert report["forward_per_s"]["total"] == report["forward_per_s"]["per_device"] > 0
  assert report["pass_per_s"]["total"] > 0
  assert report["decode_per_s"] > 0
  assert report["peak_host_memory_bytes"] > 1e8


def test_operations_are_those_of_a_resnet_50():
  model = benchmark.made_model()
  # torchvision's table of weights gives 4.09 GFLOPS for ResNet-50, counting a product and a sum as one, and
  # products with the zeros of the padding, which XLA leaves out.
  assert benchmark.flops(model, 224, 1) / 2 == pytest.approx(4.09e9, rel=0.04)


def test_made_pictures_decode(tmp_path):
  source = benchmark.made_source(70)
  store = Store(tmp_path / "out", 70)
  accuracy = [probes.get("accuracy")]
  evaluate.evaluate([made_model("a", 0)], accuracy, source, store, evaluate.Settings(batch_size=35))
  assert not summarise(store, probes.get).excluded.get("made")
