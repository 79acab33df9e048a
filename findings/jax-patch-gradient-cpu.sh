#!/usr/bin/env bash
# On CPUs the gradient of a patch embedding, a convolution whose stride is its kernel's size, costs many times the embedding itself.
#
# Patches lie side by side, so the embedding is one matrix product with a row for each patch, and its gradient with respect to the image
# the product with the transposed matrix, of as many operations: a good engineer expects about the same time. JAX states the gradient as
# a convolution of the result with zeros put between its places (lhs_dilation of 16 in each direction), and on CPUs XLA works through the
# zeros. The same embedding written as a reshape and a product has a gradient that costs what the product does.
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
BATCH, SIZE, PATCH, WIDTH = 4, 224, 16, 384


def convolved(image, kernel):
  return jax.lax.conv_general_dilated(image, kernel, (PATCH, PATCH), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"))


def multiplied(image, kernel):
  rows = SIZE // PATCH
  return jnp.einsum("bcyixj,ocij->boyx", image.reshape(BATCH, 3, rows, PATCH, rows, PATCH), kernel)


def gradient(form):
  return jax.jit(lambda image, kernel: jax.grad(lambda image: jnp.sum(form(image, kernel) ** 2))(image))


keys = jax.random.split(jax.random.key(0))
image, kernel = jax.random.normal(keys[0], (BATCH, 3, SIZE, SIZE)), jax.random.normal(keys[1], (WIDTH, 3, PATCH, PATCH))
programs = {
  "convolution, forward": jax.jit(convolved),
  "convolution, gradient": gradient(convolved),
  "product, forward": jax.jit(multiplied),
  "product, gradient": gradient(multiplied),
}
found = {name: program(image, kernel) for name, program in programs.items()}
spent = {name: [] for name in programs}
for _ in range(7):
  for name, program in programs.items():
    start = time.process_time()
    program(image, kernel).block_until_ready()
    spent[name].append(time.process_time() - start)
median = {name: statistics.median(times) for name, times in spent.items()}
for name, seconds in median.items():
  print(f"{name}: {1e3 * seconds:.1f} ms of processor time")
one, other = (found[f"{form}, gradient"] for form in ("convolution", "product"))
apart = float(jnp.abs(one - other).max() / jnp.abs(one).max())
print(f"gradients differ by {apart:.0e} of the largest")
as_found = apart < 1e-4 and median["convolution, gradient"] > 4 * median["product, gradient"]
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
