"""A file that holds more than the network: it asks, each reading that it offers works, the rest is listed."""

import collections
import re

import numpy as np
import pytest

import biasjax
from biasjax import convert
from biasjax.cli import converting as command
from biasjax.convert import certificate, conversion
from biasjax.errors import BiasjaxError
from torch_networks import logits, network, randomise, relative_difference

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def nets(torchvision):
  """Two networks of one architecture, so that only one is compiled."""
  one, two = (network(torchvision, stage_sizes=(1, 1, 1, 1), width=2, classes=3) for _ in range(2))
  return one, randomise(two, seed=1)


def named(prefix, net):
  return {prefix + name: value for name, value in net.state_dict().items()}


def wrapped(kind, nets):
  """(content of a file, reading -> the network that it is of)."""
  import torch

  one, two = nets
  counter = {"n_averaged": torch.tensor(7)}
  match kind:
    case "student and teacher":
      content = {"state_dict": named("student.", one) | named("teacher.", two)}
      return content, {"state_dict:student.": one, "state_dict:teacher.": two}
    case "torchvision's references":
      content = {"model": named("", one), "model_ema": named("module.", two) | counter, "epoch": 3}
      return content, {"model:": one, "model_ema:module.": two}
    case "timm's saver":
      content = {
        "arch": "resnet50x",
        "state_dict": named("", one),
        "state_dict_ema": named("", two),
        "version": 2,
      }
      return content, {"state_dict:": one, "state_dict_ema:": two}
    case "at the top, and a teacher":
      return named("", one) | named("teacher.", two), {":": one, ":teacher.": two}
    case "byol":
      content = {"model": named("online.encoder.", one) | named("target.encoder.", two)}
      content["model"] |= {"predictor.0.weight": torch.ones(4, 3), "predictor.0.bias": torch.ones(4)}
      return content, {"model:online.encoder.": one, "model:target.encoder.": two}
    case "lightning and its averages":
      content = {
        "state_dict": named("model.", one) | named("ema_model.module.", two),
        "hyper_parameters": {"lr": 1},
      }
      content["state_dict"] |= {"ema_model.n_averaged": torch.tensor(3), "criterion.weight": torch.ones(3)}
      return content, {"state_dict:model.": one, "state_dict:ema_model.module.": two}
  raise AssertionError(kind)


KINDS = (
  *("student and teacher", "torchvision's references", "timm's saver", "at the top, and a teacher", "byol"),
  "lightning and its averages",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reading_that_is_offered_gives_its_network(nets, tmp_path, capsys, kind):
  import torch

  content, expected = wrapped(kind, nets)
  path = tmp_path / "net.pt"
  torch.save(content, path)
  assert command.main(["convert", f"--checkpoint={path}", "--name=mine"]) == 1
  offered = re.findall(r"'([^']*:[^']*)'", capsys.readouterr().err.split("--reading=")[1])
  assert offered == list(expected)
  for reading, net in expected.items():
    converted = conversion.convert(path, reading=reading)
    assert relative_difference(converted.certificate["logits"], logits(net, certificate.probe())) < 1e-4
    mapping = content
    for key in filter(None, reading.split(":")[0].split("/")):
      mapping = mapping[key]
    used = {tensor["from"] for tensor in converted.certificate["tensors"].values()}
    beside = set(content) - {reading.split(":")[0]} if mapping is not content else set()
    assert used | set(converted.certificate["dropped"]) == set(mapping) | beside
    # The same by run.py's way.
    (folder,) = convert.resolve([f"{path}@{reading}"])
    assert biasjax.load(folder).fingerprint == converted.certificate["fingerprint"]
  folders = convert.resolve([f"{path}@{reading}" for reading in expected])
  assert len({folder.name for folder in folders}) == 2  # tables name networks by their folders


@pytest.mark.parametrize(
  ("beside", "said"),
  [
    (
      {"criterion.weight": (3,)},
      "1 of the state dict's keys do not start with 'model.', e.g. 'criterion.weight'",
    ),
    ({"train_acc.tp": (3,), "val_confusion.confmat": (3, 3)}, "2 of the state dict's keys do not start with"),
    ({"loss.centers": (3, 8), "step": None}, "2 of the state dict's keys do not start with 'model.'"),
  ],
  ids=["weighted loss", "metrics", "centres, and a number"],
)
def test_what_lies_beside_one_network_is_asked_about_and_then_listed(nets, tmp_path, capsys, beside, said):
  import torch

  rest = {name: 7 if shape is None else torch.ones(shape) for name, shape in beside.items()}
  path = tmp_path / "last.ckpt"
  torch.save({"state_dict": named("model.", nets[0]) | rest, "pytorch-lightning_version": "2.6.0"}, path)
  flags = ["convert", f"--checkpoint={path}", f"--output={tmp_path}/net"]
  assert command.main(flags) == 1
  line = capsys.readouterr().err
  assert said in line
  assert "--reading='state_dict:model.'" in line
  assert "last.ckpt@state_dict:model." in line
  assert command.main([*flags, "--reading=state_dict:model."]) == 0
  found = biasjax.load(tmp_path / "net").certificate
  assert {name: found["dropped"][name] for name in beside} == dict.fromkeys(
    beside, "not of the network that was read"
  )


@pytest.mark.parametrize("prefix", ["module.", "module.module.", "swa_model.module.", "_orig_mod.module."])
def test_an_average_and_its_counter_need_no_question(nets, tmp_path, prefix):
  import torch

  at = prefix.removesuffix("module.") if prefix != "module.module." else ""
  torch.save(named(prefix, nets[0]) | {f"{at}n_averaged": torch.tensor(5)}, tmp_path / "swa.pth")
  found = conversion.convert(tmp_path / "swa.pth").certificate
  assert found["dropped"][f"{at}n_averaged"] == "counts what was averaged"
  assert relative_difference(found["logits"], logits(nets[0], certificate.probe())) < 1e-4


def test_a_reading_without_a_classifier_is_not_offered(nets, tmp_path, capsys):
  import torch

  backbone = {name: value for name, value in named("momentum.", nets[1]).items() if ".fc." not in name}
  torch.save(named("student.", nets[0]) | backbone, tmp_path / "net.pth")
  assert command.main(["convert", f"--checkpoint={tmp_path}/net.pth", "--name=mine"]) == 1
  assert "choose one: --reading=':student.' (of run.py" in capsys.readouterr().err
  assert conversion.convert(tmp_path / "net.pth", reading=":student.").architecture.num_classes == 3


def test_layers_of_the_network_are_never_left_out_by_a_reading(nets, tmp_path):
  import torch

  state = named("model.", nets[0]) | {"model.layer1.0.se.fc1.weight": torch.ones(2, 2)}
  torch.save(state | {"loss.weight": torch.ones(3)}, tmp_path / "net.pth")
  with pytest.raises(BiasjaxError, match=r"1 unexpected tensor, e\.g\. 'layer1\.0\.se\.fc1\.weight'"):
    conversion.convert(tmp_path / "net.pth", reading=":model.")


# Normalisation as buffers beside the network.


def channels(values, shape=(3, 1, 1)):
  import torch

  return torch.tensor(values).reshape(shape)


OTHER = ([0.5, 0.4, 0.3], [0.1, 0.2, 0.4])
BUFFERS = {
  "mean and std": lambda: {"mean": channels(OTHER[0]), "std": channels(OTHER[1])},
  "mu and sigma": lambda: {"mu": channels(OTHER[0], (1, 3, 1, 1)), "sigma": channels(OTHER[1], (1, 3, 1, 1))},
  "a module of its own": lambda: {"0.mean": channels(OTHER[0], (3,)), "0.std": channels(OTHER[1], (3,))},
  "for pixels of 0 to 255": lambda: {
    "norm.pixel_mean": channels([127.5, 102.0, 76.5]),
    "norm.pixel_std": channels([25.5, 51.0, 102.0]),
  },
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_normalisation_in_the_file_is_the_networks(nets, tmp_path, kind):
  import torch

  torch.save(named("1.", nets[0]) | BUFFERS[kind](), tmp_path / "net.pth")
  found = conversion.convert(tmp_path / "net.pth").certificate
  np.testing.assert_allclose([found["normalization"][k] for k in ("mean", "std")], OTHER, rtol=1e-6)
  assert "in the file" in found["normalization"]["origin"]
  assert {found["dropped"][name] for name in BUFFERS[kind]()} == {"the normalisation"}
  assert relative_difference(found["logits"], logits(nets[0], certificate.probe(), *OTHER)) < 1e-4


def test_a_given_normalisation_counts_before_the_files(nets, tmp_path):
  import torch

  torch.save(named("1.", nets[0]) | BUFFERS["mean and std"](), tmp_path / "net.pth")
  given = conversion.Normalization(*IMAGENET, "given")
  found = conversion.convert(tmp_path / "net.pth", normalization=given).certificate
  assert found["normalization"]["origin"] == "given"
  assert relative_difference(found["logits"], logits(nets[0], certificate.probe(), *IMAGENET)) < 1e-4


def test_each_of_two_networks_has_its_own_normalisation(nets, tmp_path):
  import torch

  state = collections.OrderedDict(named("student.net.", nets[0]) | named("teacher.net.", nets[1]))
  for name, mean in (("student", [0.5, 0.4, 0.3]), ("teacher", [0.1, 0.2, 0.3])):
    state |= {f"{name}.normalize.mean": channels(mean), f"{name}.normalize.std": channels([0.5, 0.5, 0.5])}
  torch.save(state, tmp_path / "net.pth")
  for name, mean in (("student", [0.5, 0.4, 0.3]), ("teacher", [0.1, 0.2, 0.3])):
    found = conversion.convert(tmp_path / "net.pth", reading=f":{name}.net.").certificate
    assert list(found["normalization"]["mean"]) == mean


def test_two_normalisations_of_one_network_are_asked_about(nets, tmp_path, capsys):
  import torch

  state = named("net.", nets[0]) | {"a.mean": channels([0.5, 0.4, 0.3]), "a.std": channels([0.5, 0.5, 0.5])}
  torch.save(
    state | {"b.mean": channels([0.4, 0.4, 0.3]), "b.std": channels([0.5, 0.5, 0.5])}, tmp_path / "net.pth"
  )
  flags = ["convert", f"--checkpoint={tmp_path}/net.pth", f"--output={tmp_path}/net"]
  assert command.main(flags) == 1
  assert "several normalisations (a.mean, b.mean): give --mean and --std" in capsys.readouterr().err
  assert command.main([*flags, "--mean=0.5,0.5,0.5", "--std=0.5,0.5,0.5"]) == 0


@pytest.mark.parametrize(
  "buffers", [{"stats.mean": (3,)}, {"target.mean": (1,), "target.std": (1,)}], ids=["no std", "one channel"]
)
def test_what_is_no_normalisation_of_rgb_is_asked_about(nets, tmp_path, buffers):
  import torch

  rest = {name: torch.full(shape, 0.5) for name, shape in buffers.items()}
  torch.save(named("net.", nets[0]) | rest, tmp_path / "net.pth")
  with pytest.raises(BiasjaxError, match=r"--reading=':net.'"):
    conversion.convert(tmp_path / "net.pth")


# Batch counters.


@pytest.mark.parametrize("kind", ["averaged", "half", "none", "not finite", "a vector", "absent"])
def test_batch_counters_are_never_needed(nets, tmp_path, kind):
  import torch

  def counter(value):
    match kind:
      case "averaged":
        return value / 3
      case "half":
        return value.to(torch.float16)
      case "not finite":
        return torch.tensor(float("nan"))
      case "a vector":
        return torch.ones(4, dtype=torch.int64)
      case "none":
        return value.to(torch.float8_e4m3fn)
    return None

  state = nets[0].state_dict()
  for name, value in list(state.items()):
    if name.endswith("num_batches_tracked"):
      del state[name]
      if kind != "absent":
        state[name] = counter(value)
  torch.save(state, tmp_path / "soup.pth")
  found = conversion.convert(tmp_path / "soup.pth").certificate
  assert found["counters"] == {}
  assert relative_difference(found["logits"], logits(nets[0], certificate.probe())) < 1e-4
  assert set(found["dropped"]) == {name for name in state if name.endswith("num_batches_tracked")}
