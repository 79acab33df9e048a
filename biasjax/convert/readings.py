"""Where in a checkpoint a ResNet is, and what of the file is left out by reading it so.

Where several readings are possible, or something that nobody accounts for lies beside the network, that is an
error which asks. Each reading that it offers gives a whole ResNet, and what that leaves out is listed.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from biasjax.convert import classifier, families, foreign, normalization, readers, torchvision
from biasjax.convert.families import FAMILIES, Family, Location
from biasjax.convert.normalization import Normalization
from biasjax.errors import BiasjaxError

# Names that are in every ResNet and tell it from a part of one: layer1.0 has a conv1 and a bn1 too.
LANDMARKS = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")
PART = re.compile(r"(conv1|bn1|fc|layer\d+)\..+")  # of a ResNet's names
AVERAGED = "*n_averaged"  # a counter of torch.optim.swa_utils.AveragedModel


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

  @property
  def layout(self) -> str:
    """In words."""
    said = f"state dict under {'/'.join(self.location)!r}" if self.location else "flat state dict"
    return said + (f", prefix {self.prefix!r}" if self.prefix else "")


@dataclasses.dataclass(frozen=True)
class StateDict:
  """Tensors under torchvision's names, and what was left out to get there.

  Attributes:
    tensors: by torchvision's name.
    names: the name in the file of each.
    dropped: what of the file was not used, each with the reason.
    layout: in words.
    normalization: that the file holds as buffers beside the network.
    normalized: whether a network of this family normalises its input.
  """

  tensors: dict[str, readers.Tensor]
  names: dict[str, str]
  dropped: dict[str, str]
  layout: str
  normalization: Normalization | None = None
  normalized: bool = True


@dataclasses.dataclass(frozen=True)
class _Request:
  """What is asked of a file, whichever reading it is.

  Attributes:
    file: what was read.
    family: the name of the rules, if any.
    head: the classifier's file, or its module's name, if it is not "fc".
    normalized: whether the normalisation is known, so that the file's own is not needed.
  """

  file: readers.File
  family: str | None = None
  head: readers.File | str | None = None
  normalized: bool = False

  @property
  def rules(self) -> Family:
    """Of the family."""
    return FAMILIES[self.family] if self.family else Family()


def state_dict(
  file: readers.File,
  *,
  family: str | None = None,
  reading: str | None = None,
  head: readers.File | str | None = None,
  normalized: bool = False,
) -> StateDict:
  """The ResNet in a file.

  Args:
    file: what was read.
    family: a key of `FAMILIES`; None recognises it.
    reading: which state dict, written like `str(Reading)`, where several are possible.
    head: where the classifier is, if it is not called "fc": a file of its own, or a module of this one.
    normalized: whether the normalisation is known, so that the file's own is not needed.

  Raises:
    BiasjaxError: no ResNet is in it, or more than one and none was chosen, or something beside it in the same
      state dict is not accounted for.
  """
  asked = _Request(file, family or families.recognise(file.tree), head, normalized)
  # A family that is recognised by its names may lie anywhere, like a file of no known family.
  found = readings(file.tree, asked.rules, anywhere=family is None)
  if not found:
    raise BiasjaxError(f"{file.path}: {foreign.explain(file.tree, file.path, family)}")
  if reading is not None:
    return _take(asked, choose(found, reading, file), chosen=True)
  if len(found) == 1:
    return _take(asked, found[0], chosen=False)
  problems = {one: _problem(asked, one) for one in found}
  whole = [one for one, problem in problems.items() if problem is None]
  if not whole:
    raise next(problem for problem in problems.values() if problem)
  ways = f"{len(found)} ways" if len(whole) == len(found) else f"{len(found)} ways, not all of them whole"
  raise BiasjaxError(
    f"{file.path}: can be read in {ways}; choose one: --reading={quoted(whole)} (of run.py --models: "
    f"{file.path.name}@{whole[0]})"
  )


def whole(file: readers.File) -> list[Reading]:
  """The readings of a file that give a whole ResNet."""
  asked = _Request(file, families.recognise(file.tree), normalized=True)
  return [r for r in readings(file.tree, asked.rules, anywhere=True) if _problem(asked, r) is None]


def readings(tree: Any, rules: Family, *, anywhere: bool) -> list[Reading]:
  """All ways to find a ResNet in a file's tree, with or without a classifier.

  Args:
    tree: what was read.
    rules: of the family.
    anywhere: whether other locations and prefixes than the family's count too.
  """
  found = []
  for location, mapping in families.mappings(tree):
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


def choose(found: Iterable[Reading], asked: str, file: readers.File) -> Reading:
  """The one of the readings that is asked for, as it is written or without the dots around it.

  Raises:
    BiasjaxError: it is none of them.
  """
  known = list(found)
  fitting = [r for r in known if str(r) == asked] or [r for r in known if _bare(str(r)) == _bare(asked)]
  if len(fitting) != 1:
    raise BiasjaxError(f"{file.path}: --reading={asked!r} is none of {quoted(known)}")
  return fitting[0]


def _bare(reading: str) -> str:
  return reading.strip(":.")


def quoted(found: Iterable[Reading]) -> str:
  """Readings as --reading takes them."""
  return " or ".join(repr(str(r)) for r in found)


def _problem(asked: _Request, reading: Reading) -> BiasjaxError | None:
  """Why a reading gives no whole ResNet."""
  try:
    tensors = _take(asked, reading, chosen=True).tensors
    torchvision.identify({name: tensor.shape for name, tensor in tensors.items()}, str(asked.file.path))
  except BiasjaxError as error:
    return error
  return None


def _take(asked: _Request, reading: Reading, *, chosen: bool) -> StateDict:
  """What one reading gives; what it leaves out may be left out if it was chosen."""
  file, rules, dropped = asked.file, asked.rules, {}
  mapping = file.tree
  for key in reading.location:
    dropped |= {str(other)[:200]: "beside the state dict" for other in mapping if other != key}
    mapping = mapping[key]
  parts, left, by_rule = _split(mapping, reading, rules, str(file.path))
  layout = reading.layout
  found, pairs = None, normalization.buffers({name: mapping[name] for name in (*left, *by_rule)})
  try:
    if pairs and not asked.normalized:
      found = normalization.of_buffers(mapping, pairs, reading.prefix)
    if isinstance(asked.head, str):
      parts, others = classifier.in_file(mapping, reading.prefix, asked.head, parts)
      dropped |= others
      layout += f", classifier {asked.head!r}"
    elif asked.head is None and not {"fc.weight", "fc.bias"} & set(parts):
      shapes = {name: mapping[text].shape for name, text in parts.items() if readers.is_tensor(mapping[text])}
      raise BiasjaxError(classifier.missing(mapping, reading.prefix, torchvision.features(shapes)))
  except BiasjaxError as error:
    raise BiasjaxError(f"{file.path}: {error}") from error
  for text in parts.values():
    if not readers.is_tensor(value := mapping[text]):
      kind = repr(value) if isinstance(value, readers.Placeholder) else type(value).__name__
      raise BiasjaxError(f"{file.path}: {text[:100]!r} in the state dict is no tensor but {kind}")

  known = {name: "the normalisation" for pair in pairs.items() for name in pair} | by_rule
  known |= {n: "counts what was averaged" for n in left if fnmatch.fnmatchcase(str(n), AVERAGED)}
  unknown = [name for name in left if name not in known and name not in parts.values()]
  if unknown and not chosen:
    start = f"start with {reading.prefix!r}" if reading.prefix else "belong to a ResNet"
    raise BiasjaxError(
      f"{file.path}: {len(unknown)} of the state dict's keys do not {start}, e.g. {str(unknown[0])[:100]!r}; "
      f"if they may be left out: --reading={str(reading)!r} (of run.py --models: {file.path.name}@{reading})"
    )
  dropped |= known | {str(name)[:200]: "not of the network that was read" for name in unknown}
  tensors = {name: mapping[text] for name, text in parts.items()}
  state = StateDict(tensors, dict(parts), dropped, layout, found, rules.normalized)
  if asked.family:
    state = dataclasses.replace(state, layout=f"{asked.family.replace('_', ' ')}: {layout}")
  return _join(state, file, asked.head) if isinstance(asked.head, readers.File) else state


def _split(
  mapping: Mapping, reading: Reading, rules: Family, source: str
) -> tuple[dict[str, str], list[Any], dict[str, str]]:
  """A state dict's keys: torchvision's -> the file's, of the network; what is left; what the family drops."""
  parts: dict[str, str] = {}
  left: list[Any] = []
  by_rule: dict[str, str] = {}
  for name in mapping:
    text = name if isinstance(name, str) else ""
    reason = next((rules.drop[pattern] for pattern in rules.drop if fnmatch.fnmatchcase(text, pattern)), None)
    renamed = rules.rename(text)
    part = renamed.removeprefix(reading.prefix)
    if reason:
      by_rule[text] = reason
    elif not (renamed.startswith(reading.prefix) and PART.fullmatch(part)):
      left.append(name)
    elif part in parts:
      raise BiasjaxError(f"{source}: {text[:100]!r} and another tensor both stand for {part[:100]!r}")
    else:
      parts[part] = text
  return parts, left, by_rule


def _join(backbone: StateDict, file: readers.File, head: readers.File) -> StateDict:
  """The backbone with the classifier of another file."""
  if any(name.startswith("fc.") for name in backbone.tensors):
    raise BiasjaxError(f"{file.path}: has a classifier of its own; --head is not needed")
  names, tensors, beside = classifier.of_file(head)
  where = f"{head.path.name}:"
  return dataclasses.replace(
    backbone,
    tensors=backbone.tensors | tensors,
    names=backbone.names | {new: where + old for new, old in names.items()},
    dropped=backbone.dropped | {where + key: why for key, why in beside.items()},
    layout=f"{backbone.layout}, and a classifier",
  )
