"""One file of observations: what it holds, its footer, and the checks that reading makes."""

import base64
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath

Chunk = tuple[int, int]  # (start, stop), indices of examples

SCHEMA = pa.schema(
  [
    ("model", pa.string()),
    ("dataset", pa.string()),
    ("probe", pa.string()),
    ("condition", pa.string()),
    ("example_id", pa.string()),
    ("label", pa.int32()),
    ("prediction", pa.int32()),
    ("rank", pa.int32()),
    ("confidence", pa.float32()),
    ("nll", pa.float32()),
    ("brier", pa.float32()),
  ]
)
REPEATED = ["model", "dataset", "probe", "condition"]  # few different values: read as codes
METADATA = b"biasjax"
CONTENT = np.dtype("<u4")  # of `Footer.contents`


# What the library raises over bytes that are not a file of it, by what it takes them for.
UNREADABLE = (pa.ArrowException, ValueError, KeyError, OverflowError, EOFError)


class Damaged(ValueError):
  """A file is not what was written."""


@dataclasses.dataclass(frozen=True)
class Footer:
  """What a file says of its observations.

  Attributes:
    chunk: (start, stop) of the examples.
    key: everything that the numbers depend on.
    excluded: {example id: reason} of the images that could not be decoded.
    contents: uint32 [stop - start], a digest of each image's bytes as they were read (`pipeline.content`), 0
      for one that could not be decoded; None in files of biasjax before 0.3.
    environment: what computed it: versions of libraries, device, XLA's flags. Empty before 0.3.
  """

  chunk: Chunk
  key: Mapping[str, Any]
  excluded: Mapping[str, str]
  contents: np.ndarray | None = None
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def encoded(self) -> bytes:
    """As it is kept in the file's metadata."""
    known = {"chunk": self.chunk, "key": self.key, "excluded": dict(self.excluded)}
    if self.contents is not None:
      known["contents"] = base64.b64encode(np.asarray(self.contents, CONTENT).tobytes()).decode()
    if self.environment:
      known["environment"] = dict(self.environment)
    return json.dumps(known, sort_keys=True).encode()


def _footer(schema: pa.Schema, chunk: Chunk) -> Footer:
  try:
    known = json.loads((schema.metadata or {})[METADATA])
    contents = known.get("contents")
    if contents is not None:
      contents = np.frombuffer(base64.b64decode(contents), CONTENT)
    footer = Footer(chunk, known["key"], known["excluded"], contents, known.get("environment", {}))
    whole = tuple(known["chunk"]) == chunk and (contents is None or len(contents) == chunk[1] - chunk[0])
  except (KeyError, TypeError, ValueError) as error:
    raise Damaged(f"its footer cannot be read: {error}") from error
  if not whole:
    raise Damaged(f"its footer is that of {known['chunk']}")
  return footer


def chunks(length: int, size: int) -> list[Chunk]:
  """The (start, stop) that cover `length` examples."""
  return [(start, min(start + size, length)) for start in range(0, length, size)]


def file_name(chunk: Chunk) -> str:
  """The name of the file of `chunk`."""
  return f"{chunk[0]:08d}-{chunk[1]:08d}.parquet"


def marker_name(chunk: Chunk) -> str:
  """The name of what lies beside a chunk from which images are excluded; readers of Parquet pass it by."""
  return f"_{chunk[0]:08d}-{chunk[1]:08d}.excluded"


def encode(names: Mapping[str, str], columns: Mapping[str, Any], footer: Footer) -> bytes:
  """The file.

  Args:
    names: model, dataset and probe.
    columns: the other columns of `SCHEMA` and whatever the probe adds, all of one length.
    footer: what the file says of them.
  """
  n = len(columns["label"])
  further = [(name, pa.array(columns[name]).type) for name in columns if name not in SCHEMA.names]
  schema = pa.schema([*SCHEMA, *further])
  table = pa.table({k: [v] * n for k, v in names.items()} | dict(columns), schema=schema)
  # Values that mostly come once are their own dictionary: reading it, and the codes, takes longer.
  once = {field.name for field in schema if pa.types.is_floating(field.type)}
  if len(set(columns["condition"])) == 1:
    once.add("example_id")
  coded = [name for name in schema.names if name not in once]
  buffer = io.BytesIO()
  # Arrow's own copy of the schema would hold the footer once more; no column of ours needs it.
  asked: Any = {"use_dictionary": coded, "write_page_checksum": True, "store_schema": False}
  with pq.ParquetWriter(buffer, schema, compression="zstd", **asked) as writer:
    writer.write_table(table)
    writer.add_key_value_metadata({METADATA: footer.encoded()})
  return buffer.getvalue()


def decode(content: bytes, chunk: Chunk) -> tuple[pa.Table, Footer]:
  """The observations and the footer of a file.

  Columns of names are dictionaries, and so are ids that occur under several conditions.

  Raises:
    Damaged: a checksum, the footer, or the number of examples is not right.
  """
  buffer = pa.BufferReader(content)
  try:
    metadata = pq.read_metadata(buffer)
    coded = REPEATED if _one_condition(metadata) else [*REPEATED, "example_id"]
    file = pq.ParquetFile(buffer, metadata=metadata, page_checksum_verification=True, read_dictionary=coded)
    table = file.read(use_threads=False)  # many files are read at once
    footer = _checked(table, chunk)
    return table.replace_schema_metadata(None), footer
  except (*UNREADABLE, OSError) as error:
    raise Damaged(str(error)) from error


def _checked(table: pa.Table, chunk: Chunk) -> Footer:
  """The footer, where the columns and the number of examples are right."""
  table.validate(full=True)  # checksums are of pages, not of what says where they are
  for field in SCHEMA:
    kind = table.schema.field(field.name).type
    if field.type != (kind.value_type if pa.types.is_dictionary(kind) else kind):
      raise Damaged(f"its column {field.name} is of another type ({kind})")
  footer = _footer(table.schema, chunk)
  expected = chunk[1] - chunk[0] - len(footer.excluded)
  if not _each_once(table, expected):
    raise Damaged(f"it has not each of its {expected} examples once")
  return footer


def _one_condition(metadata: pq.FileMetaData) -> bool:
  at = metadata.schema.names.index("condition")
  found = set()
  for group in range(metadata.num_row_groups):
    statistics = metadata.row_group(group).column(at).statistics
    found |= {statistics.min, statistics.max} if statistics and statistics.has_min_max else {group, None}
  return len(found) == 1


def _each_once(table: pa.Table, expected: int) -> bool:
  """Whether each of the `expected` examples is there exactly once in each condition."""
  if not table.num_rows:
    return True
  ids = table["example_id"]
  if not pa.types.is_dictionary(ids.type) and len(ids) == expected and _ascending(ids):
    return True
  condition, example = (codes(table[name])[0] for name in ("condition", "example_id"))
  conditions, examples = int(condition.max()) + 1, int(example.max()) + 1
  at = condition.astype(np.int64) * examples + example
  counts = np.bincount(at, minlength=conditions * examples)
  counts = counts.reshape(conditions, examples)
  of_condition = counts.sum(1)
  return bool(counts.max() == 1 and (of_condition[of_condition > 0] == expected).all())


def _ascending(ids: pa.ChunkedArray) -> bool:
  """Whether each is after the one before it, and so no two are equal: much faster to tell than by hashes."""
  later = pc.call_function("greater", [ids.slice(1), ids.slice(0, len(ids) - 1)])
  return not len(later) or bool(pc.call_function("all", [later]).as_py())


def alike(tables: Sequence[pa.Table]) -> list[pa.Table]:
  """Decoded tables of one unit with columns of one type: ids are codes in all of them or in none.

  Chunks of a sample differ in how many conditions they have, and so in how their ids are read.
  """
  at = SCHEMA.get_field_index("example_id")
  coded = [pa.types.is_dictionary(table.schema.field("example_id").type) for table in tables]
  if all(coded) or not any(coded):
    return list(tables)
  return [
    table if there else table.set_column(at, "example_id", table["example_id"].dictionary_encode())
    for table, there in zip(tables, coded, strict=True)
  ]


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
  """An integer for each value of a column, [n], and the values that they stand for, each once."""
  if not pa.types.is_dictionary(column.type):
    column = column.dictionary_encode()
  elif column.num_chunks > 1:
    column = column.unify_dictionaries()
  parts = [part.indices.to_numpy() for part in column.chunks]
  return parts[0] if len(parts) == 1 else np.concatenate(parts), column.chunk(0).dictionary


def read_footer(path: epath.Path, chunk: Chunk) -> Footer:
  """The footer alone, from the end of the file.

  Raises:
    Damaged: it cannot be read.
    OSError: the file is not there, or storage failed.
  """
  try:
    with path.open("rb") as file:
      schema = pq.read_schema(file)
  except UNREADABLE as error:
    raise Damaged(str(error)) from error
  return _footer(schema, chunk)
