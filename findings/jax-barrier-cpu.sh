#!/usr/bin/env bash
# On CPUs jax.lax.optimization_barrier does not keep XLA from computing a value once for each of its users.
#
# The barrier is documented as what the compiler does not move operations across, and it is what people reach for when a cheap value is
# fused into each of its users and computed again there. On CPUs it is taken out of the program before operations are joined, so that
# nothing changes: where such values feed each other, each level doubles the work. A function that is marked as not to be inlined, by
# jax.experimental.xla_metadata.set_xla_metadata(inlineable="false"), is computed once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PROGRAM'
import sys

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

print("jax", jax.__version__)
SIDE, LEVELS = 64, 4


def summed(x):
  """The sum of nine shifted copies of a picture, each times a number."""
  padded = jnp.pad(x, 1)
  return sum((1 + i + j) * padded[i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3))


@jax.jit
def apart(x):
  return summed(x)


def marked(x):
  with set_xla_metadata(inlineable="false"):
    return apart(x)


forms = {
  "plain": summed,
  "with a barrier": lambda x: jax.lax.optimization_barrier(summed(x)),
  "not inlined": marked,
}
needed = LEVELS * 17 * SIDE**2  # nine products and eight sums for each pixel and level
spent = {}
for name, form in forms.items():

  def program(x):
    for _ in range(LEVELS):
      x = form(x)
    return x

  compiled = jax.jit(program).lower(jnp.ones((SIDE, SIDE))).compile()
  spent[name] = compiled.cost_analysis()["flops"] / needed
  print(f"{name}: {spent[name]:.1f} times the operations that are needed")
as_found = spent["with a barrier"] > 2 and spent["not inlined"] < 1.5
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
