"""The command line as a stranger meets it: its help, its lists, what it refuses, and how it is installed."""

import collections
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from biasjax import messages, options, probes
from biasjax.cli import commands as measuring
from biasjax.cli import converting, listing, usage
from biasjax.cli import main as run
from biasjax.data import datasets
from biasjax.engine import evaluate
from biasjax.errors import BiasjaxError, suggestion
from biasjax.models import zoo
from biasjax.models.architecture import RESNET18
from biasjax.models.load import Model
from biasjax.results.store import Store
from deadline import DEADLINE_S

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_RUN = {flag.name: flag for flag in flags.FLAGS.flags_by_module_dict()["biasjax.cli.main"]}


@pytest.mark.parametrize(
  ("values", "heading", "groups", "named"),
  [
    (flags.FLAGS, run.__doc__, run.HELP, set(OF_RUN)),
    (converting._flags(), converting.__doc__, converting.HELP, set(converting._flags()) - {"h"}),
  ],
  ids=["run.py", "convert"],
)
def test_the_page_of_help_has_every_flag_once_and_fits_a_screen(values, heading, groups, named):
  page = usage.page(values, heading, groups)
  lines = page.splitlines()
  assert len(lines) <= 57
  assert max(map(len, lines)) <= 100
  left = [re.match(r"  ((--\w+=\S* ?)+)", line) for line in lines]
  flagged = [name for match in left if match for name in re.findall(r"--(\w+)=", match[1])]
  assert collections.Counter(flagged) == dict.fromkeys(named, 1)


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_is_printed_whatever_else_is_asked(asked):
  done = subprocess.run(
    [sys.executable, "run.py", "--models=x", asked],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=DEADLINE_S,
  )
  assert (done.returncode, done.stderr) == (0, "")
  for shown in ("--precision=float32 ", "--tune_cpu=true ", "--probes=accuracy,spectral ", "--limit= "):
    assert f"  {shown}" in done.stdout
  assert "<paper|native>" in done.stdout


def test_a_list_that_is_cut_short_is_no_error():
  process = subprocess.Popen(
    [sys.executable, "run.py", "--list=conditions"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
  )
  assert process.stdout
  process.stdout.close()
  assert process.stderr
  with process.stderr:
    assert process.stderr.read() == b""
  assert process.wait(60) == 0


def commands(page: str) -> list[list[str]]:
  """The arguments of each `python run.py` in a page; "..." stands for more of them."""
  joined = page.replace("\\\n", " ")
  found = [line.split("  #")[0] for line in joined.splitlines() if line.startswith("python run.py")]
  found += re.findall(r"`(python run.py[^`]*)`", joined)
  return [[word for word in shlex.split(line)[2:] if word != "..."] for line in found]


@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")  # ml_collections'
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_documented_commands_are_understood_and_belong_together(path, monkeypatch):
  monkeypatch.chdir(ROOT)
  text = path.read_text()
  found = commands(text)
  assert bool(found) == ("python run.py" in text)
  for arguments in found:
    argv = ["run.py", *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    with flagsaver.flagsaver():
      assert flags.FLAGS(argv) == ["run.py"]  # every word is a flag
      given = [name for name in run.SETTINGS if flags.FLAGS[name].present]
      asked = run.settings(flags.FLAGS)
      run.refuse(run.command_of(asked), asked, given)


def asked(**given) -> dict:
  defaults = {name: OF_RUN[name].default for name in run.SETTINGS} | dict.fromkeys(run.SECTIONS)
  return defaults | given


@pytest.mark.parametrize(
  ("given", "section", "said"),
  [
    ({"table": "x.csv", "models": ["y"]}, None, "--models is not used with --table, only in measuring or"),
    ({"summarise": True, "models": ["y"]}, None, "--models is not used with --summarise"),
    ({"categories": "x.json"}, None, "--categories is not used in measuring, only with --table"),
    ({"init": "x"}, None, "--init is not used in measuring, only in training"),
    ({"probes": ["shape"]}, "train", "--probes is not used in training"),
    ({"dry_run": True}, "train", "--dry_run is not used in training"),
    ({"shard": "1/2"}, "sweep", "--shard is not used in a sweep"),
    ({"models": ["x"]}, "study", "--models is not used with --table"),
    ({"prepare": "imagenet", "dataset": ["x"]}, None, "--dataset is not used with --prepare"),
    ({"workdir": ""}, None, "--workdir= is empty: name a folder"),
    ({"table": "x.csv", "output": ""}, None, "--output= is empty"),
    ({"list": "models", "probes": ["shape"]}, None, "--probes is not used with --list"),
    ({"dry_run": True, "benchmark": True}, None, "--dry_run is not used with --benchmark: leave it out"),
    ({"benchmark": True, "export": "x"}, None, "--export is not used with --benchmark"),
    ({"benchmark": True, "margin": "1"}, None, "--margin is not used with --benchmark"),
    ({"shard": "1/2", "distributed": True}, None, "--shard and --distributed both say"),
    ({"shard": "1/2", "process_id": 0}, None, "--shard and --process_id both say"),
    ({"distributed": False, "coordinator": "x:1"}, None, "leave out --distributed=false"),
    (
      {"classes": "x.csv", "dataset": ["a=folder:x", "imagenet_v2"]},
      None,
      "--classes .* none is: leave it out",
    ),
    ({"process_id": 2, "num_processes": 2, "coordinator": "x:1"}, None, "--process_id=2: .* the last is 1"),
  ],
)
def test_flags_that_do_not_belong_together_are_refused(given, section, said):
  with pytest.raises(BiasjaxError, match=said):
    run.run(asked(**given, **({section: {"name": "x"}} if section else {})), list(given))


def test_preparing_without_the_files_says_what_to_get(tmp_path):
  given = {"prepare": "imagenet_a", "data_dir": str(tmp_path)}
  with pytest.raises(
    BiasjaxError, match=r"needs --manual_dir, a folder with imagenet-a.tar \(0.69 GB\) from"
  ):
    run.run(asked(**given), list(given))


def test_every_flag_is_used_somewhere():
  used = {name for names in run.USED.values() for name in names} | set(run.EVERYWHERE)
  assert used == set(OF_RUN) - {"config"}


@pytest.mark.parametrize(
  ("name", "known", "said"),
  [
    ("spektral", ["shape", "spectral"], "did you mean spectral?"),
    ("zzz", ["shape", "spectral"], "there are shape, spectral"),
  ],
)
def test_what_is_said_of_an_unknown_name(name, known, said):
  assert suggestion(name, known) == said


def test_a_misspelt_option_is_suggested():
  with pytest.raises(BiasjaxError, match=r"probe 'spectral:msak=radial': .* 'msak': did you mean mask\?"):
    probes.get("spectral:msak=radial")

  def make(*, steps="3", start="x"):
    return steps, start

  with pytest.raises(BiasjaxError, match=r"its options are steps=\.\.\., start=\.\.\."):
    options.parse(make, ["qq=1"], "x", "pgd")


def first_words(text: str) -> list[str]:
  return [line.split()[0] for line in text.splitlines()]


def test_lists_have_a_line_for_each_thing():
  assert first_words(listing.datasets("*")) == list(datasets.DATASETS)
  assert first_words(listing.datasets("imagenet_[ac]")) == ["imagenet_a", "imagenet_c"]
  assert set(zoo.STUDY) <= set(first_words(listing.models("*")))
  files = {path.stem for path in (ROOT / "biasjax/probes").glob("*.py") if "\ndef make(" in path.read_text()}
  assert set(first_words(listing.probes("*"))) == files
  assert "mask=half-open keep_mean=no" in listing.probes("spectral")
  conditions = listing.conditions("spectral").splitlines()
  assert len(conditions) == 22
  assert conditions[0].split() == ["spectral", "low/0.01"]
  assert len(listing.conditions("critical_band:sds=0.02+0.04+0.08+0.16+0.32").splitlines()) == 36
  files = {path.stem for path in (ROOT / "biasjax/train/interventions").glob("*.py")}
  assert set(first_words(listing.interventions("*"))) == files - {"__init__", "base"}
  assert listing.interventions("linf*").endswith("steps=3")
  kinds = (listing.datasets, listing.probes, listing.conditions, listing.models, listing.interventions)
  for listed in kinds:
    with pytest.raises(BiasjaxError, match="is called 'zzz'"):
      listed("zzz")


def test_lists_can_be_asked_for(capsys):
  assert run.run(asked(list="datasets:imagenette*"), ["list"]) == 0
  assert first_words(capsys.readouterr().out) == ["imagenette", "imagenette_10"]
  with pytest.raises(BiasjaxError, match="'probe' is unknown: did you mean probes"):
    run.run(asked(list="probe"), ["list"])


def test_an_installed_config_is_found_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert run.find_config("--config=configs/paper.py") == f"--config={ROOT / 'configs/paper.py'}"
  assert run.find_config("--config=configs/absent.py") == "--config=configs/absent.py"
  assert run.find_config("--models=configs/paper.py") == "--models=configs/paper.py"
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs/paper.py").touch()
  assert run.find_config("--config=configs/paper.py") == "--config=configs/paper.py"


def test_messages_name_the_command_as_it_was_called(monkeypatch, capsys):
  text = "run.py: error: see python run.py --help and python -m convert --list"
  monkeypatch.setattr(sys, "argv", ["run.py"])
  assert messages.as_called(text) == text
  monkeypatch.setattr(sys, "argv", ["/usr/bin/biasjax"])
  assert messages.as_called(text) == "biasjax: error: see biasjax --help and biasjax-convert --list"
  monkeypatch.setattr(sys, "argv", ["/usr/bin/biasjax-convert"])
  messages.warn("error: no", program="convert")
  assert capsys.readouterr().err == "biasjax-convert: error: no\n"


@pytest.mark.parametrize(("names", "report"), [("abc", None), ("ab", False)])
def test_reference_networks_that_no_page_shows_are_not_passed_over_in_silence(
  names, report, capsys, tmp_path
):
  networks = [Model(name, RESNET18, {}, lambda variables, images: images, name, {}) for name in names]
  opened = measuring.Asked(networks, [], {}, evaluate.Settings(), Store(tmp_path, create=True))
  assert measuring._report(opened, {"beside": ["published.csv"], "report": report}, {}) == {}
  assert "--beside is of a page of one or two networks, and none was written" in capsys.readouterr().err
