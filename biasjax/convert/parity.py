"""A plain ResNet in PyTorch, straight from the checkpoint's tensors; for --parity, where torch is there.

It shows that tensors were converted right, not that the checkpoint is of a plain ResNet: see stated.py.
"""

from collections.abc import Mapping

import numpy as np

from biasjax.convert import certificate, stated
from biasjax.convert.conversion import Conversion
from biasjax.convert.tensors import Tensor
from biasjax.errors import BiasjaxError
from biasjax.models.architecture import BATCH_NORM_EPSILON, Architecture, Residual


def measure(conversion: Conversion) -> dict[str, object]:
  """The largest difference between Flax's logits and PyTorch's on `certificate.probe()`.

  Returns:
    "difference", over the largest logit; "with", what was compared with; and "torch", its version.

  Raises:
    BiasjaxError: torch is not installed, or the two networks differ.
  """
  try:
    import torch
  except ImportError as error:
    raise BiasjaxError("--parity needs torch: pip install torch, or leave it out") from error
  if not isinstance(conversion.architecture, Architecture):
    raise BiasjaxError("--parity is about ResNets: a traced network is compared whenever it is converted")
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
  compared = f"these tensors in a plain ResNet of torch's functions ({stated.IN_SHORT})"
  return {"difference": float(f"{difference:.2g}"), "with": compared, "torch": torch.__version__}


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

  def residual(x: torch.Tensor, block: Residual) -> torch.Tensor:
    name, y = f"layer{block.stage}.{block.index}", x
    for i, (_, _, stride) in enumerate(block.convolutions, start=1):
      y = norm(conv(y, f"{name}.conv{i}", stride), f"{name}.bn{i}")
      y = F.relu(y) if i < len(block.convolutions) else y
    if block.project:
      x = norm(conv(x, f"{name}.downsample.0", block.stride), f"{name}.downsample.1")
    return F.relu(x + y)

  with torch.no_grad():
    x = (images - np.array(mean, np.float32)) / np.array(std, np.float32)
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", 2), "bn1")), 3, stride=2, padding=1)
    for block in architecture.blocks():
      x = residual(x, block)
    return F.linear(x.mean(dim=(2, 3)), get("fc.weight"), get("fc.bias")).numpy()
