"""One TFDS builder for all benchmarks: it copies files byte for byte, so that nothing published changes.

TFDS' generator-based builders keep a split in memory up to 1 GB, spill the rest through TensorFlow, and start
again from nothing after a break. This one writes shards in the order of the examples' ids, each from its own
part of the listing: no TensorFlow, memory for one shard, and finished shards are kept.
"""

import functools
import gzip
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, cast

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import writer

from biasjax.data.archives import File
from biasjax.data.classes import categories, wordnet_ids
from biasjax.data.datasets import Dataset
from biasjax.data.layouts import Listing, Place
from biasjax.data.opening import LISTING, SPLIT, VERSION

SHARD_BYTES = 128 << 20


class Benchmark(tfds.core.ShardBasedBuilder, skip_registration=True):
  """A row's dataset: features image, label, also (further labels that are right), file_name.

  Args:
    row: the benchmark.
    listing: its files.
    unfinished: a folder on the same disk, where shards are kept until all are there.
    data_dir: where TFDS datasets are.
  """

  VERSION = tfds.core.Version(VERSION)

  def __init__(self, row: Dataset, listing: Listing, unfinished: pathlib.Path, data_dir: str):
    self.row, self.listing, self.unfinished = row, listing, unfinished
    cast(Any, self).name = row.builder  # a class variable where each dataset has a class of its own
    super().__init__(data_dir=data_dir, file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    names = categories() if self.row.classes == 16 else wordnet_ids()
    features = {
      "image": tfds.features.Image(),
      "label": tfds.features.ClassLabel(names=list(names)),
      "also": tfds.features.Sequence(tfds.features.ClassLabel(names=list(names))),
      "file_name": tfds.features.Text(),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=f"{self.row.title}. Licence: {self.row.licence}.",
      features=tfds.features.FeaturesDict(features),
      citation=self.row.citation,
    )

  def _shard_iterators_per_split(self, dl_manager):
    del dl_manager  # nothing is downloaded
    shards = partition(self.listing.files)
    return {SPLIT: [functools.partial(self._examples, start, stop) for start, stop in shards]}

  def _examples(self, start: int, stop: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for file, place in zip(self.listing.files[start:stop], self.listing.places[start:stop], strict=True):
      # The bytes are read when the example is written: a shard that is kept needs the names only.
      yield (
        place.example_id,
        {
          "image": _Unread(file),
          "label": place.label,
          "also": list(place.also),
          "file_name": place.example_id,
        },
      )

  def _example_writer(self) -> writer.ExampleWriter:
    return _Keeping(self.info.file_format, self.unfinished)

  def _download_and_prepare(self, dl_manager, download_config=None) -> None:
    super()._download_and_prepare(dl_manager, download_config)
    content = gzip.compress(json.dumps(_columns(self.listing)).encode(), mtime=0)
    pathlib.Path(self.data_dir, LISTING).write_bytes(content)


def partition(files: list[File]) -> list[tuple[int, int]]:
  """(start, stop) of shards of about `SHARD_BYTES`."""
  bounds, filled = [0], 0
  for i, file in enumerate(files):
    if filled and filled + file.size > SHARD_BYTES:
      bounds.append(i)
      filled = 0
    filled += file.size
  return list(zip(bounds, [*bounds[1:], len(files)], strict=True))


def _columns(listing: Listing) -> dict[str, list]:
  places: list[Place] = listing.places
  conditions = list(dict.fromkeys(place.condition for place in places))
  number = {condition: i for i, condition in enumerate(conditions)}
  return {
    "ids": [place.example_id for place in places],
    "labels": [place.label for place in places],
    "also": [place.also for place in places],
    "conditions": conditions,
    "condition": [number[place.condition] for place in places],
    "sizes": [file.size for file in listing.files],
    "others": listing.others,
  }


class _Unread:
  """What TFDS takes for an open file."""

  def __init__(self, file: File):
    self.read = file.read


class _Keeping(writer.ExampleWriter):
  """Writes a shard beside the dataset first, whole or not at all, and takes it from there if it is there."""

  def __init__(self, file_format, unfinished: pathlib.Path):
    super().__init__(file_format)
    self._unfinished = unfinished

  def write(self, path, examples: Iterable) -> Any:
    kept = self._unfinished / pathlib.PurePath(path).name
    if not kept.exists():
      temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
      super().write(epath.Path(temporary), examples)
      temporary.replace(kept)
    try:
      os.link(kept, path)
    except OSError:  # a disk without links
      shutil.copyfile(kept, path)
