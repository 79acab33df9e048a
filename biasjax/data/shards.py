"""Labelled images in parquet shards, as the Hugging Face hub distributes them: columns image and label.

A shard is read as an archive whose images lie in class folders: an image's name is <WordNet id>/<file name>,
by the label of its row. How large an image is becomes known when it is read.
"""

import bisect
import functools
import itertools
import json
import logging
import os
import pathlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biasjax.data.classes import class_index, wordnet_ids
from biasjax.data.files import UNKNOWN, File, is_image, pointer_at
from biasjax.data.layouts import class_of_name
from biasjax.errors import BiasjaxError

logger = logging.getLogger(__name__)

SUFFIX = ".parquet"
# validation-00000-of-00014.parquet, default/validation/0000.parquet, partial-train/0000.parquet
SPLIT = re.compile(r"(?:^|[/_-])(train|validation|valid|val|test)(?=[/._-])")
BATCH = 64  # rows in memory at a time
# What ImageNet's classes are called where they are not called by WordNet ids: enough to know the order.
WORDS = {0: "tench", 1: "goldfish", 207: "golden retriever", 999: "toilet t"}


def is_shard(name: str) -> bool:
  """Whether a file is a shard by its name."""
  return name.lower().endswith(SUFFIX)


def split_of(name: str) -> str:
  """The split that a shard's path names: "train", "validation", "test", or "" where it names none."""
  last = SPLIT.findall(name)[-1:] or [""]
  return "validation" if last[0].startswith("val") else last[0]


def of_one_split(names: Sequence[str], where: object) -> list[str]:
  """Those shards that are meant: of the validation split, else of the test split, else of the only one.

  Raises:
    BiasjaxError: there are several others; or two shards have one name, as in two revisions side by side.
  """
  splits = {split_of(name) for name in names}
  usual = [split for split in ("validation", "test") if split in splits]
  if not usual and len(splits) > 1:
    there = ", ".join(sorted(map(repr, splits)))
    raise BiasjaxError(f"{where} holds shards of the splits {there}: name one, PATH/train-*{SUFFIX} say")
  meant = [name for name in names if not usual or split_of(name) == usual[0]]
  first: dict[str, str] = {}
  for name in meant:
    other = first.setdefault(name.rpartition("/")[2], name)
    if other != name:
      raise BiasjaxError(f"{where}: {other} and {name} may hold the same images: name the folder of one")
  return meant


def images(paths: Sequence[pathlib.Path]) -> list[File]:
  """The images of shards, in the order of their rows.

  A row without a file name is called after its shard and its place there, and so are all if names repeat.

  Raises:
    BiasjaxError: a shard is damaged or has not these columns; a label is none of the 1,000 classes, does not
      tell which of them it means, or contradicts the file's name.
  """
  rows: list[tuple[str, str, _Shard, int]] = []
  unpacked = _Unpacked()
  for path in paths:
    shard = _Shard(path, unpacked)
    for row, (index, name) in enumerate(shard.labelled()):
      rows.append((wordnet_ids()[index], pathlib.PurePosixPath(name).name, shard, row))
  unnamed = len({(wnid, name) for wnid, name, *_ in rows}) < len(rows)
  return [
    File(
      f"{wnid}/{shard.path.stem}-{row:06d}.jpeg" if unnamed or not is_image(name) else f"{wnid}/{name}",
      UNKNOWN,
      functools.partial(shard.read, row),
    )
    for wnid, name, shard, row in rows
  ]


class _Unpacked:
  """What was asked for of shards, in an anonymous temporary file that goes when the process does.

  Shards have no index of rows, so groups of them are read whole, each once. A disk that is full costs time.
  """

  def __init__(self):
    self._number: int | None = None
    self._end = 0
    self._lock = threading.Lock()
    self._places: dict[tuple[pathlib.Path, int], list[tuple[int, int]]] = {}

  def __del__(self):
    if self._number is not None:
      os.close(self._number)

  def get(self, key: tuple[pathlib.Path, int], row: int, values: Callable[[], Iterator[bytes]]) -> bytes:
    """Value `row` of a group whose values are `values()`."""
    with self._lock:  # whoever waits wants the same group, most of the time
      if key not in self._places:
        try:
          self._places[key] = [self._append(value) for value in values()]
        except OSError:  # no room for it; or it cannot be read, which is raised now
          return next(itertools.islice(values(), row, None))
    offset, size = self._places[key][row]
    return os.pread(self._descriptor(), size, offset)

  def _descriptor(self) -> int:
    if self._number is None:
      with tempfile.TemporaryFile() as file:
        self._number = os.dup(file.fileno())
    return self._number

  def _append(self, value: bytes) -> tuple[int, int]:
    written = 0
    while written < len(value):
      written += os.pwrite(self._descriptor(), value[written:], self._end + written)
    self._end += written
    return self._end - written, written


class _Shard:
  """One file."""

  def __init__(self, path: pathlib.Path, unpacked: _Unpacked):
    self.path = path
    self._unpacked = unpacked
    try:
      self._file = pq.ParquetFile(path)
      self._schema = self._file.schema_arrow
    except (OSError, pa.ArrowException) as error:
      what = pointer_at(path) or f"no parquet file, or is damaged ({_line(error)}): get it again"
      raise BiasjaxError(f"{path} is {what}") from error
    image: Any = self._schema.field("image").type if "image" in self._schema.names else pa.null()
    self._nested = pa.types.is_struct(image)
    fields = [field.name for field in image] if self._nested else []
    has_bytes = "bytes" in fields or pa.types.is_binary(image) or pa.types.is_large_binary(image)
    if not has_bytes or "label" not in self._schema.names:
      found = ", ".join(self._schema.names)
      raise BiasjaxError(f"{path}: expected the columns image (with bytes) and label, found {found}")
    label = self._schema.field("label").type
    if pa.types.is_nested(label) or pa.types.is_boolean(label):
      raise BiasjaxError(f"{path}: expected a number or a WordNet id as each image's label, found {label}")
    self._named = "path" in fields
    groups = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
    self._starts = [sum(groups[:i]) for i in range(len(groups) + 1)]

  def labelled(self) -> list[tuple[int, str]]:
    """(class, file name or "") of each row."""
    columns = ["label", *(["image.path"] if self._named else [])]
    try:
      table = self._file.read(columns=columns)
    except (OSError, pa.ArrowException) as error:
      raise BiasjaxError(f"{self.path} is damaged ({_line(error)}): get it again") from error
    names = [(each or {}).get("path") or "" for each in table["image"].to_pylist()] if self._named else []
    labels = table["label"].to_pylist()
    of_label = self._classes()
    found = []
    for row, (label, name) in enumerate(zip(labels, names or [""] * len(labels), strict=True)):
      index = of_label.get(label)
      if index is None:
        without = ": a split without labels" if label in (-1, None) else ""
        raise BiasjaxError(f"{self.path}: row {row} has label {label!r}, none of the classes{without}")
      told = class_of_name(pathlib.PurePosixPath(name).name)
      if told not in (None, index):
        raise BiasjaxError(
          f"{self.path}: row {row} has label {label!r}, {wordnet_ids()[index]}, but {name} is of class "
          f"{wordnet_ids()[told]}: its labels are in another order than ImageNet's"
        )
      found.append((index, name))
    numbers = labels and not isinstance(labels[0], str)
    if numbers and not any(map(class_of_name, names)) and self._names() is None and len(of_label) == 1000:
      logger.warning(
        "%s does not say what its labels are: they are taken for indices into the sorted 1,000 WordNet ids",
        self.path,
      )
    return found

  def _names(self) -> list[str] | None:
    """What the classes are called, if the hub's description of the columns says so."""
    described = (self._schema.metadata or {}).get(b"huggingface")
    try:
      return json.loads(described)["info"]["features"]["label"]["names"] if described else None
    except (ValueError, KeyError, TypeError):
      return None

  def _classes(self) -> dict[Any, int]:
    """Label -> class."""
    names = self._names()
    kind = self._schema.field("label").type
    if pa.types.is_dictionary(kind):
      kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
      return dict(class_index())
    if names is None or (
      len(names) == 1000 and all(names[i].lower().startswith(word) for i, word in WORDS.items())
    ):
      return {index: index for index in range(1000)}
    unknown = [name for name in names if name not in class_index()]
    if unknown:
      raise BiasjaxError(
        f"{self.path}: its {len(names)} classes are called {unknown[0]!r} and the like: expected WordNet ids "
        "(n01440764, ...), or the 1,000 of ImageNet"
      )
    return {index: class_index()[name] for index, name in enumerate(names)}

  def read(self, row: int) -> bytes:
    """The bytes of a row's image; none where there are none.

    Raises:
      OSError: the file is damaged or gone.
    """
    group = bisect.bisect_right(self._starts, row) - 1
    values = functools.partial(self._values, group)
    return self._unpacked.get((self.path, group), row - self._starts[group], values)

  def _values(self, group: int) -> Iterator[bytes]:
    """The images of a group of rows."""
    columns = ["image.bytes" if self._nested else "image"]
    try:
      for batch in self._file.iter_batches(BATCH, row_groups=[group], columns=columns):
        for value in batch["image"]:
          content = value.as_py()
          yield (content["bytes"] if self._nested and content else content) or b""
    except (OSError, pa.ArrowException) as error:
      raise OSError(f"{self.path}: {_line(error)}") from error


def _line(error: Exception) -> str:
  return " ".join(str(error).split())
