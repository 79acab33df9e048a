"""python -m convert: what it writes, and the one line that it says when it cannot."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import biasjax
from biasjax.cli import converting as command
from biasjax.convert import torchvision as names
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.models.architecture import Architecture
from deadline import DEADLINE_S
from torch_networks import network, save

TINY = Architecture("bottleneck", (1, 1), width=2, inner_width=2, num_classes=3)


def tiny_tensors(dtype=np.float32):
  """A whole ResNet's tensors, random, without torch."""
  rng = np.random.default_rng(0)
  entries = names.entries(TINY)
  tensors = {name: rng.uniform(0.5, 1.5, entry.shape).astype(dtype) for name, entry in entries.items()}
  return tensors | {name: np.array(7) for name in names.counters(entries)}


def convert(tensors, tmp_path, *flags):
  save_file(tensors, tmp_path / "net.safetensors")
  return command.main(
    ["convert", f"--checkpoint={tmp_path}/net.safetensors", f"--output={tmp_path}/net", *flags]
  )


def one_line(capsys):
  """The single line on stderr."""
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 1, lines
  assert lines[0].startswith("convert: error: ")
  return lines[0]


def test_command_says_what_was_found_and_where_it_was_written(tmp_path, capsys):
  assert convert(tiny_tensors(), tmp_path) == 0
  said = capsys.readouterr().out
  assert "bottleneck ResNet [1, 1], width 2, 3 classes" in said
  assert "mean 0.485, 0.456, 0.406" in said
  assert f"{tmp_path}/net: written" in said


def test_certificate_holds_the_proof(tmp_path):
  import hashlib

  tensors = tiny_tensors()
  assert convert(tensors, tmp_path) == 0
  certificate = json.loads((tmp_path / "net/certificate.json").read_text())
  source = tmp_path / "net.safetensors"
  assert certificate["source"]["file"] == "net.safetensors"
  assert certificate["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
  assert certificate["source"]["bytes"] == source.stat().st_size
  parameters = [v for k, v in tensors.items() if "running" not in k and "num_batches" not in k]
  assert certificate["parameters"] == sum(v.size for v in parameters)
  assert certificate["normalization"]["std"] == [0.229, 0.224, 0.225]
  assert certificate["tensors"]["layer1.0.conv2.weight"] == {
    "from": "layer1.0.conv2.weight",
    "to": "params/layer1_0/conv2/kernel",
    "shape": [2, 2, 3, 3],
    "dtype": "float32",
  }
  counters = {name for name in tensors if name.endswith("num_batches_tracked")}
  assert set(certificate["tensors"]) | set(certificate["dropped"]) == set(tensors)
  assert set(certificate["dropped"]) == counters
  assert set(certificate["counters"].values()) == {7}
  assert certificate["fingerprint"] == biasjax.load(tmp_path / "net").fingerprint
  assert certificate["versions"]["biasjax"] == biasjax.__version__


def test_fingerprint_depends_on_every_variable_and_on_the_architecture(tmp_path):
  assert convert(tiny_tensors(), tmp_path) == 0
  model = biasjax.load(tmp_path / "net")
  variables = jax.tree.map(np.array, model.variables)
  seen = {model.fingerprint}
  for value in load.flatten(variables).values():
    kept = value.flat[0]
    value.flat[0] = np.nextafter(kept, np.float32(9))
    seen.add(load.fingerprint(model.architecture, variables))
    value.flat[0] = kept
  assert len(seen) == 1 + len(load.flatten(model.variables))
  other = Architecture("bottleneck", (1, 1), width=2, inner_width=2, num_classes=4)
  assert load.fingerprint(other, variables) not in seen


def test_batch_counters_may_be_absent(tmp_path):
  tensors = {k: v for k, v in tiny_tensors().items() if not k.endswith("num_batches_tracked")}
  assert convert(tensors, tmp_path) == 0


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda t: t.pop("layer2.0.bn1.bias"), "1 tensor missing, e.g. 'layer2.0.bn1.bias'"),
    (lambda t: t.pop("fc.weight"), "'fc.weight' is missing"),
    (
      lambda t: t.update({"layer1.0.se.fc1.weight": np.ones(2), "layer1.0.se.fc2.weight": np.ones(2)}),
      "2 unexpected tensors, e.g. 'layer1.0.se.fc1.weight'",
    ),
    (
      lambda t: t.update({"layer2.0.conv2.weight": np.ones((4, 4, 1, 1), np.float32)}),
      "1 tensor of another shape, e.g. 'layer2.0.conv2.weight' is [4, 4, 1, 1], not [4, 4, 3, 3]",
    ),
    (lambda t: t["bn1.bias"].__setitem__(0, np.nan), "'bn1.bias' holds values that are not finite"),
    (lambda t: t["layer2.0.bn2.running_var"].__setitem__(1, -1), "'layer2.0.bn2.running_var' holds negative"),
    (lambda t: t.update({"fc.bias": np.arange(3)}), "'fc.bias' is int64"),
    (lambda t: t.update({"layer1.2.conv1.weight": np.ones(2)}), "the block layer1.1 is missing"),
  ],
  ids=["missing", "no head", "unexpected", "misshaped", "nan", "negative variance", "integers", "gap"],
)
def test_state_dict_that_is_no_resnet_is_refused_by_name(tmp_path, capsys, change, said):
  tensors = tiny_tensors()
  change(tensors)
  assert convert(tensors, tmp_path) == 1
  line = one_line(capsys)
  assert said in line
  assert "net.safetensors" in line
  assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_float_types_become_float32(tmp_path, dtype):
  import ml_dtypes

  tensors = tiny_tensors(np.float64 if dtype == "float64" else np.float32)
  if dtype != "float64":
    tensors = {k: v.astype(getattr(ml_dtypes, dtype, dtype)) if v.ndim else v for k, v in tensors.items()}
  assert convert(tensors, tmp_path) == 0
  model = biasjax.load(tmp_path / "net")
  kernel = model.variables["params"]["fc"]["kernel"]
  assert kernel.dtype == np.float32
  np.testing.assert_array_equal(kernel, tensors["fc.weight"].T.astype(np.float32))
  assert model.certificate["tensors"]["fc.weight"]["dtype"] == dtype
  change = np.abs(tensors["fc.weight"].astype(np.float64) - kernel.T.astype(np.float64)).max()
  assert model.certificate["rounding"].get("fc.weight", 0) == change


def test_float64_beyond_float32_is_refused(tmp_path, capsys):
  tensors = tiny_tensors(np.float64)
  tensors["fc.bias"][1] = 1e300
  assert convert(tensors, tmp_path) == 1
  assert "'fc.bias' holds values beyond float32" in one_line(capsys)


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--chekpoint=x"], "Unknown command line flag 'chekpoint'"),
    ([], "--checkpoint is needed"),
    (["--checkpoint=net.pth"], "one of --output (a folder) and --name"),
    (["--checkpoint=/no/such.pth", "--output=x"], "/no/such.pth: cannot be read (No such file"),
    (["--checkpoint=/", "--output=x"], "/: is a folder"),
    (["--checkpoint=x", "--output=x", "--mean=1,2"], "--mean and --std belong together"),
    (["--checkpoint=x", "--output=x", "--mean=1,2,b", "--std=1,1,1"], "--mean=1,2,b: three numbers"),
    (["--checkpoint=x", "--output=x", "--mean=1,2", "--std=1,1,1"], "--mean=1.0,2.0: three numbers"),
    (["--checkpoint=x", "--output=x", "--mean=1,2,3", "--std=1,0,1"], "must be positive"),
    (["x.pth"], "unexpected argument 'x.pth'"),
  ],
)
def test_mistake_in_the_flags_is_one_line(capsys, flags, said):
  assert command.main(["convert", *flags]) == 1
  assert said in one_line(capsys)


def test_same_conversion_again_is_left_alone_and_another_is_refused(tmp_path, capsys):
  assert convert(tiny_tensors(), tmp_path) == 0
  before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "net").rglob("*"))
  assert convert(tiny_tensors(), tmp_path) == 0
  assert "holds this conversion already" in capsys.readouterr().out
  assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "net").rglob("*")) == before
  assert convert(tiny_tensors(), tmp_path, "--mean=0,0,0", "--std=1,1,1") == 1
  assert "exists and holds something else" in one_line(capsys)
  assert convert(tiny_tensors(), tmp_path, "--mean=0,0,0", "--std=1,1,1", "--overwrite") == 0
  assert biasjax.load(tmp_path / "net").certificate["normalization"]["std"] == [1, 1, 1]
  assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "net.safetensors"]


def test_a_conversion_that_is_damaged_is_made_again_once_it_is_deleted_as_the_message_says(tmp_path, capsys):
  assert convert(tiny_tensors(), tmp_path) == 0
  (tmp_path / "net/certificate.json").write_text("{")
  assert convert(tiny_tensors(), tmp_path) == 1
  assert "or is damaged: choose another name, delete it, or replace it with --overwrite of" in one_line(
    capsys
  )
  shutil.rmtree(tmp_path / "net")
  assert convert(tiny_tensors(), tmp_path) == 0


def test_folder_that_is_no_checkpoint_is_never_overwritten(tmp_path, capsys):
  (tmp_path / "net").mkdir()
  (tmp_path / "net/thesis.tex").write_text("years of work")
  assert convert(tiny_tensors(), tmp_path, "--overwrite") == 1
  assert "will not be overwritten" in one_line(capsys)
  assert (tmp_path / "net/thesis.tex").read_text() == "years of work"


def test_failed_replacement_keeps_the_old_checkpoint(tmp_path, capsys, monkeypatch):
  assert convert(tiny_tensors(), tmp_path) == 0
  capsys.readouterr()

  def full_disk(*_):
    raise OSError(28, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(load, "save", full_disk)
    assert convert(tiny_tensors(), tmp_path, "--mean=0,0,0", "--std=1,1,1", "--overwrite") == 1
  assert "No space left on device" in one_line(capsys)
  assert biasjax.load(tmp_path / "net").certificate["normalization"]["std"] == [0.229, 0.224, 0.225]
  assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "net.safetensors"]


@pytest.mark.parametrize("same", [True, False])
def test_of_two_conversions_into_one_folder_at_once_the_first_stays(tmp_path, capsys, monkeypatch, same):
  save = load.save

  def beside_another(*arguments):
    monkeypatch.setattr(load, "save", save)
    other = tmp_path / "other"
    other.mkdir()
    assert convert(tiny_tensors(), other, *([] if same else ["--mean=0,0,0", "--std=1,1,1"])) == 0
    (other / "net").rename(tmp_path / "net")
    shutil.rmtree(other)
    save(*arguments)

  monkeypatch.setattr(load, "save", beside_another)
  assert convert(tiny_tensors(), tmp_path) == (0 if same else 1)
  said = capsys.readouterr()
  assert ("holds this conversion already" in said.out) == same
  assert ("exists and holds something else" in said.err) != same
  assert biasjax.load(tmp_path / "net").certificate["normalization"]["std"][0] == (0.229 if same else 1)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "net.safetensors"]


def test_a_killed_conversion_is_not_in_the_way_of_a_process_of_the_same_number(tmp_path, monkeypatch):
  # As in a container that is started again, where the command has the same process id each time.
  monkeypatch.setattr(os, "getpid", lambda: 7)
  left = []

  def killed(folder, *_):
    left.append(folder)
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(load, "save", killed)
    with pytest.raises(KeyboardInterrupt):
      convert(tiny_tensors(), tmp_path)
  left[0].mkdir()  # which no process that is killed takes away
  assert convert(tiny_tensors(), tmp_path) == 0
  assert biasjax.load(tmp_path / "net").certificate["normalization"]["std"] == [0.229, 0.224, 0.225]
  assert left[0].exists()  # for all that is known another process is at work on it
  os.utime(left[0], (0, 0))
  other = tmp_path / f".net.old.{7:032x}.tmp"  # of a folder that is called net.old
  other.mkdir()
  os.utime(other, (0, 0))
  assert convert(tiny_tensors(), tmp_path) == 0
  assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, "net", "net.safetensors"]


def test_replacement_interrupted_between_its_steps_is_taken_back(tmp_path):
  assert convert(tiny_tensors(), tmp_path) == 0
  (tmp_path / "net").rename(tmp_path / ".net.previous")
  assert convert(tiny_tensors(), tmp_path) == 0
  assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "net.safetensors"]


def test_folder_in_the_middle_of_a_container_is_recognised(torchvision, tmp_path, capsys):
  net = network(torchvision, stage_sizes=(1,), width=2, classes=3)
  state = {f"module.{name}": value for name, value in net.state_dict().items()}
  save({"epoch": 3, "arch": "resnet50", "state_dict": state}, tmp_path / "net.pth.tar", "zip")
  assert command.main(["convert", f"--checkpoint={tmp_path}/net.pth.tar", f"--output={tmp_path}/net"]) == 0
  assert "state dict under 'state_dict', prefix 'module.'" in capsys.readouterr().out
  certificate = biasjax.load(tmp_path / "net").certificate
  assert certificate["dropped"]["epoch"] == "beside the state dict"
  assert certificate["tensors"]["fc.bias"]["from"] == "module.fc.bias"


def test_two_networks_in_one_file_stop_and_ask(torchvision, tmp_path, capsys):
  nets = {key: network(torchvision, stage_sizes=(1,), width=2, classes=3) for key in ("model", "ema")}
  save({key: net.state_dict() for key, net in nets.items()}, tmp_path / "net.pth", "zip")
  flags = ["convert", f"--checkpoint={tmp_path}/net.pth", f"--output={tmp_path}/net"]
  assert command.main(flags) == 1
  assert "2 ways; choose one: --reading='model:' or 'ema:'" in one_line(capsys)
  assert command.main([*flags, "--reading=teacher:"]) == 1
  assert "none of 'model:' or 'ema:'" in one_line(capsys)
  assert command.main([*flags, "--reading=ema:"]) == 0


class Hostile:
  def __reduce__(self):
    return os.system, ("touch owned",)


@pytest.mark.parametrize("container", ["zip", "legacy", "plain pickle"])
def test_pickle_that_runs_a_command_is_refused_and_nothing_runs(
  torchvision, tmp_path, capsys, monkeypatch, container
):
  monkeypatch.chdir(tmp_path)
  state = dict(network(torchvision, stage_sizes=(1,), width=2, classes=3).state_dict()) | {"x": Hostile()}
  if container == "plain pickle":
    (tmp_path / "net.pth").write_bytes(pickle.dumps(Hostile()))
  else:
    save(state, tmp_path / "net.pth", container)
  assert command.main(["convert", "--checkpoint=net.pth", "--output=net"]) == 1
  line = one_line(capsys)
  assert "net.pth: " in line
  assert "posix.system; nothing was run" in line
  assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pth"]


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated_checkpoint_is_one_line(torchvision, tmp_path, capsys, container, part):
  path = tmp_path / "net.pth"
  save(network(torchvision, stage_sizes=(1,), width=2, classes=3).state_dict(), path, container)
  path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
  assert command.main(["convert", f"--checkpoint={path}", f"--output={tmp_path}/net"]) == 1
  assert str(path) in one_line(capsys)
  assert not (tmp_path / "net").exists()


def hostile_names():
  """Names that break a line, command a terminal, cannot be encoded, or are numbers without end."""
  return ["a\nb", "\x1b[2J", "\ud800", "x" * 5000, 2**127]


@pytest.mark.parametrize("name", hostile_names(), ids=["line", "terminal", "surrogate", "long", "number"])
@pytest.mark.parametrize("where", ["state dict", "beside it", "global"])
def test_names_from_a_file_do_not_reach_the_terminal_raw(torchvision, tmp_path, capsys, name, where):
  import torch

  state = dict(network(torchvision, stage_sizes=(1,), width=2, classes=3).state_dict())
  content = {"state_dict": state}
  if where == "state dict":
    state[name] = torch.ones(1)
  elif where == "beside it":
    content[name] = torch.ones(1)
  else:
    content = {"state_dict": state | {"x": Hostile()}}
    if not isinstance(name, str) or len(name) > 100:
      pytest.skip("no global's name")
  torch.save(content, tmp_path / "net.pth", pickle_protocol=4)
  if where == "global":
    replace_in_pickle(tmp_path / "net.pth", b"posix", name.encode("utf-8", "surrogatepass"))
  for action in (f"--output={tmp_path}/net", "--inspect"):
    flags = ["--inspect"] if action == "--inspect" else ["--checkpoint", action]
    flags[0] += f"={tmp_path}/net.pth"
    command.main(["convert", *flags])
    said = capsys.readouterr()
    assert len(said.err.splitlines()) <= 1
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
    assert len(said.err) < 1000


def replace_in_pickle(path, old, new):
  """Rewrites a short string of protocol 4 in a zip file's pickle, frame and all."""
  import zipfile

  with zipfile.ZipFile(path) as archive:
    entries = {info.filename: archive.read(info) for info in archive.infolist()}
  name = next(n for n in entries if n.endswith("data.pkl"))
  content = entries[name]
  assert content[2:3] == b"\x95"
  content = content[:2] + content[11:]  # without its frame, whose length changes
  before = b"\x8c" + bytes([len(old)]) + old
  assert before in content
  entries[name] = content.replace(before, b"\x8c" + bytes([len(new)]) + new)
  with zipfile.ZipFile(path, "w") as archive:
    for filename, data in entries.items():
      archive.writestr(filename, data)


def test_web_page_is_not_a_checkpoint(tmp_path, capsys):
  (tmp_path / "net.pth").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
  assert command.main(["convert", f"--checkpoint={tmp_path}/net.pth", f"--output={tmp_path}/net"]) == 1
  assert "is a web page, not a checkpoint" in one_line(capsys)


def test_conversion_needs_no_torch_and_says_nothing_else(torchvision, tmp_path):
  save(network(torchvision, stage_sizes=(1,), width=2, classes=3).state_dict(), tmp_path / "net.pth", "zip")
  program = (
    "import sys\n"
    "class Absent:\n"
    "  def find_spec(self, name, path=None, target=None):\n"
    "    if name.partition('.')[0] in ('torch', 'torchvision', 'timm'): raise ModuleNotFoundError(name)\n"
    "sys.meta_path.insert(0, Absent())\n"
    "from biasjax.cli.converting import main; import biasjax\n"
    "assert main(['convert', '--checkpoint=net.pth', '--output=net']) == 0\n"
    "biasjax.load('net')"
  )
  path = os.pathsep.join(sys.path)
  done = subprocess.run(
    [sys.executable, "-c", program],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": path},
    capture_output=True,
    text=True,
    check=False,
    timeout=DEADLINE_S,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
  ("damage", "said"),
  [
    (lambda folder: None, "there is no such checkpoint"),
    (lambda folder: folder.mkdir(), "is not a converted checkpoint"),
  ],
)
def test_folder_that_is_no_checkpoint_is_one_line(tmp_path, damage, said):
  damage(tmp_path / "net")
  with pytest.raises(BiasjaxError, match=said):
    biasjax.load(tmp_path / "net")


def test_damaged_checkpoint_is_one_line(tmp_path):
  assert convert(tiny_tensors(), tmp_path) == 0
  data = [p for p in (tmp_path / "net").rglob("*") if p.is_file()]
  assert len(data) > 5
  for path in data:
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(BiasjaxError, match="is damaged") as raised:
      biasjax.load(tmp_path / "net")
    assert "\n" not in str(raised.value)
    path.write_bytes(kept)
  (tmp_path / "net/certificate.json").write_text("{")
  with pytest.raises(BiasjaxError, match="is damaged"):
    biasjax.load(tmp_path / "net")


def test_values_that_are_not_finite_are_refused_on_loading(tmp_path):
  assert convert(tiny_tensors(), tmp_path) == 0
  model = biasjax.load(tmp_path / "net")
  broken = {**model.variables, "batch_stats": {**model.variables["batch_stats"]}}
  broken["batch_stats"]["bn1"] = {"mean": np.array([1, np.inf], np.float32), "var": np.ones(2, np.float32)}
  from etils import epath

  folder = tmp_path / "broken"
  folder.mkdir()
  load.save(epath.Path(folder), model.architecture, broken)
  (folder / "certificate.json").write_text("{}")
  with pytest.raises(BiasjaxError, match="batch_stats/bn1/mean holds values that are not finite"):
    biasjax.load(folder)
