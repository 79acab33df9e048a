"""What an attacker may do: images in [0, 1] within eps of the original, in the L-infinity or the L2 norm."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from biasjax.types import Images

Norm = Literal["linf", "l2"]
Keys = Key[Array, "b"]
Eps = Float[Array, ""]
PIXELS = (1, 2, 3)  # the axes of one image within a batch


def norms(norm: Norm, deltas: Images) -> Float[Array, "b 1 1 1"]:
  """The norm of each example's perturbation."""
  if norm == "linf":
    return jnp.max(jnp.abs(deltas), axis=PIXELS, keepdims=True)
  # Column sums first: a float32 sum of 150,528 squares in one go loses two digits.
  columns = jnp.sum(jnp.square(deltas), axis=1, keepdims=True)
  return jnp.sqrt(jnp.sum(columns, axis=(2, 3), keepdims=True))


def project(norm: Norm, originals: Images, images: Images, eps: Eps) -> Images:
  """The nearest images within `eps`, then clipped to [0, 1], which moves them closer to the originals."""
  if norm == "linf":
    return jnp.clip(images, originals - eps, originals + eps).clip(0.0, 1.0)
  deltas = images - originals
  # A perturbation that is within eps stays exactly as it is.
  factor = jnp.minimum(eps / jnp.maximum(norms("l2", deltas), jnp.finfo(deltas.dtype).tiny), 1.0)
  return (originals + deltas * factor).clip(0.0, 1.0)


def useless(gradients: Images) -> Bool[Array, "b"]:
  """Where a gradient says nothing about where to go: it is 0 everywhere, or somewhere not finite.

  So it is of scores that saturate: a softmax of logits that are far apart is constant in floating point.
  """
  return ~(jnp.any(gradients != 0, axis=PIXELS) & jnp.all(jnp.isfinite(gradients), axis=PIXELS))


def steepest(norm: Norm, gradients: Images) -> Images:
  """The direction of length 1 in `norm` that raises a loss the most; 0 where that is 0 or not finite."""
  gradients = jnp.where(jnp.isfinite(gradients), gradients, 0.0)
  if norm == "linf":
    return jnp.sign(gradients)
  # Scaled first: the squares of a confident network's gradients underflow.
  largest = norms("linf", gradients)
  scaled = gradients / jnp.where(largest > 0, largest, 1.0)
  return scaled / jnp.where(largest > 0, norms("l2", scaled), 1.0)


def within(norm: Norm, keys: Keys, originals: Images, eps: Eps) -> Images:
  """Uniform in the ball of radius `eps`, clipped to [0, 1] (Madry et al. 2018)."""

  def draw(key, image):
    if norm == "linf":
      return jax.random.uniform(key, image.shape, image.dtype, -1.0, 1.0)
    return jax.random.ball(key, image.size, dtype=image.dtype).reshape(image.shape)

  return (originals + eps * jax.vmap(draw)(keys, originals)).clip(0.0, 1.0)


def on_sphere(norm: Norm, keys: Keys, originals: Images, eps: Eps) -> Images:
  """A random direction of norm exactly `eps`, clipped to [0, 1]: where APGD starts (Croce & Hein 2020)."""

  def draw(key, image):
    if norm == "linf":
      return jax.random.uniform(key, image.shape, image.dtype, -1.0, 1.0)
    return jax.random.normal(key, image.shape, image.dtype)

  directions = jax.vmap(draw)(keys, originals)
  return (originals + eps * directions / norms(norm, directions)).clip(0.0, 1.0)


def measured_norms(norm: Norm, originals: np.ndarray, images: np.ndarray) -> np.ndarray:
  """The norm of each perturbation in double precision, on the host; float64 [b]."""
  deltas = (images.astype(np.float64) - originals.astype(np.float64)).reshape(len(images), -1)
  return np.abs(deltas).max(axis=1) if norm == "linf" else np.sqrt(np.square(deltas).sum(axis=1))


def rounding(norm: Norm, shape: tuple[int, ...], dtype: np.dtype, eps: float) -> float:
  """How far beyond `eps` a projected image of `shape` may measure, by rounding alone.

  Half a unit in the last place of a number below 1 for a pixel, twice (the bound, and the sum); in L2 over
  all pixels, and the error of the sum of squares.
  """
  unit = float(np.finfo(dtype).eps)
  return unit if norm == "linf" else unit * (math.sqrt(math.prod(shape)) + 16 * eps)
