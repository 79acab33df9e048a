"""The way back, and what a certificate is good for."""

import json

import numpy as np
import pytest

import biasjax
from biasjax.cli import converting as command
from biasjax.convert import certificate, conversion, parity, readers
from biasjax.models import load
from biasjax.models.architecture import Architecture
from jax_profiles import unusual_settings
from torch_networks import CONTAINERS, logits, network, relative_difference, save

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def net(torchvision):
  return network(torchvision, stage_sizes=(1, 1, 1, 1), width=4, classes=5)


def convert(tmp_path, state_dict, container="zip", *flags):
  save(state_dict, tmp_path / "net.pth", container)
  return command.main(["convert", f"--checkpoint={tmp_path}/net.pth", "--name=mine", *flags])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_round_trip_gives_back_the_same_tensors_bit_for_bit(net, tmp_path, container, dtype):
  import torch
  from safetensors.torch import load_file

  state = {
    name: value.to(getattr(torch, dtype)) if value.is_floating_point() else value
    for name, value in net.state_dict().items()
  }
  assert convert(tmp_path, state, container) == 0
  assert command.main(["convert", "--export=mine", f"--output={tmp_path}/back.safetensors"]) == 0
  back = load_file(tmp_path / "back.safetensors")
  assert set(back) == set(state)
  for name, value in state.items():
    assert back[name].dtype == value.dtype
    assert torch.equal(back[name], value)


def test_exported_file_is_loaded_strictly_and_gives_the_same_logits(net, torchvision, tmp_path):
  from safetensors.torch import load_file

  assert convert(tmp_path, net.state_dict()) == 0
  assert command.main(["convert", "--export=mine", f"--output={tmp_path}/back.safetensors"]) == 0
  twin = network(torchvision, stage_sizes=(1, 1, 1, 1), width=4, classes=5)
  for parameter in twin.parameters():
    parameter.data.zero_()
  twin.load_state_dict(load_file(tmp_path / "back.safetensors"), strict=True)
  np.testing.assert_array_equal(logits(twin, certificate.probe()), logits(net, certificate.probe()))


def test_export_never_overwrites(net, tmp_path, capsys):
  assert convert(tmp_path, net.state_dict()) == 0
  (tmp_path / "back.safetensors").write_bytes(b"precious")
  capsys.readouterr()
  assert command.main(["convert", "--export=mine", f"--output={tmp_path}/back.safetensors"]) == 1
  assert "exists already" in capsys.readouterr().err
  assert command.main(["convert", "--export=mine", f"--output={tmp_path}/back.pth"]) == 1
  assert "must end in .safetensors" in capsys.readouterr().err
  assert (tmp_path / "back.safetensors").read_bytes() == b"precious"


def test_parity_is_measured_and_recorded(net, tmp_path, capsys):
  assert convert(tmp_path, net.state_dict()) == 0
  assert biasjax.load(tmp_path / "cache/models/mine").certificate["parity"] is None
  assert convert(tmp_path, net.state_dict(), "zip", "--parity") == 0
  assert "parity: logits differ from PyTorch's by" in capsys.readouterr().out
  recorded = biasjax.load(tmp_path / "cache/models/mine").certificate["parity"]
  assert 0 <= recorded["difference"] < 1e-5
  assert recorded["torch"]


def test_parity_notices_a_network_that_is_another(net, tmp_path, monkeypatch, capsys):
  from biasjax.convert import torchvision as names

  correct = names.to_flax
  # Of a 3x3 kernel that is transposed, nothing but the logits would tell.
  monkeypatch.setattr(names, "to_flax", lambda t: correct(t.swapaxes(2, 3) if t.ndim == 4 else t))
  assert convert(tmp_path, net.state_dict(), "zip", "--parity") == 1
  assert "logits differ from PyTorch's" in capsys.readouterr().err


@pytest.mark.parametrize(
  "kind", [{}, {"block": "basic"}, {"inner_width": 8}, {"stage_sizes": (2, 1, 2, 1)}], ids=str
)
def test_parity_network_is_torchvisions(torchvision, tmp_path, kind):
  net = network(torchvision, **({"stage_sizes": (1, 1, 1, 1), "width": 4, "classes": 5} | kind))
  save(net.state_dict(), tmp_path / "net.pth", "zip")
  converted = conversion.convert(tmp_path / "net.pth")
  got = parity.torch_logits(
    readers.read(tmp_path / "net.pth").tree,
    converted.architecture,
    (0.5, 0.4, 0.3),
    (0.1, 0.2, 0.3),
    certificate.probe(),
  )
  expected = logits(net, certificate.probe(), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
  assert relative_difference(got, expected) < 1e-6


def test_verification_computes_the_certificate_again(net, tmp_path, capsys):
  assert convert(tmp_path, net.state_dict()) == 0
  capsys.readouterr()
  assert command.main(["convert", "--verify=mine"]) == 0
  assert "as certified" in capsys.readouterr().out
  assert command.main(["convert", f"--verify={tmp_path}/cache/models/mine"]) == 0
  assert command.main(["convert", "--verify=yours"]) == 1
  assert "neither the folder nor the name" in capsys.readouterr().err


def test_verification_does_not_depend_on_settings_of_jax(net, tmp_path, capsys):
  assert convert(tmp_path, net.state_dict()) == 0
  load.apply_function.cache_clear()
  with unusual_settings():
    assert command.main(["convert", "--verify=mine"]) == 0
  assert "logits differ by 0 of the largest" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda c: c.update(fingerprint="0" * 64), "the certificate's fingerprint is 000"),
    (lambda c: c.update(parameters=1), "the certificate's parameters is 1"),
    (lambda c: c["normalization"].update(mean=[0, 0, 0]), "the certificate's mean is"),
    (lambda c: c["logits"][0].__setitem__(2, 99.0), "logits differ from the certificate's"),
    (lambda c: c.pop("logits"), "logits differ from the certificate's"),
    (lambda c: c["architecture"].update(num_classes=6), "the certificate's architecture"),
  ],
)
def test_certificate_that_is_not_the_networks_is_found_out(net, tmp_path, capsys, change, said):
  assert convert(tmp_path, net.state_dict()) == 0
  path = tmp_path / "cache/models/mine/certificate.json"
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))
  capsys.readouterr()
  assert command.main(["convert", "--verify=mine"]) == 1
  assert said in capsys.readouterr().err


def test_probe_is_what_its_formula_says():
  images = certificate.probe()
  assert images.shape == (2, 64, 64, 3)
  assert (images.min(), images.max()) == (0, 1)
  y, x, c = 5, 7, 2
  for b in (0, 1):
    value = (x**2 * (c + 1) + 3 * y**2 + 7 * x * y + 11 * b * (x + 2 * y) + 31 * c) % 256
    assert images[b, y, x, c] == np.float32(value) / np.float32(255)


def test_inspection_shows_the_tree_and_converts_nothing(net, tmp_path, capsys):
  state = {f"module.{name}": value for name, value in net.state_dict().items()}
  save({"epoch": 3, "state_dict": state, "args": Architecture}, tmp_path / "net.pth", "zip")
  assert command.main(["convert", f"--inspect={tmp_path}/net.pth"]) == 0
  said = capsys.readouterr().out
  for part in (
    "torch zip",
    "'epoch': 3",
    "'state_dict': dict of",
    "biasjax.models.architecture.Architecture",
  ):
    assert part in said
  assert "'module.conv1.weight': float32 [4, 3, 7, 7]" in said
  assert "--reading='state_dict:module.'" in said
  assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pth"]


def test_inspection_lists_every_tensor(net, tmp_path, capsys):
  state = net.state_dict()
  save(
    {"epoch": 3, "state_dict": state, "more": [{"ema": state["conv1.weight"]}]}, tmp_path / "net.pth", "zip"
  )
  assert command.main(["convert", f"--inspect={tmp_path}/net.pth", "--tensors"]) == 0
  lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
  listed = {line[0]: line[1:] for line in lines if line and line[0].startswith(("'state_dict'/", "'more'/"))}
  expected = {
    f"'state_dict'/'{name}'": [str(value.dtype).removeprefix("torch."), str(list(value.shape))]
    for name, value in state.items()
  }
  assert listed == expected | {"'more'/0/'ema'": ["float32", "[4, 3, 7, 7]"]}
  assert command.main(["convert", "--verify=mine", "--tensors"]) == 1
  assert "--tensors is not used with --verify" in capsys.readouterr().err
