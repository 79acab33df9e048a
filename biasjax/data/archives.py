"""Files in a folder, or in archives as they are distributed: names, sizes, and any of them at any time.

An uncompressed tar and a zip are read where they lie. A compressed tar has no index, so it is unpacked first,
into an anonymous temporary file (TMPDIR says where) that goes when the process does.
"""

import dataclasses
import functools
import gzip
import os
import pathlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, cast

from biasjax.errors import BiasjaxError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
GZIP_MAGIC = b"\x1f\x8b"


@dataclasses.dataclass(frozen=True, slots=True)
class File:
  """One file.

  Attributes:
    name: its path within the folder or the archive, with "/".
    size: bytes.
    read: () -> its bytes. Raises OSError where storage fails.
  """

  name: str
  size: int
  read: Callable[[], bytes]


def images(path: str | os.PathLike, archives: Sequence[str] = ()) -> list[File]:
  """The image files at `path`, sorted by name.

  Args:
    path: a folder, an archive, or a folder that holds archives. Where a folder has image files, these are
      meant, and archives beside them are not opened.
    archives: which archives of a folder belong to the dataset, by file name; all by default.

  Raises:
    BiasjaxError: it is not there, is no archive, is damaged, or holds no images.
  """
  place = pathlib.Path(path).expanduser()
  if place.is_dir():
    found = list(_folder(place))
    if not found:
      inside = sorted(p for p in place.iterdir() if p.name.endswith(ARCHIVE_SUFFIXES))
      wanted = [p for p in inside if not archives or p.name in archives]
      found = [file for archive in wanted for file in _archive(archive)]
  elif place.is_file():
    found = _archive(place)
  else:
    raise BiasjaxError(f"{place} is not there: check the path")
  found = [file for file in found if is_image(file.name)]
  if not found:
    raise BiasjaxError(
      f"{place} holds no images: expected files ending in one of {' '.join(IMAGE_SUFFIXES)}, or archives of "
      f"them ({' '.join(archives or ARCHIVE_SUFFIXES)})"
    )
  return sorted(found, key=lambda file: file.name)


def is_image(name: str) -> bool:
  """Whether a file is an image by its name; hidden ones, such as macOS' `._x.jpg`, are none."""
  return name.lower().endswith(IMAGE_SUFFIXES) and not pathlib.PurePosixPath(name).name.startswith(".")


def _folder(root: pathlib.Path) -> Iterator[File]:
  for folder, _, names in os.walk(root, followlinks=True):
    for name in filter(is_image, names):
      path = pathlib.Path(folder, name)
      size = path.stat().st_size
      yield File(path.relative_to(root).as_posix(), size, functools.partial(read_whole, path, size))


def read_whole(path: pathlib.Path, size: int) -> bytes:
  """The bytes of a file that had `size` of them when it was listed.

  Raises:
    OSError: it has fewer or more, as a network file system may say for once; or storage fails.
  """
  content = path.read_bytes()
  if len(content) != size:
    raise OSError(f"{path} has {len(content):,} bytes, not the {size:,} that it had when it was listed")
  return content


def _archive(path: pathlib.Path) -> list[File]:
  try:
    if zipfile.is_zipfile(path):
      return list(_zip(path))
    return list(_tar(path))
  except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
    raise BiasjaxError(f"{path} is no archive, or is damaged ({error}): get it again") from error


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


def _tar(path: pathlib.Path) -> Iterator[File]:
  # What is named .tar.gz is not always compressed (ImageNet-V2's are not): the content tells.
  with path.open("rb") as stored, tempfile.TemporaryFile() as unpacked:
    file = stored
    if stored.read(2) == GZIP_MAGIC:
      stored.seek(0)
      with gzip.open(stored) as compressed:
        shutil.copyfileobj(compressed, unpacked, 1 << 20)
      unpacked.flush()
      file = unpacked
    file.seek(0)
    descriptor, end = _Descriptor(file), os.fstat(file.fileno()).st_size
    with cast(Any, tarfile.open(fileobj=file, mode="r:")) as members:
      for member in members:
        if member.isfile() and is_image(member.name):
          if member.offset_data + member.size > end:
            raise OSError(f"cut short within {member.name}")
          read = functools.partial(descriptor.read, member.size, member.offset_data)
          yield File(_clean(member.name), member.size, read)
        members.members = []  # tarfile keeps every member it has seen; ImageNet-C has millions


def _clean(name: str) -> str:
  return name.removeprefix("./")
