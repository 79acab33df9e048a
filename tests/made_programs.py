"""Small traced networks, written by hand, with weights drawn at random: no torch is needed to have them."""

import pathlib
from typing import Any

import numpy as np
from etils import epath

from biasjax.models import load, stored
from biasjax.traced import program
from biasjax.traced.program import Program, parse

SIZE = 16
CLASSES = 5


class Writing:
  """A program in the making; each call of `node` gives a reference to its value."""

  def __init__(self, *, size: int = SIZE, classes: int = CLASSES):
    self.content: dict[str, Any] = {"format": 1, "size": size, "classes": classes}
    self.weights: list = []
    self.nodes: list = []
    self.images = {"v": 0}

  def weight(self, path: str, *shape: int, dtype: str = "float32") -> dict:
    assert not self.nodes, "weights come first"
    self.weights.append([path.split("."), dtype, list(shape)])
    return {"v": len(self.weights)}

  def node(writing, operation: str, /, **arguments: Any) -> dict:
    name = operation if operation.startswith("operator") else f"aten.{operation}"
    writing.nodes.append([name, arguments])
    return {"v": len(writing.weights) + len(writing.nodes)}

  def text(self) -> str:
    content = self.content | {"weights": self.weights, "nodes": self.nodes}
    return program.dump(content | {"output": len(self.weights) + len(self.nodes)})


def written(*, size: int = SIZE, classes: int = CLASSES, width: int = 8) -> str:
  """A network of most kinds of operations: kernels, normalisation, pooling, attention, sizes, indices."""
  w = Writing(size=size, classes=classes)
  stem = w.weight("params.stem.weight", width, 3, 3, 3)
  scale, shift = (w.weight(f"params.norm.{n}", width) for n in ("weight", "bias"))
  mean, var = (w.weight(f"buffers.norm.{n}", width) for n in ("running_mean", "running_var"))
  deep = w.weight("params.deep.weight", width, 1, 3, 3)
  project = w.weight("params.qkv.weight", 3 * width, width)
  order = w.weight("buffers.order", (size // 4) ** 2, dtype="int32")
  head, bias = w.weight("params.head.weight", classes, width), w.weight("params.head.bias", classes)
  common = {"dilation": [1, 1], "transposed": False, "output_padding": [0, 0]}
  x = w.node(
    "convolution.default",
    **common,
    input=w.images,
    weight=stem,
    bias=None,
    stride=[2, 2],
    padding=[1, 1],
    groups=1,
  )
  x = w.node(
    "_native_batch_norm_legit_no_training.default",
    input=x,
    weight=scale,
    bias=shift,
    running_mean=mean,
    running_var=var,
    momentum=0.1,
    eps=1e-3,
  )
  x = w.node("hardswish.default", self=w.node("operator.getitem", a=x, b=0))
  x = w.node("max_pool2d.default", self=x, kernel_size=[3, 3], stride=[2, 2], padding=[1, 1])
  x = w.node(
    "convolution.default",
    **common,
    input=x,
    weight=deep,
    bias=None,
    stride=[1, 1],
    padding=[1, 1],
    groups=width,
  )
  batch = w.node("sym_size.int", self=x, dim=0)
  x = w.node("view.default", self=x, size=[batch, width, w.node("operator.mul", a=size // 4, b=size // 4)])
  x = w.node("permute.default", self=x, dims=[0, 2, 1])
  x = w.node("index.Tensor", self=x, indices=[None, order])
  x = w.node("layer_norm.default", input=x, normalized_shape=[width], eps=1e-6)
  parts = w.node(
    "split_with_sizes.default",
    self=w.node("linear.default", input=x, weight=project),
    split_sizes=[width] * 3,
    dim=-1,
  )
  q, k, v = (w.node("operator.getitem", a=parts, b=i) for i in range(3))
  attended = w.node("scaled_dot_product_attention.default", query=q, key=k, value=v)
  x = w.node("add.Tensor", self=x, other=w.node("gelu.default", self=attended))
  x = w.node("mean.dim", self=x, dim=[1])
  x = w.node("clamp.default", self=x, min=-3, max={"float": "inf"})
  w.node("linear.default", input=x, weight=head, bias=bias)
  return w.text()


def drawn(made: Program, seed: int = 0) -> dict[str, Any]:
  """Variables of a program: none is trivial, variances are positive, whole numbers are a permutation."""
  rng = np.random.default_rng(seed)
  tree: dict[str, Any] = {
    "normalization": {
      "mean": rng.uniform(0.3, 0.6, 3).astype(np.float32),
      "std": rng.uniform(0.2, 0.3, 3).astype(np.float32),
    }
  }
  for weight in made.weights:
    fan_in = max(int(np.prod(weight.shape[1:])), 1)
    values = rng.normal(0, fan_in**-0.5 if len(weight.shape) > 1 else 0.3, weight.shape)
    if weight.path[-1] == "running_var":
      values = 0.5 + np.abs(values)
    if weight.dtype == "int32":
      values = rng.permutation(weight.shape[0])
    branch = tree
    for key in weight.path[:-1]:
      branch = branch.setdefault(key, {})
    branch[weight.path[-1]] = values.astype(weight.dtype)
  return tree


def made_checkpoint(folder: pathlib.Path, seed: int = 0, **program: Any) -> pathlib.Path:
  """A traced network as `python -m convert` leaves it; no torch."""
  made = parse(written(**program), "made")
  folder.mkdir(parents=True)
  load.save(epath.Path(folder), made, drawn(made, seed))
  (folder / stored.CERTIFICATE).write_text("{}")
  return folder
