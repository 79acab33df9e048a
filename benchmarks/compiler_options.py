"""XLA's options for a program on a CPU, taking turns: CPU milliseconds of stacks of layers, each under each.

python -m benchmarks.compiler_options
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from biasjax import compiling

WAYS = {
  "XLA's own": None,
  "no YNNPACK": {compiling.OPTION: compiling.NONE},
  "YNNPACK for convolutions": {compiling.OPTION: compiling.CONVOLUTIONS},
}
LAYOUT = ("NHWC", "HWIO", "NHWC")
WIDTH, INNER, GROUPS = 256, 128, 32


def drawn(*shape: int) -> jax.Array:
  """A kernel that keeps the scale of features."""
  values = np.random.default_rng(len(shape)).normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
  return jnp.asarray(values.astype(np.float32))


def convolution(images, kernel, groups=1):
  return jax.lax.conv_general_dilated(
    images, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups
  )


def bottlenecks(groups: int) -> Callable:
  """Four blocks of 1x1, 3x3 and 1x1 convolutions."""
  first, last = drawn(1, 1, WIDTH, INNER), drawn(1, 1, INNER, WIDTH)
  middle = drawn(3, 3, INNER // groups, INNER)

  def stack(x):
    for _ in range(4):
      inner = jax.nn.relu(convolution(jax.nn.relu(convolution(x, first)), middle, groups))
      x = x + convolution(inner, last)
    return x

  return stack


def perceptrons(x):
  """Two blocks of a transformer's products."""
  up, down = drawn(1024, 4096), drawn(4096, 1024)
  x = x.reshape(-1, 1024)
  for _ in range(2):
    x = x + jax.nn.gelu(x @ up) @ down
  return x


STACKS = {
  "bottlenecks": bottlenecks(1),
  f"bottlenecks of {GROUPS} groups": bottlenecks(GROUPS),
  "bottlenecks of single channels": bottlenecks(INNER),
  "perceptrons": perceptrons,
}


def measure(stack: Callable, rounds: int) -> dict[str, float]:
  """Way -> median CPU milliseconds, the ways taking turns."""
  images = jnp.asarray(np.random.default_rng(0).normal(size=(8, 28, 28, WIDTH)).astype(np.float32))
  compiled = {way: jax.jit(stack, compiler_options=options) for way, options in WAYS.items()}
  taken: dict[str, list[float]] = {way: [] for way in WAYS}
  for turn in range(rounds + 1):
    for way, run in compiled.items():
      start = time.process_time()
      run(images).block_until_ready()
      if turn:  # the first compiles
        taken[way].append(1e3 * (time.process_time() - start))
  return {way: float(np.median(values)) for way, values in taken.items()}


def main(argv: list[str]) -> None:
  del argv
  print(f"| stack | {' | '.join(WAYS)} |")
  for name, stack in STACKS.items():
    found = measure(stack, flags.FLAGS.rounds)
    print(f"| {name} | {' | '.join(f'{value:.0f}' for value in found.values())} |", flush=True)


if __name__ == "__main__":
  flags.DEFINE_integer("rounds", 9, "Turns of each.", lower_bound=1)
  app.run(main)
