"""ImageNet-C's corruptions as pure functions of (key, image, severity), for any square size.

Hendrycks & Dietterich 2019 (arXiv:1903.12261); constants are those of their published code. `CORRUPTIONS`
has most by name. Each takes an image in [0, 1] and a severity 0 to 4, which may be traced, and returns an
image of whole 8-bit levels over 255, truncated as theirs. What they did with libraries is done as follows,
and held against these libraries in the tests: scikit-image's Gaussian filter and Pillow's box resizing are
products with matrices; OpenCV's filter is a product of spectra, ImageMagick's motion blur such a product (on
a CPU a sum of shifted images); OpenCV's affine warp and scipy's zoom and map_coordinates are linear
interpolation in float32; JPEG is `ops/jpeg.py`. Their files were saved as JPEG of quality 85 afterwards; that
is not repeated. Spatter and frost have modules of their own.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its modules are loaded where they are first used, which takes a second
from jaxtyping import Array, Float, Int

from biasjax.ops import draw, jpeg
from biasjax.ops.batching import one_by_one
from biasjax.types import Image, RandomKey

Severity = Int[Array, ""]  # 0 to 4
Corruption = Callable[[RandomKey, Image, Severity], Image]

GAUSSIAN_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT_NOISE = (60, 25, 12, 5, 3)
MOST_PHOTONS = 128  # more have a probability below 1e-12
IMPULSE_NOISE = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE_NOISE = (0.15, 0.2, 0.35, 0.45, 0.6)
GAUSSIAN_BLUR = (1, 2, 3, 4, 6)
DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))  # radius, sigma of the disk's own blur
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # sigma, reach, times
MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))  # radius, sigma
MOTION_REACH = 2 * max(radius for radius, _ in MOTION) + 1
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # end, step
SNOW = (  # mean, sd, zoom, threshold, radius, sigma, share of the image
  (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
  (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
  (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
  (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
  (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # thickness, decay of the wibble
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
SATURATE = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))
JPEG_QUALITY = (25, 18, 15, 10, 7)
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)
ELASTIC = tuple(  # length and sigma of the displacement, reach of the affine map, in pixels of 224
  tuple(244 * part for part in of)
  for of in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
)


def of_severity(table: Sequence[Any], severity: Severity) -> Array:
  """The row of a table of constants that is a severity's, float32."""
  return jnp.asarray(np.asarray(table, np.float32))[severity]


def apart(severity: Severity | Float[Array, ""], make: Callable[[], Any]) -> Any:
  """What `make` gives, computed once and by itself.

  XLA may otherwise compute it anew for each use, which takes its time, and round it differently: then a
  coordinate's whole part and its fraction need not belong together, and a pixel is interpolated between the
  wrong neighbours.
  """
  nothing = jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), jax.eval_shape(make))
  return jax.lax.cond(severity >= 0, make, lambda: nothing)


def truncated(image: Image) -> Image:
  """Clipped to [0, 1] and cut to whole levels, as writing a float array as 8-bit integers does."""
  # The nudge is for what rounding in float32 brings just below a whole level.
  return jnp.floor(jnp.clip(image, 0.0, 1.0) * 255 + 1e-4) / 255


# --- noise -------------------------------------------------------------------------------------------------


def gaussian_noise(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Adds normal noise."""
  return truncated(image + of_severity(GAUSSIAN_NOISE, severity) * draw.normal(key, image.shape))


@functools.cache
def poisson_tables() -> tuple[np.ndarray, np.ndarray]:
  """(keep float32, other int32) [5, 256, MOST_PHOTONS]: Poisson numbers of each level by aliases.

  Walker 1977: the number i of a uniform choice is kept with a probability of keep[i] and is other[i] else.
  """
  count = np.arange(MOST_PHOTONS)
  rate = np.arange(256)[None, :, None] / 255 * np.array(SHOT_NOISE)[:, None, None]
  left = scipy.stats.poisson.pmf(count, rate).reshape(-1, MOST_PHOTONS) * MOST_PHOTONS
  left *= MOST_PHOTONS / left.sum(axis=1, keepdims=True)
  keep, other = np.ones_like(left), np.tile(count, (len(left), 1))
  row = np.arange(len(left))
  for _ in range(MOST_PHOTONS - 1):
    # The least likely number that is left is filled up by the most likely one.
    least, most = left.argmin(axis=1), np.where(np.isinf(left), -np.inf, left).argmax(axis=1)
    keep[row, least], other[row, least] = left[row, least], most
    left[row, most] -= 1 - left[row, least]
    left[row, least] = np.inf  # done
  shape = 5, 256, MOST_PHOTONS
  return keep.astype(np.float32).reshape(shape), other.astype(np.int32).reshape(shape)


def shot_noise(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Poisson counts of `SHOT_NOISE` photons at white, of the whole level nearest to each value."""
  keep, other = (jnp.asarray(table)[severity].reshape(-1) for table in poisson_tables())
  drawn = draw.bits(key, image.shape)
  number = (drawn >> 25).astype(jnp.int32)  # the upper seven bits
  rest = (drawn & ((1 << 25) - 1)).astype(jnp.float32) / (1 << 25)
  at = jnp.round(image * 255).astype(jnp.int32) * MOST_PHOTONS + number
  count = jnp.where(rest < keep[at], number, other[at])
  return truncated(count / of_severity(SHOT_NOISE, severity))


def impulse_noise(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Each value becomes 0 or 1 with a probability of `IMPULSE_NOISE` in all."""
  drawn, amount = draw.uniform(key, image.shape), of_severity(IMPULSE_NOISE, severity)
  return truncated(jnp.where(drawn < amount, (drawn < amount / 2).astype(image.dtype), image))


def speckle_noise(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Normal noise that is proportional to the value."""
  noise = of_severity(SPECKLE_NOISE, severity) * draw.normal(key, image.shape)
  return truncated(image + image * noise)


# --- blur --------------------------------------------------------------------------------------------------


def gaussian_filter(image: Float[Array, "h w c"], sigma: Float[Array, ""]) -> Float[Array, "h w c"]:
  """scipy's Gaussian filter, truncated at 4 sigma, the border repeated (scikit-image's defaults)."""
  size = image.shape[0]
  position = jnp.arange(size, dtype=jnp.float32)
  distance = jnp.abs(position[:, None] - position[None, :])
  radius = jnp.floor(4 * sigma + 0.5)

  def weight(at):
    return jnp.where(at <= radius, jnp.exp(-0.5 * (at / sigma) ** 2), 0.0)

  longest = 4 * max(GAUSSIAN_BLUR) + 1
  beyond = jnp.arange(1, longest + 1, dtype=jnp.float32)
  total = weight(jnp.zeros(())) + 2 * jnp.sum(weight(beyond))
  # What lies beyond the border counts for the outermost pixel.
  tail = jnp.sum(weight(position[:, None] + beyond[None, :]), axis=1)
  matrix = weight(distance).at[:, 0].add(tail).at[:, -1].add(tail[::-1]) / total
  return jnp.einsum("yi,ijc,xj->yxc", matrix, image, matrix)


def gaussian_blur(key: RandomKey, image: Image, severity: Severity) -> Image:
  """A Gaussian filter."""
  del key
  return truncated(gaussian_filter(image, of_severity(GAUSSIAN_BLUR, severity)))


def convolved(image: Float[Array, "h w c"], kernel: Float[Array, "k k"], mode: str) -> Float[Array, "h w c"]:
  """Correlation with an odd kernel by products of spectra; the border in `mode` of `jnp.pad`."""
  return one_by_one(functools.partial(_convolved, mode=mode))(image, kernel)


def _convolved(image: Float[Array, "h w c"], kernel: Float[Array, "k k"], mode: str) -> Float[Array, "h w c"]:
  reach, size = kernel.shape[0] // 2, image.shape[0]
  padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode=mode)
  long = _fast_length(size + 2 * reach)
  of_image = jnp.fft.rfft2(padded, s=(long, long), axes=(0, 1))
  of_kernel = jnp.fft.rfft2(kernel, s=(long, long))
  product = jnp.fft.irfft2(of_image * jnp.conj(of_kernel)[..., None], s=(long, long), axes=(0, 1))
  return product[:size, :size]


def _fast_length(length: int) -> int:
  """The next length that an FFT is quick for."""
  while True:
    rest = length
    for factor in (2, 3, 5):
      while rest % factor == 0:
        rest //= factor
    if rest == 1 and length % 2 == 0:
      return length
    length += 1


@functools.cache
def disks() -> np.ndarray:
  """float32 [5, 21, 21]: a disk that is blurred a little, by OpenCV's Gaussian of 3 or 5 taps."""
  found = np.zeros((5, 21, 21))
  for severity, (radius, sigma) in enumerate(DEFOCUS):
    reach, taps = (8, 3) if radius <= 8 else (radius, 5)
    axis = np.arange(-reach, reach + 1)
    disk = (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).astype(float)
    disk /= disk.sum()
    offset = np.arange(taps) - taps // 2
    kernel = np.exp(-(offset**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    matrix = np.zeros((len(axis), len(axis)))  # mirrored without the outermost pixel
    for row in range(len(axis)):
      at = np.abs(row + offset)
      np.add.at(matrix[row], np.minimum(at, 2 * (len(axis) - 1) - at), kernel)
    disk = matrix @ disk @ matrix.T
    margin = 10 - reach
    found[severity] = np.pad(disk, margin)
  return found.astype(np.float32)


def defocus_blur(key: RandomKey, image: Image, severity: Severity) -> Image:
  """A disk's blur."""
  del key
  return truncated(convolved(image, jnp.asarray(disks())[severity], "reflect"))


def glass_blur(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Blurred, each pixel replaced by one nearby, some times, and blurred again.

  The published loop goes from the last pixel to the first and means to swap two; of arrays it copies the
  second over the first, since both sides of the assignment are views. So a pixel takes what its neighbour
  holds by then: the neighbour's own neighbour, if that was visited before. Such chains are followed here all
  at once.
  """
  sigma, reach, times = of_severity(GLASS, severity)
  size = image.shape[0]
  blurred = truncated(gaussian_filter(image, sigma)).reshape(-1, image.shape[2])
  reach = reach.astype(jnp.int32)
  row, column = jnp.divmod(jnp.arange(size * size, dtype=jnp.int32), size)

  def visited(y, x):
    return (y > reach) & (y <= size - reach) & (x > reach) & (x <= size - reach)

  def once(i, values):
    drawn = draw.uniform(jax.random.fold_in(key, i), (2, size * size))
    move = jnp.floor(drawn * 2 * reach).astype(jnp.int32) - reach
    moves = visited(row, column)
    y, x = jnp.where(moves, row + move[0], row), jnp.where(moves, column + move[1], column)
    source = y * size + x
    before = (y > row) | ((y == row) & (x > column))
    # Where a chain goes on from each pixel; it ends where a pixel points to itself.
    onwards = jnp.where(before & visited(y, x), source, row * size + column)
    # Chains of up to 64 pixels; one in 2^64 would be longer. A loop, since XLA would otherwise look up again
    # for each lookup what was looked up before it.
    onwards = jax.lax.fori_loop(0, 6, lambda _, on: on[on], onwards)
    source = source[onwards]
    return values[source]

  moved = jax.lax.fori_loop(0, times.astype(jnp.int32), once, blurred)
  return truncated(gaussian_filter(moved.reshape(image.shape), sigma))


def motion_path(
  radius: Float[Array, ""], sigma: Float[Array, ""], angle: Float[Array, ""]
) -> tuple[Float[Array, "k"], Int[Array, "k"], Int[Array, "k"]]:
  """(weight, y, x) of ImageMagick's motion blur: half a Gaussian along a line from the pixel.

  Args:
    radius: in pixels, at most the largest of `MOTION`.
    sigma: of the Gaussian, in pixels.
    angle: in degrees.
  """
  step = jnp.arange(MOTION_REACH + 1, dtype=jnp.float32)
  weight = jnp.where(step < 2 * radius + 1, jnp.exp(-(step**2) / (2 * sigma**2)), 0.0)
  radians = jnp.deg2rad(angle)
  y = jnp.ceil(step * jnp.sin(radians) - 0.5).astype(jnp.int32)
  x = jnp.ceil(step * jnp.cos(radians) - 0.5).astype(jnp.int32)
  return weight / jnp.sum(weight), y, x


@jax.custom_batching.sequential_vmap  # a shift that differs between images is a gather, ten times slower
def sum_of_shifts(
  image: Float[Array, "h w c"], weight: Float[Array, "k"], y: Int[Array, "k"], x: Int[Array, "k"]
) -> Float[Array, "h w c"]:
  """`smeared` along a path, whose weights fall, as a loop."""
  reach, (size, _, channels) = MOTION_REACH, image.shape
  together = 4  # shifts in a turn of the loop, which writes its total to memory once
  padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge").reshape(size + 2 * reach, -1)
  weight, y, x = (jnp.pad(of, (0, together)) for of in (weight, y, x))

  def some(k, total):
    for i in (k * together + j for j in range(together)):
      total += weight[i] * jax.lax.dynamic_slice(
        padded, (reach + y[i], (reach + x[i]) * channels), (size, size * channels)
      )
    return total

  count = jnp.sum(weight > 1e-9)  # the rest, 42 at most, are lost in rounding
  total = jax.lax.fori_loop(0, -(-count // together), some, jnp.zeros((size, size * channels), image.dtype))
  return total.reshape(image.shape)


def product_with_path(
  image: Float[Array, "h w c"], weight: Float[Array, "k"], y: Int[Array, "k"], x: Int[Array, "k"]
) -> Float[Array, "h w c"]:
  """`smeared` along a path by products of spectra."""
  reach = MOTION_REACH
  kernel = jnp.zeros((2 * reach + 1, 2 * reach + 1), jnp.float32)
  return convolved(image, kernel.at[reach + y, reach + x].add(weight), "edge")


def smeared(
  image: Float[Array, "h w c"], radius: Float[Array, ""], sigma: Float[Array, ""], angle: Float[Array, ""]
) -> Float[Array, "h w c"]:
  """The image blurred along `motion_path`, its border repeated.

  On a CPU a sum of 20 to 40 shifted images, one image of a batch after the other; elsewhere, where images go
  side by side, products of spectra.
  """
  path = motion_path(radius, sigma, angle)
  return jax.lax.platform_dependent(image, *path, cpu=sum_of_shifts, default=product_with_path)


def motion_blur(key: RandomKey, image: Image, severity: Severity) -> Image:
  """A motion blur at an angle of -45 to 45 degrees."""
  radius, sigma = of_severity(MOTION, severity)
  angle = draw.uniform(key, (), -45, 45)
  return truncated(smeared(image, radius, sigma, angle) + 0.5 / 255)


@functools.cache
def zoomed(size: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
  """(index, weight) [size]: where scipy's linear zoom of the centre by `factor`, cut to `size`, reads."""
  inner = int(np.ceil(size / factor))
  outer = round(inner * factor)
  at = np.arange(outer) * ((inner - 1) / max(outer - 1, 1)) + (size - inner) // 2
  trim = (outer - size) // 2
  at = at[trim : trim + size]
  index = np.clip(np.floor(at).astype(np.int32), 0, size - 2)
  return index, (at - index).astype(np.float32)


def _zoom(
  image: Float[Array, "h w c"], index: Int[Array, "n"], weight: Float[Array, "n"]
) -> Float[Array, "h w c"]:
  rows = weight[:, None, None]
  image = (1 - rows) * image[index] + rows * image[index + 1]
  columns = weight[None, :, None]
  return (1 - columns) * image[:, index] + columns * image[:, index + 1]


def zoom_blur(key: RandomKey, image: Image, severity: Severity) -> Image:
  """The mean of the image and of zooms into its centre."""
  del key
  factors = [np.arange(1, end, step) for end, step in ZOOM]
  longest = max(map(len, factors))
  table = [
    [zoomed(image.shape[0], float(f)) for f in of] + [zoomed(image.shape[0], 1.0)] * (longest - len(of))
    for of in factors
  ]
  index = jnp.asarray(np.array([[i for i, _ in of] for of in table]))[severity]
  weight = jnp.asarray(np.array([[w for _, w in of] for of in table]))[severity]
  count = jnp.asarray(np.array(list(map(len, factors)), np.int32))[severity]
  total = jax.lax.fori_loop(0, count, lambda i, total: total + _zoom(image, index[i], weight[i]), image)
  return truncated(total / (count + 1))


# --- weather -----------------------------------------------------------------------------------------------


def grey(image: Image) -> Float[Array, "h w 1"]:
  """OpenCV's grey of float images."""
  return (image @ jnp.asarray((0.299, 0.587, 0.114), image.dtype))[..., None]


def snow(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Flakes that fall in streaks, over a whitened image."""
  mean, sd, _, threshold, radius, sigma, share = of_severity(SNOW, severity)
  of_flakes, of_angle = jax.random.split(key)
  size = image.shape[0]
  flakes = apart(severity, lambda: mean + sd * draw.normal(of_flakes, (size, size, 1)))
  table = [zoomed(size, float(of[2])) for of in SNOW]
  flakes = _zoom(flakes, *(jnp.asarray(np.array([row[part] for row in table]))[severity] for part in (0, 1)))
  flakes = truncated(jnp.where(flakes < threshold, 0.0, flakes))
  angle = draw.uniform(of_angle, (), -135, -45)
  flakes = truncated(smeared(flakes, radius, sigma, angle) + 0.5 / 255)
  whitened = share * image + (1 - share) * jnp.maximum(image, 1.5 * grey(image) + 0.5)
  return truncated(whitened + flakes + flakes[::-1, ::-1])


def plasma(
  drawn: Float[Array, "n2"], decay: Float[Array, ""]
) -> tuple[Float[Array, "n n"], Float[Array, ""], Float[Array, ""]]:
  """(heights, lowest, highest) of a map by the diamond-square algorithm on a torus.

  Args:
    drawn: uniform in [-1, 1], one for each place of a square map whose side is a power of two, at least 2.
    decay: how much less heights change with each halving of the distance.
  """
  side, used = math.isqrt(len(drawn)), 0
  heights, wibble = jnp.zeros((1, 1), jnp.float32), jnp.float32(100)
  pairs = heights

  def wobbled(total):
    nonlocal used
    used += total.size
    return total / 4 + wibble * wibble * drawn[used - total.size : used].reshape(total.shape)

  while len(heights) < side:
    count = len(heights)
    below = heights + jnp.roll(heights, -1, 0)
    inside = wobbled(below + jnp.roll(below, -1, 1))
    above = wobbled(inside + jnp.roll(inside, 1, 0) + heights + jnp.roll(heights, -1, 1))
    left = wobbled(inside + jnp.roll(inside, 1, 1) + below)
    rows = [jnp.stack(of, axis=-1).reshape(count, -1) for of in ((heights, above), (left, inside))]
    pairs = jnp.stack(rows, axis=1)
    heights = pairs.reshape(2 * count, -1)
    wibble /= decay
  # Of the array before its last change of shape, which XLA would otherwise make twice.
  return heights, pairs.min(), pairs.max()


def fog(key: RandomKey, image: Image, severity: Severity) -> Image:
  """A plasma of fog, the brightest value kept."""
  thickness, decay = of_severity(FOG, severity)
  size = image.shape[0]
  side = max(256, 1 << (size - 1).bit_length())
  words = draw.bits(key, (side * side // 2,))
  # Uniform in [-1, 1) of 16 bits each, which is finer than 8-bit levels tell.
  drawn = jnp.concatenate([words >> 16, words & 0xFFFF]).astype(jnp.float32) / (1 << 15) - 1
  heights, lowest, highest = plasma(drawn, decay)
  brightest = image.max()
  # Quotients of the whole image's numbers: a division for each pixel takes its time.
  fogged = image + (heights[:size, :size, None] - lowest) * (thickness / (highest - lowest))
  return truncated(fogged * (brightest / (brightest + thickness)))


# --- digital -----------------------------------------------------------------------------------------------


def brightness(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Adds to the value of hue, saturation, value."""
  del key
  value = image.max(axis=-1, keepdims=True)
  brighter = jnp.clip(value + of_severity(BRIGHTNESS, severity), 0.0, 1.0)
  return truncated(jnp.where(value > 0, image * (brighter / jnp.where(value > 0, value, 1.0)), brighter))


def saturate(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Scales and shifts the saturation; what has no hue is given red's, as published."""
  del key
  scale, shift = of_severity(SATURATE, severity)
  value = image.max(axis=-1, keepdims=True)
  span = value - image.min(axis=-1, keepdims=True)
  saturation = span / jnp.where(value > 0, value, 1.0)
  wanted = jnp.clip(saturation * scale + shift, 0.0, 1.0)
  coloured = value - (value - image) * (wanted / jnp.where(saturation > 0, saturation, 1.0))
  red = value * jnp.concatenate([jnp.ones_like(wanted), 1 - wanted, 1 - wanted], axis=-1)
  return truncated(jnp.where(span > 0, coloured, red))


def contrast(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Scales the deviations from each channel's mean."""
  del key
  mean = image.mean(axis=(0, 1), keepdims=True)
  return truncated((image - mean) * of_severity(CONTRAST, severity) + mean)


def sampled(
  image: Float[Array, "n n c"], y: Float[Array, "h w"], x: Float[Array, "h w"], *, repeat_edge: bool
) -> Float[Array, "h w c"]:
  """Linear interpolation at (y, x); beyond the border the image is mirrored, with its edge twice or once.

  Args:
    image: square.
    y, x: in pixels.
    repeat_edge: mirrored as in scipy's "reflect" (the edge twice) instead of OpenCV's reflect 101 (once).
  """
  size = len(image)

  def mirrored(index):
    if repeat_edge:
      index = index % (2 * size)
      return jnp.minimum(index, 2 * size - 1 - index)
    index = jnp.abs(index) % (2 * size - 2)
    return jnp.minimum(index, 2 * size - 2 - index)

  top, left = jnp.floor(y), jnp.floor(x)
  down, right = (y - top)[..., None], (x - left)[..., None]
  rows = [mirrored(top.astype(jnp.int32) + i) for i in (0, 1)]
  columns = [mirrored(left.astype(jnp.int32) + i) for i in (0, 1)]
  upper = (1 - right) * image[rows[0], columns[0]] + right * image[rows[0], columns[1]]
  lower = (1 - right) * image[rows[1], columns[0]] + right * image[rows[1], columns[1]]
  return (1 - down) * upper + down * lower


def sampled_inside(
  image: Float[Array, "h w c"], y: Float[Array, "h w"], x: Float[Array, "h w"]
) -> Float[Array, "h w c"]:
  """Linear interpolation at (y, x) in pixels; beyond the border everything is 0.

  Args:
    image: square.
    y, x: in pixels.
  """
  size = image.shape[0]
  # With a frame of zeros, which is all that can be seen from outside.
  image = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
  y, x = (jnp.clip(at + 1, 0.0, size + 1.0) for at in (y, x))
  return sampled(image, y, x, repeat_edge=False)


@functools.cache
def smoothing(size: int) -> np.ndarray:
  """float32 [5, size, size]: the matrix of the displacement's Gaussian filter, cut at 3 sigma, mirrored."""
  found = np.zeros((5, size, size))
  for severity, (_, sigma, _) in enumerate(ELASTIC):
    radius = int(3 * sigma + 0.5)
    offset = np.arange(-radius, radius + 1)
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    weight /= weight.sum()
    for row in range(size):
      index = (row + offset) % (2 * size)
      np.add.at(found[severity, row], np.minimum(index, 2 * size - 1 - index), weight)
  return found.astype(np.float32)


def elastic_transform(key: RandomKey, image: Image, severity: Severity) -> Image:
  """A random affine map, then a smooth random displacement."""
  length, _, reach = of_severity(ELASTIC, severity)
  of_map, of_y, of_x = jax.random.split(key, 3)
  size = image.shape[0]
  centre, square = float(size // 2), float(size // 3)
  # Three corners of a square, (x, y), and where they go.
  before = jnp.asarray([[square, square], [square, -square], [-square, -square]], jnp.float32) + centre
  after = before + draw.uniform(of_map, (3, 2), -reach, reach)
  # The map back, from the edges that meet in the second corner.
  to, back = (jnp.stack([p[0] - p[1], p[2] - p[1]], axis=1) for p in (after, before))
  determinant = to[0, 0] * to[1, 1] - to[0, 1] * to[1, 0]
  inverse = jnp.stack([jnp.stack([to[1, 1], -to[0, 1]]), jnp.stack([-to[1, 0], to[0, 0]])]) / determinant
  matrix = back @ inverse
  pixel = jnp.arange(size, dtype=jnp.float32)
  y, x = jnp.meshgrid(pixel, pixel, indexing="ij")
  dx, dy = x - after[1, 0], y - after[1, 1]
  at_x = before[1, 0] + matrix[0, 0] * dx + matrix[0, 1] * dy
  at_y = before[1, 1] + matrix[1, 0] * dx + matrix[1, 1] * dy
  at_y, at_x = apart(severity, lambda: (at_y, at_x))
  warped = apart(severity, lambda: sampled(image, at_y, at_x, repeat_edge=False))
  smooth = jnp.asarray(smoothing(size))[severity]
  # One image at a time: how a product of a whole batch is rounded depends on how many images there are.
  smoothed = one_by_one(lambda matrix, plane: matrix @ plane @ matrix.T)
  moved = [length * smoothed(smooth, draw.uniform(k, (size, size), -1, 1)) for k in (of_y, of_x)]
  at_y, at_x = apart(severity, lambda: (y + moved[0], x + moved[1]))
  return truncated(sampled(warped, at_y, at_x, repeat_edge=True))


@functools.cache
def boxes(size: int) -> tuple[np.ndarray, np.ndarray]:
  """(down float32 [5, m, size], up int32 [5, size]): Pillow's resizing to boxes; which box a pixel is in."""
  smaller = [int(size * share) for share in PIXELATE]
  down, up = np.zeros((5, max(smaller), size)), np.zeros((5, size), np.int32)
  for severity, small in enumerate(smaller):
    scale = size / small
    for i in range(small):
      centre = (i + 0.5) * scale
      first, last = int(centre - scale / 2 + 0.5), min(int(centre + scale / 2 + 0.5), size)
      at = (np.arange(first, last) - centre + 0.5) / scale
      weight = ((at > -0.5) & (at <= 0.5)).astype(float)
      down[severity, i, first:last] = weight / weight.sum()
    up[severity] = np.minimum((np.arange(size) + 0.5) * small / size, small - 1).astype(np.int32)
  return down.astype(np.float32), up


def pixelate(key: RandomKey, image: Image, severity: Severity) -> Image:
  """Boxes of their mean colour."""
  del key
  down, up = (jnp.asarray(table)[severity] for table in boxes(image.shape[0]))
  levels = jnp.round(image * 255)
  for spec in ("xj,ijc->ixc", "yi,ixc->yxc"):  # Pillow goes along rows first, and rounds in between
    levels = jnp.floor(jnp.einsum(spec, down, levels) + 0.5)
  return levels[up][:, up] / 255


def jpeg_compression(key: RandomKey, image: Image, severity: Severity) -> Image:
  """JPEG and back."""
  del key
  return jpeg.compressed(image, jnp.asarray(JPEG_QUALITY, jnp.int32)[severity])


CORRUPTIONS: dict[str, Corruption] = {
  "gaussian_noise": gaussian_noise,
  "shot_noise": shot_noise,
  "impulse_noise": impulse_noise,
  "defocus_blur": defocus_blur,
  "glass_blur": glass_blur,
  "motion_blur": motion_blur,
  "zoom_blur": zoom_blur,
  "snow": snow,
  "fog": fog,
  "brightness": brightness,
  "contrast": contrast,
  "elastic_transform": elastic_transform,
  "pixelate": pixelate,
  "jpeg_compression": jpeg_compression,
  "speckle_noise": speckle_noise,
  "gaussian_blur": gaussian_blur,
  "saturate": saturate,
}
