"""What TFDS prepared: datasets in array_record, their splits and slices, and the classes of their labels."""

import importlib
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from biasjax import buckets
from biasjax.data import datasets
from biasjax.errors import BiasjaxError

DESCRIPTION = "dataset_info.json"  # what makes a folder one of TFDS


class Part(NamedTuple):
  """Records of a split: `take` of them after `skip`."""

  split: str
  skip: int
  take: int


def parts(info: Any, spec: str, dataset: str, split: str) -> list[Part]:
  """What TFDS reads for a split, a slice ("train[:33%]") or a sum ("train+test"), rounded as it rounds.

  Raises:
    BiasjaxError: no such split or slice, nothing in it, or the same images in it twice.
  """
  tfds_lib: Any = importlib.import_module("tensorflow_datasets")
  there = f"there are {', '.join(info.splits)}: name one as {dataset}@SPLIT, or a part, {dataset}@SPLIT[:10%]"
  if not split:
    raise BiasjaxError(f"{spec}: no split is named; {there}")
  try:
    instruction = tfds_lib.core.ReadInstruction(split) if split in info.splits else split
    ranges = tfds_lib.core.ReadInstruction.from_spec(instruction).to_absolute(info.splits)
  except (ValueError, NotImplementedError) as error:  # TFDS' messages name the slice and its limits
    reason = re.sub(r" See format at:? \S+", "", _line(error))
    raise BiasjaxError(f"{spec}: no split {split!r}; {there} ({reason})") from error
  found = []
  for part in ranges:
    start = part.from_ or 0
    stop = info.splits[part.splitname].num_examples if part.to is None else part.to
    if start >= stop:  # TFDS reads everything after 3 for [3:2]
      raise BiasjaxError(f"{spec}: {split} has a part without images, {part.splitname}[{start}:{stop}]")
    found.append(Part(part.splitname, start, stop - start))
  for one, other in itertools.pairwise(sorted(found)):
    if one.split == other.split and one.skip + one.take > other.skip:
      raise BiasjaxError(f"{spec}: {split} has images of {one.split} twice: name parts that do not overlap")
  return found


def records(builder: Any, split: str) -> tuple[int, Callable[[int], dict[str, Any]]]:
  """(how many records a split has, index -> record with the image's bytes, OSError where storage fails).

  Raises:
    BiasjaxError: a file of the split is not there or damaged.
  """
  tfds_lib: Any = importlib.import_module("tensorflow_datasets")
  try:
    source = builder.as_data_source(split=split, decoders={"image": tfds_lib.decode.SkipDecoding()})
    length = len(source)
  except (RuntimeError, ValueError, OSError) as error:
    raise BiasjaxError(
      f"{builder.data_dir} cannot be read ({_line(error)}): get or prepare it again"
    ) from error

  def read(index: int) -> dict[str, Any]:
    try:
      return source[index]
    except (RuntimeError, ValueError) as error:  # ArrayRecord's, of files that are gone or damaged
      raise OSError(f"record {index} of {builder.data_dir}: {_line(error)}") from error

  return length, read


def _line(error: Exception) -> str:
  return " ".join(str(error).split())


def opened(dataset: str, data_dir: str | None) -> Any:
  """The prepared dataset; says what to do where it is missing or in a format that needs TensorFlow."""
  tfds_lib: Any = importlib.import_module("tensorflow_datasets")  # seconds, so only where it is needed
  file_format = tfds_lib.core.file_adapters.FileFormat.ARRAY_RECORD
  _refuse_other_paths(dataset)
  try:
    if os.path.isdir(dataset):
      builder = tfds_lib.builder_from_directory(dataset)
    else:
      builder = tfds_lib.builder(dataset, data_dir=data_dir)
  except tfds_lib.core.DatasetNotFoundError as error:
    where = f"={data_dir}" if data_dir else ""
    others = sorted(
      f"{dataset}/{file.parents[1].name}"
      for file in pathlib.Path(data_dir or "", dataset).glob(f"*/*/{DESCRIPTION}")
    )
    said = f"name what is there, {', '.join(others)}" if others else f"check the name, or --data_dir{where}"
    raise BiasjaxError(f"no TFDS dataset {dataset!r}: {said}") from error
  except (OSError, ValueError, AssertionError) as error:
    raise BiasjaxError(f"TFDS dataset {dataset!r} cannot be opened: {_line(error)}") from error
  if not builder.info.splits:
    here = [row.name for row in datasets.ROWS if row.stock and row.stock[0].split("/")[0] == builder.name]
    without = f"run.py --prepare={here[0]}, or " if here else ""
    raise BiasjaxError(
      f"TFDS dataset {dataset!r} is not prepared in {builder.data_dir}: prepare it with {without}"
      f"tfds.builder({dataset!r}, file_format='array_record').download_and_prepare(), which may need "
      "TensorFlow (pip install tensorflow; reading never does); or check --data_dir"
    )
  if builder.info.file_format != file_format:
    raise BiasjaxError(
      f"{builder.data_dir} is in {builder.info.file_format.value}, which cannot be read at random: convert "
      "it with python -m tensorflow_datasets.scripts.convert_format --out_file_format=array_record "
      f"--dataset_dir={builder.data_dir} --out_path=NEW_FOLDER, and name tfds:NEW_FOLDER"
    )
  return builder


def _refuse_other_paths(dataset: str) -> None:
  """Raises BiasjaxError for a path that is no folder of one prepared version: TFDS takes it for a name."""
  place = pathlib.Path(dataset)
  if buckets.named(dataset):
    raise BiasjaxError(f"{dataset}: array_record is read from disks only: copy the dataset to one")
  if not place.is_dir():
    if place.is_absolute() or dataset.startswith("."):
      raise BiasjaxError(f"{dataset} is not a folder: check the path, or name a dataset of --data_dir")
  elif not (place / DESCRIPTION).is_file():
    below = sorted(
      file.parent for depth in ("*", "*/*", "*/*/*") for file in place.glob(f"{depth}/{DESCRIPTION}")
    )
    found = f", such as tfds:{below[-1]}" if below else ""
    raise BiasjaxError(
      f"{dataset} holds no {DESCRIPTION}, so it is no dataset that TFDS prepared: name the folder of one "
      f"version{found}"
    )


def hint(folder: pathlib.Path) -> str:
  """What to say of a folder that TFDS prepared where images were expected; "" of any other."""
  return f": did you mean tfds:{folder}?" if (folder / DESCRIPTION).is_file() else ""


def refuse_other_kinds(spec: str, features: Mapping[str, Any], label: str) -> None:
  """Raises BiasjaxError where a record has no single encoded image or label: several, a video, an array."""
  kinds: Any = importlib.import_module("tensorflow_datasets").features
  image = features["image"]
  if not isinstance(image, kinds.Image) and image.shape != ():  # a text may hold the bytes
    wrong, wanted = "image", "Image"
  elif isinstance(features[label], kinds.Sequence):  # which passes as what it is a sequence of
    wrong, wanted = label, "ClassLabel"
  else:
    return
  found = type(features[wrong]).__name__
  raise BiasjaxError(f"{spec}: expected the feature {wrong} to be one {wanted}, found {found}")


def labels(spec: str, feature, index: Mapping[str, int]) -> np.ndarray:
  """index[name], int [classes], for each label of a TFDS dataset."""
  names: Iterable[str] = getattr(feature, "names", None) or []
  unknown = [name for name in names if name not in index]
  if unknown or not names:
    found = f"found {unknown[0]!r}" if unknown else "they have no names"
    expected = f"like {', '.join(itertools.islice(index, 2))}: one of {len(index)}"
    raise BiasjaxError(f"{spec}: labels must be named {expected}; {found}")
  return np.array([index[name] for name in names])
