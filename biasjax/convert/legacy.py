"""PyTorch's format of 0.2 to 1.5: a stream of pickles followed by the storages."""

import io
import pathlib
import struct
from typing import Any

from biasjax.convert import pickles
from biasjax.convert.pickles import Global
from biasjax.convert.tensors import BUILDERS, Numbers, Storage, find_storage, storage_view

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read_stream(path: pathlib.Path, size: int) -> tuple[Any, set[Global]]:
  """The tree of a file in the format of PyTorch 0.2 to 1.5, and the globals that it refers to.

  Raises:
    pickles.PickleError: the file is damaged, cut short or hostile.
  """
  with open(path, "rb") as file:
    stream = io.BytesIO(file.read(min(pickles.LIMIT, size)))
  storages: dict[str, Storage] = {}

  def storage(numbers: Numbers, key: str, count: int) -> Storage:
    if not numbers.size:
      raise pickles.PickleError(f"storages of type {numbers} are not known here, nor what follows them")
    if count * numbers.size > size:
      raise pickles.PickleError(f"storage {key!r} is larger than the file: it was cut short")
    found = storages.setdefault(key, Storage(path, numbers, count))
    if (found.numbers, found.count) != (numbers, count):
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
    raise pickles.PickleError("is a pickle, but not one that PyTorch wrote: torch.save a state_dict()")
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
