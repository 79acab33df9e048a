"""Trains the demo's network in PyTorch and saves it as PyTorch does: python -m demo.make_checkpoint

A ResNet-50 with an eighth of the channels, on the pictures of demo/draw.py: ten of the 1,000 classes. Needs
torch (requirements-dev.txt); about ten minutes. The demo itself needs no torch.
"""

import pathlib

import numpy as np
import torch
from absl import app, flags
from torch import nn

from biasjax.data.preprocess import CROP, center_crop
from biasjax.data.sources import class_index
from biasjax.models.resnet import IMAGENET_MEAN, IMAGENET_STD
from demo import draw

CHECKPOINT = pathlib.Path(__file__).with_name("narrow_resnet50.pth")
NARROWER = 8
FIRST_TRAINING_SEED = 1_000_000  # the demo shows pictures from seed 0 on
BATCH = 50


class Bottleneck(nn.Module):
  """torchvision's block under torchvision's names."""

  def __init__(self, inputs: int, width: int, stride: int):
    super().__init__()
    self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
    self.bn1 = nn.BatchNorm2d(width)
    self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
    self.bn2 = nn.BatchNorm2d(width)
    self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
    self.bn3 = nn.BatchNorm2d(4 * width)
    self.downsample = nn.Identity()
    if stride != 1 or inputs != 4 * width:
      self.downsample = nn.Sequential(
        nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
      )

  def forward(self, x):
    """Features of features."""
    y = torch.relu(self.bn1(self.conv1(x)))
    y = torch.relu(self.bn2(self.conv2(y)))
    return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50(nn.Module):
  """ResNet-50 v1.5 of any width, under torchvision's names."""

  def __init__(self, width: int):
    super().__init__()
    self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
    self.bn1 = nn.BatchNorm2d(width)
    self.maxpool = nn.MaxPool2d(3, 2, padding=1)
    inputs = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
      inner, layer = width * 2**stage, []
      for i in range(blocks):
        layer.append(Bottleneck(inputs, inner, 2 if stage > 0 and i == 0 else 1))
        inputs = 4 * inner
      setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
    self.fc = nn.Linear(inputs, 1000)

  def forward(self, x):
    """Logits of normalised images [b, 3, h, w]."""
    x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
    x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
    return self.fc(x.mean(dim=(2, 3)))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
  """`BATCH` new pictures, normalised, [b, 3, 224, 224], and their classes."""
  wnids = [list(draw.CLASSES)[i % len(draw.CLASSES)] for i in range(BATCH)]
  seeds = [FIRST_TRAINING_SEED + step * BATCH + i for i in range(BATCH)]
  pictures = [center_crop(draw.picture(*of), CROP) for of in zip(wnids, seeds, strict=True)]
  images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
  mean, std = (torch.tensor(values)[None, :, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
  return (images - mean) / std, torch.tensor([class_index()[wnid] for wnid in wnids])


def main(argv: list[str]) -> None:
  """Trains and saves."""
  del argv
  torch.manual_seed(0)
  network = ResNet50(64 // NARROWER)
  steps = flags.FLAGS.steps
  optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
  schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
  for step in range(steps):
    images, labels = batch(step)
    logits = network(images)
    loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 10 == 0:
      right = (logits.argmax(dim=1) == labels).float().mean()
      print(f"step {step}: loss {loss:.3f}, right {right:.0%}", flush=True)
  state = {
    name: tensor.half() if tensor.is_floating_point() else tensor
    for name, tensor in network.state_dict().items()
  }
  torch.save(state, CHECKPOINT)
  print(f"{CHECKPOINT}: {CHECKPOINT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
  flags.DEFINE_integer("steps", 150, f"Batches of {BATCH} pictures.", lower_bound=1)
  app.run(main)
