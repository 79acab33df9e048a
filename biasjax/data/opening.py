"""From what `--dataset` says to a source: which benchmark, where it lies, and whether it is complete."""

import dataclasses
import glob
import gzip
import hashlib
import json
import os
import pathlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from biasjax.data import archives, checking, datasets, layouts, pipeline, prepared, sources, subsets
from biasjax.data.datasets import Dataset
from biasjax.data.layouts import Listing, Place
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError

SPEC = re.compile(r"(?:(?P<name>[^=:/]+)=)?(?P<row>[A-Za-z][\w-]*)(?::(?P<path>.+))?")
VERSION = "1.0.0"  # of what this project prepares; a change of layout is another version
SPLIT = "test"
LISTING = "listing.json.gz"
REAL = "real.json"


@dataclasses.dataclass(frozen=True)
class Found:
  """Where a dataset is.

  Attributes:
    way: "prepared" (by this project), "stock" (by TFDS' own builder), "relabelled" (ReaL: a prepared ImageNet
      with real.json) or "files" (as distributed).
    path: the folder of one version, or the folder or archive of the files.
  """

  way: str
  path: str


def default_data_dir(data_dir: str | None) -> str:
  """Where TFDS keeps prepared datasets."""
  return os.path.expanduser(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


ASKED = ("data_dir", "manual_dir", "subset", "limit", "allow_incomplete", "classes")


def open_asked(spec: str, asked: Mapping[str, Any]) -> Source:
  """`open_dataset` with what the flags `ASKED` say, which `open_again` needs; in the order that it was in."""
  flags = {name: asked[name] for name in ASKED if name in asked}
  source = dataclasses.replace(open_dataset(spec, **flags), asked=_from_anywhere({"spec": spec, **flags}))
  return source if asked.get("order") is None else source.in_random_order(asked["order"])


def _from_anywhere(asked: Mapping[str, Any]) -> dict[str, Any]:
  """What was asked, with whole paths in place of relative ones: of files and folders that are there."""
  found = dict(asked)
  before, colon, path = asked["spec"].partition(":")
  if colon:
    found["spec"] = f"{before}:{_whole_path(path)}"
  for name in ("data_dir", "manual_dir", "subset", "classes"):
    if asked.get(name):
      found[name] = _whole_path(asked[name])
  return found


def _whole_path(path: str) -> str:
  """Of a pattern, its folder's; names that are no path here stay as they are."""
  home = os.path.expanduser(path)
  return os.path.abspath(home) if glob.has_magic(home) or os.path.exists(home) else path


def open_again(known: Mapping[str, Any]) -> Source | None:
  """A dataset as run.json knows it; None where it is not there any more, or is another one.

  Args:
    known: its entry: what `open_asked` was told, and the fingerprint.
  """
  try:
    source = open_asked(known["asked"]["spec"], known["asked"])
  except (BiasjaxError, OSError, KeyError):
    return None
  return source if source.fingerprint == known["fingerprint"] else None


def open_dataset(
  spec: str,
  data_dir: str | None = None,
  manual_dir: str | None = None,
  *,
  subset: str | None = None,
  limit: int | None = None,
  allow_incomplete: bool = False,
  classes: str | None = None,
) -> Source:
  """The dataset that a `--dataset` names.

  Args:
    spec: [NAME=]ROW[:PATH], a row of `datasets.ROWS` with the folder or archive as it is distributed; without
      a path it is looked for in data_dir, then in manual_dir. Or a way in of `sources.open_source`.
    data_dir: where TFDS datasets were prepared.
    manual_dir: where archives or folders lie as they are distributed.
    subset: only the images that a list names (`subsets.names`).
    limit: a class-balanced subset of so many images (of each condition), of those of `subset`.
    allow_incomplete: go on where the dataset is not what was published; `Source.notes` then says so.
    classes: of classes:PATH, see `sources.own_classes`.

  Raises:
    BiasjaxError: no such dataset, it is not there, it is not what its authors published, or it has not the
      images of the subset.
  """
  kinds = "|".join((*sources.WAYS_IN, "tfds"))
  if re.fullmatch(rf"(?:[^=:/]+=)?(?:{kinds}):.+", spec):
    source = sources.open_source(spec, data_dir, allow_incomplete=allow_incomplete, classes=classes)
    return _part(source, subset, limit, allow_incomplete)
  match = SPEC.fullmatch(spec)
  known = {*datasets.DATASETS, *sources.WAYS_IN, "tfds"}
  bare = spec.partition("=")[2] or spec
  if not (match and match["row"].replace("-", "_") in known) and archives.exists(
    pathlib.Path(bare).expanduser()
  ):
    raise BiasjaxError(
      f"--dataset={spec}: did you mean folder:{bare} (of ImageNet's classes), or classes:{bare} (of a "
      "network's own)? A path needs what it is before it"
    )
  if not match:
    raise BiasjaxError(
      f"--dataset={spec}: expected a benchmark ({', '.join(datasets.DATASETS)}) with or without :PATH, "
      f"tfds:DATASET[@SPLIT], or {', '.join(f'{kind}:PATH' for kind in sources.WAYS_IN)}; maybe NAME=..."
    )
  if match["row"] in (*sources.WAYS_IN, "tfds"):
    raise BiasjaxError(f"--dataset={spec}: {match['row']} needs to know where: {match['row']}:PATH")
  row = datasets.get(match["row"], others=(*sources.WAYS_IN, "tfds"))
  if match["path"]:
    at = Found("files", match["path"])
  else:
    at = locate(row, data_dir, manual_dir)
    if at is None:
      raise BiasjaxError(missing(row, data_dir, manual_dir))
  if at.way == "relabelled":
    source, wrong = _open_relabelled(row, data_dir, manual_dir)
  elif at.way == "stock":
    source, wrong = _open_stock(row, at.path)
  else:
    source, wrong = _open_listed(row, at, manual_dir)
  if wrong and not allow_incomplete:
    raise BiasjaxError(
      f"{row.name} in {at.path} is not what its authors published: {'; '.join(wrong)}: get it again, or go "
      "on regardless with --allow_incomplete"
    )
  notes = (f"it is not what its authors published: {'; '.join(wrong)}",) if wrong else ()
  name = match["name"] or row.table
  source = dataclasses.replace(source, name=name, notes=notes, incomplete=bool(wrong))
  for place in source.places:
    source.check(place.example_id, place.label, place.also)
  return _part(source, subset, limit, allow_incomplete)


def locate(row: Dataset, data_dir: str | None, manual_dir: str | None) -> Found | None:
  """Where a row's images are: prepared by this project or by TFDS, or as distributed; None: nowhere."""
  base = epath.Path(default_data_dir(data_dir))
  own = base / row.builder / VERSION
  if (own / LISTING).exists():
    return Found("prepared", os.fspath(own))
  if row.stock and (base / row.stock[0]).exists():
    versions = [p for p in (base / row.stock[0]).iterdir() if (p / "dataset_info.json").exists()]
    if versions:
      return Found("stock", os.fspath(max(versions, key=lambda p: _version(p.name))))
  if row.layout is None:
    images = locate(datasets.get("imagenet"), data_dir, None)
    if images and _real_beside(data_dir, manual_dir):
      return Found("relabelled", images.path)
  files = distributed(row, manual_dir)
  return Found("files", str(files)) if files else None


def _version(name: str) -> tuple[int, ...]:
  return tuple(int(part) for part in re.findall(r"\d+", name))


def distributed(row: Dataset, manual_dir: str | None) -> pathlib.Path | None:
  """The folder or archive of a row in `manual_dir`, by the names that its authors give them."""
  if not manual_dir:
    return None
  root = pathlib.Path(manual_dir).expanduser()
  for name in _whole(row):
    if (root / name).exists():
      return root / name
  return root if _parts(row, root) else None


def _names(row: Dataset) -> tuple[list[str], list[str]]:
  """The archives of a row's images, and what they unpack into."""
  names = [archive.name for archive in row.archives if archive.name != REAL]
  return names, [re.sub(r"(\.tar)?\.(tar|gz|tgz|zip)$", "", name.rstrip("/")) for name in names]


def _whole(row: Dataset) -> list[str]:
  """The names that one folder or archive with all of it may have."""
  names, stems = _names(row)
  if len(names) > 1:
    names = stems = []
  formatted = [f"{stem}-format-val" for stem in stems]
  return [name for name in (row.name, row.table, row.prepared, *stems, *formatted, *names) if name]


def _parts(row: Dataset, root: pathlib.Path) -> list[pathlib.Path]:
  """The folders, else the archives, in `root` that a row of several is distributed as, among others maybe."""
  names, stems = _names(row)
  if len(names) == 1 or not root.is_dir():
    return []
  folders = [root / name for name in dict.fromkeys([*(c.split("/")[0] for c in row.conditions), *stems])]
  found = [folder for folder in folders if folder.is_dir()]
  return found or [root / name for name in names if (root / name).is_file()]


def _files(row: Dataset, path: str | os.PathLike) -> list[archives.File]:
  """The image files of a row at `path`; of a folder that holds its parts, only these are looked at."""
  found = []
  for part in _parts(row, pathlib.Path(path).expanduser()):
    inside = archives.images(part)
    prefix = f"{part.name}/" if part.is_dir() else ""
    found += [dataclasses.replace(file, name=prefix + file.name) for file in inside]
  return found or archives.images(path, _names(row)[0])


def missing(row: Dataset, data_dir: str | None, manual_dir: str | None) -> str:
  """What to get, how large it is, from where, and what to do with it."""
  count = f" ({row.images:,} images)" if row.images else ""
  places = " nor in ".join(filter(None, (default_data_dir(data_dir), manual_dir)))
  return (
    f"{row.name}{count} is not in {places}: get {wanted(row)}, and either name its folder "
    f"(--dataset={row.name}:FOLDER) or prepare it (python run.py --prepare={row.name} --manual_dir=FOLDER "
    "--data_dir=...)"
  )


def wanted(row: Dataset) -> str:
  """The files that a row is distributed as, with sizes and addresses."""
  if len(row.archives) <= 5:
    return ", ".join(map(str, row.archives))
  first = row.archives[0]
  return f"{first} and {len(row.archives) - 1} more beside it, {', '.join(a.name for a in row.archives[1:])}"


def listing(row: Dataset, path: str | os.PathLike, manual_dir: str | None = None) -> Listing:
  """The examples of a row in a folder or an archive, in order.

  Args:
    row: the benchmark.
    path: the folder or archive.
    manual_dir: where real.json may be too; it is looked for beside and above the images first.

  Raises:
    BiasjaxError: nothing is there, or an archive is damaged.
  """
  layout = row.layout
  if layout is None:
    layout = layouts.reassessed(layouts.read_real(_real_json(row, path, manual_dir)))
  files = _files(row, path)
  found = layouts.arrange(files, layout, row.inside)
  if row.layout is None:
    unlabelled = [name for name in found.others if layouts.validation_number(name.rpartition("/")[2])]
    found = dataclasses.replace(found, others=sorted(set(found.others).difference(unlabelled)))
  competing = set(row.competing)
  kept = [i for i, place in enumerate(found.places) if place.label in competing]
  found = Listing(
    [found.files[i] for i in kept],
    [found.places[i] for i in kept],
    [
      *found.others,
      *(f.name for f, p in zip(found.files, found.places, strict=True) if p.label not in competing),
    ],
    found.unreadable,
  )
  if not found.files and found.unreadable:
    raise BiasjaxError(f"{path}: nothing in it can be read: {found.unreadable[0]}")
  if not found.files:
    raise BiasjaxError(
      f"{path} holds {len(files):,} images, but none belongs to {row.name}, e.g. {files[0].name}: see "
      "docs/datasets.md"
    )
  return found


def _real_json(row: Dataset, path: str | os.PathLike, manual_dir: str | None) -> pathlib.Path:
  place = pathlib.Path(path).expanduser()
  folders = [place, *list(place.resolve().parents)[:2]] + (
    [pathlib.Path(manual_dir).expanduser()] if manual_dir else []
  )
  for folder in folders:
    if (folder / REAL).is_file():
      return folder / REAL
  raise BiasjaxError(f"{row.name}: {REAL} is neither beside nor above {path}: get {row.archives[-1]}")


def _open_listed(row: Dataset, at: Found, manual_dir: str | None) -> tuple[Source, list[str]]:
  if at.way == "files":
    found = listing(row, at.path, manual_dir)
    files, places = found.files, found.places
    sizes = [file.size for file in files]

    def read(index: int) -> Example:
      place = places[index]
      return Example(files[index].read(), place.label, place.example_id, place.also)

  else:
    found, sizes, read = _prepared(at.path)
    places = found.places
  source = Source(
    name=row.table,
    length=len(places),
    read=read,
    fingerprint=_fingerprint(places, sizes),
    location=at.path,
    labels=row.labels,
    resize=row.resize,
    most_labels=max(row.most_labels, max(1 + len(place.also) for place in places)),
    places=places,
  )
  return source, checking.differences(row, found)


def _real_beside(data_dir: str | None, manual_dir: str | None) -> pathlib.Path | None:
  """real.json in manual_dir or data_dir."""
  folders = [
    pathlib.Path(folder).expanduser() for folder in (manual_dir, default_data_dir(data_dir)) if folder
  ]
  return next((folder / REAL for folder in folders if (folder / REAL).is_file()), None)


def _open_relabelled(row: Dataset, data_dir: str | None, manual_dir: str | None) -> tuple[Source, list[str]]:
  """ReaL over a prepared ImageNet. TFDS' own has no listing: all of its records are read for their names."""
  imagenet = datasets.get("imagenet")
  at, real = locate(imagenet, data_dir, None), _real_beside(data_dir, manual_dir)
  assert at
  assert real
  opened = _open_stock(imagenet, at.path) if at.way == "stock" else _open_listed(imagenet, at, None)
  images, _ = opened
  layout = layouts.reassessed(layouts.read_real(real))
  placed = [
    (layout(place.example_id.split("/")), i) for i, place in enumerate(images.places or scanned(images))
  ]
  found = sorted(((place, i) for place, i in placed if place), key=lambda pair: pair[0].example_id)
  places, indices = [place for place, _ in found], [i for _, i in found]

  def read(index: int) -> Example:
    place = places[index]
    return Example(images.read(indices[index]).encoded, place.label, place.example_id, place.also)

  digest = hashlib.sha256(images.fingerprint.encode() + real.read_bytes()).hexdigest()
  source = dataclasses.replace(
    images,
    name=row.table,
    length=len(places),
    read=read,
    fingerprint=digest,
    location=f"{at.path} with {real}",
    labels=row.labels,
    most_labels=row.most_labels,
    places=places,
  )
  return source, checking.differences(row, Listing([], places, []))


def _fingerprint(places: Sequence[Place], sizes: Sequence[int]) -> str:
  """Equal for equal examples, however they are kept."""
  digest = hashlib.sha256()
  for place, size in zip(places, sizes, strict=True):
    digest.update(f"{place.example_id}\0{place.label}\0{place.also}\0{size}\n".encode())
  return digest.hexdigest()


def _prepared(path: str):
  """(listing, sizes, read) of what `builders` prepared."""
  folder = epath.Path(path)
  try:
    kept = json.loads(gzip.decompress((folder / LISTING).read_bytes()))
    places = [
      Place(example_id, label, kept["conditions"][condition], tuple(also))
      for example_id, label, condition, also in zip(
        kept["ids"], kept["labels"], kept["condition"], kept["also"], strict=True
      )
    ]
    found, sizes = Listing([], places, kept["others"]), kept["sizes"]
  except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
    raise BiasjaxError(
      f"{folder / LISTING} is damaged ({error}): delete {path} and prepare it again"
    ) from error
  builder = prepared.opened(path, None)
  length, record_at = prepared.records(builder, SPLIT)
  if length != len(places):
    raise BiasjaxError(
      f"{path} holds {length:,} records for {len(places):,} names: delete it and prepare it again"
    )

  def read(index: int) -> Example:
    record, place = record_at(index), places[index]
    if (record["file_name"].decode(), int(record["label"])) != (place.example_id, place.label):
      raise OSError(f"record {index} is {record['file_name'].decode()}, not {place.example_id}")
    if len(record["image"]) != sizes[index]:
      raise OSError(f"{place.example_id} has {len(record['image']):,} bytes, not {sizes[index]:,}")
    return Example(record["image"], place.label, place.example_id, place.also)

  return found, sizes, read


def _open_stock(row: Dataset, path: str) -> tuple[Source, list[str]]:
  """What TFDS prepared itself: its records have no listing, so only their number is checked."""
  source = sources.tfds(f"{path}@{row.stock[1] if row.stock else ''}", row.table)
  wrong = [f"{source.length:,} images instead of {row.images:,}"] if source.length != row.images else []
  return dataclasses.replace(source, labels=row.labels, resize=row.resize), wrong


def scanned(source: Source) -> list[Place]:
  """Labels and ids of a source that has no listing, by reading all of it.

  Raises:
    BiasjaxError: storage fails, or a label is none of the classes.
  """
  examples = (pipeline.read(source, index) for index in range(source.length))
  return [Place(example.example_id, example.label) for example in examples]


def _part(source: Source, subset: str | None, limit: int | None, allow_incomplete: bool) -> Source:
  """What a run is asked for of a source: the images that a list names, and so many of them."""
  if subset is not None:
    source = _listed(source, subset, allow_incomplete)
  return source if limit is None else _limited(source, limit)


def _listed(source: Source, subset: str, allow_incomplete: bool) -> Source:
  places, listed = source.places or scanned(source), subsets.names(subset)
  kept, absent = subsets.kept(places, listed)
  if not kept:
    raise BiasjaxError(
      f"--subset={subset}: {source.name} in {source.location} has none of the {len(listed):,} images, e.g. "
      f"{listed[0]}: the list is of another dataset, measure that in a run of its own"
    )
  lacking = f"{len(absent):,} of the {len(listed):,} images of --subset={subset}"
  if absent and not allow_incomplete:
    raise BiasjaxError(
      f"{source.name} in {source.location} has no {absent[0]}, it lacks {lacking}: get it whole, or go on "
      "without them with --allow_incomplete"
    )
  source = _chosen(source, places, kept, subsets.digest(listed), f"the images of --subset={subset}")
  if not absent:
    return source
  return dataclasses.replace(source, incomplete=True, notes=(*source.notes, f"it lacks {lacking}"))


def _limited(source: Source, limit: int) -> Source:
  places = source.places or scanned(source)
  kept = checking.balanced(places, limit)
  if len(kept) == source.length:  # no part
    return source
  return _chosen(source, places, kept, str(limit), "a class-balanced subset")


def _chosen(source: Source, places: Sequence[Place], kept: list[int], how: str, what: str) -> Source:
  """Some of a source's examples; `how` they were chosen tells them from others."""
  shown = f"{len(kept):,} of {source.length:,} images"
  return dataclasses.replace(
    source,
    length=len(kept),
    read=lambda index: source.read(kept[index]),
    fingerprint=hashlib.sha256(f"{source.fingerprint}\0{how}".encode()).hexdigest(),
    places=[places[index] for index in kept],
    location=f"{source.location}, {shown}",
    notes=(*source.notes, f"{what}, {shown}"),
  )
