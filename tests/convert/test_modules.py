"""python -m convert of PyTorch networks: timm's with weights in a file, and a module of one's own."""

import json
import os
import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import torch_networks
from biasjax.cli import converting
from biasjax.convert import building, modules, readers
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.traced import interpreter
from biasjax.traced.operations import OPERATIONS
from biasjax.traced.table import Array

NAME = "test_vit"  # timm's smallest


class Small(nn.Module):
  def __init__(self):
    super().__init__()
    self.conv, self.fc = nn.Conv2d(3, 6, 3, stride=4), nn.Linear(6, 5)

  def forward(self, images):
    return self.fc(nn.functional.hardswish(self.conv(images)).mean((2, 3)))


def small() -> nn.Module:
  torch.manual_seed(0)
  return Small()


def run(*flags: str) -> int:
  return converting.main(["convert", *flags])


def images(size: int) -> np.ndarray:
  return np.random.default_rng(0).random((2, size, size, 3), np.float32)


def of_torch(module: nn.Module, x: np.ndarray, mean, std) -> np.ndarray:
  normalised = (x.astype(np.float64) - np.array(mean)) / np.array(std)
  with torch.no_grad():
    return module.double().eval()(torch.tensor(normalised).permute(0, 3, 1, 2)).numpy()


def test_a_network_of_timm_with_weights_of_a_file(torchvision, tmp_path, capsys):
  timm = pytest.importorskip("timm", reason="needs timm")
  module = torch_networks.randomise(timm.create_model(NAME, pretrained=False))
  path = tmp_path / "mine.pth"
  torch.save({"state_dict": {f"module.{k}": v for k, v in module.state_dict().items()}, "epoch": 3}, path)
  assert run(f"--timm={NAME}", f"--checkpoint={path}", f"--output={tmp_path / 'vit'}") == 0
  assert "from PyTorch in float64: logits" in capsys.readouterr().out
  model = load.load(tmp_path / "vit")
  stated = module.pretrained_cfg
  assert model.size == stated["input_size"][-1]
  found = np.asarray(model.apply(model.variables, images(model.size)))
  expected = of_torch(module, images(model.size), stated["mean"], stated["std"])
  assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
  assert model.certificate["preprocessing"]["crop"] == model.size
  assert model.certificate["parity"]["logits"] < 1e-5
  assert run(f"--verify={tmp_path / 'vit'}") == 0


def test_a_background_class_before_the_others_is_left_out_as_timm_does(torchvision, tmp_path, monkeypatch):
  timm = pytest.importorskip("timm", reason="needs timm")
  module = torch_networks.randomise(timm.create_model(NAME, num_classes=1001))
  path = tmp_path / "background.pth"
  torch.save(module.state_dict(), path)
  create = timm.create_model

  def stating_an_offset(*given, **named):
    made = create(*given, **named)
    made.pretrained_cfg["label_offset"] = 1
    return made

  monkeypatch.setattr(timm, "create_model", stating_an_offset)
  assert run(f"--timm={NAME}", f"--checkpoint={path}", f"--output={tmp_path / 'vit'}") == 0
  model = load.load(tmp_path / "vit")
  # timm's own reading of the same file.
  theirs = timm.create_model(NAME)
  stated = theirs.pretrained_cfg
  timm.models.load_pretrained(theirs, pretrained_cfg=stated | {"file": str(path)}, num_classes=1000)
  found = np.asarray(model.apply(model.variables, images(model.size)))
  expected = of_torch(theirs, images(model.size), stated["mean"], stated["std"])
  assert found.shape == (2, 1000)
  assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


# Position embeddings interpolated otherwise than in the family, an epsilon that comes with weights, and
# torchvision's names, which timm knows.
@pytest.mark.parametrize(
  ("name", "size", "origin"),
  [("flexivit_small", 96, None), ("fbnetc_100", 32, None), ("regnetx_004_tv", 32, "regnet_x_400mf")],
)
def test_a_network_of_timm_is_the_one_that_timm_itself_loads(torchvision, tmp_path, name, size, origin):
  timm = pytest.importorskip("timm", reason="needs timm")
  trained = torchvision.models.get_model(origin, weights=None) if origin else timm.create_model(name)
  path = tmp_path / "weights.pth"
  torch.save(trained.state_dict(), path)
  given = {"img_size": size} if "vit" in name else {}
  theirs = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **given)
  ours = building._timm(name, size)
  building._load(ours, readers.read(path), None)
  x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
  with torch.no_grad():
    np.testing.assert_array_equal(ours.module.eval()(x).numpy(), theirs.eval()(x).numpy())


def test_a_network_of_torchvision_with_weights_of_a_file(torchvision, tmp_path, capsys):
  name, size, resize = "squeezenet1_1.IMAGENET1K_V1", 64, round(256 * 64 / 224)
  module = torch_networks.randomise(torchvision.models.get_model(name.partition(".")[0], weights=None))
  torch.save(module.state_dict(), tmp_path / "mine.pth")
  flags = (f"--torchvision={name}", f"--checkpoint={tmp_path / 'mine.pth'}", f"--output={tmp_path / 'it'}")
  assert run(*flags, f"--size={size}") == 0
  assert "(torchvision's " in capsys.readouterr().out
  model = load.load(tmp_path / "it")
  stated = model.certificate["preprocessing"]
  assert (stated["resize"], stated["crop"], stated["interpolation"]) == (resize, size, "bilinear")
  found = np.asarray(model.apply(model.variables, images(size)))
  expected = of_torch(module, images(size), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
  assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
  assert model.certificate["source"]["network"] == f"torchvision:{name}"


def test_a_network_that_torchvision_has_not_is_one_line(torchvision, tmp_path, capsys):
  assert run("--torchvision=resnet_of_nobody", f"--output={tmp_path / 'x'}") == 1
  assert "--torchvision=resnet_of_nobody: " in capsys.readouterr().err
  assert run("--torchvision=resnet18.NOBODYS", f"--output={tmp_path / 'x'}") == 1
  assert "it has no weights of that name, but IMAGENET1K_V1" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(torchvision, tmp_path, capsys):
  pytest.importorskip("timm", reason="needs timm")
  path = tmp_path / "other.pth"
  torch.save(small().state_dict(), path)
  assert run(f"--timm={NAME}", f"--checkpoint={path}", f"--output={tmp_path / 'vit'}") == 1
  assert "does not fit the network: lacks " in capsys.readouterr().err
  assert not (tmp_path / "vit").exists()


def test_a_module_of_ones_own_is_said_to_be_run_and_is_converted(tmp_path, capsys):
  weights = small().state_dict()
  torch.save({k: 2 * v for k, v in weights.items()}, tmp_path / "w.pth")
  flags = (f"--module={__name__}:small", f"--checkpoint={tmp_path / 'w.pth'}", "--size=32")
  assert run(*flags, f"--output={tmp_path / 'mine'}") == 0
  assert "is imported and called" in capsys.readouterr().err
  model = load.load(tmp_path / "mine")
  module = small()
  module.load_state_dict({k: 2 * v for k, v in weights.items()})
  normalization = model.certificate["normalization"]
  expected = of_torch(module, images(32), normalization["mean"], normalization["std"])
  np.testing.assert_allclose(model.apply(model.variables, images(32)), expected, rtol=1e-4, atol=1e-5)


def test_a_module_that_is_not_there_is_one_line(tmp_path, capsys):
  assert run("--module=nowhere.at.all:build", f"--output={tmp_path / 'x'}") == 1
  error = capsys.readouterr().err.splitlines()[-1]
  assert "--module=nowhere.at.all:build: ModuleNotFoundError" in error


class Filtered(Small):
  """Small, of images through a filter of complex weights."""

  def __init__(self):
    super().__init__()
    self.filter = nn.Parameter(torch.complex(torch.ones(32, 17), torch.zeros(32, 17)))

  def forward(self, images):
    return super().forward(torch.fft.irfft2(torch.fft.rfft2(images) * self.filter))


def filtered() -> nn.Module:
  return Filtered()


def test_complex_weights_are_converted_and_verified(tmp_path):
  module = torch_networks.randomise(Filtered())
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    module.filter.copy_(torch.randn(module.filter.shape, dtype=torch.complex64, generator=generator))
  torch.save(module.state_dict(), tmp_path / "w.pth")
  flags = (f"--module={__name__}:filtered", f"--checkpoint={tmp_path / 'w.pth'}", "--size=32")
  assert run(*flags, f"--output={tmp_path / 'mine'}") == 0
  assert run(f"--verify={tmp_path / 'mine'}") == 0
  model = load.load(tmp_path / "mine")
  normalization = model.certificate["normalization"]
  expected = of_torch(module, images(32), normalization["mean"], normalization["std"])
  np.testing.assert_allclose(model.apply(model.variables, images(32)), expected, rtol=1e-4, atol=1e-5)


def failing() -> nn.Module:
  raise ValueError("no such depth")


def test_a_function_that_fails_is_told_from_one_that_is_not_there(tmp_path, capsys):
  line = failing.__code__.co_firstlineno + 1
  flags = (f"--module={__name__}:failing", f"--output={tmp_path / 'x'}")
  assert run(*flags) == 1
  said = capsys.readouterr().err.splitlines()[-1]
  assert said.endswith(f":failing: its function raises ValueError: no such depth ({__file__}, line {line})")
  assert run(f"--module={__name__}", f"--output={tmp_path / 'x'}") == 1
  assert capsys.readouterr().err.splitlines()[-1].endswith("expected PACKAGE.MODULE:FUNCTION")


def stating() -> nn.Module:
  """A module that says where its weights are and what it sees, as timm's do."""
  module = small()
  module.pretrained_cfg = json.loads(os.environ["STATED"])
  return module


def test_a_module_of_ones_own_says_what_timms_say(tmp_path, capsys, monkeypatch):
  torch.save({k: 2 * v for k, v in small().state_dict().items()}, tmp_path / "w.pth")
  stated: dict = {"file": str(tmp_path / "w.pth"), "input_size": (3, 48, 48), "crop_pct": 0.8}
  stated |= {"interpolation": "bilinear", "mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)}
  monkeypatch.setenv("STATED", json.dumps(stated))
  assert run(f"--module={__name__}:stating", f"--output={tmp_path / 'mine'}") == 0
  assert "mean 0.4, 0.5, 0.6, std 0.1, 0.2, 0.3 (its pretrained_cfg)" in capsys.readouterr().out
  model = load.load(tmp_path / "mine")
  found = model.certificate
  assert found["preprocessing"]["resize"] == 60
  assert found["preprocessing"]["interpolation"] == "bilinear"
  assert found["source"]["file"] == "w.pth"
  module = small()
  module.load_state_dict({k: 2 * v for k, v in module.state_dict().items()})
  expected = of_torch(module, images(48), stated["mean"], stated["std"])
  np.testing.assert_allclose(model.apply(model.variables, images(48)), expected, rtol=1e-4, atol=1e-5)
  monkeypatch.setenv("STATED", json.dumps({k: v for k, v in stated.items() if k != "mean"}))
  assert run(f"--module={__name__}:stating", f"--output={tmp_path / 'other'}") == 1
  error = capsys.readouterr().err.splitlines()[-1]
  assert "its pretrained_cfg is not as timm's are (KeyError: 'mean')" in error


def meddling() -> nn.Module:
  """A module whose code reaches for what is around it."""
  sys.modules["meddled"] = sys
  np.random.seed(0)
  load.fingerprint = lambda *_: "forged"  # pyright: ignore[reportAttributeAccessIssue]
  pathlib.Path(os.environ["MEDDLED"]).write_text(str(os.getpid()))
  return small()


def test_a_module_of_ones_own_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
  monkeypatch.setenv("MEDDLED", str(tmp_path / "pid"))
  drawn = np.random.RandomState(5)
  np.random.set_state(drawn.get_state())
  assert run(f"--module={__name__}:meddling", "--size=32", f"--output={tmp_path / 'mine'}") == 0
  assert int((tmp_path / "pid").read_text()) != os.getpid()
  assert "meddled" not in sys.modules
  assert np.random.rand() == drawn.rand()
  model = load.load(tmp_path / "mine")
  assert model.certificate["fingerprint"] == model.fingerprint != "forged"


def leaving() -> nn.Module:
  print("I am off", file=sys.stderr)
  os._exit(7)


def test_a_module_that_ends_its_process_is_one_line(tmp_path, capsys):
  assert run(f"--module={__name__}:leaving", f"--output={tmp_path / 'x'}") == 1
  error = capsys.readouterr().err.splitlines()[-1]
  assert (
    f"--module={__name__}:leaving: its process ended with status 7 and left no network: I am off" in error
  )


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "vit_b_16.IMAGENET1K_SWAG_E2E_V1"])
def test_a_network_of_torchvision_is_the_one_that_torchvision_gives_with_these_weights(
  torchvision, monkeypatch, name
):
  network, _, tag = name.partition(".")
  weights = torchvision.models.get_model_weights(network)
  weights = weights[tag] if tag else weights.DEFAULT
  monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: {})
  monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
  with torch.device("meta"):
    expected = torchvision.models.get_model(network, weights=weights)
    built = building._torchvision(name, None)
  for said in ("transform_input", "image_size", "seq_length"):
    assert getattr(built.module, said, None) == getattr(expected, said, None)
  assert built.size == weights.transforms().crop_size[0]


@pytest.mark.parametrize("name", ["raft_large", "fasterrcnn_resnet50_fpn", "quantized_resnet50"])
def test_a_network_of_torchvision_that_classifies_no_images_is_one_line(torchvision, tmp_path, capsys, name):
  assert run(f"--torchvision={name}", f"--output={tmp_path / 'x'}") == 1
  assert "is no classifier of images" in capsys.readouterr().err


def test_a_network_of_timm_without_a_classifier_is_one_line(torchvision, tmp_path, capsys, monkeypatch):
  timm = pytest.importorskip("timm", reason="needs timm")
  create = timm.create_model
  monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **given, num_classes=0))
  assert run(f"--timm={NAME}", f"--output={tmp_path / 'x'}") == 1
  assert "gives features, it has no classifier" in capsys.readouterr().err


def loaded(path: pathlib.Path, reading: str | None = None, adapt=None) -> nn.Module:
  """`small` with the weights of a file."""
  built = building.Built(small(), 32, building.ASSUMED, None, adapt=adapt)
  building._load(built, readers.read(path), reading)
  return built.module


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(tmp_path, dtype):
  state = small().state_dict()
  torch.save(state | {"fc.weight": (10 * state["fc.weight"]).to(dtype)}, tmp_path / "w.pth")
  with pytest.raises(BiasjaxError, match=r"'fc.weight' is \w+; weights are float16, bfloat16"):
    loaded(tmp_path / "w.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_read(tmp_path, dtype):
  state = {name: value.to(dtype) for name, value in small().state_dict().items()}
  torch.save({"model": state}, tmp_path / "w.pth")
  for name, value in loaded(tmp_path / "w.pth").state_dict().items():
    np.testing.assert_array_equal(value.numpy(), state[name].float().numpy())


def test_tensors_that_share_their_bytes_beyond_the_file_are_not_read(tmp_path):
  shared = torch.zeros(100_000)
  torch.save({f"x{i}": shared[i:] for i in range(50)}, tmp_path / "w.pth")
  with pytest.raises(BiasjaxError, match=r"its tensors claim [\d,]+ bytes and share them"):
    loaded(tmp_path / "w.pth", adapt=lambda state: state)


def test_a_reading_that_is_not_there_names_those_that_are(tmp_path):
  torch.save({"a": small().state_dict(), "b": small().state_dict()}, tmp_path / "w.pth")
  with pytest.raises(BiasjaxError, match="--reading='c' is none of 'a:' or 'b:'"):
    loaded(tmp_path / "w.pth", reading="c")
  loaded(tmp_path / "w.pth", reading="b:")
  loaded(tmp_path / "w.pth", reading="b")


def test_what_of_a_file_is_not_used_is_said(tmp_path, capsys):
  state = small().state_dict()
  pupil = {f"pupil.{name}": value for name, value in state.items()} | {"pupil.extra": torch.zeros(2)}
  master = {f"master.{name}": 2 * value for name, value in state.items()}
  torch.save({"state_dict": pupil | master, "epoch": 3}, tmp_path / "w.pth")
  flags = (f"--module={__name__}:small", f"--checkpoint={tmp_path / 'w.pth'}", "--size=32")
  assert run(*flags, f"--output={tmp_path / 'mine'}") == 0
  unused = ["epoch", *pupil]
  assert f"not used: {', '.join(unused[:4])} and {len(unused) - 4} more\n" in capsys.readouterr().out
  model = load.load(tmp_path / "mine")
  assert list(model.certificate["dropped"]) == unused
  assert model.certificate["source"]["layout"] == "state dict under 'state_dict', prefix 'master.'"
  module = small()
  module.load_state_dict({name: 2 * value for name, value in state.items()})
  normalization = model.certificate["normalization"]
  expected = of_torch(module, images(32), normalization["mean"], normalization["std"])
  np.testing.assert_allclose(model.apply(model.variables, images(32)), expected, rtol=1e-4, atol=1e-5)


def test_a_file_without_a_state_dict_is_told_what_it_is(tmp_path):
  torch.save(nn.Linear(2, 3), tmp_path / "whole.pth")
  with pytest.raises(BiasjaxError, match=r"holds a whole pickled module .*\.state_dict\(\), 'weights.pth'\)"):
    loaded(tmp_path / "whole.pth")
  torch.save([torch.zeros(2)], tmp_path / "list.pth")
  with pytest.raises(BiasjaxError, match="no tensor with a name is in it"):
    loaded(tmp_path / "list.pth")


def test_weights_of_other_classes_are_told_what_to_do(tmp_path):
  torch.save(Small().state_dict() | {"fc.weight": torch.zeros(9, 6)}, tmp_path / "w.pth")
  with pytest.raises(
    BiasjaxError, match=r"\[9, 6\], the network's \[5, 6\]; of other classes it is built by"
  ):
    loaded(tmp_path / "w.pth")


def test_mean_and_std_for_other_pixels_are_refused_or_divided(tmp_path, capsys, monkeypatch):
  flags = (f"--module={__name__}:stating", "--size=32", f"--output={tmp_path / 'x'}")
  stated: dict = {"input_size": (3, 32, 32), "mean": (102, 127.5, 153), "std": (51, 51, 51)}
  monkeypatch.setenv("STATED", json.dumps(stated))
  assert run(*flags, "--mean=123,117,104", "--std=58,57,57") == 1
  assert "--mean=123.0,117.0,104.0: is for pixels of 0 to 255" in capsys.readouterr().err
  assert run(*flags) == 0
  assert "mean 0.4, 0.5, 0.6, std 0.2, 0.2, 0.2 (its pretrained_cfg, there for pixels of 0 to 255)" in (
    capsys.readouterr().out
  )


def test_what_is_said_beside_weights_of_timm_is_their_input(torchvision, tmp_path, capsys):
  timm = pytest.importorskip("timm", reason="needs timm")
  module = torch_networks.randomise(timm.create_model(NAME))
  safetensors.torch.save_file(module.state_dict(), tmp_path / "model.safetensors")
  said: dict = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.5, "interpolation": "bilinear"}
  config: dict = {"architecture": NAME, "num_classes": 1000, "pretrained_cfg": {"tag": "mine"} | said}
  (tmp_path / "config.json").write_text(json.dumps(config))
  wanted = building.Wanted("timm", NAME, str(tmp_path))
  found = building.tried(wanted)
  assert (found.normalization.mean, found.normalization.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
  pixels = module.pretrained_cfg["input_size"][-1]
  assert found.preprocessing is not None
  assert found.preprocessing["resize"] == 2 * pixels
  assert found.preprocessing["interpolation"] == "bilinear"
  (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": "test_vit2"}))
  assert run(f"--timm={NAME}", f"--checkpoint={tmp_path}", f"--output={tmp_path / 'x'}") == 1
  assert "config.json: architecture is 'test_vit2', not test_vit: --timm=test_vit2" in capsys.readouterr().err


class Single(Small):
  def forward(self, images):
    return super().forward(images.float()) @ torch.eye(5)


def converted(monkeypatch, make):
  monkeypatch.setitem(sys.modules, "made_here", types.SimpleNamespace(make=make))
  monkeypatch.setattr(modules.apart, "tried", building.tried)
  return modules.convert(building.Wanted("module", "made_here:make", size=32))


def test_a_module_that_asks_for_float32_is_compared_with_that(monkeypatch):
  parity = converted(monkeypatch, lambda: torch_networks.randomise(Single())).certificate["parity"]
  assert max(parity["logits"], parity["gradients"]) < 1e-5
  assert (parity["torch_logits"], parity["torch_gradients"]) == (None, None)


class Cornered(Small):
  def forward(self, images):
    return self.fc(nn.functional.relu(self.conv(images)).mean((2, 3)))


def with_relu(monkeypatch, function):
  """What a network with a ReLU that is computed otherwise is converted to."""
  monkeypatch.setitem(OPERATIONS, "aten.relu.default", function)
  interpreter.apply_function.cache_clear()
  return converted(monkeypatch, lambda: torch_networks.randomise(Cornered())).certificate["parity"]


def test_gradients_that_rounding_takes_over_a_corner_are_told_from_wrong_ones(monkeypatch):
  def beside(self: Array) -> Array:
    return jnp.where(self > (0.003 if self.dtype == jnp.float32 else 0), self, 0)

  parity = with_relu(monkeypatch, beside)
  assert parity["gradients"] > 1e-2 > 1e-5 > parity["torch_gradients"]
  assert parity["gradients_in_float64"] < 1e-12


@pytest.mark.parametrize("error", [0.005, 0.5])
def test_gradients_that_are_wrong_in_float64_too_are_refused(monkeypatch, error):
  def steeper(self: Array) -> Array:
    return jax.nn.relu(self) + error * (jax.nn.relu(self) - jax.lax.stop_gradient(jax.nn.relu(self)))

  with pytest.raises(BiasjaxError, match="gradients differ from PyTorch's by"):
    with_relu(monkeypatch, steeper)


def test_a_module_that_pytorch_cannot_differentiate_is_one_line(monkeypatch):
  class Deaf(Small):
    @torch.no_grad
    def forward(self, images):
      return super().forward(images)

  with pytest.raises(BiasjaxError, match="Deaf: PyTorch cannot compute it and its gradient"):
    converted(monkeypatch, Deaf)


@pytest.mark.parametrize("wrap", [lambda x: {"logits": x}, lambda x: [(x,)], lambda x: (None, x)])
def test_logits_may_be_the_one_thing_in_a_result(monkeypatch, wrap):
  class Wrapped(Small):
    def forward(self, images):
      return wrap(super().forward(images))

  assert converted(monkeypatch, Wrapped).certificate["parity"]["logits"] < 1e-5


@pytest.mark.parametrize(
  ("ending", "said"),
  [
    (lambda x: x.softmax(-1), "they add up to 1"),
    (lambda x: (x.softmax(-1) + x.flip(1).softmax(-1)) / 2, "they add up to 1"),
    (lambda x: x.sigmoid().clone().flatten(1), "it ends in a sigmoid"),
    (lambda x: nn.functional.hardsigmoid(x), "it ends in a sigmoid"),
    (lambda x: x.log_softmax(-1), None),
    (lambda x: x.sigmoid() * 8, None),
  ],
)
def test_scores_that_are_probabilities_are_noticed(monkeypatch, capsys, tmp_path, ending, said):
  class Ended(Small):
    def forward(self, images):
      return ending(super().forward(images))

  monkeypatch.setitem(sys.modules, "made_here", types.SimpleNamespace(make=Ended))
  monkeypatch.setattr(modules.apart, "tried", building.tried)
  assert run("--module=made_here:make", "--size=32", f"--output={tmp_path / 'x'}") == 0
  warned = capsys.readouterr().err
  assert ("its scores are probabilities" in warned) == (said is not None)
  assert (said or "") in warned
  assert (load.load(tmp_path / "x").certificate["scores"] == "logits") == (said is None)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_a_module_may_be_wrapped_for_training(monkeypatch, wrap):
  found = converted(monkeypatch, lambda: wrap(small()))
  plain = converted(monkeypatch, small)
  assert found.certificate["fingerprint"] == plain.certificate["fingerprint"]


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--timm=test_vit", "--head=fc"], "--head is not used with --timm"),
    (["--torchvision=resnet18", "--plain"], "--plain is not used with --torchvision"),
    (["--module=a:b", "--tensors"], "--tensors is not used with --module"),
    (["--checkpoint=x", "--size=64", "--output=x"], "--size is not used with --checkpoint"),
    (["--model=resnet50.a1_in1k", "--head=fc"], "--head is not used with --model"),
    (["--timm=test_vit", "--size=32000"], "--size"),
    (
      ["--timm=hf_hub:a/b", "--offline"],
      "hf_hub:a/b: timm asks the hub what it is: not with --offline",
    ),
    (["--model=robust_*", "--checkpoint=x"], "networks, and --checkpoint one: name it"),
    (["--timm=resnet50.a1_in1k"], "resnet50.a1_in1k is a network of the zoo"),
  ],
)
def test_a_flag_that_would_do_nothing_and_a_name_that_would_be_anothers_are_refused(capsys, flags, said):
  assert run(*flags) == 1
  assert said in capsys.readouterr().err
