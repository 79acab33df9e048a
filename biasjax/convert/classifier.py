"""The classifier of a ResNet where it is not called "fc": in a file of its own, or under another name."""

import re
from collections.abc import Mapping
from typing import Any

from biasjax.convert import readers
from biasjax.errors import BiasjaxError

NAME = 100  # characters of a name that a message shows
LIBRARIES = {
  "last_linear": "pretrainedmodels",
  "head.fc": "timm or mmpretrain",
  "classifier.1": "transformers or a Sequential",
}


def of_file(head: readers.File) -> tuple[dict[str, str], dict[str, readers.Tensor], dict[str, str]]:
  """The classifier in a file of its own.

  Returns:
    "fc.weight" and "fc.bias" -> their names in the file; -> their tensors; and what was left out, with why.

  Raises:
    BiasjaxError: there is none, or something else beside it.
  """
  beside = {}
  mapping = head.tree
  while isinstance(mapping, dict) and not _linear(mapping):
    inner = [key for key, value in mapping.items() if isinstance(value, dict) and value]
    named = [key for key in inner if _linear(mapping[key])]
    if len(named) != 1:
      break
    beside |= {str(key)[:200]: "beside the state dict" for key in mapping if key != named[0]}
    mapping = mapping[named[0]]
  modules = _linear(mapping) if isinstance(mapping, dict) else []
  if len(modules) != 1:
    wanted = "a 'weight' [classes, features] and a 'bias' [classes]"
    raise BiasjaxError(f"{head.path}: no classifier is in it ({wanted})")
  names = {f"fc.{leaf}": _join(modules[0], leaf) for leaf in ("weight", "bias")}
  if left_over := sorted(str(name) for name in mapping if name not in names.values()):
    raise BiasjaxError(f"{head.path}: is not exactly a classifier: {left_over[0][:NAME]!r} is in it")
  return names, {new: mapping[old] for new, old in names.items()}, beside


def in_file(
  tensors: Mapping[str, Any], prefix: str, module: str, parts: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
  """A classifier that is a module of the network under a name of its own.

  Args:
    tensors: the state dict.
    prefix: of the network's names.
    module: the classifier's name, with or without the prefix.
    parts: torchvision's name -> name in the file, of the network.

  Returns:
    `parts` with the classifier as "fc", and what is left out by that.

  Raises:
    BiasjaxError: there is no such module, or further layers belong to it.
  """
  found = next((m for m in (prefix + module, module) if is_matrix(tensors.get(f"{m}.weight"))), None)
  if found is None:
    known = [m.removeprefix(prefix) for m in _matrices(tensors)]
    hint = f"the modules with a matrix are {', '.join(known[:4])}" if known else "no module has a matrix"
    raise BiasjaxError(f"--head={module} is no file, nor a module with a weight [n, features]: {hint}")
  outer = found.rpartition(".")[0]
  if re.fullmatch(r"\d+", found.rpartition(".")[2]):  # of a Sequential
    others = sorted(
      n for n in tensors if str(n).startswith(f"{outer}.") and not str(n).startswith(f"{found}.")
    )
    if others:
      raise BiasjaxError(f"--head={module}: is one of several layers ({others[0][:NAME]!r} is another)")
  kept = {new: old for new, old in parts.items() if not new.startswith("fc.")}
  left_out = {old: "another classifier" for new, old in parts.items() if new.startswith("fc.")}
  for leaf in ("weight", "bias"):
    if readers.is_tensor(tensors.get(f"{found}.{leaf}")):
      kept[f"fc.{leaf}"] = f"{found}.{leaf}"
      left_out.pop(f"{found}.{leaf}", None)
  return kept, left_out


def missing(tensors: Mapping[str, Any], prefix: str, features: int) -> str:
  """What to do about a network whose "fc.weight" is not there.

  Args:
    tensors: the state dict.
    prefix: of the network's names.
    features: channels that its last block gives.
  """
  fitting = [m for m in _matrices(tensors) if tensors[f"{m}.weight"].shape[1] == features]
  fitting = [m.removeprefix(prefix) for m in fitting if not re.match(r"layer\d", m.removeprefix(prefix))]
  layers = [m.removeprefix(prefix) for m in _matrices(tensors)]
  for parent in {m.rpartition(".")[0] for m in fitting}:
    siblings = [m for m in layers if m.rpartition(".")[0] == parent]
    if parent and len(siblings) > 1:
      return (
        f"its classifier {parent!r} has several layers ({', '.join(siblings[:3])}), a ResNet's has one; if "
        "the classifier is in a file of its own: --head=FILE"
      )
  if not fitting:
    return "'fc.weight' is missing; if it is in a file of its own: --head=FILE"
  ways = " or ".join(f"--head={m}" for m in fitting[:4])
  whose = f", as in {LIBRARIES[fitting[0]]}" if fitting[0] in LIBRARIES else ""
  inner = re.search(r"\.\d+$", fitting[0])
  rest = ", if what else is in its Sequential does nothing when evaluated, as dropout" if inner else ""
  return f"'fc.weight' is missing; its classifier is called {fitting[0]!r}{whose}: {ways}{rest}"


def is_matrix(value: Any) -> bool:
  """Whether a value of a state dict is a tensor [n, m]."""
  return readers.is_tensor(value) and len(value.shape) == 2


def _matrices(tensors: Mapping[str, Any]) -> list[str]:
  return [
    name.removesuffix(".weight")
    for name, value in tensors.items()
    if isinstance(name, str) and name.endswith(".weight") and is_matrix(value)
  ]


def _linear(mapping: Mapping[str, Any]) -> list[str]:
  """The modules with a weight [n, m] and a bias [n]."""
  found = []
  for name, value in mapping.items():
    if isinstance(name, str) and (name == "weight" or name.endswith(".weight")) and is_matrix(value):
      module = name.removesuffix("weight").removesuffix(".")
      bias = mapping.get(_join(module, "bias"))
      if isinstance(bias, readers.Tensor) and bias.shape == value.shape[:1]:
        found.append(module)
  return found


def _join(module: str, leaf: str) -> str:
  return f"{module}.{leaf}" if module else leaf
