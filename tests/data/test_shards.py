"""Parquet shards of the Hugging Face hub give the examples that class folders do."""

import dataclasses
import errno
import json
import logging
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biasjax.data import builders, classes, datasets, opening, pipeline, shards, sources
from biasjax.errors import BiasjaxError
from made_images import encoded, pixels

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"  # classes 0, 1 and 999
# Of the validation set, by their names on the hub; looked up by hand, 1 is a snake (class 65), 293 a tench.
NAMED = {"ILSVRC2012_val_00000001_n01751748.JPEG": 65, f"ILSVRC2012_val_00000293_{TENCH}.JPEG": 0}
WORDS = [f"class {i}" for i in range(1000)]
WORDS[0], WORDS[1], WORDS[207] = "tench, Tinca tinca", "goldfish, Carassius auratus", "golden retriever"
WORDS[999] = "toilet tissue, toilet paper, bathroom tissue"


def jpeg(seed: int) -> bytes:
  return encoded(pixels(12, 10, seed=seed))


def shard(path: pathlib.Path, rows, names=None, *, group: int = 2, plain: bool = False) -> pathlib.Path:
  """A shard of rows (bytes, file name, label) as the library `datasets` writes it; `names` are of classes."""
  images = [content if plain else {"bytes": content, "path": name} for content, name, _ in rows]
  kind = pa.binary() if plain else pa.struct({"bytes": pa.binary(), "path": pa.string()})
  table = pa.table({"image": pa.array(images, kind), "label": [label for *_, label in rows]})
  if names is not None:
    label = {"names": names, "_type": "ClassLabel"}
    described = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
  path.parent.mkdir(parents=True, exist_ok=True)
  pq.write_table(table, path, row_group_size=group)
  return path


def everything(source: sources.Source) -> list[tuple[str, int, bytes]]:
  return [(e.example_id, e.label, e.encoded) for e in map(source.example, range(source.length))]


def folder_of(root: pathlib.Path, rows) -> pathlib.Path:
  """The same rows as files in class folders."""
  for content, name, index in rows:
    (root / classes.wordnet_ids()[index]).mkdir(parents=True, exist_ok=True)
    (root / classes.wordnet_ids()[index] / name).write_bytes(content)
  return root


ROWS = [(jpeg(i), name, label) for i, (name, label) in enumerate(NAMED.items())]
ROWS += [(jpeg(9), f"{TOILET_TISSUE}_3_{TOILET_TISSUE}.JPEG", 999)]


@pytest.mark.parametrize("inside", ["", "data/", "default/validation/"])
@pytest.mark.parametrize("names", [None, WORDS])
def test_shards_give_what_class_folders_give(tmp_path, inside, names):
  for number, rows in enumerate((ROWS[:2], ROWS[2:])):
    name = f"{number:04d}.parquet" if "default" in inside else f"validation-{number:05d}-of-00002.parquet"
    shard(tmp_path / "hub" / f"{inside}{name}", rows, names)
  expected = everything(sources.folder(folder_of(tmp_path / "folders", ROWS)))
  assert [label for _, label, _ in expected] == [0, 65, 999]
  assert everything(sources.folder(tmp_path / "hub")) == expected
  found = opening.open_dataset(f"imagenet:{tmp_path / 'hub'}", allow_incomplete=True)
  assert everything(found) == expected


def test_a_photograph_of_the_hub_meets_the_noise_that_the_same_file_of_imagenet_meets(tmp_path):
  shard(tmp_path / "x.parquet", ROWS[1:2])
  ((name, label, _),) = everything(sources.folder(tmp_path))
  assert (pipeline.noise_id(name, label) == pipeline.noise_id("ILSVRC2012_val_00000293.JPEG", 0)).all()


def test_real_finds_its_images_in_shards(tmp_path):
  shard(tmp_path / "validation-00000-of-00001.parquet", ROWS[:2])
  real = [[] for _ in range(50_000)]
  real[0], real[292] = [65, 62], [0, 1]
  (tmp_path / "real.json").write_text(json.dumps(real))
  source = opening.open_dataset(f"imagenet_real:{tmp_path}", allow_incomplete=True)
  assert [(source.read(i).label, *source.read(i).also) for i in range(2)] == [(65, 62), (0, 1)]


def test_labels_that_are_wordnet_ids_count_among_the_1000(tmp_path):
  shard(tmp_path / "named.parquet", [(jpeg(0), "a.jpg", 1)], [TENCH, TOILET_TISSUE])
  (tmp_path / "text").mkdir()
  shard(tmp_path / "text/x.parquet", [(jpeg(0), "a.jpg", TOILET_TISSUE)])
  for path in (tmp_path / "named.parquet", tmp_path / "text"):
    assert everything(sources.folder(path)) == [(f"{TOILET_TISSUE}/a.jpg", 999, jpeg(0))]


@pytest.mark.parametrize(
  "kind", [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()]
)
def test_wordnet_ids_count_in_whatever_form_of_text_they_are_stored(tmp_path, kind, caplog):
  images = pa.array([{"bytes": jpeg(i), "path": f"{i}.jpg"} for i in range(2)])
  table = pa.table({"image": images, "label": pa.array([TOILET_TISSUE, GOLDFISH]).cast(kind)})
  try:
    pq.write_table(table, tmp_path / "x.parquet")
  except pa.ArrowNotImplementedError as error:  # pyarrow 18 writes no views
    pytest.skip(str(error))
  caplog.clear()
  assert [label for _, label, _ in everything(sources.folder(tmp_path))] == [1, 999]  # by name
  assert not caplog.messages  # these labels say what they are


def test_own_classes_say_that_they_are_not_read_from_shards(tmp_path):
  shard(tmp_path / "x.parquet", ROWS)
  with pytest.raises(BiasjaxError, match="of shards write the images into such folders"):
    sources.own_classes(tmp_path)


def test_rows_without_a_name_of_their_own_are_called_by_their_place(tmp_path, caplog):
  rows = [(jpeg(i), name, i) for i, name in enumerate((None, "image", "image"))]
  shard(tmp_path / "a.parquet", rows)
  shard(tmp_path / "b.parquet", [(jpeg(5), None, 0)], plain=True)
  with caplog.at_level(logging.WARNING, "biasjax"):
    read = everything(sources.folder(tmp_path))
  assert read == [
    (f"{TENCH}/a-000000.jpeg", 0, jpeg(0)),
    (f"{TENCH}/b-000000.jpeg", 0, jpeg(5)),
    (f"{GOLDFISH}/a-000001.jpeg", 1, jpeg(1)),
    ("n01484850/a-000002.jpeg", 2, jpeg(2)),
  ]
  assert "does not say what its labels are: they are taken for indices" in caplog.text


def test_the_validation_split_is_meant_where_there_are_several(tmp_path):
  for split, label in (("train", 1), ("validation", 0), ("test", -1)):
    shard(
      tmp_path / f"data/{split}-00000-of-00001.parquet", [(jpeg(label + 1), f"{split}.jpg", label)], WORDS
    )
  assert [label for _, label, _ in everything(sources.folder(tmp_path))] == [0]
  train = sources.open_source(f"folder:{tmp_path}/data/train-*.parquet")
  assert [label for _, label, _ in everything(train)] == [1]
  with pytest.raises(BiasjaxError, match=r"row 0 has label -1, none of the classes: a split without labels"):
    sources.open_source(f"folder:{tmp_path}/data/test-*.parquet")
  (tmp_path / "data/validation-00000-of-00001.parquet").rename(tmp_path / "data/more.parquet")
  (tmp_path / "data/test-00000-of-00001.parquet").unlink()
  with pytest.raises(BiasjaxError, match=r"holds shards of the splits '', 'train': name one"):
    sources.folder(tmp_path)


@pytest.mark.parametrize(
  ("path", "split"),
  [
    ("data/train-00000-of-00294.parquet", "train"),
    ("default/partial-train/0000.parquet", "train"),
    ("val/0.parquet", "validation"),
    ("valid.parquet", "validation"),
    ("training_notes/evaluation.parquet", ""),
    ("imagenet-1k_validation.parquet", "validation"),
  ],
)
def test_the_split_that_a_path_names(path, split):
  assert shards.split_of(path) == split


@pytest.mark.parametrize(
  ("rows", "names", "message"),
  [
    ([(b"x", "a.jpg", 0)], ["tench", "English springer"], "its 2 classes are called 'tench' and the like"),
    ([(b"x", "a.jpg", 0)], WORDS[1:] + WORDS[:1], "its 1000 classes are called"),
    ([(b"x", "a.jpg", 1000)], None, "row 0 has label 1000, none of the classes$"),
    ([(b"x", "a.jpg", 2)], [TENCH, GOLDFISH], "row 0 has label 2, none of the classes$"),
    ([(b"x", "a.jpg", None)], None, "row 0 has label None, none of the classes: a split without"),
    ([(b"x", "a.jpg", "n99999999")], None, "row 0 has label 'n99999999'"),
    # imagenette's ten classes, numbered from 0, without their names.
    (
      [(b"x", "ILSVRC2012_val_00004650.JPEG", 1)],
      None,
      f"row 0 has label 1, {GOLDFISH}, but .* is of class n02102040: its labels are in another order",
    ),
  ],
)
def test_labels_of_another_meaning_are_refused(tmp_path, rows, names, message):
  shard(tmp_path / "x.parquet", rows, names)
  with pytest.raises(BiasjaxError, match=message):
    sources.folder(tmp_path)


@pytest.mark.parametrize(("label", "found"), [([0, 1], "list<"), (True, "bool"), ({"id": 1}, "struct<")])
def test_labels_that_are_no_single_number_are_refused(tmp_path, label, found):
  shard(tmp_path / "x.parquet", [(jpeg(0), "a.jpg", label)])
  with pytest.raises(BiasjaxError, match=f"as each image's label, found {found}"):
    sources.folder(tmp_path)


def test_other_and_damaged_files_are_refused(tmp_path):
  pq.write_table(pa.table({"url": ["x"], "label": [0]}), tmp_path / "x.parquet")
  with pytest.raises(BiasjaxError, match=r"expected the columns image \(with bytes\) and label, found url"):
    sources.folder(tmp_path)
  path = shard(tmp_path / "x.parquet", ROWS)
  path.write_bytes(path.read_bytes()[:-20])
  for spec in (f"folder:{tmp_path}", f"imagenet:{path}"):
    with pytest.raises(BiasjaxError, match=r"x\.parquet is no parquet file, or is damaged"):
      opening.open_dataset(spec)
  path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
  with pytest.raises(BiasjaxError, match=r"x\.parquet is a pointer to a file that git lfs pull fetches"):
    sources.folder(tmp_path)
  path.unlink()
  path.symlink_to("../blobs/gone")
  with pytest.raises(BiasjaxError, match=r"x\.parquet \(a link to \.\./blobs/gone, which is not there\)"):
    sources.folder(tmp_path)


def test_what_is_prepared_from_shards_is_what_is_prepared_from_files(tmp_path, monkeypatch):
  row = dataclasses.replace(
    datasets.get("imagenet"),
    images=2,
    classes=2,
    per_class=(1, 1),
    known=(("ILSVRC2012_val_00000001.JPEG", 65),),
  )
  monkeypatch.setitem(datasets.DATASETS, "imagenet", row)
  shard(tmp_path / "hub/validation-00000-of-00001.parquet", ROWS[:2])
  folder_of(tmp_path / "folders", ROWS[:2])
  found = []
  for way in ("hub", "folders"):
    builders.prepare("imagenet", str(tmp_path / way), str(tmp_path / f"{way}_prepared"))
    source = opening.open_dataset("imagenet", str(tmp_path / f"{way}_prepared"))
    found.append((source.fingerprint, everything(source)))
  assert found[0] == found[1]
  assert [label for _, label, _ in found[0][1]] == [0, 65]


def test_two_revisions_side_by_side_are_refused(tmp_path):
  for revision in ("aa", "bb"):
    shard(tmp_path / f"snapshots/{revision}/data/validation-00000-of-00001.parquet", ROWS)
  with pytest.raises(BiasjaxError, match="may hold the same images: name the folder of one"):
    sources.folder(tmp_path)


def test_what_a_shard_lacks_is_left_out_and_what_is_lost_meanwhile_is_a_failure_of_storage(tmp_path):
  path = shard(tmp_path / "x.parquet", [(None, "a.jpg", 0), (jpeg(1), "b.jpg", 0)], WORDS)
  assert [content for *_, content in everything(sources.folder(tmp_path))] == [b"", jpeg(1)]
  source = sources.folder(tmp_path)
  path.write_bytes(path.read_bytes()[:8].ljust(path.stat().st_size, b"\0"))
  with pytest.raises(OSError, match=r"x\.parquet"):
    source.read(1)


@pytest.mark.parametrize("full", [False, True])
def test_images_come_in_any_order_even_if_the_disk_is_full(tmp_path, monkeypatch, full):
  def pwrite(*_):
    raise OSError(errno.ENOSPC, "no space")

  if full:
    monkeypatch.setattr(shards.os, "pwrite", pwrite)
  rows = [(jpeg(i), f"{i:02d}.jpg", 0) for i in range(20)]
  shard(tmp_path / "x.parquet", rows[:10], WORDS, group=3)
  shard(tmp_path / "y.parquet", rows[10:], WORDS, group=4)
  source = sources.folder(tmp_path)
  for index in (19, 0, 7, 7, 12, 9, 3):
    assert source.read(index).encoded == jpeg(index)
  batches = pipeline.batches(
    source, [(0, 20)], batch_size=20, decode=lambda content: _blank(content), threads=8
  )
  assert next(iter(batches)).count == 20


def _blank(content: bytes):
  return pixels(224, 224)
