"""Checkpoint files to trees of plain containers whose tensors are read when asked for.

Containers: safetensors; PyTorch's zip (since 1.6); PyTorch's older stream ("legacy"), also when written with
dill. No torch, and nothing in a file is executed: see pickles.py. Every size that a file claims is checked
against the file before memory is taken.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from biasjax.convert import foreign, legacy, pickles, safe
from biasjax.convert.pickles import Global, Placeholder
from biasjax.convert.tensors import (
  BUILDERS,
  BYTES,
  EXPANDED,
  Numbers,
  Storage,
  Tensor,
  find_storage,
  is_tensor,
  one_line,
)
from biasjax.errors import BiasjaxError

__all__ = ["EXPANDED", "File", "Placeholder", "Tensor", "is_tensor", "read"]

# What a Hugging Face folder's checkpoint is called, the better first.
IN_FOLDERS = (
  *("model.safetensors", "model.safetensors.index.json", "diffusion_pytorch_model.safetensors"),
  *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
INDEX = ".index.json"


@dataclasses.dataclass(frozen=True)
class File:
  """What a checkpoint file holds.

  Attributes:
    path: of the file.
    size: bytes.
    container: "safetensors", "torch zip", "torch legacy", or "3 shards (safetensors)", say.
    tree: dict, list, tuple, str, numbers, `Tensor` and `Placeholder`.
    globals: the names that its pickle refers to, sorted; none was imported.
    metadata: text that was saved beside the tensors of a .safetensors file.
    shards: the files that hold the tensors of an index.
  """

  path: pathlib.Path
  size: int
  container: str
  tree: Any
  globals: tuple[str, ...] = ()
  metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
  shards: tuple["File", ...] = ()

  def sha256(self) -> str:
    """Of the whole file; of an index, without its shards."""
    with open(self.path, "rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: str | os.PathLike) -> File:
  """Opens a checkpoint of any known container, also one that is sharded, or in a Hugging Face folder.

  Raises:
    BiasjaxError: it is not there, is no checkpoint, is damaged or cut short, or tries to run something.
  """
  path = pathlib.Path(path)
  try:
    if path.is_dir():
      path = in_folder(path)
    return _read_index(path) if path.name.endswith(INDEX) else _read_file(path)
  except OSError as error:
    raise BiasjaxError(f"{path}: cannot be read ({error.strerror or error})") from error


def in_folder(folder: pathlib.Path) -> pathlib.Path:
  """The checkpoint in a folder as Hugging Face's libraries write it.

  Raises:
    BiasjaxError: there is none.
  """
  found = [folder / name for name in IN_FOLDERS if (folder / name).exists()]
  if not found:
    raise BiasjaxError(
      f"{folder}: is a folder without {' or '.join(IN_FOLDERS[:2])}; name the checkpoint file"
    )
  return found[0]


def _read_index(path: pathlib.Path) -> File:
  """The shards of a checkpoint, by the index that says which tensor is in which."""
  try:
    with open(path, "rb") as file:
      content = json.loads(file.read(pickles.LIMIT))
    shard_of = content["weight_map"]
    names = sorted(set(shard_of.values()))
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
    raise BiasjaxError(f"{path}: is no index of a sharded checkpoint ({one_line(error)})") from error
  # They lie beside the index, whatever it says.
  if not all(isinstance(n, str) and n == pathlib.PurePath(n).name and not n.endswith(INDEX) for n in names):
    raise BiasjaxError(f"{path}: names a shard that is no file beside it")
  if absent := [name for name in names if not (path.parent / name).exists()]:
    raise BiasjaxError(
      f"{path}: {len(absent)} of its {len(names)} shards are not beside it, e.g. {absent[0]!r}"
    )
  shards = {name: _read_file(path.parent / name) for name in names}
  tree = {}
  for name, shard in shard_of.items():
    content = shards[shard].tree
    if not isinstance(content, dict) or name not in content:
      raise BiasjaxError(f"{path}: {name[:100]!r} should be in {shard!r} and is not: fetch both again")
    tree[name] = content[name]
  return File(
    path,
    path.stat().st_size + sum(shard.size for shard in shards.values()),
    f"{len(shards)} shards ({', '.join(sorted({shard.container for shard in shards.values()}))})",
    tree,
    tuple(sorted({name for shard in shards.values() for name in shard.globals})),
    shards=tuple(shards.values()),
  )


def _read_file(path: pathlib.Path) -> File:
  try:
    size = path.stat().st_size
    with open(path, "rb") as file:
      start = file.read(512)
    return _container(path, start)(path, size)
  except (pickles.PickleError, zipfile.BadZipFile, EOFError) as error:
    raise BiasjaxError(f"{path}: {one_line(error)}") from error


def _container(path: pathlib.Path, start: bytes) -> Callable[[pathlib.Path, int], File]:
  if not start:
    raise BiasjaxError(f"{path}: is empty: fetch it again")
  if start.startswith(b"PK\x03\x04"):
    return _read_zip
  if start[8:9] == b"{":  # before the next: the length of its header may start with that byte
    return _read_safetensors
  if start[:1] == b"\x80":
    return _read_legacy
  known = foreign.beginning(start, path.name)
  raise BiasjaxError(
    f"{path}: {known or 'is no checkpoint known here (.safetensors, or .pth as PyTorch writes it)'}"
  )


def _read_safetensors(path: pathlib.Path, size: int) -> File:
  tensors, metadata = safe.read(path, size)
  return File(path, size, "safetensors", tensors, metadata=metadata)


def _read_zip(path: pathlib.Path, size: int) -> File:
  entries = _entries(path, size)
  roots = [
    name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")
  ]
  if len(roots) != 1:
    raise BiasjaxError(f"{path}: is a zip file, but not one that PyTorch wrote (no data.pkl)")
  root = roots[0]
  byteorder = entries.get(f"{root}byteorder")
  if byteorder is not None and _bytes(byteorder) != b"little":
    raise BiasjaxError(f"{path}: was written on a big-endian machine; save it again on another")
  storages: dict[str, Storage] = {}

  def storage(numbers: Numbers, key: str, count: int) -> Storage:
    if key not in storages:
      entry = entries.get(f"{root}data/{key}")
      if entry is None:
        raise pickles.PickleError(f"storage {key!r} is not in the file")
      if numbers.size and entry.count != count * numbers.size:
        raise pickles.PickleError(f"storage {key!r} has {entry.count} bytes, not {count} x {numbers.size}")
      storages[key] = Storage(path, numbers, count, entry.position, entry.crc)
    if (storages[key].numbers, storages[key].count) != (numbers, count):
      raise pickles.PickleError(f"storage {key!r} is described in two ways")
    return storages[key]

  def persistent(identity: Any) -> Any:
    if not (isinstance(identity, tuple) and len(identity) == 5 and identity[0] == "storage"):
      raise pickles.PickleError("a persistent id is not one of PyTorch's")
    return find_storage(identity[1], identity[2], identity[4], storage)

  seen: set[Global] = set()
  stream = io.BytesIO(_bytes(entries[f"{root}data.pkl"]))
  tree = pickles.load(stream, builders=BUILDERS, persistent=persistent, seen=seen)
  return File(path, size, "torch zip", tree, _names(seen))


def _entries(path: pathlib.Path, size: int) -> dict[str, Storage]:
  """The entries of a zip file as runs of bytes. PyTorch stores them uncompressed; nothing else is read."""
  entries: dict[str, Storage] = {}
  try:
    with zipfile.ZipFile(path) as archive:
      infos = archive.infolist()
  except zipfile.BadZipFile as error:
    reason = f"{size:,} bytes; {one_line(error)}"
    raise BiasjaxError(f"{path}: is damaged or cut short ({reason}): fetch it again") from error
  except (ValueError, struct.error, NotImplementedError) as error:
    raise BiasjaxError(f"{path}: is a damaged zip file ({one_line(error)}): fetch it again") from error
  if what := foreign.archive([info.filename for info in infos], path.name):
    raise BiasjaxError(f"{path}: {what}")
  with open(path, "rb") as file:
    for info in infos:
      if info.filename in entries:
        raise BiasjaxError(f"{path}: {info.filename!r} is in it twice")
      if (
        info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1
      ):
        raise BiasjaxError(f"{path}: {info.filename!r} is compressed or encrypted, which PyTorch's never are")
      if not 0 <= info.header_offset <= size:
        raise BiasjaxError(f"{path}: {info.filename!r} is not within the file: fetch it again")
      file.seek(info.header_offset)
      header = file.read(30)
      if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise BiasjaxError(f"{path}: {info.filename!r} is not where the zip file says: fetch it again")
      name, extra = struct.unpack("<HH", header[26:30])
      position = info.header_offset + 30 + name + extra
      if position + info.file_size > size:
        raise BiasjaxError(f"{path}: {info.filename!r} goes beyond the end of the file: fetch it again")
      entries[info.filename] = Storage(path, BYTES, info.file_size, position, info.CRC)
  return entries


def _bytes(entry: Storage) -> bytes:
  if entry.count > pickles.LIMIT:
    raise BiasjaxError(f"{entry.path}: its pickle has {entry.count} bytes, more than any checkpoint's")
  return entry.read(0, entry.count, np.dtype("u1")).tobytes()


def _read_legacy(path: pathlib.Path, size: int) -> File:
  tree, seen = legacy.read_stream(path, size)
  return File(path, size, "torch legacy", tree, _names(seen))


def _names(seen: set[Global]) -> tuple[str, ...]:
  return tuple(sorted(map(str, seen)))
