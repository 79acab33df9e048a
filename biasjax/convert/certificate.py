"""What was converted, from what, and into what: a JSON file beside the Flax checkpoint; docs/models.md."""

import dataclasses
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath

from biasjax import numerics
from biasjax.convert import cached, readers, stated, torchvision
from biasjax.convert.normalization import Normalization
from biasjax.convert.readings import StateDict
from biasjax.convert.stated import Statement
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.models.architecture import Architecture
from biasjax.models.load import Structure
from biasjax.models.zoo import Checkpoint
from biasjax.traced.program import Program
from biasjax.types import Variables
from biasjax.version import __version__

LIBRARIES = ("flax", "jax", "numpy", "orbax-checkpoint", "safetensors")
# The logits of one network on two machines, over the largest: far above float32's rounding in 50 layers, far
# below what any wrong weight does.
TOLERANCE = 1e-3
PROBE = 64  # pixels of a side of the images that logits are recorded of


def make(
  *,
  file: readers.File,
  head: readers.File | None,
  state: StateDict,
  key_map: Mapping[str, torchvision.Entry],
  counters: Mapping[str, int],
  rounding: Mapping[str, float],
  architecture: Architecture,
  normalization: Normalization,
  variables: Variables,
  statements: Sequence[Statement],
  plain: bool,
  row: Checkpoint | None,
) -> dict[str, Any]:
  """The certificate of one conversion.

  Args:
    file: the source.
    head: the source of the classifier, where it is another.
    state: what was taken from it.
    key_map: torchvision name -> entry, of what was converted.
    counters: the batch counters by torchvision name; not part of the network, but kept for the way back.
    rounding: largest change of a value for each tensor that float32 could not hold exactly.
    architecture: of the network.
    normalization: of its input.
    variables: the result.
    statements: what is said of the network in the file and beside it.
    plain: whether it was taken for plain whatever is said.
    row: what is known of the checkpoint.
  """
  return {
    "format": cached.FORMAT,
    "model": cached.describe_row(row) if row else None,
    "source": _source(file) | {"layout": state.layout},
    "head": _source(head) if head else None,
    "architecture": dataclasses.asdict(architecture),
    "description": torchvision.describe(architecture),
    "parameters": parameter_count(architecture),
    "function": {
      "assumed": stated.ASSUMED,
      "stated": {s.where: s.value for s in statements if s.kind != "normalization"},
      "overruled": plain,
    },
    "normalization": dataclasses.asdict(normalization),
    "tensors": {
      name: {
        "from": state.names[name],
        "to": "/".join(entry.path),
        "shape": entry.shape,
        "dtype": state.tensors[name].numbers.name,
      }
      for name, entry in key_map.items()
    },
    "rounding": dict(rounding),
    "counters": dict(counters),
    "dropped": state.dropped
    | {
      text: "batch counter; kept here" if name in counters else "batch counter"
      for name, text in state.names.items()
      if name not in key_map
    },
    "fingerprint": load.fingerprint(architecture, variables),
    "logits": logits(architecture, variables),
    "parity": None,
    "versions": {"biasjax": __version__, "python": platform.python_version()}
    | {name: importlib.metadata.version(name) for name in LIBRARIES},
  }


def _source(file: readers.File) -> dict[str, Any]:
  shards = {shard.path.name: shard.sha256() for shard in file.shards}
  return ({"shards": shards} if shards else {}) | {
    "file": file.path.name,
    "sha256": file.sha256(),
    "bytes": file.size,
    "container": file.container,
    "globals": file.globals,
  }


def description(architecture: Structure) -> str:
  """In words, e.g. "ResNet-50, width 64, 1000 classes"."""
  if isinstance(architecture, Program):
    kinds = len({node.operation for node in architecture.nodes})
    return (
      f"traced network of {len(architecture.nodes)} operations ({kinds} kinds), {architecture.size} x "
      f"{architecture.size} pixels, {architecture.classes} classes"
    )
  return torchvision.describe(architecture)


def parameter_count(architecture: Structure) -> int:
  """Trainable numbers: 25,557,032 for ResNet-50."""
  if isinstance(architecture, Program):
    return architecture.parameters
  entries = torchvision.entries(architecture).values()
  return sum(math.prod(entry.shape) for entry in entries if entry.path[0] == "params")


def probe(size: int | None = None) -> np.ndarray:
  """Two images, float32 [2, size, size, 3] in [0, 1], the same everywhere: whole numbers over 255.

  Size is a network's own, and 64 for one that sees images of any.

  Pixel (y, x) of channel c of image b is (x**2 * (c + 1) + 3 * y**2 + 7 * x * y + 11 * b * (x + 2 * y) +
  31 * c) mod 256.
  """
  b, y, x, c = np.meshgrid(*map(np.arange, (2, size or PROBE, size or PROBE, 3)), indexing="ij")
  pixels = (x**2 * (c + 1) + 3 * y**2 + 7 * x * y + 11 * b * (x + 2 * y) + 31 * c) % 256
  return pixels.astype(np.float32) / np.float32(255)


@numerics.settled()
def logits(architecture: Structure, variables: Variables) -> list[list[float]]:
  """A network's logits on `probe()`, [2][classes], to seven digits.

  Raises:
    BiasjaxError: they are not finite.
  """
  size = architecture.size if isinstance(architecture, Program) else None
  values = np.asarray(load.apply_function(architecture)(variables, jnp.asarray(probe(size))))
  if not np.isfinite(values).all():
    raise BiasjaxError("the network's logits are not finite: is the checkpoint of a training that diverged?")
  return [[float(f"{v:.7g}") for v in row] for row in values.tolist()]


def difference(got: Any, expected: Any) -> float:
  """The largest difference of logits over the largest logit."""
  a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
  if a.shape != b.shape:
    return math.inf
  return float(np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny))


def verify(folder: epath.Path) -> str:
  """Computes again what a certificate says of the network beside it.

  Returns:
    What was found, in a line.

  Raises:
    BiasjaxError: the two do not belong together, or something is damaged.
  """
  model = load.load(folder)
  certificate = model.certificate
  found = {
    "format": cached.FORMAT,
    "fingerprint": model.fingerprint,
    "parameters": parameter_count(model.architecture),
    "architecture": load.describe(model.architecture),
  }
  for key, value in found.items():
    if certificate.get(key) != value:
      if key == "format":
        raise BiasjaxError(f"{folder}: was converted by another version of biasjax: convert it again")
      raise BiasjaxError(
        f"{folder}: the certificate's {key} is {certificate.get(key)}, the network's is {value}"
      )
  for key in ("mean", "std"):
    stated = (certificate.get("normalization") or {}).get(key)
    used = model.variables["normalization"][key]
    if stated is None or not np.array_equal(np.array(stated, np.float32), used):
      raise BiasjaxError(f"{folder}: the certificate's {key} is {stated}, the network's is {used.tolist()}")
  change = difference(logits(model.architecture, model.variables), certificate.get("logits") or [])
  if not change <= TOLERANCE:
    raise BiasjaxError(
      f"{folder}: the network's logits differ from the certificate's by {change:.2g} of the largest"
    )
  return (
    f"{folder}: {description(model.architecture)}, fingerprint {model.fingerprint[:12]} and all "
    f"else as certified; logits differ by {change:.1g} of the largest"
  )


def dump(certificate: Mapping[str, Any]) -> str:
  """As JSON text, ending in a newline."""
  return json.dumps(certificate, indent=1) + "\n"
