"""Tensors in a file: what PyTorch's pickles say of them, checked, and read when asked for.

A type of numbers that is not known here is no reason to refuse a file: its tensors are there by name and
shape; only to read their values is an error.
"""

import dataclasses
import math
import pathlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from biasjax.convert import pickles
from biasjax.convert.pickles import Global, Placeholder
from biasjax.errors import BiasjaxError

PIECE = 2**20  # bytes read at a time where a file is only checked
MAX_DIMENSIONS = 8
MAX_TYPE_NAME = 40  # characters
# Bytes that expanded tensors, whose numbers repeat, may take beyond what a file has.
EXPANDED = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Numbers:
  """A type of numbers.

  Attributes:
    name: NumPy's where there is one, else what the file calls it.
    dtype: None if values of it cannot be read here.
    size: bytes of one; 0 if that is not known.
  """

  name: str
  dtype: np.dtype | None
  size: int

  def __str__(self):
    return pickles.printable(self.name)


def numbers(dtype: Any, name: str = "") -> Numbers:
  """Of a NumPy type."""
  dtype = np.dtype(dtype)
  return Numbers(name or dtype.name, dtype, dtype.itemsize)


def opaque(name: str, size: int = 0) -> Numbers:
  """Of a type whose values are not read here."""
  return Numbers(name[:MAX_TYPE_NAME], None, size)


BYTES = numbers("u1")
STORAGES = {
  "FloatStorage": numbers("<f4"),
  "DoubleStorage": numbers("<f8"),
  "HalfStorage": numbers("<f2"),
  "BFloat16Storage": numbers(ml_dtypes.bfloat16),
  "LongStorage": numbers("<i8"),
  "IntStorage": numbers("<i4"),
  "ShortStorage": numbers("<i2"),
  "CharStorage": numbers("i1"),
  "ByteStorage": BYTES,
  "BoolStorage": numbers("u1", "bool"),
  "UntypedStorage": BYTES,
  "ComplexFloatStorage": numbers("<c8"),
  "ComplexDoubleStorage": numbers("<c16"),
  "QInt8Storage": opaque("quantised int8", 1),
  "QUInt8Storage": opaque("quantised uint8", 1),
  "QInt32Storage": opaque("quantised int32", 4),
}
# How torch.dtype is called in a pickle; what is not here is opaque.
DTYPES = {
  "float32": numbers("<f4"),
  "float64": numbers("<f8"),
  "float16": numbers("<f2"),
  "bfloat16": numbers(ml_dtypes.bfloat16),
  "int64": numbers("<i8"),
  "int32": numbers("<i4"),
  "int16": numbers("<i2"),
  "int8": numbers("i1"),
  "uint64": numbers("<u8"),
  "uint32": numbers("<u4"),
  "uint16": numbers("<u2"),
  "uint8": BYTES,
  "bool": numbers("u1", "bool"),
  "float8_e4m3fn": numbers(ml_dtypes.float8_e4m3fn),
  "float8_e5m2": numbers(ml_dtypes.float8_e5m2),
  "float8_e4m3fnuz": numbers(ml_dtypes.float8_e4m3fnuz),
  "float8_e5m2fnuz": numbers(ml_dtypes.float8_e5m2fnuz),
  "complex64": numbers("<c8"),
  "complex128": numbers("<c16"),
  "complex32": opaque("complex32", 4),
}


@dataclasses.dataclass(eq=False)
class Storage:
  """A run of numbers in a file; tensors are views of it, and several may share one.

  Attributes:
    path: of the file.
    numbers: their type.
    count: of the numbers.
    position: of the first, in bytes from the file's start; -1 until it is known.
    crc: of the bytes, where the container has one; checked once.
  """

  path: pathlib.Path
  numbers: Numbers
  count: int
  position: int = -1
  crc: int | None = None

  @property
  def nbytes(self) -> int:
    """Of all its numbers."""
    return self.count * self.numbers.size

  def read(self, start: int, count: int, dtype: np.dtype) -> np.ndarray:
    """`count` numbers of `dtype` from the one at `start` on; the caller has checked that they lie within."""
    with open(self.path, "rb") as file:
      if self.crc is not None:
        self._check(file)
      file.seek(self.position + start * dtype.itemsize)
      values = np.fromfile(file, dtype, count)
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
class Tensor:
  """A view of a storage; its values are read when asked for, and are not kept.

  Attributes:
    storage: where the numbers are.
    offset: of the first number.
    shape: as in PyTorch.
    strides: as offset, in numbers, not bytes.
    numbers: their type, which need not be the storage's.
    lazily: what PyTorch has put off until the values are used: "neg", "conj".
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  numbers: Numbers
  lazily: frozenset[str] = frozenset()

  @property
  def nbytes(self) -> int:
    """That its values take, as the file has them."""
    return math.prod(self.shape) * self.numbers.size

  def read(self) -> np.ndarray:
    """The values, contiguous; bool as uint8.

    Raises:
      BiasjaxError: the file is damaged, or the type of the numbers is not known here.
    """
    dtype = self.numbers.dtype
    if dtype is None:
      raise BiasjaxError(f"{self.storage.path}: numbers of type {self.numbers} cannot be read here")
    if math.prod(self.shape) * dtype.itemsize > max(self.storage.nbytes, EXPANDED):
      # Only an expanded tensor; it could be of any size.
      raise BiasjaxError(f"{self.storage.path}: a tensor of shape {self.shape} is larger than its storage")
    if 0 in self.shape:
      return np.zeros(self.shape, dtype)
    extent = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
    values = self.storage.read(self.offset, extent, dtype)
    strides = [stride * dtype.itemsize for stride in self.strides]
    raw = values.view(np.dtype((np.void, dtype.itemsize)))  # as_strided forgets what ml_dtypes' types are
    values = np.asarray(np.lib.stride_tricks.as_strided(raw, self.shape, strides), order="C").view(dtype)
    values = np.negative(values) if "neg" in self.lazily else values
    return np.conjugate(values) if "conj" in self.lazily and np.iscomplexobj(values) else values


def is_tensor(value: Any) -> bool:
  """Whether a leaf of a file's tree is a tensor."""
  return isinstance(value, Tensor)


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


def find_storage(kind: Any, key: Any, count: Any, find: Callable[[Numbers, str, int], Storage]) -> Storage:
  """What `find` knows under a storage's description in a pickle: its type, key and count.

  Raises:
    pickles.PickleError: the description is damaged.
  """
  if not isinstance(kind, Global) or kind.module.split(".")[0] != "torch":
    raise pickles.PickleError(f"storages of type {str(kind)[:100]} are not PyTorch's")
  if isinstance(key, int):
    key = str(key)
  if not isinstance(key, str) or not isinstance(count, int) or not 0 <= count < 2**63:
    raise pickles.PickleError("a storage's description is damaged")
  return find(STORAGES.get(kind.name) or opaque(kind.name), key, count)


def _rebuild_tensor(arguments: tuple) -> Any:
  """(storage, offset, size, stride, requires_grad, hooks, metadata): torch._utils._rebuild_tensor and _v2."""
  return strided(arguments, metadata=arguments[6] if len(arguments) > 6 else None)


def _rebuild_tensor_v3(arguments: tuple) -> Any:
  """The same of a storage of bytes: (..., hooks, dtype, metadata)."""
  kind = arguments[6] if len(arguments) > 6 else None
  if not isinstance(kind, Global) or kind.module != "torch":
    raise pickles.PickleError("a tensor's description is damaged")
  of_kind = DTYPES.get(kind.name) or opaque(kind.name)
  return strided(arguments, of_kind, arguments[7] if len(arguments) > 7 else None)


def strided(arguments: tuple, of_kind: Numbers | None = None, metadata: Any = None) -> Any:
  """A view of a storage, if it lies within.

  Args:
    arguments: storage, offset, shape, strides, and what does not matter.
    of_kind: the type of the numbers, if it is not the storage's.
    metadata: what PyTorch has put off, {"neg": True} say.

  Raises:
    pickles.PickleError: it does not, or is no view at all.
  """
  if len(arguments) < 4:
    raise pickles.PickleError("a tensor's description is damaged")
  storage, offset, shape, strides = arguments[:4]
  if isinstance(storage, Placeholder):
    return storage
  is_shape = isinstance(shape, tuple) and isinstance(strides, tuple)
  if not all(
    isinstance(n, int) and 0 <= n < 2**63 for n in ((offset, *shape, *strides) if is_shape else (None,))
  ):
    raise pickles.PickleError("a tensor's description is damaged")
  if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
    raise pickles.PickleError(f"a tensor has shape {shape} and strides {strides}")
  start, count = 0, storage.count if isinstance(storage, (Storage, StorageView)) else -1
  if isinstance(storage, StorageView):
    start, storage = storage.offset, storage.storage
  if not isinstance(storage, Storage):
    raise pickles.PickleError("a tensor's description is damaged")
  last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
  numbers = of_kind or storage.numbers
  if numbers.size:  # else nobody can say how long it is, and nobody can read it
    room = count * storage.numbers.size // numbers.size
    if last >= room and 0 not in shape:
      raise pickles.PickleError(f"a tensor of shape {shape} and strides {strides} goes beyond its storage")
    if start * storage.numbers.size % numbers.size:
      raise pickles.PickleError("a tensor does not begin with one of its numbers")
    start = start * storage.numbers.size // numbers.size
  lazily = [key for key, on in metadata.items() if on] if isinstance(metadata, dict) else []
  if unknown := [key for key in lazily if key not in ("neg", "conj")]:
    numbers = opaque(f"{numbers.name} with {unknown[0]!r}", numbers.size)
  return Tensor(storage, start + offset, shape, strides, numbers, frozenset(map(str, lazily)))


def _rebuild_parameter(arguments: tuple) -> Any:
  if not arguments:
    raise pickles.PickleError("a parameter's description is damaged")
  return arguments[0]


def _rebuild_from_type(arguments: tuple) -> Any:
  """(function, type, arguments, state): a tensor that has attributes, or a subclass of it."""
  match arguments:
    case (Global() as function, Global() as kind, tuple() as inner, *_):
      builder = TENSORS.get(function)
      if builder is not None and kind.module.split(".")[0] == "torch":
        return builder(inner)
      return Placeholder(str(kind), inner)
  raise pickles.PickleError("a tensor's description is damaged")


TENSORS: dict[Global, pickles.Builder] = {
  Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
  Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  Global("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
  Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
  Global("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}
BUILDERS: Mapping[Global, pickles.Builder] = {
  **pickles.CONTAINERS,
  **TENSORS,
  Global("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
}
