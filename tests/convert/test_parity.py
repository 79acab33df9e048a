"""A converted network is still the same network: its logits are PyTorch's."""

import jax
import numpy as np
import pytest

import biasjax
from biasjax.cli import converting as command
from biasjax.convert import tracing
from biasjax.traced import interpreter
from torch_networks import (
  CONTAINERS,
  logits,
  logits_and_gradients,
  network,
  randomise,
  relative_difference,
  save,
)

TOLERANCE = 1e-4
RANDOM_IMAGES = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)


def converted(tmp_path, state_dict, container, *flags):
  save(state_dict, tmp_path / f"net.{container}", container)
  output = tmp_path / f"converted_{container}"
  assert (
    command.main(["convert", f"--checkpoint={tmp_path}/net.{container}", f"--output={output}", *flags]) == 0
  )
  return biasjax.load(output)


def assert_parity(model, net, images=RANDOM_IMAGES):
  got = model.apply(model.variables, images)
  assert got.dtype == np.float32
  assert relative_difference(got, logits(net, images)) < TOLERANCE


ARCHITECTURES = {
  "narrow resnet18": {"block": "basic", "stage_sizes": (2, 2, 2, 2), "width": 8},
  "like resnet101": {"stage_sizes": (1, 2, 7, 1), "width": 4, "classes": 10},
  "like wide_resnet50": {"stage_sizes": (1, 1, 1, 1), "width": 4, "inner_width": 8},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_converted_network_gives_pytorchs_logits(torchvision, tmp_path, architecture):
  """The same variables from every container, and with them PyTorch's logits."""
  net = network(torchvision, **architecture)
  models = [converted(tmp_path, net.state_dict(), container) for container in CONTAINERS]
  assert len({model.fingerprint for model in models}) == 1
  assert_parity(models[0], net)


def test_other_devices_have_pytorchs_logits_and_gradients(torchvision, tmp_path, off_cpu):
  net = network(torchvision, stage_sizes=(1, 1, 1, 1), width=4)
  model = converted(tmp_path, net.state_dict(), "safetensors")
  weights = np.random.default_rng(1).normal(size=1000).astype(np.float32)

  def total(images):
    logits = model.apply(model.variables, images)
    return (logits * weights[None]).sum(), logits

  gradient, logits = jax.jit(jax.grad(total, has_aux=True))(RANDOM_IMAGES)
  expected, of_images = logits_and_gradients(net, RANDOM_IMAGES, weights)
  assert relative_difference(logits, expected) < TOLERANCE
  assert relative_difference(gradient, of_images) < 10 * TOLERANCE


def test_mean_and_std_travel_with_the_network(torchvision, tmp_path):
  net = network(torchvision, width=4, stage_sizes=(1, 1, 1, 1))
  model = converted(tmp_path, net.state_dict(), "zip", "--mean=0.5,0.4,0.3", "--std=0.1,0.2,0.4")
  got = model.apply(model.variables, RANDOM_IMAGES)
  expected = logits(net, RANDOM_IMAGES, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.4))
  assert relative_difference(got, expected) < TOLERANCE
  assert relative_difference(got, logits(net, RANDOM_IMAGES)) > 100 * TOLERANCE


PUBLISHED = {"resnet18": 11_689_512, "resnet50": 25_557_032}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request, torchvision, tmp_path_factory):
  """torchvision's ResNet-18 and timm's ResNet-50 at full size: (PyTorch's, converted)."""
  if request.param == "resnet18":
    net = torchvision.models.resnet18(weights=None)
  else:
    timm = pytest.importorskip("timm", reason="parity tests need timm")
    net = timm.create_model("resnet50", pretrained=False)
  model = converted(tmp_path_factory.mktemp(request.param), randomise(net).state_dict(), "zip")
  assert model.certificate["parameters"] == PUBLISHED[request.param]
  return net, model


def test_published_networks_give_pytorchs_logits(published):
  net, model = published
  assert_parity(model, net)


@pytest.mark.reference
def test_logits_agree_on_real_photographs(published, reference):
  net, model = published
  assert_parity(model, net, photographs(reference, 4))


def photographs(reference, count):
  from biasjax.data import preprocess

  files = sorted((reference / "data/imagenet_sample").glob("*/*"))[:: 200 // count][:count]
  assert len(files) == count
  return np.stack([preprocess.preprocess(file.read_bytes()) for file in files]).astype(np.float32) / 255


def test_a_traced_resnet_is_the_native_one(torchvision, tmp_path):
  """Of one block a stage: each kind of layer that ResNet-50 has."""
  timm = pytest.importorskip("timm", reason="parity tests need timm")
  net = randomise(timm.create_model("resnet50", pretrained=False, layers=(1, 1, 1, 1)))
  native = converted(tmp_path, net.state_dict(), "safetensors")
  traced = tracing.trace(net, 64)
  variables = tracing.variables(traced.weights, **native.variables["normalization"])
  weights = np.random.default_rng(1).normal(size=1000).astype(np.float32)

  def looked_at(apply, variables):
    def total(images):
      found = apply(variables, images)
      return (found @ weights).sum(), found

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(RANDOM_IMAGES)
    return np.asarray(found), np.asarray(gradient)

  expected, expected_gradient = looked_at(native.apply, native.variables)
  found, gradient = looked_at(interpreter.apply_function(traced.program), variables)
  assert relative_difference(found, expected) < 1e-5
  assert np.linalg.norm(gradient - expected_gradient) < 1e-3 * np.linalg.norm(expected_gradient)
  assert relative_difference(expected[:1], expected[1:]) > 1e-3  # the two images differ
