"""PGD and FGSM on photographs by a converted network, against foolbox on the network that was converted."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from biasjax.convert import conversion
from biasjax.models.load import load
from biasjax.ops.attacks import loop, pgd, threat

sys.path.append(str(pathlib.Path(__file__).parents[1] / "convert"))

pytestmark = pytest.mark.reference
SIZE = 32


@pytest.fixture(scope="module")
def network(torchvision, tmp_path_factory):
  """A narrow ResNet in PyTorch for images in [0, 1], and converted."""
  import torch

  import torch_networks

  torch.set_num_threads(1)
  narrow = torch_networks.network(torchvision, "basic", (1, 1, 1, 1), width=4, classes=10)
  folder = tmp_path_factory.mktemp("network")
  torch_networks.save(narrow.state_dict(), folder / "narrow.pth", "zip")
  conversion.write(conversion.convert(folder / "narrow.pth"), folder / "narrow")

  class Normalized(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.network = narrow

    def forward(self, images):
      mean, std = (
        torch.tensor(values, dtype=torch.float32).to(images.dtype)[None, :, None, None]
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
      )
      return self.network((images - mean) / std)

  return Normalized().eval(), load(folder / "narrow")


@pytest.fixture(scope="module")
def photographs(reference) -> np.ndarray:
  paths = sorted((reference / "data/imagenette_val").rglob("*.JPEG"))[::3][:256]
  shrunk = [Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR) for path in paths]
  return np.stack([np.asarray(image) for image in shrunk]).astype(np.float32) / np.float32(255)


PGD = pgd.Pgd("linf", 40, 2 / 255, start_at="task")
FGSM = pgd.Pgd("linf", 1, 1.0, relative=True, start_at="image")


def by_foolbox(foolbox, attack, model, images, labels, start, eps) -> np.ndarray:
  import torch

  def there(array):
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy())

  theirs = foolbox.attacks.LinfFastGradientAttack()
  if attack is PGD:
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=2 / 255, steps=40)
    theirs.get_random_start = lambda x0, epsilon: type(x0)(there(start))
  in_foolbox = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
  found, _, _ = theirs(in_foolbox, there(images), torch.from_numpy(labels.astype(np.int64)), epsilons=eps)
  return np.moveaxis(found.numpy(), 1, -1)


def by_biasjax(attack, apply, variables, images, labels, start, eps) -> np.ndarray:
  n = len(images)
  task = loop.Task(
    jax.random.split(jax.random.key(0), n),
    jnp.asarray(images),
    jnp.asarray(labels)[:, None],
    jnp.zeros(n, jnp.int32),
    jnp.asarray(start),
  )
  eps = jnp.asarray(eps, images.dtype)
  step = jax.jit(
    lambda variables, task, state: attack.step(
      functools.partial(apply, variables), eps, jnp.int32(0), task, state
    )
  )
  state = attack.start(eps, task)
  for _ in range(attack.steps):
    state = step(variables, task, state)
  return np.asarray(state.adversarial)


def starts(images: np.ndarray, eps: float) -> np.ndarray:
  keys = jax.random.split(jax.random.key(1), len(images))
  return np.asarray(threat.within("linf", keys, jnp.asarray(images), jnp.asarray(eps, images.dtype)))


@pytest.mark.parametrize("eps", [0.5 / 255, 4 / 255])
@pytest.mark.parametrize("attack", [PGD, FGSM], ids=["pgd", "fgsm"])
def test_adversarial_photographs_are_those_of_foolbox(foolbox, network, photographs, attack, eps):
  in_torch, model = network
  with jax.enable_x64(True):
    images = photographs[:6].astype(np.float64)
    variables = jax.tree.map(lambda x: np.asarray(x, np.float64), model.variables)
    labels = np.array(jnp.argmax(model.apply(variables, jnp.asarray(images)), axis=1), np.int32)
    start = starts(images, eps)
    found = by_biasjax(attack, model.apply, variables, images, labels, start, eps)
  in_torch.double()
  expected = by_foolbox(foolbox, attack, in_torch, images, labels, start, eps)
  in_torch.float()
  assert np.abs(found - expected).max() < 1e-4
  assert np.abs(found - images).max() == pytest.approx(eps, rel=1e-6)


@pytest.mark.parametrize("attack", [PGD, FGSM], ids=["pgd", "fgsm"])
def test_accuracy_on_256_photographs_is_that_of_foolbox(foolbox, network, photographs, attack):
  in_torch, model = network
  variables = model.variables
  labels = np.array(jnp.argmax(model.apply(variables, jnp.asarray(photographs)), axis=1), np.int32)
  eps = 0.5 / 255
  start = starts(photographs, eps)
  found = by_biasjax(attack, model.apply, variables, photographs, labels, start, eps)
  expected = by_foolbox(foolbox, attack, in_torch, photographs, labels, start, eps)
  here, there = (
    int((np.argmax(model.apply(variables, jnp.asarray(images)), axis=1) == labels).sum())
    for images in (found, expected)
  )
  assert 26 < there < 230  # neither all nor none
  assert abs(here - there) <= 2
