"""The corruptions of ImageNet-C and C-bar on the CPU, with the libraries and loops that their authors used.

Hendrycks & Dietterich 2019 and Mintun et al. 2021, from what their papers and code do, one image at a time:
what `benchmarks.corruptions` is timed beside and the tests are held against. Each function takes an image,
uint8 [h, w, 3], a severity 0 to 4 and what was drawn, and returns uint8.
scikit-image's Gaussian filter is scipy's, its noise and colours are written out; ImageMagick's motion blur is
the sum of shifted images that later packages have in its place.
"""

import io
from collections.abc import Callable
from typing import Any

import cv2
import matplotlib.colors
import numpy as np
import scipy.ndimage
from PIL import Image

from biasjax.ops import corruptions, frost
from biasjax.ops.corruptions_bar import STRENGTHS
from biasjax.ops.spatter import SPATTER

Pixels = np.ndarray


def written(image: np.ndarray) -> Pixels:
  """Floats in [0, 1] as they are written as 8 bits."""
  return np.uint8(np.clip(image, 0, 1) * 255)


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
  """scikit-image's Gaussian filter, of rows and columns only."""
  across = (sigma, sigma, 0)[: image.ndim]
  return scipy.ndimage.gaussian_filter(image, across, mode="nearest", truncate=4)


# --- noise -------------------------------------------------------------------------------------------------


def gaussian_noise(image: Pixels, severity: int, noise: np.ndarray) -> Pixels:
  """Normal noise is added."""
  return written(image / 255 + corruptions.GAUSSIAN_NOISE[severity] * noise)


def shot_noise(image: Pixels, severity: int, rng: np.random.RandomState) -> Pixels:
  """NumPy's Poisson numbers."""
  photons = corruptions.SHOT_NOISE[severity]
  return written(rng.poisson(image / 255 * photons) / photons)


def impulse_noise(image: Pixels, severity: int, flipped: np.ndarray, salt: np.ndarray) -> Pixels:
  """Salt and pepper, as scikit-image's random_noise."""
  out = image / 255
  hit = flipped <= corruptions.IMPULSE_NOISE[severity]
  white = salt > 0.5
  out[hit & white] = 1
  out[hit & ~white] = 0
  return written(out)


def speckle_noise(image: Pixels, severity: int, noise: np.ndarray) -> Pixels:
  """Normal noise in proportion."""
  x = image / 255
  return written(x + x * corruptions.SPECKLE_NOISE[severity] * noise)


# --- blur --------------------------------------------------------------------------------------------------


def gaussian_blur(image: Pixels, severity: int) -> Pixels:
  """A Gaussian filter."""
  return written(gaussian(image / 255, corruptions.GAUSSIAN_BLUR[severity]))


def disk(severity: int) -> np.ndarray:
  """A disk, blurred a little by OpenCV."""
  radius, sigma = corruptions.DEFOCUS[severity]
  axis = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
  inside = (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).astype(np.float32)
  return cv2.GaussianBlur(inside / inside.sum(), (3, 3) if radius <= 8 else (5, 5), sigma)


def defocus_blur(image: Pixels, severity: int) -> Pixels:
  """OpenCV's filter2D with a disk, channel by channel."""
  kernel, x = disk(severity), image / 255
  return written(np.stack([cv2.filter2D(x[..., c], -1, kernel) for c in range(3)], axis=-1))


def glass_blur(image: Pixels, severity: int, moves: np.ndarray) -> Pixels:
  """The published loop, in which both sides of a swap are views: the first pixel gets the second's value."""
  sigma, reach, times = corruptions.GLASS[severity]
  size = len(image)
  x = np.uint8(gaussian(image / 255, sigma) * 255 + 1e-4)
  for i in range(times):
    for h in range(size - reach, reach, -1):
      for w in range(size - reach, reach, -1):
        dy, dx = moves[i, :, h, w]
        x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
  return written(gaussian(x / 255, sigma))


def motion_blurred(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
  """The weighted sum of the image shifted along a line, edges repeated; `angle` in degrees."""
  width, size = int(2 * radius + 1), len(image)
  weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
  point = width * np.sin(np.deg2rad(angle)), width * np.cos(np.deg2rad(angle))
  blurred = np.zeros(image.shape)
  for i, weight in enumerate(weights / weights.sum()):
    y, x = (int(np.ceil(i * along / np.hypot(*point) - 0.5)) for along in point)
    rows, columns = (np.clip(np.arange(size) + move, 0, size - 1) for move in (y, x))
    blurred += weight * image[rows][:, columns]
  return blurred


def motion_blur(image: Pixels, severity: int, angle: float) -> Pixels:
  """A motion blur."""
  return np.uint8(np.clip(motion_blurred(image, *corruptions.MOTION[severity], angle) + 0.5, 0, 255))


def clipped_zoom(image: np.ndarray, factor: float) -> np.ndarray:
  """scipy's zoom into the centre."""
  size = len(image)
  inner = int(np.ceil(size / factor))
  top = (size - inner) // 2
  zoomed = scipy.ndimage.zoom(image[top : top + inner, top : top + inner], (factor, factor, 1), order=1)
  trim = (len(zoomed) - size) // 2
  return zoomed[trim : trim + size, trim : trim + size]


def zoom_blur(image: Pixels, severity: int) -> Pixels:
  """The mean of zooms."""
  end, step = corruptions.ZOOM[severity]
  factors, x = np.arange(1, end, step), (image / 255).astype(np.float32)
  return written((x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1))


# --- weather -----------------------------------------------------------------------------------------------


def snow(image: Pixels, severity: int, noise: np.ndarray, angle: float) -> Pixels:
  """Zoomed, thresholded noise in streaks over a whitened image; an angle in degrees."""
  mean, sd, factor, threshold, radius, sigma, share = corruptions.SNOW[severity]
  flakes = clipped_zoom((mean + sd * noise)[..., None], factor)
  flakes[flakes < threshold] = 0
  streaks = np.round(motion_blurred(written(flakes), radius, sigma, angle)) / 255
  x = (image / 255).astype(np.float32)
  white = np.maximum(x, cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 0.5)
  return written(share * x + (1 - share) * white + streaks + np.rot90(streaks, 2))


def frosted(image: Pixels, severity: int, photograph: Pixels, top: int, left: int) -> Pixels:
  """A crop of a photograph is added."""
  of_image, of_frost = frost.FROST[severity]
  crop = photograph[top : top + len(image), left : left + len(image)]
  return np.uint8(np.clip(of_image * image + of_frost * crop, 0, 255))


def plasma(size: int, decay: float, rng: np.random.RandomState) -> np.ndarray:
  """Heights in [0, 1] by diamonds and squares on a torus, whole arrays at a time."""
  heights, step, wibble = np.zeros((size, size)), size, 100.0

  def wobbled(total):
    return total / 4 + wibble * rng.uniform(-wibble, wibble, total.shape)

  while step >= 2:
    half = step // 2
    corners = heights[::step, ::step]
    total = corners + np.roll(corners, -1, 0)
    heights[half::step, half::step] = wobbled(total + np.roll(total, -1, 1))
    inside = heights[half::step, half::step]
    rows = inside + np.roll(inside, 1, 0) + corners + np.roll(corners, -1, 1)
    heights[::step, half::step] = wobbled(rows)
    columns = inside + np.roll(inside, 1, 1) + corners + np.roll(corners, -1, 0)
    heights[half::step, ::step] = wobbled(columns)
    step, wibble = half, wibble / decay
  heights -= heights.min()
  return heights / heights.max()


def fog(image: Pixels, severity: int, rng: np.random.RandomState) -> Pixels:
  """A plasma is added, the brightest value kept."""
  thickness, decay = corruptions.FOG[severity]
  size, x = len(image), image / 255
  x += thickness * plasma(max(256, 1 << (size - 1).bit_length()), decay, rng)[:size, :size, None]
  brightest = image.max() / 255
  return written(x * brightest / (brightest + thickness))


def spatter(image: Pixels, severity: int, noise: np.ndarray) -> Pixels:
  """Water by OpenCV's edges, distances and filters; or mud."""
  mean, sd, sigma, threshold, last = SPATTER[severity]
  x = image.astype(np.float32) / 255
  layer = gaussian(mean + sd * noise, sigma)
  layer[layer < threshold] = 0
  if severity >= 3:
    mud = gaussian((layer > threshold).astype(np.float32), last)
    mud[mud < 0.8] = 0
    return written(x * (1 - mud[..., None]) + mud[..., None] * np.array([63, 42, 20]) / 255)
  drops = (layer * 255).astype(np.uint8)
  far = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
  far = cv2.blur(cv2.threshold(far, 20, 20, cv2.THRESH_TRUNC)[1], (3, 3)).astype(np.uint8)
  emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
  lit = cv2.blur(cv2.filter2D(cv2.equalizeHist(far), cv2.CV_8U, emboss), (3, 3)).astype(np.float32)
  bright = drops * lit
  return written(x + (last * bright / bright.max())[..., None] * np.array([175, 238, 238]) / 255)


# --- digital -----------------------------------------------------------------------------------------------


def brightness(image: Pixels, severity: int) -> Pixels:
  """The value of HSV is raised."""
  hsv = matplotlib.colors.rgb_to_hsv(image / 255)
  hsv[..., 2] = np.clip(hsv[..., 2] + corruptions.BRIGHTNESS[severity], 0, 1)
  return written(matplotlib.colors.hsv_to_rgb(hsv))


def saturate(image: Pixels, severity: int) -> Pixels:
  """The saturation of HSV is scaled and shifted."""
  scale, shift = corruptions.SATURATE[severity]
  hsv = matplotlib.colors.rgb_to_hsv(image / 255)
  hsv[..., 1] = np.clip(hsv[..., 1] * scale + shift, 0, 1)
  return written(matplotlib.colors.hsv_to_rgb(hsv))


def contrast(image: Pixels, severity: int) -> Pixels:
  """Deviations from the mean are scaled."""
  x = image / 255
  mean = x.mean((0, 1), keepdims=True)
  return written((x - mean) * corruptions.CONTRAST[severity] + mean)


def elastic_transform(image: Pixels, severity: int, corners: np.ndarray, moves: np.ndarray) -> Pixels:
  """OpenCV's affine warp, then scipy's map_coordinates; what is drawn is uniform in [-1, 1]."""
  length, sigma, reach = corruptions.ELASTIC[severity]
  size = len(image)
  square, centre = size // 3, size // 2
  before = np.float32([[square, square], [square, -square], [-square, -square]]) + centre
  matrix = cv2.getAffineTransform(before, (before + reach * corners).astype(np.float32))
  x = (image / 255).astype(np.float32)
  x = cv2.warpAffine(x, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
  smooth = [length * scipy.ndimage.gaussian_filter(m, sigma, mode="reflect", truncate=3) for m in moves]
  at = np.mgrid[:size, :size] + smooth
  moved = [scipy.ndimage.map_coordinates(x[..., c], at, order=1, mode="reflect") for c in range(3)]
  return written(np.stack(moved, -1))


def pixelate(image: Pixels, severity: int) -> Pixels:
  """Pillow's boxes."""
  size = len(image)
  small = Image.fromarray(image).resize(
    (int(size * corruptions.PIXELATE[severity]),) * 2, Image.Resampling.BOX
  )
  return np.asarray(small.resize((size, size), Image.Resampling.BOX))


def jpeg_compression(image: Pixels, severity: int) -> Pixels:
  """Pillow's JPEG."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "JPEG", quality=corruptions.JPEG_QUALITY[severity])
  return np.asarray(Image.open(file))


# --- C-bar, pixel by pixel ---------------------------------------------------------------------------------


def by_pixel(size: int, kernel: Callable[[int, int], Any]) -> np.ndarray:
  """kernel(y, x) of every pixel."""
  return np.array([[kernel(y, x) for x in range(size)] for y in range(size)])


def coloured(phases: np.ndarray, exponent: int) -> np.ndarray:
  """One plane of noise, [n, n]; phases as drawn."""
  size = len(phases)
  radius = by_pixel(size, lambda y, x: np.linalg.norm(np.array([y, x]) - size / 2))
  amplitude = radius if exponent == 1 else 1 / (radius**2 + 1)
  spectrum = np.roll(amplitude * np.exp(1j * phases), (size // 2, size // 2), (0, 1))
  noise = np.fft.ifft2(spectrum).real
  return noise / noise.std()


def blue_noise_sample(image: Pixels, severity: int, phases: np.ndarray) -> Pixels:
  """Pixels where noise is low become black."""
  threshold = 0.3 * STRENGTHS["blue_noise_sample"][severity] - 2.5
  return image * (coloured(phases[0], 1) > threshold)[..., None]


def brownish_noise(image: Pixels, severity: int, phases: np.ndarray) -> Pixels:
  """Noise of low frequencies."""
  noise = np.stack([coloured(of, -2) for of in phases], axis=-1)
  return np.uint8(np.clip(image + 6.4 * STRENGTHS["brownish_noise"][severity] * noise, 0, 255))


def single_frequency_greyscale(image: Pixels, severity: int, frequency: np.ndarray, phase: float) -> Pixels:
  """A plane wave."""
  wave = by_pixel(len(image), lambda y, x: np.sin(x * frequency[0] + y * frequency[1] + phase))
  amplitude = 19.6 * STRENGTHS["single_frequency_greyscale"][severity]
  return np.uint8(np.clip(image + amplitude * wave[..., None], 0, 255))


def cocentric_sine_waves(
  image: Pixels, severity: int, centre: np.ndarray, frequency: float, amplitude: float, width: float
) -> Pixels:
  """Wavy rings."""

  def ring(y, x):
    dx, dy = x - centre[0], y - centre[1]
    wavy = np.sqrt(dx**2 + dy**2) + np.sin(np.arctan2(dx, dy) * frequency) * amplitude
    return wavy % width / width - 0.5

  noise = 12.8 * STRENGTHS["cocentric_sine_waves"][severity] * by_pixel(len(image), ring)
  return np.uint8(np.clip(image + noise[..., None], 0, 255))


def plasma_noise(
  image: Pixels, severity: int, time: float, iterations: int, sharpness: float, scale: float
) -> Pixels:
  """Colours that flow."""

  def colour(y, x):
    at, frequency, slowness, damping = np.array([x, y]) / scale, 1.0, 1.0, 1.0
    for _ in range(iterations):
      flow = np.array(
        [np.cos(at[1] * frequency + time / slowness), np.sin(at[0] * frequency + time / slowness)]
      )
      flow /= damping
      at = at + flow + 0.3 * np.array([-flow[1], flow[0]])
      frequency, slowness, damping = frequency * 1.93, slowness * 1.15, damping * (2.25 - sharpness)
    return np.sin(at[0] - time), np.sin((at[0] + at[1] + np.sin(time)) / 2), np.sin(at[1] + time)

  amount = 6.4 * STRENGTHS["plasma_noise"][severity]
  return np.uint8(np.clip((1 - amount / 255) * image + amount * by_pixel(len(image), colour), 0, 255))


def perlin_noise(image: Pixels, severity: int, order: np.ndarray, gradients: np.ndarray) -> Pixels:
  """Turbulence of five octaves."""

  def noise(y, x):
    cell = int(np.floor(y)), int(np.floor(x))
    rest = y - cell[0], x - cell[1]

    def dot(i, j):
      of = gradients[order[(order[(cell[0] + i) % 256] + (cell[1] + j) % 256) % 256]]
      return of[0] * (rest[0] - i) + of[1] * (rest[1] - j)

    sy, sx = (r * r * (3 - 2 * r) for r in rest)
    near, far = (dot(0, j) + sy * (dot(1, j) - dot(0, j)) for j in (0, 1))
    return 1.5 * (near + sx * (far - near))

  grid = 32 * len(image) / 224

  def turbulence(y, x):
    total = sum(abs(noise(octave * y / grid, octave * x / grid)) / octave for octave in (1, 2, 4, 8, 16))
    return np.clip(total / 2 + 0.5, 0, 1)

  share = STRENGTHS["perlin_noise"][severity] / 20
  covered = 255 * share * by_pixel(len(image), turbulence)
  return np.uint8(np.clip((1 - share) * image + covered[..., None], 0, 255))


def checkerboard_cutout(image: Pixels, severity: int, angle: float, side: float, cells: np.ndarray) -> Pixels:
  """Some squares of a turned checkerboard are grey."""
  size = len(image)
  count = int(4 * size // side)
  grid = cells[:count, :count] < STRENGTHS["checkerboard_cutout"][severity] / 10
  out = image.copy()
  for y, x in np.ndindex(size, size):
    across = (np.cos(angle) * y + np.sin(angle) * x) / side
    down = (np.cos(angle) * x - np.sin(angle) * y) / side
    if int(across % 2) == int(down % 2) and grid[int(across), int(down)]:
      out[y, x] = 128
  return out


def _star(y, x, centre, rays, lengths, exponent):
  dy, dx = y - centre[0], x - centre[1]
  turn = (np.arctan2(dx, dy) + np.pi) / (2 * np.pi) * rays
  ray = int(turn)
  rest = turn - ray
  length = lengths[ray % rays] + rest * (lengths[(ray + 1) % rays] - lengths[ray % rays])
  glow = (length**2 / (dy**2 + dx**2 + 1e-4)) ** exponent
  return np.clip((1 - (rest - 0.5) ** 2) * glow, 0, 1)


def sparkles(
  image: Pixels, severity: int, centres: np.ndarray, rays: np.ndarray, lengths: np.ndarray
) -> Pixels:
  """Five stars."""
  size, radius = len(image), STRENGTHS["sparkles"][severity] / 100 * len(image)
  out = image.astype(float)
  for centre, count, of in zip(centres, rays, lengths, strict=True):
    long = np.maximum(1, radius + 0.25 * radius * of)
    light = by_pixel(size, lambda y, x, c=centre, n=count, of=long: _star(y, x, c, n, of, 1.0))
    out += light[..., None] * (255 - out)
  return np.uint8(np.clip(out, 0, 255))


def inverse_sparkles(
  image: Pixels, severity: int, centre: np.ndarray, rays: int, lengths: np.ndarray
) -> Pixels:
  """White, but for a star."""
  size, exponent = len(image), 6.5 * STRENGTHS["inverse_sparkles"][severity] / 50
  long = size / 4 + size / 16 * lengths
  seen = by_pixel(size, lambda y, x: _star(y, x, centre, rays, long, exponent))
  return np.uint8(np.clip(255 + seen[..., None] * (image.astype(float) - 255), 0, 255))


def caustic_refraction(image: Pixels, severity: int, time: float, scale: float) -> Pixels:
  """Seen through water that moves."""
  size, strength = len(image), STRENGTHS["caustic_refraction"][severity]

  def light(y, x):
    p = np.array([y, x]) / scale % 1 * 6.28318530718 - 250
    i, total = p, 1.0
    for n in range(5):
      t = time * (1 - 3.5 / (n + 1))
      i = p + np.array([np.cos(t - i[0]) + np.sin(t + i[1]), np.sin(t - i[1]) + np.cos(t + i[0])])
      total += 1 / np.hypot(p[0] * 0.005 / np.sin(i[0] + t), p[1] * 0.005 / np.cos(i[1] + t))
    return np.clip(abs(1.17 - (total / 5) ** 1.4) ** 8, 0, 1)

  lights = np.pad(scipy.ndimage.gaussian_filter(by_pixel(size, light), 1), 1)
  framed = np.pad(image / 255, ((1, 2), (1, 2), (0, 0)))

  def seen(y, x):
    down, right = lights[y + 2, x + 1] - lights[y, x + 1], lights[y + 1, x + 2] - lights[y + 1, x]
    normal = np.array([down, right, 1.0]) / np.sqrt(down**2 + right**2 + 1)
    move = np.zeros(2)
    if normal[2] < 1 - 1e-3:
      # Snell: from the view (0, 0, 1) to a ray in the plane of both, at the smaller angle to the normal.
      angle = np.arcsin(np.sin(np.arccos(normal[2])) / 4)
      across = np.array([0, 0, 1]) - normal * normal[2]
      ray = np.cos(angle) * normal + np.sin(angle) * across / np.linalg.norm(across)
      move = np.round(ray * 0.05 * size * strength, 3)[:2]
    at = np.clip(np.array([y, x]) + move + 1, 0, size + 1)
    top, left = int(at[0]), int(at[1])
    v, u = at - (top, left)
    upper = (1 - u) * framed[top, left] + u * framed[top, left + 1]
    lower = (1 - u) * framed[top + 1, left] + u * framed[top + 1, left + 1]
    return (1 - v) * upper + v * lower + (down - right) * 0.2 * strength

  return written(by_pixel(size, seen))
