"""Images of features brought to another size: a matrix along each side, as PyTorch weighs."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from biasjax.traced.table import CONSTANT_LIMIT, Array, Ints, operation, require


def along(x: Array, dim: int, matrix: np.ndarray) -> Array:
  """`x` with a side of length n replaced by matrix [m, n] times it."""
  if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
    return x
  weights = jnp.asarray(matrix if x.dtype == jnp.float64 else matrix.astype(np.float32), x.dtype)
  return jnp.moveaxis(jnp.tensordot(x, weights, ((dim,), (1,))), -1, dim)


def _cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
  """Keys' kernel: a = -0.75 is PyTorch's, -0.5 Pillow's, and PyTorch's where it antialiases."""

  def kernel(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))

  return kernel


def _linear(x: np.ndarray) -> np.ndarray:
  return np.maximum(1 - np.abs(x), 0)


@functools.lru_cache(maxsize=256)
def matrix(
  size: int, out: int, kind: str, align_corners: bool, scale: float | None, antialias: bool
) -> np.ndarray:
  """Weights, float64 [out, size], of PyTorch's interpolation along one side.

  Args:
    size: pixels that there are.
    out: pixels that there shall be.
    kind: "nearest", "nearest_exact", "linear" or "cubic".
    align_corners: whether the first and last pixels' centres stay where they are.
    scale: what the size was multiplied by, where a factor was given; None takes out / size.
    antialias: whether the kernel is widened where pixels become fewer.
  """
  require(size > 0 and out > 0 and size * out <= CONSTANT_LIMIT, f"{size} to {out} pixels")
  require(scale is None or scale > 0, f"scale {scale}")
  ratio = 1 / scale if scale else size / out
  if align_corners:
    ratio = (size - 1) / (out - 1) if out > 1 else 0.0
  places = np.arange(out, dtype=np.float64)
  weights = np.zeros((out, size))
  if kind.startswith("nearest"):
    ratio = np.float32(ratio)  # where a place falls between two pixels, PyTorch's rounding decides
    shift = np.float32(0.5 if kind == "nearest_exact" else 0)
    nearest = np.floor((places.astype(np.float32) + shift) * ratio).astype(int)
    weights[np.arange(out), np.minimum(nearest, size - 1)] = 1
    return weights
  centres = places * ratio if align_corners else (places + 0.5) * ratio - 0.5
  if antialias:
    widened = max(ratio, 1.0)
    kernel, support = (_linear, 1.0) if kind == "linear" else (_cubic(-0.5), 2.0)
    for i, centre in enumerate((places + 0.5) * ratio):
      start = max(int(centre - support * widened + 0.5), 0)
      stop = min(int(centre + support * widened + 0.5), size)
      row = kernel((np.arange(start, stop) - centre + 0.5) / widened)
      weights[i, start:stop] = row / row.sum()
    return weights
  if kind == "linear" and not align_corners:
    centres = np.maximum(centres, 0)
  first = np.floor(centres).astype(int)
  kernel, reach = (_linear, (0, 1)) if kind == "linear" else (_cubic(-0.75), (-1, 0, 1, 2))
  for step in reach:
    np.add.at(weights, (np.arange(out), np.clip(first + step, 0, size - 1)), kernel(centres - (first + step)))
  return weights


def _resized(
  x: Array,
  output_size: Ints | None,
  scale_factors: list[int | float] | None,
  kind: str,
  align_corners: bool = False,
  antialias: bool = False,
) -> Array:
  require(x.ndim == 4, f"features of {x.ndim} dimensions")
  factors: list[float | None] = [None, None]
  if scale_factors is not None:
    require(len(scale_factors) == 2 and all(0 < f < 2**16 for f in scale_factors), f"{scale_factors[:4]}")
    factors = [float(f) for f in scale_factors]
  sizes = output_size
  if sizes is None:
    require(scale_factors is not None, "neither a size nor factors")
    sizes = [math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True) if f]
  require(len(sizes) == 2, f"size {sizes[:4]}")
  for dim, (out, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
    x = along(x, dim, matrix(x.shape[dim], out, kind, align_corners, factor, antialias))
  return x


@operation("aten.upsample_nearest2d.vec")
def upsample_nearest2d(
  input: Array, output_size: Ints | None, scale_factors: list[int | float] | None
) -> Array:
  """The pixel at or before each place."""
  return _resized(input, output_size, scale_factors, "nearest")


@operation("aten._upsample_nearest_exact2d.vec")
def upsample_nearest_exact2d(
  input: Array, output_size: Ints | None, scale_factors: list[int | float] | None
) -> Array:
  """The pixel whose centre is nearest."""
  return _resized(input, output_size, scale_factors, "nearest_exact")


@operation("aten.upsample_bilinear2d.vec")
def upsample_bilinear2d(
  input: Array, output_size: Ints | None, align_corners: bool, scale_factors: list[int | float] | None
) -> Array:
  """Bilinear interpolation."""
  return _resized(input, output_size, scale_factors, "linear", align_corners)


@operation("aten.upsample_bicubic2d.vec")
def upsample_bicubic2d(
  input: Array, output_size: Ints | None, align_corners: bool, scale_factors: list[int | float] | None
) -> Array:
  """Bicubic interpolation."""
  return _resized(input, output_size, scale_factors, "cubic", align_corners)


@operation("aten._upsample_bilinear2d_aa.vec")
def upsample_bilinear2d_aa(
  input: Array, output_size: Ints | None, align_corners: bool, scale_factors: list[int | float] | None
) -> Array:
  """Bilinear interpolation with antialiasing."""
  return _resized(input, output_size, scale_factors, "linear", align_corners, antialias=True)


@operation("aten._upsample_bicubic2d_aa.vec")
def upsample_bicubic2d_aa(
  input: Array, output_size: Ints | None, align_corners: bool, scale_factors: list[int | float] | None
) -> Array:
  """Bicubic interpolation with antialiasing."""
  return _resized(input, output_size, scale_factors, "cubic", align_corners, antialias=True)
