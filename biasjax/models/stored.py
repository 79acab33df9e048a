"""Converted checkpoints on disk, as far as they can be told without JAX."""

import json
import pathlib
from typing import Any

from etils import epath

from biasjax.errors import BiasjaxError

CERTIFICATE = "certificate.json"
CHECKPOINT = "checkpoint"


def is_converted(folder: pathlib.Path) -> bool:
  """Whether a folder looks like one that a conversion wrote."""
  return (folder / CERTIFICATE).is_file() and (folder / CHECKPOINT).is_dir()


def read_certificate(folder: epath.Path) -> dict[str, Any]:
  """The certificate in a converted checkpoint's folder.

  Raises:
    BiasjaxError: there is none, or it is damaged.
  """
  if not folder.exists():
    raise BiasjaxError(f"{folder}: there is no such checkpoint: make it with python -m convert")
  path = folder / CERTIFICATE
  if not path.exists() or not (folder / CHECKPOINT).exists():
    raise BiasjaxError(f"{folder}: is not a converted checkpoint: make one with python -m convert")
  try:
    certificate = json.loads(path.read_text())
  except (ValueError, OSError) as error:
    raise BiasjaxError(f"{path}: is damaged ({error}): convert again") from error
  if not isinstance(certificate, dict):
    raise BiasjaxError(f"{path}: is damaged (not an object): convert again")
  return certificate
