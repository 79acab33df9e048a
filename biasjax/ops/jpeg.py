"""JPEG's loss without a file: colours, halved chroma, an 8 x 8 cosine transform, quantised, and back.

As libjpeg does by default, and Pillow and OpenCV with it, to the last bit: ITU-T T.81's tables scaled by
quality, chroma averaged over 2 x 2 and interpolated back by a triangle filter, and the transform of
Loeffler, Ligtenberg & Moschytz 1989 in fixed point. Rounding matters: a picture that was a JPEG before has
coefficients in the middle between two steps, and 15 % of its values change by more than two levels if these
fall to another side.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from biasjax.types import Image

BLOCK = 8
# ITU-T T.81, tables K.1 and K.2.
LUMINANCE = (
  *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
  *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
  *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
  *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99),
  *(47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32),
)


BITS, PASS_BITS = 13, 2  # of the constants, and kept between the two passes
# cos(k pi / 16) and their sums, times 2^13, as the algorithm needs them.
C0298, C0390, C0541, C0765, C0899, C1175 = 2446, 3196, 4433, 6270, 7373, 9633
C1501, C1847, C1961, C2053, C2562, C3072 = 12299, 15137, 16069, 16819, 20995, 25172

Plane = Int[Array, "h w"]
Eight = Sequence[Int[Array, "..."]]


def steps(table: tuple[int, ...], quality: Int[Array, ""]) -> Int[Array, "8 8"]:
  """The steps of quantisation at a quality of 1 to 100."""
  scale = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
  scaled = (jnp.asarray(table, jnp.int32) * scale + 50) // 100
  return jnp.clip(scaled, 1, 255).reshape(BLOCK, BLOCK)


def _odd(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
  """The rotation of the odd half, which is its own inverse but for the order of its terms."""
  z5 = (a + b + c + d) * C1175
  z1, z2 = -(a + d) * C0899, -(b + c) * C2562
  z3, z4 = z5 - (a + c) * C1961, z5 - (b + d) * C0390
  return a * C0298 + z1 + z3, b * C2053 + z2 + z4, c * C3072 + z2 + z3, d * C1501 + z1 + z4


def _rounded(x: Array, bits: int) -> Array:
  return (x + (1 << (bits - 1))) >> bits


def forward(x: Eight, last: bool) -> list[Array]:
  """One pass of the transform, along eight samples."""
  sums, differences = [x[i] + x[7 - i] for i in range(4)], [x[i] - x[7 - i] for i in range(4)]
  t10, t13, t11, t12 = sums[0] + sums[3], sums[0] - sums[3], sums[1] + sums[2], sums[1] - sums[2]
  even = [t10 + t11, t10 - t11]
  z1 = (t12 + t13) * C0541
  seven, five, three, one = _odd(*reversed(differences))
  scaled = [one, z1 + t13 * C0765, three, five, z1 - t12 * C1847, seven]
  if last:
    even, scaled = [_rounded(v, PASS_BITS) for v in even], [_rounded(v, BITS + PASS_BITS) for v in scaled]
  else:
    even, scaled = [v << PASS_BITS for v in even], [_rounded(v, BITS - PASS_BITS) for v in scaled]
  return [even[0], *scaled[:3], even[1], *scaled[3:]]


def inverse(c: Eight, last: bool) -> list[Array]:
  """One pass back."""
  z1 = (c[2] + c[6]) * C0541
  t2, t3 = z1 - c[6] * C1847, z1 + c[2] * C0765
  t0, t1 = (c[0] + c[4]) << BITS, (c[0] - c[4]) << BITS
  even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3]
  odd = list(reversed(_odd(c[7], c[5], c[3], c[1])))
  both = [e + o for e, o in zip(even, odd, strict=True)]
  both += [e - o for e, o in zip(reversed(even), reversed(odd), strict=True)]
  return [_rounded(v, BITS + PASS_BITS + 3 if last else BITS - PASS_BITS) for v in both]


def quantised(plane: Plane, step: Int[Array, "8 8"]) -> Plane:
  """Levels 0..255 through the quantised transform; sides are multiples of 8."""
  height, width = plane.shape
  # [8, 8, blocks]: row and column within a block first, so that a pass works on whole arrays.
  blocks = plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK) - 128
  blocks = blocks.transpose(1, 3, 0, 2).reshape(BLOCK, BLOCK, -1)
  rows = jnp.stack(forward([blocks[:, i] for i in range(BLOCK)], last=False), axis=1)
  found = jnp.stack(forward([rows[i] for i in range(BLOCK)], last=True))
  divisor = 8 * step[..., None]  # the transform's scale
  kept = jnp.sign(found) * ((jnp.abs(found) + divisor // 2) // divisor) * step[..., None]
  columns = jnp.stack(inverse([kept[i] for i in range(BLOCK)], last=False))
  back = jnp.stack(inverse([columns[:, i] for i in range(BLOCK)], last=True), axis=1)
  levels = jnp.clip(back + 128, 0, 255).reshape(BLOCK, BLOCK, height // BLOCK, width // BLOCK)
  return levels.transpose(2, 0, 3, 1).reshape(height, width)


def halved(plane: Plane) -> Int[Array, "h2 w2"]:
  """Means of 2 x 2, halves rounded down and up in turn along a row."""
  total = plane[::2, ::2] + plane[::2, 1::2] + plane[1::2, ::2] + plane[1::2, 1::2]
  return (total + 1 + jnp.arange(total.shape[1], dtype=jnp.int32)[None] % 2) >> 2


def doubled(plane: Plane) -> Int[Array, "h2 w2"]:
  """Twice the size by the triangle filter: 3/4 of the nearer, 1/4 of the further sample each way."""

  def apart(x, axis):
    """Three times each sample plus the one before, and plus the one after."""
    padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(2)], mode="edge")
    before, after = (jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in (0, 2))
    return 3 * x + before, 3 * x + after

  def woven(even, odd, axis):
    shape = [size * 2 if a == axis else size for a, size in enumerate(even.shape)]
    return jnp.stack([even, odd], axis + 1).reshape(shape)

  left, right = apart(woven(*apart(plane, 0), 0), 1)
  return woven((left + 8) >> 4, (right + 7) >> 4, 1)


def compressed(image: Image, quality: Int[Array, ""]) -> Image:
  """The image after JPEG at `quality` (1 to 100).

  Args:
    image: [h, w, 3] of whole levels over 255.
    quality: as libjpeg's.
  """
  height, width, _ = image.shape
  red, green, blue = jnp.moveaxis(jnp.round(image * 255).astype(jnp.int32), -1, 0)
  middle = (128 << 16) + 32767
  luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
  cb = (-11059 * red - 21709 * green + 32768 * blue + middle) >> 16
  cr = (32768 * red - 27439 * green - 5329 * blue + middle) >> 16
  luma = quantised(_padded(luma, BLOCK, BLOCK), steps(LUMINANCE, quality))[:height, :width]
  of_chroma = steps(CHROMINANCE, quality)

  def through(plane):
    # Columns are repeated before chroma is halved, rows after: libjpeg's order.
    small = _padded(halved(_padded(plane, 2, 2 * BLOCK)), BLOCK, BLOCK)
    rows, columns = -(-height // 2), -(-width // 2)
    return doubled(quantised(small, of_chroma)[:rows, :columns])[:height, :width] - 128

  cb, cr = through(cb), through(cr)
  red = luma + ((91881 * cr + 32768) >> 16)
  green = luma + ((-22554 * cb - 46802 * cr + 32768) >> 16)
  blue = luma + ((116130 * cb + 32768) >> 16)
  return jnp.clip(jnp.stack([red, green, blue], axis=-1), 0, 255).astype(image.dtype) / 255


def _padded(plane: Plane, rows: int, columns: int) -> Int[Array, "h2 w2"]:
  """The last row and column repeated up to multiples of `rows` and `columns`."""
  return jnp.pad(plane, [(0, -plane.shape[0] % rows), (0, -plane.shape[1] % columns)], mode="edge")
