#!/usr/bin/env bash
# On CPUs a compiled JAX program has the system map and clear the memory for its intermediate values again at every call.
#
# One would expect a program that runs again and again, of which all sizes are known when it is compiled, to keep its scratch memory. XLA
# asks malloc for one block for all of it at each call, and frees it afterwards. From 32 MB on (and from other threads than the first, from
# 64 MB on, whatever mallopt was told) glibc gives such a block back to the system, so that each call has every page of it mapped and
# cleared anew. Where malloc keeps memory (MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=large), a call maps next to nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import os
import resource
import statistics
import sys

import jax
import jax.numpy as jnp


def network(x, kernel):
  for _ in range(3):
    x = jnp.tanh(
      jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
  return x.sum()


x, kernel = jnp.ones((8, 112, 112, 64)), jnp.full((3, 3, 64, 64), 0.01)
program = jax.jit(jax.grad(network)).lower(x, kernel).compile()
scratch = program.memory_analysis().temp_size_in_bytes
pages, system = [], []
for _ in range(7):
  before = resource.getrusage(resource.RUSAGE_SELF)
  program(x, kernel).block_until_ready()
  after = resource.getrusage(resource.RUSAGE_SELF)
  pages.append(after.ru_minflt - before.ru_minflt)
  system.append(after.ru_stime - before.ru_stime)
often = statistics.median(pages[2:])
needed = scratch / resource.getpagesize()
print(f"jax {jax.__version__}, {os.confstr('CS_GNU_LIBC_VERSION')}, {sys.argv[1]}: {scratch >> 20} MB of scratch memory, {often:.0f} pages mapped at a call of", end=" ")
print(f"{needed:.0f} in it, {1e3 * statistics.median(system[2:]):.0f} ms in the system")
sys.exit(not (often > needed / 4 if sys.argv[1] == "as it comes" else often < needed / 20))
PROGRAM
export JAX_PLATFORMS=cpu
if "$folder/venv/bin/python" program.py "as it comes" &&
  MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 "$folder/venv/bin/python" program.py "malloc keeps memory"; then
  echo "as found"
else
  echo "the behaviour changed"
  exit 1
fi
