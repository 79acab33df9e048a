"""PyTorch networks for parity tests: any width, every variable random, saved in any container."""

import numpy as np
import pytest


def network(
  torchvision, block="bottleneck", stage_sizes=(3, 4, 6, 3), width=8, inner_width=None, classes=1000
):
  """torchvision's own ResNet of a width that it does not offer."""
  import torch

  resnet = torchvision.models.resnet

  class Narrow(resnet.ResNet):
    def __init__(self):
      torch.nn.Module.__init__(self)
      self._norm_layer = torch.nn.BatchNorm2d
      self.inplanes, self.dilation, self.groups = width, 1, 1
      self.base_width = 64 * (inner_width or width) // width
      kind = resnet.BasicBlock if block == "basic" else resnet.Bottleneck
      self.conv1 = torch.nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
      self.bn1 = torch.nn.BatchNorm2d(width)
      self.relu = torch.nn.ReLU(inplace=True)
      self.maxpool = torch.nn.MaxPool2d(3, stride=2, padding=1)
      for i, size in enumerate(stage_sizes):
        layer = self._make_layer(kind, width * 2**i, size, stride=1 if i == 0 else 2)
        setattr(self, f"layer{i + 1}", layer)
      self.avgpool = torch.nn.AdaptiveAvgPool2d((1, 1))
      self.fc = torch.nn.Linear(self.inplanes, classes)

  return randomise(Narrow())


def randomise(net, seed=0):
  """Makes every parameter and statistic random: at initialisation whole branches may be zero."""
  import torch

  generator = torch.Generator().manual_seed(seed)

  def uniform(like, low, high):
    return torch.rand(like.shape, generator=generator) * (high - low) + low

  with torch.no_grad():
    for name, value in net.state_dict().items():
      if name.endswith("num_batches_tracked"):
        value.fill_(int(torch.randint(1, 10**6, (), generator=generator)))
      elif not value.is_floating_point():
        continue  # places in a table
      elif name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
        value.copy_(uniform(value, 0.5, 1.5))
      elif value.ndim <= 1:
        value.copy_(uniform(value, -0.5, 0.5))
      else:
        value.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
  return net.eval()


CONTAINERS = ("zip", "legacy", "safetensors")
ALL_CONTAINERS = ("zip", "legacy", "dill", "safetensors")


def save(content, path, container):
  """Writes a state dict (in a pickle, anything) as PyTorch would, or, with dill, as robustness did."""
  import torch

  if container == "safetensors":
    from safetensors.torch import save_file

    save_file({name: value.clone().contiguous() for name, value in content.items()}, path)
  elif container == "dill":
    dill = pytest.importorskip("dill", reason="writes files as the library robustness did")
    torch.save(content, path, pickle_module=dill, _use_new_zipfile_serialization=False)
  else:
    torch.save(content, path, _use_new_zipfile_serialization=container == "zip")


def logits(net, images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
  """PyTorch's logits for float32 [b, h, w, 3] images in [0, 1]."""
  import torch

  x = (images - np.array(mean, np.float32)) / np.array(std, np.float32)
  with torch.no_grad():
    return net(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()


def logits_and_gradients(net, images, weights, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
  """The same in double precision, and the gradients of their weighted sum with respect to the images."""
  import torch

  x = torch.tensor(images, dtype=torch.float64, requires_grad=True)
  of_channels = [torch.tensor(value, dtype=torch.float64)[None, None, None] for value in (mean, std)]
  found = net.double()(((x - of_channels[0]) / of_channels[1]).permute(0, 3, 1, 2))
  (found * torch.tensor(weights, dtype=torch.float64)).sum().backward()
  return found.detach().numpy(), x.grad.numpy()


def relative_difference(got, expected):
  """The largest difference over the largest value."""
  return float(np.abs(np.asarray(got) - expected).max() / np.abs(expected).max())
