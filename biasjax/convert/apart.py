"""Foreign code in a process of its own: what comes back is data, checked like any file of a stranger.

A module that runs in the process that converts could change what converts it: libraries, random states, the
certificate. As a process it has its user's rights, and nothing else of this one.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from biasjax import processes
from biasjax.convert import building
from biasjax.convert.building import Tried, Wanted
from biasjax.convert.certificate import Normalization
from biasjax.errors import BiasjaxError
from biasjax.traced import table

SAID, ARRAYS = "said.json", "arrays.npz"


def tried(wanted: Wanted) -> Tried:
  """`building.tried` in another process.

  Raises:
    BiasjaxError: as there; or the process ended otherwise, or left something else.
  """
  with tempfile.TemporaryDirectory(prefix="biasjax-") as folder:
    asked = json.dumps(dataclasses.asdict(wanted), default=str)
    command = [sys.executable, "-m", __name__, folder, asked]
    done = subprocess.run(
      command, env=processes.environment(), stderr=subprocess.PIPE, text=True, check=False
    )
    try:
      return _read(pathlib.Path(folder), str(wanted))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
      lines = done.stderr.strip().splitlines()
      reason = f": {lines[-1][:200]}" if lines else ""
      raise BiasjaxError(
        f"{wanted}: its process ended with status {done.returncode} and left no network{reason}"
      ) from error


def _write(folder: pathlib.Path, found: Tried) -> None:
  # NumPy writes no bfloat16: bytes, and what they are.
  arrays: dict[str, Any] = {
    f"weight{i}": value.reshape(-1).view(np.uint8) for i, value in enumerate(found.weights.values())
  }
  for what in ("logits", "gradients"):
    arrays |= {f"{what}_{precision}": value for precision, value in getattr(found, what).items()}
  said = {
    "text": found.text,
    "weights": [[list(path), str(v.dtype), list(v.shape)] for path, v in found.weights.items()],
    "names": list(found.names.values()),
    "normalization": dataclasses.asdict(found.normalization),
    "preprocessing": found.preprocessing,
    "file": found.file,
    "dropped": found.dropped,
    "versions": found.versions,
  }
  np.savez(folder / ARRAYS, **arrays)
  (folder / SAID).write_text(json.dumps(said))


def _read(folder: pathlib.Path, who: str) -> Tried:
  said = json.loads((folder / SAID).read_text())
  if "error" in said:
    raise BiasjaxError(str(said["error"]))
  with np.load(folder / ARRAYS) as arrays:  # no pickle
    weights = {}
    for i, (path, dtype, shape) in enumerate(said["weights"]):
      if dtype not in table.DTYPES or not path or not all(isinstance(part, str) for part in path):
        raise ValueError(f"{who}: weight {i} is {dtype}")
      weights[tuple(path)] = arrays[f"weight{i}"].view(table.DTYPES[dtype]).reshape(shape)
    logits, gradients = (
      {of: arrays[f"{what}_{of}"] for of in building.PRECISIONS if f"{what}_{of}" in arrays}
      for what in ("logits", "gradients")
    )
  names = dict(zip(weights, map(str, said["names"]), strict=True))
  dropped = {str(name): str(why) for name, why in dict(said["dropped"]).items()}
  return Tried(
    *(str(said["text"]), weights, names, _normalization(said["normalization"]), said["preprocessing"]),
    *(said["file"], dropped, logits, gradients, said["versions"]),
  )


def _normalization(said: Mapping[str, Any]) -> Normalization:
  mean, std, origin = (said[key] for key in ("mean", "std", "origin"))
  return Normalization(tuple(mean), tuple(std), origin)


def main(folder: str, asked: str) -> None:
  """What the other process does."""
  wanted = json.loads(asked)
  if wanted["normalization"] is not None:
    wanted["normalization"] = _normalization(wanted["normalization"])
  try:
    _write(pathlib.Path(folder), building.tried(Wanted(**wanted)))
  except BiasjaxError as error:
    (pathlib.Path(folder) / SAID).write_text(json.dumps({"error": str(error)}))


if __name__ == "__main__":
  main(*sys.argv[1:])
