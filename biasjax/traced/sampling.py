"""Features looked up between their pixels, as spatial transformers and deformable attention do."""

import jax.numpy as jnp
from jax import lax

from biasjax.traced.table import Array, operation, require

BILINEAR, NEAREST = range(2)
ZEROS, BORDER, REFLECTION = range(3)


def _within(at: Array, size: int) -> Array:
  """Places brought to the nearest pixel; gradient 0 beyond, and on the outermost."""
  low, high = jnp.asarray(0, at.dtype), jnp.asarray(size - 1, at.dtype)
  return jnp.where(at <= 0, low, jnp.where(at >= high, high, at))


def _mirrored(at: Array, low: float, span: float) -> Array:
  """Places mirrored at `low` and at `low + span`, as often as it takes."""
  if span <= 0:
    return jnp.zeros_like(at)
  away = jnp.where(at < low, low - at, at - low)
  flips = lax.stop_gradient(jnp.floor(away / span))
  rest = away - flips * span
  return jnp.where(flips % 2 == 0, rest + low, span - rest + low)


def _places(grid: Array, size: int, padding_mode: int, align_corners: bool) -> Array:
  """Pixels, from -1 to 1 over a side."""
  at = (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2
  if padding_mode == REFLECTION:
    at = _mirrored(at, 0.0, size - 1.0) if align_corners else _mirrored(at, -0.5, float(size))
  return at if padding_mode == ZEROS else _within(at, size)


@operation("aten.grid_sampler_2d.default")
def grid_sampler_2d(
  input: Array, grid: Array, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Array:
  """Features at places [b, h, w, 2] (x, y), bilinearly or of the nearest pixel."""
  require(input.ndim == grid.ndim == 4 and grid.shape[-1] == 2, f"{input.shape} at {grid.shape}")
  require(input.shape[0] == grid.shape[0] and min(input.shape[1:]) > 0, f"{input.shape} at {grid.shape}")
  require(interpolation_mode in (BILINEAR, NEAREST), f"interpolation_mode {interpolation_mode}")
  require(padding_mode in (ZEROS, BORDER, REFLECTION), f"padding_mode {padding_mode}")
  height, width = input.shape[2:]
  x = _places(grid[..., 0], width, padding_mode, align_corners)
  y = _places(grid[..., 1], height, padding_mode, align_corners)
  pixels = jnp.moveaxis(input, 1, -1)
  image = jnp.arange(len(input), dtype=jnp.int32)[:, None, None]

  def at(row: Array, column: Array) -> Array:
    """[b, h, w, c] of whole places, 0 outside."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    there = pixels[image, jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(inside[..., None], there, 0)

  def whole(place: Array) -> Array:
    return jnp.clip(place, -(2.0**30), 2.0**30).astype(jnp.int32)

  if interpolation_mode == NEAREST:
    found = at(whole(jnp.round(y)), whole(jnp.round(x)))
  else:
    top, left = (lax.stop_gradient(jnp.floor(of)) for of in (y, x))
    down, right = (y - top)[..., None], (x - left)[..., None]
    row, column = whole(top), whole(left)
    found = (1 - down) * ((1 - right) * at(row, column) + right * at(row, column + 1))
    found += down * ((1 - right) * at(row + 1, column) + right * at(row + 1, column + 1))
  return jnp.moveaxis(found, -1, 1)
