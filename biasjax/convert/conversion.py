"""A checkpoint file to a folder with the Flax checkpoint and its certificate, whole or not at all."""

import dataclasses
import math
import os
import pathlib
import re
import shutil
import uuid
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from biasjax import processes
from biasjax.convert import cached, certificate, readers, readings, stated, torchvision
from biasjax.convert.normalization import ASSUMED, NONE, Normalization, check
from biasjax.errors import BiasjaxError
from biasjax.models import load, stored
from biasjax.models.zoo import Checkpoint
from biasjax.types import Variables

FLOATS = (np.dtype("f2"), np.dtype("f4"), np.dtype("f8"), np.dtype(ml_dtypes.bfloat16))


@dataclasses.dataclass(frozen=True)
class Conversion:
  """A converted network in memory.

  Attributes:
    architecture: found in the tensors' shapes; of a traced network its program.
    variables: NumPy arrays, float32.
    tensors: what it was converted from, by torchvision's name; read when asked for.
    certificate: what is recorded of it.
  """

  architecture: load.Structure
  variables: Variables
  tensors: dict[str, readers.Tensor]
  certificate: dict[str, Any]


def convert(
  path: str | os.PathLike,
  *,
  head: str | os.PathLike | None = None,
  normalization: Normalization | None = None,
  family: str | None = None,
  reading: str | None = None,
  plain: bool = False,
  row: Checkpoint | None = None,
) -> Conversion:
  """Converts one checkpoint.

  Args:
    path: of the file, of the index of its shards, or of a Hugging Face folder.
    head: of the classifier, if it is not called "fc": its file, or its module's name.
    normalization: of the network's input; None takes the row's, the file's own, that of a configuration
      beside it, the family's, or else ImageNet's.
    family: how the file is laid out; None takes the row's, else recognises it.
    reading: which state dict, where a file holds several; see `readings.state_dict`.
    plain: whether it is a plain ResNet whatever its name, its configuration or its arguments say.
    row: what is known of the checkpoint.

  Raises:
    BiasjaxError: the file cannot be read, does not hold exactly a ResNet, or is said to be another network;
      or values are not finite.
  """
  if row:
    family = family or row.family
    normalization = normalization or Normalization(row.mean, row.std, f"of {row.name}")
  if normalization:
    check(normalization)
  file = readers.read(path)
  classifier = _head(head)
  statements = stated.collect(file)
  if not plain:
    stated.compare_name(file.path)
  state = readings.state_dict(
    file, family=family, reading=reading, head=classifier, normalized=normalization is not None
  )
  shapes = {name: tensor.shape for name, tensor in state.tensors.items()}
  try:
    architecture, key_map, counted = torchvision.identify(shapes, str(file.path))
  except BiasjaxError:
    if not plain:  # what is said of it tells more than its shapes
      stated.compare(statements, None, str(file.path))
    raise
  if not plain:
    stated.compare(statements, architecture, str(file.path))
  normalization = normalization or state.normalization
  normalization = normalization or stated.stated_normalization(statements, str(file.path))
  normalization = normalization or (ASSUMED if state.normalized else NONE)
  claimed = sum(state.tensors[name].nbytes for name in key_map)
  head_file = classifier if isinstance(classifier, readers.File) else None
  if claimed > file.size + (head_file.size if head_file else 0) + readers.EXPANDED:
    raise BiasjaxError(f"{file.path}: its tensors claim {claimed} bytes and share them; a ResNet's never do")
  variables: Variables = {}
  rounding = {}
  for name, entry in key_map.items():
    values, change = _float32(state.tensors[name], state.names[name], file)
    if change:
      rounding[name] = change
    insert(variables, entry.path, torchvision.to_flax(values))
  for key in ("mean", "std"):
    insert(variables, ("normalization", key), np.array(getattr(normalization, key), np.float32))
  counts = {name: _count(state.tensors[name]) for name in counted}
  return Conversion(
    architecture,
    variables,
    state.tensors,
    certificate.make(
      file=file,
      head=head_file,
      state=state,
      key_map=key_map,
      counters={name: count for name, count in counts.items() if count is not None},
      rounding=rounding,
      architecture=architecture,
      normalization=normalization,
      variables=variables,
      statements=statements,
      plain=plain,
      row=row,
    ),
  )


def _head(head: str | os.PathLike | None) -> readers.File | str | None:
  """The classifier's file, or its module's name."""
  named = isinstance(head, str) and re.fullmatch(r"\w+(\.\w+)*", head) and not pathlib.Path(head).exists()
  if named and not str(head).endswith((".pth", ".pt", ".ckpt", ".tar", ".bin", ".safetensors")):
    return str(head)
  return None if head is None else readers.read(head)


def _count(tensor: readers.Tensor) -> int | None:
  """A batch counter; None where it is no whole number, as in an average of networks."""
  dtype = tensor.numbers.dtype
  if dtype is None or dtype.kind not in "iu" or math.prod(tensor.shape) != 1:
    return None
  return int(tensor.read().reshape(()))


def _float32(tensor: readers.Tensor, name: str, file: readers.File) -> tuple[np.ndarray, float]:
  """A tensor's values in float32, and the largest change that this made (0 unless they are float64)."""
  if tensor.numbers.dtype not in FLOATS:
    wanted = "weights are float16, bfloat16, float32 or float64"
    raise BiasjaxError(f"{file.path}: {name!r} is {tensor.numbers}; {wanted}")
  values = tensor.read()
  if not np.isfinite(values).all():
    raise BiasjaxError(f"{file.path}: {name!r} holds values that are not finite")
  if name.endswith(".running_var") and (values < 0).any():
    raise BiasjaxError(f"{file.path}: {name!r} holds negative variances")
  if values.dtype != np.float64:
    return values.astype(np.float32, copy=False), 0.0
  if values.size and np.abs(values).max() > np.finfo(np.float32).max:
    raise BiasjaxError(f"{file.path}: {name!r} holds values beyond float32")
  rounded = values.astype(np.float32)
  return rounded, float(np.abs(values - rounded).max(initial=0.0))


def insert(tree: dict[str, Any], path: tuple[str, ...], value: np.ndarray) -> None:
  """Sets a leaf of a tree, whose branches appear as needed."""
  for key in path[:-1]:
    tree = tree.setdefault(key, {})
  tree[path[-1]] = value


def write(conversion: Conversion, output: str | os.PathLike, *, overwrite: bool = False) -> bool:
  """Writes a conversion into a folder of its own, which appears whole or not at all.

  Args:
    conversion: what to write.
    output: the folder. If it already holds this very conversion, nothing is done.
    overwrite: whether another conversion that is there may be replaced.

  Returns:
    Whether anything was written.

  Raises:
    BiasjaxError: something else is there, or storage failed.
  """
  output = pathlib.Path(os.path.abspath(output))
  previous = output.parent / f".{output.name}.previous"
  # Process ids repeat: on other hosts, and in a container that is started again.
  temporary = output.parent / f".{output.name}.{uuid.uuid4().hex}.tmp"
  processes.forget_unfinished(output)
  try:
    if previous.exists() and not output.exists():
      previous.rename(output)  # a replacement was interrupted between its two steps
    if _settled(output, conversion, overwrite):
      return False
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
      temporary.mkdir()
      load.save(epath.Path(temporary), conversion.architecture, conversion.variables)
      (temporary / stored.CERTIFICATE).write_text(certificate.dump(conversion.certificate))
      if _settled(output, conversion, overwrite):  # another process was faster
        return False
      if output.exists():
        shutil.rmtree(previous, ignore_errors=True)
        output.rename(previous)
      temporary.rename(output)
    finally:
      shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(previous, ignore_errors=True)
  except OSError as error:
    raise BiasjaxError(f"{output}: cannot be written ({error.strerror or error})") from error
  return True


def _settled(output: pathlib.Path, conversion: Conversion, overwrite: bool) -> bool:
  """Whether a folder holds this conversion already; raises BiasjaxError where it may not be replaced."""
  if not output.exists():
    return False
  if holds(output, conversion.certificate):
    return True
  if not overwrite:
    raise BiasjaxError(
      f"{output}: exists and holds something else, or is damaged: choose another name, delete it, or replace "
      "it with --overwrite of python -m convert"
    )
  if not stored.is_converted(output):
    raise BiasjaxError(f"{output}: exists and is no converted checkpoint: it will not be overwritten")
  return False


def write_certificate(folder: pathlib.Path, content: dict[str, Any]) -> None:
  """Replaces a certificate, whole or not at all.

  Raises:
    BiasjaxError: storage failed.
  """
  path = folder / stored.CERTIFICATE
  temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
  try:
    temporary.write_text(certificate.dump(content))
    os.replace(temporary, path)
  except OSError as error:
    raise BiasjaxError(f"{path}: cannot be written ({error.strerror or error})") from error


def holds(folder: pathlib.Path, expected: dict[str, Any]) -> bool:
  """Whether a folder holds the conversion of this certificate, intact."""
  if not stored.is_converted(folder):
    return False
  try:
    found = stored.read_certificate(epath.Path(folder))
    same = cached.identity(found) == cached.identity(expected)
    return same and load.load(folder).fingerprint == expected["fingerprint"]
  except BiasjaxError:
    return False  # damaged: like anything else that is not this conversion
