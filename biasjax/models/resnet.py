"""ResNet v1.5 in Flax linen, numerically the network of torchvision and timm.

He et al. 2016, "Deep Residual Learning for Image Recognition", with the stride in the 3x3 convolution of
a bottleneck ("v1.5", Goyal et al. 2017). Paddings are PyTorch's explicit symmetric ones: XLA's "SAME"
pads a strided convolution on one side only and shifts every feature map by a pixel.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from biasjax.models.architecture import (
  BATCH_NORM_EPSILON,
  IMAGENET_MEAN,
  IMAGENET_STD,
  Architecture,
  Residual,
)
from biasjax.ops.convolution import convolve, turned, with_turned
from biasjax.ops.pool import max_pool
from biasjax.types import Images, Logits, Variables

BATCH_NORM_MOMENTUM = 0.9  # flax's momentum is 1 - torch's


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
  pad, backwards, over = size // 2, f"{name}_kernel", convolve
  if module.has_variable(EASED, backwards):
    kernel = module.get_variable(EASED, backwards)
    over = functools.partial(with_turned, kernel if dtype is None else kernel.astype(dtype))
  return nn.Conv(
    features,
    (size, size),
    (stride, stride),
    padding=((pad, pad), (pad, pad)),
    use_bias=False,
    dtype=dtype,
    conv_general_dilated=over,
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
