"""The page of --help has every flag once and fits; --list says what there is."""

import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

import run
from biasjax import probes, usage
from biasjax.data import datasets
from biasjax.errors import BiasjaxError
from biasjax.models import zoo

NOTHING = {"models": None, "dataset": None, "probes": ["accuracy"]}


def test_every_flag_is_on_the_page_once():
  on_page = [name for names in usage.GROUPS.values() for name in names]
  assert sorted(on_page) == sorted((*run.SETTINGS, "config"))


def test_the_page_fits():
  page = usage.page(run.__doc__, flags.FLAGS)
  lines = page.splitlines()
  assert len(lines) <= 66
  assert max(map(len, lines)) <= usage.WIDTH
  assert "  --batch_size=64 " in page
  assert "  --[no]tune_cpu=true " in page


def test_help_is_the_page_and_no_error():
  done = subprocess.run([sys.executable, "run.py", "--help"], capture_output=True, text=True, timeout=60)
  assert done.returncode == 0
  assert done.stdout.strip() == usage.page(run.__doc__, flags.FLAGS)
  assert not done.stderr


def test_installed_it_finds_its_configs_from_anywhere(tmp_path):
  """`biasjax` is this file's `console`; the project's folder stands in for site-packages."""
  code = "import sys; sys.argv[0] = 'biasjax'; import run; run.console()"
  done = subprocess.run(
    [sys.executable, "-c", code, "--config=configs/imagenet.py", "--list=conditions"],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(pathlib.Path(run.__file__).parent)},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 0, done.stderr
  assert "spectral (22)" in done.stdout


def test_models_are_listed_by_pattern():
  every = usage.listing("models", NOTHING)
  assert all(f"  {name} " in every for name in zoo.ZOO)
  robust = usage.listing("models", NOTHING | {"models": ["robust_*l2_eps[01]"]})
  assert "robust_resnet50_l2_eps1 " in robust
  assert "_linf" not in robust
  assert "baseline" not in robust


def test_benchmarks_are_listed_by_pattern():
  assert len(usage.listing("datasets", NOTHING).splitlines()) == 1 + len(datasets.ROWS)
  found = usage.listing("datasets", NOTHING | {"dataset": ["imagenet_v2*"]}).splitlines()[1:]
  assert [line.split()[0] for line in found] == [
    name for name in datasets.DATASETS if name.startswith("imagenet_v2")
  ]


def test_probes_and_conditions_are_listed():
  lines = usage.listing("probes", NOTHING).splitlines()[1:]
  assert [line.split()[0] for line in lines] == list(probes.names())
  asked = NOTHING | {"probes": ["spectral", "critical_band@imagenet"]}
  conditions = usage.listing("conditions", asked).splitlines()
  assert conditions[0] == "spectral (22)"
  assert "critical_band (29)" in conditions
  assert len(conditions) == 2 + 22 + 29
  with pytest.raises(BiasjaxError, match="did you mean spectral"):
    usage.listing("conditions", NOTHING | {"probes": ["spectrul"]})
