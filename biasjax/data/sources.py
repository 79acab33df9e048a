"""Where images come from: each way in gives the same thing, a `Source` that can be read at any index."""

import bisect
import collections
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from biasjax import sampling
from biasjax.data import archives, datasets, layouts, prepared, shards, synthetic
from biasjax.data import rows as csv_rows
from biasjax.data.classes import category_index, class_index, competing, cues
from biasjax.data.files import IMAGE_SUFFIXES, File, is_image, passed_over, readable, walk
from biasjax.data.layouts import Place
from biasjax.data.preprocess import CROP, RESIZE
from biasjax.errors import BiasjaxError

FOLDER = "folder"  # what tables call a folder of images that nobody has named
ABOUT = "about.json"  # beside the splits of a biased world: what it is made of
# Names of splits: folders that have no other names are no classes.
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
UNLABELLED = -1  # what TFDS and the Hugging Face hub give images of a split without labels


@dataclasses.dataclass(frozen=True)
class Example:
  """One image as stored.

  Attributes:
    encoded: the file's bytes.
    label: its class, an index into the sorted 1,000 WordNet ids.
    example_id: the path relative to the dataset's root; in TFDS the file name of a benchmark's, and of other
      records the split and the place in it, with the file name after "/" if there is one.
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
    labels: what labels are indices into: "imagenet" (the sorted 1,000 WordNet ids), "classes" (a network's
      own), "categories16" (the 16 categories of Geirhos et al.) or "cue_conflict" (the same, of the shape;
      the file name tells the texture); "synthetic" and "synthetic_conflict" likewise with the drawn
      categories. A row of `datasets` that has classes, conditions or several labels of its own is named.
    resize: short side in pixels that images are brought to before they are cropped; None for stimuli that
      are shown as they are.
    crop: pixels of a side, as networks see them.
    interpolation: of the resizing, "bilinear" or "bicubic".
    squash: whether both sides are brought to `resize`, whatever their ratio.
    stimulus: pixels of a side of stimuli as they are stored, where networks see them at another size.
    most_labels: the largest number of classes that are right for one example.
    notes: what its numbers should be read with, a sentence each; tables and run.json carry them.
    own_classes: how many class folders there are whose order numbers a network's own classes; None otherwise.
    class_names: the folders of a network's own classes, by label; {} otherwise.
    incomplete: whether it is not all of what it is called after, as --allow_incomplete permits: tables mark
      its numbers.
    places: what is known of each example without reading it; () where nothing is.
    asked: how it was asked for, to open it again (`opening.open_again`); {} where that is not known.
    textures: by id the class of each stimulus' texture or other cue, where labels do not tell that there is
      one; observations have it.
    preprocessed: how images that are given as networks see them came to be so, in the words of tables; "" of
      others, whose fields above say it.
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
  squash: bool = False
  stimulus: int | None = None
  most_labels: int = 1
  notes: tuple[str, ...] = ()
  own_classes: int | None = None
  class_names: Mapping[int, Sequence[str]] = dataclasses.field(
    default_factory=dict, repr=False, compare=False
  )
  incomplete: bool = False
  places: Sequence[Place] = dataclasses.field(default=(), repr=False, compare=False)
  asked: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)
  textures: Mapping[str, int] | None = dataclasses.field(default=None, repr=False, compare=False)
  preprocessed: str = ""

  def example(self, index: int) -> Example:
    """What `read` gives, its labels checked.

    Raises:
      BiasjaxError: a label is none of the classes that compete: a split without labels, say.
      OSError: storage fails.
    """
    example = self.read(index)
    self.check(example.example_id, example.label, example.also)
    return example

  def in_random_order(self, seed: int) -> "Source":
    """The same images, in the order in which samples grow (`sampling.order`), by the ids or, of a source that
    does not know them, by where they stand."""
    names = [place.example_id for place in self.places] or [str(index) for index in range(self.length)]
    at = sampling.order(names, seed).tolist()
    return dataclasses.replace(
      self,
      read=lambda index: self.read(at[index]),
      fingerprint=hashlib.sha256(f"{self.fingerprint}\0order {seed}".encode()).hexdigest(),
      places=[self.places[index] for index in at] if self.places else (),
      asked={**self.asked, "order": seed} if self.asked else {},
    )

  def check(self, example_id: str, label: int, also: Sequence[int] = ()) -> None:
    """Raises BiasjaxError where a label of an example is none of the classes that compete."""
    allowed = competing(self.labels)
    if allowed is None:
      return
    wrong = [each for each in (label, *also) if each not in allowed]
    if wrong:
      without = ", as where a split has no labels" if wrong[0] == UNLABELLED else ""
      raise BiasjaxError(
        f"{self.location}: {example_id} has label {wrong[0]}{without}: it is none of the {len(allowed)} "
        f"classes that labels {self.labels} stand for"
      )


def folder(path: str | os.PathLike, name: str = "imagenet", *, allow_incomplete: bool = False) -> Source:
  """Image files of ImageNet's classes: class folders, or flat files by ImageNet's names, or parquet shards.

  Subfolders are WordNet ids, any number of the 1,000; labels are always indices into all 1,000. Flat files
  are the validation images, whose numbers tell the class, or training images. The Hugging Face hub's names
  of both, and its shards (`biasjax.data.shards`), give the same examples.

  Args:
    path: a folder; or a shard, or a pattern of shards.
    name: as it appears in tables.
    allow_incomplete: leave out what cannot be read, and note it.

  Raises:
    BiasjaxError: no such folder, no images in it, files that cannot be read, images without a class, or a
      subfolder that is no WordNet id.
  """
  root = pathlib.Path(path).expanduser()
  files = walk(root) if archives.exists(root) and root.is_dir() else []
  packed = [] if any(not file.problem for file in files) else _packed(root)
  good, notes = _whole(root, packed or files, allow_incomplete)
  if not packed:
    _class_folders(_existing(path), good)
  found = layouts.arrange(good, _of_folder)
  if found.others:
    raise BiasjaxError(
      f"{root}: {len(found.others)} of {len(good)} images have no class, e.g. {found.others[0]}: expected "
      f"{root}/<WordNet id>/*, or ImageNet's names (ILSVRC2012_val_00000001.JPEG)"
    )
  return _files(name, root, found.files, found.places, notes=notes, incomplete=bool(notes))


def own_classes(
  path: str | os.PathLike,
  name: str | None = None,
  *,
  allow_incomplete: bool = False,
  classes: str | os.PathLike | None = None,
) -> Source:
  """Image files of a network's own classes: <class>/*, at any depth.

  Args:
    path: a folder.
    name: as it appears in tables; by default the folder's.
    allow_incomplete: leave out what cannot be read, and note it.
    classes: a CSV with the columns "folder" and "label", the network's output from 0 on, for every subfolder;
      without it subfolders are numbered in the order of their names, as torchvision's ImageFolder does.

  Raises:
    BiasjaxError: no such folder, no images in it, files that cannot be read, images beside the class folders,
      folders that are splits, or a CSV that is none or lacks a folder.
  """
  root = _existing(path)
  folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
  labels = (
    dict(zip(folders, range(len(folders)), strict=True)) if classes is None else _numbered(classes, folders)
  )
  found = walk(root, lambda file: is_image(file) or passed_over(file))
  good, notes = _whole(root, [file for file in found if not passed_over(file.name)], allow_incomplete)
  if not good:
    packed = walk(root, shards.is_shard)
    instead = "; of shards write the images into such folders" if packed else archives.described(root)
    suffixes = " ".join(IMAGE_SUFFIXES)
    raise BiasjaxError(
      f"{root} holds no images: expected {root}/<class>/* ending in one of {suffixes}{instead}"
    )
  beside = [file.name for file in good if "/" not in file.name]
  if beside:
    raise BiasjaxError(
      f"{root}: {len(beside)} image(s) are in no class's folder, e.g. {beside[0]}: move them into one"
    )
  if {name.lower() for name in folders} <= SPLITS and all(file.name.count("/") > 1 for file in good):
    raise BiasjaxError(
      f"{root}: its subfolders are splits ({', '.join(folders)}), not classes: name one of them"
    )
  places = [Place(file.name, labels[file.name.partition("/")[0]]) for file in good]
  called: dict[int, list[str]] = {}
  for of in folders:
    called.setdefault(labels[of], []).append(of)
  of_source = {"labels": "classes", "own_classes": None if classes else len(folders)}
  of_source["class_names"] = called
  of_source |= {"notes": notes + _of_other_kinds(found), "incomplete": bool(notes)}
  return _files(name or root.resolve().name, root, good, places, **of_source)


def _of_other_kinds(files: Sequence[File]) -> tuple[str, ...]:
  """A note of the images that are passed over for what their names end in; none if there is none."""
  counts = collections.Counter(
    pathlib.PurePosixPath(file.name).suffix.lower() for file in files if passed_over(file.name)
  )
  if not counts:
    return ()
  said = ", ".join(f"{n:,} {suffix}" for suffix, n in sorted(counts.items()))
  return (
    f"images that are passed over for what their names end in: {said}; read are {' '.join(IMAGE_SUFFIXES)}",
  )


def _numbered(path: str | os.PathLike, folders: Sequence[str]) -> dict[str, int]:
  """Folder -> label, as a CSV says."""
  _, rows = csv_rows.read(path, f"--classes={path}")
  try:
    found = {row["folder"].strip(): int(row["label"]) for row in rows}
  except (KeyError, ValueError) as error:
    raise BiasjaxError(
      f"--classes={path} is no CSV with the columns folder and label, a whole number: {error}"
    ) from error
  if len(found) < len(rows):
    raise BiasjaxError(f"--classes={path}: a folder is on two lines: keep one of them")
  lacking = [name for name in folders if name not in found]
  if lacking or min(found.values(), default=0) < 0:
    what = f"has no line for the folder {lacking[0]!r}" if lacking else "has a label below 0"
    raise BiasjaxError(f"--classes={path} {what}")
  return found


def _of_folder(parts: Sequence[str]) -> Place | None:
  """The class is the first folder's, at whatever depth the file is."""
  if len(parts) == 1:
    return layouts.flat(parts[0])
  if parts[0] not in class_index():
    return None
  return Place("/".join([*parts[:-1], layouts.own_name(parts[-1])]), class_index()[parts[0]])


def _packed(root: pathlib.Path) -> list[File]:
  """The images of parquet shards at `root`, if there are any."""
  return (
    archives.of_shards(root) if root.is_dir() else archives.images(root) if shards.SUFFIX in root.name else []
  )


def _class_folders(root: pathlib.Path, files: Sequence[File]) -> None:
  """Refuses subfolders that are no classes, and a folder without images."""
  folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
  if files:  # beside which a subfolder without any, the development kit say, is in nobody's way
    holding = {file.name.partition("/")[0] for file in files}
    folders = [name for name in folders if name in holding]
  unknown = [name for name in folders if name not in class_index()]
  if set(unknown) <= set(category_index()) and unknown:
    raise BiasjaxError(
      f"{root}: its subfolders are the 16 categories, e.g. {unknown[0]!r}: name it cue_conflict:{root} "
      f"(stimuli with two cues) or categories16:{root}"
    )
  if unknown:
    raise BiasjaxError(
      f"{root}: {len(unknown)} subfolder(s) are not among ImageNet's 1,000 WordNet ids, e.g. {unknown[0]!r}: "
      "name the folder whose subfolders are classes (n01440764, ...), or classes:PATH for a network's own"
    )
  if not files:
    raise BiasjaxError(
      f"{root} holds no images: expected {root}/<WordNet id>/* ending in one of {' '.join(IMAGE_SUFFIXES)}, "
      f"or shards *{shards.SUFFIX}{archives.described(root)}{prepared.hint(root)}"
    )


def _whole(
  root: pathlib.Path, files: Sequence[File], allow_incomplete: bool
) -> tuple[list[File], tuple[str, ...]]:
  """The files that can be read, and a note of the others if they may be left out.

  Raises:
    BiasjaxError: some cannot be read and may not be left out, or none can.
  """
  good, bad = readable(files)
  if not bad:
    return good, ()
  said = f"{len(bad)} of {len(files)} files cannot be read, e.g. {bad[0]}"
  if not (allow_incomplete and good):
    raise BiasjaxError(f"{root}: {said}: mend that, or go on without them with --allow_incomplete")
  return good, (f"{said}; they are left out",)


def _files(
  name: str, root: pathlib.Path, files: Sequence[File], places: Sequence[Place], **of_source
) -> Source:
  """A source of files, read lazily."""
  digest = hashlib.sha256()
  for file, place in zip(files, places, strict=True):
    digest.update(f"{place.example_id}\0{place.label}\0{file.size}\n".encode())

  def read(index: int) -> Example:
    return Example(files[index].read(), places[index].label, places[index].example_id)

  return Source(name, len(files), read, digest.hexdigest(), str(root), places=places, **of_source)


def cue_conflict(
  path: str | os.PathLike, name: str = "cue-conflict", *, allow_incomplete: bool = False
) -> Source:
  """Shape/texture conflict stimuli: <shape>/<shape>N-<texture>M.png, 224x224, shown as they are.

  Geirhos et al. 2019. Labels are the shape's category; stimuli whose shape and texture agree are read too.

  Args:
    path: a folder.
    name: as it appears in tables.
    allow_incomplete: leave out what cannot be read, and note it.

  Raises:
    BiasjaxError: no such folder, no images in it, a file that cannot be read, or that is not so named.
  """
  return _named_files(path, name, lambda image: cues(image)[0], "cue_conflict", allow_incomplete)


def biased(path: str | os.PathLike, name: str | None = None, *, allow_incomplete: bool = False) -> Source:
  """Images of a biased world, shown as they are: <class>/<class>N-<cue>M.png, all of one size.

  Classes are the folders, in alphabetical order; the cue is the class that it goes with (`Source.textures`).

  Args:
    path: the folder of a split, as `data.builders` makes them.
    name: as it appears in tables; by default the folder's.
    allow_incomplete: leave out what cannot be read, and note it.

  Raises:
    BiasjaxError: as `own_classes`, or a file is not so named, or no image.
  """
  source = own_classes(path, name, allow_incomplete=allow_incomplete)
  folders = list(dict.fromkeys(place.example_id.partition("/")[0] for place in source.places))
  cue = {one.example_id: folders.index(cues(one.example_id, folders)[1]) for one in source.places}
  try:
    with Image.open(io.BytesIO(source.read(0).encoded)) as image:
      size = image.height
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"{source.location}: {source.places[0].example_id} is no image: {error}") from error
  known = pathlib.Path(source.location).parent / ABOUT
  about = known.read_bytes() if known.is_file() else b""  # two worlds' pictures may be alike in name and size
  digest = hashlib.sha256(source.fingerprint.encode() + about).hexdigest()
  return dataclasses.replace(source, resize=None, crop=size, textures=cue, fingerprint=digest)


def categories16(
  path: str | os.PathLike, name: str = "categories16", *, allow_incomplete: bool = False
) -> Source:
  """Images of the 16 categories, 224x224, shown as they are: <index>_..._<category>.JPEG, at any depth.

  The naming of Subramanian et al. 2023; their noise-free grey images are what the critical-band probe wants.

  Args:
    path: a folder.
    name: as it appears in tables.
    allow_incomplete: leave out what cannot be read, and note it.

  Raises:
    BiasjaxError: no such folder, no images in it, a file that cannot be read, or that is not so named.
  """

  def category(image: str) -> str:
    found = pathlib.PurePosixPath(image).stem.rpartition("_")[2]
    if found not in category_index():
      raise BiasjaxError(
        f"{pathlib.Path(path, image)}: expected <index>_..._<category> with one of "
        + ", ".join(category_index())
      )
    return found

  return _named_files(path, name, category, "categories16", allow_incomplete)


def _named_files(
  path: str | os.PathLike, name: str, category: Callable[[str], str], labels: str, allow_incomplete: bool
) -> Source:
  """Images whose names tell one of the 16 categories."""
  root = _existing(path)
  files = walk(root)
  if not files:
    suffixes = " ".join(IMAGE_SUFFIXES)
    raise BiasjaxError(
      f"{root} holds no images: expected files ending in one of {suffixes}{archives.described(root)}"
    )
  files, notes = _whole(root, files, allow_incomplete)
  places = [Place(file.name, category_index()[category(file.name)]) for file in files]
  return _files(name, root, files, places, labels=labels, resize=None, notes=notes, incomplete=bool(notes))


def _existing(path: str | os.PathLike) -> pathlib.Path:
  root = pathlib.Path(path).expanduser()
  if not archives.exists(root) or not root.is_dir():
    raise BiasjaxError(f"{root} is not a folder{archives.dangling(root)}: check --dataset")
  return root


def tfds(spec: str, name: str | None = None, data_dir: str | None = None) -> Source:
  """A prepared TFDS dataset in array_record; TensorFlow is not needed to read it.

  Args:
    spec: a TFDS name ("imagenet_v2", "imagenette/320px:1.0.0") or the folder of one prepared version, then
      optionally "@split", which may be a slice or a sum as TFDS has them ("train[:33%]", "train+test").
      Without a split: "validation", else "test", else the only one.
    name: as it appears in tables; the TFDS name by default, "imagenet" for imagenet2012.
    data_dir: where datasets were prepared; TFDS' default if None.

  Raises:
    BiasjaxError: no such dataset, not prepared, not in array_record, no such split, nothing in it, no
      image or label feature or several in a record, labels that are not WordNet ids, or a split without
      labels.
  """
  dataset, _, split = spec.partition("@")
  if "/" in split:  # a folder's name may have an @ too
    dataset, _, split = spec.rpartition("@")
    dataset, split = (spec, "") if "/" in split else (dataset, split)
  builder = prepared.opened(dataset, data_dir)
  info, features = builder.info, dict(builder.info.features or {})
  if not split:
    usual = [known for known in ("validation", "test") if known in info.splits]
    split = usual[0] if usual else next(iter(info.splits)) if len(info.splits) == 1 else ""
  parts = prepared.parts(info, spec, dataset, split)
  drawn = tuple(getattr(features.get("shape_label"), "names", ())) == synthetic.CATEGORIES
  cue_conflict = {"image", "shape_label", "texture_label", "file_name"} <= set(features)
  if not cue_conflict and not {"image", "label"} <= set(features):
    raise BiasjaxError(f"{spec}: expected the features image and label, found {', '.join(features)}")
  label = "shape_label" if cue_conflict else "label"
  prepared.refuse_other_kinds(spec, features, label)
  index = synthetic.CATEGORY_INDEX if drawn else category_index() if cue_conflict else class_index()
  labels = prepared.labels(spec, features[label], index)
  length, record_at = prepared.records(builder, split)
  firsts = [sum(part.take for part in parts[:i]) for i in range(len(parts))]
  of_splits = {part.split for part in parts}
  # Elsewhere names may lack the folder of the class, or be those of another split: two images would have one.
  once = builder.name in datasets.builders() or (cue_conflict and len(of_splits) == 1)

  def read(index: int) -> Example:
    record = record_at(index)
    example_id = record.get("file_name", record.get("id"))
    if isinstance(example_id, bytes):
      example_id = example_id.decode()
    if example_id is None or not once:
      # Its place in the whole split, so that a slice's images are called the same; the name belongs to it,
      # since noise goes by names.
      at = bisect.bisect_right(firsts, index) - 1
      place = f"{parts[at].split}-{parts[at].skip + index - firsts[at]:08d}"
      example_id = place if example_id is None else f"{place}/{example_id}"
    found = int(record[label])
    # Of a label without a name nothing is known but that it is none of the classes.
    return Example(
      record["image"], int(labels[found]) if 0 <= found < len(labels) else UNLABELLED, str(example_id)
    )

  version = {"name": info.full_name, "parts": parts, "bytes": [s.num_bytes for s in info.splits.values()]}
  if not once and {"file_name", "id"} & set(features):
    version["ids"] = "place/name"
  fingerprint = hashlib.sha256(json.dumps(version).encode()).hexdigest()
  table_name = name or {"imagenet2012": "imagenet"}.get(builder.name) or str(builder.name)
  location = f"{info.full_name}@{split} in {builder.data_dir}"
  of_source: dict[str, Any] = {"labels": "cue_conflict", "resize": None} if cue_conflict else {}
  if drawn:
    of_source |= {"labels": "synthetic_conflict" if of_splits == {"conflict"} else "synthetic"}
    of_source |= {"crop": features["image"].shape[0]}
  source = Source(table_name, length, read, fingerprint, location, **of_source)
  try:
    source.example(0)  # a split without labels is refused before hours are spent on others
  except OSError as error:
    raise BiasjaxError(f"{location} cannot be read ({error}): get or prepare it again") from error
  return source


WAYS_IN = {
  "folder": folder,
  "classes": own_classes,
  "biased": biased,
  "cue_conflict": cue_conflict,
  "categories16": categories16,
}


def open_source(
  spec: str, data_dir: str | None = None, *, allow_incomplete: bool = False, classes: str | None = None
) -> Source:
  """The dataset that a `--dataset` names: [NAME=]KIND:PATH or [NAME=]tfds:DATASET[@SPLIT].

  KIND is one of `WAYS_IN`; `classes` as in `own_classes`. NAME is what tables call it. A folder that does
  not say is "imagenet" if it holds ImageNet's validation images, all of them by name and each in its class,
  and "folder" if not: photographs of one's own are not ImageNet, whatever their classes.

  Raises:
    BiasjaxError: a spec of another form, or whatever the way in raises.
  """
  match = re.fullmatch(r"(?:(?P<name>[^=:/]+)=)?(?P<kind>[a-z_0-9]+):(?P<where>.+)", spec)
  if not match or match["kind"] not in (*WAYS_IN, "tfds"):
    raise BiasjaxError(
      f"--dataset={spec}: expected tfds:DATASET[@SPLIT], "
      f"{' or '.join(f'{kind}:PATH' for kind in WAYS_IN)}, optionally NAME=..."
    )
  if match["kind"] == "tfds":
    return tfds(match["where"], match["name"], data_dir)
  named: dict[str, Any] = {"name": match["name"]} if match["name"] else {}
  if match["kind"] == "classes":
    named["classes"] = classes
  source = WAYS_IN[match["kind"]](match["where"], **named, allow_incomplete=allow_incomplete)
  if match["kind"] == "folder" and not match["name"] and not _is_validation(source.places):
    return dataclasses.replace(source, name=FOLDER)
  return source


def _is_validation(places: Sequence[Place]) -> bool:
  """Whether these are ImageNet's 50,000 validation images, by their names and classes."""
  if len(places) != layouts.VALIDATION_COUNT:
    return False
  labels = layouts.validation_labels()
  numbers = [layouts.validation_number(place.example_id.rpartition("/")[2]) for place in places]
  right = all(n and labels[n - 1] == place.label for n, place in zip(numbers, places, strict=True))
  return right and len(set(numbers)) == len(numbers)
