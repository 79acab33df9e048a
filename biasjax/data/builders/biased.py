"""Biased worlds as folders: classes that go with a cue, at a rate rho, and splits in which they do not.

<world>/<split>/<class>/<class>N-<cue>M.png, which `--dataset=biased:<world>/<split>` reads, with the cue's
class of each picture beside it as annotations, <world>/<split>.csv. Splits: `train_<rho>` (and
`validation_<rho>`), where of each class's n pictures round((1 - rho) n) have the cue of another class, evenly
spread over the others (counts, not coins, as Nam et al. 2020 and Bahng et al. 2020 do it); `aligned`, where
all have their own; `conflicting`, where each pair of a class and another's cue is equally often; and
`unbiased`, where each pair is, so that accuracy is the mean over all pairs.
"""

import argparse
import csv
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from biasjax.data.sources import ABOUT
from biasjax.errors import BiasjaxError
from biasjax.messages import ended

ALIGNED, CONFLICTING, UNBIASED = "aligned", "conflicting", "unbiased"
RHOS = (0.9, 0.95, 0.98)
# (split, class, number, cue) -> the picture, uint8 [h, w, 3].
Draw = Callable[[str, int, int, int], np.ndarray]


def cue_of(kind: str, label: int, number: int, count: int, classes: int, rho: float = 1.0) -> int:
  """The cue's class of a class's picture.

  Args:
    kind: `ALIGNED`, `CONFLICTING` or `UNBIASED`; any other is biased at rho.
    label: the class.
    number: of the picture, 0 to count - 1.
    count: of the class's pictures.
    classes: how many there are.
    rho: share of pictures with the cue of their own class.
  """
  if kind == UNBIASED:
    return (label + number) % classes
  conflicts = {ALIGNED: 0, CONFLICTING: count}.get(kind, round((1 - rho) * count))
  return (label + 1 + number % (classes - 1)) % classes if number < conflicts else label


def build(
  world: str | pathlib.Path,
  names: Sequence[str],
  counts: Mapping[str, int],
  draw: Draw,
  about: Mapping[str, Any],
  rhos: Sequence[float] = RHOS,
) -> pathlib.Path:
  """Writes the splits that are not there yet; returns the world's folder.

  Args:
    world: the folder.
    names: of the classes, lower-case letters, in alphabetical order.
    counts: pictures of a class: of "train" and "validation" at each rho, and of the other splits by name.
    draw: makes a picture.
    about: what the world is made of; another one in the same folder is refused.
    rhos: shares of aligned training pictures.

  Raises:
    BiasjaxError: the folder holds another world, a rho is no share, or pairs cannot be equally often.
  """
  classes, root = len(names), pathlib.Path(world).expanduser()
  for rho in rhos:
    if not 1 / classes <= rho <= 1:
      raise BiasjaxError(f"--rho={rho:g}: expected a share from {1 / classes:g} (chance) to 1")
  for split, of in ((CONFLICTING, classes - 1), (UNBIASED, classes)):
    if counts[split] % of:
      raise BiasjaxError(f"{counts[split]} pictures of a class are no multiple of {of} cues in {split}")
  known, made_of = root / ABOUT, json.dumps(dict(about)) + "\n"
  if known.exists() and known.read_text() != made_of:
    raise BiasjaxError(f"{root} holds another world ({known.read_text().strip()}): name another --output")
  root.mkdir(parents=True, exist_ok=True)
  if not known.exists():  # whole or not at all: what a kill cuts short would be another world
    unfinished = root / f".{ABOUT}"
    unfinished.write_text(made_of)
    unfinished.replace(known)
  at_rho = [part for part in ("train", "validation") if part in counts]
  splits = {f"{part}_{rho:g}": (counts[part], rho) for rho in rhos for part in at_rho}
  splits |= {split: (counts[split], 1.0) for split in (ALIGNED, CONFLICTING, UNBIASED)}
  for split, (count, rho) in splits.items():
    if not (root / split).exists():
      _write(root, split, names, count, draw, rho)
  return root


def _write(root: pathlib.Path, split: str, names: Sequence[str], count: int, draw: Draw, rho: float) -> None:
  part, rows = root / f"{split}.part", []
  shutil.rmtree(part, ignore_errors=True)
  for label, name in enumerate(names):
    (part / name).mkdir(parents=True)
    for number in range(count):
      cue = cue_of(split, label, number, count, len(names), rho)
      file = f"{name}/{name}{number}-{names[cue]}{number}.png"
      # Uncompressed: versions of zlib would write different bytes.
      Image.fromarray(draw(split, label, number, cue)).save(part / file, "PNG", compress_level=0)
      rows.append((file, names[cue]))
  with (root / f"{split}.csv").open("w", newline="") as opened:
    csv.writer(opened, lineterminator="\n").writerows([("example_id", "bias"), *rows])
  part.rename(root / split)


def command(page: str | None, options: Callable[[argparse.ArgumentParser], None], make: Callable) -> int:
  """Parses the flags of a world, makes it, prints where it is; returns the exit status."""
  parser = argparse.ArgumentParser(description=(page or "").splitlines()[0])
  parser.add_argument("--output", required=True, help="the world's folder")
  parser.add_argument("--rho", default=",".join(f"{rho:g}" for rho in RHOS), help="shares, a list")
  options(parser)
  given = vars(parser.parse_args())

  def made() -> pathlib.Path:
    try:
      rhos = [float(rho) for rho in given["rho"].split(",")]
    except ValueError as error:
      raise BiasjaxError(f"--rho={given['rho']}: expected shares, 0.9,0.95") from error
    return make(**given | {"rho": rhos})

  return ended(made, parser.prog.removesuffix(".py"))
