"""Where images come from: each way in gives the same thing, a `Source` that can be read at any index."""

import csv
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from biasjax.data import datasets, synthetic
from biasjax.data.archives import IMAGE_SUFFIXES, is_image, read_whole
from biasjax.data.classes import category_index, class_index, cues
from biasjax.data.preprocess import CROP, RESIZE
from biasjax.errors import BiasjaxError

FLAT_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)
FLAT_COUNT = 50_000
# Where the ground truth of the flat layout is looked for, relative to the images' folder and its parent.
GROUND_TRUTH = (
  "ILSVRC2012_validation_ground_truth.txt",  # numbers of the challenge's own order, with meta.mat beside it
  "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
  "imagenet_2012_validation_synset_labels.txt",  # a WordNet id a line
  "imagenet2012_validation_labels.txt",  # likewise, as TFDS names it
  "LOC_val_solution.csv",  # Kaggle
)


@dataclasses.dataclass(frozen=True)
class Example:
  """One image as stored.

  Attributes:
    encoded: the file's bytes.
    label: its class, an index into the sorted 1,000 WordNet ids.
    example_id: the path relative to the dataset's root, or TFDS' file name.
    also: further classes that are right too.
  """

  encoded: bytes
  label: int
  example_id: str
  also: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
  """A dataset that can be read at any index.

  Attributes:
    name: as it appears in tables; "imagenet" for ImageNet's validation images.
    length: the number of examples.
    read: index -> Example. Raises OSError where storage fails.
    fingerprint: changes when the set of examples does (names, sizes, labels; TFDS: version and split).
    location: where it is, for messages.
    labels: what labels are indices into: "imagenet" (the sorted 1,000 WordNet ids), "categories16" (the 16
      categories of Geirhos et al.) or "cue_conflict" (the same, of the shape; the file name tells the
      texture); "synthetic" and "synthetic_conflict" likewise with the drawn categories.
    resize: short side in pixels that images are brought to before they are cropped; None for stimuli that
      are shown as they are.
    crop: pixels of a side, as networks see them.
    interpolation: of the resizing, "bilinear" or "bicubic".
    most_labels: the largest number of classes that are right for one example.
    notes: what its numbers should be read with, a sentence each; tables and run.json carry them.
  """

  name: str
  length: int
  read: Callable[[int], Example]
  fingerprint: str
  location: str
  labels: str = "imagenet"
  resize: int | None = RESIZE
  crop: int = CROP
  interpolation: str = "bilinear"
  most_labels: int = 1
  notes: tuple[str, ...] = ()


def folder(path: str | os.PathLike, name: str = "imagenet") -> Source:
  """Image files in a folder: one subfolder for each class, or ImageNet's flat 50,000 validation images.

  Subfolders are WordNet ids, any number of the 1,000; labels are always indices into all 1,000. For the flat
  layout the ground truth is looked for beside and above the images (`GROUND_TRUTH`).

  Raises:
    BiasjaxError: no such folder, no images in it, a subfolder that is no WordNet id, or no ground truth.
  """
  root = _existing(path)
  entries = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
  classes = sorted(entry.name for entry in entries if entry.is_dir())
  flat = sorted(entry.name for entry in entries if FLAT_NAME.fullmatch(entry.name))
  if flat:
    truth = _flat_labels(root)
    files = [(image, truth[_flat_number(root, image, len(truth)) - 1]) for image in flat]
  else:
    files = _class_files(root, classes)
  if not files:
    suffixes = " ".join(IMAGE_SUFFIXES)
    raise BiasjaxError(f"{root} holds no images: expected {root}/<WordNet id>/* ending in one of {suffixes}")
  return _files(name, root, files)


def _files(name: str, root: pathlib.Path, files: list[tuple[str, int]], **of_source) -> Source:
  """A source of (path relative to root, label), read lazily."""
  digest, sizes = hashlib.sha256(), []
  for relative, label in files:
    sizes.append((root / relative).stat().st_size)
    digest.update(f"{relative}\0{label}\0{sizes[-1]}\n".encode())

  def read(index: int) -> Example:
    relative, label = files[index]
    return Example(read_whole(root / relative, sizes[index]), label, relative)

  return Source(name, len(files), read, digest.hexdigest(), str(root), **of_source)


def cue_conflict(path: str | os.PathLike, name: str = "cue-conflict") -> Source:
  """Shape/texture conflict stimuli: <shape>/<shape>N-<texture>M.png, 224x224, shown as they are.

  Geirhos et al. 2019. Labels are the shape's category; stimuli whose shape and texture agree are read too.

  Raises:
    BiasjaxError: no such folder, no images in it, or a file that is not so named.
  """
  root = _existing(path)
  files = [(image, category_index()[cues(image)[0]]) for image in _images(root)]
  return _files(name, root, files, labels="cue_conflict", resize=None)


def categories16(path: str | os.PathLike, name: str = "categories16") -> Source:
  """Images of the 16 categories, 224x224, shown as they are: <index>_..._<category>.JPEG, at any depth.

  The naming of Subramanian et al. 2023; their noise-free grey images are what the critical-band probe wants.

  Raises:
    BiasjaxError: no such folder, no images in it, or a file that is not so named.
  """
  root = _existing(path)
  files = []
  for image in _images(root):
    category = pathlib.PurePosixPath(image).stem.rpartition("_")[2]
    if category not in category_index():
      raise BiasjaxError(
        f"{root / image}: expected <index>_..._<category> with one of {', '.join(category_index())}"
      )
    files.append((image, category_index()[category]))
  return _files(name, root, files, labels="categories16", resize=None)


def _existing(path: str | os.PathLike) -> pathlib.Path:
  root = pathlib.Path(path).expanduser()
  if not root.is_dir():
    raise BiasjaxError(f"{root} is not a folder: check --dataset")
  return root


def _images(root: pathlib.Path, *, required: bool = True) -> list[str]:
  """Image files at any depth, relative to root, in sorted order.

  Raises:
    BiasjaxError: there are none, and some are required.
  """
  found = []
  for folder_name, _, names in sorted(os.walk(root, followlinks=True)):
    relative = pathlib.Path(folder_name).relative_to(root)
    found += [(relative / name).as_posix() for name in sorted(names) if is_image(name)]
  if required and not found:
    raise BiasjaxError(f"{root} holds no images: expected files ending in one of {' '.join(IMAGE_SUFFIXES)}")
  return found


def _class_files(root: pathlib.Path, classes: list[str]) -> list[tuple[str, int]]:
  unknown = [name for name in classes if name not in class_index()]
  if unknown:
    raise BiasjaxError(
      f"{root}: {len(unknown)} subfolder(s) are not among ImageNet's 1,000 WordNet ids, e.g. {unknown[0]!r}: "
      "name the folder whose subfolders are classes (n01440764, ...)"
    )
  files = []
  for wnid in classes:
    images = _images(root / wnid, required=False)
    files.extend((f"{wnid}/{image}", class_index()[wnid]) for image in images)
  return files


def _flat_number(root: pathlib.Path, name: str, count: int) -> int:
  match = FLAT_NAME.fullmatch(name)
  number = int(match[1]) if match else 0
  if not 1 <= number <= count:
    raise BiasjaxError(f"{root / name}: number {number}, but the ground truth has labels for 1 to {count}")
  return number


def _flat_labels(root: pathlib.Path) -> list[int]:
  """Labels of ILSVRC2012_val_00000001 and following, from the first ground-truth file found."""
  candidates = [base / relative for base in (root, root.parent) for relative in GROUND_TRUTH]
  path = next((candidate for candidate in candidates if candidate.is_file()), None)
  if path is None:
    raise BiasjaxError(
      f"{root} holds ILSVRC2012_val_*.JPEG without class folders: put the ground truth beside it, one of "
      + ", ".join(GROUND_TRUTH)
    )
  if path.suffix == ".csv":
    wnids = _kaggle_ground_truth(path)
  else:
    wnids = path.read_text().split()
    if wnids and wnids[0].isdigit():
      order = _challenge_order(path.with_name("meta.mat"))
      wnids = [order.get(number, number) for number in wnids]
  for line, wnid in enumerate(wnids, start=1):
    if wnid not in class_index():
      raise BiasjaxError(f"{path}: label {line} is {wnid!r}, not one of ImageNet's 1,000 WordNet ids")
  if len(wnids) != FLAT_COUNT:
    raise BiasjaxError(f"{path} has {len(wnids)} labels, not {FLAT_COUNT}: it is incomplete, get it again")
  return [class_index()[wnid] for wnid in wnids]


def _kaggle_ground_truth(path: pathlib.Path) -> list[str]:
  """WordNet ids in the order of the image numbers; the file itself is in no order."""
  with path.open(newline="") as file:
    rows = list(csv.DictReader(file))
  try:
    truth = {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
  except (KeyError, IndexError, AttributeError) as error:
    raise BiasjaxError(
      f"{path}: expected columns ImageId,PredictionString with a label in each row"
    ) from error
  return [truth[image] for image in sorted(truth)]


def _challenge_order(path: pathlib.Path) -> dict[str, str]:
  """ILSVRC2012_ID -> WordNet id, from the development kit's meta.mat.

  The challenge numbers its classes in an order of its own: 1 is n02119789 and not n01440764, the first of the
  sorted ids. Reading the numbers as indices gives wrong labels that nothing notices.
  """
  import scipy.io

  if not path.is_file():
    raise BiasjaxError(
      f"{path.parent} has a ground truth of numbers but no meta.mat: the numbers are in the challenge's "
      "own order, which only data/meta.mat of ILSVRC2012_devkit_t12.tar.gz tells; put it there"
    )
  synsets = scipy.io.loadmat(path, squeeze_me=True)["synsets"]
  return {str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in synsets}


def tfds(spec: str, name: str | None = None, data_dir: str | None = None) -> Source:
  """A prepared TFDS dataset in array_record; TensorFlow is not needed to read it.

  Args:
    spec: a TFDS name ("imagenet_v2", "imagenette/320px:1.0.0") or the folder of one prepared version, then
      optionally "@split". Without a split: "validation", else "test", else the only one.
    name: as it appears in tables; the TFDS name by default, "imagenet" for imagenet2012.
    data_dir: where datasets were prepared; TFDS' default if None.

  Raises:
    BiasjaxError: no such dataset, not prepared, not in array_record, no such split, no image or label
      feature, or labels that are not WordNet ids.
  """
  import tensorflow_datasets as tfds_lib

  dataset, _, split = spec.partition("@")
  builder = tfds_builder(tfds_lib, dataset, data_dir)
  info, features = builder.info, dict(builder.info.features or {})
  if not split:
    usual = [known for known in ("validation", "test") if known in info.splits]
    split = usual[0] if usual else next(iter(info.splits)) if len(info.splits) == 1 else ""
  if split not in info.splits:
    raise BiasjaxError(
      f"{spec}: no split {split!r}; there are {', '.join(info.splits)}: name one as {dataset}@SPLIT"
    )
  drawn = tuple(getattr(features.get("shape_label"), "names", ())) == synthetic.CATEGORIES
  cue_conflict = {"image", "shape_label", "texture_label", "file_name"} <= set(features)
  if not cue_conflict and not {"image", "label"} <= set(features):
    raise BiasjaxError(f"{spec}: expected the features image and label, found {', '.join(features)}")
  label = "shape_label" if cue_conflict else "label"
  index = synthetic.CATEGORY_INDEX if drawn else category_index() if cue_conflict else class_index()
  labels = _tfds_labels(spec, features[label], index)
  records = builder.as_data_source(split=split, decoders={"image": tfds_lib.decode.SkipDecoding()})

  def read(index: int) -> Example:
    record = records[index]
    example_id = record.get("file_name", record.get("id", f"{split}-{index:08d}"))
    if isinstance(example_id, bytes):
      example_id = example_id.decode()
    return Example(record["image"], int(labels[int(record[label])]), str(example_id))

  version = {
    "name": info.full_name,
    "split": split,
    "shards": list(info.splits[split].shard_lengths),
    "bytes": info.splits[split].num_bytes,
  }
  fingerprint = hashlib.sha256(json.dumps(version).encode()).hexdigest()
  table_name = name or {"imagenet2012": "imagenet"}.get(builder.name) or str(builder.name)
  location = f"{info.full_name}@{split} in {builder.data_dir}"
  of_source: dict[str, Any] = {"labels": "cue_conflict", "resize": None} if cue_conflict else {}
  if drawn:
    of_source |= {"labels": "synthetic_conflict" if split == "conflict" else "synthetic"}
    of_source |= {"crop": features["image"].shape[0]}
  return Source(table_name, len(records), read, fingerprint, location, **of_source)


def tfds_builder(tfds_lib, dataset: str, data_dir: str | None) -> Any:
  """The prepared dataset; says what to do where it is missing or in a format that needs TensorFlow."""
  file_format = tfds_lib.core.file_adapters.FileFormat.ARRAY_RECORD
  try:
    if os.path.isdir(dataset):
      builder = tfds_lib.builder_from_directory(dataset)
    else:
      builder = tfds_lib.builder(dataset, data_dir=data_dir)
  except tfds_lib.core.DatasetNotFoundError as error:
    where = f"={data_dir}" if data_dir else ""
    raise BiasjaxError(f"no TFDS dataset {dataset!r}: check the name, or --data_dir{where}") from error
  except (OSError, ValueError, AssertionError) as error:
    reason = " ".join(str(error).split())
    raise BiasjaxError(f"TFDS dataset {dataset!r} cannot be opened: {reason}") from error
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


def _tfds_labels(spec: str, feature, index: Mapping[str, int]) -> np.ndarray:
  """index[name], int [classes], for each label of a TFDS dataset."""
  names: Iterable[str] = getattr(feature, "names", None) or []
  unknown = [name for name in names if name not in index]
  if unknown or not names:
    found = f"found {unknown[0]!r}" if unknown else "they have no names"
    expected = f"like {', '.join(itertools.islice(index, 2))}: one of {len(index)}"
    raise BiasjaxError(f"{spec}: labels must be named {expected}; {found}")
  return np.array([index[name] for name in names])


WAYS_IN = {"folder": folder, "cue_conflict": cue_conflict, "categories16": categories16}


def open_source(spec: str, data_dir: str | None = None) -> Source:
  """The dataset that a `--dataset` names: [NAME=]KIND:PATH or [NAME=]tfds:DATASET[@SPLIT].

  KIND is "folder" (ImageNet's classes), "cue_conflict" or "categories16". NAME is what tables call it;
  "imagenet" for a folder that does not say.

  Raises:
    BiasjaxError: a spec of another form, or whatever the way in raises.
  """
  match = re.fullmatch(r"(?:(?P<name>[^=:/]+)=)?(?P<kind>[a-z_0-9]+):(?P<where>.+)", spec)
  if not match or match["kind"] not in (*WAYS_IN, "tfds"):
    raise BiasjaxError(
      f"--dataset={spec}: expected folder:PATH or tfds:DATASET[@SPLIT] (or cue_conflict:PATH, "
      "categories16:PATH), optionally NAME=..."
    )
  if match["kind"] == "tfds":
    return tfds(match["where"], match["name"], data_dir)
  named = {"name": match["name"]} if match["name"] else {}
  return WAYS_IN[match["kind"]](match["where"], **named)
