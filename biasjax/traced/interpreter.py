"""Runs a program's operations in order, while JAX traces: what comes out is a JAX function like any other."""

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata

from biasjax.errors import BiasjaxError
from biasjax.traced import comparing, prepared, table
from biasjax.traced.operations import OPERATIONS, PRODUCTS
from biasjax.traced.program import Program, Value, variable_shapes
from biasjax.types import Images, Logits, Variables

VALUE_LIMIT = 4 * 2**30  # bytes of one value, for each image
BRANCHES = 2  # users of a value, from which on it is kept for them


@functools.lru_cache(maxsize=64)
def apply_function(program: Program, precision: str = "float32") -> Callable[[Variables, Images], Logits]:
  """The compiled network, one object for equal programs and precisions: weights are arguments.

  Args:
    program: the graph.
    precision: "bfloat16" for products in bfloat16; otherwise they have the precision of the context.

  Returns:
    (variables, images float32 [b, size, size, 3] in [0, 1]) -> logits float32 [b, classes].
  """

  def apply(variables: Variables, images: Images) -> Logits:
    return run(program, variables, images, precision)

  return jax.jit(apply)


def run(program: Program, variables: Variables, images: Any, precision: str = "float32") -> Any:
  """Logits of a traced network.

  Args:
    program: the graph.
    variables: its weights by path, and "normalization" with "mean" and "std", float32 [3].
    images: float32 [b, size, size, 3] in [0, 1].
    precision: see `apply_function`.

  Raises:
    BiasjaxError: the images have another size; or the program asks for what cannot be, and a line says which
      operation it was.
  """
  size = program.size
  if images.ndim != 4 or images.shape[1:] != (size, size, 3):
    raise BiasjaxError(f"this network sees images of {size} x {size} x 3, not {list(images.shape[1:])}")
  mean, std = variables["normalization"]["mean"], variables["normalization"]["std"]
  x = jnp.moveaxis((images - mean[None, None, None]) / std[None, None, None], -1, 1)
  values: list[Any] = [x]
  for weight in program.weights:
    values.append(jnp.asarray(functools.reduce(lambda tree, key: tree[key], weight.path, variables)))
  most = VALUE_LIMIT * max(images.shape[0], 1)
  beside = {of: variables.get(of, {}) for of in (prepared.FORWARDS, prepared.BACKWARDS)}
  branching = _branching(program) if jax.default_backend() == "cpu" else set()
  compared, divided = comparing.compared(program), comparing.divided(program)
  # Shapes that broadcast are part of what PyTorch's operations mean.
  with jax.numpy_rank_promotion("allow"):
    for number, node in enumerate(program.nodes):
      try:
        arguments = {name: _resolved(value, values) for name, value in node.arguments.items()}
        table.bind(node.operation, arguments)
        if len(values) in divided:
          arguments = _by_full_shape(**arguments)
        reduced = precision == "bfloat16" and node.operation in PRODUCTS
        orders = {of: jnp.asarray(kept[str(number)]) for of, kept in beside.items() if str(number) in kept}
        arguments, orders = (_cast(of) if reduced else of for of in (arguments, orders))
        if orders:
          result = prepared.run(node.operation, arguments, **orders)
        else:
          result = OPERATIONS[node.operation](**arguments)
        result = list(result) if isinstance(result, list | tuple) else result
        _refuse_large(result, most)
        result = _widened(result) if reduced else result
        fewest = 0 if len(values) in compared else 3 if len(values) in branching else None
        values.append(result if fewest is None else _once(result, fewest))
      # What an argument that makes no sense leads JAX to raise has no common base.
      except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BiasjaxError(
          f"the program's node {number}, {node.operation}, cannot be computed: {reason}"
        ) from error
  return values[program.output]


def _branching(program: Program) -> set[int]:
  """Numbers of the values of nodes that are no products and that many nodes use."""
  users = comparing.users(program)
  first = 1 + len(program.weights)
  return {
    number
    for number, node in enumerate(program.nodes, first)
    if users[number] >= BRANCHES and node.operation not in PRODUCTS
  }


def _once(result: Any, fewest: int) -> Any:
  """A copy of features, and of their gradient, that XLA computes once.

  It else may compute them again for each user, and on CPUs those before them again for each of theirs: where
  blocks add several branches, time and memory of compiling grew with the square of the depth. Of fewer
  dimensions than `fewest`, what was given. Features [b, c, h, w] are copied with channels last on CPUs, as
  the convolutions have them there, or they would be transposed on either side.
  """
  if not isinstance(result, jax.Array) or result.ndim < fewest:
    return result
  if not jnp.issubdtype(result.dtype, jnp.floating):
    return result
  if result.ndim != 4 or jax.default_backend() != "cpu":
    return _apart(result)
  return jnp.moveaxis(_apart(jnp.moveaxis(result, 1, -1)), -1, 1)


def _apart(x: jax.Array) -> jax.Array:
  """x, into whose making XLA does not see: a barrier, or on CPUs, where that is gone before XLA joins
  operations, a function that is not inlined."""
  if jax.default_backend() != "cpu":
    return jax.lax.optimization_barrier(x)
  with set_xla_metadata(inlineable="false"):
    return _copied(x)


@jax.jit
def _copied(x: jax.Array) -> jax.Array:
  return jnp.array(x, copy=True)


def _by_full_shape(self: Any, other: Any, **rest: Any) -> dict[str, Any]:
  """Arguments of a division that XLA cannot see to be by a number or by what broadcasts, so that it divides
  in earnest."""
  shape = jnp.broadcast_shapes(jnp.shape(self), jnp.shape(other))
  spread = jnp.broadcast_to(jnp.asarray(other, jnp.result_type(self, other)), shape)
  return {"self": self, "other": _apart(spread), **rest}


def _resolved(argument: Any, values: list[Any]) -> Any:
  if isinstance(argument, Value):
    return values[argument.number]
  if isinstance(argument, list):
    return [_resolved(one, values) for one in argument]
  return argument


def _cast(arguments: dict[str, Any]) -> dict[str, Any]:
  """float32 arrays in bfloat16."""

  def cast(value: Any) -> Any:
    floating = isinstance(value, jax.Array) and value.dtype == jnp.float32
    return value.astype(jnp.bfloat16) if floating else value

  return {name: cast(value) for name, value in arguments.items()}


def _widened(result: Any) -> Any:
  return result.astype(jnp.float32) if result.dtype == jnp.bfloat16 else result


def _refuse_large(result: Any, most: int) -> None:
  for value in result if isinstance(result, list) else [result]:
    if isinstance(value, jax.Array):
      needed = math.prod(value.shape) * value.dtype.itemsize
      table.require(needed <= most, f"a value of {list(value.shape)} is beyond memory")


def check(program: Program, where: str) -> None:
  """Goes through a program without computing: shapes fit, nothing is beyond memory, the result is logits.

  Args:
    program: whose form is right.
    where: what an error calls it.

  Raises:
    BiasjaxError: one of these does not hold; nothing was allocated.
  """
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  needed = sum(weight.bytes for weight in program.weights)
  if needed > memory:
    raise BiasjaxError(f"{where}: its weights take {needed:,} bytes; this machine has {memory:,}")
  for count in (2, 3):  # one image is no test of a batch
    images = jax.ShapeDtypeStruct((count, program.size, program.size, 3), np.dtype("float32"))
    try:
      logits = jax.eval_shape(functools.partial(run, program), variable_shapes(program), images)
    except BiasjaxError as error:
      raise BiasjaxError(f"{where}: {error}") from error
    expected = (count, program.classes)
    if (
      not isinstance(logits, jax.ShapeDtypeStruct) or logits.shape != expected or logits.dtype != jnp.float32
    ):
      found = f"{logits.dtype} {list(logits.shape)}" if hasattr(logits, "dtype") else type(logits).__name__
      raise BiasjaxError(f"{where}: gives {found}, not logits float32 {list(expected)}")
