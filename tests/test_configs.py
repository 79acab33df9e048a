"""The configs name datasets, probes and networks that are there."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from biasjax import probes
from biasjax.configuration import load
from biasjax.data import datasets
from biasjax.train import command
from deadline import DEADLINE_S

everything, paper, study = load("all"), load("paper"), load("study")
ROOT = pathlib.Path(__file__).parents[1]


def test_the_papers_protocol_gives_every_column_of_its_study_but_attacks():
  rows = [datasets.get(name) for name in paper.get_config().dataset]
  columns = {f"top1_acc/{row.table}" for row in rows} | {"top1_acc/stylized"}  # of model-vs-human
  axes = study.get_config().to_dict()["study"]["axes"]
  assert {c for axis in axes if axis["name"] != "Adversarial" for c in axis["mean"]} <= columns


@pytest.mark.parametrize("config", [paper, everything])
def test_configs_name_what_is_there(config):
  asked = config.get_config()
  assert len(asked.models) == 48
  tables = {datasets.get(name).table.replace("-", "_") for name in asked.dataset}
  assert len(tables) == len(asked.dataset)
  for spec in asked.probes:
    name, where = probes.located(spec)
    assert probes.get(name)
    assert not where or {part.replace("-", "_") for part in where.split("+")} <= tables


# What --init brings has no place in a config that goes on from it.
@pytest.mark.parametrize(("name", "brought"), [("train", set()), ("finetune", {"architecture", "width"})])
def test_every_setting_of_a_training_can_be_set_on_the_command_line(name, brought):
  settings = {field.name for field in dataclasses.fields(command.Training)}
  assert set(load(name).get_config().train) == settings - brought


def test_everything_is_every_benchmark():
  asked = set(everything.get_config().dataset)
  # The stylized images of model-vs-human are among its experiments.
  assert asked == set(datasets.DATASETS) - {"stylized"}


@pytest.mark.reference
def test_the_networks_are_the_papers(reference):
  published = json.loads((reference / "data/paper/r50_categories.json").read_text())
  assert set(paper.get_config().models) == {name for names in published.values() for name in names}


def test_a_plan_says_what_is_missing_and_where_to_get_it(tmp_path):
  flags = [f"--data_dir={tmp_path}", f"--manual_dir={tmp_path}", f"--workdir={tmp_path / 'out'}"]
  done = subprocess.run(
    [sys.executable, "run.py", "--config=configs/paper.py", "--dry_run", "--models=tv_resnet50", *flags],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=DEADLINE_S,
    check=False,
    env=os.environ | {"BIASJAX_CACHE": str(tmp_path / "cache")},
  )
  missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
  assert [line.split()[1].strip(":") for line in missing[:10]] == list(paper.get_config().dataset)
  assert "noise.tar (22.57 GB) from https://zenodo.org/records/2235448/files/noise.tar" in done.stdout
  assert "Traceback" not in done.stderr
