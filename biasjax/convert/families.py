"""Where in a checkpoint the state dict is, and how its names become torchvision's: a row for each family.

A file whose family is not named is recognised by what is in it; where two readings are possible, that is an
error which asks. What a family drops is listed here; anything else that is left over is an error.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from biasjax.convert import readers
from biasjax.errors import BiasjaxError

Location = tuple[str, ...]

DEPTH = 3  # how deep a state dict may lie
# Names that are in every ResNet and tell it from a part of one: layer1.0 has a conv1 and a bn1 too.
LANDMARKS = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")
HEAD = {"module.linear.weight": "fc.weight", "module.linear.bias": "fc.bias"}


def _same(name: str) -> str:
  return name


@dataclasses.dataclass(frozen=True)
class Family:
  """How the checkpoints of one project are laid out.

  Attributes:
    locations: where the state dict may be; () is the file itself.
    prefixes: what may stand before the names.
    drop: patterns of names that are not part of the network, and why.
    rename: a name in the file, without prefix, to torchvision's.
    sign: a pattern that only this family's names match; it is recognised by that.
    normalized: whether the networks normalise their input.
  """

  locations: tuple[Location, ...] = ((),)
  prefixes: tuple[str, ...] = ("",)
  drop: Mapping[str, str] = dataclasses.field(default_factory=dict)
  rename: Callable[[str], str] = _same
  sign: str | None = None
  normalized: bool = True


SIMCLR_BLOCK = {
  "net.0": "conv1",
  "net.1.0": "bn1",
  "net.2": "conv2",
  "net.3.0": "bn2",
  "net.4": "conv3",
  "net.5.0": "bn3",
  "projection.shortcut": "downsample.0",
  "projection.bn.0": "downsample.1",
}
SIMCLR_STEM = {"net.0.0": "conv1", "net.0.1.0": "bn1"}


def simclrv2_name(name: str) -> str:
  """A name in Separius' PyTorch port of SimCLRv2 as torchvision's; unknown names are left as they are."""
  module, _, leaf = name.rpartition(".")
  if module in SIMCLR_STEM:
    return f"{SIMCLR_STEM[module]}.{leaf}"
  found = re.fullmatch(r"net\.(\d+)\.blocks\.(\d+)\.(.+)", module)
  if found and found[3] in SIMCLR_BLOCK:
    return f"layer{found[1]}.{found[2]}.{SIMCLR_BLOCK[found[3]]}.{leaf}"
  return name


FAMILIES: dict[str, Family] = {
  "plain": Family(),
  "data_parallel": Family(locations=(("state_dict",),), prefixes=("module.",)),
  "maybe_parallel": Family(locations=(("state_dict",),), prefixes=("", "module.")),
  "noisymix": Family(locations=((), ("state_dict",)), prefixes=("", "module.", "model.", "module.model.")),
  "prime": Family(locations=((), ("state_dict",)), prefixes=("", "module.")),
  "opticsaugment": Family(locations=(("model_state_dict",),), prefixes=("", "module.")),
  "diffusion_noise": Family(locations=(("model",),), prefixes=("module.",), normalized=False),
  "anywhere": Family(
    locations=((), ("state_dict",), ("model_state_dict",), ("online_backbone",)), prefixes=("", "module.")
  ),
  # The training wrapper holds the network twice (the attacker's is the same one) and its normalisation.
  "robustness": Family(
    locations=(("model",),),
    prefixes=("module.model.",),
    drop={
      "module.attacker.model.*": "the attacker's copy of the network",
      "module.normalizer.new_*": "the normalisation, which the row has",
      "module.attacker.normalize.new_*": "the normalisation, which the row has",
    },
    sign="module.attacker.model.*",
  ),
  # A second set of BatchNorms, for stylised images; the paper evaluates with the main one.
  "auxiliary_batch_norm": Family(
    locations=(("state_dict",),),
    prefixes=("module.",),
    drop={"*.aux_bn.*": "auxiliary BatchNorm, for stylised images only"},
    sign="*.aux_bn.*",
  ),
  "dino": Family(),
  "swav": Family(
    prefixes=("module.",),
    drop={
      "module.projection_head.*": "of the contrastive training",
      "module.prototypes.*": "of the contrastive training",
    },
    sign="module.prototypes.*",
  ),
  "simclrv2": Family(locations=(("resnet",),), rename=simclrv2_name, sign="net.0.0.weight", normalized=False),
}


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
    normalized: whether a network of this family normalises its input.
  """

  tensors: dict[str, readers.Tensor]
  names: dict[str, str]
  dropped: dict[str, str]
  layout: str
  normalized: bool = True


def state_dict(
  file: readers.File,
  *,
  family: str | None = None,
  reading: str | None = None,
  head: readers.File | None = None,
) -> StateDict:
  """The ResNet in a file.

  Args:
    file: what was read.
    family: a key of `FAMILIES`; None recognises it.
    reading: which state dict, written like `str(Reading)`, where several are possible.
    head: the file of the classifier, where it is one of its own.

  Raises:
    BiasjaxError: no ResNet is in it, or more than one and none was chosen, or something beside it in the same
      state dict is not accounted for.
  """
  name = family or recognise(file.tree)
  rules = FAMILIES[name] if name else Family()
  # A family that is recognised by its names may lie anywhere, like a file of no known family.
  found = readings(file.tree, rules, anywhere=family is None)
  if not found:
    where = f"laid out as in {family!r} " if family else ""
    raise BiasjaxError(
      f"{file.path}: no ResNet with torchvision's names {where}is in it ({LANDMARKS[0]!r}, {LANDMARKS[2]!r}, "
      f"...): see python -m convert --inspect={file.path}"
    )
  if reading is not None:
    chosen = [r for r in found if str(r) == reading]
    if not chosen:
      raise BiasjaxError(f"{file.path}: --reading={reading!r} is none of {_quoted(found)}")
    found = chosen
  if len(found) > 1:
    ways = _quoted(found)
    raise BiasjaxError(f"{file.path}: can be read in {len(found)} ways; choose one: --reading={ways}")
  taken = _take(file, found[0], rules)
  if name:
    taken = dataclasses.replace(taken, layout=f"{name.replace('_', ' ')}: {taken.layout}")
  return _join(taken, file, head)


def recognise(tree: Any) -> str | None:
  """The family that some name in the file is a sign of."""
  for _, mapping in _mappings(tree, (), set()):
    names = [name for name in mapping if isinstance(name, str)]
    for family, rules in FAMILIES.items():
      if rules.sign and fnmatch.filter(names, rules.sign):
        return family
  return None


def readings(tree: Any, rules: Family, *, anywhere: bool) -> list[Reading]:
  """All ways to find a ResNet in a file's tree.

  Args:
    tree: what was read.
    rules: of the family.
    anywhere: whether other locations and prefixes than the family's count too.
  """
  found = []
  for location, mapping in _mappings(tree, (), set()):
    if not anywhere and location not in rules.locations:
      continue
    names = {rules.rename(name): name for name in mapping if isinstance(name, str)}
    for name in names:
      prefix = name.removesuffix(LANDMARKS[0])
      if not name.endswith(LANDMARKS[0]) or (prefix and not prefix.endswith(".")):
        continue
      if prefix not in rules.prefixes and not (anywhere and rules.prefixes == ("",)):
        continue
      if all(readers.is_tensor(mapping.get(names.get(prefix + landmark))) for landmark in LANDMARKS):
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


def _quoted(found: list[Reading]) -> str:
  return " or ".join(repr(str(r)) for r in found)


def _take(file: readers.File, reading: Reading, rules: Family) -> StateDict:
  mapping, dropped = file.tree, {}
  for key in reading.location:
    dropped |= {str(other)[:200]: "beside the state dict" for other in mapping if other != key}
    mapping = mapping[key]
  names: dict[str, str] = {}
  strange = []
  for name in mapping:
    text = name if isinstance(name, str) else ""
    reason = next((rules.drop[pattern] for pattern in rules.drop if fnmatch.fnmatchcase(text, pattern)), None)
    renamed = rules.rename(text)
    if reason:
      dropped[text] = reason
    elif not text or not renamed.startswith(reading.prefix):
      strange.append(name)
    elif renamed.removeprefix(reading.prefix) in names:
      raise BiasjaxError(f"{file.path}: {text[:100]!r} and another tensor both stand for {renamed[:100]!r}")
    else:
      names[renamed.removeprefix(reading.prefix)] = text
  if strange:
    raise BiasjaxError(
      f"{file.path}: {len(strange)} of the state dict's keys do not start with {reading.prefix!r}, "
      f"e.g. {str(strange[0])[:100]!r}"
    )
  for name in names.values():
    if not readers.is_tensor(mapping[name]):
      value = mapping[name]
      kind = repr(value) if isinstance(value, readers.Placeholder) else type(value).__name__
      raise BiasjaxError(f"{file.path}: {name[:100]!r} in the state dict is no tensor but {kind}")
  where = f"state dict under {'/'.join(reading.location)!r}" if reading.location else "flat state dict"
  layout = where + (f", prefix {reading.prefix!r}" if reading.prefix else "")
  tensors = {name: mapping[key] for name, key in names.items()}
  return StateDict(tensors, names, dropped, layout, rules.normalized)


def _join(backbone: StateDict, file: readers.File, head: readers.File | None) -> StateDict:
  """The backbone with the classifier of another file."""
  if head is None:
    if not any(name.startswith("fc.") for name in backbone.tensors):
      raise BiasjaxError(f"{file.path}: 'fc.weight' is missing; if it is in a file of its own: --head=FILE")
    return backbone
  found = [(at, m) for at, m in _mappings(head.tree, (), set()) if any(name in m for name in HEAD)]
  if len(found) != 1:
    raise BiasjaxError(f"{head.path}: no classifier is in it ({', '.join(map(repr, HEAD))})")
  location, mapping = found[0]
  left_over = sorted(str(name) for name in mapping if name not in HEAD)
  if left_over or not all(readers.is_tensor(mapping.get(name)) for name in HEAD):
    problem = f"{left_over[0][:100]!r} is in it" if left_over else "a tensor is missing"
    raise BiasjaxError(f"{head.path}: is not exactly a classifier: {problem}")
  if any(name in backbone.tensors for name in HEAD.values()):
    raise BiasjaxError(f"{file.path}: has a classifier of its own; --head is not needed")
  where = f"{head.path.name}:"
  beside = head.tree if location else {}
  return dataclasses.replace(
    backbone,
    tensors=backbone.tensors | {new: mapping[old] for old, new in HEAD.items()},
    names=backbone.names | {new: where + old for old, new in HEAD.items()},
    dropped=backbone.dropped
    | {where + str(key)[:200]: "beside the state dict" for key in beside if key != location[0]},
    layout=f"{backbone.layout}, and a classifier",
  )
