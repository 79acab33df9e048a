"""Writes the images that probes show, for a network that cannot run here to answer to.

python -m examples.stimuli --probe=spectral,shape@cue-conflict --dataset=folder:PATH --output=stimuli

Images are lossless PNG of 256 levels, or with --format=npy float32 [h, w, 3] in [0, 1] as in a pass. They
are as the network is to see them: nothing is to be resized or cropped. stimuli.csv lists them; with the
answers beside (docs/models.md) run.py --models=answers:FILE takes it. Started again, it goes on.
"""

import csv
import io
import pathlib
import sys

import numpy as np
from absl import app, flags, logging
from etils import epath
from PIL import Image

from biasjax import partition, probes
from biasjax.data import opening
from biasjax.data.pipeline import Batch
from biasjax.engine import passes, pictures, stimuli
from biasjax.errors import BiasjaxError
from biasjax.probes import Probe
from biasjax.results.store import write_file

COLUMNS = ("file", "dataset", "probe", "condition", "example_id", "label", "size", "stimuli")


def place(probe: str, condition: str, example_id: str, form: str) -> pathlib.PurePath:
  """Where an image is written, below the output folder.

  Raises:
    BiasjaxError: its name leads elsewhere.
  """
  path = pathlib.PurePosixPath(probe.replace(":", "_"), condition, f"{example_id}.{form}")
  if ".." in path.parts or len(path.parts) < 3 or example_id.startswith("/"):
    raise BiasjaxError(f"{example_id}: leads out of the folder")
  return path


def encoded(image: np.ndarray, form: str) -> bytes:
  """A file of an image float32 [h, w, 3] in [0, 1]."""
  buffer = io.BytesIO()
  if form == "npy":
    np.save(buffer, image)
  else:
    Image.fromarray(levels(image)).save(buffer, "PNG")
  return buffer.getvalue()


def levels(image: np.ndarray) -> np.ndarray:
  """The nearest of 256 levels, uint8."""
  return np.rint(255 * image.astype(np.float64)).astype(np.uint8)


def written(probe: Probe, batch: Batch, seed: int, output: epath.Path, form: str) -> tuple[int, int]:
  """Writes what is not there yet of a batch; (how many images, how many of them were rounded)."""
  rows = [row for row, valid in enumerate(batch.valid) if valid]
  paths = {
    (condition, row): output / place(probe.name, condition, batch.example_ids[row], form)
    for condition in probe.conditions
    for row in rows
  }
  if all(path.exists() for path in paths.values()):
    return 0, 0
  rounded = 0
  images = pictures.perturbed(probe, list(probe.conditions), batch.pixels, batch.noise_ids, seed=seed)
  for (condition, row), path in paths.items():
    image = images[condition][row]
    rounded += form == "png" and bool((levels(image) / np.float32(255) != image).any())
    write_file(path, encoded(image, form))
  return len(paths), rounded


def write(asked: flags.FlagValues) -> str:
  """Writes the images and the list; returns what to say.

  Raises:
    BiasjaxError: a mistake in what was asked, or a file cannot be written.
  """
  found = [
    opening.open_dataset(
      spec, asked.data_dir, asked.manual_dir, limit=asked.limit, allow_incomplete=asked.allow_incomplete
    )
    for spec in asked.dataset or ()
  ]
  if not found or not asked.probe:
    raise BiasjaxError("--probe and --dataset are needed: see python -m examples.stimuli --help")
  planned = probes.plan(asked.probe, found)
  for source in found:
    for probe in planned[source.name]:
      stimuli.refuse_adaptive(probe, "stimuli")
  if len({source.name for source in found}) < len(found):
    raise BiasjaxError("--dataset: two are called the same: name one, NAME=...")
  sized = [passes.at_size(source, asked.size) if asked.size else source for source in found]
  if len({source.crop for source in sized}) > 1:
    raise BiasjaxError("--dataset: images of several sizes: give --size, or write them one after the other")
  output, form = epath.Path(asked.output).expanduser(), asked.format
  rows, count, rounded = [], 0, 0
  for source in sized:
    folder = output / source.name
    shown = {
      probe.name: stimuli.identity(probe, source, asked.seed, form)
      for probe in probes.sized(planned[source.name], source)
    }
    _claim(folder, " ".join(f"{name}={value}" for name, value in shown.items()))
    for batch in stimuli.batches(source, asked.batch_size * len(partition.of_process().devices)):
      for probe in probes.sized(planned[source.name], source):
        new = written(probe, batch, asked.seed, folder, form)
        count, rounded = count + new[0], rounded + new[1]
        rows += [
          (
            *((pathlib.PurePath(source.name) / place(probe.name, condition, name, form)).as_posix(),),
            *(source.name, probe.name, condition, name, int(label), source.crop, shown[probe.name]),
          )
          for condition in probe.conditions
          for name, label, valid in zip(batch.example_ids, batch.labels[:, 0], batch.valid, strict=True)
          if valid
        ]
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
  write_file(output / "stimuli.csv", text.getvalue().encode())
  said = f"{output / 'stimuli.csv'}: {len(rows):,} images, {count:,} of them written now"
  if rounded:
    said += f"; {rounded:,} are rounded to 256 levels: --format=npy keeps them as a network here sees them"
  return said


def _claim(folder: epath.Path, shown: str) -> None:
  """Makes the folder that of these stimuli.

  Raises:
    BiasjaxError: it holds others.
  """
  mark = folder / ".stimuli"
  if mark.exists() and mark.read_text() != shown:
    raise BiasjaxError(f"{folder} holds other stimuli: name another --output, or delete it")
  write_file(mark, shown.encode())


def main(argv: list[str]) -> None:
  """Writes what was asked."""
  del argv
  logging.set_verbosity(logging.WARNING)
  try:
    print(write(flags.FLAGS))
  except (BiasjaxError, OSError) as error:
    sys.exit(f"stimuli.py: error: {error}")


if __name__ == "__main__":
  flags.DEFINE_list("probe", None, "Probes as in run.py --probes, but none that attacks; a list.")
  flags.DEFINE_list("dataset", None, "As in run.py; a list.")
  flags.DEFINE_string("output", "stimuli", "The folder.")
  flags.DEFINE_enum("format", "png", stimuli.FORMS, "Of 256 levels, or as they are.")
  flags.DEFINE_integer("size", None, "Pixels of a side, where the network sees another size.", lower_bound=1)
  flags.DEFINE_integer("limit", None, "A class-balanced subset of so many images.", lower_bound=1)
  flags.DEFINE_integer("seed", 0, "Of all noise, as in run.py.", lower_bound=0)
  flags.DEFINE_integer("batch_size", 64, "Images at a time.", lower_bound=1)
  flags.DEFINE_string("data_dir", None, "As in run.py.")
  flags.DEFINE_string("manual_dir", None, "As in run.py.")
  flags.DEFINE_boolean("allow_incomplete", False, "As in run.py.")
  app.run(main)
