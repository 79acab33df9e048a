"""What a network subtracts from, and divides, its images by: given, or found in the file or beside it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from biasjax.convert.tensors import Tensor, is_tensor
from biasjax.errors import BiasjaxError
from biasjax.models.architecture import IMAGENET_MEAN, IMAGENET_STD

# How the two are called, in a state dict and in what is said of a network: the mean, then what it divides by.
PAIRS = (
  *(("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std"), ("_mean", "_std"), ("means", "sds")),
  *(("image_mean", "image_std"), ("img_mean", "img_std"), ("pixel_mean", "pixel_std")),
  *(
    ("norm_mean", "norm_std"),
    ("input_mean", "input_std"),
    ("means", "stds"),
    ("mean", "sigma"),
    ("mu", "std"),
  ),
)


@dataclasses.dataclass(frozen=True)
class Normalization:
  """What a network subtracts from, and divides, images in [0, 1] by.

  Attributes:
    mean: of each channel, RGB.
    std: of each channel.
    origin: who says so.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]
  origin: str


ASSUMED = Normalization(IMAGENET_MEAN, IMAGENET_STD, "assumed: ImageNet's, as torchvision and timm use it")
NONE = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "none, as in all networks of this family")


def check(normalization: Normalization) -> None:
  """Refuses what cannot be for RGB images in [0, 1].

  Raises:
    BiasjaxError: not three numbers each, not finite, not positive, for pixels of 0 to 255, or for BGR.
  """
  mean, std = normalization.mean, normalization.std
  for key, values in (("mean", mean), ("std", std)):
    if len(values) != 3 or not all(map(math.isfinite, values)):
      raise BiasjaxError(f"--{key}={_text(values)}: three numbers are needed, one for each of RGB")
  if min(std) <= 0:
    raise BiasjaxError(f"--std={_text(std)}: must be positive")
  for key, values in (("mean", mean), ("std", std)):
    if max(map(abs, values)) > 1:
      scaled = _text(tuple(float(f"{v / 255:.4g}") for v in values))
      raise BiasjaxError(
        f"--{key}={_text(values)}: is for pixels of 0 to 255, images here are in [0, 1]: divide both by 255 "
        f"(--{key}={scaled})"
      )
  if all(abs(a - b) < 0.005 for a, b in zip(mean, IMAGENET_MEAN[::-1], strict=True)):
    raise BiasjaxError(f"--mean={_text(mean)}: is ImageNet's in the order B,G,R; images here are R,G,B")


def buffers(tensors: Mapping[Any, Any]) -> dict[str, str]:
  """Of names of a state dict that are no part of the network: each mean, and the std beside it."""
  found = {}
  for name in tensors:
    module, _, leaf = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    for of_mean, of_std in PAIRS:
      beside = f"{module}.{of_std}" if module else of_std
      if leaf == of_mean and is_channels(tensors[name]) and is_channels(tensors.get(beside)):
        found[name] = beside
  return found


def of_buffers(tensors: Mapping[str, Any], pairs: Mapping[str, str], prefix: str) -> Normalization:
  """The normalisation that buffers beside the network hold, where there is no doubt about it.

  Args:
    tensors: the state dict.
    pairs: of `buffers`, at least one.
    prefix: of the network's names; where several differ, the one whose name is most like it counts.

  Raises:
    BiasjaxError: they contradict each other, or cannot be.
  """
  found = {name: (channels(tensors[name]), channels(tensors[std])) for name, std in pairs.items()}
  if len(set(found.values())) > 1:
    near = max(_common(name, prefix) for name in found)
    found = {name: values for name, values in found.items() if _common(name, prefix) == near}
  if len(set(found.values())) > 1:
    names = ", ".join(sorted(found)[:4])
    raise BiasjaxError(f"it holds several normalisations ({names}): give --mean and --std")
  name, (mean, std) = min(found.items())
  return of_values(mean, std, f"of {name!r} in the file")


def of_values(mean: tuple[float, ...], std: tuple[float, ...], origin: str) -> Normalization:
  """Of a mean and a std that somebody says, which may be for pixels of 0 to 255.

  Raises:
    BiasjaxError: it cannot be.
  """
  if len(mean) == len(std) == 3 and (max(mean) > 1 or min(std) > 10):
    mean, std = (tuple(float(np.float32(v / 255)) for v in values) for values in (mean, std))
    origin += ", there for pixels of 0 to 255"
  found = Normalization(mean, std, origin)
  try:
    check(found)
  except BiasjaxError as error:
    raise BiasjaxError(f"the normalisation {origin} cannot be: {error}; give --mean and --std") from error
  return found


def is_channels(value: Any) -> bool:
  """Whether a value is a tensor of three numbers, [3], [3, 1, 1] or [1, 3, 1, 1]."""
  return (
    is_tensor(value) and len(value.shape) <= 4 and max(value.shape, default=0) == math.prod(value.shape) == 3
  )


def channels(tensor: Tensor) -> tuple[float, ...]:
  """Its numbers."""
  values = tensor.read().astype(np.float32).ravel().tolist()
  # float32 to the shortest decimal number that is the same float32: 0.485, not 0.48500001430511475
  return tuple(float(str(np.float32(v))) for v in values)


def _common(name: str, prefix: str) -> int:
  """How many modules two names have in common."""
  count = 0
  for a, b in zip(name.split("."), prefix.split("."), strict=False):
    if a != b:
      break
    count += 1
  return count


def _text(values: tuple[float, ...]) -> str:
  return ",".join(map(str, values))
