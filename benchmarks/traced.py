"""Time of traced networks against PyTorch eager, and of their compilation against the hand-written ResNet.

python -m benchmarks.traced [--networks=resnet50,vit_small_patch16_224] [--batch=8] [--rounds=7]

Forward passes, and gradients of the summed logits with respect to the images, take turns in one process:
machines are shared, and the ratio of a turn is what to quote, its median over the turns and its least and
greatest. Beside other work PyTorch's threads wait for each other busily, which counts against it: then
`OMP_NUM_THREADS=1 taskset -c 0` gives both one core, and CPU seconds compare. Weights are drawn; `lite0` is
examples/lite.py's network. PyTorch runs in inference mode for the forward pass and computes no gradient of
weights. Compiling is timed beside that of Flax's ResNet-50, which has the same shapes.
Needs requirements-dev.txt.
"""

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from tests import cpu_torchvision

NETWORKS = flags.DEFINE_list(
  "networks", ["resnet50", "vit_small_patch16_224", "convnext_tiny", "lite0"], "Of timm, or lite0."
)
BATCH = flags.DEFINE_integer("batch", 8, "Images.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns that each takes.", lower_bound=1)
SIZE = 224


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
  return timm.create_model(name).eval().requires_grad_(False)


def turns(ours: Callable[[], object], theirs: Callable[[], object]) -> dict[str, float]:
  """Ratios of times, ours over theirs."""
  ours(), theirs()
  found = {}
  times = [[spent(ours), spent(theirs)] for _ in range(ROUNDS.value)]
  for place, clock in enumerate(("wall", "CPU")):
    ratios = [ours[place] / theirs[place] for ours, theirs in times]
    found |= {
      clock: statistics.median(ratios),
      f"{clock}, least": min(ratios),
      f"{clock}, greatest": max(ratios),
    }
  return {key: round(ratio, 2) for key, ratio in found.items()}


def measured(name: str) -> dict[str, object]:
  import jax
  import jax.numpy as jnp
  import torch

  from biasjax.convert import tracing
  from biasjax.models import load
  from biasjax.traced import interpreter

  network = module(name)
  traced = tracing.trace(network, SIZE)
  half, quarter = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
  variables = tracing.variables(traced.weights, half, quarter)
  variables = jax.device_put(load.in_order(traced.program, variables))
  easing = load.easing(traced.program)
  assert easing is not None
  eased = jax.jit(easing)(variables)
  images = np.random.default_rng(0).random((BATCH.value, SIZE, SIZE, 3), np.float32)
  x = jnp.asarray(images)
  apply = interpreter.apply_function(traced.program)
  forward, compiling = compiled(lambda v, x: apply(v, x), variables, x)
  gradient, compiling_gradient = compiled(jax.grad(lambda v, x: apply(v, x).sum(), 1), eased, x)

  def their_forward() -> None:
    with torch.inference_mode():
      network(((torch.from_numpy(images) - 0.5) / 0.25).permute(0, 3, 1, 2))

  def their_gradient() -> None:
    leaf = torch.tensor(images, requires_grad=True)
    network(((leaf - 0.5) / 0.25).permute(0, 3, 1, 2)).sum().backward()

  return {
    "network": name,
    "forward": turns(lambda: forward(variables, x).block_until_ready(), their_forward),
    "gradient": turns(lambda: gradient(eased, x).block_until_ready(), their_gradient),
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
  x = jax.ShapeDtypeStruct((BATCH.value, SIZE, SIZE, 3), jnp.float32)
  forward = compiled(lambda v, x: apply(v, x), shapes, x)[1]
  gradient = compiled(jax.grad(lambda v, x: apply(v, x).sum(), 1), shapes, x)[1]
  return {"network": "resnet50 by hand", "compiling, CPU s": [round(forward, 1), round(gradient, 1)]}


def main(argv: list[str]) -> None:
  del argv
  cpu_torchvision.load()
  print(json.dumps(by_hand()), flush=True)
  for name in NETWORKS.value:
    print(json.dumps(measured(name)), flush=True)


if __name__ == "__main__":
  app.run(main)
