"""What a probe shows a network, or an intervention makes of a training image, as a figure.

python -m examples.pictures --probe=critical_band --conditions='*sd=0.16' --output=bands.png [--image=FILE]
python -m examples.pictures --interventions=stylised=1,patch_shuffle=1 --output=training.png

A condition of a probe is drawn with the very noise that the image has in a run, its folder being its class.
Without --image a picture is drawn.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure

from biasjax import probes
from biasjax.data import preprocess, synthetic
from biasjax.data.classes import class_index
from biasjax.data.pipeline import noise_id
from biasjax.engine import pictures as engine
from biasjax.errors import BiasjaxError
from biasjax.ops.pixels import unit_interval
from biasjax.train import interventions


def load(path: str | None, size: int) -> np.ndarray:
  """uint8 [size, size, 3], as a run would see the image; drawn if there is none.

  Raises:
    BiasjaxError: the file cannot be decoded.
    OSError: it cannot be read.
  """
  if path is None:
    return synthetic.picture(np.random.default_rng(3), "fish", "circle", size)
  encoded = pathlib.Path(path).read_bytes()
  try:
    return preprocess.preprocess(encoded, short_side=size * 256 // 224, crop=size)
  except ValueError as error:
    raise BiasjaxError(f"{path}: {error}") from error


def under_conditions(
  probe: str, patterns: list[str], pixels: np.ndarray, path: pathlib.PurePath
) -> dict[str, np.ndarray]:
  """Condition -> image float [h, w, 3] in [0, 1].

  Args:
    probe: its name, with options.
    patterns: of the conditions' names.
    pixels: uint8 [h, w, 3].
    path: of the image: noise belongs to its name and, mostly, to its class, which is the folder's.

  Raises:
    BiasjaxError: there is no such probe or condition, or it needs a network.
  """
  asked = probes.get(probe, len(pixels))
  wanted = engine.conditions(asked, patterns)
  ids = noise_id(path.name, class_index().get(path.parent.name, 0))[None]
  return {c: images[0] for c, images in engine.perturbed(asked, wanted, pixels[None], ids).items()}


def under_interventions(specs: list[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
  """Spec -> image float [h, w, 3], with another picture where an intervention takes something of one.

  Args:
    specs: as in --config.train.interventions.
    pixels: uint8 [h, w, 3].

  Raises:
    BiasjaxError: there is no such intervention, or it does not change images by themselves.
  """
  image = unit_interval(jnp.asarray(pixels))
  other = unit_interval(
    jnp.asarray(synthetic.picture(np.random.default_rng(8), "heart", "arrow", len(pixels)))
  )
  drawn = {}
  for spec in specs:
    of_spec, target = image, jnp.zeros(2)
    for intervention in interventions.parse(spec):
      if intervention.augment is None:
        raise BiasjaxError(f"{spec} does not change images by themselves: leave it out")
      of_spec, target = intervention.augment(jax.random.key(1), of_spec, target, other, target)
    drawn[spec] = np.asarray(of_spec)
  return drawn


def draw(pictures: dict[str, np.ndarray], columns: int) -> Figure:
  """The pictures in rows, each under its name."""
  rows = -(-len(pictures) // columns)
  figure = Figure(figsize=(1.5 * min(columns, len(pictures)), 1.7 * rows), layout="constrained")
  axes = figure.subplots(rows, min(columns, len(pictures)), squeeze=False).ravel()
  for axis in axes:
    axis.axis("off")
  for axis, (name, picture) in zip(axes, pictures.items(), strict=False):
    axis.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    axis.set_title(name, fontsize=8)
  return figure


def main(argv: list[str]) -> None:
  """Draws what was asked."""
  del argv
  logging.set_verbosity(logging.WARNING)
  asked = flags.FLAGS
  try:
    pixels = load(asked.image, asked.size)
    pictures = {"as it is": pixels / 255}
    if asked.probe:
      path = pathlib.Path(asked.image or "drawn").resolve()
      pictures |= under_conditions(asked.probe, asked.conditions, pixels, path)
    pictures |= under_interventions(asked.interventions, pixels)
    draw(pictures, asked.columns).savefig(asked.output, dpi=150)
    print(asked.output)
  except (BiasjaxError, OSError) as error:
    sys.exit(f"pictures.py: error: {error}")


if __name__ == "__main__":
  flags.DEFINE_string("probe", None, "A probe that perturbs images.")
  flags.DEFINE_list("conditions", ["*"], "Patterns of its conditions' names.")
  flags.DEFINE_list("interventions", [], "What to draw instead: interventions.")
  flags.DEFINE_string("image", None, "A photograph.")
  flags.DEFINE_integer("size", 224, "Pixels of a side.", lower_bound=32)
  flags.DEFINE_integer("columns", 6, "Pictures in a row.", lower_bound=1)
  flags.DEFINE_string("output", "pictures.png", "The figure.")
  app.run(main)
