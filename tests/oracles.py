"""Perturbations in NumPy, from their published definitions, and what a probe makes of the same images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from biasjax.ops.pixels import unit_interval


def published_band_pass(image: np.ndarray, r: int, *, low: bool) -> np.ndarray:
  """Shift, keep or zero [c - r, c + r) on both axes, shift back, real part, clip: channel by channel."""
  filtered = np.empty(image.shape)
  for channel in range(image.shape[2]):
    centred = np.fft.fftshift(np.fft.fft2(image[:, :, channel].astype(np.float64)))
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    block = (slice(rows - r, rows + r), slice(columns - r, columns + r))
    kept = np.zeros_like(centred) if low else centred.copy()
    kept[block] = centred[block] if low else 0
    filtered[:, :, channel] = np.fft.ifft2(np.fft.ifftshift(kept)).real
  return np.clip(filtered, 0, 1)


def published_repair(image, added, margin):
  """Pixel by pixel, as published; NaN where the published loop draws the noise again."""
  out = np.empty(image.shape)
  for at in np.ndindex(image.shape):
    total = image[at] + added[at]
    if 0 <= total <= 1:
      out[at] = total
    elif total < 0:
      moved = margin - added[at]
      out[at] = np.nan if moved > 1 else moved + added[at]
    else:
      moved = 1 - margin - added[at]
      out[at] = np.nan if moved < 0 else moved + added[at]
  return out


@functools.cache
def _compiled(prepare, perturb):
  def example(key, pixels, condition):
    return perturb(key, prepare(unit_interval(pixels)), condition)

  return jax.jit(jax.vmap(example, in_axes=(0, 0, None)))


def perturbed(probe, pixels: np.ndarray, condition: str, *, seed: int = 0) -> np.ndarray:
  """uint8 [b, h, w, 3] under a condition of a probe, float32 [b, h, w, 3]."""
  keys = jax.random.split(jax.random.key(seed), len(pixels))
  with jax.default_matmul_precision("float32"):
    run = _compiled(probe.prepare, probe.perturb)
    return np.asarray(run(keys, jnp.asarray(pixels), probe.conditions[condition]))
