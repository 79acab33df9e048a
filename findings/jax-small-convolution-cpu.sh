#!/usr/bin/env bash
# On CPUs a 3x3 convolution of 2x2 features takes many times that of 4x4 features, which has four times as many places.
#
# The last stage of a ResNet has such features where images have 64 pixels. Where a kernel has more places than the features, XLA
# exchanges the two (features become the kernel, with a window that is turned round) because that is less work; but its fast convolution
# on CPUs takes no window that is turned round, and what is left is a plain loop. The same holds for a gradient, whose features are those
# of the result. The patches that the kernel meets, put beside one another, times the kernel are one product of the same numbers.
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

print("jax", jax.__version__)
BATCH, CHANNELS = 16, 256
LAYOUT = ("NHWC", "HWIO", "NHWC")


@jax.jit
def convolved(x, kernel):
  return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


@jax.jit
def multiplied(x, kernel):
  n, padded = x.shape[1], jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  patches = [padded[:, i : i + n, j : j + n] for i in range(3) for j in range(3)]
  return jnp.concatenate(patches, -1) @ kernel.reshape(-1, CHANNELS)


def seconds(program, *given):
  program(*given).block_until_ready()
  spent = []
  for _ in range(7):
    start = time.process_time()
    program(*given).block_until_ready()
    spent.append(time.process_time() - start)
  return statistics.median(spent)


keys = jax.random.split(jax.random.key(0))
kernel = jax.random.normal(keys[0], (3, 3, CHANNELS, CHANNELS))
small, large = (jax.random.normal(keys[1], (BATCH, n, n, CHANNELS)) for n in (2, 4))
of_small, of_large, of_product = seconds(convolved, small, kernel), seconds(convolved, large, kernel), seconds(multiplied, small, kernel)
print(f"convolution of 4x4 features: {1e3 * of_large:.1f} ms of processor time")
print(f"convolution of 2x2 features: {1e3 * of_small:.1f} ms")
print(f"product of the patches of 2x2 features: {1e3 * of_product:.1f} ms")
expected = convolved(small, kernel)
apart = float(jnp.abs(multiplied(small, kernel) - expected).max() / jnp.abs(expected).max())
print(f"results differ by {apart:.0e} of the largest")
turned = "rhs_reversal" in convolved.lower(small, kernel).compile().as_text()
print(f"the compiled convolution of 2x2 features has a window that is turned round: {turned}")
as_found = turned and apart < 1e-4 and of_small > 4 * of_large and of_small > 10 * of_product
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
