"""Checkpoint files to trees of plain containers whose tensors are read when asked for.

Containers: safetensors; PyTorch's zip (since 1.6); PyTorch's older stream ("legacy"), also when written with
dill. No torch, and nothing in a file is executed: see pickles.py. Every size that a file claims is checked
against the file before memory is taken.
"""

import dataclasses
import hashlib
import io
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from biasjax.convert import legacy, pickles
from biasjax.convert.pickles import Global, Placeholder
from biasjax.convert.tensors import BUILDERS, SafeTensor, Storage, Tensor, find_storage, is_tensor, one_line
from biasjax.errors import BiasjaxError

__all__ = ["File", "Placeholder", "Tensor", "is_tensor", "read"]

SAFETENSORS_DTYPES = {
  "F64": np.dtype("<f8"),
  "F32": np.dtype("<f4"),
  "F16": np.dtype("<f2"),
  "BF16": np.dtype(ml_dtypes.bfloat16),
  "I64": np.dtype("<i8"),
  "I32": np.dtype("<i4"),
  "I16": np.dtype("<i2"),
  "I8": np.dtype("i1"),
  "U8": np.dtype("u1"),
  "BOOL": np.dtype("u1"),
}


@dataclasses.dataclass(frozen=True)
class File:
  """What a checkpoint file holds.

  Attributes:
    path: of the file.
    size: bytes.
    container: "safetensors", "torch zip" or "torch legacy".
    tree: dict, list, tuple, str, numbers, `Tensor` and `Placeholder`.
    globals: the names that its pickle refers to, sorted; none was imported.
  """

  path: pathlib.Path
  size: int
  container: str
  tree: Any
  globals: tuple[str, ...] = ()

  def sha256(self) -> str:
    """Of the whole file."""
    with open(self.path, "rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: str | os.PathLike) -> File:
  """Opens a checkpoint of any known container.

  Raises:
    BiasjaxError: it is not there, is no checkpoint, is damaged or cut short, or tries to run something.
  """
  path = pathlib.Path(path)
  try:
    if path.is_dir():
      raise BiasjaxError(f"{path}: is a folder; a checkpoint file is needed")
    size = path.stat().st_size
    with open(path, "rb") as file:
      start = file.read(512)
    read_container = _container(path, start)
    return read_container(path, size)
  except OSError as error:
    raise BiasjaxError(f"{path}: cannot be read ({error.strerror or error})") from error
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
  if start.lstrip()[:1] == b"<":
    raise BiasjaxError(f"{path}: is a web page, not a checkpoint (a download that asked for something?)")
  if start.startswith(b"version https://git-lfs"):
    raise BiasjaxError(f"{path}: is a Git LFS pointer, not the checkpoint: run git lfs pull")
  raise BiasjaxError(f"{path}: is no checkpoint known here (.safetensors, or .pth as PyTorch writes it)")


def _read_safetensors(path: pathlib.Path, size: int) -> File:
  try:
    with safetensors.safe_open(path, framework="np") as file:
      tensors = {}
      for name in file.keys():  # noqa: SIM118 (not a mapping)
        view = file.get_slice(name)
        dtype = SAFETENSORS_DTYPES.get(view.get_dtype())
        if dtype is None:
          raise BiasjaxError(f"{path}: {name[:100]!r} has dtype {view.get_dtype()}, which is not known here")
        tensors[name] = SafeTensor(path, name, tuple(view.get_shape()), dtype)
  except safetensors.SafetensorError as error:
    raise BiasjaxError(f"{path}: is damaged or cut short ({one_line(error)})") from error
  return File(path, size, "safetensors", tensors)


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

  def storage(dtype: np.dtype, key: str, count: int) -> Storage:
    if key not in storages:
      entry = entries.get(f"{root}data/{key}")
      if entry is None:
        raise pickles.PickleError(f"storage {key!r} is not in the file")
      if entry.count != count * dtype.itemsize:
        raise pickles.PickleError(f"storage {key!r} has {entry.count} bytes, not {count} x {dtype.itemsize}")
      storages[key] = Storage(path, dtype, count, entry.position, entry.crc)
    if (storages[key].dtype, storages[key].count) != (dtype, count):
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
      entries[info.filename] = Storage(path, np.dtype("u1"), info.file_size, position, info.CRC)
  return entries


def _bytes(entry: Storage) -> bytes:
  if entry.count > pickles.LIMIT:
    raise BiasjaxError(f"{entry.path}: its pickle has {entry.count} bytes, more than any checkpoint's")
  return entry.read(0, entry.count).tobytes()


def _read_legacy(path: pathlib.Path, size: int) -> File:
  tree, seen = legacy.read_stream(path, size)
  return File(path, size, "torch legacy", tree, _names(seen))


def _names(seen: set[Global]) -> tuple[str, ...]:
  return tuple(sorted(map(str, seen)))
