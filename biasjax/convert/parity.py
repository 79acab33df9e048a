"""The same network in PyTorch, straight from the checkpoint's tensors; for --parity, where torch is there."""

from collections.abc import Mapping

import numpy as np

from biasjax.convert import certificate
from biasjax.convert.conversion import Conversion
from biasjax.convert.tensors import Tensor
from biasjax.errors import BiasjaxError
from biasjax.models.resnet import BATCH_NORM_EPSILON, Architecture


def measure(conversion: Conversion) -> dict[str, object]:
  """The largest difference between Flax's logits and PyTorch's on `certificate.probe()`.

  Returns:
    "difference", over the largest logit, and "torch", its version.

  Raises:
    BiasjaxError: torch is not installed, or the two networks differ.
  """
  try:
    import torch
  except ImportError as error:
    raise BiasjaxError("--parity needs torch: pip install torch, or leave it out") from error
  normalization = conversion.certificate["normalization"]
  expected = torch_logits(
    conversion.tensors,
    conversion.architecture,
    normalization["mean"],
    normalization["std"],
    certificate.probe(),
  )
  difference = certificate.difference(conversion.certificate["logits"], expected)
  if not difference <= certificate.TOLERANCE:
    raise BiasjaxError(
      f"the converted network's logits differ from PyTorch's by {difference:.2g} of the largest"
    )
  return {"difference": float(f"{difference:.2g}"), "torch": torch.__version__}


def torch_logits(
  tensors: Mapping[str, Tensor],
  architecture: Architecture,
  mean: tuple[float, ...],
  std: tuple[float, ...],
  images: np.ndarray,
) -> np.ndarray:
  """PyTorch's logits, float32 [b, classes], of float32 images [b, h, w, 3] in [0, 1]."""
  import torch
  import torch.nn.functional as F

  def get(name: str) -> torch.Tensor:
    return torch.from_numpy(tensors[name].read().astype(np.float32))

  def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
    weight = get(f"{name}.weight")
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

  def norm(x: torch.Tensor, name: str) -> torch.Tensor:
    mean, var, scale, shift = map(
      get, (f"{name}.{n}" for n in ("running_mean", "running_var", "weight", "bias"))
    )
    return F.batch_norm(x, mean, var, scale, shift, eps=BATCH_NORM_EPSILON)

  def block(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
    convolutions = 2 if architecture.block == "basic" else 3
    strided = 1 if architecture.block == "basic" else 2  # the 3x3 convolution that has the stride
    y = x
    for i in range(1, convolutions + 1):
      y = norm(conv(y, f"{name}.conv{i}", stride if i == strided else 1), f"{name}.bn{i}")
      y = y if i == convolutions else F.relu(y)
    if f"{name}.downsample.0.weight" in tensors:
      x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
    return F.relu(x + y)

  with torch.no_grad():
    x = (images - np.array(mean, np.float32)) / np.array(std, np.float32)
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", 2), "bn1")), 3, stride=2, padding=1)
    for stage, size in enumerate(architecture.stage_sizes, start=1):
      for index in range(size):
        x = block(x, f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1)
    return F.linear(x.mean(dim=(2, 3)), get("fc.weight"), get("fc.bias")).numpy()
