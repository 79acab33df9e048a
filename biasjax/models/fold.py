"""BatchNorm folded into the convolutions before it: the same function of an image in fewer steps.

In evaluation mode BatchNorm multiplies by scale / sqrt(var + epsilon) and adds a constant; both can be part
of the convolution. Mean and std stay apart: the stem pads with zeros after normalising, which no kernel can
imitate.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from biasjax.models.load import Model, fingerprint
from biasjax.models.resnet import BATCH_NORM_EPSILON, Architecture
from biasjax.types import Images, Logits, Variables

NORM_OF = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "downsample_conv": "downsample_bn"}


def fold(variables: Variables) -> Variables:
  """The variables of the folded network.

  Args:
    variables: of `biasjax.models.resnet.ResNet`, NumPy arrays.

  Returns:
    "params" with a "kernel" and a "bias" for each convolution, and "normalization"; computed in float64 and
    rounded once to float32.
  """

  def folded(params: dict, stats: dict) -> dict:
    result = {}
    for name, value in params.items():
      if name in NORM_OF:
        norm = NORM_OF[name]
        variance = stats[norm]["var"].astype(np.float64) + BATCH_NORM_EPSILON
        factor = params[norm]["scale"] / np.sqrt(variance)
        bias = params[norm]["bias"] - stats[norm]["mean"] * factor
        kernel = value["kernel"] * factor[None, None, None]
        result[name] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
      elif name.startswith("layer"):
        result[name] = folded(value, stats[name])
    return result

  params = variables["params"]
  return {
    "params": folded(params, variables["batch_stats"]) | {"fc": params["fc"]},
    "normalization": variables["normalization"],
  }


@functools.cache
def apply_function(architecture: Architecture) -> Callable[[Variables, Images], Logits]:
  """The compiled folded network, one object for equal architectures."""
  convolutions = 2 if architecture.block == "basic" else 3
  strided = 1 if architecture.block == "basic" else 2  # the 3x3 convolution that has the stride

  def block(params: dict, x: Float[Array, "b h w c"], stride: int) -> Float[Array, "b i j d"]:
    y = x
    for i in range(1, convolutions + 1):
      y = _conv(params[f"conv{i}"], y, stride if i == strided else 1)
      y = y if i == convolutions else jax.nn.relu(y)
    if "downsample_conv" in params:
      x = _conv(params["downsample_conv"], x, stride)
    return jax.nn.relu(x + y)

  def apply(variables: Variables, images: Images) -> Logits:
    params = variables["params"]
    mean, std = variables["normalization"]["mean"], variables["normalization"]["std"]
    x = (images - mean[None, None, None]) / std[None, None, None]
    x = jax.nn.relu(_conv(params["conv1"], x, 2))
    window = {"window_dimensions": (1, 3, 3, 1), "window_strides": (1, 2, 2, 1)}
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, padding=padding, **window)
    for stage, size in enumerate(architecture.stage_sizes):
      for index in range(size):
        stride = 2 if stage > 0 and index == 0 else 1
        x = block(params[f"layer{stage + 1}_{index}"], x, stride)
    return jnp.mean(x, axis=(1, 2)) @ params["fc"]["kernel"] + params["fc"]["bias"][None]

  return jax.jit(apply)


def _conv(params: dict, x: Float[Array, "b h w c"], stride: int) -> Float[Array, "b i j d"]:
  pad = params["kernel"].shape[0] // 2
  x = jax.lax.conv_general_dilated(
    x,
    params["kernel"],
    window_strides=(stride, stride),
    padding=((pad, pad), (pad, pad)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return x + params["bias"][None, None, None]


def fold_model(model: Model) -> Model:
  """A model whose BatchNorm is folded: its logits are `model`'s up to float32's rounding."""
  variables = fold(model.variables)
  return dataclasses.replace(
    model,
    variables=variables,
    apply=apply_function(model.architecture),
    fingerprint=fingerprint(model.architecture, variables),
  )
