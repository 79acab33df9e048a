"""Weights in the order in which products and convolutions on CPUs take them, made once and not at every call.

XLA's own product orders PyTorch's weights of a linear layer, [out, in], anew as it multiplies, and those of a
convolution, [out, in, h, w], are transposed before: of few images that takes longer than the product itself
(docs/performance.md).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from biasjax.ops.convolution import convolve, over_few_places, turned, with_turned
from biasjax.traced.convolution import as_it_is, convolution
from biasjax.traced.program import Node, Program, Value
from biasjax.traced.table import Array, pair
from biasjax.types import Variables

FORWARDS, BACKWARDS = "forwards", "backwards"  # collections of the variables: by the node's number
LINEAR, CONVOLUTION = "aten.linear.default", "aten.convolution.default"


def forwards(program: Program, variables: Variables) -> Variables:
  """The variables and, beside them, weights for forward passes.

  Those of linear layers [out, in] as [in, out], those of convolutions [out, in, h, w] as [h, w, in, out], in
  their own element types. A gradient to the weights is lost with them: they are for measuring.
  """
  return {**variables, FORWARDS: _each(program, variables, _in_order)}


def backwards(program: Program, variables: Variables) -> Variables:
  """The variables of `forwards` and, beside them, kernels for gradients to images.

  Of convolutions, turned round, as [h, w, out, in]. Other variables than those of `forwards` are left alone.
  """
  return {**variables, BACKWARDS: _each(program, variables, _turned)} if FORWARDS in variables else variables


def _each(program: Program, variables: Variables, of: Callable[[Node, Any], Any]) -> dict[str, Any]:
  found = {}
  for number, node in enumerate(program.nodes):
    weight = node.arguments.get("weight")
    if node.operation not in (LINEAR, CONVOLUTION) or not isinstance(weight, Value):
      continue
    if 0 < weight.number <= len(program.weights):
      path = program.weights[weight.number - 1].path
      made = of(node, functools.reduce(lambda tree, key: tree[key], path, variables))
      found |= {} if made is None else {str(number): made}
  return found


def _in_order(node: Node, weight: Any) -> Any:
  if node.operation == LINEAR:
    ordered = weight.T if weight.ndim == 2 else None
  else:
    ordered = weight.transpose(2, 3, 1, 0) if as_it_is(weight.shape, node.arguments) else None
  return np.ascontiguousarray(ordered) if isinstance(ordered, np.ndarray) else ordered


def _turned(node: Node, weight: Any) -> Any:
  convolved = node.operation == CONVOLUTION and as_it_is(weight.shape, node.arguments)
  return turned(jnp.transpose(weight, (2, 3, 1, 0))) if convolved else None


def run(
  operation: str, arguments: Mapping[str, Any], forwards: Array, backwards: Array | None = None
) -> Array:
  """What the operation of a node gives, with its weight in order.

  Args:
    operation: `LINEAR` or `CONVOLUTION`.
    arguments: of the node, bound.
    forwards: of the collection `FORWARDS`.
    backwards: of `BACKWARDS`, where that is there.
  """
  x, bias = arguments["input"], arguments.get("bias")
  if operation == LINEAR:
    product = _product(x, forwards, arguments["weight"])
    return product if bias is None else product + bias
  strides = pair(arguments["stride"], "stride", 1)
  padding = [(p, p) for p in pair(arguments["padding"], "padding", 0)]
  if over_few_places(x.shape[2:], forwards.shape[:2], strides, padding):
    return convolution(**arguments)
  over = convolve if backwards is None else functools.partial(with_turned, backwards)
  last = over(jnp.moveaxis(x, 1, 3), forwards, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
  result = jnp.moveaxis(last, 3, 1)
  return result if bias is None else result + bias.reshape(1, -1, 1, 1)


@jax.custom_vjp
def _product(x: Array, transposed: Array, weight: Array) -> Array:
  del weight
  return jnp.matmul(x, transposed)


def _product_forward(x, transposed, weight):
  return _product(x, transposed, weight), weight


def _product_backward(weight, gradient):
  return jnp.matmul(gradient, weight), None, None


_product.defvjp(_product_forward, _product_backward)
