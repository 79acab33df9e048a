"""What a probe's conditions look like, compiled as the pass compiles them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def _compiled(prepare, perturb):
  def example(key, pixels, maximum, condition):
    return perturb(key, prepare(pixels.astype(jnp.float32) / maximum), condition)

  return jax.jit(jax.vmap(example, in_axes=(0, 0, None, None)))


def perturbed(probe, pixels: np.ndarray, condition: str, *, seed: int = 0) -> np.ndarray:
  """uint8 [b, h, w, 3] under a condition of a probe, float32 [b, h, w, 3]."""
  keys = jax.random.split(jax.random.key(seed), len(pixels))
  with jax.default_matmul_precision("float32"):
    run = _compiled(probe.prepare, probe.perturb)
    return np.asarray(run(keys, jnp.asarray(pixels), jnp.float32(255), probe.conditions[condition]))
