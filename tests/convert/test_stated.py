"""Networks with a plain ResNet's tensors and another function: what is said of them is read and compared."""

import argparse
import functools
import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import biasjax
from biasjax import convert
from biasjax.cli import converting as command
from biasjax.convert import conversion, pickles, stated, torchvision
from biasjax.errors import BiasjaxError
from biasjax.models import variants
from biasjax.models.architecture import RESNET18, RESNET50, Architecture
from torch_networks import network

TINY = Architecture("bottleneck", (1, 1), width=2, inner_width=2, num_classes=3)
pytestmark = pytest.mark.usefixtures("own_cache")


def tiny_state():
  rng = np.random.default_rng(0)
  return {n: rng.uniform(0.5, 1.5, e.shape).astype(np.float32) for n, e in torchvision.entries(TINY).items()}


def torch_state():
  import torch

  return {name: torch.from_numpy(value) for name, value in tiny_state().items()}


def refusal(path):
  with pytest.raises(BiasjaxError) as raised:
    conversion.convert(path)
  assert "\n" not in str(raised.value)
  return str(raised.value)


# What is assumed is said.


def test_assumptions_are_said_in_the_line_and_in_the_certificate(tmp_path, capsys):
  save_file(tiny_state(), tmp_path / "net.safetensors")
  flags = ["convert", f"--checkpoint={tmp_path}/net.safetensors", f"--output={tmp_path}/net"]
  assert command.main(flags) == 0
  line = capsys.readouterr().out.splitlines()[0]
  assert "taken for a plain ResNet: stride in 3x3 (v1.5), max-pooling, ReLU, BatchNorm epsilon 1e-05" in line
  function = biasjax.load(tmp_path / "net").certificate["function"]
  assert function["assumed"]["activation"] == "ReLU"
  assert function["assumed"]["BatchNorm epsilon"] == 1e-5
  assert "v1.5" in function["assumed"]["stride"]
  assert "max-pooling" in function["assumed"]["stem"]
  assert function["stated"] == {}


def test_parity_says_what_it_compares_with(torchvision, tmp_path, capsys):
  import torch

  net = network(torchvision, stage_sizes=(1, 1, 1, 1), width=2, classes=3)
  torch.save(net.state_dict(), tmp_path / "net.pth")
  flags = ["convert", f"--checkpoint={tmp_path}/net.pth", f"--output={tmp_path}/net", "--parity"]
  assert command.main(flags) == 0
  assert (
    "plain ResNet with these tensors: that the checkpoint is of one, this does not show"
    in capsys.readouterr().out
  )
  assert "plain ResNet of torch's functions" in biasjax.load(tmp_path / "net").certificate["parity"]["with"]


# Names.


def test_timms_names_of_the_same_tensors_are_told_apart():
  """Every ResNet of timm up to depth 50 whose names and shapes are a plain one's."""
  torch, timm = pytest.importorskip("torch"), pytest.importorskip("timm")
  import cpu_torchvision

  cpu_torchvision.load()
  plain, other = [], []
  for name in timm.list_models(
    ["resnet1*", "resnet2*", "resnet34*", "resnet50*", "resnet[ab]*", "wide_resnet50*"]
  ):
    if int(re.search(r"\d+", name)[0]) > 50:
      continue
    with torch.device("meta"):
      net = timm.create_model(name)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    try:
      torchvision.identify(shapes, name)
    except BiasjaxError:
      continue
    kinds = {type(module).__name__ for module in net.modules()}
    is_plain = "MaxPool2d" in kinds and not kinds & {"BlurPool2d", "AvgPool2d"}
    (plain if is_plain else other).append(name)
  assert {"resnet18", "resnet26", "resnet34", "resnet50", "wide_resnet50_2"} <= set(plain)
  assert {"resnetaa50", "resnetblur18", "resnetblur50"} <= set(other)
  for exactly in (False, True):
    assert [name for name in plain if variants.other_function(name, exactly=exactly)] == []
    assert [name for name in other if not variants.other_function(name, exactly=exactly)] == []


@pytest.mark.parametrize(
  "name",
  [
    *("timm/resnetaa50.a1h_in1k", "resnetblur50.bt_in1k", "resnet50_gelu", "resnet50-silu", "resnet50_v1"),
    *(
      "resnet_v1_50",
      "resnet50_caffe",
      "resnet101_os8",
      "dilated_resnet50",
      "resnet50_blurpool",
      "seresnet50",
    ),
    *("resnet50d", "resnext50_32x4d", "resnet50_antialiased", "resnet50_ws", "mymodels.resnet50_leaky_relu"),
  ],
)
def test_name_of_another_network_is_known(name):
  assert variants.other_function(name)


@pytest.mark.parametrize(
  "name",
  [
    *("resnet50", "ResNet50", "microsoft/resnet-50", "torchvision.models.resnet50", "gluon_resnet50_v1b"),
    *("resnet50.a1_in1k", "resnet50_v1.5", "wide_resnet50_2", "ResNetForImageClassification", "tv_resnet34"),
    *("my_net", "clip_rn50", "resnet18_cifar", "resnet50_trained_on_SIN_and_IN", "ssl_resnet50"),
  ],
)
def test_name_of_a_plain_resnet_is_not_refused(name):
  assert variants.other_function(name) is None


def test_names_of_the_zoo_are_plain():
  from biasjax.models import zoo

  assert not [name for name in zoo.ZOO if variants.other_function(name)]


@pytest.mark.parametrize("name", ["resnetaa50.a1h_in1k", "resnetblur50.bt_in1k", "timm/resnetblur18"])
def test_hub_name_of_such_a_network_is_refused_by_name(capsys, name):
  with pytest.raises(BiasjaxError, match=r"before it strides.*only plain ResNets are covered"):
    convert.resolve([name.removeprefix("timm/")])
  assert command.main(["convert", f"--model={name}"]) == 1
  assert "before it strides" in capsys.readouterr().err


@pytest.mark.parametrize(
  "path",
  [
    *("resnetblur18.safetensors", "resnetaa50_best.safetensors", "resnet50_silu_ep90.safetensors"),
    *("resnetaa50.a1h_in1k/model.safetensors", "resnet50_caffe-788b5fa3.safetensors"),
    "models--timm--resnetblur50.bt_in1k/snapshots/0123/model.safetensors",
  ],
)
def test_file_named_after_such_a_network_is_refused(tmp_path, path):
  (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
  save_file(tiny_state(), tmp_path / path)
  assert "only plain ResNets are covered: if it is one, python -m convert --plain" in refusal(tmp_path / path)
  assert conversion.convert(tmp_path / path, plain=True).certificate["function"]["overruled"]


@pytest.mark.parametrize("path", ["resnet18_blur_trained.safetensors", "resnet50_aa_augmix.safetensors"])
def test_file_named_after_what_it_was_trained_on_is_not(tmp_path, path):
  save_file(tiny_state(), tmp_path / path)
  assert conversion.convert(tmp_path / path).architecture == TINY


# What lies in the file.


class BlurPool2d:
  """Pickled by its name, as timm's class would be."""


INSIDE = {
  "arch": ({"arch": "resnetblur18"}, "arch is 'resnetblur18', which blurs before it strides"),
  "timm's args": (
    {"args": argparse.Namespace(model="resnetaa50", aa="rand-m9")},
    "args.model is 'resnetaa50'",
  ),
  "args of a layer": (
    {"args": argparse.Namespace(arch="resnet50", act_layer="silu")},
    "args.act_layer is 'silu'",
  ),
  "a class": ({"args": {"aa_layer": BlurPool2d}}, "which is anti-aliasing"),
  "a partial": ({"cfg": {"act_layer": functools.partial(BlurPool2d, 1)}}, "which is another activation"),
  "lightning": ({"hyper_parameters": {"net": {"name": "resnet50_gelu"}}}, "another activation (gelu)"),
  "hydra": ({"config": {"model": {"_target_": "my.resnet50d"}}}, "another stem or another downsampling"),
  "output stride": ({"model_args": {"output_stride": 8}}, "which is another output stride"),
  "dilation": (
    {"args": {"replace_stride_with_dilation": [False, True, True]}},
    "which is dilation instead of strides",
  ),
  "epsilon": ({"args": {"bn_eps": 1e-3}}, "args.bn_eps is 0.001, which is another BatchNorm epsilon"),
  "epsilon of a norm": ({"cfg": {"norm_cfg": {"type": "BN", "eps": 0.001}}}, "cfg.norm_cfg.eps is 0.001"),
  "pooling": ({"args": argparse.Namespace(gp="avgmax")}, "args.gp is 'avgmax', which is another pooling"),
  "caffe": ({"cfg": {"backbone": {"type": "ResNet", "style": "caffe"}}}, "strides in its 1x1 convolutions"),
  "detectron": ({"cfg": {"RESNETS": {"STRIDE_IN_1X1": True}}}, "STRIDE_IN_1X1 is True"),
}


@pytest.mark.parametrize("kind", INSIDE)
def test_what_a_checkpoint_says_of_itself_is_compared(tmp_path, kind):
  torch = pytest.importorskip("torch")
  beside, said = INSIDE[kind]
  torch.save(
    {"state_dict": torch_state(), "optimizer": {"param_groups": [{"eps": 1e-8}]}, **beside},
    tmp_path / "x.pth",
  )
  assert said in refusal(tmp_path / "x.pth")
  overruled = conversion.convert(tmp_path / "x.pth", plain=True).certificate["function"]
  assert overruled["overruled"]
  assert overruled["stated"]


HARMLESS = {
  "resnet50": {"arch": "resnet50", "best_acc1": 76.0},
  "timm's args": {
    "args": argparse.Namespace(
      **{"model": "resnet50", "aa": "rand-m9-mstd0.5-inc1", "gp": None, "bn_eps": None, "opt_eps": 1e-3},
      **{"act_layer": None, "model_kwargs": {}, "mean": None, "std": None, "drop": 0.1},
    )
  },
  "plain settings": {
    "config": {"aa_layer": None, "act_layer": "nn.ReLU", "output_stride": 32, "norm_eps": "1e-5"}
  },
  "the same by class": {"args": {"norm_layer": argparse.Namespace, "global_pool": "avg", "style": "pytorch"}},
  "about a teacher": {"args": {"teacher": "resnetaa50", "teacher_args": {"model": "resnetblur50"}}},
  "not about networks": {"args": {"style": "stylised", "antialias": True, "dataset": {"name": "blur"}}},
}
HARMLESS["the same by class"]["args"]["norm_layer"] = "torch.nn.modules.batchnorm.BatchNorm2d"


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_a_plain_network_says_of_itself_is_recorded(tmp_path, kind):
  torch = pytest.importorskip("torch")
  torch.save({"state_dict": torch_state(), **HARMLESS[kind]}, tmp_path / "x.pth")
  assert conversion.convert(tmp_path / "x.pth").architecture == TINY


def test_text_in_a_safetensors_file_is_compared(tmp_path):
  save_file(tiny_state(), tmp_path / "x.safetensors", metadata={"format": "pt", "arch": "resnetblur50"})
  assert "metadata.arch is 'resnetblur50'" in refusal(tmp_path / "x.safetensors")


# What lies beside it.


def test_configuration_that_timm_writes_is_compared(tmp_path):
  pytest.importorskip("torch")
  timm = pytest.importorskip("timm")
  import cpu_torchvision

  cpu_torchvision.load()
  timm.models.save_for_hf(
    timm.create_model("resnetblur18", num_classes=3), tmp_path / "a", safe_serialization=True
  )
  assert "config.json: architecture is 'resnetblur18', which blurs before it strides" in refusal(
    tmp_path / "a"
  )
  arguments = {"act_layer": "silu", "output_stride": 16}
  net = timm.create_model("resnet18", num_classes=3, **arguments)
  timm.models.save_for_hf(net, tmp_path / "b", model_args=arguments, safe_serialization=True)
  assert "config.json: model_args.act_layer is 'silu'" in refusal(tmp_path / "b/model.safetensors")


FILES = {
  "args.yaml": ("model: resnetblur50\naa: rand-m9\nmean: null\n", "args.yaml: model is 'resnetblur50'"),
  "hparams.yaml": (
    "args: !!python/object:argparse.Namespace\n  arch: resnet50\n  act_layer: gelu\n",
    "hparams.yaml: args.act_layer is 'gelu'",
  ),
  "args.json": ('{"arch": "resnet50", "output_stride": 16}', "args.json: output_stride is 16"),
  "config.yaml": ("model:\n  name: resnetaa50\n", "config.yaml: model.name is 'resnetaa50'"),
  "config.json": (
    '{"model_type": "resnet", "downsample_in_bottleneck": true}',
    "config.json: downsample_in_bottleneck is True, which is stride in the 1x1 convolutions (v1)",
  ),
}


@pytest.mark.parametrize("name", FILES)
def test_file_beside_a_checkpoint_is_compared(tmp_path, name):
  content, said = FILES[name]
  save_file(tiny_state(), tmp_path / "x.safetensors")
  (tmp_path / name).write_text(content)
  assert said in refusal(tmp_path / "x.safetensors")
  with pytest.raises(BiasjaxError, match=re.escape(said)):
    convert.resolve([str(tmp_path / "x.safetensors")])
  (tmp_path / name).unlink()
  assert len(convert.resolve([str(tmp_path / "x.safetensors")])) == 1


def test_lightnings_hparams_above_its_checkpoints_are_compared(tmp_path):
  (tmp_path / "checkpoints").mkdir()
  save_file(tiny_state(), tmp_path / "checkpoints/x.safetensors")
  (tmp_path / "hparams.yaml").write_text("backbone: resnet50_gelu\n")
  assert "hparams.yaml: backbone is 'resnet50_gelu'" in refusal(tmp_path / "checkpoints/x.safetensors")


def test_a_conversion_in_the_cache_does_not_outlive_what_is_said_since(tmp_path):
  save_file(tiny_state(), tmp_path / "x.safetensors")
  assert len(convert.resolve([str(tmp_path / "x.safetensors")])) == 1
  (tmp_path / "config.json").write_text('{"architecture": "resnetaa50"}')
  with pytest.raises(BiasjaxError, match=r"config.json: architecture is 'resnetaa50'"):
    convert.resolve([str(tmp_path / "x.safetensors")])


@pytest.mark.parametrize("content", ["{", "[1, 2", "\x00"])
def test_damaged_configuration_is_one_line(tmp_path, content):
  save_file(tiny_state(), tmp_path / "x.safetensors")
  (tmp_path / "config.json").write_text(content)
  assert "config.json: lies beside the checkpoint and cannot be read" in refusal(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
  "content", ["a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "!!python/object/apply:os.system [touch owned]"]
)
def test_configuration_is_never_executed(tmp_path, monkeypatch, content):
  monkeypatch.chdir(tmp_path)
  save_file(tiny_state(), tmp_path / "x.safetensors")
  (tmp_path / "args.yaml").write_text(content)
  assert conversion.convert(tmp_path / "x.safetensors").architecture == TINY
  assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
  ("said", "architecture", "refused"),
  [
    ("resnet101", RESNET50, True),
    ("resnet50", RESNET18, True),
    ("resnet50", RESNET50, False),
    ("resnet50", TINY, False),
  ],
)
def test_depth_that_is_said_is_compared_where_the_network_is_a_published_one(said, architecture, refused):
  statement = stated.Statement("arch", "architecture", said)
  if not refused:
    return stated.compare([statement], architecture, "x")
  with pytest.raises(BiasjaxError, match=f"arch is '{said}', which is a ResNet-{said[6:]}"):
    stated.compare([statement], architecture, "x")


# The normalisation that is said.


@pytest.mark.parametrize(
  ("name", "content", "mean"),
  [
    ("config.json", {"pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.5, 0.5]}}, [0.5, 0.4, 0.3]),
    ("preprocessor_config.json", {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5] * 3}, [0.5, 0.4, 0.3]),
    (
      "preprocessor_config.json",
      {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
      [0, 0, 0],
    ),
    ("args.json", {"mean": [127.5, 102, 76.5], "std": [127.5, 127.5, 127.5]}, [0.5, 0.4, 0.3]),
  ],
)
def test_normalisation_that_is_said_beside_the_file_is_used(tmp_path, name, content, mean):
  save_file(tiny_state(), tmp_path / "x.safetensors")
  (tmp_path / name).write_text(json.dumps(content))
  found = conversion.convert(tmp_path / "x.safetensors").certificate["normalization"]
  np.testing.assert_allclose(found["mean"], mean, rtol=1e-6)
  assert name in found["origin"]


def test_two_normalisations_that_are_said_are_asked_about(tmp_path):
  save_file(tiny_state(), tmp_path / "x.safetensors")
  for name, mean in (("config.json", [0.5] * 3), ("args.json", [0.4] * 3)):
    (tmp_path / name).write_text(json.dumps({"mean": mean, "std": [0.5] * 3}))
  assert "say different things of mean and std: give --mean and --std" in refusal(tmp_path / "x.safetensors")


def test_normalisation_beside_the_state_dict_is_used(tmp_path):
  torch = pytest.importorskip("torch")
  beside = {"mean": torch.tensor([0.5, 0.4, 0.3]), "std": torch.tensor([0.5, 0.5, 0.5])}
  torch.save({"state_dict": torch_state(), **beside}, tmp_path / "x.pth")
  assert list(conversion.convert(tmp_path / "x.pth").certificate["normalization"]["mean"]) == [0.5, 0.4, 0.3]


@pytest.mark.parametrize(
  ("mean", "std", "said"),
  [
    ("123.675,116.28,103.53", "58.395,57.12,57.375", "is for pixels of 0 to 255"),
    ("103.53,116.28,123.675", "1,1,1", "is for pixels of 0 to 255"),
    ("0,0,0", "255,255,255", "is for pixels of 0 to 255"),
    ("0.485,0.456,1.2", "0.2,0.2,0.2", "is for pixels of 0 to 255"),
    ("0.406,0.456,0.485", "0.225,0.224,0.229", "in the order B,G,R"),
  ],
)
def test_normalisation_that_cannot_be_is_refused(tmp_path, capsys, mean, std, said):
  save_file(tiny_state(), tmp_path / "x.safetensors")
  flags = ["convert", f"--checkpoint={tmp_path}/x.safetensors", f"--mean={mean}", f"--std={std}"]
  assert command.main([*flags, f"--output={tmp_path}/net"]) == 1
  assert said in capsys.readouterr().err


def test_a_walk_through_what_is_said_ends():
  loop: dict = {"arch": "resnet50"}
  loop["config"] = {"again": loop, "deep": functools.reduce(lambda inner, _: {"x": inner}, range(1000), {})}
  placeholder = pickles.Placeholder("a.B", state={"self": None})
  placeholder.state["self"] = placeholder
  found = list(
    stated.statements({"loop": loop, "many": {str(i): i for i in range(100_000)}, "p": placeholder}, "")
  )
  assert [s.value for s in found] == ["resnet50"]


def test_placeholders_that_hold_themselves_or_much_in_many_ways_are_no_values():
  inside = pickles.Placeholder("a.B")
  inside.state = {"_val": [inside]}
  many: list = ["resnet50"]
  for _ in range(20):
    many = [pickles.Placeholder("a.B", state={"_val": many})] * 8
  unhashable = pickles.Placeholder("a.B", items=[([], 1)])
  tree = {"arch": inside, "model": [inside], "net": many, "network": unhashable, "backbone": "resnet18"}
  assert [s.value for s in stated.statements(tree, "")] == ["resnet18"]
