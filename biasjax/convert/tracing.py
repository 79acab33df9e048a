"""A PyTorch network to a program: `torch.export`, decomposed to the operations of the table, as data.

Needs torch, which is there when a network is converted and never after.
"""

import dataclasses
import math
import operator
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from biasjax.convert.conversion import insert
from biasjax.errors import BiasjaxError
from biasjax.traced import program as programs
from biasjax.traced import table
from biasjax.traced.operations import OPERATIONS
from biasjax.traced.program import Program
from biasjax.types import Variables

# Arguments that say where and how memory lies: JAX decides that.
PLACEMENT = {
  *("device", "layout", "pin_memory", "memory_format", "non_blocking", "copy", "implicit", "generator"),
  *("cudnn_enabled", "cudnn_enable"),
}
ELEMENTS = {
  **{f"torch.{name}": name for name in table.DTYPES},
  "torch.float64": "float32",
  "torch.int64": "int32",
  "torch.int16": "int32",
  "torch.int8": "int32",
}


@dataclasses.dataclass(frozen=True)
class Traced:
  """What tracing gives.

  Attributes:
    program: the graph.
    weights: NumPy arrays by path in the variables, in the element types that the program says.
    names: the module's own name of each path.
  """

  program: Program
  weights: dict[tuple[str, ...], np.ndarray]
  names: dict[tuple[str, ...], str]


def trace(module: Any, size: int) -> Traced:
  """Traces a module in evaluation mode.

  Args:
    module: a `torch.nn.Module`, of normalised images float32 [b, 3, size, size] to logits [b, classes].
    size: pixels of a side.

  Raises:
    BiasjaxError: torch cannot export it, it holds an operation that is not in the table, or what comes out
      is no logits.
  """
  import torch

  module = module.float().eval()
  images = torch.zeros(2, 3, size, size)
  try:
    with torch.no_grad(), warnings.catch_warnings():
      warnings.simplefilter("ignore")  # about torch.export's own use of torch
      exported = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
      decompositions = torch.export.default_decompositions()
      for op in list(decompositions):
        if str(op) in OPERATIONS:  # what the table knows stays whole
          del decompositions[op]
      exported = exported.run_decompositions(decompositions)
  except Exception as error:  # torch.export raises whatever the module leads it to
    reason = " ".join(str(error).split())[:300]
    if reason.startswith("Constraints violated"):  # torch's own words are about our call
      raise BiasjaxError(
        f"{type(module).__name__}: it can be traced for one number of images only: it has a loop over them, "
        "say, or a number of images of its own"
      ) from error
    raise BiasjaxError(
      f"{type(module).__name__}: torch.export cannot trace it: {type(error).__name__}: {reason}"
    ) from error
  return _Writer(exported, type(module).__name__, size).traced()


def results(given: Any) -> list[Any]:
  """What of a network's result is there, whatever dicts, lists or objects hold it."""
  from torch.utils import _pytree

  return [leaf for leaf in _pytree.tree_leaves(given) if leaf is not None]


def variables(weights: Mapping[tuple[str, ...], np.ndarray], mean: np.ndarray, std: np.ndarray) -> Variables:
  """A program's tree of variables, of {path: weight} and the images' mean and std, float32 [3]."""
  tree: Variables = {"normalization": {"mean": mean, "std": std}}
  for path, value in weights.items():
    insert(tree, path, value)
  return tree


class _Writer:
  """Turns an exported program into ours."""

  def __init__(self, exported: Any, name: str, size: int):
    self.exported, self.name, self.size = exported, name, size
    self.numbers: dict[str, int] = {}  # fx node -> value
    self.weights: dict[tuple[str, ...], np.ndarray] = {}
    self.names: dict[tuple[str, ...], str] = {}

  def traced(self) -> Traced:
    graph = self.exported.graph
    output = self._output(next(node for node in graph.nodes if node.op == "output").args[0])
    needed = self._needed(output)
    self._inputs(needed)
    self._refuse_changing(needed)
    missing = {
      node for node in needed if node.op == "call_function" and self._operation(node) not in OPERATIONS
    }
    if missing:
      raise BiasjaxError(self._missing(missing))
    nodes = []
    for node in graph.nodes:
      if node.op == "call_function" and node in needed:
        nodes.append([self._operation(node), self._arguments(node)])
        self.numbers[node.name] = len(self.weights) + len(nodes)
    content = {
      "format": programs.FORMAT,
      "size": self.size,
      "classes": int(output.meta["val"].shape[1]),
      "weights": [[list(path), str(v.dtype), list(v.shape)] for path, v in self.weights.items()],
      "nodes": nodes,
      "output": self.numbers[output.name],
    }
    return Traced(programs.parse(programs.dump(content), self.name), self.weights, self.names)

  def _output(self, results: Any) -> Any:
    """The one result that is logits; after what the network changes of its input and its buffers."""
    import torch

    specs = self.exported.graph_signature.output_specs
    outputs = zip(results, specs, strict=True)
    given = [node for node, spec in outputs if spec.kind.name == "USER_OUTPUT" and node is not None]
    found = [node for node in given if isinstance(node, torch.fx.Node)]
    sizes = found[0].meta["val"].shape if len(given) == len(found) == 1 else ()
    # Classes that depend on the image are no number.
    if len(sizes) != 2 or not isinstance(sizes[1], int) or sizes[1] < 2:
      shapes = ", ".join(_shape(node) for node in found)
      raise BiasjaxError(
        f"{self.name}: gives {len(given)} result{'' if len(given) == 1 else 's'} ({shapes}), not logits "
        "[b, classes] of two classes or more: wrap it in a module that returns these alone"
      )
    return found[0]

  def _refuse_changing(self, needed: set[Any]) -> None:
    """Raises BiasjaxError where logits depend on a buffer that the network changes."""
    signature = self.exported.graph_signature
    names = {node.name for node in needed}
    changed = {spec.target for spec in signature.output_specs if spec.kind.name == "BUFFER_MUTATION"}
    for spec in signature.input_specs:
      if spec.target in changed and spec.arg.name in names:
        raise BiasjaxError(
          f"{self.name}: its logits depend on {spec.target}, a buffer that it changes whenever it is called, "
          "and so on what it saw before"
        )

  def _needed(self, output: Any) -> set[Any]:
    """What the output depends on: assertions and what nobody uses are left out."""
    needed, waiting = set(), [output]
    while waiting:
      node = waiting.pop()
      if node not in needed:
        needed.add(node)
        waiting += node.all_input_nodes
    return needed

  def _inputs(self, needed: set[Any]) -> None:
    by_name = {node.name: node for node in self.exported.graph.nodes if node.op == "placeholder"}
    for spec in self.exported.graph_signature.input_specs:
      node = by_name[spec.arg.name]
      if spec.kind.name == "USER_INPUT":
        self.numbers[node.name] = 0
      elif node in needed:
        state = self.exported.state_dict
        value = state[spec.target] if spec.target in state else self.exported.constants[spec.target]
        collection = "params" if spec.kind.name == "PARAMETER" else "buffers"
        path = (collection, *spec.target.split("."))
        self.weights[path] = _numpy(value, f"{self.name}: {spec.target}")
        self.names[path] = spec.target
        self.numbers[node.name] = len(self.weights)

  def _operation(self, node: Any) -> str:
    target = node.target
    if hasattr(target, "_schema"):
      return str(target)
    known = getattr(operator, getattr(target, "__name__", ""), None)
    return f"operator.{target.__name__}" if known is not None else str(target)

  def _arguments(self, node: Any) -> dict[str, Any]:
    name = self._operation(node)
    if hasattr(node.target, "_schema"):
      schema = node.target._schema.arguments
      given = {a.name: v for a, v in zip(schema, node.args, strict=False)} | dict(node.kwargs)
      optional = {a.name for a in schema if a.has_default_value() and a.default_value is None}
    else:
      given, optional = dict(zip(table.parameters(name), node.args, strict=False)) | dict(node.kwargs), set()
    if name == "aten.as_strided.default":
      value = node.args[0].meta["val"]
      if not value.is_contiguous() or value.storage_offset():  # of what it counts from
        raise BiasjaxError(f"{self._where(node)}: as_strided of a part of an array is not supported")
    return {
      key: self._encoded(value, node)
      for key, value in given.items()
      if key not in PLACEMENT and not (value is None and key in optional)
    }

  def _encoded(self, value: Any, node: Any) -> Any:
    import torch

    if isinstance(value, torch.fx.Node):
      return {"v": self.numbers[value.name]}
    if isinstance(value, list | tuple):
      return [self._encoded(one, node) for one in value]
    if isinstance(value, torch.dtype):
      if str(value) not in ELEMENTS:
        raise BiasjaxError(f"{self._where(node)}: element type {value} is not supported")
      return {"dtype": ELEMENTS[str(value)]}
    if isinstance(value, float) and not math.isfinite(value):
      return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
      return value
    raise BiasjaxError(f"{self._where(node)}: an argument of type {type(value).__name__} is not supported")

  def _missing(self, nodes: set[Any]) -> str:
    """Names each operation that is not in the table, and a module that has it."""
    import torch

    for node in nodes:
      if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        what = f"{self._operation(node)} (in {self._where(node)})"
        return f"{self.name}: {what} draws at random: logits that change from call to call cannot be traced"
    where = {self._operation(node): self._where(node) for node in nodes}
    listed = "; ".join(f"{name} (in {place})" for name, place in sorted(where.items())[:4])
    more = f" and {len(where) - 4} more" if len(where) > 4 else ""
    return (
      f"{self.name}: {len(where)} operation(s) not in the table: {listed}{more}; each is a function of a few "
      "lines, see docs/adding-an-operation.md"
    )

  def _where(self, node: Any) -> str:
    """The module that a node comes from."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
      return self.name
    path, kind = stack[-1][:2]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return f"{path or 'the network itself'}, {kind}"


def _shape(node: Any) -> str:
  """The shape of a node's value; "b" for what depends on the number of images."""
  sizes = [str(size) if isinstance(size, int) else "b" for size in node.meta["val"].shape]
  return f"[{', '.join(sizes)}]"


def _numpy(value: Any, what: str) -> np.ndarray:
  """A tensor in an element type of the table.

  Raises:
    BiasjaxError: it does not fit into 32 bits, or is of no such type.
  """
  import torch

  kind = ELEMENTS.get(str(value.dtype)) if isinstance(value, torch.Tensor) else None
  if kind is None:
    found = getattr(value, "dtype", f"a {type(value).__name__}")
    raise BiasjaxError(f"{what} is {found}, which is not supported")
  value = value.detach().cpu().contiguous()
  if kind == "int32":
    wide = value.to(torch.int64).numpy()
    if wide.size and np.abs(wide).max() >= 2**31:
      raise BiasjaxError(f"{what} holds whole numbers beyond 32 bits")
    return wide.astype(np.int32)
  if kind == "bfloat16":
    return value.float().numpy().astype(table.DTYPES[kind])
  return value.numpy().astype(table.DTYPES[kind])
