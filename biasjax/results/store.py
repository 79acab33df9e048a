"""Observations on disk; what follows from them is in `summary.py`.

Layout of a working directory (docs/results.md):

  run.json          what it holds: datasets, and the key of each (model, dataset, probe)
  observations/<dataset>/<probe>/<model>/<key>/<start>-<stop>.parquet
  adversarial/<dataset>/<probe>/<model>/<key>/<start>-<stop>.npz   where asked for (--keep_adversarial)
  summaries/<dataset>/<probe>/<model>/<key>.json   metrics, to be used again where nothing changed
  results.csv       a row for each model, a column for each metric, in the paper's naming
  metrics.csv       a row for each number, with its interval and count
  trials.csv        shape bias of recorded decisions, a row for each file; error_consistency.csv beside it

A chunk is written whole and renamed into place, so a file that is there is complete. What a chunk's numbers
depend on is in the folder's name, so observations that were made differently never meet. Names that begin
with a dot are locks and what a killed process left; nothing reads them. Names that begin with an underscore
stand beside a chunk from which images are excluded, so that a listing tells which those are.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import logging
import os
import urllib.parse
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath

from biasjax import buckets, processes
from biasjax.data.classes import class_names
from biasjax.errors import BiasjaxError
from biasjax.results import chunk as files
from biasjax.results.chunk import Chunk, Damaged, Footer, chunks
from biasjax.results.unit import CHOSEN, SAMPLE, Unit

__all__ = ["Loaded", "Store", "chunks", "write_file"]

logger = logging.getLogger(__name__)

FORMAT = 3  # of run.json and the observations
READERS = 8  # files that are read at once
READABLE = (2, FORMAT)  # 2 had one chunk size for all datasets, and no contents; 1 had no nll and brier


@dataclasses.dataclass(frozen=True)
class Loaded:
  """The observations of a unit, every file of it verified.

  Attributes:
    table: docs/results.md's columns; names are dictionaries, and ids that occur under several conditions.
    footers: of its files, in order.
    digest: of the bytes of all files.
  """

  table: pa.Table
  footers: Sequence[Footer]
  digest: str

  @property
  def excluded(self) -> dict[str, str]:
    """{example id: reason} of the images that could not be decoded."""
    return {example: reason for footer in self.footers for example, reason in footer.excluded.items()}

  @property
  def contents(self) -> str:
    """A digest of the bytes of all images; "" where a file does not say."""
    digest = hashlib.sha256()
    for footer in self.footers:
      if footer.contents is None:
        return ""
      digest.update(footer.contents.tobytes())
    return digest.hexdigest()

  @property
  def environments(self) -> list[Mapping[str, str]]:
    """What computed the files, each once, in order."""
    return list(
      {json.dumps(dict(f.environment), sort_keys=True): f.environment for f in self.footers}.values()
    )

  def frame(self, *, strings: bool = False) -> pd.DataFrame:
    """As pandas has it; columns of dictionaries are categories, or strings."""
    table = self.table
    if strings:
      plain = [
        pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
      ]
      table = table.cast(pa.schema(plain))
    return table.to_pandas(split_blocks=True)


class Store:
  """The observations of a working directory.

  Each folder is listed once and taken to change by this process only, until `look_again`. Files are verified
  when they are read.

  Args:
    workdir: a path on a disk or in a bucket (gs://); created if absent.
    chunk_size: examples in a chunk, fixed for a dataset when it is registered; None takes what is there, or
      what `register` is told.
    create: whether a directory without results is meant to become one, where `chunk_size` is None.

  Raises:
    BiasjaxError: the directory cannot be written, its run.json cannot be read, or it holds datasets in chunks
      of another size.
  """

  def __init__(self, workdir: str | os.PathLike, chunk_size: int | None = None, *, create: bool = False):
    self.workdir = epath.Path(workdir)
    self.manifest: dict[str, Any] = {"format": FORMAT, "datasets": {}, "units": []}
    self._asked_size = chunk_size
    self._folders: dict[tuple[str, ...], epath.Path] = {}
    self._listed: dict[epath.Path, set[str]] = {}
    self._outdated: set[tuple[epath.Path, str]] = set()  # there, but to be computed again
    found = self._read_manifest()
    if found is not None:
      self.manifest = found
      for name, dataset in self.manifest["datasets"].items():
        if chunk_size not in (None, dataset["chunk_size"]):
          raise BiasjaxError(
            f"{self.workdir} holds {name} in chunks of {dataset['chunk_size']} images, not "
            f"--chunk_size={chunk_size}: leave the flag out, or name another --workdir"
          )
    elif chunk_size is None and not create:
      raise BiasjaxError(f"{self.workdir} holds no results (no run.json): check --workdir")

  def _read_manifest(self) -> dict[str, Any] | None:
    """What run.json says; None if there is none."""
    path = self.workdir / "run.json"
    if not buckets.exists(path):
      return None
    try:
      manifest = json.loads(path.read_text())
      written_as, of_all = manifest["format"], manifest.pop("chunk_size", None)
      if written_as in READABLE:
        for dataset in manifest["datasets"].values():
          dataset.setdefault("chunk_size", of_all)
        manifest["format"] = FORMAT
        _whole(manifest)
    except OSError as error:
      raise BiasjaxError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      reason = f"it has no {error}" if isinstance(error, KeyError) else error
      raise BiasjaxError(
        f"{path} is damaged ({reason}): delete it and start the same run again, which goes on from what "
        "observations/ holds, or name another --workdir"
      ) from error
    if written_as not in READABLE:
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
    busy = (
      f"another run is at work in {self.workdir}: wait for it, name another --workdir, or divide the "
      "work with --shard"
    )
    path = self.workdir / f".lock-{name}"
    with contextlib.ExitStack() as held:
      try:
        held.enter_context(processes.alone(path, None if wait else busy))
      except OSError as error:
        raise BiasjaxError(f"cannot write into {self.workdir}: {error}; name another --workdir") from error
      yield

  def chunks(self, dataset: str) -> list[Chunk]:
    """The (start, stop) that a registered dataset is stored in."""
    known = self.manifest["datasets"][dataset]
    return chunks(known["length"], known["chunk_size"])

  def class_names(self, dataset: str, labels: str) -> Mapping[int, Sequence[str]]:
    """The names of each class of a registered dataset, by label; {} where they have none.

    One name each, but where folders of a network's own classes share a label.

    Args:
      dataset: its name.
      labels: what its labels are, see `Source.labels`.
    """
    own = self.manifest["datasets"][dataset].get("classes", {})
    known = {int(at): list(map(str, of)) for at, of in own.items()}
    return known or {at: [of] for at, of in enumerate(class_names(labels))}

  def chunk_size(self, dataset: str, default: int) -> int:
    """Examples in a chunk of `dataset`: of one that is registered, else as asked for, else `default`."""
    known = self.manifest["datasets"].get(dataset)
    return known["chunk_size"] if known else (self._asked_size or default)

  def register(self, source, units: Iterable[Unit], chunk_size: int | None = None) -> None:
    """Records that tables are made of `units` over `source`, replacing what they had for the same names.

    Args:
      source: the dataset.
      units: of it.
      chunk_size: examples in a chunk, where neither the directory nor whoever opened it says.

    Raises:
      BiasjaxError: this directory holds results of other images under the same dataset name; or no folder can
        be called what the dataset or a model is called.
    """
    units = list(units)
    for what, name in (("dataset", source.name), *(("network", unit.model) for unit in units)):
      if name in ("", ".", ".."):
        raise BiasjaxError(f"a {what} cannot be called {name!r}, since folders are: give it another name")
    with self.lock("manifest", wait=True):
      self._register(source, units, chunk_size)

  def refuse_other_images(self, source) -> None:
    """Raises BiasjaxError where this directory holds results of other images under the dataset's name."""
    known = self.manifest["datasets"].get(source.name)
    if known and known["fingerprint"] != source.fingerprint:
      before, now = (
        f"{n:,} in {where}"
        for n, where in ((known["length"], known["location"]), (source.length, source.location))
      )
      if before == now:
        before, now = (
          "as many, there",
          "of other names, sizes or labels, or one of the two in the order of a sample (--margin)",
        )
      raise BiasjaxError(
        f"{self.workdir} holds results for a dataset named {source.name!r} that were made on other images "
        f"({before}; now {now}): name this one (--dataset=NAME=...), or name another --workdir"
      )

  def _register(self, source, units: Iterable[Unit], chunk_size: int | None) -> None:
    self.manifest = self._read_manifest() or self.manifest  # other processes register theirs
    self.refuse_other_images(source)
    self.manifest["datasets"][source.name] = {
      "chunk_size": self.chunk_size(source.name, chunk_size or source.length),
      "fingerprint": source.fingerprint,
      "length": source.length,
      "location": source.location,
      "notes": list(source.notes),
      "incomplete": source.incomplete,
      "asked": dict(source.asked),
    }
    if source.class_names:
      named = {str(at): list(of) for at, of in source.class_names.items()}
      self.manifest["datasets"][source.name]["classes"] = named
    table = {(u["model"], u["dataset"], u["probe"]): u for u in self.manifest["units"]}
    table |= {(unit.model, unit.dataset, unit.probe): dataclasses.asdict(unit) for unit in units}
    self.manifest["units"] = [table[name] for name in sorted(table)]
    self._save()

  def _save(self) -> None:
    text = json.dumps(self.manifest, indent=1, sort_keys=True)
    path = self.workdir / "run.json"
    if not path.exists() or path.read_text() != text:
      write_file(path, text.encode())

  def adopt(self, datasets: Mapping[str, Any], units: Sequence[Unit], recipe: str) -> None:
    """Records what was brought here from other directories, all of it.

    Args:
      datasets: entries of run.json, by name.
      units: that tables are made of.
      recipe: --preprocess of them; "" where that is not known.
    """
    with self.lock("manifest", wait=True):
      self.manifest["datasets"] = dict(datasets)
      table = {(unit.model, unit.dataset, unit.probe): dataclasses.asdict(unit) for unit in units}
      self.manifest["units"] = [table[name] for name in sorted(table)]
      self.manifest |= {"preprocess": recipe} if recipe else {}
      self._save()
      self.look_again()

  def settle(self, units: Sequence[Unit], recipe: str) -> None:
    """Has the tables made with the settings of `units`, all of which are about to be registered.

    One row is one network: numbers of another one of that name leave the tables, and a warning says so.

    Args:
      units: of one run, which agree.
      recipe: --preprocess of the run.

    Raises:
      BiasjaxError: other numbers of the tables, which these do not replace, were made with other settings.
    """
    with self.lock("manifest", wait=True):
      self.manifest = self._read_manifest() or self.manifest
      self.refuse_other_settings(units, recipe)
      self.manifest["preprocess"] = recipe
      former = self.former(units)
      kept = [unit for unit in self.units() if unit not in former]
      self.manifest["units"] = [dataclasses.asdict(unit) for unit in kept]
      self._save()
      for unit in former:
        logger.warning(
          "%s, %s on %s leaves the tables: it is of another network of that name; ask this one too, or "
          "measure it under another name",
          *(unit.model, unit.probe, unit.dataset),
        )

  def former(self, units: Sequence[Unit]) -> list[Unit]:
    """What the tables hold of other networks by the names of `units`, and these do not replace."""
    replaced = {(unit.model, unit.dataset, unit.probe) for unit in units}
    named: dict[str, list[Unit]] = {}
    for unit in units:
      named.setdefault(unit.model, []).append(unit)
    return [
      other
      for other in self.units()
      if (other.model, other.dataset, other.probe) not in replaced
      and any(unit.another_network(other) for unit in named.get(other.model, ()))
    ]

  def refuse_other_settings(self, units: Sequence[Unit], recipe: str) -> None:
    """Raises BiasjaxError where numbers that `units` do not replace were made with other settings."""
    replaced = {(unit.model, unit.dataset, unit.probe) for unit in units}
    now = {name: units[0].settings[name] for name in CHOSEN} | {"preprocess": recipe}
    for other in self.units():
      if (other.model, other.dataset, other.probe) in replaced:
        continue
      then = {name: other.settings[name] for name in CHOSEN}
      then["preprocess"] = self.manifest.get("preprocess", "")
      differ = [name for name in now if then[name] not in ("", now[name])]
      if differ:
        made, asked = (" ".join(f"--{name}={of[name]}" for name in differ) for of in (then, now))
        raise BiasjaxError(
          f"{self.workdir} holds numbers by {made} ({other.model}, {other.probe} on {other.dataset}), and "
          f"this run is by {asked}: one table does not mix them, name another --workdir"
        )

  def units(self) -> list[Unit]:
    """What the tables are made of, sorted by model, dataset and probe."""
    return [Unit(**unit) for unit in self.manifest["units"]]

  def folder(self, unit: Unit) -> epath.Path:
    """Where the chunks of `unit` are."""
    names = (unit.dataset, unit.probe, unit.model, unit.digest)
    if names not in self._folders:  # asked for every chunk of every unit
      quoted = (urllib.parse.quote(name, safe="") for name in names)
      self._folders[names] = self.workdir.joinpath("observations", *quoted)
    return self._folders[names]

  def there(self, unit: Unit) -> list[Chunk]:
    """The chunks of `unit` that numbers rest on: all; of a sample those from the first on that are there."""
    every = self.chunks(unit.dataset)
    return (
      every if SAMPLE not in unit.key else list(itertools.takewhile(lambda of: self.has(unit, of), every))
    )

  def missing(self, unit: Unit) -> list[Chunk]:
    """The chunks of `unit` that are not there; of a sample most may stay so (`sampled.Followed`)."""
    return [chunk for chunk in self.chunks(unit.dataset) if not self.has(unit, chunk)]

  def has(self, unit: Unit, chunk: Chunk) -> bool:
    """Whether `chunk` of `unit` is there and not outdated, by the folder's listing."""
    folder, name = self.folder(unit), files.file_name(chunk)
    return name in self._names(folder) and (folder, name) not in self._outdated

  def _names(self, folder: epath.Path) -> set[str]:
    if folder not in self._listed:
      try:
        self._listed[folder] = {path.name for path in folder.iterdir()}
      except (FileNotFoundError, NotADirectoryError):
        self._listed[folder] = set()
      except OSError as error:
        raise BiasjaxError(f"{folder} cannot be listed ({error}): start again") from error
    return self._listed[folder]

  def look_again(self) -> None:
    """Forgets listings, where other processes may have written meanwhile."""
    self._listed.clear()

  def outdate(self, unit: Unit, chunk: Chunk) -> None:
    """Has `chunk` of `unit` computed again, by this process."""
    self._outdated.add((self.folder(unit), files.file_name(chunk)))

  def footer(self, unit: Unit, chunk: Chunk) -> Footer | None:
    """What the file of a chunk says of it; None, and a line in the log, for one that is damaged or gone.

    Such a chunk is then computed again.
    """
    path = self.folder(unit) / files.file_name(chunk)
    try:
      return files.read_footer(path, chunk)
    except (Damaged, OSError) as error:
      logger.warning("%s is damaged (%s): it will be computed again", path, error)
      self.outdate(unit, chunk)
      return None

  def excluded(self, unit: Unit, chunk: Chunk) -> dict[int, int]:
    """{index: digest of its bytes} of a chunk's images that could not be decoded, by what lies beside it."""
    folder, name = self.folder(unit), files.marker_name(chunk)
    if name not in self._names(folder):
      return {}
    try:
      return {int(index): int(digest) for index, digest in json.loads((folder / name).read_text()).items()}
    except (OSError, ValueError, AttributeError) as error:
      logger.warning("%s is damaged (%s): its chunk will be computed again", folder / name, error)
      self.outdate(unit, chunk)
      return {}

  def write(
    self,
    unit: Unit,
    chunk: Chunk,
    columns: Mapping[str, Any],
    excluded: Mapping[str, str],
    *,
    contents: np.ndarray | None = None,
    again: Mapping[int, int] | None = None,
    environment: Mapping[str, str] | None = None,
  ) -> None:
    """Writes one chunk, atomically.

    Args:
      unit: whose chunk it is.
      chunk: (start, stop), indices of examples.
      columns: condition, example_id, label, prediction, rank, confidence, nll, brier and whatever the probe
        adds, all of one length.
      excluded: {example id: reason} of the chunk's images that could not be decoded.
      contents: uint32 [stop - start], a digest of the bytes of each image, 0 of those excluded.
      again: {index: digest} of the excluded images, which a later run is to try again.
      environment: what computed it.
    """
    names = {"model": unit.model, "dataset": unit.dataset, "probe": unit.probe}
    content = files.encode(names, columns, Footer(chunk, unit.key, excluded, contents, environment or {}))
    folder, name, marker = self.folder(unit), files.file_name(chunk), files.marker_name(chunk)
    if again:  # first, so that no chunk lacks one
      known = {str(index): int(digest) for index, digest in again.items()}
      write_file(folder / marker, json.dumps(known, sort_keys=True).encode())
    write_file(folder / name, content)
    if not again and marker in self._names(folder):
      (folder / marker).unlink(missing_ok=True)
    self._names(folder).add(name)
    (self._names(folder).add if again else self._names(folder).discard)(marker)
    self._outdated.discard((folder, name))

  def write_adversarial(self, unit: Unit, chunk: tuple[int, int], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes adversarial images of one chunk beside the observations, atomically.

    Args:
      unit: whose they are.
      chunk: (start, stop), indices of examples.
      arrays: example_id [n], clean uint8 [n, h, w, 3], and adversarial/<condition> float32 [n, h, w, 3].
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    path = self.adversarial_folder(unit) / files.file_name(chunk).replace(".parquet", ".npz")
    write_file(path, buffer.getvalue())

  def adversarial_folder(self, unit: Unit) -> epath.Path:
    """Where adversarial images of `unit` are, where they are kept."""
    return self.workdir / "adversarial" / self.folder(unit).relative_to(self.workdir / "observations")

  def kept_adversarial(self, unit: Unit) -> list[epath.Path]:
    """The files that `write_adversarial` wrote of `unit`, in order."""
    folder = self.adversarial_folder(unit)
    # Not by epath's glob, which takes a bracket in the name of a folder above for a pattern.
    return sorted(path for path in folder.iterdir() if path.suffix == ".npz") if folder.is_dir() else []

  def read_adversarial(self, unit: Unit, count: int) -> dict[str, np.ndarray]:
    """The arrays that `write_adversarial` kept of the first `count` examples; {} where none are.

    Raises:
      BiasjaxError: a file is damaged.
    """
    folder, parts, rows = self.adversarial_folder(unit), [], 0
    for path in self.kept_adversarial(unit):
      try:
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
          parts.append({name: arrays[name][: count - rows] for name in arrays.files})
        rows += len(parts[-1]["example_id"])
      except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise BiasjaxError(f"{path} is damaged ({error}): delete {folder} and start the run again") from error
      if rows >= count:
        break
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}

  def load(self, unit: Unit, only: Sequence[Chunk] | None = None) -> Loaded:
    """All observations of `unit`, or those of some chunks, and what their files say of them.

    Raises:
      BiasjaxError: chunks are missing or damaged, or do not hold each example once for each condition; what
        is damaged is set aside, so that the next run computes it again.
    """
    read = self._of_files(unit, files.decode, only)
    tables = [table for (table, _), _ in read]
    # One without a row does not show which types its columns have.
    table = pa.concat_tables(files.alike([table for table in tables if len(table)] or tables[:1]))
    return Loaded(table.unify_dictionaries(), [footer for (_, footer), _ in read], _joined(read))

  def digest(self, unit: Unit) -> str:
    """What `Loaded.digest` is, without decoding anything.

    Raises:
      BiasjaxError: chunks are missing.
    """
    return _joined(self._of_files(unit, lambda content, chunk: None))

  def _of_files(
    self, unit: Unit, use: Callable[[bytes, Chunk], Any], only: Sequence[Chunk] | None = None
  ) -> list[tuple[Any, bytes]]:
    """What `use` makes of each file, and a digest of its bytes; several are read at once."""

    def read(chunk: Chunk) -> tuple[Any, bytes]:
      path = self.folder(unit) / files.file_name(chunk)
      try:
        content = path.read_bytes()
        return use(content, chunk), hashlib.sha256(content).digest()
      except (Damaged, OSError) as error:
        self._names(path.parent).discard(path.name)
        reason = " ".join(str(error).split())
        raise BiasjaxError(f"{path} is damaged ({reason}): {_set_aside(path)}") from error

    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
      return list(pool.map(read, self.there(unit) if only is None else only))

  def read(self, unit: Unit) -> tuple[pd.DataFrame, dict[str, str]]:
    """All observations of `unit`, and {example id: reason} of its excluded images.

    Raises:
      BiasjaxError: as `load`.
    """
    loaded = self.load(unit)
    return loaded.frame(strings=True), loaded.excluded


def _whole(manifest: Mapping[str, Any]) -> None:
  """Raises KeyError, TypeError or ValueError where run.json lacks what its readers take for granted."""
  for dataset in manifest["datasets"].values():
    _ = range(0, dataset["length"], dataset["chunk_size"]), dataset["fingerprint"], dataset["location"]
    _ = [(int(label), [*names]) for label, names in {**dataset.get("classes", {})}.items()]
  for unit in manifest["units"]:
    _ = unit["model"], unit["dataset"], unit["probe"], {**unit["key"]}


def _joined(read: Sequence[tuple[Any, bytes]]) -> str:
  return hashlib.sha256(b"".join(digest for _, digest in read)).hexdigest()


def _set_aside(path: epath.Path) -> str:
  """Renames a damaged chunk, so that it counts as missing; says what to do."""
  if not path.exists():
    return "start the run again to compute it"
  try:
    path.rename(path.parent / f".{path.name}.damaged")
  except OSError:
    return "delete it and start the run again"
  return "it was set aside, start the run again to compute it"


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
