#!/usr/bin/env bash
# On CPUs JAX divides by what broadcasts as a product with the reciprocal, so that x / x.max() is not 1 where x is greatest.
#
# A good engineer expects float32 division to be correctly rounded, as IEEE 754 and NumPy have it: a number by itself is 1, pixels scaled between their least and their
# greatest end at 1, 41 / 41 has the floor 1. XLA multiplies by the reciprocal of a constant or of a broadcast value, uncompiled `/` of two arrays too, and is off in the last digit:
# scaled pixels do not reach 1, sqrt(1 - x) of them is NaN (compiled as one, the product counts unrounded), and floor(41 / 41) is 0.
# What has the full shape is divided correctly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PROGRAM'
import sys

import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
rows = np.random.default_rng(0).random((1000, 49)).astype(np.float32)
least, most = rows.min(1, keepdims=True), rows.max(1, keepdims=True)


def scaled(x, of):
  least = of.min(x, axis=1, keepdims=True)
  return (x - least) / (of.max(x, axis=1, keepdims=True) - least)


compiled = np.asarray(jax.jit(lambda x: scaled(x, jnp))(rows))
print("scaled between least and greatest, the greatest: NumPy", np.unique(scaled(rows, np).max(1)), "JAX", np.unique(compiled.max(1)))
missed = int((compiled.max(1) != 1).sum())
print(f"rows whose greatest is not 1: {missed} of 1000")
roots = np.asarray(jax.jit(lambda x: jnp.sqrt(1 - scaled(x, jnp)))(rows))
nothing = int(np.isnan(roots).sum())
print("NaN of sqrt(1 - scaled):", nothing)
whole = np.arange(1, 400, dtype=np.float32)
floors = np.asarray(jax.jit(lambda x: jnp.floor(x / 41))(whole))
wrong = whole[floors != np.floor(whole / np.float32(41))]
print("floor(x / 41) is too small of", wrong)
columns = np.asarray(jnp.asarray(rows) / jnp.asarray(most))
apart = int((columns != rows / most).sum())
print(f"uncompiled rows / column: {apart} of {rows.size} quotients are not NumPy's")
full = np.asarray(jnp.asarray(rows) / jnp.asarray(np.broadcast_to(most, rows.shape).copy()))
print(f"the same by an array of full shape: {int((full != rows / most).sum())}")
as_found = missed > 0 and nothing > 0 and len(wrong) > 0 and apart > 0 and (full == rows / most).all() and (scaled(rows, np).max(1) == 1).all()
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
