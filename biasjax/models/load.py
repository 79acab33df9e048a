"""Converted checkpoints, from disk to a network that can be applied. The format is written and read here."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from biasjax import numerics
from biasjax.errors import BiasjaxError
from biasjax.models.resnet import Architecture, ResNet
from biasjax.types import Images, Logits, Variables

CERTIFICATE = "certificate.json"
CHECKPOINT = "checkpoint"
CHECKSUMS = "checkpoint.sha256"  # as sha256sum writes them


@dataclasses.dataclass(frozen=True)
class Model:
  """A network and what is known about it.

  Attributes:
    name: the name of its folder.
    architecture: what `variables` belong to.
    variables: NumPy arrays, float32, on the host: "params", "batch_stats" and "normalization".
    apply: logits float32 [b, classes] of float32 images [b, h, w, 3] in [0, 1]. Compiled; networks of equal
      architecture share the same function, and so the same program.
    fingerprint: hex digest of the architecture and of every variable's bytes, computed from what was loaded.
    certificate: what the conversion recorded, see docs/models.md.
  """

  name: str
  architecture: Architecture
  variables: Variables
  apply: Callable[[Variables, Images], Logits]
  fingerprint: str
  certificate: dict[str, Any]

  @property
  def classes(self) -> int:
    """How many logits there are."""
    return self.architecture.num_classes


@functools.cache
def apply_function(
  architecture: Architecture, precision: str = "float32"
) -> Callable[[Variables, Images], Logits]:
  """The compiled evaluation-mode network, one object for equal architectures and precisions.

  Args:
    architecture: its shape.
    precision: "bfloat16" for features in bfloat16; otherwise products have the precision of the context
      (`jax.default_matmul_precision`).
  """
  network = ResNet(architecture, jnp.bfloat16 if precision == "bfloat16" else None)

  def apply(variables: Variables, images: Images) -> Logits:
    return cast(Logits, network.apply(variables, images))

  return jax.jit(apply)


def load(spec: str | os.PathLike, precision: str = "float32") -> Model:
  """Loads what `python -m convert` wrote.

  Args:
    spec: the folder, local or gs://.
    precision: of the network's products, see `apply_function`.

  Raises:
    BiasjaxError: the folder is missing, is no converted checkpoint, is damaged, or holds values that are not
      finite.
  """
  folder = epath.Path(os.fspath(spec))
  certificate = read_certificate(folder)
  architecture, variables = restore(folder)
  return Model(
    name=folder.name,
    architecture=architecture,
    variables=variables,
    apply=apply_function(architecture, precision),
    fingerprint=fingerprint(architecture, variables),
    certificate=certificate,
  )


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


@numerics.settled()
def variable_shapes(architecture: Architecture) -> Variables:
  """The tree of `jax.ShapeDtypeStruct` that a network's variables must match."""
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  return jax.eval_shape(ResNet(architecture).init, jax.random.key(0), images)


def save(folder: epath.Path, architecture: Architecture, variables: Variables) -> None:
  """Writes the Orbax checkpoint and its checksums into a folder, which should be a temporary one.

  Raises:
    OSError: storage failed.
  """
  description = dataclasses.asdict(architecture)
  with _checkpointer() as checkpointer:
    checkpointer.save(
      (folder / CHECKPOINT).resolve(),
      args=ocp.args.Composite(
        architecture=ocp.args.JsonSave(description), variables=ocp.args.StandardSave(variables)
      ),
    )
  lines = [f"{digest}  {name}\n" for name, digest in _checksums(folder).items()]
  (folder / CHECKSUMS).write_text("".join(lines))


def _checkpointer(*items: str) -> ocp.Checkpointer:
  """Orbax for this process alone: among several it would wait for the others at every step."""
  alone = ocp.options.MultiprocessingOptions(
    primary_host=jax.process_index(), active_processes={jax.process_index()}
  )
  options = ocp.CompositeOptions(multiprocessing_options=alone)
  handler = ocp.CompositeCheckpointHandler(*items, composite_options=options)
  return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _checksums(folder: epath.Path) -> dict[str, str]:
  """Of every file of a checkpoint, by its path from `folder`."""
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(_files(folder / CHECKPOINT))
  }


def _files(folder: epath.Path) -> Iterator[epath.Path]:
  for path in folder.iterdir():
    if path.is_dir():
      yield from _files(path)
    else:
      yield path


def restore(folder: epath.Path) -> tuple[Architecture, Variables]:
  """The architecture and the variables in a converted checkpoint's folder, checked.

  Raises:
    BiasjaxError: damaged, or values are not finite.
  """
  path = (folder / CHECKPOINT).resolve()
  damaged = f"{folder}: the checkpoint is damaged: convert again"
  # Checked first, because TensorStore reports damage from its threads, past any exception handler.
  try:
    expected = (folder / CHECKSUMS).read_text().splitlines()
    found = [f"{digest}  {name}" for name, digest in _checksums(folder).items()]
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"{damaged} ({error})") from error
  if found != expected:
    wrong = sorted(set(found) ^ set(expected))[0].split("  ")[-1]
    raise BiasjaxError(f"{damaged} ({wrong} is not what was written)")
  with _checkpointer("architecture", "variables") as checkpointer:

    def item(**arguments):
      # Orbax and TensorStore raise many types for what is damaged, without a common base.
      try:
        return checkpointer.restore(path, args=ocp.args.Composite(**arguments))
      except Exception as error:
        raise BiasjaxError(f"{damaged} ({' '.join(str(error).split())[:200]})") from error

    description = item(architecture=ocp.args.JsonRestore())["architecture"]
    try:
      architecture = Architecture(**{**description, "stage_sizes": tuple(description["stage_sizes"])})
    except (TypeError, ValueError, KeyError) as error:
      raise BiasjaxError(f"{damaged} (its architecture: {error})") from error
    wanted = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), variable_shapes(architecture))
    variables = item(variables=ocp.args.StandardRestore(wanted))["variables"]
  restored = flatten(variables)
  for name, like in flatten(wanted).items():
    value = restored.get(name)
    if value is None or value.shape != like.shape or value.dtype != like.dtype:
      raise BiasjaxError(f"{damaged} ({'/'.join(name)} is not {like.dtype} {list(like.shape)})")
    if not np.isfinite(value).all():
      raise BiasjaxError(f"{folder}: {'/'.join(name)} holds values that are not finite: convert again")
  return architecture, variables


def flatten(variables: Variables) -> dict[tuple[str, ...], Any]:
  """A variables tree by path, sorted."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return dict(sorted((tuple(key.key for key in path), leaf) for path, leaf in leaves))


def fingerprint(architecture: Architecture, variables: Variables) -> str:
  """Hex sha256 over the architecture and every variable's path, dtype, shape and bytes."""
  digest = hashlib.sha256(json.dumps(dataclasses.asdict(architecture), sort_keys=True).encode())
  for path, value in flatten(variables).items():
    digest.update(f"\n{'/'.join(path)} {value.dtype} {value.shape}\n".encode())
    digest.update(np.ascontiguousarray(value).tobytes())
  return digest.hexdigest()
