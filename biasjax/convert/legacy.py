"""PyTorch's formats before 1.6: a stream of pickles followed by the storages, and before 0.2 a tar file."""

import io
import pathlib
import struct
from typing import Any

import numpy as np

from biasjax.convert import pickles
from biasjax.convert.pickles import Global
from biasjax.convert.tensors import BUILDERS, Storage, find_storage, storage_dtype, storage_view, strided

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SMALL = 4096  # bytes that the pickle of a few names fits into
BLOCK = 512  # bytes of a tar file's units
Storages = dict[str, Storage]


def read_stream(path: pathlib.Path, size: int) -> tuple[Any, set[Global]]:
  """The tree of a file in the format of PyTorch 0.2 to 1.5, and the globals that it refers to.

  Raises:
    pickles.PickleError: the file is damaged, cut short or hostile.
  """
  with open(path, "rb") as file:
    stream = io.BytesIO(file.read(min(pickles.LIMIT, size)))
  storages: dict[str, Storage] = {}

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
    found = find_storage(data[0], data[1], data[3], storage)
    if len(data) == 4 or data[4] is None:
      return found
    return storage_view(found, data[4])

  seen: set[Global] = set()
  if pickles.load(stream) != MAGIC:
    raise pickles.PickleError("is a pickle, but not one that PyTorch wrote")
  if pickles.load(stream) != PROTOCOL:
    raise pickles.PickleError("is of a version of PyTorch's format that is not known")
  system = pickles.load(stream)
  if not isinstance(system, dict) or system.get("little_endian") is not True:
    raise pickles.PickleError("was not written on a little-endian machine; save it again on another")
  tree = pickles.load(stream, builders=BUILDERS, persistent=persistent, seen=seen)
  keys = pickles.load(stream)
  if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
    raise pickles.PickleError("the list of storages is damaged")
  _locate(path, size, stream.tell(), keys, storages)
  return tree, seen


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


def read_tar(path: pathlib.Path, size: int) -> tuple[Any, set[Global]]:
  """The tree of a file in the format of PyTorch 0.1, and the globals that it refers to.

  Its members are "storages", "tensors" (views of them) and "pickle" (the tree, with tensors as persistent
  ids).

  Raises:
    pickles.PickleError: the file is damaged, cut short or hostile.
  """
  members = _members(path, size)
  absent = {"storages", "tensors", "pickle"} - set(members)
  if absent:
    raise pickles.PickleError(f"is a tar file, but not one that PyTorch wrote (no {min(absent)!r} in it)")
  seen: set[Global] = set()
  storages = _tar_storages(path, *members["storages"], seen)
  tensors = _tar_tensors(path, *members["tensors"], storages, seen)

  def persistent(identity: Any) -> Any:
    if isinstance(identity, tuple) and identity:
      return identity[0]  # a class, with its source
    try:
      return tensors[_key(identity)]
    except KeyError:
      raise pickles.PickleError("a tensor is described nowhere") from None

  start, stop = members["pickle"]
  stream = io.BytesIO(_bytes(path, start, min(stop - start, pickles.LIMIT)))
  return pickles.load(stream, builders=BUILDERS, persistent=persistent, seen=seen), seen


def is_tar(start: bytes) -> bool:
  """Whether a file that starts so is a tar file: by the sum of its first header."""
  if len(start) < BLOCK:
    return False
  try:
    claimed = _octal(start[148:156])
  except pickles.PickleError:
    return False
  return claimed == sum(start[:148]) + 8 * ord(" ") + sum(start[156:BLOCK])


def _octal(field: bytes) -> int:
  try:
    return int(field.rstrip(b"\0 ") or b"0", 8)
  except ValueError:
    raise pickles.PickleError("is a damaged tar file") from None


def _members(path: pathlib.Path, size: int) -> dict[str, tuple[int, int]]:
  """Where in the file each regular member starts and stops."""
  members: dict[str, tuple[int, int]] = {}
  position = 0
  while position + BLOCK <= size:
    header = _bytes(path, position, BLOCK)
    if not any(header):
      break
    if not is_tar(header):
      raise pickles.PickleError("is a damaged tar file")
    length = _octal(header[124:136])
    start = position + BLOCK
    if not 0 <= length <= size - start:
      raise pickles.PickleError("is a tar file that was cut short")
    if header[156:157] in (b"0", b"\0"):
      name = header[:100].rstrip(b"\0").decode("latin1").removeprefix("./")
      if name in members:
        raise pickles.PickleError(f"{name!r} is in it twice")
      members[name] = (start, start + length)
    position = start + -(-length // BLOCK) * BLOCK
  return members


def _bytes(path: pathlib.Path, position: int, count: int) -> bytes:
  with open(path, "rb") as file:
    file.seek(position)
    return file.read(count)


class _Cursor:
  """Reads pickles and numbers one after the other from a stretch of a file."""

  def __init__(self, path: pathlib.Path, start: int, stop: int, seen: set[Global]):
    self.path, self.position, self.stop, self.seen = path, start, stop, seen

  def load(self, limit: int = SMALL) -> Any:
    stream = io.BytesIO(_bytes(self.path, self.position, min(limit, self.stop - self.position)))
    value = pickles.load(stream, seen=self.seen)
    self.position += stream.tell()
    return value

  def numbers(self, layout: str) -> tuple[int, ...]:
    count = struct.calcsize(layout)
    if self.position + count > self.stop:
      raise pickles.PickleError("is cut short")
    self.position += count
    return struct.unpack(layout, _bytes(self.path, self.position - count, count))

  def count(self) -> int:
    value = self.load()
    if not isinstance(value, int):
      raise pickles.PickleError("a count is not a number")
    return value


def _key(value: Any) -> str:
  return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""


def _tar_storages(path: pathlib.Path, start: int, stop: int, seen: set[Global]) -> dict[str, Any]:
  cursor = _Cursor(path, start, stop, seen)
  storages: dict[str, Any] = {}
  for _ in range(cursor.count()):
    match cursor.load():
      case (key, _, kind):
        dtype = storage_dtype(kind)
      case _:
        raise pickles.PickleError("a storage's description is damaged")
    (count,) = cursor.numbers("<q")
    if not 0 <= count * dtype.itemsize <= stop - cursor.position:
      raise pickles.PickleError("a storage goes beyond the end of the file: it was cut short")
    storages[_key(key)] = Storage(path, dtype, count, cursor.position)
    cursor.position += count * dtype.itemsize
  views = cursor.load(pickles.LIMIT)
  for view in views if isinstance(views, (list, tuple)) else ():
    match view:
      case (target, root, int() as offset, int() as count) if isinstance(storages.get(_key(root)), Storage):
        storages[_key(target)] = storage_view(storages[_key(root)], (_key(target), offset, count))
      case _:
        raise pickles.PickleError("a storage's view is damaged")
  return storages


def _tar_tensors(
  path: pathlib.Path, start: int, stop: int, storages: dict[str, Any], seen: set[Global]
) -> dict[str, Any]:
  cursor = _Cursor(path, start, stop, seen)
  tensors: dict[str, Any] = {}
  for _ in range(cursor.count()):
    match cursor.load():
      case (key, storage, _):
        found = storages.get(_key(storage))
      case _:
        raise pickles.PickleError("a tensor's description is damaged")
    dimensions, _ = cursor.numbers("<ii")  # written as eight bytes, read as four
    if not 0 <= dimensions <= 8:
      raise pickles.PickleError(f"a tensor has {dimensions} dimensions")
    shape, strides = cursor.numbers(f"<{dimensions}q"), cursor.numbers(f"<{dimensions}q")
    (offset,) = cursor.numbers("<q")
    tensors[_key(key)] = strided(found, offset, shape, strides)
  return tensors
