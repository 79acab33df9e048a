"""A PyTorch network to a program: `torch.export`, decomposed to the operations of the table, as data.

Needs torch, which is there when a network is converted and never after.
"""

import dataclasses
import math
import operator
import re
import warnings
from collections.abc import Mapping, Set
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
  "torch.complex128": "complex64",
  "torch.int64": "int32",
  "torch.int16": "int32",
  "torch.int8": "int32",
}


INDEXING = {
  f"aten.{name}"
  for name in ("index.Tensor", "_unsafe_index.Tensor", "index_put.default", "_unsafe_index_put.default")
}
# Of several results these operations have the first.
ONE_RESULT = ("native_batch_norm", "max_pool2d")


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
  # An order of three products that depends on sizes, as opt_einsum's does, would be for one number of images.
  in_order = torch.backends.opt_einsum.flags(enabled=False)
  try:
    with torch.no_grad(), in_order, warnings.catch_warnings():
      warnings.simplefilter("ignore")  # about torch.export's own use of torch
      exported = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
      decompositions = torch.export.default_decompositions()
      for op in list(decompositions):
        if str(op) in OPERATIONS:  # what the table knows stays whole
          del decompositions[op]
      exported = exported.run_decompositions(decompositions)
  except Exception as error:  # torch.export raises whatever the module leads it to
    reason = " ".join(str(error).split())[:300]
    if "data-dependent expression" in reason:
      raise BiasjaxError(
        f"{type(module).__name__}: it decides by values that depend on the images (an if, a loop, a size), "
        f"which cannot be traced{_line(str(error))}"
      ) from error
    if reason.startswith("Constraints violated"):  # torch's own words are about our call
      raise BiasjaxError(
        f"{type(module).__name__}: it can be traced for one number of images only: it has a loop over them, "
        "say, a number of images of its own, or len(x), which is x.shape[0]"
      ) from error
    raise BiasjaxError(
      f"{type(module).__name__}: torch.export cannot trace it: {type(error).__name__}: {reason}"
    ) from error
  return _Writer(exported, type(module).__name__, size).traced()


def _line(said: str) -> str:
  """The user's line that torch.export names in an error: ": FILE, line N: what it is"; "" if none."""
  place, line = r'File "([^"]+)", line (\d+), in [^\n]*', r"\n\s+([^\n]+)"
  found = re.search(f"The following call raised this error:\\s*{place}(?:{line})?", said)
  return f": {found[1]}, line {found[2]}{found[3] and ': '}{found[3] or ''}" if found else ""


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
    self.fixed: set[Any] = set()  # nodes that depend on weights alone
    self.places: dict[Any, list[int]] = {}  # mask among these -> the values that say where it holds
    self.weights: dict[tuple[str, ...], np.ndarray] = {}
    self.names: dict[tuple[str, ...], str] = {}

  def traced(self) -> Traced:
    graph = self.exported.graph
    output = self._output(next(node for node in graph.nodes if node.op == "output").args[0])
    needed = self._needed(output)
    self._refuse_changing(needed)
    constants = self._constants(needed)
    needed = self._needed(output, constants)
    self._inputs(needed)
    for node in sorted(constants & needed, key=lambda node: node.name):
      self._add(("buffers", f"computed-{node.name}"), self._computed(node), f"{node.name}, computed")
      self.numbers[node.name] = len(self.weights)
    self._find_places(needed)
    missing = {
      node
      for node in needed - constants
      if node.op == "call_function" and self._operation(node) not in OPERATIONS
    }
    if missing:
      raise BiasjaxError(self._missing(missing))
    nodes = []
    for node in graph.nodes:
      if node.op == "call_function" and node in needed - constants:
        self._refuse_absent(node)
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

  def _needed(self, output: Any, known: Set[Any] = frozenset()) -> set[Any]:
    """What the output depends on, not through what is `known`: not assertions, nor what nobody uses."""
    needed, waiting = set(), [output]
    while waiting:
      node = waiting.pop()
      if node not in needed:
        needed.add(node)
        waiting += [] if node in known else node.all_input_nodes
    return needed

  def _constants(self, needed: set[Any]) -> set[Any]:
    """What depends on weights alone by an operation that is not in the table: it is computed once.

    An orthogonal parametrisation, say, or a window. What draws at random is none.
    """
    import torch

    signature = self.exported.graph_signature
    images = {spec.arg.name for spec in signature.input_specs if spec.kind.name == "USER_INPUT"}
    fixed, beyond = self.fixed, set()
    for node in self.exported.graph.nodes:  # in order
      if node.op == "placeholder" and node.name not in images:
        fixed.add(node)
      random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
      if node.op == "call_function" and not random and fixed.issuperset(node.all_input_nodes):
        fixed.add(node)
        if self._operation(node) not in OPERATIONS or not beyond.isdisjoint(node.all_input_nodes):
          beyond.add(node)
    arrays = {node for node in beyond & needed if isinstance(node.meta.get("val"), torch.Tensor)}
    return {node for node in arrays if not beyond.issuperset(needed & set(node.users))}

  def _computed(self, node: Any) -> Any:
    """The value of a node that depends on weights alone, as PyTorch computes it."""
    import torch

    known: dict[Any, Any] = {}

    def value(one: Any) -> Any:
      if one not in known:
        if one.op == "placeholder":
          known[one] = self._given(one)
        else:
          args, kwargs = torch.fx.map_arg((one.args, one.kwargs), value)
          known[one] = one.target(*args, **kwargs)
      return known[one]

    with torch.no_grad():
      return value(node)

  def _find_places(self, needed: set[Any]) -> None:
    """Of fixed masks by which arrays are indexed: how many elements one gives is no matter of the images."""
    for node in self.exported.graph.nodes:
      for mask in node.args[1] if node in needed and self._operation(node) in INDEXING else ():
        if mask in self.fixed and mask not in self.places and not mask.meta["val"].dtype.is_signed:
          self.places[mask] = []
          for along, places in enumerate(self._computed(mask).nonzero(as_tuple=True)):
            name = f"{mask.name}, places {along}"
            self._add(("buffers", f"computed-{mask.name}-{along}"), places, name)
            self.places[mask].append(len(self.weights))

  def _given(self, node: Any) -> Any:
    """The tensor of a placeholder that stands for a parameter, a buffer or a constant."""
    spec = next(one for one in self.exported.graph_signature.input_specs if one.arg.name == node.name)
    state = self.exported.state_dict
    return state[spec.target] if spec.target in state else self.exported.constants[spec.target]

  def _add(self, path: tuple[str, ...], value: Any, name: str) -> None:
    self.weights[path] = _numpy(value, f"{self.name}: {name}")
    self.names[path] = name

  def _refuse_absent(self, node: Any) -> None:
    """Raises BiasjaxError where a result is used that its operation has in PyTorch alone."""
    number = node.args[1] if self._operation(node) == "operator.getitem" else 0
    of = self._operation(node.args[0]) if number else ""
    if number and any(part in of for part in ONE_RESULT):
      raise BiasjaxError(
        f"{self.name}: {of} (in {self._where(node.args[0])}): its result {number}, places or statistics of "
        "training, is used, and is not supported"
      )

  def _inputs(self, needed: set[Any]) -> None:
    by_name = {node.name: node for node in self.exported.graph.nodes if node.op == "placeholder"}
    for spec in self.exported.graph_signature.input_specs:
      node = by_name[spec.arg.name]
      if spec.kind.name == "USER_INPUT":
        self.numbers[node.name] = 0
      elif node in needed:
        collection = "params" if spec.kind.name == "PARAMETER" else "buffers"
        self._add((collection, *spec.target.split(".")), self._given(node), spec.target)
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
    written = {
      key: self._encoded(value, node)
      for key, value in given.items()
      if key not in PLACEMENT and not (value is None and key in optional)
    }
    if name in INDEXING:
      of_masks = [self.places.get(one) for one in given["indices"]]
      pairs = zip(of_masks, written["indices"], strict=True)
      written["indices"] = [
        one for places, index in pairs for one in ([{"v": n} for n in places] if places else [index])
      ]
    return written

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
