"""Draws pictures of ten ImageNet classes, so that the demo needs no photographs and no network.

python -m demo.draw --output=FOLDER writes FOLDER/<WordNet id>/<number>.png. The same seed draws the same.
"""

import colorsys
import math
import pathlib

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFilter

SIZE = 256  # pixels of a side
OVERSAMPLING = 2


def _hue(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
  red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
  return round(255 * red), round(255 * green), round(255 * blue)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, **style) -> None:
  draw.ellipse((x - r, y - r, x + r, y + r), **style)


def _polar(x: float, y: float, r: float, angle: float) -> tuple[float, float]:
  return x + r * math.cos(angle), y + r * math.sin(angle)


def _golf_ball(draw, rng, x, y, r):
  _disc(draw, x, y, r, fill=(238, 238, 232))
  for u in np.arange(-0.85, 0.86, 0.17):
    for v in np.arange(-0.85, 0.86, 0.17):
      if u * u + v * v < 0.72:
        _disc(draw, x + u * r, y + v * r, 0.06 * r, fill=(196, 196, 200))


def _tennis_ball(draw, rng, x, y, r):
  _disc(draw, x, y, r, fill=_hue(0.19 + rng.normal(0, 0.01), 0.75, 0.9))
  turn = rng.uniform(0, 360)
  for side in (0, 180):
    cx, cy = _polar(x, y, 1.05 * r, math.radians(turn + side))
    box = (cx - 0.75 * r, cy - 0.75 * r, cx + 0.75 * r, cy + 0.75 * r)
    draw.arc(box, turn + side + 125, turn + side + 235, fill=(245, 245, 240), width=max(2, int(0.08 * r)))


def _basketball(draw, rng, x, y, r):
  _disc(draw, x, y, r, fill=_hue(0.06, 0.8, 0.75 + rng.normal(0, 0.03)))
  width, turn = max(2, int(0.045 * r)), rng.uniform(0, math.pi)
  for angle in (turn, turn + math.pi / 2):
    draw.line((*_polar(x, y, r, angle), *_polar(x, y, -r, angle)), fill=(25, 20, 18), width=width)
  for side in (0, 1):
    cx, cy = _polar(x, y, 1.25 * r, turn + side * math.pi)
    box = (cx - 0.8 * r, cy - 0.8 * r, cx + 0.8 * r, cy + 0.8 * r)
    middle = math.degrees(turn) + 180 * side + 180
    draw.arc(box, middle - 50, middle + 50, fill=(25, 20, 18), width=width)


def _orange(draw, rng, x, y, r):
  _disc(draw, x, y, r, fill=_hue(0.085 + rng.normal(0, 0.008), 0.95, 0.97))
  for _ in range(60):
    px, py = _polar(x, y, 0.9 * r * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi))
    _disc(draw, px, py, 0.012 * r, fill=_hue(0.075, 1.0, 0.85))
  draw.ellipse((x, y - 1.25 * r, x + 0.7 * r, y - 0.85 * r), fill=_hue(0.33, 0.8, 0.5))


def _traffic_light(draw, rng, x, y, r):
  draw.rectangle((x - 0.06 * r, y, x + 0.06 * r, y + 3 * r), fill=(70, 70, 72))
  draw.rounded_rectangle((x - 0.4 * r, y - r, x + 0.4 * r, y + r), 0.12 * r, fill=(30, 32, 30))
  lit = rng.integers(3)
  for i, hue in enumerate((0.0, 0.13, 0.38)):
    fill = _hue(hue, 0.85, 0.98 if i == lit else 0.3)
    _disc(draw, x, y + (i - 1) * 0.62 * r, 0.26 * r, fill=fill)


def _wall_clock(draw, rng, x, y, r):
  _disc(draw, x, y, r, fill=_hue(rng.random(), 0.5, 0.35))
  _disc(draw, x, y, 0.88 * r, fill=(246, 244, 236))
  for hour in range(12):
    angle = hour * math.pi / 6
    ends = (*_polar(x, y, 0.72 * r, angle), *_polar(x, y, 0.83 * r, angle))
    draw.line(ends, fill=(20, 20, 20), width=max(2, int(0.04 * r)))
  for length, width in ((0.45, 0.07), (0.68, 0.04)):
    tip = _polar(x, y, length * r, rng.uniform(0, 2 * math.pi))
    draw.line((x, y, *tip), fill=(20, 20, 20), width=max(2, int(width * r)))


def _spider_web(draw, rng, x, y, r):
  r *= 1.3
  spokes = np.sort(np.linspace(0, 2 * math.pi, 12, endpoint=False) + rng.normal(0, 0.07, 12))
  colour = (225, 228, 232)
  for angle in spokes:
    draw.line((x, y, *_polar(x, y, r, angle)), fill=colour, width=2)
  for ring in np.arange(0.12, 1.0, 0.11):
    points = [_polar(x, y, ring * r * (1 + rng.normal(0, 0.02)), angle) for angle in spokes]
    draw.line([*points, points[0]], fill=colour, width=2)


def _honeycomb(draw, rng, x, y, r):
  cell = 0.2 * r
  for row in range(-7, 8):
    for column in range(-7, 8):
      cx = x + (column + 0.5 * (row % 2)) * math.sqrt(3) * cell
      cy = y + row * 1.5 * cell
      if math.hypot(cx - x, cy - y) < 1.2 * r:
        corners = [_polar(cx, cy, cell, math.pi / 6 + i * math.pi / 3) for i in range(6)]
        fill = _hue(0.11 + rng.normal(0, 0.01), 0.9, rng.uniform(0.6, 0.9))
        draw.polygon(corners, fill=fill, outline=_hue(0.1, 0.6, 0.4), width=max(2, int(0.04 * r)))


def _zebra(draw, rng, x, y, r):
  draw.ellipse((x - 1.3 * r, y - 0.7 * r, x + 0.9 * r, y + 0.5 * r), fill=(240, 240, 236))
  draw.polygon(
    ((x + 0.4 * r, y - 0.3 * r), (x + 1.1 * r, y - 1.2 * r), (x + 1.45 * r, y - 0.8 * r), (x + 0.85 * r, y)),
    fill=(240, 240, 236),
  )
  for leg in (-1.0, -0.7, 0.35, 0.6):
    draw.rectangle((x + leg * r, y + 0.2 * r, x + (leg + 0.16) * r, y + 1.3 * r), fill=(232, 232, 228))
  slant = rng.uniform(-0.2, 0.2) * r
  for u in np.arange(-1.15, 0.85, 0.2):
    half = 0.6 * math.sqrt(max(0.0, 1 - ((u + 0.2) / 1.1) ** 2)) * r
    line = (x + u * r - slant, y - 0.1 * r - half, x + u * r + slant, y - 0.1 * r + half)
    draw.line(line, fill=(18, 18, 20), width=int(0.09 * r))
  for u in np.arange(0.1, 1.0, 0.22):
    px, py = x + (0.5 + 0.75 * u) * r, y - (0.2 + 0.8 * u) * r
    draw.line((px - 0.16 * r, py - 0.2 * r, px + 0.22 * r, py + 0.12 * r), (18, 18, 20), int(0.08 * r))


def _umbrella(draw, rng, x, y, r):
  draw.line((x, y - r, x, y + 0.9 * r), fill=(60, 45, 35), width=max(3, int(0.06 * r)))
  draw.arc((x - 0.3 * r, y + 0.7 * r, x, y + 1.1 * r), 0, 180, fill=(60, 45, 35), width=max(3, int(0.06 * r)))
  hue = rng.random()
  for i in range(6):
    fill = _hue(hue + 0.03 * (i % 2), 0.8, 0.9 if i % 2 else 0.6)
    draw.pieslice((x - r, y - r, x + r, y + r), 180 + 30 * i, 210 + 30 * i, fill=fill)


CLASSES = {
  "n02391049": _zebra,
  "n02802426": _basketball,
  "n03445777": _golf_ball,
  "n03530642": _honeycomb,
  "n04275548": _spider_web,
  "n04409515": _tennis_ball,
  "n04507155": _umbrella,
  "n04548280": _wall_clock,
  "n06874185": _traffic_light,
  "n07747607": _orange,
}


def picture(wnid: str, seed: int) -> Image.Image:
  """An RGB image of 256 x 256 pixels; which one depends on `wnid` and `seed` alone.

  Args:
    wnid: one of `CLASSES`.
    seed: any integer from 0.
  """
  rng = np.random.default_rng((seed, int(wnid[1:])))
  size = SIZE * OVERSAMPLING
  # A background of clouds in two colours, rough or smooth.
  colours = np.array([_hue(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.15, 0.85)) for _ in range(2)])
  grain = int(rng.choice([4, 8, 16, 32]))
  clouds = Image.fromarray(rng.integers(0, 256, (grain, grain), dtype=np.uint8))
  weight = np.asarray(clouds.resize((size, size), Image.Resampling.BICUBIC))[..., None] / 255
  image = Image.fromarray((weight * colours[0] + (1 - weight) * colours[1]).astype(np.uint8))
  radius = size * rng.uniform(0.2, 0.34)
  x, y = size * (0.5 + rng.uniform(-0.12, 0.12, 2))
  CLASSES[wnid](ImageDraw.Draw(image), rng, x, y, radius)
  image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.5)))
  pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), np.float64)
  pixels = pixels * rng.uniform(0.75, 1.15) + rng.normal(0, rng.uniform(2, 14), pixels.shape)
  return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def main(argv: list[str]) -> None:
  """Writes the pictures that the flags ask for."""
  del argv
  root = pathlib.Path(flags.FLAGS.output)
  for wnid in CLASSES:
    (root / wnid).mkdir(parents=True, exist_ok=True)
    for number in range(flags.FLAGS.count):
      picture(wnid, flags.FLAGS.seed + number).save(root / wnid / f"{number:04d}.png")
  print(f"{root}: {len(CLASSES)} classes, {flags.FLAGS.count} pictures each")


if __name__ == "__main__":
  flags.DEFINE_string("output", None, "The folder to write.", required=True)
  flags.DEFINE_integer("count", 12, "Pictures of each class.", lower_bound=1)
  flags.DEFINE_integer("seed", 0, "The first picture's; the next one's is one more.", lower_bound=0)
  app.run(main)
