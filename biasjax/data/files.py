"""Files in a folder: names, sizes, and what stands in the way of reading some of them."""

import dataclasses
import functools
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Sequence

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
# What else images' names end in: torchvision passes these over, and a folder of classes says how many.
OTHER_SUFFIXES = (".gif", ".jfif", ".jpe", ".jp2", ".avif", ".heic", ".heif", ".jxl", ".tga")
# Parts of a link's target -> what fetches the files that such links stand for.
FETCHED_BY = {".git/annex": "git annex get", ".dvc/cache": "dvc pull", "files/md5": "dvc pull"}
UNKNOWN = -1
# The first bytes of what stands in place of a file that was not fetched -> likewise.
POINTERS = {b"version https://git-lfs": "git lfs pull", b"/annex/objects/": "git annex get"}


@dataclasses.dataclass(frozen=True, slots=True)
class File:
  """One file.

  Attributes:
    name: its path within the folder or the archive, with "/".
    size: bytes; `UNKNOWN` until it is read, in parquet shards.
    read: () -> its bytes. Raises OSError where storage fails.
    problem: why it cannot be read, as far as that is known without reading it; "" where nothing is known. A
      folder that cannot be listed is a file with a problem.
  """

  name: str
  size: int
  read: Callable[[], bytes]
  problem: str = ""


def is_image(name: str) -> bool:
  """Whether a file is an image by its name; hidden ones, such as macOS' `._x.jpg`, are none."""
  return name.lower().endswith(IMAGE_SUFFIXES) and not pathlib.PurePosixPath(name).name.startswith(".")


def passed_over(name: str) -> bool:
  """Whether a file is an image by its name, of a kind that is not read."""
  return name.lower().endswith(OTHER_SUFFIXES) and not pathlib.PurePosixPath(name).name.startswith(".")


def walk(root: pathlib.Path, wanted: Callable[[str], bool] = is_image) -> list[File]:
  """The files below `root` that are wanted by their names, sorted by name; links are followed.

  What is hidden is passed over (git-annex keeps copies of images in .git), and so is a link that leads back
  to a folder above it. Links to what is not there, files and folders that may not be read, and names that
  are no UTF-8 are returned with their `problem`; a dangling link without a suffix may stand for a folder.
  """
  return sorted(_walk(str(root), "", (), wanted), key=lambda file: file.name)


def _walk(
  folder: str, prefix: str, above: tuple[tuple[int, int], ...], wanted: Callable[[str], bool]
) -> Iterator[File]:
  try:
    with os.scandir(folder) as listed:
      entries = [entry for entry in listed if not entry.name.startswith(".")]
    own = os.stat(folder)
  except OSError as error:
    yield unreadable(prefix or ".", f"a folder that cannot be listed: {error.strerror}")
    return
  above = (*above, (own.st_dev, own.st_ino))
  for entry in entries:
    name = prefix + entry.name
    try:
      found = entry.stat()
    except OSError as error:
      if wanted(entry.name) or "." not in entry.name:
        yield unreadable(name, _dangling(entry) if entry.is_symlink() else error.strerror or str(error))
      continue
    if stat.S_ISDIR(found.st_mode):
      if (found.st_dev, found.st_ino) not in above:
        yield from _walk(entry.path, f"{name}/", above, wanted)
    elif wanted(entry.name):
      problem = _problem(name, entry.path, found.st_mode)
      yield unreadable(name, problem) if problem else _file(name, entry.path, found.st_size)


def _file(name: str, path: str, size: int) -> File:
  return File(name, size, functools.partial(read_whole, pathlib.Path(path), size))


def read_whole(path: pathlib.Path, size: int) -> bytes:
  """The bytes of a file that had `size` of them when it was listed.

  Raises:
    OSError: it has fewer or more, as a network file system may say for once; or storage fails.
  """
  content = path.read_bytes()
  if len(content) != size:
    raise OSError(f"{path} has {len(content):,} bytes, not the {size:,} that it had when it was listed")
  return content


def _problem(name: str, path: str, mode: int) -> str:
  if not name.isascii():
    try:
      name.encode()
    except UnicodeEncodeError:
      return "its name is no UTF-8: rename it"
  if not stat.S_ISREG(mode):
    return "no file that could be read at any place"
  # Asking for each of millions of files takes time on a shared disk; what all may read needs no question.
  effective = os.access in os.supports_effective_ids
  if not mode & stat.S_IROTH and not os.access(path, os.R_OK, effective_ids=effective):
    return "permission denied"
  return ""


def _dangling(entry: os.DirEntry) -> str:
  target = os.readlink(entry.path)
  fetch = next((f": {command} fetches it" for part, command in FETCHED_BY.items() if part in target), "")
  return f"a link to {target}, which is not there{fetch}"


def unreadable(name: str, problem: str) -> File:
  """A file that cannot be read, and why."""

  def read() -> bytes:
    raise OSError(f"{name}: {problem}")

  return File(name.encode(errors="replace").decode(), 0, read, problem)


def pointer(content: bytes) -> str:
  """What to say of a file that only stands for another, by its first bytes; "" for any other file."""
  fetch = next((command for start, command in POINTERS.items() if content.startswith(start)), "")
  return f"a pointer to a file that {fetch} fetches" if fetch else ""


def pointer_at(path: pathlib.Path) -> str:
  """`pointer` of a file."""
  try:
    with path.open("rb") as file:
      return pointer(file.read(64))
  except OSError:
    return ""


def readable(files: Sequence[File]) -> tuple[list[File], list[str]]:
  """Those of `files` without a problem, and of the others name and problem."""
  return (
    [file for file in files if not file.problem],
    [f"{file.name} ({file.problem})" for file in files if file.problem],
  )
