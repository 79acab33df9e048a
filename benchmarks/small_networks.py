"""Two small networks for measuring attacks, trained on photographs: one as usual, one adversarially.

Ten classes in folders, shrunk to 32 pixels. The networks have seen the pictures that they are attacked on,
which does not matter where attacks are compared. Needs requirements-dev.txt.
"""

import pathlib
import time

import numpy as np
import torch
from PIL import Image

from tests import cpu_torchvision

SIZE = 32
WIDTH = 8
EPOCHS = {"standard": 40, "robust": 60}
TRAINING_EPS = 8 / 255


def photographs(folder: str, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
  """float32 [n, size, size, 3] in [0, 1] and class indices [n], shuffled with a fixed seed."""
  paths = sorted(path for path in pathlib.Path(folder).glob("*/*") if path.is_file())
  classes = sorted({path.parent.name for path in paths})
  order = np.random.default_rng(0).permutation(len(paths))
  paths = [paths[i] for i in order]
  shrunk = [Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR) for path in paths]
  pixels = np.stack([np.asarray(image) for image in shrunk])
  return pixels.astype(np.float32) / np.float32(255), np.array([classes.index(p.parent.name) for p in paths])


class Normalized(torch.nn.Module):
  """A network with its normalisation, for images in [0, 1]."""

  def __init__(self, network: torch.nn.Module):
    super().__init__()
    self.network = network
    self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
    self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    return self.network((images - self.mean) / self.std)


def untrained(width: int = WIDTH, classes: int = 10) -> torch.nn.Module:
  """A ResNet of one basic block a stage."""
  resnet = cpu_torchvision.load().models.resnet
  network = resnet.ResNet(resnet.BasicBlock, (1, 1, 1, 1), num_classes=classes)
  network.inplanes = width
  network.conv1 = torch.nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
  network.bn1 = torch.nn.BatchNorm2d(width)
  for i in range(4):
    layer = network._make_layer(resnet.BasicBlock, width * 2**i, 1, stride=1 if i == 0 else 2)
    setattr(network, f"layer{i + 1}", layer)
  network.fc = torch.nn.Linear(8 * width, classes)
  return network


def train(images: np.ndarray, labels: np.ndarray, kind: str) -> Normalized:
  """A trained network, frozen: `kind` is "standard" or "robust" (PGD-3 within 8/255)."""
  torch.manual_seed(0)
  x, y = torch.from_numpy(np.moveaxis(images, -1, 1).copy()), torch.from_numpy(labels)
  network = untrained()
  model = Normalized(network)
  optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
  batches = -(-len(x) // 50)
  schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, EPOCHS[kind] * batches)
  started, loss_of = time.perf_counter(), torch.nn.functional.cross_entropy
  for _ in range(EPOCHS[kind]):
    for rows in torch.randperm(len(x)).split(50):
      clean = x[rows].flip(3) if torch.rand(()) < 0.5 else x[rows]
      seen = clean
      if kind == "robust":
        model.eval()
        for _ in range(3):
          seen = seen.detach().requires_grad_()
          (gradient,) = torch.autograd.grad(loss_of(model(seen), y[rows]), seen)
          moved = seen.detach() + TRAINING_EPS / 2 * gradient.sign()
          seen = moved.clamp(clean - TRAINING_EPS, clean + TRAINING_EPS).clamp(0, 1)
      model.train()
      optimizer.zero_grad()
      loss_of(model(seen), y[rows]).backward()
      optimizer.step()
      schedule.step()
  model.eval()
  for parameter in model.parameters():
    parameter.requires_grad_(False)
  with torch.no_grad():
    accuracy = (model(x).argmax(1) == y).float().mean().item()
  print(
    f"{kind}: trained in {time.perf_counter() - started:.0f} s, accuracy {100 * accuracy:.1f} %", flush=True
  )
  return model


def both_ways(folder: str, kind: str, images: np.ndarray, labels: np.ndarray):
  """The network in PyTorch and converted; kept in `folder`, so that it is trained once."""
  from biasjax.convert import conversion
  from biasjax.models.load import load

  path = pathlib.Path(folder) / f"{kind}.pth"
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.exists():
    model = Normalized(untrained())
    model.network.load_state_dict(torch.load(path))
    for parameter in model.eval().parameters():
      parameter.requires_grad_(False)
  else:
    model = train(images, labels, kind)
    torch.save(model.network.state_dict(), path)
  conversion.write(conversion.convert(path), path.with_suffix(""), overwrite=True)
  return model, load(path.with_suffix(""))
