"""Time of traced networks against PyTorch eager, and of their compilation against the hand-written ResNet.

python -m benchmarks.traced [--networks=resnet50,vit_small_patch16_224] [--batch=8] [--rounds=7] [--apart]

Forward passes, and gradients of the summed logits with respect to the images, take turns in one run:
machines are shared, and the ratio of a turn is what to quote, its median over the turns and its least and
greatest. Beside other work PyTorch's threads wait for each other busily, which counts against it: then
`OMP_NUM_THREADS=1 taskset -c 0` gives both one core, and CPU seconds compare. With --apart PyTorch has a
process of its own, as it comes, and this one keeps its memory, as run.py does. Weights are drawn; `lite0` is
examples/lite.py's network, torchvision's are called torchvision:NAME. PyTorch runs in inference mode for the
forward pass and computes no gradient of weights. Compiling is timed beside that of Flax's ResNet-50, which
has the same shapes. Needs requirements-dev.txt.
"""

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

import numpy as np
from absl import app, flags

from biasjax import processes
from tests import cpu_torchvision

NETWORKS = flags.DEFINE_list(
  "networks", ["resnet50", "vit_small_patch16_224", "convnext_tiny", "lite0"], "Of timm, or lite0."
)
BATCH = flags.DEFINE_integer("batch", 8, "Images.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns that each takes.", lower_bound=1)
SIZE = flags.DEFINE_integer("size", 224, "Pixels of a side of the images.", lower_bound=1)
APART = flags.DEFINE_bool("apart", False, "PyTorch in a process of its own, and memory kept in this one.")


def spent(work: Callable[[], object]) -> tuple[float, float]:
  """Seconds on the wall and of CPUs."""
  wall, cpu = time.perf_counter(), time.process_time()
  work()
  return time.perf_counter() - wall, time.process_time() - cpu


def module(name: str):
  import timm
  import torch

  torch.manual_seed(0)
  if name == "lite0":
    from examples import lite

    return lite.lite0().eval().requires_grad_(False)
  library, _, name = name.rpartition(":")
  if library:
    return cpu_torchvision.load().models.get_model(name, weights=None).eval().requires_grad_(False)
  return timm.create_model(name).eval().requires_grad_(False)


def theirs(name: str, images: np.ndarray) -> dict[str, Callable[[], object]]:
  """What PyTorch does with the images."""
  import torch

  network = module(name)

  def forward() -> None:
    with torch.inference_mode():
      network(((torch.from_numpy(images) - 0.5) / 0.25).permute(0, 3, 1, 2))

  def gradient() -> None:
    leaf = torch.tensor(images, requires_grad=True)
    network(((leaf - 0.5) / 0.25).permute(0, 3, 1, 2)).sum().backward()

  return {"forward": forward, "gradient": gradient}


def serve(pipe: Connection, name: str, images: np.ndarray) -> None:
  """`theirs` in a process of its own: says what each spent, as often as it is asked."""
  cpu_torchvision.load()
  works = theirs(name, images)
  while kind := pipe.recv():
    pipe.send(spent(works[kind]))


def turns(ours: Callable[[], object], ask: Callable[[], tuple[float, float]]) -> dict[str, object]:
  """Ratios of times, ours over theirs, and the least milliseconds of CPUs an image of both."""
  ours(), ask()
  found: dict[str, object] = {}
  times = [[spent(ours), ask()] for _ in range(ROUNDS.value)]
  for place, clock in enumerate(("wall", "CPU")):
    ratios = [ours[place] / theirs[place] for ours, theirs in times]
    found |= {
      clock: round(statistics.median(ratios), 2),
      f"{clock}, least": round(min(ratios), 2),
      f"{clock}, greatest": round(max(ratios), 2),
    }
  least = [min(turn[whose][1] for turn in times) for whose in (0, 1)]
  return found | {"CPU ms an image, PyTorch's": [round(1e3 * one / BATCH.value, 1) for one in least]}


def measured(name: str) -> dict[str, object]:
  images = np.random.default_rng(0).random((BATCH.value, SIZE.value, SIZE.value, 3), np.float32)
  if not APART.value:
    works = theirs(name, images)
    return beside(name, images, {kind: lambda work=work: spent(work) for kind, work in works.items()})
  context = multiprocessing.get_context("spawn")
  pipe, other = context.Pipe()
  process = context.Process(target=serve, args=(other, name, images), daemon=True)
  process.start()

  def ask(kind: str) -> tuple[float, float]:
    pipe.send(kind)
    return pipe.recv()

  found = beside(name, images, {kind: lambda kind=kind: ask(kind) for kind in ("forward", "gradient")})
  pipe.send(None)
  process.join()
  return found


def beside(
  name: str, images: np.ndarray, ask: Mapping[str, Callable[[], tuple[float, float]]]
) -> dict[str, object]:
  """What is said of one network.

  Args:
    name: its name.
    images: float32 [b, size, size, 3].
    ask: has PyTorch do a thing, and says what it spent.
  """
  import jax
  import jax.numpy as jnp

  from biasjax.convert import tracing
  from biasjax.models import load
  from biasjax.traced import interpreter

  traced = tracing.trace(module(name), SIZE.value)
  half, quarter = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
  variables = tracing.variables(traced.weights, half, quarter)
  variables = jax.device_put(load.in_order(traced.program, variables))
  easing = load.easing(traced.program)
  assert easing is not None
  eased = jax.jit(easing)(variables)
  x = jnp.asarray(images)
  apply = interpreter.apply_function(traced.program)
  forward, compiling = compiled(lambda v, x: apply(v, x), variables, x)
  gradient, compiling_gradient = compiled(jax.grad(lambda v, x: apply(v, x).sum(), 1), eased, x)
  return {
    "network": name,
    "forward": turns(lambda: forward(variables, x).block_until_ready(), ask["forward"]),
    "gradient": turns(lambda: gradient(eased, x).block_until_ready(), ask["gradient"]),
    "compiling, CPU s": [round(compiling, 1), round(compiling_gradient, 1)],
  }


def compiled(function: Callable, *arguments: object):
  import jax

  from biasjax import compiling

  start = time.process_time()
  traced = jax.jit(function).trace(*arguments)
  options = compiling.options(traced.jaxpr.jaxpr, jax.default_backend())  # as a run compiles it
  program = traced.lower().compile(compiler_options=options)
  return program, time.process_time() - start


def by_hand() -> dict[str, object]:
  """The compilation of the ResNet-50 that is written in Flax."""
  import jax
  import jax.numpy as jnp

  from biasjax.models import architecture, load

  apply = load.apply_function(architecture.RESNET50)
  shapes = load.variable_shapes(architecture.RESNET50)
  x = jax.ShapeDtypeStruct((BATCH.value, SIZE.value, SIZE.value, 3), jnp.float32)
  forward = compiled(lambda v, x: apply(v, x), shapes, x)[1]
  gradient = compiled(jax.grad(lambda v, x: apply(v, x).sum(), 1), shapes, x)[1]
  return {"network": "resnet50 by hand", "compiling, CPU s": [round(forward, 1), round(gradient, 1)]}


def main(argv: list[str]) -> None:
  del argv
  if APART.value:
    processes.hold_memory()
  cpu_torchvision.load()
  print(json.dumps(by_hand()), flush=True)
  for name in NETWORKS.value:
    print(json.dumps(measured(name)), flush=True)


if __name__ == "__main__":
  app.run(main)
