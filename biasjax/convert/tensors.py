"""Tensors in a file: what PyTorch's pickles say of them, checked, and read when asked for."""

import dataclasses
import math
import pathlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import ml_dtypes
import numpy as np
import safetensors

from biasjax.convert import pickles
from biasjax.convert.pickles import Global, Placeholder
from biasjax.errors import BiasjaxError

PIECE = 2**20  # bytes read at a time where a file is only checked
MAX_DIMENSIONS = 8
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


@runtime_checkable
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
    return np.asarray(np.lib.stride_tricks.as_strided(values, self.shape, strides), order="C")


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
      raise BiasjaxError(f"{self.path}: {self.name[:100]!r} cannot be read ({one_line(error)})") from error
    return np.asarray(values, order="C").view(self.dtype)


def is_tensor(value: Any) -> bool:
  """Whether a leaf of a file's tree is a tensor."""
  return isinstance(value, (StridedTensor, SafeTensor))


def one_line(error: Exception) -> str:
  """An error's message without its line breaks."""
  return pickles.printable(" ".join(str(error).split())[:200]) or type(error).__name__


@dataclasses.dataclass(frozen=True, eq=False)
class StorageView:
  """A part of a storage that a legacy file treats as a storage of its own."""

  storage: Storage
  offset: int
  count: int


def storage_view(storage: Storage, metadata: Any) -> StorageView:
  """A part of a storage, from (key, offset, count).

  Raises:
    pickles.PickleError: it is not within.
  """
  match metadata:
    case (str(), int() as offset, int() as count) if offset >= 0 and count >= 0:
      if offset + count > storage.count:
        raise pickles.PickleError("a view goes beyond its storage")
      return StorageView(storage, offset, count)
  raise pickles.PickleError("a storage's view is damaged")


def storage_dtype(kind: Any) -> np.dtype:
  """Of the numbers in a storage of PyTorch's type `kind`.

  Raises:
    pickles.PickleError: it is not known.
  """
  if isinstance(kind, Global) and kind.module.split(".")[0] == "torch" and kind.name in STORAGE_DTYPES:
    return STORAGE_DTYPES[kind.name]
  raise pickles.PickleError(f"storages of type {str(kind)[:100]} are not known here")


def find_storage(kind: Any, key: Any, count: Any, find: Callable[[np.dtype, str, int], Storage]) -> Storage:
  """What `find` knows under a storage's description in a pickle: its type, key and count.

  Raises:
    pickles.PickleError: the description is damaged.
  """
  dtype = storage_dtype(kind)
  if isinstance(key, int):
    key = str(key)
  if not isinstance(key, str) or not isinstance(count, int) or not 0 <= count < 2**63:
    raise pickles.PickleError("a storage's description is damaged")
  return find(dtype, key, count)


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
  if not all(isinstance(n, int) and 0 <= n < 2**63 for n in numbers):
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
