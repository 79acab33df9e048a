"""What several branches of a network use is computed once: equal blocks cost alike, however many."""

import functools
import re

import jax
import numpy as np
import pytest

from biasjax.traced import interpreter, program

SIZE = 8


def written(blocks: int, gated: bool = False) -> str:
  """Blocks relu(conv(x) + conv(x) + x) of three channels, then the mean over positions.

  Gated, they are relu(y * sigmoid(conv(mean(y))) + x) of y = conv(x), as squeeze-and-excitation has them.
  """
  convolution = {"bias": None, "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "transposed": False}
  convolution |= {"output_padding": [0, 0], "groups": 1}
  nodes, x, values = [], 0, 1 + 2

  def node(operation, **arguments):
    nodes.append([operation, arguments])
    return values + len(nodes) - 1

  def convolved(value, weight):
    return node("aten.convolution.default", input={"v": value}, weight={"v": weight}, **convolution)

  for _ in range(blocks):
    if gated:
      y = convolved(x, 1)
      gate = convolved(node("aten.mean.dim", self={"v": y}, dim=[2, 3], keepdim=True), 2)
      gate = node("aten.sigmoid.default", self={"v": gate})
      total = node("aten.mul.Tensor", self={"v": y}, other={"v": gate})
    else:
      branches = [convolved(x, weight) for weight in (1, 2)]
      total = node("aten.add.Tensor", self={"v": branches[0]}, other={"v": branches[1]})
    total = node("aten.add.Tensor", self={"v": total}, other={"v": x})
    x = node("aten.relu.default", self={"v": total})
  output = node("aten.mean.dim", self={"v": x}, dim=[2, 3])
  weights = [[["params", name], "float32", [3, 3, 1, 1]] for name in ("first", "second")]
  content = {"format": 1, "size": SIZE, "classes": 3, "weights": weights, "nodes": nodes, "output": output}
  return program.dump(content)


def compiled(blocks: int, gradient: bool, gated: bool = False) -> jax.stages.Compiled:
  """What XLA made of the network, or of its gradient with respect to the images."""
  of = functools.partial(interpreter.run, program.parse(written(blocks, gated), "blocks"))
  kernel = np.full((3, 3, 1, 1), 0.1, np.float32)
  channels = np.full(3, 0.5, np.float32)
  variables = {
    "normalization": {"mean": channels, "std": channels},
    "params": {"first": kernel, "second": 2 * kernel},
  }
  images = np.zeros((2, SIZE, SIZE, 3), np.float32)
  function = jax.grad(lambda v, x: of(v, x).sum(), 1) if gradient else of
  return jax.jit(function).lower(variables, images).compile()


def operations(blocks: int, gradient: bool) -> float:
  counted = compiled(blocks, gradient).cost_analysis()
  assert counted is not None
  return counted["flops"]


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_a_later_block_costs_what_an_earlier_one_costs(gradient):
  two, four, ten, twelve = (operations(blocks, gradient) for blocks in (2, 4, 10, 12))
  assert twelve - ten < 1.1 * (four - two)


def test_features_under_gates_stay_in_one_layout():
  text = compiled(6, gradient=True, gated=True).as_text()
  features = rf"= f32\[2,(3,{SIZE},{SIZE}|{SIZE},{SIZE},3)\]\S* transpose\("
  assert len(re.findall(features, text)) <= 2  # of the images and of their gradient
