"""Every corruption at every severity on one sheet, on drawn pictures: to look at.

python -m examples.contact_sheet --output=sheet.jpg [--frost_dir=FOLDER] [--tile=48]

Each row is a corruption of two of ten pictures, at severities 1 to 5 each, as a run would show them at 224 x
224 pixels, made small.
"""

import functools
import pathlib
import sys

import jax
import numpy as np
from absl import app, flags, logging
from PIL import Image, ImageDraw

from biasjax import probes
from biasjax.data import synthetic
from biasjax.data.pipeline import noise_id
from biasjax.engine import programs
from biasjax.errors import BiasjaxError

flags.DEFINE_string("output", "corruptions.jpg", "Where the sheet goes.")
flags.DEFINE_string("frost_dir", None, "Photographs of frost; without them frost is left out.")
flags.DEFINE_integer("tile", 48, "Pixels of a side of each picture.", lower_bound=8)

SIZE, PICTURES, ACROSS, MARGIN, NAMES = 224, 10, 2, 2, 150


@functools.cache
def pictures() -> np.ndarray:
  """uint8 [10, 224, 224, 3], each of another outline and texture."""
  rng, of = np.random.default_rng(7), synthetic.CATEGORIES
  drawn = [synthetic.picture(rng, of[i], of[(i + 5) % len(of)], SIZE) for i in range(PICTURES)]
  return np.stack(drawn)


def sheet(frost_dir: str | None, tile: int) -> Image.Image:
  """The whole sheet.

  Raises:
    BiasjaxError: `frost_dir` holds no photographs.
  """
  probe = probes.get(f"corruptions:frost_dir={frost_dir}" if frost_dir else "corruptions", SIZE)
  kinds = list(dict.fromkeys(condition.split("/")[0] for condition in probe.conditions))
  perturb = jax.jit(programs.perturb_step(probe.perturb))
  prepared = jax.jit(programs.prepare_step(probe.prepare))(pictures())
  ids = np.stack([noise_id(f"{i}.png", 0) for i in range(PICTURES)])
  step = tile + MARGIN
  page = Image.new("RGB", (NAMES + 5 * ACROSS * step, len(kinds) * step), "white")
  pen = ImageDraw.Draw(page)
  for row, kind in enumerate(kinds):
    pen.text((4, row * step + tile // 2 - 6), kind.replace("_", " "), fill="black")
    shown = [(ACROSS * row + i) % PICTURES for i in range(ACROSS)]
    for severity in range(1, 6):
      condition = f"{kind}/{severity}"
      key = programs.condition_key(0, probe.name, condition)
      images = np.asarray(perturb(key, probe.conditions[condition], ids[shown], prepared[np.array(shown)]))
      for column, image in enumerate(images):
        small = Image.fromarray(np.uint8(np.rint(image * 255))).resize((tile, tile), Image.Resampling.BOX)
        page.paste(small, (NAMES + (5 * column + severity - 1) * step, row * step))
  return page


def main(argv: list[str]) -> None:
  """Writes the sheet."""
  del argv
  logging.set_verbosity(logging.WARNING)
  try:
    page = sheet(flags.FLAGS.frost_dir, flags.FLAGS.tile)
  except BiasjaxError as error:
    sys.exit(f"error: {error}")
  page.save(pathlib.Path(flags.FLAGS.output), quality=75, optimize=True)
  print(flags.FLAGS.output)


if __name__ == "__main__":
  app.run(main)
