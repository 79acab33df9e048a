"""torchvision's (and timm's) names of a ResNet's tensors and their Flax paths, strict both ways."""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping

import numpy as np

from biasjax.errors import BiasjaxError
from biasjax.models.architecture import PUBLISHED, Architecture
from biasjax.models.variants import TRACED

NAME = 100  # characters of a name that a message shows
COUNTER = "num_batches_tracked"  # of every BatchNorm since torch 0.4.1; evaluation has no use for it
# Axes of a convolution, [out, in, h, w], in Flax's order, [h, w, in, out]; and of a classifier.
TO_FLAX = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


@dataclasses.dataclass(frozen=True)
class Entry:
  """Where a tensor of PyTorch goes.

  Attributes:
    shape: in PyTorch.
    path: in the Flax variables tree.
  """

  shape: tuple[int, ...]
  path: tuple[str, ...]


def entries(architecture: Architecture) -> dict[str, Entry]:
  """Every tensor of a ResNet by its name in PyTorch, without the batch counters."""
  found: dict[str, Entry] = {}

  def conv(name: str, path: tuple[str, ...], shape: tuple[int, ...]) -> None:
    found[f"{name}.weight"] = Entry(shape, ("params", *path, "kernel"))

  def norm(name: str, path: tuple[str, ...], channels: int) -> None:
    for torch_name, collection, flax_name in (
      ("weight", "params", "scale"),
      ("bias", "params", "bias"),
      ("running_mean", "batch_stats", "mean"),
      ("running_var", "batch_stats", "var"),
    ):
      found[f"{name}.{torch_name}"] = Entry((channels,), (collection, *path, flax_name))

  width = architecture.width
  conv("conv1", ("conv1",), (width, 3, 7, 7))
  norm("bn1", ("bn1",), width)
  for block in architecture.blocks():
    name, flax_name = f"layer{block.stage}.{block.index}", f"layer{block.stage}_{block.index}"
    inputs = block.inputs
    for i, (channels, size, _) in enumerate(block.convolutions, start=1):
      conv(f"{name}.conv{i}", (flax_name, f"conv{i}"), (channels, inputs, size, size))
      norm(f"{name}.bn{i}", (flax_name, f"bn{i}"), channels)
      inputs = channels
    if block.project:
      shape = (block.channels, block.inputs, 1, 1)
      conv(f"{name}.downsample.0", (flax_name, "downsample_conv"), shape)
      norm(f"{name}.downsample.1", (flax_name, "downsample_bn"), block.channels)
  classes = architecture.num_classes
  found["fc.weight"] = Entry((classes, architecture.features), ("params", "fc", "kernel"))
  found["fc.bias"] = Entry((classes,), ("params", "fc", "bias"))
  return found


def counters(names: Collection[str]) -> list[str]:
  """The names of the batch counters that a network with these tensors may have."""
  return [name.removesuffix("running_var") + COUNTER for name in names if name.endswith(".running_var")]


def infer(shapes: Mapping[str, tuple[int, ...]], source: str) -> Architecture:
  """The architecture that tensors of these shapes belong to; `match` says whether they really do.

  Args:
    shapes: of the tensors by name.
    source: where they come from, for messages.

  Raises:
    BiasjaxError: the tensors that tell architectures apart are missing or have no sensible shape.
  """
  blocks: dict[int, set[int]] = {}
  for name in shapes:
    if found := re.match(r"layer([1-9]\d?)\.(0|[1-9]\d{0,2})\.", name):
      blocks.setdefault(int(found[1]), set()).add(int(found[2]))
  stages = sorted(blocks)
  if stages != list(range(1, len(stages) + 1)) or not stages:
    raise BiasjaxError(f"{source}: the stages of a ResNet are layer1, layer2, ...; this has {_few(shapes)}")
  for stage in stages:
    gaps = set(range(max(blocks[stage]) + 1)) - blocks[stage]
    if gaps:
      raise BiasjaxError(f"{source}: the block layer{stage}.{min(gaps)} is missing")
  block = "bottleneck" if "layer1.0.conv3.weight" in shapes else "basic"
  width = _channels(shapes, "conv1.weight", 4, source)
  return Architecture(
    block=block,
    stage_sizes=tuple(len(blocks[stage]) for stage in stages),
    width=width,
    inner_width=width if block == "basic" else _channels(shapes, "layer1.0.conv1.weight", 4, source),
    num_classes=_channels(shapes, "fc.weight", 2, source),
  )


def features(shapes: Mapping[str, tuple[int, ...]]) -> int:
  """Channels that the last block gives, by the shapes of its tensors; 0 if there is none."""
  found = [
    (int(match[1]), int(match[2]), int(match[3]), shape[0])
    for name, shape in shapes.items()
    if (match := re.fullmatch(r"layer(\d{1,2})\.(\d{1,3})\.conv(\d)\.weight", name)) and len(shape) == 4
  ]
  return max(found)[3] if found else 0


def identify(
  shapes: Mapping[str, tuple[int, ...]], source: str
) -> tuple[Architecture, dict[str, Entry], list[str]]:
  """The architecture of tensors of these shapes, and what `match` gives for it.

  Raises:
    BiasjaxError: they are not exactly a ResNet's.
  """
  architecture = infer(shapes, source)
  return architecture, *match(shapes, architecture, source)


def _channels(shapes: Mapping[str, tuple[int, ...]], name: str, dimensions: int, source: str) -> int:
  if name not in shapes:
    raise BiasjaxError(f"{source}: {name!r} is missing")
  if len(shapes[name]) != dimensions or shapes[name][0] < 1:
    raise BiasjaxError(f"{source}: {name!r} has shape {list(shapes[name])}, which no ResNet has")
  return shapes[name][0]


def match(
  shapes: Mapping[str, tuple[int, ...]], architecture: Architecture, source: str
) -> tuple[dict[str, Entry], list[str]]:
  """The key map of these tensors, every one of which is accounted for.

  Args:
    shapes: of the tensors by name.
    architecture: what they should be.
    source: where they come from, for messages.

  Returns:
    name -> entry of the tensors that are converted, in the network's order; and the batch counters.

  Raises:
    BiasjaxError: a tensor is missing, unexpected or of another shape; it is named.
  """
  wanted = entries(architecture)
  counted = [name for name in counters(wanted) if name in shapes]
  problems = []
  if missing := [name for name in wanted if name not in shapes]:
    problems.append(f"{_count(missing, 'tensor')} missing, e.g. {missing[0]!r}")
  if unexpected := sorted(set(shapes) - set(wanted) - set(counted)):
    problems.append(f"{_count(unexpected, 'unexpected tensor')}, e.g. {unexpected[0][:NAME]!r}")
  misshaped = [name for name, entry in wanted.items() if name in shapes and shapes[name] != entry.shape]
  if misshaped:
    name = misshaped[0]
    shape = list(wanted[name].shape)
    problems.append(
      f"{_count(misshaped, 'tensor')} of another shape, e.g. {name!r} is {list(shapes[name])}, not {shape}"
    )
  if problems:
    known = [what for is_so, what in SIGNS if is_so(shapes, missing, unexpected)]
    known += [f"{what}; {TRACED}" for is_so, what in OTHERS if is_so(shapes, missing, unexpected)]
    hint = f": {known[0]}" if known else ""
    raise BiasjaxError(f"{source}: {'; '.join(problems)} (read as {describe(architecture)}){hint}")
  return wanted, counted


def _stem(shapes: Mapping[str, tuple[int, ...]], axis: int) -> int:
  return (*shapes.get("conv1.weight", ()), 0, 0, 0, 0)[axis]


def _grouped(name: str, shape: tuple[int, ...]) -> bool:
  return name.endswith("conv2.weight") and len(shape) == 4 and shape[1] < shape[0]


# What a network is whose tensors are nearly a ResNet's: (shapes, missing, unexpected) -> whether it is.
Sign = Callable[[Mapping[str, tuple[int, ...]], list[str], list[str]], bool]
SIGNS: tuple[tuple[Sign, str], ...] = (
  (lambda s, m, u: _stem(s, 1) == 1, "it takes images of one channel (grey), and images here are RGB"),
  (lambda s, m, u: _stem(s, 1) != 3, "it does not take images of three channels, and images here are RGB"),
  (
    lambda s, m, u: any(n.startswith("fc.") for n in u),
    "to take 'fc' as its classifier and no more: --head=fc",
  ),
)
OTHERS: tuple[tuple[Sign, str], ...] = (  # networks that may be traced
  (
    lambda s, m, u: _stem(s, 2) == 3,
    "its stem is for small images (CIFAR: 3x3, no pooling), which is not covered",
  ),
  (lambda s, m, u: _stem(s, 2) != 7, "its stem is another, which is not covered"),
  (lambda s, m, u: any("running_" in name for name in m), "without running statistics it has no BatchNorm"),
  (
    lambda s, m, u: any(re.search(r"\.(se|ca|attn|cbam|eca)\b", n) for n in u),
    "it has attention (SE or the like)",
  ),
  (lambda s, m, u: any(n.endswith("filt") for n in u), "it blurs before it strides (anti-aliasing)"),
  (lambda s, m, u: any(re.search(r"conv\d\.bias$", n) for n in u), "its convolutions have biases"),
  (lambda s, m, u: any("downsample.2" in n for n in u), "its shortcuts pool (ResNet-D)"),
  (lambda s, m, u: any(_grouped(*entry) for entry in s.items()), "its convolutions have groups (ResNeXt)"),
)


def _count(names: list[str], noun: str) -> str:
  return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _few(names: Collection[str]) -> str:
  some = sorted(names)[:3]
  return (
    ", ".join(repr(name[:NAME]) for name in some) + (", ..." if len(names) > len(some) else "")
    if some
    else "no tensors"
  )


def depth(architecture: Architecture) -> int | None:
  """Of the published network with these blocks, whatever its width: 50 for ResNet-50."""
  blocks = (architecture.block, architecture.stage_sizes)
  return next((n for n, like in PUBLISHED.items() if (like.block, like.stage_sizes) == blocks), None)


def describe(architecture: Architecture) -> str:
  """In words, e.g. "ResNet-50, width 64, 1000 classes"."""
  number = depth(architecture)
  name = f"ResNet-{number}" if number else f"{architecture.block} ResNet {list(architecture.stage_sizes)}"
  inner = (
    f", inner width {architecture.inner_width}" if architecture.inner_width != architecture.width else ""
  )
  return f"{name}, width {architecture.width}{inner}, {architecture.num_classes} classes"


def to_flax(tensor: np.ndarray) -> np.ndarray:
  """A PyTorch tensor with Flax's order of axes."""
  return np.ascontiguousarray(tensor.transpose(TO_FLAX[tensor.ndim]))


def to_torch(array: np.ndarray) -> np.ndarray:
  """The inverse of `to_flax`."""
  return np.ascontiguousarray(array.transpose(TO_TORCH[array.ndim]))
