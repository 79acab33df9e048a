"""Subsets of a dataset that are named image by image, as others use them."""

import gzip
import hashlib
import importlib.resources
import pathlib
from collections.abc import Sequence

from biasjax.data import layouts
from biasjax.data.layouts import Place
from biasjax.errors import BiasjaxError, suggestion

# Lists that are known by a name, one file name a line, compressed. robustbench5k: the 5,000 validation images
# that RobustBench measures ImageNet's networks on (Croce et al. 2021, arXiv:2010.09670), from
# robustbench/helper_files/imagenet_test_image_ids.txt of its repository (MIT licence).
KNOWN = {"robustbench5k": "info/robustbench5k.txt.gz"}


def names(asked: str) -> list[str]:
  """The names of images that a subset lists.

  Args:
    asked: one of `KNOWN`, or a text file (.gz: compressed) with a name a line; blank lines and what follows a
      "#" at a line's beginning are passed over.

  Raises:
    BiasjaxError: there is no such list, it cannot be read, or it is empty.
  """
  path = pathlib.Path(asked).expanduser()
  try:
    if asked in KNOWN:
      content = importlib.resources.files("biasjax.data").joinpath(KNOWN[asked]).read_bytes()
    elif path.is_file():
      content = path.read_bytes()
    else:
      hint = suggestion(asked, KNOWN)
      raise BiasjaxError(f"--subset={asked}: neither a file nor a list that is known: {hint}")
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
  except (OSError, EOFError, UnicodeDecodeError) as error:
    raise BiasjaxError(
      f"--subset={asked} cannot be read ({error}): expected a name of an image a line"
    ) from error
  found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
  if not found:
    raise BiasjaxError(f"--subset={asked} names no image")
  return found


def digest(listed: Sequence[str]) -> str:
  """Equal for equal lists, in whatever order."""
  return hashlib.sha256("\n".join(sorted(set(listed))).encode()).hexdigest()


def kept(places: Sequence[Place], listed: Sequence[str]) -> tuple[list[int], list[str]]:
  """(indices of the examples that are listed, in order; names that no example has).

  A name is that of a file, with any number of folders before it. ImageNet's own names stand by themselves;
  of others the folder counts as well, where both have one, since names of files repeat between classes.
  """
  by_name: dict[str, list[str]] = {}
  for name in listed:
    parts = name.replace("\\", "/").strip("/").split("/")
    by_name.setdefault(layouts.own_name(parts[-1]), []).append(parts[-2] if len(parts) > 1 else "")
  found, seen = [], set()
  for index, place in enumerate(places):
    *folders, file = place.example_id.split("/")
    folder = folders[-1] if folders else ""
    name = layouts.own_name(file)
    wanted = by_name.get(name)
    if wanted is None:
      continue
    own = layouts.class_of_name(name) is not None
    matching = [of for of in wanted if own or not of or not folder or of == folder]
    if matching:
      found.append(index)
      seen.update((name, of) for of in matching)
  every = [(name, of) for name, folders in by_name.items() for of in folders]
  missing = [f"{of}/{name}".lstrip("/") for name, of in every if (name, of) not in seen]
  return found, missing
