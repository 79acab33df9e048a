"""Where in a checkpoint the state dict is, and how its names become torchvision's."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from biasjax.errors import BiasjaxError
from convert import readers

Location = tuple[str, ...]

DEPTH = 3  # how deep a state dict may lie
# Names that are in every ResNet and tell it from a part of one: layer1.0 has a conv1 and a bn1 too.
LANDMARKS = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")


@dataclasses.dataclass(frozen=True)
class Reading:
  """One way to find a ResNet in a file.

  Attributes:
    location: keys that lead to the state dict; () if the file is one.
    prefix: what stands before torchvision's names.
  """

  location: Location
  prefix: str

  def __str__(self):
    return f"{'/'.join(self.location)}:{self.prefix}"


@dataclasses.dataclass(frozen=True)
class StateDict:
  """Tensors under torchvision's names, and what was left out to get there.

  Attributes:
    tensors: by torchvision's name.
    names: the name in the file of each.
    dropped: what of the file was not used, each with the reason.
    layout: in words.
  """

  tensors: dict[str, readers.Tensor]
  names: dict[str, str]
  dropped: dict[str, str]
  layout: str


def readings(tree: Any) -> list[Reading]:
  """All ways to find a ResNet's state dict in a file's tree."""
  found = []
  for location, mapping in _mappings(tree, (), set()):
    for name in mapping:
      if isinstance(name, str) and name.endswith(LANDMARKS[0]):
        prefix = name.removesuffix(LANDMARKS[0])
        if (not prefix or prefix.endswith(".")) and all(
          readers.is_tensor(mapping.get(prefix + landmark)) for landmark in LANDMARKS
        ):
          found.append(Reading(location, prefix))
  return found


def _mappings(tree: Any, location: Location, visited: set[int]) -> Iterator[tuple[Location, Mapping]]:
  # A pickle can nest one dict in itself, or reach it in many ways: each is visited once.
  if not isinstance(tree, dict) or id(tree) in visited:
    return
  visited.add(id(tree))
  yield location, tree
  if len(location) < DEPTH:
    for key, value in tree.items():
      if isinstance(key, str):
        yield from _mappings(value, (*location, key), visited)


def recognise(file: readers.File, reading: str | None = None) -> StateDict:
  """The state dict of a file whose family is not named.

  Args:
    file: what was read.
    reading: which one, written like `str(Reading)`, where several are possible.

  Raises:
    BiasjaxError: no ResNet is in it, or more than one and none was chosen, or something beside it in the same
      state dict is not accounted for.
  """
  found = readings(file.tree)
  if not found:
    raise BiasjaxError(
      f"{file.path}: no ResNet with torchvision's names is in it ({LANDMARKS[0]!r}, {LANDMARKS[2]!r}, ...): "
      f"see python -m convert --inspect={file.path}"
    )
  if reading is not None:
    chosen = [r for r in found if str(r) == reading]
    if not chosen:
      raise BiasjaxError(f"{file.path}: --reading={reading!r} is none of {_quoted(found)}")
    found = chosen
  if len(found) > 1:
    raise BiasjaxError(
      f"{file.path}: can be read in {len(found)} ways; choose one: --reading={_quoted(found)}"
    )
  return _take(file, found[0])


def _quoted(found: list[Reading]) -> str:
  return " or ".join(repr(str(r)) for r in found)


def _take(file: readers.File, reading: Reading) -> StateDict:
  mapping, dropped = file.tree, {}
  for key in reading.location:
    dropped |= {str(other): "beside the state dict" for other in mapping if other != key}
    mapping = mapping[key]
  strange = [name for name in mapping if not isinstance(name, str) or not name.startswith(reading.prefix)]
  if strange:
    raise BiasjaxError(
      f"{file.path}: {len(strange)} of the state dict's keys do not start with {reading.prefix!r}, "
      f"e.g. {str(strange[0])[:100]!r}"
    )
  not_tensors = [name for name, value in mapping.items() if not readers.is_tensor(value)]
  if not_tensors:
    value = mapping[not_tensors[0]]
    kind = repr(value) if isinstance(value, readers.Placeholder) else type(value).__name__
    raise BiasjaxError(f"{file.path}: {not_tensors[0]!r} in the state dict is no tensor but {kind}")
  names = {name.removeprefix(reading.prefix): name for name in mapping}
  where = f"state dict under {'/'.join(reading.location)!r}" if reading.location else "flat state dict"
  layout = where + (f", prefix {reading.prefix!r}" if reading.prefix else "")
  return StateDict({name: mapping[key] for name, key in names.items()}, names, dropped, layout)
