"""Checkpoint files to trees of plain containers whose tensors are read when asked for.

Containers: safetensors; PyTorch's zip (since 1.6); PyTorch's older stream ("legacy": magic number, pickle,
storages), also when written with dill. No torch, and nothing in a file is executed: see pickles.py. Every
size that a file claims is checked against the file before memory is taken.
"""

import dataclasses
import hashlib
import io
import math
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import ml_dtypes
import numpy as np
import safetensors

from biasjax.errors import BiasjaxError
from convert import pickles
from convert.pickles import Global, Placeholder

PIECE = 2**20  # bytes read at a time where a file is only checked
MAX_DIMENSIONS = 8
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

STORAGE_DTYPES = {
  "FloatStorage": np.dtype("<f4"),
  "DoubleStorage": np.dtype("<f8"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("i1"),
  "ByteStorage": np.dtype("u1"),
  "BoolStorage": np.dtype("u1"),
  "ComplexFloatStorage": np.dtype("<c8"),
  "ComplexDoubleStorage": np.dtype("<c16"),
}
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


class Tensor(Protocol):
  """A tensor in a file; its values are read when asked for, and are not kept."""

  @property
  def shape(self) -> tuple[int, ...]:
    """As in PyTorch."""
    ...

  @property
  def dtype(self) -> np.dtype:
    """Of the values; bool is uint8."""
    ...

  def read(self) -> np.ndarray:
    """The values, contiguous. Raises BiasjaxError: the file is damaged."""
    ...


@dataclasses.dataclass(eq=False)
class Storage:
  """A run of numbers in a file; tensors are views of it, and several may share one.

  Attributes:
    path: of the file.
    dtype: of the numbers.
    count: of the numbers.
    position: of the first, in bytes from the file's start; -1 until it is known.
    crc: of the bytes, where the container has one; checked once.
  """

  path: pathlib.Path
  dtype: np.dtype
  count: int
  position: int = -1
  crc: int | None = None

  @property
  def nbytes(self) -> int:
    """Of all its numbers."""
    return self.count * self.dtype.itemsize

  def read(self, start: int, count: int) -> np.ndarray:
    """`count` numbers from `start` on; the caller has checked that they lie within."""
    with open(self.path, "rb") as file:
      if self.crc is not None:
        self._check(file)
      file.seek(self.position + start * self.dtype.itemsize)
      values = np.fromfile(file, self.dtype, count)
    if len(values) != count:
      raise BiasjaxError(f"{self.path}: the file ends within a tensor: fetch it again")
    return values

  def _check(self, file) -> None:
    file.seek(self.position)
    crc, left = 0, self.nbytes
    while left > 0 and (piece := file.read(min(PIECE, left))):
      crc, left = zlib.crc32(piece, crc), left - len(piece)
    if left or crc != self.crc:
      raise BiasjaxError(f"{self.path}: a tensor's bytes do not match their checksum: fetch the file again")
    self.crc = None


@dataclasses.dataclass(frozen=True, eq=False)
class StridedTensor:
  """A view of a storage, as PyTorch's pickles describe it. Offset and strides count numbers, not bytes."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  @property
  def dtype(self) -> np.dtype:
    """Of the storage."""
    return self.storage.dtype

  def read(self) -> np.ndarray:
    """The values, contiguous."""
    if math.prod(self.shape) > self.storage.count:
      # Only an expanded tensor, whose numbers repeat; it could be of any size.
      raise BiasjaxError(f"{self.storage.path}: a tensor of shape {self.shape} is larger than its storage")
    if 0 in self.shape:
      return np.zeros(self.shape, self.dtype)
    extent = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
    values = self.storage.read(self.offset, extent)
    strides = [stride * values.itemsize for stride in self.strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, self.shape, strides))


@dataclasses.dataclass(frozen=True, eq=False)
class SafeTensor:
  """A tensor in a .safetensors file."""

  path: pathlib.Path
  name: str
  shape: tuple[int, ...]
  dtype: np.dtype

  def read(self) -> np.ndarray:
    """The values."""
    try:
      with safetensors.safe_open(self.path, framework="np") as file:
        values = file.get_tensor(self.name)
    except (safetensors.SafetensorError, OSError) as error:
      raise BiasjaxError(f"{self.path}: {self.name} cannot be read ({_one_line(error)})") from error
    return np.ascontiguousarray(values).view(self.dtype)


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


def is_tensor(value: Any) -> bool:
  """Whether a leaf of a file's tree is a tensor."""
  return isinstance(value, (StridedTensor, SafeTensor))


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
    raise BiasjaxError(f"{path}: {_one_line(error)}") from error


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
          raise BiasjaxError(f"{path}: {name} has dtype {view.get_dtype()}, which is not known here")
        tensors[name] = SafeTensor(path, name, tuple(view.get_shape()), dtype)
  except safetensors.SafetensorError as error:
    raise BiasjaxError(f"{path}: is damaged or cut short ({_one_line(error)})") from error
  return File(path, size, "safetensors", tensors)


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())[:200] or type(error).__name__


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
    return _storage(identity[1], identity[2], identity[4], storage)

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
  except (ValueError, struct.error, NotImplementedError) as error:
    raise BiasjaxError(f"{path}: is a damaged zip file ({_one_line(error)}): fetch it again") from error
  with open(path, "rb") as file:
    for info in infos:
      if info.filename in entries:
        raise BiasjaxError(f"{path}: {info.filename!r} is in it twice")
      if (
        info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1
      ):
        raise BiasjaxError(f"{path}: {info.filename!r} is compressed or encrypted, which PyTorch's never are")
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
  with open(path, "rb") as file:
    stream = io.BytesIO(file.read(pickles.LIMIT))
  storages: dict[str, Storage] = {}
  views: dict[tuple[str, Any], StorageView] = {}

  def storage(dtype: np.dtype, key: str, count: int) -> Storage:
    if count * dtype.itemsize > size:
      raise pickles.PickleError(f"storage {key!r} is larger than the file: it was cut short")
    found = storages.setdefault(key, Storage(path, dtype, count))
    if (found.dtype, found.count) != (dtype, count):
      raise pickles.PickleError(f"storage {key!r} is described in two ways")
    return found

  def persistent(identity: Any) -> Any:
    kind, *data = identity if isinstance(identity, tuple) and identity else (None,)
    if kind == "module" and data:
      return data[0]
    if kind != "storage" or len(data) not in (4, 5):
      raise pickles.PickleError("a persistent id is not one of PyTorch's")
    found = _storage(data[0], data[1], data[3], storage)
    if len(data) == 4 or data[4] is None or isinstance(found, Placeholder):
      return found
    return _view(found, data[4], views)

  seen: set[Global] = set()
  if pickles.load(stream) != LEGACY_MAGIC:
    raise pickles.PickleError("is a pickle, but not one that PyTorch wrote")
  if pickles.load(stream) != LEGACY_PROTOCOL:
    raise pickles.PickleError("is of a version of PyTorch's format that is not known")
  system = pickles.load(stream)
  if not isinstance(system, dict) or system.get("little_endian") is not True:
    raise pickles.PickleError("was not written on a little-endian machine; save it again on another")
  tree = pickles.load(stream, builders=BUILDERS, persistent=persistent, seen=seen)
  keys = pickles.load(stream)
  if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
    raise pickles.PickleError("the list of storages is damaged")
  _locate(path, size, stream.tell(), keys, storages)
  return File(path, size, "torch legacy", tree, _names(seen))


def _locate(
  path: pathlib.Path, size: int, position: int, keys: list[str], storages: dict[str, Storage]
) -> None:
  """Finds each storage of a legacy file: they follow the pickles in the order of `keys`."""
  if sorted(keys) != sorted(storages):
    raise pickles.PickleError("the list of storages does not match the tensors")
  with open(path, "rb") as file:
    for key in keys:
      found = storages[key]
      file.seek(position)
      count = file.read(8)
      if len(count) < 8 or struct.unpack("<q", count)[0] != found.count:
        raise pickles.PickleError(f"storage {key!r} is damaged or cut short: fetch the file again")
      found.position = position + 8
      position = found.position + found.nbytes
  if position > size:
    raise pickles.PickleError(f"the file ends at byte {size}, its tensors at {position}: it was cut short")
  if position < size:
    raise pickles.PickleError(f"{size - position} bytes follow the last tensor: it is damaged")


@dataclasses.dataclass(frozen=True, eq=False)
class StorageView:
  """A part of a storage that a legacy file treats as a storage of its own."""

  storage: Storage
  offset: int
  count: int


def _view(storage: Storage, metadata: Any, views: dict[tuple[str, Any], StorageView]) -> StorageView:
  match metadata:
    case (str() as key, int() as offset, int() as count) if offset >= 0 and count >= 0:
      if offset + count > storage.count:
        raise pickles.PickleError("a view goes beyond its storage")
      return views.setdefault((key, id(storage)), StorageView(storage, offset, count))
  raise pickles.PickleError("a storage's view is damaged")


def _storage(kind: Any, key: Any, count: Any, find: Callable[[np.dtype, str, int], Storage]) -> Any:
  if not isinstance(kind, Global):
    raise pickles.PickleError("a storage has no type")
  dtype = STORAGE_DTYPES.get(kind.name) if kind.module.split(".")[0] == "torch" else None
  if dtype is None:
    raise pickles.PickleError(f"storages of type {kind} are not known here")
  if isinstance(key, int):
    key = str(key)
  if not isinstance(key, str) or not isinstance(count, int) or count < 0:
    raise pickles.PickleError("a storage's description is damaged")
  return find(dtype, key, count)


def _names(seen: set[Global]) -> tuple[str, ...]:
  return tuple(sorted(map(str, seen)))


def _rebuild_tensor(arguments: tuple) -> Any:
  """(storage, offset, size, stride, ...): torch._utils._rebuild_tensor and its second version."""
  if len(arguments) < 4:
    raise pickles.PickleError("a tensor's description is damaged")
  storage, offset, shape, strides = arguments[:4]
  if isinstance(storage, Placeholder):
    return storage
  return strided(storage, offset, shape, strides)


def strided(storage: Any, offset: Any, shape: Any, strides: Any) -> StridedTensor:
  """A view of a storage, if it lies within.

  Raises:
    pickles.PickleError: it does not, or is no view at all.
  """
  numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
  if not all(isinstance(n, int) and n >= 0 for n in numbers):
    raise pickles.PickleError("a tensor's description is damaged")
  if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
    raise pickles.PickleError(f"a tensor has shape {shape} and strides {strides}")
  start, count = 0, storage.count if isinstance(storage, (Storage, StorageView)) else -1
  if isinstance(storage, StorageView):
    start, storage = storage.offset, storage.storage
  last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
  if not isinstance(storage, Storage) or (last >= count and 0 not in shape):
    raise pickles.PickleError(f"a tensor of shape {shape} and strides {strides} goes beyond its storage")
  return StridedTensor(storage, start + offset, shape, strides)


def _rebuild_parameter(arguments: tuple) -> Any:
  if not arguments:
    raise pickles.PickleError("a parameter's description is damaged")
  return arguments[0]


BUILDERS: Mapping[Global, pickles.Builder] = {
  **pickles.CONTAINERS,
  Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
  Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
  Global("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}
