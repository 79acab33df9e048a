"""A PyTorch network as a converted one: traced (`building.py`), compared with PyTorch, certified."""

import contextlib
import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from biasjax import numerics
from biasjax.convert import apart, building, cached, certificate, tracing
from biasjax.convert.building import Tried, Wanted
from biasjax.convert.conversion import Conversion
from biasjax.convert.normalization import check
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.traced import interpreter
from biasjax.traced import program as programs
from biasjax.traced.program import Program, Value
from biasjax.types import Variables
from biasjax.version import __version__

# Largest differences from PyTorch in float64, of logits over the largest and of gradients in the 2-norm,
# unless PyTorch's own float32 differs by a tenth of that.
LOGITS, GRADIENTS = 1e-3, 1e-3
# Of gradients where the program, computed in float64, is nearer than that: its operations are right, and
# rounding took values to the other side of a corner (ReLU's, say), where the gradient jumps.
AT_CORNERS = 1e-1
# Of gradients where there is no float64 to tell the two apart.
UNTOLD = 1e-2
# Of the sum of a softmax in float32 from 1, beyond any rounding.
ADDING_UP = 1e-4
SIGMOIDS = {"aten.sigmoid.default", "aten.hardsigmoid.default"}
# After which scores are what they were, in another shape or element type.
UNCHANGING = {
  f"aten.{name}"
  for name in (
    *("view.default", "reshape.default", "flatten.using_ints", "squeeze.dims", "squeeze.dim", "select.int"),
    *("clone.default", "alias.default", "contiguous.default", "_to_copy.default", "to.dtype", "slice.Tensor"),
    *("permute.default", "unsqueeze.default"),
  )
}


def convert(wanted: Wanted) -> Conversion:
  """Traces a network and compares what comes out with PyTorch.

  Raises:
    BiasjaxError: torch or the library is absent, there is no such network, the weights do not fit, it cannot
      be traced, or the result is not PyTorch's.
  """
  name = wanted.name
  tried = apart.tried(wanted) if wanted.kind == "module" else building.tried(wanted)
  program = programs.parse(tried.text, name)
  interpreter.check(program, name)
  check(tried.normalization)
  mean, std = (np.array(getattr(tried.normalization, key), np.float32) for key in ("mean", "std"))
  for path, value in tried.weights.items():
    if path[0] == "params" and not np.isfinite(value).all():
      raise BiasjaxError(f"{name}: {tried.names[path]!r} holds values that are not finite")
  variables = tracing.variables(tried.weights, mean, std)
  _refuse_other(name, program, variables)
  _refuse_mixing(name, program, variables)
  found = {
    "format": cached.FORMAT,
    "model": None,
    "source": {"network": f"{wanted.kind}:{name}"} | (tried.file or {"file": None}),
    "architecture": load.describe(program),
    "description": certificate.description(program),
    "parameters": certificate.parameter_count(program),
    "normalization": dataclasses.asdict(tried.normalization),
    "preprocessing": tried.preprocessing,
    "tensors": {
      tried.names[path]: {"to": "/".join(path), "shape": value.shape, "dtype": str(value.dtype)}
      for path, value in tried.weights.items()
    },
    "rounding": {},
    "dropped": tried.dropped,
    "fingerprint": load.fingerprint(program, variables),
    "logits": certificate.logits(program, variables),
    "scores": scores(program, tried.logits["float32"]),
    "parity": parity(tried, program, variables),
    "versions": {"biasjax": __version__, "python": platform.python_version()}
    | {library: importlib.metadata.version(library) for library in certificate.LIBRARIES}
    | tried.versions,
  }
  return Conversion(program, variables, {}, found)


def scores(program: Program, logits: np.ndarray) -> str:
  """What a network's outputs are: "logits", or "probabilities" and what tells them.

  The logarithms of a softmax are logits: a softmax of them is the same.

  Args:
    program: of the network.
    logits: its outputs of some images, [b, classes].
  """
  sums = np.abs(logits.sum(1, dtype=np.float64) - 1)
  if (logits >= 0).all() and (logits <= 1).all() and (sums < ADDING_UP).all():
    return "probabilities: they add up to 1"
  first, number = 1 + len(program.weights), program.output
  while number >= first:
    node = program.nodes[number - first]
    if node.operation in SIGMOIDS:
      return "probabilities: it ends in a sigmoid"
    before = node.arguments.get("self")
    if node.operation not in UNCHANGING or not isinstance(before, Value):
      break
    number = before.number
  return "logits"


def _refuse_other(name: str, program: Program, variables: Variables) -> None:
  """Raises BiasjaxError where the weights are not the program's."""
  wanted, there = load.flatten(load.variable_shapes(program)), load.flatten(variables)
  for path in wanted.keys() | there.keys():
    of = [(each[path].shape, each[path].dtype) if path in each else None for each in (wanted, there)]
    if of[0] != of[1]:
      raise BiasjaxError(f"{name}: {'/'.join(path)} is {of[1]}, and {of[0]} in the program")


@numerics.settled()
def _refuse_mixing(name: str, program: Program, variables: Variables) -> None:
  """Raises BiasjaxError where an image's logits depend on the other images of its batch."""
  images, apply = certificate.probe(program.size), interpreter.apply_function(program)
  other = np.stack([images[0], 1 - images[1]])
  change = certificate.difference(*(apply(variables, jnp.asarray(both))[0] for both in (other, images)))
  if change > numerics.BESIDE_OTHERS:
    raise BiasjaxError(
      f"{name}: an image's logits depend on the other images of its batch (by {change:.2g} of the largest), "
      "so that they are not the image's own: a BatchNorm without running statistics, say"
    )


@numerics.settled()
def parity(tried: Tried, program: Program, variables: Variables) -> dict[str, Any]:
  """How far logits and image gradients are from PyTorch's in float64, beside PyTorch's own float32.

  From float32, with None beside it, where PyTorch cannot compute the network in float64. Where gradients are
  further than `GRADIENTS`, "gradients_in_float64" says how far they are when the program is computed in
  float64, too.

  Raises:
    BiasjaxError: further than rounding explains.
  """
  images = certificate.probe(program.size)
  weights = building.coefficients(len(images), program.classes)
  apply = interpreter.apply_function(program)

  def total(x, variables):
    logits = apply(variables, x)
    return jnp.sum(logits * weights), logits

  gradient, logits = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(images), variables)

  def norm(found, expected):
    return float(np.linalg.norm(np.asarray(found) - expected) / max(np.linalg.norm(expected), 1e-30))

  single = tried.logits["float32"], tried.gradients["float32"]
  wide = "float64" in tried.logits
  expected = (tried.logits["float64"], tried.gradients["float64"]) if wide else single
  found = {
    "logits": certificate.difference(logits, expected[0]),
    "gradients": norm(gradient, expected[1]),
    "torch_logits": certificate.difference(single[0], expected[0]) if wide else None,
    "torch_gradients": norm(single[1], expected[1]) if wide else None,
  }
  bounds = {"logits": LOGITS, "gradients": GRADIENTS if wide else UNTOLD}
  if wide and not _near(found, "gradients", GRADIENTS):
    bounds["gradients"] = UNTOLD
    with contextlib.suppress(BiasjaxError):  # an operation for 32 bits alone
      _, exact = in_float64(program, variables, images, weights)
      found["gradients_in_float64"] = norm(exact, expected[1])
      bounds["gradients"] = AT_CORNERS if found["gradients_in_float64"] <= GRADIENTS else GRADIENTS
  for key, most in bounds.items():
    theirs = found[f"torch_{key}"]
    if not _near(found, key, most):
      beside = "" if theirs is None else f" (PyTorch's float32: {theirs:.2g})"
      raise BiasjaxError(
        f"the traced network's {key} differ from PyTorch's by {found[key]:.2g}{beside}: it is not written"
      )
  rounded = {key: None if value is None else float(f"{value:.2g}") for key, value in found.items()}
  return rounded | {"torch": tried.versions["torch"]}


def _near(found: Mapping[str, Any], key: str, most: float) -> bool:
  """Whether a difference is at most that, or what rounding explains."""
  return found[key] <= max(most, 10 * (found[f"torch_{key}"] or 0.0))


def in_float64(program: Program, variables: Variables, images: Any, weights: Any) -> tuple[Any, Any]:
  """Logits float64 [b, classes], and gradients [b, h, w, 3] of the sum of logits times weights.

  Args:
    program: of the network.
    variables: its own, of float32.
    images: [b, h, w, 3] in [0, 1].
    weights: [b, classes].

  Raises:
    BiasjaxError: an operation is for 32 bits alone.
  """

  def total(x, tree):
    logits = interpreter.run(program, tree, x)
    return jnp.sum(logits * weights), logits

  def wide(value):
    return np.asarray(value, np.float64) if jnp.issubdtype(value.dtype, jnp.floating) else np.asarray(value)

  with jax.enable_x64(True):
    gradient, logits = jax.jit(jax.grad(total, has_aux=True))(wide(images), jax.tree.map(wide, variables))
    return np.asarray(logits), np.asarray(gradient)
