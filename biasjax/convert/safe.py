"""The header of a .safetensors file: where each tensor lies.

The library refuses a whole file for one type of numbers that it does not know, so the header is read here, as
strictly as the library reads it (huggingface/safetensors, safetensors/src/tensor.rs).
"""

import json
import math
import pathlib
import struct
from typing import Any

from biasjax.convert import pickles
from biasjax.convert.tensors import DTYPES, Numbers, Storage, Tensor, opaque

LIMIT = 100_000_000  # bytes of a header, as in the library
NUMBERS: dict[str, Numbers] = {
  "F64": DTYPES["float64"],
  "F32": DTYPES["float32"],
  "F16": DTYPES["float16"],
  "BF16": DTYPES["bfloat16"],
  "I64": DTYPES["int64"],
  "I32": DTYPES["int32"],
  "I16": DTYPES["int16"],
  "I8": DTYPES["int8"],
  "U64": DTYPES["uint64"],
  "U32": DTYPES["uint32"],
  "U16": DTYPES["uint16"],
  "U8": DTYPES["uint8"],
  "BOOL": DTYPES["bool"],
  "F8_E4M3": DTYPES["float8_e4m3fn"],
  "F8_E5M2": DTYPES["float8_e5m2"],
  "F8_E4M3FNUZ": DTYPES["float8_e4m3fnuz"],
  "F8_E5M2FNUZ": DTYPES["float8_e5m2fnuz"],
  "C64": DTYPES["complex64"],
}


def read(path: pathlib.Path, size: int) -> tuple[dict[str, Tensor], dict[str, str]]:
  """The tensors of a .safetensors file by name, and the text that was saved with them.

  Raises:
    pickles.PickleError: the file is damaged or cut short.
  """
  with open(path, "rb") as file:
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > min(LIMIT, size - 8):
      raise pickles.PickleError("is damaged or cut short (its header goes beyond the file): fetch it again")
    content = file.read(length)
  try:
    header = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(header, dict):
      raise ValueError("no object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
      raise ValueError("__metadata__ is not text")
    spans = sorted((*_span(entry), name) for name, entry in header.items())
    tensors, end = {}, 0
    for first, last, name in spans:
      if first != end:
        raise ValueError(f"{name!r} does not begin where the tensor before it ends")
      tensors[name] = _tensor(path, name, header[name], 8 + length + first, last - first)
      end = last
  except (ValueError, RecursionError) as error:
    reason = pickles.printable(" ".join(str(error).split())[:120])
    raise pickles.PickleError(f"is damaged or cut short (its header: {reason}): fetch it again") from error
  if 8 + length + end != size:
    raise pickles.PickleError(
      f"is damaged or cut short ({size:,} bytes, of which its header accounts for {8 + length + end:,}): "
      "fetch it again"
    )
  return tensors, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) != len(pairs):
    raise ValueError("a name is in it twice")
  return found


def _no_constant(name: str) -> None:
  raise ValueError(f"{name} is no number of JSON")


def _counts(value: Any) -> list[int]:
  if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**63 for n in value):
    raise ValueError("a size is not a whole number")
  return value


def _span(entry: Any) -> tuple[int, int]:
  match _counts(entry.get("data_offsets") if isinstance(entry, dict) else None):
    case [first, last] if first <= last:
      return first, last
  raise ValueError("an offset is not within")


def _tensor(path: pathlib.Path, name: str, entry: dict[str, Any], position: int, nbytes: int) -> Tensor:
  name.encode()  # a surrogate is no text
  kind, shape = entry.get("dtype"), tuple(_counts(entry.get("shape")))
  if not isinstance(kind, str):
    raise ValueError("a tensor has no type")
  numbers = NUMBERS.get(kind) or opaque(kind)
  count = math.prod(shape)
  if numbers.size and count * numbers.size != nbytes:
    raise ValueError(f"{name[:100]!r} has {nbytes} bytes, not {count} x {numbers.size}")
  strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
  return Tensor(Storage(path, numbers, count, position), 0, shape, strides, numbers)
