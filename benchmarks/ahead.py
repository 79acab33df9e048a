"""What a pass runs on a TPU or a GPU, compiled for one that is not here: how long it takes, how much memory.

pip install 'jax[tpu]'           # of the version of JAX that is there; for the GPU 'jax[cuda12]'
python -m benchmarks.ahead [--target=v5e:2x2] [--network=resnet50|small|FOLDER] [--batch=64] [--size=224] \
  [--parts=network,decisions,attacks,spectral,critical_band,...] [--output=FILE.json]

`--target` is a topology of TPUs as JAX calls it, or `h100`, a GPU by its published figures. Seconds are of
this machine's compiler; memory is what XLA plans for each device beside arguments and results. Nothing is
run, so that no number is checked; and XLA chooses between kernels of a GPU by trying them, which it cannot
here.
"""

import argparse
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.device import NETWORKS, PRECISIONS
from biasjax import numerics, probes
from biasjax.engine import programs
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.ops.attacks.loop import Task
from biasjax.partition import AXIS
from biasjax.probes import adversary, autoattack
from biasjax.probes.base import DECISIONS
from biasjax.probes.decisions import every_class

PARTS = ("network", "decisions", "attacks")  # and every probe's perturbations by its name
# NVIDIA's figures of an H100 SXM, in the fields that XLA asks for.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84978434048 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } device_description_str: "NVIDIA H100"
"""
# (name, function, shared arguments, batched ones), as `Partition.program` takes them; arguments are shapes.
Step = tuple[str, Callable, tuple, tuple]


def devices(target: str) -> list[Any]:
  """Of the target; they can be compiled for and nothing else.

  Raises:
    BiasjaxError: it is unknown, or what compiles for it is not installed.
  """
  try:
    if target == "h100":
      # XLA's kernels of products are chosen by trying them; without a GPU some have no size that is taken.
      os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_enable_triton_gemm=false"
      return topologies.get_topology_desc("h100", "cuda", target_config=H100, topology="1x1x1").devices
    # Of a machine with TPUs it would be asked what they are.
    os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "", "TPU_WORKER_HOSTNAMES": "localhost"}
    return topologies.get_topology_desc(target, "tpu").devices
  except Exception as error:  # of JAX's plugins, of many kinds
    needed = "jax[cuda12]" if target == "h100" else "jax[tpu]"
    reason = " ".join(str(error).split())[:200]
    raise BiasjaxError(f"--target={target}: cannot be compiled for ({reason}); needs {needed}") from error


def shape(*of: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
  """An array that is not there."""
  return jax.ShapeDtypeStruct(of, dtype)


def steps(flags: argparse.Namespace, rows: int) -> Iterator[Step]:
  """The programs of a pass over batches of so many rows."""
  images, ids = shape(rows, flags.size, flags.size, 3), shape(rows, 2, dtype=np.uint32)
  pixels, key = shape(*images.shape, dtype=np.uint8), shape(2, dtype=np.uint32)
  labels, whole = shape(rows, 1, dtype=np.int32), shape(dtype=np.int32)
  if flags.network in NETWORKS:
    architecture = NETWORKS[flags.network]
    variables = load.variable_shapes(architecture)
  else:
    model = load.load(flags.network)
    architecture, variables = model.architecture, jax.eval_shape(lambda: model.variables)
  classes = load.class_count(architecture)
  if "network" in flags.parts:
    for precision in PRECISIONS:
      step = programs.logits_step(load.apply_function(architecture, precision), precision)
      yield f"network, {precision}", step, (variables,), (images,)
  for kind, decide in DECISIONS.items() if "decisions" in flags.parts and classes == 1000 else ():
    if kind != "synthetic":
      scores = jax.eval_shape(decide, shape(rows, classes))
      yield f"decision, {kind}", decide, (), (shape(rows, classes),)
      yield f"observation, {kind}", programs.observation, (), (scores, labels)
  if "attacks" in flags.parts:
    logits = programs.logits_step(load.apply_function(architecture), "float32")
    task = Task(ids, images, labels, shape(rows, dtype=np.int32), images)
    shared = shape(), shape(dtype=np.uint32)

    def scores_of(variables: Any, images: Any) -> Any:
      return every_class(logits(variables, images))

    for norm in ("linf", "l2"):
      for name, stage in autoattack.stages(norm, 100, 5000, 1).items():
        start = adversary._start(stage.attack)
        state = jax.eval_shape(start, shared, task)
        yield f"{norm} {name}, start", start, (shared,), (task,)
        loop = adversary._steps(scores_of, stage.attack)
        yield f"{norm} {name}, steps", loop, (variables, shared, (whole, whole)), (task, state)
  for name in flags.parts:
    if name in PARTS:
      continue
    probe = probes.get(name, flags.size)
    prepare = programs.prepare_step(probe.prepare)
    yield f"{name}, preparation", prepare, (), (pixels,)
    if probe.attack is None:
      first = next(iter(probe.conditions.values()))
      condition = jax.tree.map(lambda x: shape(*np.shape(x), dtype=np.asarray(x).dtype), first)
      prepared = jax.eval_shape(prepare, pixels)
      yield f"{name}, perturbation", programs.perturb_step(probe.perturb), (key, condition), (ids, prepared)


def compiled(mesh: Mesh, function: Callable, shared: tuple, batched: tuple) -> Any:
  """`function` over all devices of the mesh, each with its own rows, as `Partition.program` has it."""

  def placed(tree: Any, spec: PartitionSpec) -> Any:
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

  split = jax.shard_map(
    lambda whole, rows: function(*whole, *rows),
    mesh=mesh,
    in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
    out_specs=PartitionSpec(AXIS),
    check_vma=False,
  )
  arguments = placed(shared, PartitionSpec()), placed(batched, PartitionSpec(AXIS))
  return jax.jit(split).trace(*arguments).lower().compile()


def measure(flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """A row for each program, as soon as it is compiled."""
  there = devices(flags.target)
  platform = "gpu" if flags.target == "h100" else "tpu"
  mesh = Mesh(np.array(there), (AXIS,))
  # What is computed in a way of its own on CPUs asks for this.
  with numerics.settled(), mock.patch.object(jax, "default_backend", return_value=platform):
    for name, function, shared, batched in steps(flags, flags.batch * len(there)):
      start, row = time.perf_counter(), {"program": name}
      try:
        memory = compiled(mesh, function, shared, batched).memory_analysis()
        row["memory, MiB"] = round(memory.temp_size_in_bytes / 2**20, 1)
      except jax.errors.JaxRuntimeError as error:
        row["error"] = " ".join(str(error).split())[:500]
      yield row | {"seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--target", default="v5e:2x2", help="a topology of TPUs, or h100")
  parser.add_argument("--network", default="resnet50", help=f"{', '.join(NETWORKS)}, or a converted folder")
  parser.add_argument("--size", type=int, default=224, help="pixels of a side")
  parser.add_argument("--batch", type=int, default=64, help="images at a time on each device")
  parser.add_argument(
    "--parts",
    type=lambda text: text.split(","),
    default=[*PARTS, *probes.names()],
    help=f"{', '.join(PARTS)} and probes; all by default",
  )
  parser.add_argument("--output", type=pathlib.Path, help="where to write the rows as JSON")
  flags = parser.parse_args()
  logging.disable()  # of a plugin that is loaded for its compiler
  jax.config.update("jax_platforms", "cpu")  # no device is asked for
  rows = []
  print("| program | seconds | memory, MiB |\n| --- | --- | --- |")
  try:
    for row in measure(flags):
      rows.append(row)
      print(
        f"| {row['program']} | {row['seconds']} | {row.get('memory, MiB', row.get('error'))} |", flush=True
      )
  except BiasjaxError as error:
    parser.exit(1, f"{error}\n")
  if flags.output:
    flags.output.write_text(json.dumps({"target": flags.target, "rows": rows}, indent=1) + "\n")
  if any("error" in row for row in rows):
    parser.exit(1, "what did not compile says why above\n")


if __name__ == "__main__":
  main()
