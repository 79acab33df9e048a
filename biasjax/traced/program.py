"""A traced network's graph as data: `program.json`, read as something that anybody may have written.

The file is an object with

  format   1
  size     pixels of a side of the images
  classes  logits
  weights  [[path in the variables, element type, shape], ...]
  nodes    [[operation, {argument: value}], ...], each using what stands before it
  output   the number of the logits

Values are numbered: 0 are the images, normalised, float32 [b, 3, size, size]; then weights; then nodes.
An argument is true, false, null, a number, a string, {"v": number of a value}, {"dtype": name},
{"float": "inf" | "-inf" | "nan"}, or a list of such.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from biasjax.errors import BiasjaxError
from biasjax.traced import table
from biasjax.traced.operations import OPERATIONS
from biasjax.types import Variables

FORMAT = 1
BYTES = 64 * 2**20  # of the file; a large network's has one
NODES = 200_000
WEIGHTS = 100_000
LENGTH = 4096  # of a list of arguments
DEPTH = 4  # of lists within lists
SIDE = 4096  # pixels
CLASSES = 2**20
COLLECTIONS = ("params", "buffers")
FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclasses.dataclass(frozen=True)
class Value:
  """A reference to a value by its number."""

  number: int


@dataclasses.dataclass(frozen=True)
class Weight:
  """What a program takes from the variables.

  Attributes:
    path: its keys in the tree of variables; the first is one of `COLLECTIONS`.
    dtype: a key of `table.DTYPES`.
    shape: its shape.
  """

  path: tuple[str, ...]
  dtype: str
  shape: tuple[int, ...]

  @property
  def bytes(self) -> int:
    """That it takes."""
    return math.prod(self.shape) * table.DTYPES[self.dtype].itemsize


@dataclasses.dataclass(frozen=True)
class Node:
  """One operation with its arguments by name."""

  operation: str
  arguments: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
  """A graph whose form has been checked; equal texts are equal programs.

  Attributes:
    size: pixels of a side of the images.
    classes: logits.
    weights: in order.
    nodes: in order.
    output: the number of the value that is the logits.
    text: as it stands in the file.
  """

  size: int
  classes: int
  weights: tuple[Weight, ...]
  nodes: tuple[Node, ...]
  output: int
  text: str

  @functools.cached_property
  def digest(self) -> str:
    """Hex sha256 of the text."""
    return hashlib.sha256(self.text.encode()).hexdigest()

  @property
  def parameters(self) -> int:
    """Trainable numbers."""
    return sum(math.prod(weight.shape) for weight in self.weights if weight.path[0] == "params")

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Program) and self.text == other.text

  def __hash__(self) -> int:
    return hash(self.text)


def dump(content: Mapping[str, Any]) -> str:
  """The one text of a program: two networks of one graph have the same."""
  return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def parse(text: str, where: str) -> Program:
  """Reads a program and checks its form: known operations, their arguments' names, values that exist.

  Args:
    text: of the file.
    where: what an error calls it.

  Raises:
    BiasjaxError: it is not as it must be; nothing was allocated.
  """
  try:
    return _parse(text)
  except _Wrong as error:
    raise BiasjaxError(f"{where}: {error}: convert again") from None


class _Wrong(Exception):
  """What is wrong with a program."""


def _check(condition: bool, otherwise: str) -> None:
  if not condition:
    raise _Wrong(otherwise)


def _parse(text: str) -> Program:
  _check(len(text) <= BYTES, f"has {len(text):,} bytes, more than any network's")
  try:
    content = json.loads(text, parse_constant=_no_constant)
  except (ValueError, RecursionError) as error:
    raise _Wrong(f"is no JSON ({str(error)[:80]})") from None
  keys = {"format", "size", "classes", "weights", "nodes", "output"}
  _check(isinstance(content, dict) and content.keys() == keys, "is not a program (other keys)")
  _check(_whole(content["format"], FORMAT, FORMAT), f"is of another format than {FORMAT}")
  size, classes = content["size"], content["classes"]
  _check(_whole(size, 1, SIDE), "its size is no number of pixels")
  _check(_whole(classes, 2, CLASSES), "its classes are no number of logits")
  for key, most in (("weights", WEIGHTS), ("nodes", NODES)):
    _check(isinstance(content[key], list) and len(content[key]) <= most, f"its {key} are no list of them")
  weights = tuple(_weight(i, one) for i, one in enumerate(content["weights"]))
  _check_paths(weights)
  before = 1 + len(weights)
  nodes = tuple(_node(i, one, before + i) for i, one in enumerate(content["nodes"]))
  output = content["output"]
  _check(_whole(output, before, before + len(nodes) - 1), "its output is no node")
  return Program(size, classes, weights, nodes, output, text)


def _no_constant(name: str) -> None:
  raise ValueError(f"{name} is not JSON")


def _whole(value: Any, least: int, most: int) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _weight(number: int, one: Any) -> Weight:
  what = f"weight {number}"
  _check(isinstance(one, list) and len(one) == 3, f"{what} is no path, element type and shape")
  path, dtype, shape = one
  _check(
    isinstance(path, list)
    and 2 <= len(path) <= 64
    and all(isinstance(key, str) and 0 < len(key) <= 200 and key.isprintable() for key in path)
    and path[0] in COLLECTIONS,
    f"the path of {what} is none",
  )
  _check(isinstance(dtype, str) and dtype in table.DTYPES, f"the element type of {what} is not known")
  _check(
    isinstance(shape, list) and len(shape) <= 8 and all(_whole(n, 0, 2**31 - 1) for n in shape),
    f"the shape of {what} is none",
  )
  _check(math.prod(shape) < 2**40, f"{what} has {math.prod(shape):,} numbers")
  return Weight(tuple(path), dtype, tuple(shape))


def _check_paths(weights: tuple[Weight, ...]) -> None:
  """No path is another's, or leads through one."""
  paths = {weight.path for weight in weights}
  _check(len(paths) == len(weights), "two weights have the same path")
  for path in paths:
    for n in range(1, len(path)):
      _check(path[:n] not in paths, f"a weight lies in another, {'/'.join(path[:n])[:100]}")


def _node(number: int, one: Any, values: int) -> Node:
  what = f"node {number}"
  _check(isinstance(one, list) and len(one) == 2, f"{what} is no operation with arguments")
  name, arguments = one
  _check(isinstance(name, str) and isinstance(arguments, dict), f"{what} is no operation with arguments")
  known = name in OPERATIONS
  _check(known, f"{what}: the operation {name[:80]!r} is not in the table")
  parameters = table.parameters(name)
  for argument in arguments:
    _check(argument in parameters, f"{what}, {name}: takes no argument {argument[:40]!r}")
  for parameter in parameters.values():
    needed = parameter.default is parameter.empty
    _check(not needed or parameter.name in arguments, f"{what}, {name}: lacks {parameter.name!r}")
  return Node(name, {key: _argument(value, f"{what}, {name}", values) for key, value in arguments.items()})


def _argument(value: Any, what: str, values: int, depth: int = 0) -> Any:
  """An argument as the interpreter has it; `Value` where it stands for one of the first `values`."""
  if isinstance(value, list):
    _check(len(value) <= LENGTH and depth < DEPTH, f"{what}: a list that is too long or too deep")
    return [_argument(one, what, values, depth + 1) for one in value]
  if isinstance(value, dict):
    _check(len(value) == 1, f"{what}: an argument of an unknown form")
    kind, of_kind = next(iter(value.items()))
    if kind == "v":
      _check(_whole(of_kind, 0, values - 1), f"{what}: refers to a value that is not before it")
      return Value(of_kind)
    _check(isinstance(of_kind, str), f"{what}: an argument of an unknown form")
    if kind == "dtype":
      return table.DType(of_kind)
    _check(kind == "float" and of_kind in FLOATS, f"{what}: an argument of an unknown form")
    return FLOATS[of_kind]
  if isinstance(value, int):
    _check(abs(value) < 2**63, f"{what}: a number beyond 64 bits")
  if isinstance(value, str):
    _check(len(value) <= 200, f"{what}: a text of {len(value)} characters")
  return value


def variable_shapes(program: Program) -> Variables:
  """The tree of `jax.ShapeDtypeStruct` of a network's variables: the weights, and "normalization"."""
  channels = jax.ShapeDtypeStruct((3,), np.dtype("float32"))
  tree: Variables = {"normalization": {"mean": channels, "std": channels}}
  for weight in program.weights:
    branch = tree
    for key in weight.path[:-1]:
      branch = branch.setdefault(key, {})
    branch[weight.path[-1]] = jax.ShapeDtypeStruct(weight.shape, table.DTYPES[weight.dtype])
  return tree
