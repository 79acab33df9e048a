"""Which conversions the cache holds, and whether they are those of today; imports no JAX."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from etils import epath

from biasjax.convert import download
from biasjax.errors import BiasjaxError
from biasjax.models import stored
from biasjax.models.zoo import Checkpoint

FORMAT = 2  # of certificates


def models_directory() -> pathlib.Path:
  """Where conversions go that were given a name and no folder."""
  return download.cache_directory() / "models"


def converted_names() -> list[str]:
  """The names under which conversions are in the cache."""
  folder = models_directory()
  if not folder.is_dir():
    return []
  return sorted(p.name for p in folder.iterdir() if stored.is_converted(p) and not p.name.startswith("."))


def is_current(row: Checkpoint) -> bool:
  """Whether the cache holds a conversion of this row as it is now."""
  folder = models_directory() / row.name
  return holds(folder, {"model": describe_row(row)})


def holds(folder: pathlib.Path, expected: Mapping[str, Any]) -> bool:
  """Whether the cache holds a conversion whose certificate is of this version and says what is expected."""
  if not stored.is_converted(folder):
    return False
  try:
    found = stored.read_certificate(epath.Path(folder))
  except BiasjaxError:
    return False  # damaged: to be made again
  wanted = identity({"format": FORMAT, **expected})
  return {key: found.get(key) for key in wanted} == wanted


def describe_row(row: Checkpoint) -> dict[str, Any]:
  """What of a row a conversion depends on or should carry along; `is_current` compares it."""
  return dataclasses.asdict(row)


def identity(certificate: Mapping[str, Any]) -> Any:
  """What does not depend on when and where a checkpoint is converted."""
  changing = ("logits", "parity", "versions")
  return json.loads(json.dumps({k: v for k, v in certificate.items() if k not in changing}))
