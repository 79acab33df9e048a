"""Converted checkpoints, from disk to a network that can be applied. The format is written and read here."""

import contextlib
import dataclasses
import functools
import glob
import hashlib
import json
import logging
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from biasjax import numerics
from biasjax.errors import BiasjaxError
from biasjax.models.architecture import Architecture
from biasjax.models.resnet import ResNet, eased
from biasjax.models.stored import CHECKPOINT, read_certificate
from biasjax.traced import interpreter, prepared
from biasjax.traced import program as programs
from biasjax.traced.program import Program
from biasjax.types import Images, Logits, Variables

CHECKSUMS = "checkpoint.sha256"  # as sha256sum writes them
PROGRAM = "program.json"  # of a traced network

Structure = Architecture | Program


@dataclasses.dataclass(frozen=True)
class Model:
  """A network and what is known about it.

  Attributes:
    name: the name of its folder.
    architecture: what `variables` belong to: a ResNet's shape, or the program of a traced network.
    variables: NumPy arrays on the host: "params", "batch_stats" (traced: "buffers") and "normalization".
    apply: logits float32 [b, classes] of float32 images [b, h, w, 3] in [0, 1]. Compiled; networks of equal
      architecture share the same function, and so the same program.
    fingerprint: hex digest of the architecture and of every variable's bytes, computed from what was loaded.
    certificate: what the conversion recorded, see docs/models.md.
  """

  name: str
  architecture: Structure
  variables: Variables
  apply: Callable[[Variables, Images], Logits]
  fingerprint: str
  certificate: dict[str, Any]

  @property
  def classes(self) -> int:
    """How many logits there are."""
    return class_count(self.architecture)

  @property
  def size(self) -> int | None:
    """Pixels of a side of the images that it sees; None for any."""
    return self.architecture.size if isinstance(self.architecture, Program) else None


def class_count(architecture: Structure) -> int:
  """How many logits there are."""
  return architecture.classes if isinstance(architecture, Program) else architecture.num_classes


def in_order(architecture: Any, variables: Any) -> Any:
  """A network's variables with what makes it cheaper on CPUs beside them; numbers are the same to rounding.

  For measuring: gradients to weights are lost. Of a traced network it is its weights in another order, which
  takes as much memory again; of others, and on other devices, nothing.
  """
  if isinstance(architecture, Program) and jax.default_backend() == "cpu":
    return prepared.forwards(architecture, variables)
  return variables


def easing(architecture: Any) -> Callable[[Variables], Variables] | None:
  """What adds to a network's variables what makes its gradients cheaper on CPUs; None where nothing does."""
  if isinstance(architecture, Program):
    return _backwards(architecture)
  return eased if isinstance(architecture, Architecture) else None


@functools.cache  # one object, and so one program, for equal networks
def _backwards(program: Program) -> Callable[[Variables], Variables]:
  return functools.partial(prepared.backwards, program)


def describe(architecture: Structure) -> dict[str, Any]:
  """What is recorded of an architecture, as JSON; of a program its sha256, it has a file of its own."""
  if isinstance(architecture, Program):
    return {"program": architecture.digest}
  return json.loads(json.dumps(dataclasses.asdict(architecture)))


@functools.cache
def apply_function(
  architecture: Structure, precision: str = "float32"
) -> Callable[[Variables, Images], Logits]:
  """The compiled evaluation-mode network, one object for equal architectures and precisions.

  Args:
    architecture: its shape, or its program.
    precision: "bfloat16" for features (traced: products) in bfloat16; otherwise products have the precision
      of the context (`jax.default_matmul_precision`).
  """
  if isinstance(architecture, Program):
    return interpreter.apply_function(architecture, precision)
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


@functools.cache  # a network is traced for it
@numerics.settled()
def variable_shapes(architecture: Structure) -> Variables:
  """The tree of `jax.ShapeDtypeStruct` that a network's variables must match."""
  if isinstance(architecture, Program):
    return programs.variable_shapes(architecture)
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  return jax.eval_shape(ResNet(architecture).init, jax.random.key(0), images)


def save(folder: epath.Path, architecture: Structure, variables: Variables) -> None:
  """Writes the Orbax checkpoint and its checksums into a folder, which should be a temporary one.

  Raises:
    OSError: storage failed.
  """
  description = describe(architecture)
  if isinstance(architecture, Program):
    (folder / PROGRAM).write_text(architecture.text)
  with storing(), plain(folder / CHECKPOINT) as path, _checkpointer() as checkpointer:
    checkpointer.save(
      path,
      args=ocp.args.Composite(
        architecture=ocp.args.JsonSave(description), variables=ocp.args.StandardSave(variables)
      ),
    )
  lines = [f"{digest}  {name}\n" for name, digest in _checksums(folder).items()]
  (folder / CHECKSUMS).write_text("".join(lines))


@contextlib.contextmanager
def plain(path: epath.Path) -> Iterator[epath.Path]:
  """`path`, absolute, for Orbax to write at, without what a glob takes for a pattern, a bracket say.

  Orbax looks by a glob for the parts that it is to merge, finds none below "runs[1]", or those of others, and
  what it has written is lost. Such a folder is reached by a link.
  """
  path = path.resolve()
  if not glob.has_magic(os.fspath(path.parent)) or "://" in os.fspath(path):
    yield path
    return
  with tempfile.TemporaryDirectory(prefix="biasjax-") as folder:
    link = pathlib.Path(folder) / "to"
    link.symlink_to(path.parent, target_is_directory=True)
    yield epath.Path(link / path.name)


@contextlib.contextmanager
def storing() -> Iterator[None]:
  """While Orbax writes: what the system refuses is raised as the OSError that it is, and logged by nobody.

  TensorStore raises a ValueError, with the system's number in its text, and Orbax's threads log each a
  traceback of their own. Writes of other arrays fail later, when Orbax has closed the loop that is told.
  """
  log = logging.getLogger("absl")
  disabled, log.disabled = log.disabled, True
  hook = sys.unraisablehook
  sys.unraisablehook = functools.partial(_but_of_a_closed_loop, hook)
  try:
    yield
    sys.unraisablehook = hook  # where nothing failed nothing fails later
  except ValueError as error:
    number = re.search(r"os_error_code='(\d+)'", str(error))
    if number is None:
      raise
    raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
  finally:
    log.disabled = disabled


def _but_of_a_closed_loop(otherwise: Callable[[Any], Any], unraisable: Any) -> None:
  if str(unraisable.exc_value) != "Event loop is closed":
    otherwise(unraisable)


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
  program = [folder / PROGRAM] if (folder / PROGRAM).exists() else []
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in [*sorted(_files(folder / CHECKPOINT)), *program]
  }


def _files(folder: epath.Path) -> Iterator[epath.Path]:
  for path in folder.iterdir():
    if path.is_dir():
      yield from _files(path)
    else:
      yield path


def restore(folder: epath.Path) -> tuple[Structure, Variables]:
  """The architecture and the variables in a converted checkpoint's folder, checked.

  Raises:
    BiasjaxError: damaged, its program is none, or values are not finite.
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
    architecture = _architecture(folder, description, damaged)
    wanted = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), variable_shapes(architecture))
    variables = item(variables=ocp.args.StandardRestore(wanted))["variables"]
  restored = flatten(variables)
  for name, like in flatten(wanted).items():
    value = restored.get(name)
    if value is None or value.shape != like.shape or value.dtype != like.dtype:
      raise BiasjaxError(f"{damaged} ({'/'.join(name)} is not {like.dtype} {list(like.shape)})")
    # Masks that are added before a softmax may be -inf.
    sound = np.isnan(value).sum() == 0 if name[0] == "buffers" else np.isfinite(value).all()
    if not sound:
      raise BiasjaxError(f"{folder}: {'/'.join(name)} holds values that are not finite: convert again")
  return architecture, variables


def _architecture(folder: epath.Path, description: Any, damaged: str) -> Structure:
  """What a checkpoint says it is; a program is checked before anything of its size is allocated."""
  if isinstance(description, dict) and description.keys() == {"program"}:
    path = folder / PROGRAM
    try:
      text = path.read_text()
    except (OSError, ValueError) as error:
      raise BiasjaxError(f"{damaged} ({error})") from error
    program = programs.parse(text, str(path))
    if program.digest != description["program"]:
      raise BiasjaxError(f"{damaged} ({PROGRAM} is another network's)")
    interpreter.check(program, str(path))
    return program
  try:
    return Architecture(**{**description, "stage_sizes": tuple(description["stage_sizes"])})
  except (TypeError, ValueError, KeyError) as error:
    raise BiasjaxError(f"{damaged} (its architecture: {error})") from error


def flatten(variables: Variables) -> dict[tuple[str, ...], Any]:
  """A variables tree by path, sorted."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return dict(sorted((tuple(key.key for key in path), leaf) for path, leaf in leaves))


def fingerprint(architecture: Structure, variables: Variables) -> str:
  """Hex sha256 over the architecture and every variable's path, dtype, shape and bytes."""
  digest = hashlib.sha256(json.dumps(describe(architecture), sort_keys=True).encode())
  for path, value in flatten(variables).items():
    digest.update(f"\n{'/'.join(path)} {value.dtype} {value.shape}\n".encode())
    digest.update(np.ascontiguousarray(value).tobytes())
  return digest.hexdigest()
