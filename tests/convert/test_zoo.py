"""Each of the paper's 48 checkpoints: a file in its source's container and layout gives PyTorch's logits."""

import argparse
import collections
import json

import numpy as np
import pytest

from biasjax.convert import certificate, conversion, families, listing, readers
from biasjax.errors import BiasjaxError
from biasjax.models import zoo
from torch_networks import logits, network, relative_difference

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NONE = ((0, 0, 0), (1, 1, 1))
UNNORMALISED = {"resnet50_simclrv2", "resnet50_diffusionnoise_fixed_nonoise"}


@pytest.fixture(scope="module")
def net(torchvision):
  """A narrow ResNet-50: the real one's names."""
  return network(torchvision, width=4, classes=10)


def prefixed(prefix, state):
  return collections.OrderedDict((prefix + name, value) for name, value in state.items())


def momentum(net):
  """The state of an optimiser that has made a step."""
  import torch

  optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
  for parameter in net.parameters():
    optimizer.state[parameter]["momentum_buffer"] = torch.randn_like(parameter)
  return optimizer.state_dict()


def zipped(path, content):
  import torch

  torch.save(content, path)


def legacy(path, content):
  import torch

  torch.save(content, path, _use_new_zipfile_serialization=False)


def dilled(path, content):
  import torch

  dill = pytest.importorskip("dill", reason="writes files as the library robustness did")
  torch.save(content, path, pickle_module=dill, _use_new_zipfile_serialization=False)


def safetensors(path, content):
  from safetensors.torch import save_file

  save_file(content, path)


def data_parallel(save, **beside):
  def write(path, net):
    state = prefixed("module.", net.state_dict())
    save(path, {"epoch": 90, "state_dict": state, "optimizer": momentum(net), **beside})

  return write


def plain(save, location=None, prefix=""):
  def write(path, net):
    state = prefixed(prefix, net.state_dict())
    save(path, state if location is None else {location: state, "epoch": 90})

  return write


def robustness(path, net):
  import torch

  state = net.state_dict()
  wrapper = prefixed("module.model.", state) | prefixed("module.attacker.model.", state)
  for name in ("module.normalizer", "module.attacker.normalize"):
    wrapper[f"{name}.new_mean"] = torch.tensor(IMAGENET[0])[:, None, None]
    wrapper[f"{name}.new_std"] = torch.tensor(IMAGENET[1])[:, None, None]
  content = {"model": wrapper, "optimizer": momentum(net), "epoch": 90, "amp": None}
  content |= {"schedule": {"lr_lambdas": [lambda epoch: 0.1**epoch]}, "nat_prec1": torch.tensor(75.8)}
  dilled(path, content)


def stylized(path, net):
  state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
  state = prefixed("module.", state)
  legacy(path, {"epoch": 60, "arch": "resnet50", "state_dict": state, "best_prec1": 60.2, "optimizer": {}})


def auxiliary(path, net):
  state = net.state_dict()
  for name, value in net.state_dict().items():
    if "bn" in name or "downsample.1" in name:
      module, leaf = name.rsplit(".", 1)
      state[f"{module}.aux_bn.{leaf}"] = value * 2
  assert len(state) == 320 + 5 * 53
  content = {"epoch": 99, "state_dict": prefixed("module.", state), "acc": 76.9, "best_acc": 76.9}
  legacy(path, content | {"optimizer": momentum(net)})


def diffusion(path, net):
  content = {"model": prefixed("module.", net.state_dict()), "optimizer": momentum(net), "epoch": 89}
  zipped(
    path, content | {"lr_scheduler": {"last_epoch": 90}, "args": argparse.Namespace(lr=0.5, model="resnet50")}
  )


def opticsaugment(path, net):
  content = {"epoch": 9, "best_epoch": 8, "model_state_dict": prefixed("module.", net.state_dict())}
  zipped(path, content | {"optimizer_state_dict": momentum(net), "loss": 1.5, "acc": 70.0})


def head(path, net):
  weights = {"module.linear.weight": net.fc.weight.data, "module.linear.bias": net.fc.bias.data}
  zipped(path, {"epoch": 100, "state_dict": weights, "optimizer": {"state": {}}, "best_acc": 75.3})


def backbone(net):
  return {name: value for name, value in net.state_dict().items() if not name.startswith("fc.")}


def dino(path, net):
  zipped(path, backbone(net))


def swav(path, net):
  import torch

  state = prefixed("module.", backbone(net))
  for name in ("0.weight", "0.bias", "1.weight", "1.running_mean", "3.weight", "3.bias"):
    state[f"module.projection_head.{name}"] = torch.randn(8)
  state["module.prototypes.weight"] = torch.randn(30, 8)
  legacy(path, state)


def simclrv2(path, net):
  import torch

  def rename(name):
    module, leaf = name.rsplit(".", 1)
    stem = {"conv1": "net.0.0", "bn1": "net.0.1.0", "fc": "fc"}
    inner = {"conv1": "net.0", "bn1": "net.1.0", "conv2": "net.2", "bn2": "net.3.0", "conv3": "net.4"}
    inner |= {"bn3": "net.5.0", "downsample.0": "projection.shortcut", "downsample.1": "projection.bn.0"}
    if module in stem:
      return f"{stem[module]}.{leaf}"
    layer, block, rest = module.split(".", 2)
    return f"net.{layer[-1]}.blocks.{block}.{inner[rest]}.{leaf}"

  state = {rename(name): value for name, value in net.state_dict().items()}
  zipped(path, {"resnet": state, "head": {"layers.0.weight": torch.randn(8, 8)}})


TIMM = [plain(safetensors)]
DEEPAUGMENT = [data_parallel(legacy, arch="resnet50", best_acc1=76.7)]
PIXMIX = [data_parallel(legacy, arch="resnet50"), plain(zipped, "state_dict")]
MOCO = [data_parallel(zipped, arch="resnet50", best_acc1=68.9)]
LAYOUTS = {
  "tv_resnet50": TIMM,
  "tv2_resnet50": [plain(zipped)],
  "resnet50_augmix_180ep": [data_parallel(legacy, model="resnet50", best_acc1=77.5)],
  "resnet50_deepaugment": DEEPAUGMENT,
  "resnet50_deepaugment_augmix": DEEPAUGMENT,
  "resnet50_noisymix": [
    plain(zipped, prefix="module."),
    plain(zipped, prefix="model."),
    plain(zipped, "state_dict", "module."),
    plain(zipped),
  ],
  "resnet50_pixmix_90ep": PIXMIX,
  "resnet50_pixmix_180ep": PIXMIX,
  "resnet50_tsbias_tbias": [auxiliary],
  "resnet50_tsbias_sbias": [auxiliary],
  "resnet50_tsbias_debiased": [auxiliary],
  "resnet50_prime": [plain(zipped), plain(zipped, "state_dict"), plain(zipped, prefix="module.")],
  "resnet50_opticsaugment": [opticsaugment],
  "resnet50_diffusionnoise_fixed_nonoise": [diffusion],
  "resnet50_trained_on_SIN": [stylized],
  "resnet50_trained_on_SIN_and_IN": [stylized],
  "resnet50_trained_on_SIN_and_IN_then_finetuned_on_IN": [stylized],
  "resnet50_frozen_random": [
    plain(zipped),
    plain(zipped, "state_dict", "module."),
    plain(legacy, "model_state_dict"),
    plain(zipped, "online_backbone"),
  ],
  "resnet50_moco_v3_100ep": MOCO,
  "resnet50_moco_v3_300ep": MOCO,
  "resnet50_moco_v3_1000ep": MOCO,
  "resnet50_dino": [dino],
  "resnet50_swav": [swav],
  "resnet50_simclrv2": [simclrv2],
}
LAYOUTS |= {name: TIMM for name in zoo.STUDY if name.endswith("_in1k")}
LAYOUTS |= {name: [robustness] for name in zoo.STUDY if name.startswith("robust_")}


def test_every_row_of_the_study_has_a_layout():
  assert len(zoo.STUDY) == 48
  assert set(LAYOUTS) == set(zoo.STUDY)
  assert {row.family for row in zoo.ROWS} == set(families.FAMILIES)


def kind(name):
  """What a conversion depends on: rows of one kind differ in their names and in where their files are."""
  row = zoo.ZOO[name]
  return row.family, row.head is None, row.mean, row.std, *LAYOUTS[name]


# One of each kind: timm's rows are all alike, and so are robustness'.
@pytest.mark.parametrize("name", {kind(name): name for name in zoo.STUDY}.values())
def test_file_in_its_sources_layout_gives_pytorchs_logits(net, tmp_path, name):
  row = zoo.ZOO[name]
  expected = logits(net, certificate.probe(), *(NONE if name in UNNORMALISED else IMAGENET))
  head_path = None
  if row.head:
    head_path = tmp_path / "head.pth"
    head(head_path, net)
  for i, write in enumerate(LAYOUTS[name]):
    path = tmp_path / f"{i}.pth"
    write(path, net)
    converted = conversion.convert(path, head=head_path, row=row)
    assert relative_difference(converted.certificate["logits"], expected) < 1e-4
    used = {entry["from"].removeprefix("head.pth:") for entry in converted.certificate["tensors"].values()}
    assert len(used) == 267
    assert not used & set(converted.certificate["dropped"])


FAMILY_FILES = {
  "robustness": robustness,
  "auxiliary_batch_norm": auxiliary,
  "swav": swav,
  "simclrv2": simclrv2,
  None: data_parallel(zipped),
}


@pytest.mark.parametrize("family", FAMILY_FILES)
def test_layout_of_a_file_that_is_not_named_is_recognised(net, tmp_path, family):
  path = tmp_path / "stranger.pth"
  FAMILY_FILES[family](path, net)
  head_path = None
  if family == "swav":
    head_path = tmp_path / "head.pth"
    head(head_path, net)
  assert families.recognise(readers.read(path).tree) == family
  converted = conversion.convert(path, head=head_path)
  mean_and_std = NONE if family == "simclrv2" else IMAGENET
  assert (
    relative_difference(converted.certificate["logits"], logits(net, certificate.probe(), *mean_and_std))
    < 1e-4
  )
  if family:
    assert family.replace("_", " ") in converted.certificate["source"]["layout"]


def test_dropped_tensors_are_in_the_certificate(net, tmp_path):
  robustness(tmp_path / "net.ckpt", net)
  dropped = conversion.convert(tmp_path / "net.ckpt").certificate["dropped"]
  assert dropped["module.attacker.model.fc.weight"] == "the attacker's copy of the network"
  assert dropped["module.normalizer.new_mean"] == "the normalisation, which the row has"
  assert dropped["optimizer"] == "beside the state dict"


def test_something_unknown_beside_the_network_is_an_error(net, tmp_path):
  import torch

  state = prefixed("module.", net.state_dict()) | {"ema.conv1.weight": torch.ones(2)}
  zipped(tmp_path / "net.pth", {"state_dict": state})
  with pytest.raises(BiasjaxError, match=r"1 of the state dict's keys do not start with 'module.'"):
    conversion.convert(tmp_path / "net.pth")


def test_backbone_without_its_head_asks_for_it(net, tmp_path):
  dino(tmp_path / "net.pth", net)
  with pytest.raises(BiasjaxError, match=r"'fc.weight' is missing.*--head=FILE"):
    conversion.convert(tmp_path / "net.pth", row=zoo.ZOO["resnet50_dino"])


def test_head_file_that_holds_something_else_is_an_error(net, tmp_path):
  dino(tmp_path / "net.pth", net)
  zipped(tmp_path / "head.pth", {"state_dict": {"linear.weight": net.fc.weight.data}})
  with pytest.raises(BiasjaxError, match=r"head\.pth: no classifier is in it"):
    conversion.convert(tmp_path / "net.pth", head=tmp_path / "head.pth")
  weights = {"module.linear.weight": net.fc.weight.data, "module.linear.bias": net.fc.bias.data}
  zipped(tmp_path / "head.pth", {"state_dict": weights | {"module.bn.weight": net.bn1.weight.data}})
  with pytest.raises(BiasjaxError, match=r"not exactly a classifier: 'module.bn.weight' is in it"):
    conversion.convert(tmp_path / "net.pth", head=tmp_path / "head.pth")
  head(tmp_path / "head.pth", net)
  zipped(tmp_path / "whole.pth", net.state_dict())
  with pytest.raises(BiasjaxError, match="has a classifier of its own"):
    conversion.convert(tmp_path / "whole.pth", head=tmp_path / "head.pth")


def test_list_names_all_48_and_says_what_is_not_verified(tmp_path, monkeypatch):
  monkeypatch.setenv("BIASJAX_CACHE", str(tmp_path))
  lines = {line.split()[0]: line for line in listing.listing().splitlines()}
  for name in zoo.STUDY:
    row = zoo.ZOO[name]
    assert row.category in lines[name]
    assert row.source in lines[name]
    assert lines[name].endswith(" *") == bool(row.unverified or not row.sha256)
    assert row.unverified in listing.listing(name)
    assert ("the file's sha256" in listing.listing(name)) == (not row.sha256)
  assert [line.split()[0] for line in listing.listing("robust_*").splitlines()[:-2]] == [
    name for name in zoo.ZOO if name.startswith("robust_")
  ]


def test_near_misses_are_suggested():
  names = list(zoo.ZOO)
  assert zoo.matching("robust_*", names) == [name for name in names if name.startswith("robust_")]
  with pytest.raises(BiasjaxError, match=r"'resnet50.a1_in2k': did you mean resnet50.a1_in1k"):
    zoo.matching("resnet50.a1_in2k", names)
  with pytest.raises(BiasjaxError, match=r"see python run.py --list=models"):
    zoo.matching("qqqq", names)


@pytest.mark.reference
def test_rows_agree_with_the_reference(reference):
  models = json.loads((reference / "reference/zoo.json").read_text())["models"]
  study = {name: row for name, row in models.items() if row["category"]}
  assert set(study) == set(zoo.STUDY)
  for name, facts in study.items():
    row, source = zoo.ZOO[name], facts["source"]
    sources = {
      source.get("url"),
      f"drive:{source.get('gdrive')}",
      f"hf:{source.get('hf')}/{source.get('hf_file')}",
    }
    assert row.source in sources
    assert (row.head, row.sha256) == (source.get("head_url"), source.get("sha256"))
    assert (row.category, row.top1) == (facts["category"], facts["upstream_top1"])
    np.testing.assert_array_equal([row.mean, row.std], [facts["mean"], facts["std"]])
