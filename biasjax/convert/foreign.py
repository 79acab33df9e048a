"""What a file is that holds no ResNet that could be converted, and what to do about it."""

import fnmatch
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from biasjax.convert import families
from biasjax.convert.pickles import Placeholder, printable
from biasjax.convert.tensors import is_tensor
from biasjax.models.variants import TRACED

COVERED = "only ResNets with BatchNorm and torchvision's names are converted"
# Patterns of names, all of which are there, and what has such names. The first that fits counts.
NETWORKS: tuple[tuple[tuple[str, ...], str], ...] = (
  (("*lora_[AaBb]*",), "low-rank adapters, which are no network without the one that they adapt"),
  (("*relative_position_bias_table", "*layers.0.*"), "a Swin Transformer"),
  (("*relative_position_bias_table",), "a Swin Transformer or BEiT"),
  (("*cls_token",), "a Vision Transformer"),
  (("*class_embedding",), "a Vision Transformer"),
  (("*class_token",), "a Vision Transformer"),
  (("*.attn.qkv.weight",), "a Vision Transformer"),
  (("*attention*query*weight",), "a Transformer"),
  (("*dwconv.weight",), "a ConvNeXt"),
  (("*stages.0.blocks.0.conv_dw.weight",), "a ConvNeXt"),
  (("*layer_scale", "*features.1.0.block.0.weight"), "a ConvNeXt"),
  (("*conv_stem.weight",), "an EfficientNet or MobileNet"),
  (("*_conv_stem.weight",), "an EfficientNet"),
  (("*features.1.0.block.0.0.weight",), "an EfficientNet"),
  (("*features.1.conv.0.0.weight",), "a MobileNet"),
  (("*features.denseblock1.*",), "a DenseNet"),
  (("*Mixed_5b.*",), "an Inception network"),
  (("*features.0.weight", "*features.3.weight"), "a VGG or AlexNet"),
  (("*conv1.0.weight", "*layer1.0.conv1.weight"), "a ResNet with a deep stem (ResNet-C, -D or -S)"),
  (("*stem.conv.weight", "*stages.0.blocks.0.*"), "a ResNet v2 (pre-activation)"),
  (
    ("*stem.conv1.weight", "*res2.0.*"),
    "a ResNet with the names of detectron2 (stride in 1x1 convolutions, BGR)",
  ),
  (
    ("*[0-9].0.conv1.weight", "*[0-9].0.bn1.weight"),
    "a Sequential whose stages have numbers for names, as fastai's",
  ),
)
# Of a zip file's entries.
ARCHIVES = (
  (
    "*/constants.pkl",
    "is a TorchScript archive (torch.jit.save), which is a program: save its weights instead, "
    "torch.save(torch.jit.load({file!r}).state_dict(), 'weights.pth')",
  ),
  (
    "*/serialized_exported_program.json",
    "is an exported program (torch.export.save): save the weights instead, "
    "torch.save(torch.export.load({file!r}).state_dict, 'weights.pth')",
  ),
  (
    "*/archive_format",
    "is an exported program (torch.export.save): save the weights instead, "
    "torch.save(torch.export.load({file!r}).state_dict, 'weights.pth')",
  ),
  ("*/.data/extern_modules", "is a torch.package archive: save the state_dict() of the module in it"),
  ("*.npy", "is a NumPy archive (.npz), not a checkpoint of PyTorch"),
  ("*.h5", "is a model of Keras, not a checkpoint of PyTorch"),
)
# How files begin that are no checkpoint of PyTorch.
BEGINNINGS = (
  (b"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras?), not a checkpoint of PyTorch"),
  (b"\x1f\x8b", "is compressed (gzip): unpack it first"),
  (b"BZh", "is compressed (bzip2): unpack it first"),
  (b"\xfd7zXZ", "is compressed (xz): unpack it first"),
  (b"(\xb5/\xfd", "is compressed (zstd): unpack it first"),
  (b"7z\xbc\xaf", "is compressed (7z): unpack it first"),
  (b"GGUF", "is a GGUF file, not a checkpoint of PyTorch"),
  (b"\x93NUMPY", "is a NumPy array, not a checkpoint of PyTorch"),
  (b"version https://git-lfs", "is a Git LFS pointer, not the checkpoint: run git lfs pull"),
)
TAR = "is a tar archive: unpack it; if it is the checkpoint itself (PyTorch 0.1), save it again with torch"


def beginning(start: bytes, name: str) -> str | None:
  """What a file is that starts so and is no checkpoint, and what to do about it; None if nobody knows."""
  for magic, what in BEGINNINGS:
    if start.startswith(magic):
      return what
  if start[257:262] == b"ustar" or _is_old_tar(start):
    return TAR
  if start.lstrip()[:1] == b"<":
    return "is a web page, not a checkpoint (a download that asked for something?)"
  if name.endswith(".onnx") or (start[:1] == b"\x08" and b"pytorch" in start[:40]):
    return "is an ONNX file: convert the PyTorch checkpoint that it was exported from"
  return None


def _is_old_tar(start: bytes) -> bool:
  # By the sum of its first header; tar had no magic number before 1988.
  digits = start[148:156].strip(b"\0 ")
  if len(start) < 512 or not digits.isdigit():
    return False
  return int(digits, 10 if set(digits) & set(b"89") else 8) == sum(start[:148]) + 8 * ord(" ") + sum(
    start[156:512]
  )


def archive(entries: Collection[str], name: str) -> str | None:
  """What a zip file with these entries is, if it is known and not a checkpoint, and what to do about it."""
  for pattern, what in ARCHIVES:
    if fnmatch.filter(entries, pattern):
      return what.format(file=name)
  return None


def explain(tree: Any, path: pathlib.Path, family: str | None) -> str:
  """What a file holds in which no ResNet was found, and what to do about it."""
  for keys, module in _modules(tree):
    where = "".join(f"[{key!r}]" for key in keys)
    return (
      f"holds a whole pickled module ({printable(module.kind)[:80]}), which only its own code can load: "
      f"there, torch.save(torch.load({path.name!r}, weights_only=False){where}.state_dict(), 'weights.pth')"
    )
  names = [str(n) for _, m in families.mappings(tree) for n, v in m.items() if is_tensor(v)]
  if not names:
    return f"no tensor with a name is in it, so it is no state_dict(): see python -m convert --inspect={path}"
  if family is None:
    for patterns, what in NETWORKS:
      if all(fnmatch.filter(names, pattern) for pattern in patterns):
        return f"holds {what}; {COVERED}; {TRACED}"
  where = f"laid out as in {family!r} " if family else ""
  return (
    f"no ResNet with torchvision's names {where}is in it ('conv1.weight', 'layer1.0.conv1.weight', ...): see "
    f"python -m convert --inspect={path}; if it is another network, {TRACED}"
  )


def _modules(tree: Any) -> Iterator[tuple[tuple[str, ...], Placeholder]]:
  """Whole modules in a file's tree, with the keys that lead to them."""
  if _is_module(tree):
    yield (), tree
  for location, mapping in families.mappings(tree):
    for key, value in mapping.items() if len(location) < 2 else ():
      if _is_module(value) and all(_is_short(part) for part in (*location, key)):
        yield (*location, key), value


def _is_module(value: Any) -> bool:
  return isinstance(value, Placeholder) and isinstance(value.state, dict) and "_modules" in value.state


def _is_short(key: Any) -> bool:
  return isinstance(key, str) and len(key) < 40 and key.isprintable()
