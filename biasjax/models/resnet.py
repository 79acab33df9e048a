"""ResNet v1.5 in Flax linen, numerically the network of torchvision and timm.

He et al. 2016, "Deep Residual Learning for Image Recognition", with the stride in the 3x3 convolution of
a bottleneck ("v1.5", Goyal et al. 2017). Paddings are PyTorch's explicit symmetric ones: XLA's "SAME"
pads a strided convolution on one side only and shifts every feature map by a pixel.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from biasjax.ops.convolution import turned, with_turned
from biasjax.ops.pool import max_pool
from biasjax.types import Images, Logits, Variables

BATCH_NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d
BATCH_NORM_MOMENTUM = 0.9  # flax's momentum is 1 - torch's
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Architecture:
  """What distinguishes one ResNet from another; equal architectures share one compiled program.

  Attributes:
    block: "basic" (two 3x3 convolutions, ResNet-18 and -34) or "bottleneck" (1x1, 3x3, 1x1).
    stage_sizes: blocks in each stage; (3, 4, 6, 3) for ResNet-50.
    width: channels after the stem; 64 as published. Stage i works at width * 2**i.
    inner_width: channels of the 3x3 convolution of a first-stage bottleneck; equals `width` as published,
      twice that in a wide ResNet (Zagoruyko & Komodakis 2016). Equals `width` for basic blocks.
    num_classes: logits.
  """

  block: str
  stage_sizes: tuple[int, ...]
  width: int = 64
  inner_width: int = 64
  num_classes: int = 1000

  def __post_init__(self):
    if self.block not in EXPANSION:
      raise ValueError(f"block must be one of {sorted(EXPANSION)}, not {self.block!r}")
    if self.block == "basic" and self.inner_width != self.width:
      raise ValueError("a basic block has no inner width of its own: inner_width must equal width")

  @property
  def features(self) -> int:
    """Channels that enter the classifier."""
    return self.width * 2 ** (len(self.stage_sizes) - 1) * EXPANSION[self.block]

  def blocks(self) -> list["Residual"]:
    """The residual blocks in the order in which an image goes through them."""
    found: list[Residual] = []
    inputs = self.width
    for stage, size in enumerate(self.stage_sizes, start=1):
      scale = 2 ** (stage - 1)
      channels, inner = self.width * scale * EXPANSION[self.block], self.inner_width * scale
      for index in range(size):
        stride = 2 if stage > 1 and index == 0 else 1
        if self.block == "basic":
          convolutions = ((channels, 3, stride), (channels, 3, 1))
        else:
          convolutions = ((inner, 1, 1), (inner, 3, stride), (channels, 1, 1))
        found.append(Residual(stage, index, inputs, convolutions))
        inputs = channels
    return found


EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its stage's width


@dataclasses.dataclass(frozen=True)
class Residual:
  """One residual block of an architecture.

  Attributes:
    stage: counted from 1, as in torchvision's names.
    index: within the stage, counted from 0.
    inputs: channels that enter.
    convolutions: (channels, kernel size, stride) of each, in order.
  """

  stage: int
  index: int
  inputs: int
  convolutions: tuple[tuple[int, int, int], ...]

  @property
  def channels(self) -> int:
    """That leave."""
    return self.convolutions[-1][0]

  @property
  def stride(self) -> int:
    """Of the block as a whole."""
    return max(stride for _, _, stride in self.convolutions)

  @property
  def project(self) -> bool:
    """Whether the shortcut is a 1x1 convolution, because its shape changes."""
    return self.stride != 1 or self.inputs != self.channels


RESNET18 = Architecture("basic", (2, 2, 2, 2))
RESNET34 = Architecture("basic", (3, 4, 6, 3))
RESNET50 = Architecture("bottleneck", (3, 4, 6, 3))
RESNET101 = Architecture("bottleneck", (3, 4, 23, 3))
RESNET152 = Architecture("bottleneck", (3, 8, 36, 3))
PUBLISHED = {18: RESNET18, 34: RESNET34, 50: RESNET50, 101: RESNET101, 152: RESNET152}  # by depth


EASED = "turned"  # the collection of what makes gradients cheaper


def eased(variables: Variables) -> Variables:
  """The variables with each kernel turned round beside it, for many gradients of images (`with_turned`).

  Those of another function, which only goes by the architecture's name, are left as they are.
  """
  if "params" not in variables:
    return variables
  return {**variables, EASED: _turned_kernels(variables["params"])}


def _turned_kernels(params: Mapping[str, Any]) -> dict[str, Any]:
  found: dict[str, Any] = {}
  for name, inner in params.items():
    if isinstance(inner, Mapping) and "kernel" not in inner:
      found[name] = _turned_kernels(inner)
    elif isinstance(inner, Mapping) and inner["kernel"].ndim == 4:
      found[f"{name}_kernel"] = turned(jnp.asarray(inner["kernel"]))
  return found


def _conv(module: nn.Module, features: int, size: int, stride: int, name: str, dtype: Any) -> nn.Conv:
  pad, backwards, convolve = size // 2, f"{name}_kernel", None
  if module.has_variable(EASED, backwards):
    kernel = module.get_variable(EASED, backwards)
    convolve = functools.partial(with_turned, kernel if dtype is None else kernel.astype(dtype))
  return nn.Conv(
    features,
    (size, size),
    (stride, stride),
    padding=((pad, pad), (pad, pad)),
    use_bias=False,
    dtype=dtype,
    conv_general_dilated=convolve,
    kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    name=name,
  )


def _batch_norm(train: bool, name: str, dtype: Any, scale: float = 1.0) -> nn.BatchNorm:
  return nn.BatchNorm(
    use_running_average=not train,
    momentum=BATCH_NORM_MOMENTUM,
    epsilon=BATCH_NORM_EPSILON,
    dtype=dtype,
    scale_init=nn.initializers.constant(scale),
    name=name,
  )


class Block(nn.Module):
  """A residual block in Flax."""

  shape: Residual
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, train: bool):
    """Features [b, h', w', channels] of features [b, h, w, c]."""
    residual = x
    last = len(self.shape.convolutions)
    for i, (channels, size, stride) in enumerate(self.shape.convolutions, start=1):
      x = _conv(self, channels, size, stride, f"conv{i}", self.dtype)(x)
      # The last scale starts at zero, so that a fresh block is the identity (Goyal et al. 2017).
      x = _batch_norm(train, f"bn{i}", self.dtype, scale=0.0 if i == last else 1.0)(x)
      x = x if i == last else nn.relu(x)
    if self.shape.project:
      residual = _conv(self, self.shape.channels, 1, self.shape.stride, "downsample_conv", self.dtype)(
        residual
      )
      residual = _batch_norm(train, "downsample_bn", self.dtype)(residual)
    return nn.relu(x + residual)


class ResNet(nn.Module):
  """Images in [0, 1] to logits; the checkpoint's own mean and std are variables, not constants.

  Collections: "params", "batch_stats", and "normalization" with "mean" and "std", float32 [3]; for gradients
  also what `eased` adds.

  Attributes:
    architecture: its shape.
    dtype: of features and of products; None for that of images and variables. Parameters, normalisation,
      statistics, pooling and classifier stay in float32 with bfloat16, too.
  """

  architecture: Architecture
  dtype: Any = None

  @nn.compact
  def __call__(self, images: Images, *, train: bool = False) -> Logits:
    """Logits, float32 [b, num_classes], of float32 RGB images [b, h, w, 3] in [0, 1].

    `train` makes BatchNorm use the batch's statistics and update "batch_stats".
    """
    arch = self.architecture
    mean = self.variable("normalization", "mean", lambda: jnp.array(IMAGENET_MEAN)).value
    std = self.variable("normalization", "std", lambda: jnp.array(IMAGENET_STD)).value
    x = (images - mean[None, None, None]) / std[None, None, None]

    x = _conv(self, arch.width, 7, 2, "conv1", self.dtype)(x)
    x = nn.relu(_batch_norm(train, "bn1", self.dtype)(x))
    x = max_pool(x)

    for block in arch.blocks():
      x = Block(block, self.dtype, name=f"layer{block.stage}_{block.index}")(x, train=train)

    x = jnp.mean(x.astype(images.dtype), axis=(1, 2))
    self.sow("intermediates", "features", x)  # nothing, unless that collection is asked for
    return nn.Dense(arch.num_classes, name="fc")(x)
