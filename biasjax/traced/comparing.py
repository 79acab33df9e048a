"""Which values' last digits count: those that a network compares with what it made of them, or rounds.

XLA may compute a value again for each of its users, with other last digits, and leaves a product in a sum
unrounded. Then no token equals the greatest of all, say, and what such a comparison lets through is lost. And
it divides by a number, on CPUs by what broadcasts too, as a product with the reciprocal: 41 / 41 is below 1.
"""

import collections
import math
from collections.abc import Iterator, Sequence
from typing import Any

from biasjax.traced.program import Node, Program, Value

EQUALITIES = {f"aten.{name}.{kind}" for name in ("eq", "ne") for kind in ("Tensor", "Scalar")}
ORDERS = {f"aten.{name}.{kind}" for name in ("ge", "gt", "le", "lt") for kind in ("Tensor", "Scalar")}
STEPS = {f"aten.{name}.default" for name in ("floor", "ceil", "trunc", "round")}
CASTS = {"aten._to_copy.default", "aten.to.dtype"}
QUOTIENTS = {f"aten.div.{kind}" for kind in ("Tensor", "Scalar")}
ROUNDED = {f"{name}_mode" for name in QUOTIENTS}
# What keeps digits, or makes others of each number alone: what is behind it is compared, too.
VIEWS = {"view.default", "_unsafe_view.default", "reshape.default", "flatten.using_ints", "permute.default"}
VIEWS |= {"transpose.int", "t.default", "unsqueeze.default", "squeeze.dims", "squeeze.dim", "expand.default"}
VIEWS |= {"select.int", "slice.Tensor", "alias.default", "clone.default", "detach.default"}
ARITHMETIC = {"add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "neg.default", "abs.default"}
THROUGH = {f"aten.{name}" for name in VIEWS | ARITHMETIC | {"clamp.default"}}


def compared(program: Program) -> set[int]:
  """Numbers of values with several users behind what is rounded, or compared with a value or for equality.

  An order to a number is none of it, but of a quotient: `x > 0` asks for no digit that PyTorch's rounding
  would hold to, `x / most >= 1` does.
  """
  counts, quotients = users(program), divided(program)
  first = 1 + len(program.weights)
  asking = [
    node
    for number, node in enumerate(program.nodes, first)
    if _rounds(node) or _equal(node) or number in quotients
  ]
  return {number for number in _behind(program, asking) if counts[number] > 1}


def divided(program: Program) -> set[int]:
  """Numbers of quotients that are rounded to whole numbers or compared: 41 / 41 is to have the floor 1."""
  first = 1 + len(program.weights)
  asking = [node for node in program.nodes if _rounds(node) or node.operation in EQUALITIES | ORDERS]
  behind = _behind(program, asking)
  return {
    number
    for number, node in enumerate(program.nodes, first)
    if node.operation in ROUNDED or (node.operation in QUOTIENTS and number in behind)
  }


def _rounds(node: Node) -> bool:
  whole = str(node.arguments.get("dtype")).startswith(("int", "uint"))
  return node.operation in STEPS or (node.operation in CASTS and whole)


def _equal(node: Node) -> bool:
  other = node.arguments.get("other")
  if node.operation in EQUALITIES:  # scores that a mask made infinite are so for everybody
    return not (isinstance(other, float) and math.isinf(other))
  return node.operation in ORDERS and isinstance(other, Value)


def _behind(program: Program, asking: Sequence[Node]) -> set[int]:
  """Numbers of the nodes' values that those asking are given, by themselves or through `THROUGH`."""
  first = 1 + len(program.weights)
  found: set[int] = set()
  waiting = [number for node in asking for number in _used(node)]
  while waiting:
    number = waiting.pop()
    if number < first or number in found:
      continue
    found.add(number)
    node = program.nodes[number - first]
    if node.operation in THROUGH:
      waiting.extend(_used(node))
  return found


def users(program: Program) -> collections.Counter[int]:
  """How many nodes use each value, by its number."""
  return collections.Counter(number for node in program.nodes for number in _used(node))


def _used(of: Any) -> Iterator[int]:
  """Numbers of the values among a node's arguments, or in one of them."""
  if isinstance(of, Value):
    yield of.number
  elif isinstance(of, Node | list):
    for one in of.arguments.values() if isinstance(of, Node) else of:
      yield from _used(one)
