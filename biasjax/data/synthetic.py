"""Drawn pictures of a shape that wears a texture: a small world in which the two can be pulled apart.

16 categories, each with an outline (`OUTLINES`) and a texture (`TEXTURES`) of its own. Outlines vary in
position, size, orientation and form; textures in period, orientation, phase and colours; backgrounds in
colour and structure. Everything follows from a `numpy.random.Generator`, on any machine.
"""

import colorsys
import itertools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

Points = Float[np.ndarray, "_ 2"]
Field = Float[np.ndarray, "h w"]  # in [0, 1]
Picture = UInt8[np.ndarray, "h w 3"]
# -> two colours of a texture and one of a background, float [3] in [0, 1].
Palette = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]
OVERSAMPLING = 2  # of textures and backgrounds, before they are averaged down
OUTLINE_OVERSAMPLING = 4
CLUTTER = 1  # things in a background, at most
HALO = 0.4  # how much of its contrast a texture keeps beyond the outline, in the background's colour
RENDITIONS = ("shape_only", "texture_only", "silhouette", "edges")
# Severity 1, 2, 3 of each corruption.
CORRUPTIONS: dict[str, tuple[float, ...]] = {
  "gaussian_noise": (0.06, 0.12, 0.2),  # standard deviation, of [0, 1]
  "impulse_noise": (0.03, 0.08, 0.16),  # share of the pixels
  "defocus_blur": (0.012, 0.022, 0.035),  # radius, of the side
  "fog": (0.3, 0.5, 0.7),  # share of the fog
  "contrast": (0.5, 0.3, 0.15),  # what is left of it
  "pixelate": (2, 4, 8),  # pixels that become one
}


def _polar(radius: Callable[[np.ndarray], np.ndarray], n: int = 120) -> Points:
  angle = np.arange(n) * (2 * math.pi / n)
  return np.stack([radius(angle) * np.sin(angle), -radius(angle) * np.cos(angle)], axis=1)


def _star(points: int, inner: float) -> Points:
  angle = np.arange(2 * points) * (math.pi / points)
  radius = np.where(np.arange(2 * points) % 2, inner, 1.0)
  return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _arc(x: float, y: float, radius: float, start: int, stop: int, n: int = 40) -> Points:
  """Points on a circle from `start` to `stop` degrees, 0 to the right and 90 down."""
  angle = np.radians(np.linspace(start, stop, n))
  return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def _heart() -> Points:
  t = np.arange(100) * (2 * math.pi / 100)
  x = 16 * np.sin(t) ** 3
  y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
  return np.stack([x, -y - 2], axis=1) / 16


def _crescent() -> Points:
  return np.concatenate([_arc(0.0, 0.0, 1.0, 50, 310), _arc(0.55, 0.0, 0.77, 265, 95)])


def _drop() -> Points:
  return np.concatenate([_arc(0.0, 0.3, 0.7, -30, 210), [[0.0, -1.1]]])


def _fish() -> Points:
  t = np.radians(np.linspace(-150, 150, 60))
  body = np.stack([0.3 + 0.75 * np.cos(t), 0.52 * np.sin(t)], axis=1)
  return np.concatenate([body, [[-1.0, 0.55], [-0.75, 0.0], [-1.0, -0.55]]])


def _arch() -> Points:
  return np.concatenate(
    [
      [[-0.9, 1.0]],
      _arc(0.0, -0.05, 0.9, 180, 360),
      [[0.9, 1.0], [0.42, 1.0]],
      _arc(0.0, -0.05, 0.42, 360, 180),
      [[-0.42, 1.0]],
    ]
  )


# Category -> its outlines, within about the unit circle: what is enclosed by the first and not by the second.
OUTLINES: dict[str, tuple[Points, ...]] = {
  "arch": (_arch(),),
  "arrow": (
    np.array(
      [[0, -1.0], [0.85, -0.1], [0.33, -0.1], [0.33, 1.0], [-0.33, 1.0], [-0.33, -0.1], [-0.85, -0.1]]
    ),
  ),
  "bolt": (np.array([[0.1, -1.1], [-0.62, 0.2], [-0.08, 0.2], [-0.3, 1.1], [0.62, -0.22], [0.1, -0.22]]),),
  "circle": (_polar(lambda a: 0.92 + 0 * a),),
  "crescent": (_crescent(),),
  "cross": (
    np.array(
      [
        *([-0.3, -1], [0.3, -1], [0.3, -0.3], [1, -0.3], [1, 0.3], [0.3, 0.3]),
        *([0.3, 1], [-0.3, 1], [-0.3, 0.3], [-1, 0.3], [-1, -0.3], [-0.3, -0.3]),
      ]
    ),
  ),
  "drop": (_drop(),),
  "fish": (_fish(),),
  "flower": (_polar(lambda a: 0.74 + 0.3 * np.cos(5 * a)),),
  "gear": (_polar(lambda a: np.where(np.cos(9 * a) > 0, 1.0, 0.74), 360), _polar(lambda a: 0.3 + 0 * a)),
  "heart": (_heart(),),
  "hourglass": (np.array([[-0.8, -1], [0.8, -1], [0.14, 0], [0.8, 1], [-0.8, 1], [-0.14, 0]]),),
  "ring": (_polar(lambda a: 0.98 + 0 * a), _polar(lambda a: 0.56 + 0 * a)),
  "square": (np.array([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]]),),
  "star": (_star(5, 0.45),),
  "triangle": (np.array([[0, -1.05], [0.98, 0.7], [-0.98, 0.7]]),),
}
CATEGORIES = tuple(OUTLINES)
CATEGORY_INDEX = {category: i for i, category in enumerate(CATEGORIES)}


def _wave(t: np.ndarray) -> np.ndarray:
  """A sine of period 1, in [0, 1]."""
  return 0.5 + 0.5 * np.sin(2 * math.pi * t)


def _lattice(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  """Distance to the nearest point of a hexagonal lattice of spacing 1."""
  height = math.sqrt(3)
  first = np.hypot(u - np.round(u), v - height * np.round(v / height))
  second = np.hypot(u - 0.5 - np.round(u - 0.5), v - height * (np.round(v / height - 0.5) + 0.5))
  return np.minimum(first, second)


def _noise(rng: np.random.Generator, size: int, cells_x: int, cells_y: int) -> Field:
  """Smooth noise with so many cells a side, stretched to [0, 1]."""
  coarse = Image.fromarray(rng.random((max(2, cells_y), max(2, cells_x)), np.float32))
  field = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float64)
  return (field - field.min()) / (field.max() - field.min())


def _step(values: np.ndarray) -> np.ndarray:
  return (values > 0.5).astype(np.float64)


def _bricks(u, v, rng, period):
  row = np.floor(v)
  x = u / 2 + 0.5 * (row % 2)
  return 1.0 - ((v % 1 < 0.22) | (x % 1 < 0.11))


def _scales(u, v, rng, period):
  row = np.floor(2 * v)
  x, y = (u + 0.5 * (row % 2)) % 1 - 0.5, 2 * v - row
  return np.clip(np.hypot(2 * x, y) / 1.1, 0, 1) ** 2


def _triangles(u, v, rng, period):
  w = v * 2 / math.sqrt(3)
  return ((np.floor(u - w / 2) + np.floor(w) + np.floor(u + w / 2)) % 2).astype(np.float64)


def _dashes(u, v, rng, period):
  row = np.floor(2 * v)
  x = u / 2 + 0.5 * (row % 2)
  return ((2 * v % 1 < 0.5) & (x % 1 < 0.6)).astype(np.float64)


def _speckle(u, v, rng, period):
  size = len(u)
  cells = max(2, round(2.2 * size / period))
  dots = Image.fromarray((rng.random((cells, cells)) < 0.12).astype(np.uint8))
  return np.asarray(dots.resize((size, size), Image.Resampling.NEAREST), np.float64)


def _blobs(u, v, rng, period):
  cells = round(1.6 * len(u) / period)
  return _step(_noise(rng, len(u), cells, cells))


def _brushed(u, v, rng, period):
  cells = round(3.5 * len(u) / period)
  field = _noise(rng, len(u), *((cells, cells // 7) if rng.random() < 0.5 else (cells // 7, cells)))
  return np.clip(0.5 + 2 * (field - 0.5), 0, 1)


def _grains(u, v, rng, period):
  size = len(u)
  cells = min(size, round(5 * size / period))
  values = Image.fromarray(rng.random((cells, cells), np.float32))
  return np.asarray(values.resize((size, size), Image.Resampling.NEAREST), np.float64)


# Category -> its texture: (u, v, rng, period) -> [0, 1]; u and v in periods, `period` in pixels of the field.
TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator, float], Field]] = {
  "arch": lambda u, v, rng, period: _wave(u),  # grating
  "arrow": lambda u, v, rng, period: (np.floor(2 * u) + np.floor(2 * v)) % 2,  # checks
  "bolt": lambda u, v, rng, period: _step(1.38 - 2 * _lattice(u, v)),  # dots
  "circle": _bricks,
  "crescent": _grains,
  "cross": _blobs,
  "drop": lambda u, v, rng, period: _step(_wave(v + 0.5 * np.abs(u % 1 - 0.5) * 2)),  # zigzag
  "fish": lambda u, v, rng, period: ((u % 1 < 0.25) | (v % 1 < 0.25)).astype(np.float64),  # grid
  "flower": _scales,
  "gear": lambda u, v, rng, period: _wave(3 * _lattice(u / 2, v / 2)),  # targets
  "heart": _triangles,
  "hourglass": _speckle,
  "ring": lambda u, v, rng, period: _step(_wave(u + 1.2 * (_noise(rng, len(u), 6, 6) - 0.5) * 2)),  # wood
  "square": _brushed,
  "star": _dashes,
  "triangle": lambda u, v, rng, period: _step(_lattice(u, v) * 1.12),  # honeycomb
}


def outline(rng: np.random.Generator, category: str, size: int) -> list[Points]:
  """The category's outlines in pixels, [n, 2] as (x, y), placed and deformed at random within the picture."""
  radius = rng.uniform(0.3, 0.44)
  centre = 0.5 + rng.uniform(-1, 1, 2) * (0.54 - radius)
  angle = rng.uniform(-0.8, 0.8)
  turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
  stretch, shear = math.exp(rng.uniform(-0.16, 0.16)), rng.uniform(-0.15, 0.15)
  form = turn @ np.array([[stretch, shear], [0, 1 / stretch]])
  bend = rng.uniform(-0.08, 0.08, (2, 2, 2))
  phase = rng.uniform(0, 2 * math.pi, (2, 2, 2))
  placed = []
  for points in OUTLINES[category]:
    closed = np.concatenate([points, points[:1]])
    # Straight sides bend too, once they are made of short ones.
    dense = np.concatenate([np.linspace(a, b, 8, endpoint=False) for a, b in itertools.pairwise(closed)])
    waves = bend * np.sin(2.2 * dense[:, :, None, None] * [[[1.0], [1.6]]] + phase)
    dense = dense + waves.sum((1, 2))
    placed.append((centre + radius * dense @ form.T) * size)
  return placed


def mask(outlines: list[Points], size: int) -> Field:
  """How much of each pixel the outlines enclose."""
  scale = OUTLINE_OVERSAMPLING
  image = Image.new("L", (size * scale, size * scale))
  draw = ImageDraw.Draw(image)
  for fill, points in zip((255, 0), outlines, strict=False):
    draw.polygon([tuple(point) for point in points * scale], fill=fill)
  return np.asarray(image.reduce(scale), np.float64) / 255


def edges(outlines: list[Points], size: int) -> Field:
  """The outlines as lines, 1 on the line."""
  scale = OUTLINE_OVERSAMPLING
  image = Image.new("L", (size * scale, size * scale))
  draw = ImageDraw.Draw(image)
  for points in outlines:
    draw.line(
      [tuple(point) for point in [*(points * scale), points[0] * scale]], 255, round(size * scale / 45)
    )
  return np.asarray(image.reduce(scale), np.float64) / 255


def texture(rng: np.random.Generator, category: str, size: int) -> Field:
  """A field of the category's texture, of random period, orientation and phase."""
  n = size * OVERSAMPLING
  period = n * rng.uniform(0.1, 0.15)
  angle = rng.uniform(0, 2 * math.pi)
  y, x = np.mgrid[:n, :n] / period
  offset = rng.uniform(0, 16, 2)
  u = math.cos(angle) * x + math.sin(angle) * y + offset[0]
  v = -math.sin(angle) * x + math.cos(angle) * y + offset[1]
  return _reduce(TEXTURES[category](u, v, rng, period))


def _reduce(field: np.ndarray) -> Field:
  n = len(field) // OVERSAMPLING
  return field.reshape(n, OVERSAMPLING, n, OVERSAMPLING).mean((1, 3))


def _luma(colour: np.ndarray) -> float:
  return float(colour @ [0.299, 0.587, 0.114])


def colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Two colours of a texture and one of a background, float [3] in [0, 1], told apart by their brightness."""
  while True:
    dark, light, ground = rng.uniform(0.05, 0.95, (3, 3))
    apart = abs(_luma(light) - _luma(dark))
    if apart > 0.35 and abs(_luma(ground) - (_luma(light) + _luma(dark)) / 2) > 0.15:
      return dark, light, ground


def hued(hue: float, ground_too: bool = False) -> Palette:
  """Colours as `colours` gives them, but that the texture's two are of a hue (0 to 1), give or take 0.01.

  Args:
    hue: in turns of the colour circle.
    ground_too: the background is of that hue as well.
  """

  def palette(rng):
    while True:
      pure = np.array(colorsys.hsv_to_rgb((hue + rng.normal(0, 0.01)) % 1, rng.uniform(0.6, 0.9), 1.0))
      dark, light = rng.uniform(0.1, 0.3) * pure, 0.25 + 0.75 * pure
      ground = rng.uniform(0.2, 1.0) * pure if ground_too else rng.uniform(0.05, 0.95, 3)
      if abs(_luma(ground) - (_luma(light) + _luma(dark)) / 2) > 0.15:
        return dark, light, ground

  return palette


def background(rng: np.random.Generator, colour: np.ndarray, size: int) -> np.ndarray:
  """Clouds and a gradient around a colour, and things that lie about, float [size, size, 3] around [0, 1]."""
  cells = int(rng.choice([3, 5, 9, 17]))
  clouds = _noise(rng, size, cells, cells) - 0.5
  y, x = np.mgrid[:size, :size] / size - 0.5
  slope = rng.uniform(-0.25, 0.25, 2)
  light = rng.uniform(0.05, 0.35) * clouds + slope[0] * x + slope[1] * y
  tint = rng.uniform(0.6, 1.4, 3)
  ground = colour + light[:, :, None] * tint
  for _ in range(int(rng.integers(0, CLUTTER + 1))):
    # Ovals and corners of about an object's size, so that not every edge belongs to one.
    turn, corners = rng.uniform(0, 2 * math.pi), int(rng.choice([3, 4, 24]))
    angle = turn + np.arange(corners) * (2 * math.pi / corners)
    spread = rng.uniform(0.1, 0.35, 2)
    points = rng.uniform(0, 1, 2) + np.stack([np.cos(angle), np.sin(angle)], axis=1) * spread
    inside = rng.uniform(0.4, 0.9) * mask([points * size], size)[:, :, None]
    ground = inside * rng.uniform(0.05, 0.95, 3) + (1 - inside) * ground
  return ground


def _finish(rng: np.random.Generator, picture: np.ndarray) -> Picture:
  """A little sensor noise; 8 bits."""
  picture = picture + rng.normal(0, rng.uniform(0.005, 0.025), picture.shape)
  return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def picture(
  rng: np.random.Generator, shape: str, wears: str, size: int, palette: Palette = colours
) -> Picture:
  """The outline of `shape` filled with the texture of `wears`, before a background that hints at it too.

  Args:
    rng: decides everything else.
    shape, wears: categories.
    size: pixels of a side.
    palette: of its colours.
  """
  dark, light, ground = palette(rng)
  weight = texture(rng, wears, size)[:, :, None]
  inside = mask(outline(rng, shape, size), size)[:, :, None]
  filled = weight * light + (1 - weight) * dark
  around = background(rng, ground, size) + HALO * (weight - weight.mean()) * (light - dark)
  return _finish(rng, inside * filled + (1 - inside) * around)


def rendition(rng: np.random.Generator, category: str, kind: str, size: int) -> Picture:
  """A category in another manner of drawing.

  Args:
    rng: decides everything else.
    category: of the picture.
    kind: "shape_only" (the outline in one colour before a background), "texture_only" (the texture all over),
      "silhouette" (black on white) or "edges" (a line drawing).
    size: pixels of a side.
  """
  if kind == "texture_only":
    dark, light, _ = colours(rng)
    weight = texture(rng, category, size)[:, :, None]
    return _finish(rng, weight * light + (1 - weight) * dark)
  outlines = outline(rng, category, size)
  if kind == "shape_only":
    dark, light, ground = colours(rng)
    inside = mask(outlines, size)[:, :, None]
    return _finish(rng, inside * (dark + light) / 2 + (1 - inside) * background(rng, ground, size))
  ink = mask(outlines, size) if kind == "silhouette" else edges(outlines, size)
  return np.repeat(np.rint(255 * (1 - ink)).astype(np.uint8)[:, :, None], 3, axis=2)


def corrupt(rng: np.random.Generator, image: Picture, kind: str, severity: int) -> Picture:
  """A picture made worse.

  Args:
    rng: of the noise.
    image: the picture.
    kind: one of `CORRUPTIONS`.
    severity: 1, 2 or 3.
  """
  amount, size = CORRUPTIONS[kind][severity - 1], len(image)
  values = image / 255
  if kind == "gaussian_noise":
    values = values + rng.normal(0, amount, values.shape)
  elif kind == "impulse_noise":
    drawn = rng.random(values.shape)
    values = np.where(drawn < amount / 2, 0.0, np.where(drawn > 1 - amount / 2, 1.0, values))
  elif kind == "defocus_blur":
    values = _disc_blur(values, amount * size)
  elif kind == "fog":
    values = (1 - amount) * values + amount * (0.6 + 0.4 * _noise(rng, size, 4, 4))[:, :, None]
  elif kind == "contrast":
    mean = values.mean((0, 1))
    values = mean + amount * (values - mean)
  else:
    coarse = Image.fromarray(image).reduce(int(amount))
    values = np.asarray(coarse.resize((size, size), Image.Resampling.NEAREST)) / 255
  return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _disc_blur(values: np.ndarray, radius: float) -> np.ndarray:
  """The mean over a disc around each pixel, edges repeated."""
  reach = math.ceil(radius)
  steps = np.arange(-reach, reach + 1)
  # A pixel at the rim counts by how much of it lies within.
  weight = np.clip(radius + 0.5 - np.hypot(steps[:, None], steps[None]), 0, 1)
  padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), "edge")
  n = len(values)
  offsets = [(i, j) for i in range(len(steps)) for j in range(len(steps))]
  total = sum(weight[i, j] * padded[i : i + n, j : j + n] for i, j in offsets)
  return total / weight.sum()
