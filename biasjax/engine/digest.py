"""What a probe computes, as a digest: an edit of its code is another computation, a renamed variable is none.

What is compiled is told by its jaxpr: operations, shapes and constants. What runs on the host, an attack or a
callback, is told by the bytecode of its functions and of those that they name in the same project, with the
values that they use. Names of local variables, comments and docstrings play no part.
"""

import dataclasses
import dis
import functools
import hashlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from biasjax import named, numerics
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Probe
from biasjax.probes.decisions import Decision

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_ELSEWHERE = {"site-packages", "dist-packages"}


def of_probe(probe: Probe, labels: str, size: int, classes: int | None) -> str:
  """16 hex digits that stand for what `probe` computes, the same wherever Python's and JAX' versions are.

  Args:
    probe: the probe.
    labels: the dataset's kind of labels (`Source.labels`), which says who competes.
    size: pixels of a side of the images.
    classes: of the network; None where its decisions are stored, so that none is taken.

  Raises:
    BiasjaxError: as `of_shown`.
  """
  shown = of_shown(probe, size)
  host = _Walk(probe.attack)
  host.value({name: jax.tree.leaves(condition) for name, condition in probe.conditions.items()})
  host.value(probe.attack)
  said = (
    shown,
    "stored" if classes is None else _decision(probe.decide[labels], classes),
    *host.said,
  )
  return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def of_shown(probe: Probe, size: int) -> str:
  """Hex sha256 of what becomes of an image of `size` x `size` pixels under a condition.

  Raises:
    BiasjaxError: conditions are no numbers or of several forms; `prepare` or `perturb` fails; or, of a probe
      that does not attack, what it makes of an image is no image of that size, float32.
  """
  structure, kinds = _form(probe)
  said, made = _perturbation(probe.prepare, probe.perturb, size, structure, kinds, probe.name)
  if probe.attack is None and made != [((size, size, 3), "float32")]:
    shapes = ", ".join(f"{dtype} {list(shape)}" for shape, dtype in made) or "nothing"
    raise BiasjaxError(
      f"probe {probe.name}: its perturb gives {shapes}, no image float32 [{size}, {size}, 3] "
      "(docs/adding-a-probe.md)"
    )
  return said


def _form(probe: Probe) -> tuple[Any, tuple]:
  """(structure, (shape, dtype) of each leaf), of one condition of a probe, whose others are alike.

  Raises:
    BiasjaxError: they are not, or there is none.
  """
  if not (isinstance(probe.conditions, Mapping) and probe.conditions):
    raise BiasjaxError(f"probe {probe.name}: its conditions are no dictionary, or an empty one")
  first, found = next(iter(probe.conditions)), None
  for name, condition in probe.conditions.items():
    leaves, structure = jax.tree.flatten(condition)
    try:
      arrays = [np.asarray(leaf) for leaf in leaves]
    except ValueError:  # lists of different lengths in a class of its author's, say
      arrays = [np.array(None)]
    if any(array.dtype.kind not in "biuf" for array in arrays):
      raise BiasjaxError(
        f"probe {probe.name}: condition {name!r} holds something else than numbers, which is all that "
        "perturb can be given (docs/adding-a-probe.md)"
      )
    found = found or (structure, tuple((array.shape, array.dtype.name) for array in arrays))
    if (structure, [array.shape for array in arrays]) != (found[0], [shape for shape, _ in found[1]]):
      raise BiasjaxError(
        f"probe {probe.name}: conditions {first!r} and {name!r} have not the same keys and shapes of numbers "
        "(docs/adding-a-probe.md)"
      )
  assert found is not None
  return found


@functools.lru_cache(maxsize=1024)
@numerics.settled()
def _perturbation(
  prepare: Callable, perturb: Callable, size: int, structure: Any, kinds: tuple, name: str
) -> tuple[str, list[tuple[tuple[int, ...], str]]]:
  """(digest, shapes and dtypes) of what becomes of one image under one condition; `name` is the probe's."""

  def of_image(key, image, leaves):
    prepared = named.answer(f"probe {name}: its prepare", prepare, image)
    condition = jax.tree.unflatten(structure, leaves)
    return named.answer(f"probe {name}: its perturb", perturb, numerics.keys(key), prepared, condition)

  # As JAX will hold them, Python's numbers in 32 bits: newer versions warn where it is asked for more.
  leaves = [jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype)) for shape, dtype in kinds]
  key, image = jax.ShapeDtypeStruct((2,), np.uint32), jax.ShapeDtypeStruct((size, size, 3), np.float32)
  computed, made = jax.make_jaxpr(of_image, return_shape=True)(key, image, leaves)
  made = [(of.shape, of.dtype.name) for of in jax.tree.leaves(made)]
  return _of_jaxpr(computed, perturb), made


@functools.lru_cache(maxsize=1024)
@numerics.settled()
def _decision(decide: Decision, classes: int) -> str:
  return _of_jaxpr(jax.make_jaxpr(decide)(jax.ShapeDtypeStruct((1, classes), np.float32)), decide)


@numerics.settled()
def of_network(apply: Callable, variables: Any, size: int, origin: str = "") -> str:
  """Hex sha256 that stands for a function of variables and images: what it computes, and every variable.

  Its gradient with respect to images counts too, since what attacks find rests on it: a rule of somebody's
  own (`jax.custom_vjp`) is not in the function's jaxpr.

  Args:
    apply: (variables, images float32 [b, size, size, 3]) -> logits; its jaxprs count, not its source.
    variables: a tree of arrays.
    size: pixels of a side.
    origin: what else it is to depend on.
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
  shapes = [jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf)) for _, leaf in leaves]

  def of_leaves(leaves, images):
    return apply(jax.tree.unflatten(structure, leaves), images)

  def gradient(leaves, images):
    return jax.grad(lambda x: jnp.sum(of_leaves(leaves, x)))(images)

  images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  computed = [_of_jaxpr(jax.make_jaxpr(of_leaves)(shapes, images), apply)]
  try:
    computed.append(_of_jaxpr(jax.make_jaxpr(gradient)(shapes, images), apply))
  except Exception:  # one without a gradient, a callback say, raises as JAX or its author pleases
    computed.append("no gradient")
  said = hashlib.sha256("\n".join([origin, *computed]).encode())
  for path, leaf in leaves:
    value = np.asarray(leaf)
    said.update(f"\n{jax.tree_util.keystr(path)} {value.dtype} {value.shape}\n".encode())
    said.update(np.ascontiguousarray(value).tobytes())
  return said.hexdigest()


def _of_jaxpr(computed: Any, function: Callable) -> str:
  walk = _Walk(function)
  walk.parameter(computed)
  return hashlib.sha256("\n".join(walk.said).encode()).hexdigest()


class _Walk:
  """Says, in order, everything that what it is shown depends on.

  Args:
    of: code of the project or of a probe's author, whose package is followed wherever it is installed.

  Attributes:
    said: a line for each thing so far.
  """

  def __init__(self, of: Any):
    while isinstance(of, functools.partial):
      of = of.func
    self.said: list[str] = []
    self._packages = {_package(__name__), _package(getattr(of, "__module__", None))}
    self._seen: dict[int, Any] = {}  # the things too, so that an id stays theirs

  def value(self, value: Any) -> None:
    """Data or code."""
    if _is_array(value):
      array = np.asarray(value)
      self.said.append(f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}")
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
      self.said.append(f"{type(value).__name__} {value!r}")
    elif isinstance(value, Mapping):
      self._each("mapping", [part for item in value.items() for part in item])
    elif isinstance(value, set | frozenset):
      self._each("set", sorted(value, key=repr))
    elif isinstance(value, tuple | list):
      self._each("sequence", value)
    elif id(value) in self._seen:
      self.said.append("as before")
    else:
      self._seen[id(value)] = value
      self._object(value)

  def _each(self, what: str, values: Sequence[Any]) -> None:
    self.said.append(f"{what} of {len(values)}")
    for value in values:
      self.value(value)

  def _object(self, value: Any) -> None:
    if isinstance(value, functools.partial):
      self._each("partial", (value.func, value.args, value.keywords))
    elif isinstance(value, types.MethodType):
      self._each("method", (value.__self__, value.__func__))
    elif isinstance(value, property | functools.cached_property | classmethod):
      self._each("accessor", [getattr(value, name, None) for name in ("fget", "fset", "func", "__func__")])
    elif isinstance(value, types.FunctionType):
      self._function(value)
    elif callable(value) and hasattr(value, "__wrapped__"):  # compiled, or its results are kept
      self.value(inspect.unwrap(value))
    elif isinstance(value, type):
      self._class(value)
    elif not dataclasses.is_dataclass(value) and not hasattr(value, "__dict__"):  # compiled code's
      self.said.append(f"{type(value).__module__}.{type(value).__qualname__} {_ADDRESS.sub('', repr(value))}")
    elif self._followed(type(value).__module__):
      fields = (
        [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else None
      )
      attributes = vars(value) if fields is None else {name: getattr(value, name) for name in fields}
      self._each("instance", (type(value), attributes))
    elif callable(value) and dataclasses.is_dataclass(value):  # JAX's own around a callback of somebody's
      name = f"{type(value).__module__}.{type(value).__qualname__}"
      self._each(name, [getattr(value, field.name) for field in dataclasses.fields(value)])
    else:
      self.said.append(f"{type(value).__module__}.{type(value).__qualname__}")

  def _followed(self, module: str) -> bool:
    """Whether what is in a module may be edited: it is the project's or a person's own."""
    package = _package(module)
    if package in self._packages:
      return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return package not in sys.stdlib_module_names and not _ELSEWHERE & set(re.split(r"[/\\]", file))

  def _function(self, function: types.FunctionType) -> None:
    if not self._followed(function.__module__):
      self.said.append(f"{function.__module__}.{function.__qualname__}")
      return
    self._each("function", (function.__defaults__, function.__kwdefaults__))
    for cell in function.__closure__ or ():
      try:
        self.value(cell.cell_contents)
      except ValueError:  # nothing is in it yet
        self.said.append("empty")
    self._code(function.__code__, function.__globals__)

  def _code(self, code: types.CodeType, names: Mapping[str, Any]) -> None:
    for step in dis.get_instructions(code):
      if isinstance(step.argval, types.CodeType):
        self.said.append("code")
        self._code(step.argval, names)
      elif step.opcode in dis.hasconst:
        self.said.append(step.opname)
        self.value(step.argval)
      else:
        self.said.append(f"{step.opname} {step.argval if step.opcode in dis.hasname else step.arg}")
    for name in code.co_names:
      named = names.get(name, sys.modules.get(name))
      if not isinstance(named, types.ModuleType):
        self.value(named)
      elif self._followed(named.__name__):
        self._each(name, [vars(named)[member] for member in code.co_names if member in vars(named)])

  def _class(self, cls: type) -> None:
    self.said.append(f"{cls.__module__}.{cls.__qualname__}")
    if not self._followed(cls.__module__):
      return
    self._each("bases", cls.__bases__)
    for name, member in sorted(vars(cls).items()):
      if not name.startswith("__") or isinstance(member, types.FunctionType):
        self.said.append(name)
        self.value(member)

  def parameter(self, value: Any) -> None:
    """What a jaxpr holds: jaxprs, data, descriptions of operations, functions of the host."""
    if isinstance(value, core.ClosedJaxpr):
      self._each("constants", value.consts)
      self._jaxpr(value.jaxpr)
    elif isinstance(value, core.Jaxpr):
      self._jaxpr(value)
    elif isinstance(value, tuple | list):
      self.said.append(f"sequence of {len(value)}")
      for part in value:
        self.parameter(part)
    elif _is_array(value) or callable(value):
      self.value(value)
    else:
      self.said.append(_ADDRESS.sub("", repr(value)))

  def _jaxpr(self, jaxpr: Any) -> None:
    numbers: dict[Any, int] = {}

    def number(variables: Sequence[Any]) -> None:
      for variable in variables:
        self.said.append(f"{numbers.setdefault(variable, len(numbers))} {variable.aval}")

    def read(arguments: Sequence[Any]) -> None:
      for argument in arguments:
        if isinstance(argument, core.Literal):
          self.said.append(str(argument.aval))
          self.value(np.asarray(argument.val))
        else:
          self.said.append(str(numbers[argument]))

    number([*jaxpr.constvars, *jaxpr.invars])
    for step in jaxpr.eqns:
      self.said.append(step.primitive.name)
      read(step.invars)
      for name, parameter in sorted(step.params.items()):
        if name not in ("name", "debug_info"):  # where it stands in the source
          self.said.append(name)
          self.parameter(parameter)
      number(step.outvars)
    read(jaxpr.outvars)


def _package(module: str | None) -> str:
  return (module or "").partition(".")[0]


def _is_array(value: Any) -> bool:
  if isinstance(value, np.ndarray | np.generic):
    return True
  # Some versions of JAX keep a constant of NumPy in a type of their own, which is no jax.Array.
  of_jax = isinstance(value, jax.Array) or (_package(type(value).__module__) == "jax" and _has_values(value))
  return of_jax and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _has_values(value: Any) -> bool:
  return hasattr(value, "dtype") and hasattr(value, "__array__") and not isinstance(value, type)
