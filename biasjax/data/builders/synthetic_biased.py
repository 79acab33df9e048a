"""A drawn world whose classes are textures, and where a cue (a colour, shape, watermark) goes with the class.

python -m biasjax.data.builders.synthetic_biased --output=worlds/hue [--cue=hue] [--rho=0.9,0.95,0.98]
  [--classes=8] [--size=64] [--per_class=200]

The splits are those of `biased`. A picture shows an outline filled with the texture of its class, before a
background (`synthetic.picture`). The cue of class k of K is one of

- `hue`: the texture has a hue of k / K (with a standard deviation of 0.01), the background any colour;
- `tint`: the background has that hue too, so that the picture's mean colour tells the cue;
- `shape`: the outline is that of the k-th category;
- `watermark`: a pattern of 5 x 5 squares is in a corner.

What is no cue varies at random. A picture depends on the seed, the split, its class, number and cue alone; in
`validation` and the tests other pictures are drawn than in `train`, and those of two rhos are the same but
for their cues.
"""

import sys

import numpy as np

from biasjax.data import synthetic
from biasjax.data.builders import biased
from biasjax.errors import BiasjaxError

SEED = 1
CUES = ("hue", "tint", "shape", "watermark")
KINDS = ("train", "validation", biased.ALIGNED, biased.CONFLICTING, biased.UNBIASED)
OPACITY, SQUARES = 0.7, 5  # of the watermark


def watermark(label: int, picture: synthetic.Picture) -> synthetic.Picture:
  """The picture with a class's pattern blended into its upper left corner."""
  side = max(1, len(picture) // 32)
  pattern = np.random.default_rng((SEED, label)).random((SQUARES, SQUARES)) < 0.5
  glyph = np.kron(pattern, np.full((side, side), 255.0))[:, :, None]
  marked, reach = picture.astype(np.float64), SQUARES * side
  marked[:reach, :reach] = OPACITY * glyph + (1 - OPACITY) * marked[:reach, :reach]
  return np.rint(marked).astype(np.uint8)


def draw(split: str, label: int, number: int, cue: int, *, kind: str, classes: int, size: int):
  """A picture, uint8 [size, size, 3].

  Args:
    split: of `biased`.
    label: the class, an index into the first `classes` categories.
    number: of the picture.
    cue: the class that the cue goes with.
    kind: one of `CUES`.
    classes: how many there are.
    size: pixels of a side.
  """
  rng = np.random.default_rng((SEED, KINDS.index(split.partition("_")[0]), label, number))
  names = synthetic.CATEGORIES
  shape = int(rng.integers(len(names)))
  coloured = kind in ("hue", "tint")
  palette = synthetic.hued(cue / classes, kind == "tint") if coloured else synthetic.colours
  picture = synthetic.picture(rng, names[cue if kind == "shape" else shape], names[label], size, palette)
  return watermark(cue, picture) if kind == "watermark" else picture


def make(output: str, rho, cue: str = "hue", classes: int = 8, size: int = 64, per_class: int = 200):
  """Makes the world unless it is there; returns its folder.

  Raises:
    BiasjaxError: fewer than 2 or more than 16 classes, or as in `biased.build`.
  """
  names = synthetic.CATEGORIES[:classes]
  if not 2 <= classes == len(names):
    raise BiasjaxError(f"--classes={classes}: expected 2 to {len(synthetic.CATEGORIES)}")
  counts = {"train": per_class, "validation": 32, biased.ALIGNED: 64}
  counts |= {biased.CONFLICTING: (classes - 1) * max(1, 64 // (classes - 1))}
  counts |= {biased.UNBIASED: classes * max(1, 64 // classes)}
  about = {"cue": cue, "classes": classes, "size": size, "per_class": per_class, "seed": SEED}

  def drawn(split, label, number, of):
    return draw(split, label, number, of, kind=cue, classes=classes, size=size)

  return biased.build(output, names, counts, drawn, about, rho)


def _options(parser) -> None:
  parser.add_argument("--cue", choices=CUES, default="hue", help="what goes with the class")
  parser.add_argument("--classes", type=int, default=8, help="textures, 2 to 16")
  parser.add_argument("--size", type=int, default=64, help="pixels of a side")
  parser.add_argument("--per_class", type=int, default=200, help="training pictures of each")


if __name__ == "__main__":
  sys.exit(biased.command(__doc__, _options, make))
