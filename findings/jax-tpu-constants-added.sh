#!/usr/bin/env bash
# Compiled for a TPU, x * a + x * b of two constants is one product x * (a + b), so that a constant in two parts is no more exact than in one.
#
# A good engineer splits a constant that float32 cannot hold, 1/255 say, into a high part whose product is exact and a low one, and expects the sum of both products to be
# correctly rounded: floating-point addition is not distributive, and on CPUs XLA leaves it alone. For TPUs (v5e) XLA adds the constants when it compiles and multiplies once:
# 126 of the 256 levels of a pixel over 255 are off in their last bit. With jax.lax.optimization_barrier around one product there are two.
# No TPU is needed to see it: JAX compiles for one that is not there. XLA for a GPU (H100, seen likewise, not run here) leaves the two products.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "jax[tpu]==0.10.2" jaxlib==0.10.2 libtpu==0.0.42.1 numpy==2.4.6
cd "$folder"
export JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 TPU_WORKER_HOSTNAMES=localhost TPU_ACCELERATOR_TYPE=v5litepod-4
"$folder/venv/bin/python" - <<'PROGRAM' 2>"$folder/log" || { tail -5 "$folder/log"; exit 1; }
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies

print("jax", jax.__version__)
HIGH = np.float32(round(2**23 / 255) / 2**23)  # 16 bits: times 8 bits it is exact
LOW = np.float32(1 / 255 - float(HIGH))
levels = np.arange(256, dtype=np.uint8)


def in_parts(pixels):
  x = pixels.astype(jnp.float32)
  return x * HIGH + x * LOW


def apart(pixels):
  x = pixels.astype(jnp.float32)
  return jax.lax.optimization_barrier(x * HIGH) + x * LOW


rounded = (levels / 255).astype(np.float32)
on_cpu = int((np.asarray(jax.jit(in_parts)(levels)) != rounded).sum())
once = int((levels.astype(np.float32) * np.float32(1 / 255) != rounded).sum())
print(f"levels that are off: {on_cpu} on a CPU, {once} of one product with 1/255 (NumPy)")
device = topologies.get_topology_desc("v5e:2x2", "tpu").devices[0]
pixels = jax.ShapeDtypeStruct((8, 224, 224, 3), np.uint8, sharding=jax.sharding.SingleDeviceSharding(device))
products = {}
for function in (in_parts, apart):
  text = jax.jit(function).trace(pixels).lower().compile().as_text()
  products[function.__name__] = len(re.findall(r" multiply\(", text))
print("products in the program for a TPU:", products)
as_found = on_cpu == 0 and once == 126 and products == {"in_parts": 1, "apart": 2}
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
