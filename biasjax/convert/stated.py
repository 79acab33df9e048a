"""What is said of a network beside its tensors: in the checkpoint (arch, args, hyper_parameters, ...) and in
the files that its library writes next to it (config.json, args.yaml, ...).

Tensors do not tell a plain ResNet from one that blurs, has another activation or other strides. What is said
is compared with what is assumed, and a difference is an error.
"""

import collections
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from biasjax.convert import normalization, readers, torchvision
from biasjax.convert.normalization import Normalization
from biasjax.convert.pickles import Global, Placeholder, printable
from biasjax.convert.tensors import one_line
from biasjax.errors import BiasjaxError
from biasjax.models import variants
from biasjax.models.architecture import BATCH_NORM_EPSILON, PUBLISHED, Architecture

# What every conversion takes for granted; see `biasjax.models.resnet`.
ASSUMED = {
  "stride": "in the 3x3 convolution of a bottleneck (v1.5)",
  "stem": "7x7 convolution of stride 2, then 3x3 max-pooling of stride 2",
  "output stride": "32 (four stages; no dilation)",
  "activation": "ReLU",
  "BatchNorm epsilon": BATCH_NORM_EPSILON,
  "pooling": "mean over all positions",
}
IN_SHORT = f"stride in 3x3 (v1.5), max-pooling, ReLU, BatchNorm epsilon {BATCH_NORM_EPSILON:g}"
BESIDE = tuple(
  f"{name}{ending}"
  for name in ("config", "preprocessor_config", "args", "hparams", "model_args", "opt", "options")
  for ending in (".json", ".yaml", ".yml")
)
LIMIT = 2**20  # bytes of such a file
DEPTH, VALUES = 6, 20_000  # of what is looked at
TEXT = 200  # characters of a value

ARCHITECTURE = {
  *("_name_or_path", "arch", "arch_name", "architecture", "architectures", "backbone", "backbone_name"),
  *("base_arch", "base_model", "encoder", "encoder_name", "model", "model_arch", "model_id", "model_name"),
  *("model_type", "net", "network", "timm_model"),
}
NAMES = {"name", "type", "_target_", "id"}  # they say what the key says within which they lie
ACTIVATION = {"act", "act_fn", "act_layer", "act_type", "activation", "activation_fn", "activation_function"}
ACTIVATION |= {"act_cfg", "activation_layer", "hidden_act"}
POOLING = {"global_pool", "gp", "pool_type"}
EPSILON = {"batch_norm_eps", "batch_norm_epsilon", "batchnorm_eps", "bn_eps", "bn_epsilon", "norm_eps"}
NORM = {"norm_cfg", "norm_layer", "norm_type"}
# Flags and sizes: what a plain ResNet has, and what any other value means.
PLAIN: dict[str, tuple[tuple[Any, ...], str]] = {
  "aa_layer": ((), "anti-aliasing"),
  "antialiased": ((), "anti-aliasing"),
  "blur_pool": ((), "anti-aliasing"),
  "blurpool": ((), "anti-aliasing"),
  "stride_in_1x1": ((), "stride in the 1x1 convolutions (v1)"),
  "downsample_in_bottleneck": ((), "stride in the 1x1 convolutions (v1)"),
  "downsample_in_first_stage": ((), "a stride in the first stage"),
  "avg_down": ((), "average-pooling in its shortcuts"),
  "deep_stem": ((), "a deep stem"),
  "replace_stem_pool": ((), "a stem without pooling"),
  "weight_standardization": ((), "standardised weights"),
  "replace_stride_with_dilation": ((), "dilation instead of strides"),
  "dilated": ((), "dilation instead of strides"),
  "output_stride": ((32,), "another output stride"),
  "dilations": ((1,), "dilation"),
  "stem_type": ((), "another stem"),
  "attn_layer": ((), "attention"),
}
SKIPPED = {
  "optimizer",
  "optimizers",
  "optimizer_states",
  "lr_scheduler",
  "lr_schedulers",
  "callbacks",
  "loops",
}
PLAIN_NORM = {"batch", "batchnorm", "batchnorm2d", "batchnormact2d", "bn", "bn2d", "frozenbatchnorm2d"}
PLAIN_NORM |= {"syncbatchnorm", "syncbn"}
PLAIN_POOLING = {"adaptiveavg", "average", "avg", "fast", "gap", "mean"}
NOTHING = {"", "false", "identity", "no", "none", "null"}


@dataclasses.dataclass(frozen=True)
class Statement:
  """Something that is said of a network.

  Attributes:
    where: the file, if it is another, and the keys that lead there: "config.json: model_args.act_layer".
    kind: what it is about: "architecture", "activation", "pooling", "norm", "epsilon", a key of `PLAIN`, or
      "normalization".
    value: text, a number, a boolean or None; a tuple of these; of a normalisation, mean and std.
  """

  where: str
  kind: str
  value: Any

  def __str__(self):
    return f"{self.where} is {printable(repr(self.value))[:TEXT]}"


def collect(file: readers.File) -> list[Statement]:
  """Everything that is said of a network in a checkpoint and beside it.

  Raises:
    BiasjaxError: a file beside it cannot be read.
  """
  found = [*statements(file.tree, ""), *statements(dict(file.metadata), "metadata.")]
  for path in beside(file.path):
    found += statements(load(path), f"{path.name}: ")
  return list(dict.fromkeys(found))


def beside(path: pathlib.Path) -> list[pathlib.Path]:
  """The files next to a checkpoint that may say something of it."""
  # Lightning writes hparams.yaml above the folder of the checkpoints.
  folders = [path.parent, *([path.parent.parent] if path.parent.name == "checkpoints" else [])]
  return [folder / name for folder in folders for name in BESIDE if (folder / name).is_file()]


def compare(statements: Iterable[Statement], architecture: Architecture | None, source: str) -> None:
  """Refuses a network of which something else is said than `ASSUMED` and its tensors say.

  Args:
    statements: what is said.
    architecture: what its tensors are; None if they are no plain ResNet's.
    source: the checkpoint, for messages.

  Raises:
    BiasjaxError: with what is said, and where.
  """
  for statement in statements:
    if what := _difference(statement, architecture):
      said = f"{source}: {statement}, which {what}; only plain ResNets are covered"
      if architecture is None:
        raise BiasjaxError(f"{said}; {variants.TRACED}")
      raise BiasjaxError(
        f"{said}, and its tensors would do for one ({torchvision.describe(architecture)}): if it is one, "
        f"python -m convert --plain; {variants.TRACED}"
      )


def compare_name(path: pathlib.Path) -> None:
  """Refuses a checkpoint whose file is named after a network with another function.

  Raises:
    BiasjaxError: with what the name means.
  """
  names = [path.name]
  if path.name in readers.IN_FOLDERS:  # then the folder is called after it, or the repository's in a cache
    names += [path.absolute().parent.name, *(p for p in path.absolute().parts if p.startswith("models--"))]
  for name in names:
    if what := variants.other_function(name.replace("--", "/"), exactly=True):
      raise BiasjaxError(
        f"{path}: a network called {name!r} {what}; only plain ResNets are covered: if it is one, "
        f"python -m convert --plain; {variants.TRACED}"
      )


def stated_normalization(statements: Iterable[Statement], source: str) -> Normalization | None:
  """The normalisation that is said.

  Raises:
    BiasjaxError: several are, or it cannot be.
  """
  found = {s.value: s for s in reversed(list(statements)) if s.kind == "normalization"}
  if len(found) > 1:
    where = " and ".join(sorted(s.where for s in found.values())[:3])
    raise BiasjaxError(f"{source}: {where} say different things of mean and std: give --mean and --std")
  for (mean, std), statement in found.items():
    try:
      return normalization.of_values(mean, std, f"of {statement.where}")
    except BiasjaxError as error:
      raise BiasjaxError(f"{source}: {error}") from error
  return None


def _difference(statement: Statement, architecture: Architecture | None) -> str | None:
  """What the network is, if not a plain ResNet of this architecture."""
  kind, value = statement.kind, statement.value
  if kind == "architecture":
    for name in value if isinstance(value, tuple) else (value,):
      if isinstance(name, str) and (what := variants.other_function(name)):
        return what
      number = variants.depth(name) if isinstance(name, str) else None
      published = torchvision.depth(architecture) if architecture else None
      # Of another width or number of blocks, "resnet50" is what somebody called a network of their own.
      if (
        architecture
        and number
        and published
        and number != published
        and architecture.width == PUBLISHED[number].width
      ):
        return f"is a ResNet-{number}"
    return None
  if kind == "epsilon":
    try:  # YAML takes 1e-5 for text
      usual = value is None or math.isclose(float(value), BATCH_NORM_EPSILON, rel_tol=1e-6)
    except (TypeError, ValueError):
      usual = True
    return None if usual else "is another BatchNorm epsilon"
  word = re.sub(r"[^a-z0-9]", "", value.rpartition(".")[2].lower()) if isinstance(value, str) else value
  if kind in PLAIN:
    allowed, what = PLAIN[kind]
    values = value if isinstance(value, tuple) else (word,)
    return None if all(not v or v in allowed or v in NOTHING for v in values) else f"is {what}"
  if not isinstance(word, str) or word in NOTHING:
    return None
  if kind == "style":
    return "strides in its 1x1 convolutions (v1)" if word == "caffe" else None
  plain = {"activation": {"relu"}, "pooling": PLAIN_POOLING, "norm": PLAIN_NORM}
  return None if word in plain.get(kind, {word}) else f"is another {kind}"


def statements(tree: Any, where: str) -> Iterator[Statement]:
  """What is said in a tree of plain containers and placeholders; `where` stands before its keys."""
  left: collections.deque[tuple[Any, str, str, int]] = collections.deque([(tree, where, "", 0)])
  seen: set[int] = set()
  for _ in range(VALUES):
    if not left:
      return
    value, at, key, depth = left.popleft()
    content = _plain(value)
    if isinstance(content, dict):
      if id(content) in seen or depth > DEPTH:
        continue
      seen.add(id(content))
      yield from _of_normalization(content, at)
      for name, inner in content.items():
        small = name.lower() if isinstance(name, str) else ""
        if small and len(small) < TEXT and small not in SKIPPED and "teacher" not in small:
          dot = "." if at and not at.endswith((".", " ")) else ""
          what = key if small in NAMES and _kind(key) else small
          what = "bn_eps" if small in ("eps", "epsilon") and ("norm" in key or key.startswith("bn")) else what
          left.append((inner, f"{at}{dot}{printable(name)}", what, depth + 1))
    elif (kind := _kind(key)) and (leaf := _leaf(content)) is not _NO:
      yield Statement(at, kind, leaf)


_NO = object()


def _leaf(value: Any) -> Any:
  """Text, a number, a boolean, None, or a short tuple of these; else `_NO`."""
  if isinstance(value, str):
    return value[:TEXT]
  if (
    value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() < 64)
  ):
    return value
  if isinstance(value, (list, tuple)) and len(value) <= 8:
    plain = [_plain(part) for part in value]  # a placeholder may hold itself, or much in many ways
    parts = tuple(_NO if isinstance(part, (list, tuple)) else _leaf(part) for part in plain)
    return _NO if _NO in parts else parts
  return _NO


def _plain(value: Any) -> Any:
  """The values in what a namespace, a configuration of OmegaConf or the like became; names of classes."""
  for _ in range(DEPTH):
    if isinstance(value, Global):
      return str(value)
    if not isinstance(value, Placeholder):
      return value
    state = value.state
    if value.kind == "functools.partial" and value.arguments:
      value = value.arguments[0]
    elif isinstance(state, dict):
      inner = next((state[key] for key in ("_val", "_content", "_fields") if key in state), None)
      if inner is None:
        return state
      value = inner
    elif value.items and all(map(_is_named, value.items)):
      return dict(value.items)
    else:
      return value
  return value


def _is_named(item: Any) -> bool:
  return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)


def _kind(key: str) -> str | None:
  groups = {"architecture": ARCHITECTURE, "activation": ACTIVATION, "pooling": POOLING, "epsilon": EPSILON}
  groups |= {"norm": NORM, "style": {"style"}}
  return key if key in PLAIN else next((kind for kind, keys in groups.items() if key in keys), None)


def _of_normalization(content: Mapping, at: str) -> Iterator[Statement]:
  """Mean and std, of three numbers each, of one dict; its tensors too where it holds no network."""
  if content.get("do_normalize") is False:
    yield Statement(f"{at}do_normalize", "normalization", ((0.0,) * 3, (1.0,) * 3))
    return
  for of_mean, of_std in normalization.PAIRS:
    values = [_three(content.get(key)) for key in (of_mean, of_std)]
    if all(values):
      dot = "." if at and not at.endswith((".", " ")) else ""
      yield Statement(f"{at}{dot}{of_mean}", "normalization", tuple(values))


def _three(value: Any) -> tuple[float, ...] | None:
  value = _plain(value)
  if normalization.is_channels(value):
    return normalization.channels(value)
  if isinstance(value, (list, tuple)) and len(value) == 3 and all(type(v) in (int, float) for v in value):
    return tuple(map(float, value))
  return None


class _Loader(yaml.SafeLoader):
  """YAML's plain values; another tag (!!python/object) is taken for the mapping that it is on."""


def _untagged(loader: _Loader, _: str, node: yaml.Node) -> Any:
  if isinstance(node, yaml.MappingNode):
    return loader.construct_mapping(node, deep=True)
  if isinstance(node, yaml.SequenceNode):
    return loader.construct_sequence(node, deep=True)
  return loader.construct_scalar(node)  # pyright: ignore[reportArgumentType]


_Loader.add_multi_constructor("", _untagged)


def load(path: pathlib.Path) -> Any:
  """The values in a file beside a checkpoint; None for one that is too long for a configuration.

  Raises:
    BiasjaxError: it cannot be read.
  """
  try:
    with open(path, "rb") as file:
      content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
      return None  # no configuration of a network
    return json.loads(content) if path.suffix == ".json" else yaml.load(content, _Loader)
  except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
    raise BiasjaxError(
      f"{path}: lies beside the checkpoint and cannot be read ({one_line(error)}): mend it or move it away"
    ) from error
