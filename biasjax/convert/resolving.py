"""Names of models to folders with converted checkpoints, which are made on demand."""

import glob
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Sequence

from etils import epath

from biasjax import buckets, processes
from biasjax.convert import cached, conversion, download, readers, stated
from biasjax.errors import BiasjaxError
from biasjax.models import stored, zoo


def resolve(specs: Sequence[str], *, offline: bool = False) -> list[epath.Path]:
  """The folders of converted checkpoints that `specs` stand for; what is not converted yet is.

  Args:
    specs: each the name of a row of the zoo or of an earlier conversion, a pattern of such names with
      wildcards, a folder that a conversion wrote (local or gs://), a checkpoint file, a Hugging Face folder,
      or a pattern of such paths. FILE@READING says which network of a file, as --reading does.
    offline: whether the network may not be used.

  Raises:
    BiasjaxError: a spec stands for nothing, or something cannot be fetched or converted.
  """
  folders: list[epath.Path] = []
  own = cached.converted_names()
  names = list(dict.fromkeys([*zoo.ZOO, *own]))
  for spec in _files(specs):
    path, reading = _split(spec)
    if path.is_dir():
      found = [_of_folder(path, reading)]
    elif path.is_file():
      found = [of_file(pathlib.Path(path), reading=reading)]
    elif spec not in names and "/" in spec:
      raise BiasjaxError(_nothing_at(spec))
    else:
      matching = zoo.matching(spec, names)
      found = [_of_name(name, offline) for name in matching]
    folders += [folder for folder in map(epath.Path, found) if folder not in folders]
  return folders


def not_fetched(specs: Sequence[str]) -> tuple[list[str], list[str]]:
  """(what of `specs` is at hand, the names of the rows of the zoo that `resolve` would have to fetch).

  Raises:
    BiasjaxError: a spec stands for nothing.
  """
  present, absent = [], []
  for spec in _files(specs):
    path, _ = _split(spec)
    if "/" in spec and not buckets.exists(path):
      raise BiasjaxError(_nothing_at(spec))
    names = [spec] if path.exists() else zoo.matching(spec, [*zoo.ZOO, *cached.converted_names()])
    for name in names:
      (absent if name in zoo.ZOO and not cached.is_current(zoo.ZOO[name]) else present).append(name)
  return present, absent


def _nothing_at(spec: str) -> str:
  if glob.has_magic(spec):
    return f"{spec}: no checkpoint matches this pattern: check the path"
  name, named, path = spec.partition("=")
  if named and epath.Path(path).expanduser().exists():
    return (
      f"{spec}: a checkpoint is called like its file or folder; {name}= goes before answers:FILE and "
      "MODULE:FUNCTION alone: leave it out"
    )
  return f"{spec}: there is no such checkpoint: check the path, or make it with python -m convert"


def _files(specs: Sequence[str]) -> list[str]:
  """`specs` with each pattern of paths (it has a slash) as what it finds, in order; what is there is none."""
  named = {spec: os.path.expanduser(spec) for spec in specs if "/" in spec and "://" not in spec}
  patterns = {s: sorted(glob.glob(path)) for s, path in named.items() if not os.path.exists(path)}
  return [path for spec in specs for path in patterns.get(spec) or [spec]]


def _split(spec: str) -> tuple[epath.Path, str | None]:
  """A path, and what of it is to be read, if that is said: FILE or FILE@READING."""
  path = epath.Path(spec).expanduser()
  if "@" not in spec or path.exists():
    return path, None
  for at in re.finditer("@", spec):
    shorter = epath.Path(spec[: at.start()]).expanduser()
    if shorter.exists():
      return shorter, spec[at.end() :]
  return path, None


def _of_folder(folder: epath.Path, reading: str | None) -> epath.Path:
  """A converted checkpoint's folder as it is; of one of Hugging Face's, its conversion."""
  local = pathlib.Path(folder)
  if reading is None and (not local.is_dir() or stored.is_converted(local) or not _has_checkpoint(local)):
    return folder
  return epath.Path(of_file(local, reading=reading))


def _has_checkpoint(folder: pathlib.Path) -> bool:
  return any((folder / name).exists() for name in readers.IN_FOLDERS)


def _of_name(name: str, offline: bool) -> pathlib.Path:
  return of_row(zoo.ZOO[name], offline=offline) if name in zoo.ZOO else cached.models_directory() / name


def of_row(row: zoo.Checkpoint, *, offline: bool = False) -> pathlib.Path:
  """The folder of a row's conversion, which is fetched and converted if it is not in the cache.

  Raises:
    BiasjaxError: it cannot be fetched or converted.
  """
  folder = cached.models_directory() / row.name
  if cached.is_current(row):
    return folder
  with processes.alone(folder.parent / f".{row.name}.lock"):
    if not cached.is_current(row):  # another process may have been faster
      checkpoint = download.fetch(row.source, sha256=row.sha256, offline=offline)
      head = download.fetch(row.head, offline=offline) if row.head else None
      conversion.write(conversion.convert(checkpoint, head=head, row=row), folder, overwrite=True)
  return folder


def of_file(path: pathlib.Path, *, reading: str | None = None) -> pathlib.Path:
  """The folder of a file's conversion; it is named after the file, and kept by the file's contents.

  What is said of the network beside the file counts as contents.

  Args:
    path: of the file, or of a Hugging Face folder.
    reading: which state dict, where a file holds several.

  Raises:
    BiasjaxError: it cannot be read or converted.
  """
  file = readers.read(path)
  said = [(s.where, s.kind, s.value) for s in stated.collect(file)]
  shards = [(shard.path.name, shard.sha256()) for shard in file.shards]
  digest = file.sha256()
  if reading or said or shards or file.path != path:
    content = json.dumps([digest, shards, reading, said, file.path.name])
    digest = hashlib.sha256(content.encode()).hexdigest()
  name = path.name if path.is_file() else path.absolute().name
  for ending in (".tar", ".index.json", ".pth", ".pt", ".ckpt", ".bin", ".safetensors"):
    name = name.removesuffix(ending)
  if reading:
    name += "@" + (re.sub(r"[^\w.+-]+", "_", reading).strip("_.") or "top")
  folder = download.cache_directory() / "files" / digest[:16] / (name or path.name)
  if not cached.holds(folder, {}):
    with processes.alone(folder.parent / ".lock"):
      if not cached.holds(folder, {}):  # another process may have been faster
        conversion.write(conversion.convert(path, reading=reading), folder, overwrite=True)
  return folder
