"""Files that hold something else than a ResNet's plain state dict: what they are, and what to do about it."""

import collections
import json

import numpy as np
import pytest

from biasjax import convert
from biasjax.cli import converting as command
from biasjax.convert import certificate, conversion
from biasjax.errors import BiasjaxError
from torch_networks import logits, network, relative_difference

torch = pytest.importorskip("torch", reason="PyTorch writes the files")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def net(torchvision):
  return network(torchvision, stage_sizes=(1, 1, 1, 1), width=2, classes=3)


def refusal(path, **options):
  with pytest.raises(BiasjaxError) as raised:
    conversion.convert(path, **options)
  assert str(path) in str(raised.value)
  assert "\n" not in str(raised.value)
  return str(raised.value)


def agrees(found, net):
  return relative_difference(found.certificate["logits"], logits(net, certificate.probe(), *IMAGENET)) < 1e-4


# Programs instead of weights.


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_archive_is_called_so(net, tmp_path):
  for name, program in (
    ("scripted", torch.jit.script(net)),
    ("traced", torch.jit.trace(net, torch.zeros(1, 3, 64, 64))),
  ):
    program.save(tmp_path / f"{name}.pt")
    said = refusal(tmp_path / f"{name}.pt")
    assert "is a TorchScript archive" in said
    assert f"torch.save(torch.jit.load('{name}.pt').state_dict(), 'weights.pth')" in said
  # The advice works.
  torch.save(torch.jit.load(tmp_path / "scripted.pt").state_dict(), tmp_path / "weights.pth")
  assert agrees(conversion.convert(tmp_path / "weights.pth"), net)


def test_exported_program_is_called_so(tmp_path):
  program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
  torch.export.save(program, tmp_path / "net.pt2")
  said = refusal(tmp_path / "net.pt2")
  assert "is an exported program" in said
  assert "torch.save(torch.export.load('net.pt2').state_dict, 'weights.pth')" in said


MODULES = {
  "alone": (lambda net: net, ""),
  "in a checkpoint": (lambda net: {"epoch": 3, "model": net}, "['model']"),
  "parallel": (torch.nn.DataParallel, ""),
  "within": (lambda net: {"ckpt": {"ema": net}}, "['ckpt']['ema']"),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_whole_pickled_module_is_called_so(torchvision, tmp_path, kind, zipped):
  import warnings

  whole = torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=2)
  wrap, where = MODULES[kind]
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that sources cannot be read
    torch.save(wrap(whole), tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
  said = refusal(tmp_path / "net.pt")
  assert "holds a whole pickled module (torch" in said
  assert f"torch.save(torch.load('net.pt', weights_only=False){where}.state_dict(), 'weights.pth')" in said


@pytest.mark.parametrize(
  ("name", "content", "said"),
  [
    ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(600), "is an HDF5 file"),
    ("x.pth.gz", b"\x1f\x8b\x08" + bytes(600), "is compressed (gzip): unpack it first"),
    ("x.pth.zst", b"(\xb5/\xfd" + bytes(600), "is compressed (zstd): unpack it first"),
    ("x.onnx", b"\x08\x07\x12\x07pytorch" + bytes(600), "is an ONNX file"),
    ("x.npy", b"\x93NUMPY" + bytes(600), "is a NumPy array"),
    ("x.pth", b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
    ("x.pth", b"<!DOCTYPE html>", "is a web page"),
    ("x.pth", b"nothing of the kind", "is no checkpoint known here"),
  ],
)
def test_file_of_another_kind_is_called_so(tmp_path, name, content, said):
  (tmp_path / name).write_bytes(content)
  assert said in refusal(tmp_path / name)


@pytest.mark.parametrize("layout", ["ustar", "pax", "v7"])
def test_tar_archive_is_called_so(tmp_path, layout):
  import io
  import tarfile

  with tarfile.open(
    tmp_path / "x.pth.tar", "w", format=tarfile.PAX_FORMAT if layout == "pax" else tarfile.USTAR_FORMAT
  ) as archive:
    archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
  if layout == "v7":  # before 1988: without a magic number, but with a sum
    content = bytearray((tmp_path / "x.pth.tar").read_bytes())
    content[257:265] = bytes(8)
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    (tmp_path / "x.pth.tar").write_bytes(content)
  assert "is a tar archive: unpack it" in refusal(tmp_path / "x.pth.tar")


def test_numpy_archive_and_bare_pickle_are_called_so(tmp_path):
  import pickle

  np.savez(tmp_path / "x.npz", a=np.ones(2))
  assert "is a NumPy archive" in refusal(tmp_path / "x.npz")
  (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": [1]}, 2))
  assert "torch.save a state_dict()" in refusal(tmp_path / "x.pkl")


# Networks that are no ResNet, or not quite.


NETWORKS = {
  "vit_tiny_patch16_224": "a Vision Transformer",
  "swin_tiny_patch4_window7_224": "a Swin Transformer",
  "convnext_atto": "a ConvNeXt",
  "efficientnet_lite0": "an EfficientNet or MobileNet",
  "densenet121": "a DenseNet",
  "resnet26t": "a ResNet with a deep stem",
  "resnetv2_50": "a ResNet v2",
  "vgg11": "a VGG",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_that_is_no_resnet_is_named(torchvision, tmp_path, name):
  timm = pytest.importorskip("timm")
  with torch.device("meta"):
    names = list(timm.create_model(name).state_dict())
  torch.save({key: torch.zeros(1) for key in names}, tmp_path / "x.pth")
  said = refusal(tmp_path / "x.pth")
  assert f"holds {NETWORKS[name]}" in said
  assert "only ResNets with BatchNorm and torchvision's names are converted" in said
  assert "--timm=NAME, --torchvision=NAME" in said


def test_torchvisions_networks_are_named_too(torchvision, tmp_path):
  for name, what in {
    "vit_b_16": "a Vision Transformer",
    "convnext_tiny": "a ConvNeXt",
    "mobilenet_v2": "a MobileNet",
  }.items():
    with torch.device("meta"):
      names = list(getattr(torchvision.models, name)().state_dict())
    torch.save({key: torch.zeros(1) for key in names}, tmp_path / f"{name}.pth")
    assert f"holds {what}" in refusal(tmp_path / f"{name}.pth")


@pytest.mark.parametrize("name", ["regnety_002", "mixer_s32_224", "resnet26d", "seresnet18", "resnext26ts"])
def test_of_a_network_that_is_not_recognised_it_is_said_how_it_is_traced(torchvision, tmp_path, name):
  timm = pytest.importorskip("timm")
  with torch.device("meta"):
    state = timm.create_model(name).state_dict()
  torch.save({key: torch.zeros(value.shape) for key, value in state.items()}, tmp_path / "x.pth")
  assert "--timm=NAME, --torchvision=NAME" in refusal(tmp_path / "x.pth")


def test_file_without_a_state_dict_is_called_so(tmp_path):
  torch.save([torch.ones(2)], tmp_path / "x.pth")
  assert "it is no state_dict()" in refusal(tmp_path / "x.pth")
  torch.save({"optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}}}, tmp_path / "y.pth")
  assert "--inspect=" in refusal(tmp_path / "y.pth")


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda s: s.update({"conv1.weight": torch.ones(2, 1, 7, 7)}), "takes images of one channel (grey)"),
    (lambda s: s.update({"conv1.weight": torch.ones(2, 4, 7, 7)}), "does not take images of three channels"),
    (
      lambda s: s.update({"conv1.weight": torch.ones(2, 3, 3, 3)}),
      "its stem is for small images (CIFAR: 3x3",
    ),
    (lambda s: s.update({"layer1.0.conv2.weight": torch.ones(2, 1, 3, 3)}), "groups (ResNeXt)"),
    (lambda s: s.update({"layer1.0.se.fc1.weight": torch.ones(2, 2)}), "it has attention (SE or the like)"),
    (lambda s: s.update({"layer2.0.conv3.filt": torch.ones(3, 3)}), "it blurs before it strides"),
    (lambda s: s.update({"layer1.0.conv1.bias": torch.ones(2)}), "its convolutions have biases"),
    (
      lambda s: [s.pop(k) for k in list(s) if "running" in k],
      "without running statistics it has no BatchNorm",
    ),
  ],
  ids=["grey", "four channels", "cifar", "groups", "attention", "blur", "biases", "no statistics"],
)
def test_network_that_is_nearly_a_resnet_is_explained(net, tmp_path, change, said):
  state = collections.OrderedDict(net.state_dict())
  change(state)
  torch.save(state, tmp_path / "x.pth")
  assert said in refusal(tmp_path / "x.pth")
  assert ("--timm=NAME" in refusal(tmp_path / "x.pth")) == ("RGB" not in refusal(tmp_path / "x.pth"))


# Classifiers under other names.


def renamed(net, name, **beside):
  state = {
    key.replace("fc.", f"{name}.") if key.startswith("fc.") else key: v for key, v in net.state_dict().items()
  }
  return state | beside


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("last_linear", "its classifier is called 'last_linear', as in pretrainedmodels: --head=last_linear"),
    ("fc.1", "its classifier is called 'fc.1': --head=fc.1, if what else is in its Sequential does nothing"),
    ("classifier", "its classifier is called 'classifier': --head=classifier"),
    ("head.fc", "its classifier is called 'head.fc', as in timm or mmpretrain: --head=head.fc"),
    ("linear", "its classifier is called 'linear': --head=linear"),
  ],
)
def test_classifier_of_another_name_is_named_and_can_be_chosen(net, tmp_path, capsys, name, said):
  path = tmp_path / "net.pth"
  torch.save(renamed(net, name), path)
  flags = ["convert", f"--checkpoint={path}", f"--output={tmp_path}/out"]
  assert command.main(flags) == 1
  assert said in capsys.readouterr().err
  assert command.main([*flags, f"--head={name}"]) == 0
  found = conversion.convert(path, head=name)
  assert agrees(found, net)
  assert found.certificate["tensors"]["fc.weight"]["from"] == f"{name}.weight"
  assert f"classifier '{name}'" in found.certificate["source"]["layout"]


def test_classifier_beside_a_prefixed_backbone_is_found(net, tmp_path):
  state = {f"backbone.{k}": v for k, v in net.state_dict().items() if not k.startswith("fc.")}
  state |= {"head.fc.weight": net.fc.weight.data, "head.fc.bias": net.fc.bias.data}
  torch.save({"state_dict": state}, tmp_path / "mm.pth")
  assert "--head=head.fc" in refusal(tmp_path / "mm.pth")
  assert agrees(conversion.convert(tmp_path / "mm.pth", head="head.fc"), net)


def test_classifier_of_several_layers_is_refused(net, tmp_path):
  state = {k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}
  mlp = {"fc.0.weight": torch.ones(16, 64), "fc.0.bias": torch.ones(16), "fc.2.weight": torch.ones(3, 16)}
  torch.save(state | mlp | {"fc.2.bias": torch.ones(3)}, tmp_path / "x.pth")
  assert "its classifier 'fc' has several layers (fc.0, fc.2)" in refusal(tmp_path / "x.pth")
  assert "is one of several layers ('fc.0.bias' is another)" in refusal(tmp_path / "x.pth", head="fc.2")


def test_second_classifier_is_left_out_when_one_is_chosen(net, tmp_path):
  torch.save(net.state_dict() | {"fc.1.weight": net.fc.weight.data}, tmp_path / "x.pth")
  assert "1 unexpected tensor, e.g. 'fc.1.weight'" in refusal(tmp_path / "x.pth")
  assert "--head=fc" in refusal(tmp_path / "x.pth")
  found = conversion.convert(tmp_path / "x.pth", head="fc")
  assert agrees(found, net)
  assert found.certificate["dropped"]["fc.1.weight"] == "another classifier"


def test_head_that_is_nowhere_names_what_there_is(net, tmp_path):
  torch.save(renamed(net, "last_linear"), tmp_path / "x.pth")
  assert "is no file, nor a module" in refusal(tmp_path / "x.pth", head="last_liner")
  assert "last_linear" in refusal(tmp_path / "x.pth", head="last_liner").split("matrix are")[1]


def test_head_file_may_call_its_classifier_anything(net, tmp_path):
  torch.save({k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}, tmp_path / "x.pth")
  for prefix in ("", "fc.", "module.linear.", "head.last_layer."):
    weights = {f"{prefix}weight": net.fc.weight.data, f"{prefix}bias": net.fc.bias.data}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "head.pth")
    assert agrees(conversion.convert(tmp_path / "x.pth", head=tmp_path / "head.pth"), net)


def test_ten_classes_are_a_network_like_any_other(torchvision, tmp_path):
  ten = network(torchvision, stage_sizes=(1, 1, 1, 1), width=2, classes=10)
  torch.save(ten.state_dict(), tmp_path / "x.pth")
  found = conversion.convert(tmp_path / "x.pth")
  assert agrees(found, ten)
  assert found.certificate["description"].endswith("10 classes")


# Sharded checkpoints and Hugging Face's folders.


def hugging_face(folder, net, shards=1):
  """A folder as transformers leaves it, with its own names."""
  from safetensors.torch import save_file

  def name(torchvision_name):
    module, leaf = torchvision_name.rsplit(".", 1)
    if module == "fc":
      return f"classifier.1.{leaf}"
    kind = (
      "convolution" if leaf == "weight" and net.state_dict()[torchvision_name].ndim == 4 else "normalization"
    )
    if module in ("conv1", "bn1"):
      return f"resnet.embedder.embedder.{kind}.{leaf}"
    layer, block, rest = module.split(".", 2)
    part = "shortcut" if rest.startswith("downsample") else f"layer.{int(rest[-1]) - 1}"
    return f"resnet.encoder.stages.{int(layer[-1]) - 1}.layers.{block}.{part}.{kind}.{leaf}"

  folder.mkdir()
  state = {name(key): value.clone() for key, value in net.state_dict().items()}
  assert len(state) == len(net.state_dict())
  config = {"architectures": ["ResNetForImageClassification"], "model_type": "resnet", "hidden_act": "relu"}
  config |= {
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
    "layer_type": "bottleneck",
  }
  (folder / "config.json").write_text(json.dumps(config))
  files = (
    [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    if shards > 1
    else ["model.safetensors"]
  )
  keys = sorted(state)
  for i, file in enumerate(files):
    save_file({key: state[key] for key in keys[i::shards]}, folder / file, metadata={"format": "pt"})
  if shards > 1:
    index = {
      "metadata": {"total_size": 1},
      "weight_map": {key: files[i % shards] for i, key in enumerate(keys)},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_folder_of_transformers_gives_pytorchs_logits(net, tmp_path, shards):
  folder = hugging_face(tmp_path / "resnet-tiny", net, shards)
  found = conversion.convert(folder)
  assert agrees(found, net)
  assert found.certificate["source"]["layout"].startswith("transformers")
  assert found.certificate["function"]["stated"]["config.json: hidden_act"] == "relu"
  if shards > 1:
    assert len(found.certificate["source"]["shards"]) == shards
    assert agrees(conversion.convert(folder / "model.safetensors.index.json"), net)
  (resolved,) = convert.resolve([str(folder)])
  assert resolved.name == "resnet-tiny"
  (folder / "preprocessor_config.json").write_text(
    json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
  )
  assert conversion.convert(folder).certificate["normalization"]["mean"] == (0.5, 0.5, 0.5)


def test_sharded_checkpoint_with_torchvisions_names_of_pytorchs_own_files(net, tmp_path):
  state = net.state_dict()
  files = {"pytorch_model-1.bin": list(state)[::2], "pytorch_model-2.bin": list(state)[1::2]}
  for file, keys in files.items():
    torch.save({key: state[key] for key in keys}, tmp_path / file)
  index = {"weight_map": {key: file for file, keys in files.items() for key in keys}}
  (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
  assert agrees(conversion.convert(tmp_path / "pytorch_model.bin.index.json"), net)
  assert agrees(conversion.convert(tmp_path), net)


def test_a_shard_that_changes_is_converted_anew(net, tmp_path):
  folder = hugging_face(tmp_path / "net", net, 3)
  (before,) = convert.resolve([str(folder)])
  for path in folder.glob("*.safetensors"):
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    save_file({k: v * 2 if k.endswith("classifier.1.bias") else v for k, v in state.items()}, path)
  (after,) = convert.resolve([str(folder)])
  assert before != after


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (
      lambda index, folder: index["weight_map"].update(a="../secret.safetensors"),
      "names a shard that is no file",
    ),
    (lambda index, folder: index["weight_map"].update(a="/etc/passwd"), "names a shard that is no file"),
    (lambda index, folder: index["weight_map"].update(a="x.index.json"), "names a shard that is no file"),
    (
      lambda index, folder: index["weight_map"].update(a="absent.safetensors"),
      "1 of its 4 shards are not beside it",
    ),
    (lambda index, folder: index.pop("weight_map"), "is no index of a sharded checkpoint"),
    (lambda index, folder: index.update(weight_map=[1]), "is no index of a sharded checkpoint"),
    (lambda index, folder: index["weight_map"].update(a=7), "is no index of a sharded checkpoint"),
    (
      lambda index, folder: index["weight_map"].update({"a": "model-00001-of-00003.safetensors"}),
      "'a' should be in 'model-00001-of-00003.safetensors' and is not",
    ),
  ],
  ids=["above", "elsewhere", "an index", "absent", "no map", "a list", "a number", "not in it"],
)
def test_index_that_is_wrong_is_one_line(net, tmp_path, change, said):
  folder = hugging_face(tmp_path / "net", net, 3)
  path = folder / "model.safetensors.index.json"
  index = json.loads(path.read_text())
  change(index, folder)
  path.write_text(json.dumps(index))
  assert said in refusal(path)


def test_folder_without_a_checkpoint_is_called_so(tmp_path):
  assert "is a folder without model.safetensors" in refusal(tmp_path)
