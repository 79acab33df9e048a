"""Metrics that were computed before: used again if what they follow from and what computes them are the same.

A unit's are in summaries/<dataset>/<probe>/<model>/<key>.json, with digests: of the bytes of every file of
observations that they follow from; of the code, which is all of biasjax, what the probe's `summarise` is
bound to, and the versions of what computes; and of themselves.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import json
import logging
import pathlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from biasjax.errors import BiasjaxError
from biasjax.results.store import Store, write_file
from biasjax.results.unit import Unit

logger = logging.getLogger(__name__)

COMPUTING = ("numpy", "scipy", "pandas", "pyarrow")
FOLDER = "summaries"
ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Kept:
  """What tables need of a unit.

  Attributes:
    code: `code_of` what summarised it.
    read: {probe: digest} of the observations that it follows from.
    metrics: a name and `summary.NUMBERS` each.
    excluded: {example id: reason} of the images that could not be decoded.
    contents: a digest of the bytes of all images; "" where that is not known.
    environments: what computed the observations, each once.
  """

  code: str
  read: Mapping[str, str]
  metrics: Sequence[Sequence[Any]]
  excluded: Mapping[str, str]
  contents: str
  environments: Sequence[Mapping[str, str]]


def find(store: Store, unit: Unit) -> Kept | None:
  """What is kept of a unit, of whatever code and observations; None if there is nothing, or it is damaged."""
  path = _path(store, unit)
  try:
    known = json.loads(path.read_text())
    if known["digest"] != _digest(known["kept"]):
      raise ValueError("its digest is another")
    return Kept(**known["kept"])
  except (FileNotFoundError, NotADirectoryError):
    return None
  except (OSError, ValueError, TypeError, KeyError) as error:
    logger.warning("%s is damaged (%s): it is made again", path, error)
    return None


def keep(store: Store, unit: Unit, kept: Kept) -> None:
  """Writes what `find` reads; a line in the log where that is not possible, since nothing depends on it."""
  known = dataclasses.asdict(kept)
  try:
    write_file(_path(store, unit), json.dumps({"digest": _digest(known), "kept": known}).encode())
  except BiasjaxError as error:
    logger.info("%s", error)


def _digest(known: Mapping[str, Any]) -> str:
  return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _path(store: Store, unit: Unit) -> epath.Path:
  folder = store.folder(unit)
  return store.workdir / FOLDER / folder.relative_to(store.workdir / "observations").with_suffix(".json")


def code_of(summarise: Callable) -> str:
  """A digest of all code that metrics follow from; "" where that is not biasjax' alone, which is never kept.

  Edits that change no number change it too: what they cost is a summary.
  """
  bound: list[Any] = []
  function: Any = summarise
  while isinstance(function, functools.partial):
    bound += [function.args, function.keywords]
    function = function.func
  function = inspect.unwrap(function)  # of what checks its types
  if not inspect.isfunction(function) or not OWN_CODE:
    return ""
  bound += [cell.cell_contents for cell in function.__closure__ or ()]
  source = getattr(sys.modules.get(function.__module__), "__file__", None)
  if not source or not pathlib.Path(source).is_relative_to(ROOT):
    return ""
  try:
    known = json.dumps((OWN_CODE, function.__module__, function.__qualname__, bound), sort_keys=True)
  except TypeError:  # bound to what may hold anything
    return ""
  return hashlib.sha256(known.encode()).hexdigest()


def _own_code() -> str:
  """Of biasjax as it is on disk, data included, and of what computes; "" where it is in no folder."""
  digest, paths = hashlib.sha256(), sorted(ROOT.rglob("*"))
  for path in paths:
    if path.is_file() and "__pycache__" not in path.parts:
      content = path.read_bytes()
      digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode() + content)
  versions = [platform.python_version(), *map(importlib.metadata.version, COMPUTING)]
  digest.update(repr(versions).encode())
  return digest.hexdigest() if paths else ""


# As it is when it is imported: an edit of the files while a run computes is none of what the run has loaded.
OWN_CODE = _own_code()
