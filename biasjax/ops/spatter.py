"""ImageNet-C's spatter: drops of water with their edges lit, or splashes of mud.

Hendrycks & Dietterich 2019 (arXiv:1903.12261); constants are those of their published code, which leaves most
to OpenCV. Its Canny edges, chamfer distances (5 x 5), equalised histogram and filters are done here as OpenCV
does them, in whole numbers where it has whole numbers, and held against it in the tests.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from biasjax.ops import draw
from biasjax.ops.corruptions import Severity, gaussian_filter, of_severity, truncated
from biasjax.types import Image, RandomKey

SPATTER = (  # mean and sd of the noise, sigma of its blur, threshold, weight of water or sigma of mud
  (0.65, 0.3, 4, 0.69, 0.6),
  (0.65, 0.3, 3, 0.68, 0.6),
  (0.65, 0.3, 2, 0.68, 0.5),
  (0.65, 0.3, 1, 0.65, 1.5),
  (0.67, 0.4, 1, 0.65, 1.5),
)
MUDDY = 3  # the first severity of mud
WATER, MUD = (175, 238, 238), (63, 42, 20)  # levels
THINNEST = 0.8  # less mud is none
CANNY = (50, 150)
FURTHEST = 20  # pixels from an edge
EMBOSS = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
TAN_22 = 13573  # tan(22.5 degrees) * 2^15, OpenCV's
# Lengths of a step along an axis, a diagonal and a knight's move.
STEPS = {(0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969}

Levels = Int[Array, "h w"]


def _at(plane: Array, dy: int, dx: int) -> Array:
  """`plane` at (y + dy, x + dx), at most one pixel away; 0 beyond the border."""
  height, width = plane.shape
  return jnp.pad(plane, 1)[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def _filtered(plane: Array, weights: tuple[tuple[int, ...], ...], mode: str) -> Array:
  """Correlation with 3 x 3 weights; the border in `mode` of `jnp.pad`."""
  height, width = plane.shape
  padded = jnp.pad(plane, 1, mode=mode)
  places = itertools.product(range(3), repeat=2)
  return sum(
    (weights[y][x] * padded[y : y + height, x : x + width] for y, x in places if weights[y][x]),
    start=jnp.zeros_like(plane),
  )


def edges(levels: Levels) -> Bool[Array, "h w"]:
  """OpenCV's Canny with the thresholds `CANNY`, aperture 3 and the sum of absolute derivatives."""
  dx = _filtered(levels, ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), "edge")
  dy = _filtered(levels, ((-1, -2, -1), (0, 0, 0), (1, 2, 1)), "edge")
  size = jnp.abs(dx) + jnp.abs(dy)
  low, high = CANNY
  across, up = jnp.abs(dx) * TAN_22, jnp.abs(dy) << 15
  flat, steep = up < across, up > across + (jnp.abs(dx) << 16)
  falling = (dx ^ dy) < 0
  along = (
    jnp.where(falling, _at(size, -1, 1), _at(size, -1, -1)),
    jnp.where(falling, _at(size, 1, -1), _at(size, 1, 1)),
  )
  thinned = jnp.where(
    flat,
    (size > _at(size, 0, -1)) & (size >= _at(size, 0, 1)),
    jnp.where(
      steep,
      (size > _at(size, -1, 0)) & (size >= _at(size, 1, 0)),
      (size > along[0]) & (size > along[1]),
    ),
  )
  weak = thinned & (size > low)

  def grown(state):
    found, _ = state
    near = jax.lax.reduce_window(found, False, jax.lax.bitwise_or, (3, 3), (1, 1), "SAME")
    return near & weak, jnp.any((near & weak) != found)

  strong = weak & (size > high)
  return jax.lax.while_loop(lambda state: state[1], grown, (strong, jnp.any(strong)))[0]


def _hops() -> tuple[np.ndarray, np.ndarray]:
  """(int32 [hops, 2], float32 [hops]): one, two, four, ... steps in each direction, and how long they are."""
  found = []
  for (a, b), length in STEPS.items():
    for dy, dx in sorted({(s * y, t * x) for y, x in ((a, b), (b, a)) for s in (1, -1) for t in (1, -1)}):
      most = FURTHEST // max(abs(dy), abs(dx))
      found += [(times * dy, times * dx, times * length) for times in (1, 2, 4, 8, 16) if times <= most]
  table = np.array(found)
  return table[:, :2].astype(np.int32), table[:, 2].astype(np.float32)


def distance(seeds: Bool[Array, "h w"]) -> Float[Array, "h w"]:
  """The length of the shortest way to a seed in `STEPS`, at most `FURTHEST`: OpenCV's DIST_L2 with 5 x 5.

  A shortest way is so many steps of one direction and so many of another, so that it is found direction by
  direction, and in each by one, two, four, ... steps at a time.
  """
  by, length = (jnp.asarray(table) for table in _hops())

  def hop(i, found):
    around = jnp.pad(found, FURTHEST, constant_values=FURTHEST)
    there = jax.lax.dynamic_slice(around, (FURTHEST + by[i, 0], FURTHEST + by[i, 1]), seeds.shape)
    return jnp.minimum(found, there + length[i])

  return jax.lax.fori_loop(0, len(length), hop, jnp.where(seeds, 0.0, jnp.float32(FURTHEST)))


def equalised(levels: Levels, most: int) -> Levels:
  """OpenCV's equalizeHist of levels from 0 to `most`."""
  below = jnp.cumsum(jnp.zeros(most + 1, jnp.int32).at[levels].add(1))
  first = below[jnp.argmax(below > 0)]
  total = levels.size
  table = jnp.round((below - first).astype(jnp.float32) * (255 / jnp.maximum(total - first, 1)))
  table = jnp.where(first == total, jnp.arange(most + 1), jnp.maximum(table, 0))
  return table.astype(jnp.int32)[levels]


def _mean9(plane: Array) -> Array:
  return _filtered(plane, ((1,) * 3,) * 3, "reflect")


def water(layer: Float[Array, "h w"]) -> Float[Array, "h w"]:
  """How much of the colour of water is added: drops, brightest where they are thick and towards a light.

  Args:
    layer: thickness, 0 where there is none.
  """
  levels = jnp.floor(layer * 255 + 1e-4).astype(jnp.int32) & 255
  blurred = jnp.floor(_mean9(distance(edges(levels))) / 9 + 1e-4).astype(jnp.int32)
  lit = jnp.clip(_filtered(equalised(blurred, FURTHEST), EMBOSS, "reflect"), 0, 255)
  bright = (levels * ((_mean9(lit) + 4) // 9)).astype(jnp.float32)
  return bright / jnp.maximum(bright.max(), 1.0)


def spatter(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Water at the lower three severities, mud at the others."""
  size = image.shape[0]
  return splashed(draw.normal(key, (size, size)), image, severity)


def splashed(drawn: Float[Array, "h w"], image: Image, severity: Severity) -> Image:
  """`spatter`, with its normal noise given."""
  mean, sd, sigma, threshold, last = of_severity(SPATTER, severity)
  smooth = gaussian_filter((mean + sd * drawn)[..., None], sigma)[..., 0]
  layer = jnp.where(smooth < threshold, 0.0, smooth)

  def colour(levels):
    return jnp.asarray(levels, jnp.float32)[None, None] / 255

  def wet():
    return image + (last * water(layer))[..., None] * colour(WATER)

  def muddy():
    mud = gaussian_filter((layer > threshold).astype(jnp.float32)[..., None], last)
    mud = jnp.where(mud < THINNEST, 0.0, mud)
    return image * (1 - mud) + mud * colour(MUD)

  return truncated(jax.lax.cond(severity < MUDDY, wet, muddy))
