"""What was converted, from what, and into what: a JSON file beside the Flax checkpoint; docs/models.md."""

import dataclasses
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from typing import Any

from biasjax.models.resnet import Architecture
from biasjax.version import __version__
from convert import readers, torchvision
from convert.families import StateDict

FORMAT = 1
LIBRARIES = ("flax", "jax", "numpy", "orbax-checkpoint", "safetensors")


@dataclasses.dataclass(frozen=True)
class Normalization:
  """What a network subtracts from, and divides, images in [0, 1] by.

  Attributes:
    mean: of each channel, RGB.
    std: of each channel.
    origin: who says so.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]
  origin: str


def make(
  *,
  file: readers.File,
  state: StateDict,
  key_map: Mapping[str, torchvision.Entry],
  counters: Mapping[str, int],
  rounding: Mapping[str, float],
  architecture: Architecture,
  normalization: Normalization,
  fingerprint: str,
) -> dict[str, Any]:
  """The certificate of one conversion; equal for equal inputs and versions.

  Args:
    file: the source.
    state: what was taken from it.
    key_map: torchvision name -> entry, of what was converted.
    counters: the batch counters by torchvision name; not part of the network, but kept for the way back.
    rounding: largest change of a value for each tensor that float32 could not hold exactly.
    architecture: of the network.
    normalization: of its input.
    fingerprint: of the variables, see `biasjax.models.load.fingerprint`.
  """
  return {
    "format": FORMAT,
    "source": {
      "file": file.path.name,
      "sha256": file.sha256(),
      "bytes": file.size,
      "container": file.container,
      "layout": state.layout,
      "globals": list(file.globals),
    },
    "architecture": dataclasses.asdict(architecture) | {"stage_sizes": list(architecture.stage_sizes)},
    "description": torchvision.describe(architecture),
    "parameters": parameter_count(architecture),
    "normalization": {
      "mean": list(normalization.mean),
      "std": list(normalization.std),
      "origin": normalization.origin,
    },
    "tensors": {
      name: {
        "from": state.names[name],
        "to": "/".join(entry.path),
        "shape": list(entry.shape),
        "dtype": str(state.tensors[name].dtype),
      }
      for name, entry in key_map.items()
    },
    "rounding": dict(rounding),
    "counters": dict(counters),
    "dropped": dict(state.dropped) | {state.names[name]: "batch counter; kept here" for name in counters},
    "fingerprint": fingerprint,
    "versions": {"biasjax": __version__, "python": platform.python_version()}
    | {name: importlib.metadata.version(name) for name in LIBRARIES},
  }


def parameter_count(architecture: Architecture) -> int:
  """Trainable numbers: 25,557,032 for ResNet-50."""
  entries = torchvision.entries(architecture).values()
  return sum(math.prod(entry.shape) for entry in entries if entry.path[0] == "params")


def dump(certificate: Mapping[str, Any]) -> str:
  """As JSON text, ending in a newline."""
  return json.dumps(certificate, indent=2) + "\n"
