"""Image operations that take one cue away and leave the others: shape, texture or colour.

As in Burgert et al., NeurIPS 2025 (arXiv:2509.20234), which used albumentations and OpenCV on 8-bit images.
Each works on one image of whole levels (8-bit values as float32, 0 to 255) and returns whole levels.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from biasjax.types import RandomKey

Levels = Float[Array, "h w 3"]  # whole numbers, 0..255
MOST_TILES = 16  # along a side
LARGEST_RADIUS = 7  # of a bilateral filter
LARGEST_TAP = 7  # of a blur's kernel, from its centre
SIGMA_SPACE = 75.0  # pixels; Burgert et al. 2025


def splits(key: RandomKey, size: int, tiles: Int[Array, ""]) -> Int[Array, "edges"]:
  """Where `tiles` tiles along a side of `size` pixels begin, and the end: int32 [MOST_TILES + 1].

  Where `tiles` does not divide `size`, some tiles are a pixel longer; which ones is drawn (albumentations'
  rule). Entries beyond the last tile are `size`.
  """
  index = jnp.arange(MOST_TILES, dtype=jnp.int32)
  drawn = jnp.where(index < tiles, jax.random.uniform(key, (MOST_TILES,), jnp.float32), jnp.inf)
  rank = jnp.argsort(jnp.argsort(drawn)).astype(jnp.int32)
  lengths = jnp.where(index < tiles, size // tiles + (rank < size % tiles), 0)
  return jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(lengths, dtype=jnp.int32)])


def move_tiles(key: RandomKey, image: Levels, tiles: Int[Array, ""], turn: Bool[Array, ""]) -> Levels:
  """Shuffles the tiles of a tiles x tiles grid, or turns each where it is.

  Args:
    key: of the permutation or the turns.
    image: square.
    tiles: along a side, 1 to MOST_TILES.
    turn: whether each tile is turned by 0, 90, 180 or 270 degrees (0 or 180 where it is not square) instead
      of changing places with others of its size.
  """
  size = image.shape[0]
  of_rows, of_columns, of_tiles = jax.random.split(key, 3)
  rows, columns = splits(of_rows, size, tiles), splits(of_columns, size, tiles)
  pixel = jnp.arange(size, dtype=jnp.int32)
  row, column = (jnp.searchsorted(edges[1:], pixel, side="right") for edges in (rows, columns))
  row, column = row[:, None], column[None, :]
  y, x = pixel[:, None] - rows[row], pixel[None, :] - columns[column]
  height, width = jnp.diff(rows), jnp.diff(columns)

  source = _permutation(of_tiles, height, width, tiles)[row * MOST_TILES + column]
  shuffled = rows[source // MOST_TILES] + y, columns[source % MOST_TILES] + x

  h, w = height[row], width[column]
  quarters = jax.random.randint(of_tiles, (MOST_TILES, MOST_TILES), 0, 4, jnp.int32)[row, column]
  quarters = jnp.where(h == w, quarters, 2 * (quarters % 2))
  inside_y = jnp.select([quarters == 1, quarters == 2, quarters == 3], [x, h - 1 - y, h - 1 - x], y)
  inside_x = jnp.select([quarters == 1, quarters == 2, quarters == 3], [w - 1 - y, w - 1 - x, y], x)
  turned = rows[row] + inside_y, columns[column] + inside_x
  return image[jnp.where(turn, turned[0], shuffled[0]), jnp.where(turn, turned[1], shuffled[1])]


def _permutation(
  key: RandomKey, height: Int[Array, "t"], width: Int[Array, "t"], tiles: Int[Array, ""]
) -> Int[Array, "tt"]:
  """For each place of the MOST_TILES^2, which tile comes there; only tiles of one size change places."""
  index = jnp.arange(MOST_TILES, dtype=jnp.int32)
  there = (index < tiles)[:, None] & (index < tiles)[None, :]
  kind = (height[:, None] << 15) + width[None, :]  # tiles of one size are one kind
  kind = jnp.where(there, kind, jnp.iinfo(jnp.int32).max).ravel()
  drawn = jax.random.uniform(key, kind.shape, jnp.float32)
  places = jnp.argsort(kind, stable=True)
  comers = jnp.lexsort((drawn, kind))
  return jnp.zeros_like(places).at[places].set(comers)


@functools.cache
def offsets() -> tuple[np.ndarray, np.ndarray]:
  """(offsets int32 [149, 2], weights float32 [149]) of the largest bilateral filter, the nearest first."""
  axis = np.arange(-LARGEST_RADIUS, LARGEST_RADIUS + 1)
  grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
  squares = (grid**2).sum(1)
  order = np.argsort(squares, kind="stable")
  order = order[squares[order] <= LARGEST_RADIUS**2]
  weights = np.exp(-squares[order] / (2 * SIGMA_SPACE**2))
  return grid[order].astype(np.int32), weights.astype(np.float32)


def count_offsets(diameter: int) -> int:
  """How many of `offsets` a bilateral filter of `diameter` looks at: within a circle of diameter // 2."""
  squares = (offsets()[0] ** 2).sum(1)
  return int((squares <= max(diameter // 2, 1) ** 2).sum())


def bilateral(image: Levels, count: Int[Array, ""], sigma_colour: Float[Array, ""]) -> Levels:
  """OpenCV's bilateral filter of 8-bit colour, SIGMA_SPACE in space.

  A neighbour's weight is exp(-distance^2 / (2 sigma_space^2)) * exp(-D^2 / (2 sigma_colour^2)) with D the sum
  over channels of absolute differences in levels. The border is mirrored without its outermost pixel.

  Args:
    image: to filter.
    count: the first so many of `offsets`, from `count_offsets`; 0 returns the image.
    sigma_colour: in levels.
  """
  where, spatial = (jnp.asarray(table) for table in offsets())
  height, width, _ = image.shape
  r = LARGEST_RADIUS
  padded = jnp.pad(image, ((r, r), (r, r), (0, 0)), mode="reflect")
  scale = -0.5 / (sigma_colour * sigma_colour)

  def add(i, sums):
    total, weights = sums
    there = jax.lax.dynamic_slice(padded, (r + where[i, 0], r + where[i, 1], 0), (height, width, 3))
    distance = jnp.sum(jnp.abs(there - image), axis=-1, keepdims=True)
    weight = spatial[i] * jnp.exp(distance * distance * scale)
    return total + weight * there, weights + weight

  def filtered():
    start = jnp.zeros_like(image), jnp.zeros((height, width, 1), image.dtype)
    total, weights = jax.lax.fori_loop(0, count, add, start)
    return jnp.round(total / weights)

  return jax.lax.cond(count > 0, filtered, lambda: image)


def half_kernel(size: int, sigma: float) -> np.ndarray:
  """float32 [LARGEST_TAP + 1]: a Gaussian's weights from its centre outwards; `size` taps sum to 1."""
  taps = np.arange(LARGEST_TAP + 1)
  weights = np.where(taps <= size // 2, np.exp(-(taps**2) / (2 * sigma**2)), 0.0)
  return (weights / (2 * weights.sum() - weights[0])).astype(np.float32)


def blur(image: Levels, kernel: Float[Array, "taps"]) -> Levels:
  """A separable Gaussian blur; the border is mirrored without its outermost pixel (OpenCV's default).

  Args:
    image: to blur.
    kernel: of `half_kernel`; with a centre of 1 the image comes back.
  """

  def along(axis: int, x: Levels) -> Levels:
    widths = [(LARGEST_TAP, LARGEST_TAP) if a == axis else (0, 0) for a in range(3)]
    padded = jnp.pad(x, widths, mode="reflect")
    total = kernel[0] * x
    for o in range(1, LARGEST_TAP + 1):
      before, after = (
        jax.lax.slice_in_dim(padded, LARGEST_TAP + s, LARGEST_TAP + s + x.shape[axis], axis=axis)
        for s in (-o, o)
      )
      total = total + kernel[o] * (before + after)
    return total

  return jax.lax.cond(kernel[0] < 1, lambda: jnp.round(along(1, along(0, image))), lambda: image)


def grey(image: Levels, share: Float[Array, ""]) -> Levels:
  """(1 - share) image + share grey, rounded; grey is OpenCV's: .299 R + .587 G + .114 B in whole levels."""
  red, green, blue = jnp.moveaxis(image.astype(jnp.int32), -1, 0)
  # OpenCV's fixed point: the weights times 2^15.
  level = (9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15
  return jnp.round((1 - share) * image + share * level.astype(image.dtype)[..., None])


def shuffle_channels(key: RandomKey, image: Levels, wanted: Bool[Array, ""]) -> Levels:
  """Red, green and blue in an order that is drawn (one of all six), where `wanted`."""
  order = jnp.argsort(jax.random.uniform(key, (3,), jnp.float32))
  return image[..., jnp.where(wanted, order, jnp.arange(3))]
