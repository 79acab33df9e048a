"""A batch split over the devices of this process, by shard_map or by pmap, with the same numbers.

Nothing is exchanged between devices unless the function asks for it (`jax.lax.pmean(x, "batch")`).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from biasjax import compiling
from biasjax.errors import BiasjaxError

AXIS = "batch"
KINDS = ("shard_map", "pmap")


class _Jitted:
  """A program with the options of XLA that suit it (`compiling.options`), found at the first call."""

  def __init__(self, function: Callable, platform: str):
    self._function, self._platform = function, platform
    self._plain, self._compiled = jax.jit(function), None

  def __call__(self, *args: Any) -> Any:
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(args[-1])):
      return self._plain(*args)  # part of another program, whose options hold
    if self._compiled is None:
      traced = self._plain.trace(*args)  # which the next line takes over
      options = compiling.options(traced.jaxpr.jaxpr, self._platform)
      self._compiled = jax.jit(self._function, compiler_options=options)
    return self._compiled(*args)


class _Pmapped:
  """The same by pmap, which takes options only where it is compiled beforehand, for one form of arguments."""

  def __init__(self, function: Callable, devices: Sequence[Any]):
    self._mapped = jax.pmap(function, axis_name=AXIS, devices=devices)
    self._platform = devices[0].platform
    self._compiled: dict[Any, Callable] = {}

  def __call__(self, *args: Any) -> Any:
    if not compiling.tuned(self._platform):
      return self._mapped(*args)
    leaves, structure = jax.tree.flatten(args)
    form = structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    if form not in self._compiled:
      options = compiling.options(jax.make_jaxpr(self._mapped)(*args).jaxpr, self._platform)
      self._compiled[form] = self._mapped.lower(*args).compile(compiler_options=options)
    return self._compiled[form](*args)


class Partition:
  """Devices, and how a function of a batch runs on all of them.

  Functions take shared arguments first and batched ones after them. Batched arrays have the batch as their
  first axis, a multiple of the number of devices. Between `put` and `get` arrays are in a form of their own
  (under pmap they have an axis more) and go only from one compiled function to the next.

  Args:
    kind: "shard_map", one program over a one-dimensional mesh, or "pmap".
    devices: this process' own; all of them by default.

  Raises:
    BiasjaxError: an unknown kind.
  """

  def __init__(self, kind: str = "shard_map", devices: Sequence[Any] | None = None):
    if kind not in KINDS:
      raise BiasjaxError(f"unknown partitioner {kind!r}: expected one of {', '.join(KINDS)}")
    self.kind = kind
    self.devices = tuple(jax.local_devices() if devices is None else devices)
    self._mesh = Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))
    self._split = NamedSharding(self._mesh, PartitionSpec(AXIS))
    self._whole = NamedSharding(self._mesh, PartitionSpec())

  @functools.lru_cache(maxsize=256)  # noqa: B019  (partitions live as long as the process: see `of_process`)
  def compile(self, function: Callable, *, shared: int = 0, batched_out: bool = True) -> Callable:
    """`program`, one object for equal arguments, and so compiled once."""
    return self.program(function, shared=shared, batched_out=batched_out)

  def program(self, function: Callable, *, shared: int = 0, batched_out: bool = True) -> Callable:
    """`function` over all devices, compiled when it is first called, and as long as this object lives.

    Args:
      function: (*shared, *batched) -> a tree of batched arrays; pure. Each device calls it with its own rows.
      shared: how many leading arguments are trees that all devices hold whole.
      batched_out: False for a function whose results are equal on all devices and shared.
    """

    def grouped(whole: tuple, split: tuple):
      return function(*whole, *split)

    if self.kind == "pmap":
      compiled = _Pmapped(grouped, self.devices)
    else:
      out = PartitionSpec(AXIS) if batched_out else PartitionSpec()
      inside = jax.shard_map(
        grouped,
        mesh=self._mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=out,
        check_vma=False,  # whether results of a function without collectives are equal cannot be inferred
      )
      compiled = _Jitted(inside, self.devices[0].platform)
    return lambda *args: compiled(args[:shared], args[shared:])

  def share(self, tree: Any) -> Any:
    """`tree` whole on every device, for the shared arguments."""
    if self.kind == "pmap":
      many = len(self.devices)
      return jax.tree.map(lambda x: jax.device_put(np.stack([np.asarray(x)] * many), self._split), tree)
    return jax.device_put(tree, self._whole)

  def put(self, batched: Any) -> Any:
    """Arrays [b, ...] with their rows split over the devices, in order.

    Raises:
      ValueError: b is no multiple of the number of devices.
    """
    if self.kind == "pmap":
      batched = jax.tree.map(lambda x: x.reshape(len(self.devices), -1, *x.shape[1:]), batched)
    return jax.device_put(batched, self._split)

  def get(self, batched: Any) -> Any:
    """NumPy arrays [b, ...] of what compiled functions returned; waits for it."""
    found = jax.device_get(batched)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found) if self.kind == "pmap" else found

  def first(self, shared: Any) -> Any:
    """NumPy arrays of a shared tree (`share`, or `compile(batched_out=False)`)."""
    found = jax.device_get(shared)
    return jax.tree.map(lambda x: x[0], found) if self.kind == "pmap" else found


@functools.cache
def of_process(kind: str = "shard_map") -> Partition:
  """The partition over all devices of this process, one object a kind, so that programs are compiled once."""
  return Partition(kind)
