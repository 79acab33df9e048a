"""A network that is given as JAX code: a pure function of variables and images."""

import dataclasses
import os
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np

from biasjax import named
from biasjax.engine import digest
from biasjax.errors import BiasjaxError
from biasjax.types import Images, Logits


@dataclasses.dataclass(frozen=True)
class Given:
  """A caller's network, as a pass wants it (`evaluate.Network`).

  Attributes:
    name: as it appears in tables.
    apply: (variables, images float32 [b, h, w, 3] in [0, 1]) -> logits float32 [b, classes]; pure.
    variables: a tree of arrays.
    classes: how many logits there are.
    fingerprint: changes when a logit could; "" where nothing is kept.
    size: pixels of a side of the images that it sees; None for those of the dataset.
  """

  name: str
  apply: Callable[[Any, Images], Logits]
  variables: Any
  classes: int
  fingerprint: str = ""
  size: int | None = None
  certificate: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def architecture(self) -> Callable:
    """Equal for networks that share a program."""
    return self.apply


def checked(
  who: str, name: str, apply: Callable, variables: Any, size: int, *, kept: bool, origin: str = ""
) -> Given:
  """The network, if it gives logits; no logit is computed.

  Args:
    who: what messages begin with.
    name: as it appears in tables.
    apply, variables: see `Given`.
    size: pixels of a side of images to try it with.
    kept: whether what it says is kept, so that the fingerprint is needed.
    origin: further part of the fingerprint: where the function is from.

  Raises:
    BiasjaxError: `apply` cannot be hashed, fails, or gives something else than logits.
  """
  images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  if not isinstance(apply, Hashable):  # what is compiled for it is found again by it
    raise BiasjaxError(f"{who}: apply is a {type(apply).__name__}, which cannot be hashed: give a function")
  try:
    logits = jax.eval_shape(apply, variables, images)
  except Exception as error:  # the caller's code may raise anything
    reason = " ".join(str(error).split())[:200]
    raise BiasjaxError(
      f"{who}: apply(variables, images) fails for images float32 {list(images.shape)}: "
      f"{type(error).__name__}: {reason}"
    ) from error
  shape = getattr(logits, "shape", ())
  if len(shape) != 2 or shape[0] != 1 or shape[1] < 2 or logits.dtype != np.float32:
    found = f"{logits.dtype} {list(shape)}" if hasattr(logits, "dtype") else type(logits).__name__
    raise BiasjaxError(
      f"{who}: apply(variables, images) gives {found} for one image, not logits float32 [1, classes]"
    )
  fingerprint = digest.of_network(apply, variables, size, origin) if kept else ""
  return Given(name, apply, variables, shape[1], fingerprint)


def made(spec: str, name: str, size: int) -> Given:
  """The network that PACKAGE.MODULE:FUNCTION makes; the module is imported and the function called.

  Args:
    spec: the function, of no arguments, which returns (apply, variables). Modules are also looked for in the
      working directory.
    name: as it appears in tables.
    size: pixels of a side of the images that it is going to see.

  Raises:
    BiasjaxError: there is no such function, it fails, or it gives something else.
  """
  if os.getcwd() not in sys.path:  # as python -m has it
    sys.path.append(os.getcwd())
  network = named.called("--models", spec)
  if not isinstance(network, tuple) or len(network) != 2 or not callable(network[0]):
    raise BiasjaxError(f"--models={spec}: gives {type(network).__name__}, not (apply, variables)")
  apply, variables = network
  try:
    variables = jax.tree.map(np.asarray, variables)
  except Exception as error:  # the caller's classes may raise anything
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise BiasjaxError(f"--models={spec}: its variables are no tree of arrays: {reason}") from error
  return checked(f"--models={spec}", name, apply, variables, size, kept=True, origin=spec)
