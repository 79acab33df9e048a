"""Observations on disk; what follows from them is in `summary.py`.

Layout of a working directory (docs/results.md):

  run.json          what it holds: datasets, and the key of each (model, dataset, probe)
  observations/<dataset>/<probe>/<model>/<key>/<start>-<stop>.parquet
  adversarial/<dataset>/<probe>/<model>/<key>/<start>-<stop>.npz   where asked for (--keep_adversarial)
  results.csv       a row for each model, a column for each metric, in the paper's naming
  metrics.csv       a row for each number, with its interval and count
  trials.csv        shape bias of recorded decisions, a row for each file; error_consistency.csv beside it

A chunk is written whole and renamed into place, so a file that is there is complete. What a chunk's numbers
depend on is in the folder's name, so observations that were made differently never meet. Names that begin
with a dot are locks and what a killed process left; nothing reads them.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import logging
import os
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from biasjax.errors import BiasjaxError

logger = logging.getLogger(__name__)

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
FORMAT = 2  # of run.json and the observations; 1 had no nll and brier
METADATA = b"biasjax"


@dataclasses.dataclass(frozen=True)
class Unit:
  """One model under one probe on one dataset.

  Attributes:
    model, dataset, probe: names, as in tables.
    key: everything that its numbers depend on, as JSON.
  """

  model: str
  dataset: str
  probe: str
  key: Mapping[str, Any]

  @property
  def digest(self) -> str:
    """16 hex digits that stand for the key."""
    return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]


class Store:
  """The observations of a working directory.

  Args:
    workdir: a local path or gs://; created if absent.
    chunk_size: examples in a chunk, fixed at the first run in this directory; None takes what is there.
    default: the chunk size of a new directory, where `chunk_size` is None.

  Raises:
    BiasjaxError: the directory cannot be written, its run.json cannot be read, or it was started with another
      chunk size.
  """

  def __init__(
    self, workdir: str | os.PathLike, chunk_size: int | None = None, *, default: int | None = None
  ):
    self.workdir = epath.Path(workdir)
    size = chunk_size or default
    self.manifest: dict[str, Any] = {"format": FORMAT, "chunk_size": size, "datasets": {}, "units": []}
    found = self._read_manifest()
    if found is not None:
      self.manifest = found
      if chunk_size not in (None, self.chunk_size):
        raise BiasjaxError(
          f"{self.workdir} was started with --chunk_size={self.chunk_size}, not {chunk_size}: "
          "keep that, or name another --workdir"
        )
    elif size is None:
      raise BiasjaxError(f"{self.workdir} holds no results (no run.json): check --workdir")

  def _read_manifest(self) -> dict[str, Any] | None:
    """What run.json says; None if there is none."""
    path = self.workdir / "run.json"
    if not path.exists():
      return None
    try:
      manifest = json.loads(path.read_text())
      written_as, _ = manifest["format"], manifest["chunk_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise BiasjaxError(f"{path} cannot be read ({error}): mend it, or name another --workdir") from error
    if written_as != FORMAT:
      raise BiasjaxError(
        f"{self.workdir} was written by another version of biasjax (format {written_as}, here {FORMAT}): "
        "name another --workdir"
      )
    return manifest

  @contextlib.contextmanager
  def lock(self, name: str, *, wait: bool = False) -> Iterator[None]:
    """Holds `.lock-<name>` of a local working directory; the system lets go of it when a process dies.

    Raises:
      BiasjaxError: another process holds it and `wait` is false, or the directory cannot be written.
    """
    path = self.workdir / f".lock-{name}"
    if "://" in str(self.workdir):  # buckets have no locks; writing twice writes the same
      yield
      return
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      file = open(path, "a")  # noqa: SIM115
    except OSError as error:
      raise BiasjaxError(f"cannot write into {self.workdir}: {error}; name another --workdir") from error
    with file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
      except BlockingIOError as error:
        raise BiasjaxError(
          f"another run is at work in {self.workdir}: wait for it, name another --workdir, or divide the "
          "work with --shard"
        ) from error
      except OSError as error:  # some network file systems
        logger.warning("%s cannot be locked (%s): see that only one run uses it", path, error)
      yield

  @property
  def chunk_size(self) -> int:
    """Examples in a chunk."""
    return self.manifest["chunk_size"]

  def register(self, source, units: Iterable[Unit]) -> None:
    """Records that tables are made of `units` over `source`, replacing what they had for the same names.

    Raises:
      BiasjaxError: this directory holds results of other images under the same dataset name.
    """
    with self.lock("manifest", wait=True):
      self._register(source, units)

  def _register(self, source, units: Iterable[Unit]) -> None:
    self.manifest = self._read_manifest() or self.manifest  # other processes register theirs
    known = self.manifest["datasets"].get(source.name)
    if known and known["fingerprint"] != source.fingerprint:
      raise BiasjaxError(
        f"{self.workdir} holds results for a dataset named {source.name!r} that were made on other images "
        f"({known['length']} in {known['location']}; now {source.length} in {source.location}): "
        f"name this one (--dataset=NAME=...), or name another --workdir"
      )
    self.manifest["datasets"][source.name] = {
      "fingerprint": source.fingerprint,
      "length": source.length,
      "location": source.location,
      "notes": list(source.notes),
    }
    table = {(u["model"], u["dataset"], u["probe"]): u for u in self.manifest["units"]}
    table |= {(unit.model, unit.dataset, unit.probe): dataclasses.asdict(unit) for unit in units}
    self.manifest["units"] = [table[name] for name in sorted(table)]
    text = json.dumps(self.manifest, indent=1, sort_keys=True)
    path = self.workdir / "run.json"
    if not path.exists() or path.read_text() != text:
      write_file(path, text.encode())

  def units(self) -> list[Unit]:
    """What the tables are made of, sorted by model, dataset and probe."""
    return [Unit(**unit) for unit in self.manifest["units"]]

  def folder(self, unit: Unit) -> epath.Path:
    """Where the chunks of `unit` are."""
    names = (urllib.parse.quote(name, safe="") for name in (unit.dataset, unit.probe, unit.model))
    return self.workdir.joinpath("observations", *names, unit.digest)

  def missing(self, unit: Unit) -> list[tuple[int, int]]:
    """The chunks of `unit` that are still to be computed."""
    length = self.manifest["datasets"][unit.dataset]["length"]
    return [chunk for chunk in chunks(length, self.chunk_size) if not self.has(unit, chunk)]

  def has(self, unit: Unit, chunk: tuple[int, int]) -> bool:
    """Whether `chunk` of `unit` is there; a damaged one is named in the log and counts as missing."""
    path = self.folder(unit) / _chunk_name(chunk)
    if not path.exists():
      return False
    try:
      with path.open("rb") as file:
        pq.read_metadata(file)  # the end of the file only
    except (pa.ArrowInvalid, OSError) as error:
      logger.warning("%s is damaged (%s): it will be computed again", path, error)
      return False
    return True

  def write(
    self, unit: Unit, chunk: tuple[int, int], columns: Mapping[str, Any], excluded: Mapping[str, str]
  ) -> None:
    """Writes one chunk, atomically.

    Args:
      unit: whose chunk it is.
      chunk: (start, stop), indices of examples.
      columns: condition, example_id, label, prediction, rank, confidence, nll, brier and whatever the probe
        adds, all of one length.
      excluded: {example id: reason} of the chunk's images that could not be decoded.
    """
    n = len(columns["label"])
    names = {"model": unit.model, "dataset": unit.dataset, "probe": unit.probe}
    further = [(name, pa.array(columns[name]).type) for name in columns if name not in SCHEMA.names]
    schema = pa.schema([*SCHEMA, *further])
    table = pa.table({k: [v] * n for k, v in names.items()} | dict(columns), schema=schema)
    metadata = {"chunk": chunk, "key": unit.key, "excluded": dict(excluded)}
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata, sort_keys=True)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    write_file(self.folder(unit) / _chunk_name(chunk), buffer.getvalue())

  def write_adversarial(self, unit: Unit, chunk: tuple[int, int], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes adversarial images of one chunk beside the observations, atomically.

    Args:
      unit: whose they are.
      chunk: (start, stop), indices of examples.
      arrays: example_id [n], clean uint8 [n, h, w, 3], and adversarial/<condition> float32 [n, h, w, 3].
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    folder = self.workdir / "adversarial" / self.folder(unit).relative_to(self.workdir / "observations")
    write_file(folder / _chunk_name(chunk).replace(".parquet", ".npz"), buffer.getvalue())

  def read(self, unit: Unit) -> tuple[pd.DataFrame, dict[str, str]]:
    """All observations of `unit`, and {example id: reason} of its excluded images.

    Raises:
      BiasjaxError: chunks are missing or damaged, or do not hold each example once for each condition; what
        is damaged is set aside, so that the next run computes it again.
    """
    length = self.manifest["datasets"][unit.dataset]["length"]
    tables, excluded = [], {}
    for chunk in chunks(length, self.chunk_size):
      path = self.folder(unit) / _chunk_name(chunk)
      try:
        table = pq.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        metadata = json.loads(table.schema.metadata[METADATA])
      except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BiasjaxError(f"{path} is damaged ({reason}): {_set_aside(path)}") from error
      _check_counts(path, chunk, table, metadata["excluded"])
      tables.append(table)
      excluded |= metadata["excluded"]
    return pa.concat_tables(tables).to_pandas(), excluded


def _check_counts(path, chunk: tuple[int, int], table: pa.Table, excluded: Mapping[str, str]) -> None:
  """Every example of the chunk exactly once in each condition, the excluded ones in none."""
  conditions = pd.Series(table["condition"].to_numpy(zero_copy_only=False))
  counts = conditions.groupby(conditions).size().to_numpy()
  expected = chunk[1] - chunk[0] - len(excluded)
  distinct = len(set(zip(conditions, table["example_id"].to_pylist(), strict=True)))
  if (counts != expected).any() or distinct != len(conditions):
    raise BiasjaxError(f"{path} has not each of its {expected} examples once: {_set_aside(path)}")


def _set_aside(path: epath.Path) -> str:
  """Renames a damaged chunk, so that it counts as missing; says what to do."""
  try:
    path.rename(path.parent / f".{path.name}.damaged")
  except OSError:
    return "delete it and start the run again"
  return "it was set aside, start the run again to compute it"


def chunks(length: int, chunk_size: int) -> list[tuple[int, int]]:
  """The (start, stop) that cover `length` examples."""
  return [(start, min(start + chunk_size, length)) for start in range(0, length, chunk_size)]


def _chunk_name(chunk: tuple[int, int]) -> str:
  return f"{chunk[0]:08d}-{chunk[1]:08d}.parquet"


def write_file(path: epath.Path, content: bytes) -> None:
  """Writes a file whole: what is cut short keeps a name that nothing reads."""
  temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"  # process ids repeat on other hosts
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(content)
    temporary.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise BiasjaxError(f"cannot write {path}: {error}; what is computed is kept, start again") from error
