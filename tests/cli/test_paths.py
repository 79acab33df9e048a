"""Paths are understood as people write them: ~ is their home wherever it stands, a comma may be in a name."""

import os
import pathlib

import pytest
from absl import flags

from biasjax.cli import main, paths
from biasjax.errors import BiasjaxError
from in_process import convert, run
from made_images import class_folder
from made_models import made_checkpoint

OF_RUN = {flag.name: flag for flag in flags.FLAGS.flags_by_module_dict()["biasjax.cli.main"]}


@pytest.fixture
def home(tmp_path, monkeypatch):
  (tmp_path / "home").mkdir()
  (tmp_path / "here").mkdir()
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.chdir(tmp_path / "here")
  return tmp_path / "home"


@pytest.mark.parametrize(
  ("written", "meant"),
  [
    ("~", "HOME"),
    ("~/out", "HOME/out"),
    ("folder:~/val", "folder:HOME/val"),
    ("mine=folder:~/val", "mine=folder:HOME/val"),
    ("mine=imagenet:~", "mine=imagenet:HOME"),
    ("tfds:~/x/1.0.0@train[:33%]", "tfds:HOME/x/1.0.0@train[:33%]"),
    ("tensorboard:~/runs", "tensorboard:HOME/runs"),
    ("~/a,b/*.pth", "HOME/a,b/*.pth"),
    ("./~/out", "./~/out"),
    ("/data/~x", "/data/~x"),
    ("a~b", "a~b"),
    ("pgd:eps=1:steps=10", "pgd:eps=1:steps=10"),
    (["~/a", "b"], ["HOME/a", "b"]),
    ({"certificates": "~/models", "n": 3, "deep": [{"path": "~/x"}]}, None),
    (None, None),
  ],
)
def test_the_home_is_meant_by_a_tilde(home, written, meant):
  if isinstance(written, dict):
    expected = {"certificates": f"{home}/models", "n": 3, "deep": [{"path": f"{home}/x"}]}
  elif isinstance(meant, list):
    expected = [each.replace("HOME", str(home)) for each in meant]
  else:
    expected = meant and meant.replace("HOME", str(home))
  assert paths.expanded(written) == expected


def test_somebody_elses_home_is_known_or_refused(home):
  assert paths.expanded("~root/x") == f"{os.path.expanduser('~root')}/x"
  with pytest.raises(BiasjaxError, match="--workdir=~nobody-such/x: ~nobody-such is nobody's home"):
    paths.understood({"workdir": "~nobody-such/x"}, ())


def test_names_with_commas_are_put_together_again(home):
  for name in ("a,b", "c", "d,e,f", "g,h[1]"):
    pathlib.Path(name).mkdir()
  pathlib.Path("a,b/x").mkdir()
  split = ["folder:./a", "b/x", "c", "imagenet_v2:./d", "e", "f", "resnet50", "nope/x", "c"]
  assert paths.joined(split) == ["folder:./a,b/x", "c", "imagenet_v2:./d,e,f", "resnet50", "nope/x", "c"]
  assert paths.joined(["./g", "h[1]", "c"]) == ["./g,h[1]", "c"]
  assert paths.joined(["./a", "b/*", "c"]) == ["./a,b/*", "c"]  # a pattern
  assert paths.joined(["tfds:./a", "b/x@train[:3]"]) == ["tfds:./a,b/x@train[:3]"]


def test_a_comma_with_a_blank_beside_it_is_part_of_a_name_or_is_none(home):
  pathlib.Path("a, b = c").mkdir()
  pathlib.Path("d ,e").mkdir()
  parse = paths.ListParser().parse
  for written, meant in (
    ("folder:./a, b = c", ["folder:./a, b = c"]),
    ("x=folder:./d ,e, folder:./a, b = c", ["x=folder:./d ,e", "folder:./a, b = c"]),
    (" ./nope , resnet50", ["./nope", "resnet50"]),
    ('"./q,r",s', ["./q,r", "s"]),
  ):
    assert paths.understood({"dataset": parse(written)}, ("dataset",)) == {"dataset": meant}
  assert paths.understood({"probes": parse("accuracy, pgd:eps=1")}, ()) == {
    "probes": ["accuracy", "pgd:eps=1"]
  }
  with pytest.raises(ValueError, match="cannot be cut at its commas"):
    parse('"a')


@pytest.fixture
def ready(home):
  class_folder(home / "val", {"n01440764": 2, "n15075141": 2})
  made_checkpoint(home / "net", 0)
  return home


def test_a_run_reads_and_writes_at_home_and_makes_no_folder_of_that_name(ready):
  config = (
    "from ml_collections import ConfigDict\n\ndef get_config():\n  return ConfigDict({'workdir': '~/out'})\n"
  )
  (ready / "mine.py").write_text(config)
  here = pathlib.Path()
  flags = ["--config=~/mine.py", "--models=~/net", "--dataset=v=folder:~/val", "--probes=accuracy"]
  done = run(*flags, folder=here)
  assert (done.returncode, done.stderr) == (0, "")
  assert (ready / "out/results.csv").exists()
  done = run("--table=~/out/results.csv", "--output=~/study", folder=here)
  assert "no such file" not in done.stderr.lower()
  done = convert("--export=~/net", "--output=~/net.safetensors", folder=here)
  assert (done.returncode, done.stderr) == (0, "")
  done = convert("--checkpoint=~/net.safetensors", "--output=~/again", folder=here)
  assert (done.returncode, done.stderr) == (0, "")
  for flag in ("--inspect=~/net.safetensors", "--verify=~/again"):
    done = convert(flag, folder=here)
    assert (done.returncode, done.stderr) == (0, "")
  assert (ready / "again/certificate.json").exists()
  assert list(pathlib.Path().iterdir()) == []


def test_every_flag_and_section_goes_through_the_same_hands(home, monkeypatch):
  names = [name for name in main.SETTINGS if isinstance(OF_RUN[name].default, str | None)]
  asked = {name: OF_RUN[name].default for name in main.SETTINGS}
  asked |= dict.fromkeys(names, "~/x") | {"models": ["~/x"], "dataset": ["~/x"], "report_to": ["wandb:~/x"]}
  asked |= {section: {"path": "~/x"} for section in main.SECTIONS} | {"list": "", "sweep": {"path": "~/x"}}
  monkeypatch.setattr(main, "refuse", lambda *_: None)
  monkeypatch.setattr(main, "sweep_networks", lambda asked: found.append(asked) or 0)
  found: list[dict] = []
  assert main.run(asked) == 0
  assert "~" not in str(found)
  assert str(found).count(f"{home}/x") >= len(names)
