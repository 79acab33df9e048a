#!/usr/bin/env bash
# On CPUs jax.random costs several times what its generator does: the rounds are a loop, each turn of which passes through memory.
#
# Threefry is 20 rounds of adding, rotating and exclusive or of two words, and a good engineer would expect arrays of random bits to be
# one vectorised loop over the words. On CPUs (not on GPUs and TPUs) the generator is lowered to a loop of five turns over whole arrays
# of the two words, so that arrays are read and written again and again. The same rounds written out in plain jax.numpy are fused into
# loops over the words without any array in between. They give the same bits, in a third of the time or less.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PROGRAM'
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
COUNT = 2_000_000


def written_out(key):
  """Both words of each block (0, i), combined, as jax.random.bits has them."""
  first, second = jax.random.key_data(key)
  schedule = first, second, first ^ second ^ np.uint32(0x1BD11BDA)
  counter = jnp.arange(COUNT, dtype=jnp.uint32)
  x, y = jnp.broadcast_to(schedule[0], counter.shape), counter + schedule[1]
  for group in range(5):
    for by in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
      x = x + y
      y = (y << np.uint32(by) | y >> np.uint32(32 - by)) ^ x
    x = x + schedule[(group + 1) % 3]
    y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
  return x ^ y


key = jax.random.key(0)
forms = {"jax.random.bits": lambda key: jax.random.bits(key, (COUNT,)), "written out": written_out}
programs = {name: jax.jit(form).lower(key).compile() for name, form in forms.items()}
words = {name: np.asarray(program(key)) for name, program in programs.items()}
loops = {name: program.as_text().count(" while(") for name, program in programs.items()}
spent = {name: [] for name in programs}
for _ in range(9):
  for name, program in programs.items():
    start = time.process_time()
    program(key).block_until_ready()
    spent[name].append(time.process_time() - start)
for name in programs:
  cost = 1e9 * statistics.median(spent[name]) / COUNT
  print(f"{name}: {loops[name]} loops over arrays in the compiled program, {cost:.1f} ns of processor time a word")
same = bool((words["jax.random.bits"] == words["written out"]).all())
print("the same words" if same else "other words")
as_found = same and loops["jax.random.bits"] > 0 and loops["written out"] == 0
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
