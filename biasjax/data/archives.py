"""Images in a folder, or in archives as they are distributed: names, sizes, and any of them at any time.

An uncompressed tar and a zip are read where they lie. A compressed tar has no index, so it is unpacked first,
into an anonymous temporary file (TMPDIR says where) that goes when the process does.
"""

import bz2
import functools
import glob
import gzip
import lzma
import os
import pathlib
import posixpath
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, cast

from biasjax.data import shards
from biasjax.data.files import IMAGE_SUFFIXES, File, is_image, pointer_at, unreadable, walk
from biasjax.errors import BiasjaxError

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip")
COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {  # how files begin, and what unpacks them
  b"\x1f\x8b": gzip.open,
  b"\xfd7zXZ\x00": lzma.open,
  b"BZh": bz2.open,
}
FOREIGN = {b"(\xb5/\xfd": "zstd", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}  # that Python does not unpack
MOST_LINKS = 8  # that lead to one another


def images(path: str | os.PathLike, archives: Sequence[str] = ()) -> list[File]:
  """The image files at `path`, sorted by name; among them, with their `problem`, those that cannot be read.

  Args:
    path: a folder, an archive, a parquet shard, a pattern of these, or a folder that holds archives or
      shards. Where a folder has image files, these are meant, and archives beside them are not opened.
    archives: which archives of a folder belong to the dataset, by file name; all by default.

  Raises:
    BiasjaxError: it is not there, is no archive, is damaged, or holds no images.
  """
  place = pathlib.Path(path).expanduser()
  matching = sorted(glob.glob(str(place))) if glob.has_magic(str(place)) and not exists(place) else []
  if matching and all(map(shards.is_shard, matching)):
    found = shards.images(list(map(pathlib.Path, matching)))
  elif matching:
    found = [file for each in matching for file in _at(pathlib.Path(each), archives)]
  elif exists(place):
    found = _at(place, archives)
  else:
    raise BiasjaxError(f"{place} is not there{dangling(place)}: check the path")
  found = [file for file in found if file.problem or is_image(file.name)]
  if not found:
    raise BiasjaxError(
      f"{place} holds no images: expected files ending in one of {' '.join(IMAGE_SUFFIXES)}, or archives of "
      f"them ({' '.join((*(archives or ARCHIVE_SUFFIXES), shards.SUFFIX))}){described(place)}"
    )
  return sorted(found, key=lambda file: file.name)


def exists(place: pathlib.Path) -> bool:
  """Whether something is there, followed through links.

  Raises:
    BiasjaxError: that cannot be told, of what lies in a folder that may not be read.
  """
  try:
    place.stat()
  except (FileNotFoundError, NotADirectoryError):
    return False
  except OSError as error:
    raise BiasjaxError(
      f"{place} cannot be read: {error.strerror}: check the path and who may read it"
    ) from error
  return True


def dangling(place: pathlib.Path) -> str:
  """What to say of a path that is not there because a link in it leads nowhere; "" otherwise."""
  linked = next((p for p in (place, *place.parents) if p.is_symlink() and not exists(p)), None)
  return f" ({linked} is a link to {os.readlink(linked)}, which is not there)" if linked else ""


def described(place: pathlib.Path) -> str:
  """What to say of a folder that DVC has not fetched, but describes in a .dvc file; "" otherwise."""
  tracked = [p.name for p in sorted(place.glob("*.dvc"))] if place.is_dir() else []
  return f"; {tracked[0]} stands for files that dvc pull fetches" if tracked else ""


def _at(place: pathlib.Path, archives: Sequence[str]) -> list[File]:
  if not place.is_dir():
    return shards.images([place]) if shards.is_shard(place.name) else _archive(place)
  found = walk(place)
  if any(not file.problem for file in found):
    return found
  packed = of_shards(place)
  if any(not file.problem for file in packed):
    return packed
  inside = walk(place, lambda name: name.endswith(ARCHIVE_SUFFIXES))
  wanted = [file for file in inside if "/" not in file.name and (not archives or file.name in archives)]
  unreadable = [file for file in wanted if file.problem]
  opened = [file for archive in wanted if not archive.problem for file in _archive(place / archive.name)]
  return [*opened, *unreadable] if opened else [*found, *unreadable]


def of_shards(folder: pathlib.Path) -> list[File]:
  """The images of the parquet shards in a folder, at any depth; of one split, where they name theirs."""
  inside = walk(folder, shards.is_shard)
  names = set(shards.of_one_split([file.name for file in inside if shards.is_shard(file.name)], folder))
  chosen = [file for file in inside if file.name in names]
  packed = shards.images([folder / file.name for file in chosen if not file.problem])
  return [*packed, *(file for file in chosen if file.problem)]


def _archive(path: pathlib.Path) -> list[File]:
  try:
    if zipfile.is_zipfile(path):
      return list(_zip(path))
    return _tar(path)
  except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
    what = pointer_at(path) or f"no archive, or is damaged ({error}): get it again"
    raise BiasjaxError(f"{path} is {what}") from error


def _zip(path: pathlib.Path) -> Iterator[File]:
  archive = zipfile.ZipFile(path)

  def reader(info):
    def read() -> bytes:
      try:
        return archive.read(info)
      # Damage, or a compression or encryption that the library does not know.
      except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise OSError(f"{path}: {info.filename}: {error}") from error

    return read

  for info in archive.infolist():
    if not info.is_dir() and is_image(info.filename):
      yield File(_clean(info.filename), info.file_size, reader(info))


class _Descriptor:
  """An open file that any number of threads read at once, closed with the last reader."""

  def __init__(self, file: IO[bytes]):
    self.number = os.dup(file.fileno())

  def __del__(self):
    os.close(self.number)

  def read(self, size: int, offset: int) -> bytes:
    content = os.pread(self.number, size, offset)
    if len(content) != size:
      raise OSError(f"{size} bytes at {offset} are not there")
    return content


def _tar(path: pathlib.Path) -> list[File]:
  # What is named .tar.gz is not always compressed (ImageNet-V2's are not): the content tells.
  with path.open("rb") as stored, tempfile.TemporaryFile() as unpacked:
    file, start = stored, stored.read(6)
    stored.seek(0)
    if packer := next((name for magic, name in FOREIGN.items() if start.startswith(magic)), None):
      raise BiasjaxError(f"{path} is compressed ({packer}): unpack it first, and name the folder or the tar")
    if unpack := next((by for magic, by in COMPRESSED.items() if start.startswith(magic)), None):
      with unpack(stored) as compressed:
        shutil.copyfileobj(compressed, unpacked, 1 << 20)
      unpacked.flush()
      file = unpacked
    file.seek(0)
    descriptor, end = _Descriptor(file), os.fstat(file.fileno()).st_size
    links: dict[str, str] = {}
    found: list[File] = []
    with cast(Any, tarfile.open(fileobj=file, mode="r:")) as members:
      for member in members:
        if not is_image(member.name):
          continue
        if member.islnk():
          links[_clean(member.name)] = _clean(member.linkname)
        elif member.issym():
          beside = posixpath.join(posixpath.dirname(_clean(member.name)), member.linkname)
          links[_clean(member.name)] = posixpath.normpath(beside)
        elif member.isfile():
          if member.offset_data + member.size > end:
            raise OSError(f"cut short within {member.name}")
          read = functools.partial(descriptor.read, member.size, member.offset_data)
          found.append(File(_clean(member.name), member.size, read))
        members.members = []  # tarfile keeps every member it has seen; ImageNet-C has millions
  return found + _linked(links, found)


def _linked(links: dict[str, str], files: list[File]) -> list[File]:
  """What links within an archive stand for."""
  by_name = {file.name: file for file in files} if links else {}
  resolved = []
  for name, target in links.items():
    for _ in range(MOST_LINKS):
      target = links.get(target, target)
    file = by_name.get(target)
    problem = f"a link to {target}, which is not in the archive"
    resolved.append(File(name, file.size, file.read) if file else unreadable(name, problem))
  return resolved


def _clean(name: str) -> str:
  return name.removeprefix("./")
