"""The TFDS dataset `synthetic_conflict`: drawn shapes that wear textures, in array_record, made in seconds.

python -m biasjax.data.builders.synthetic_conflict --data_dir=data [--size=64] [--per_category=0]

Splits: `train` and `validation`, where shape and texture agree; `conflict`, every one of the 240 pairs where
they do not; the renditions `shape_only`, `texture_only`, `silhouette` and `edges`; and the validation
pictures under each corruption, `<corruption>_<severity>`. A picture depends on the seed, the split and its
number alone; a corrupted one shows the validation picture of the same name.
"""

import dataclasses
import functools
import io
import pathlib
import sys
from collections.abc import Iterator
from typing import cast

import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags, logging
from PIL import Image

from biasjax.data import synthetic
from biasjax.data.builders.prepare import storing
from biasjax.messages import ended

SEED = 0
TRAIN, VALIDATION, CONFLICT = "train", "validation", "conflict"
PER_CATEGORY = {TRAIN: 320, VALIDATION: 15} | dict.fromkeys(synthetic.RENDITIONS, 10)
PER_PAIR = 2  # pictures of each conflicting pair
CORRUPTED_PER_CATEGORY = 10  # of the validation pictures
SPLITS = (*PER_CATEGORY, CONFLICT)  # their positions are part of a picture's seed: append, do not reorder


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """One size of pictures.

  Attributes:
    size: pixels of a side.
    per_category: training pictures of each category; without any there is no split `train`.
  """

  size: int = 64
  per_category: int = PER_CATEGORY[TRAIN]


def config(size: int = 64, per_category: int = PER_CATEGORY[TRAIN]) -> Config:
  """The configuration that its name tells, e.g. "64px_320"."""
  return Config(name=f"{size}px_{per_category}", size=size, per_category=per_category)


class SyntheticConflict(tfds.core.GeneratorBasedBuilder):
  """Shapes that wear textures, agreeing and in conflict."""

  VERSION = tfds.core.Version("1.0.0")

  @property
  def _config(self) -> Config:
    return cast(Config, self.builder_config)

  def _info(self) -> tfds.core.DatasetInfo:
    size = self._config.size
    names = tfds.features.ClassLabel(names=list(synthetic.CATEGORIES))
    features = {
      "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
      "label": names,
      "shape_label": names,
      "texture_label": names,
      "file_name": tfds.features.Text(),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Drawn shapes that wear textures, in accord and in conflict, and made worse.",
      features=tfds.features.FeaturesDict(features),
      license="MIT",
    )

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    del dl_manager  # nothing is downloaded
    size = self._config.size
    counts = PER_CATEGORY | {TRAIN: self._config.per_category}
    agreeing = {split: _agreeing(split, count, size) for split, count in counts.items() if count}
    corrupted = {
      f"{kind}_{severity}": _corrupted(kind, severity, size)
      for kind, severities in synthetic.CORRUPTIONS.items()
      for severity in range(1, len(severities) + 1)
    }
    splits = agreeing | {CONFLICT: _conflict(size)} | corrupted
    return {split: self._generate_examples(records) for split, records in splits.items()}

  def _generate_examples(self, records: Iterator[tuple[str, dict]]) -> Iterator[tuple[str, dict]]:
    yield from records


def generator(split: str, shape: int, wears: int, number: int) -> np.random.Generator:
  """What the `number`-th picture of a pair of categories in a split is drawn from."""
  return np.random.default_rng((SEED, SPLITS.index(split), shape, wears, number))


@functools.lru_cache(maxsize=1024)  # a validation picture is corrupted again and again
def draw(split: str, category: int, number: int, size: int) -> synthetic.Picture:
  """A picture of a split in which shape and texture agree, or of a rendition."""
  name, rng = synthetic.CATEGORIES[category], generator(split, category, category, number)
  if split in synthetic.RENDITIONS:
    return synthetic.rendition(rng, name, split, size)
  return synthetic.picture(rng, name, name, size)


def _agreeing(split: str, count: int, size: int) -> Iterator[tuple[str, dict]]:
  for category, name in enumerate(synthetic.CATEGORIES):
    for number in range(count):
      image = draw(split, category, number, size)
      yield _record(f"{name}{number}-{name}{number}.png", image, category, category)


def _conflict(size: int) -> Iterator[tuple[str, dict]]:
  for shape, shape_name in enumerate(synthetic.CATEGORIES):
    for wears, texture_name in enumerate(synthetic.CATEGORIES):
      for number in range(PER_PAIR if shape != wears else 0):
        rng = generator(CONFLICT, shape, wears, number)
        image = synthetic.picture(rng, shape_name, texture_name, size)
        yield _record(f"{shape_name}{number}-{texture_name}{number}.png", image, shape, wears)


def _corrupted(kind: str, severity: int, size: int) -> Iterator[tuple[str, dict]]:
  at = list(synthetic.CORRUPTIONS).index(kind)
  for category, name in enumerate(synthetic.CATEGORIES):
    for number in range(CORRUPTED_PER_CATEGORY):
      rng = np.random.default_rng((SEED, len(SPLITS), at, severity, category, number))
      image = synthetic.corrupt(rng, draw(VALIDATION, category, number, size), kind, severity)
      yield _record(f"{name}{number}-{name}{number}.png", image, category, category)


def _record(file_name: str, image: synthetic.Picture, shape: int, wears: int) -> tuple[str, dict]:
  buffer = io.BytesIO()
  # Uncompressed: noise hardly compresses, and versions of zlib would write different bytes.
  Image.fromarray(image).save(buffer, "PNG", compress_level=0)
  labels = {"label": shape, "shape_label": shape, "texture_label": wears}
  return file_name, {"image": buffer.getvalue(), "file_name": file_name} | labels


def prepare(data_dir: str, size: int = 64, per_category: int = PER_CATEGORY[TRAIN]) -> pathlib.Path:
  """Makes the dataset unless it is there; returns its folder, for `--dataset=tfds:FOLDER@SPLIT`.

  Raises:
    OSError: the disk is full, or may not be written on.
  """
  chosen = config(size, per_category)
  builder = SyntheticConflict(data_dir=data_dir, config=chosen, file_format="array_record")
  with storing():
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
  return pathlib.Path(builder.data_dir)


def main(argv: list[str]) -> int:
  """Prepares what the flags ask for; returns the exit status."""
  del argv
  logging.set_verbosity(logging.ERROR)  # tfds notes every split and file
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  values = flags.FLAGS
  return ended(lambda: prepare(values.data_dir, values.size, values.per_category), "synthetic_conflict")


if __name__ == "__main__":
  flags.DEFINE_string("data_dir", None, "The folder of TFDS datasets to write into.", required=True)
  flags.DEFINE_integer("size", 64, "Pixels of a side.", lower_bound=32)
  flags.DEFINE_integer("per_category", PER_CATEGORY[TRAIN], "Training pictures of each.", lower_bound=0)
  app.run(main)
