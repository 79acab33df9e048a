"""How the checkpoints of different projects are laid out: a row for each family, which readings.py applies.

A file whose family is not named is recognised by what is in it. What a family drops is listed here.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Location = tuple[str, ...]
DEPTH = 3  # how deep a state dict may lie


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


TRANSFORMERS = re.compile(
  r"(?P<before>.*?)(resnet\.)?"
  r"(embedder\.embedder|encoder\.stages\.(?P<stage>\d+)\.layers\.(?P<index>\d+)\.(?P<part>shortcut|layer\.(?P<i>\d)))"
  r"\.(?P<kind>convolution|normalization)\.(?P<leaf>\w+)"
)


def transformers_name(name: str) -> str:
  """A name in the ResNet of the library transformers as torchvision's; unknown names are left as they are."""
  if found := TRANSFORMERS.fullmatch(name):
    convolution = found["kind"] == "convolution"
    if found["stage"] is None:
      module = "conv1" if convolution else "bn1"
    elif found["part"] == "shortcut":
      module = f"downsample.{0 if convolution else 1}"
    else:
      module = f"{'conv' if convolution else 'bn'}{int(found['i']) + 1}"
    block = "" if found["stage"] is None else f"layer{int(found['stage']) + 1}.{found['index']}."
    return f"{found['before']}{block}{module}.{found['leaf']}"
  return re.sub(r"(^|\.)classifier\.1\.(weight|bias)$", r"\1fc.\2", name)


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
  "transformers": Family(rename=transformers_name, sign="*embedder.embedder.convolution.weight"),
}


def recognise(tree: Any) -> str | None:
  """The family that some name in a file's tree is a sign of."""
  for _, mapping in mappings(tree):
    names = [name for name in mapping if isinstance(name, str)]
    for family, rules in FAMILIES.items():
      if rules.sign and fnmatch.filter(names, rules.sign):
        return family
  return None


def mappings(tree: Any) -> Iterator[tuple[Location, Mapping]]:
  """Every dict in a file's tree, with the keys that lead to it."""
  yield from _mappings(tree, (), set())


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
