"""What several branches of a network use is computed once: equal blocks cost alike, however many."""

import functools

import jax
import numpy as np
import pytest

from biasjax.traced import interpreter, program

SIZE = 8


def written(blocks: int) -> str:
  """Blocks relu(conv(x) + conv(x) + x) of three channels, then the mean over positions."""
  convolution = {"bias": None, "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "transposed": False}
  convolution |= {"output_padding": [0, 0], "groups": 1}
  nodes, x, values = [], 0, 1 + 2

  def node(operation, **arguments):
    nodes.append([operation, arguments])
    return values + len(nodes) - 1

  for _ in range(blocks):
    branches = [
      node("aten.convolution.default", input={"v": x}, weight={"v": weight}, **convolution)
      for weight in (1, 2)
    ]
    total = node("aten.add.Tensor", self={"v": branches[0]}, other={"v": branches[1]})
    total = node("aten.add.Tensor", self={"v": total}, other={"v": x})
    x = node("aten.relu.default", self={"v": total})
  output = node("aten.mean.dim", self={"v": x}, dim=[2, 3])
  weights = [[["params", name], "float32", [3, 3, 1, 1]] for name in ("first", "second")]
  content = {"format": 1, "size": SIZE, "classes": 3, "weights": weights, "nodes": nodes, "output": output}
  return program.dump(content)


def operations(blocks: int, gradient: bool) -> float:
  """What XLA counts in what it made of the network, or of its gradient with respect to the images."""
  of = functools.partial(interpreter.run, program.parse(written(blocks), "blocks"))
  kernel = np.full((3, 3, 1, 1), 0.1, np.float32)
  channels = np.full(3, 0.5, np.float32)
  variables = {
    "normalization": {"mean": channels, "std": channels},
    "params": {"first": kernel, "second": 2 * kernel},
  }
  images = np.zeros((2, SIZE, SIZE, 3), np.float32)
  function = jax.grad(lambda v, x: of(v, x).sum(), 1) if gradient else of
  counted = jax.jit(function).lower(variables, images).compile().cost_analysis()
  assert counted is not None
  return counted["flops"]


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_a_later_block_costs_what_an_earlier_one_costs(gradient):
  two, four, ten, twelve = (operations(blocks, gradient) for blocks in (2, 4, 10, 12))
  assert twelve - ten < 1.1 * (four - two)
