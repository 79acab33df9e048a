"""Every way in gives each image once, with its label among the 1,000 classes."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from biasjax.data import classes, opening, prepared, sources
from biasjax.errors import BiasjaxError
from made_images import class_folder, encoded, pixels

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"  # classes 0, 1 and 999


def everything(source: sources.Source) -> list[tuple[str, int, bytes]]:
  return [(e.example_id, e.label, e.encoded) for e in (source.read(i) for i in range(source.length))]


def test_wordnet_ids_are_1000_in_sorted_order():
  wnids = classes.wordnet_ids()
  assert len(set(wnids)) == 1000
  assert list(wnids) == sorted(wnids)
  assert [wnids[i] for i in (0, 1, 999)] == [TENCH, GOLDFISH, TOILET_TISSUE]


@pytest.mark.reference
def test_wordnet_ids_agree_with_an_independent_list(reference):
  lists = json.loads((reference / "reference/class_lists.json").read_text())
  assert list(classes.wordnet_ids()) in list(lists.values())


def test_wordnet_ids_are_timms_order(torchvision):
  timm_data = pytest.importorskip("timm.data", reason="needs timm")
  info = timm_data.ImageNetInfo("imagenet-1k")
  assert list(classes.wordnet_ids()) == [info.index_to_label_name(i) for i in range(1000)]


def test_labels_of_a_folder_with_few_classes_mean_the_1000(tmp_path):
  class_folder(tmp_path, {TOILET_TISSUE: 2, TENCH: 1})
  read = everything(sources.folder(tmp_path))
  assert [(name, label) for name, label, _ in read] == [
    (f"{TENCH}/{TENCH}_0.JPEG", 0),
    (f"{TOILET_TISSUE}/{TOILET_TISSUE}_0.JPEG", 999),
    (f"{TOILET_TISSUE}/{TOILET_TISSUE}_1.JPEG", 999),
  ]
  assert all(content == (tmp_path / name).read_bytes() for name, _, content in read)


def test_files_that_are_no_images_are_passed_over(tmp_path):
  class_folder(tmp_path, {TENCH: 1})
  for name in ("README.txt", f"{TENCH}/.DS_Store", f"{TENCH}/._x.JPEG", f"{TENCH}/notes.txt"):
    (tmp_path / name).write_text("x")
  (tmp_path / ".cache").mkdir()
  assert sources.folder(tmp_path).length == 1


def test_the_fingerprint_follows_the_set_of_images(tmp_path):
  class_folder(tmp_path, {TENCH: 2, GOLDFISH: 1})
  before = sources.folder(tmp_path).fingerprint
  assert sources.folder(tmp_path).fingerprint == before
  (tmp_path / TENCH / f"{TENCH}_1.JPEG").write_bytes(b"another size")
  changed = sources.folder(tmp_path).fingerprint
  (tmp_path / TENCH / f"{TENCH}_1.JPEG").unlink()
  assert len({before, changed, sources.folder(tmp_path).fingerprint}) == 3


@pytest.mark.parametrize(
  ("layout", "message"),
  [
    ([], "holds no images"),
    ([TENCH], "holds no images"),
    (["train", "val"], "not among ImageNet's 1,000 WordNet ids, e.g. 'train'"),
    ([TENCH, "n99999999"], "1 subfolder.*'n99999999'"),
  ],
)
def test_a_folder_of_another_layout_is_refused(tmp_path, layout, message):
  for name in layout:
    (tmp_path / name).mkdir()
  with pytest.raises(BiasjaxError, match=message):
    sources.folder(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(BiasjaxError, match="nowhere is not a folder"):
    sources.folder(tmp_path / "nowhere")


# Flat files: ImageNet's names tell the class. Labels looked up by hand: 1 is a snake, 293 a tench.

FLAT = {"ILSVRC2012_val_00000001.JPEG": 65, "ILSVRC2012_val_00000293.JPEG": 0, f"{GOLDFISH}_10.JPEG": 1}
OF_THE_HUB = {
  "ILSVRC2012_val_00000001_n01751748.JPEG": 65,
  f"ILSVRC2012_val_00000293_{TENCH}.JPEG": 0,
  f"{GOLDFISH}_10_{GOLDFISH}.JPEG": 1,
}


def flat_folder(root: pathlib.Path, names) -> pathlib.Path:
  root.mkdir(parents=True)
  for i, name in enumerate(names):
    (root / name).write_bytes(encoded(pixels(8, 8, seed=i)))
  return root


@pytest.mark.parametrize("names", [FLAT, OF_THE_HUB], ids=["ImageNet", "Hugging Face"])
def test_flat_images_get_their_labels_from_their_names(tmp_path, names):
  root = flat_folder(tmp_path / "val", names)
  read = everything(sources.folder(root))
  assert [(name, label) for name, label, _ in read] == list(FLAT.items())  # the hub's class is no part of it
  assert [content for *_, content in read] == [(root / name).read_bytes() for name in names]


def test_the_development_kit_beside_flat_images_is_passed_over(tmp_path):
  names = ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"]
  expected = everything(sources.folder(flat_folder(tmp_path / "val", names)))
  kit = tmp_path / "val/ILSVRC2012_devkit_t12/data"
  kit.mkdir(parents=True)
  (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n")
  assert everything(sources.folder(tmp_path / "val")) == expected
  (kit / "example.JPEG").write_bytes(expected[0][2])
  with pytest.raises(
    BiasjaxError, match=r"not among ImageNet's 1,000 WordNet ids, e\.g\. 'ILSVRC2012_devkit_t12'"
  ):
    sources.folder(tmp_path / "val")


def test_names_of_the_hub_in_class_folders_give_the_same_examples(tmp_path):
  name = f"ILSVRC2012_val_00000293_{TENCH}.JPEG"
  flat_folder(tmp_path / TENCH, [name])
  assert [(i, label) for i, label, _ in everything(sources.folder(tmp_path))] == [
    (f"{TENCH}/ILSVRC2012_val_00000293.JPEG", 0)
  ]


@pytest.mark.reference
def test_labels_of_flat_photographs_are_those_of_their_folders(reference, tmp_path):
  paths = sorted((reference / "data/imagenette_val").glob("*/ILSVRC*"))
  tmp_path.joinpath("val").mkdir()
  for path in paths:
    (tmp_path / "val" / path.name).write_bytes(path.read_bytes())
  read = everything(sources.folder(tmp_path / "val"))
  expected = {path.name: classes.class_index()[path.parent.name] for path in paths}
  assert {name: label for name, label, _ in read} == expected
  assert len(expected) == 35


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (["a.JPEG", "b.JPEG"], r"2 of 2 images have no class, e\.g\. a\.JPEG"),
    (["ILSVRC2012_test_00000001.JPEG"], "1 of 1 images have no class"),
    (["ILSVRC2012_val_00050001.JPEG"], "1 of 1 images have no class"),
    ([f"ILSVRC2012_val_00000001_{TENCH}.JPEG"], "1 of 1 images have no class"),  # which is not what 1 shows
    (
      ["ILSVRC2012_val_00000293.JPEG", f"ILSVRC2012_val_00000293_{TENCH}.JPEG"],
      "are the same example: name the folder of one copy",
    ),
  ],
)
def test_flat_images_that_tell_no_class_are_refused(tmp_path, names, message):
  with pytest.raises(BiasjaxError, match=message):
    sources.folder(flat_folder(tmp_path / "x", names))


# TFDS


def test_tfds_gives_what_the_folder_gives(tmp_path, prepared_tfds):
  counts = {TENCH: 3, TOILET_TISSUE: 2}
  root = class_folder(tmp_path / "images", counts)
  read = everything(sources.tfds(f"{prepared_tfds(root)}@validation"))
  expected = everything(sources.folder(root))
  by_name = {pathlib.Path(name).name: rest for name, *rest in expected}
  assert {pathlib.Path(name).name: rest for name, *rest in read} == by_name
  assert len(read) == 5


def test_images_of_one_name_in_tfds_are_told_apart(tmp_path, prepared_tfds):
  root = class_folder(tmp_path / "images", {TENCH: 2, GOLDFISH: 2})
  for file in sorted(root.glob("*/*")):
    file.rename(file.with_name(f"{file.stem[-1]}.JPEG"))  # 0.JPEG and 1.JPEG in each class
  read = everything(sources.tfds(f"{prepared_tfds(root)}@validation"))
  names = [name for name, *_ in read]
  assert len(set(names)) == 4
  assert sorted(pathlib.Path(name).name for name in names) == ["0.JPEG", "0.JPEG", "1.JPEG", "1.JPEG"]
  part = everything(sources.tfds(f"{tmp_path / 'tfds/made_photographs/1.0.0'}@validation[2:]"))
  assert [name for name, *_ in part] == names[2:]


def test_tfds_is_found_by_name_with_its_only_split(tmp_path, prepared_tfds):
  root = class_folder(tmp_path / "images", {GOLDFISH: 2})
  folder = prepared_tfds(root)
  name, data_dir = folder.parent.name, folder.parent.parent
  source = sources.open_source(f"tfds:{folder}")
  assert source.name == name
  assert [example.label for example in map(source.read, range(2))] == [1, 1]
  with pytest.raises(BiasjaxError, match="no split 'test'; there are validation"):
    sources.open_source(f"tfds:{folder}@test")
  assert sources.open_source(f"mine=tfds:{name}", str(data_dir)).name == "mine"


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> pathlib.Path:
  """A TFDS dataset with train (10 images), validation (7) and test, which has no labels; no file names."""
  import tensorflow_datasets as tfds

  class Splits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      label = tfds.features.ClassLabel(names=[TOILET_TISSUE, TENCH])
      features = {"image": tfds.features.Image(encoding_format="png"), "label": label}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      del dl_manager
      counts = {"train": 10, "validation": 7, "test": 3}
      return {name: self._generate_examples(name, count) for name, count in counts.items()}

    def _generate_examples(self, name, count):
      for i in range(count):
        label = -1 if name == "test" else i % 2
        yield i, {"image": encoded(pixels(8, 8, seed=i + 100 * len(name)), "PNG"), "label": label}

  builder = Splits(data_dir=tmp_path_factory.mktemp("splits"), file_format="array_record")
  builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


@pytest.mark.parametrize(
  ("split", "length"),
  [
    ("train[:33%]", 3),
    ("validation[:50%]", 4),  # 3.5, to the nearest even number
    ("train[-3:]", 3),
    ("train[25%:75%]", 6),  # from 2 to 8
    ("train+validation", 17),
    ("train[8:]+validation[:2]", 4),
    ("train[0shard]", 10),
  ],
)
def test_a_slice_is_what_tfds_reads_and_its_images_keep_their_names(splits, split, length):
  import tensorflow_datasets as tfds

  theirs = tfds.builder_from_directory(splits).as_data_source(
    split=split, decoders={"image": tfds.decode.SkipDecoding()}
  )
  read = everything(sources.tfds(f"{splits}@{split}"))
  assert len(read) == length
  assert [content for *_, content in read] == [record["image"] for record in theirs]
  assert [label for _, label, _ in read] == [(999, 0)[record["label"]] for record in theirs]
  whole = {
    content: name
    for part in ("train", "validation")
    for name, _, content in everything(sources.tfds(f"{splits}@{part}"))
  }
  assert [name for name, *_ in read] == [whole[content] for *_, content in read]


@pytest.mark.parametrize("kind", ["labels", "images", "array"])
def test_records_of_several_images_or_labels_are_refused(tmp_path, kind):
  import tensorflow_datasets as tfds

  one = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=[TENCH, GOLDFISH])}
  several = {
    "labels": {"label": tfds.features.Sequence(one["label"])},
    "images": {"image": tfds.features.Sequence(one["image"])},
    "array": {"image": tfds.features.Tensor(shape=(8, 8, 3), dtype=np.uint8)},
  }
  picture = encoded(pixels(8, 8, seed=0), "PNG")
  record = {"image": picture, "label": 0} | {
    "labels": {"label": [0, 1]},
    "images": {"image": [picture]},
    "array": {"image": pixels(8, 8, seed=0)},
  }[kind]

  class OtherKinds(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      features = tfds.features.FeaturesDict(one | several[kind])
      return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
      del dl_manager
      return {"test": self._generate_examples()}

    def _generate_examples(self):
      yield 0, record

  builder = OtherKinds(data_dir=tmp_path, file_format="array_record")
  builder.download_and_prepare()
  with pytest.raises(BiasjaxError, match=r"to be one (Image|ClassLabel), found (Sequence|Tensor)"):
    sources.tfds(str(builder.data_dir))


def test_slices_differ_in_what_they_are_stored_under(splits):
  specs = ("train", "train[:5]", "train[5:]", "train+validation")
  assert len({sources.tfds(f"{splits}@{spec}").fingerprint for spec in specs}) == 4
  same = ("train[:5]", "train[:50%]")
  assert len({sources.tfds(f"{splits}@{spec}").fingerprint for spec in same}) == 1


@pytest.mark.parametrize(
  ("split", "message"),
  [
    ("train[:33%]+train[20%:]", "has images of train twice: name parts that do not overlap"),
    ("train[3:2]", r"has a part without images, train\[3:2\]"),  # TFDS reads everything after 3
    ("train[:0]", "has a part without images"),
    ("train[:200%]", r"no split 'train\[:200%\]'; there are train, validation, test: .*\[-100, 100\]"),
    ("train[x]", r"no split 'train\[x\]'; there are"),
    ("nope[:3]", "there are train, validation, test"),
  ],
)
def test_a_slice_that_gives_no_images_is_refused(splits, split, message):
  with pytest.raises(BiasjaxError, match=message):
    sources.tfds(f"{splits}@{split}")


def test_a_path_that_is_no_version_says_which_folder_is(splits, tmp_path):
  for above in (splits.parent, splits.parent.parent):
    with pytest.raises(BiasjaxError, match=rf"holds no dataset_info\.json.* such as tfds:{splits}$"):
      sources.tfds(str(above))
  with pytest.raises(BiasjaxError, match=rf"^{tmp_path}/gone is not a folder"):  # TFDS takes it for a name
    sources.tfds(f"{tmp_path}/gone@train")
  with pytest.raises(BiasjaxError, match=rf"did you mean tfds:{splits}\?"):
    sources.folder(splits)


def test_a_folder_with_an_at_in_its_name_is_read(splits, tmp_path):
  at = tmp_path / "me@lab" / splits.parent.name
  shutil.copytree(splits.parent, at)
  assert sources.open_source(f"tfds:{at / splits.name}@train[:2]").length == 2
  assert sources.open_source(f"tfds:{at / splits.name}").length == 7


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 9999)])
def test_a_shard_of_tfds_that_is_gone_or_damaged_is_said(splits, tmp_path, damage):
  shutil.copytree(splits, tmp_path / "copy")
  (path,) = (tmp_path / "copy").glob("*train.array_record*")
  damage(path)
  with pytest.raises(BiasjaxError, match="get or prepare it again"):
    sources.tfds(f"{tmp_path / 'copy'}@train")


# Labels that are none of the classes.


def test_a_record_that_cannot_be_read_for_once_is_read_again_where_all_are(splits, monkeypatch):
  source = sources.tfds(f"{splits}@train")
  expected, read = [source.read(i) for i in range(10)], prepared.records
  failures = [3, 7]

  def unsteady(*args):
    length, at = read(*args)

    def once(index):
      if index in failures:
        failures.remove(index)
        raise OSError("short of data for once")
      return at(index)

    return length, once

  monkeypatch.setattr(prepared, "records", unsteady)
  found = opening.open_dataset(f"tfds:{splits}@train", limit=4)
  assert not failures
  assert {place.example_id for place in found.places} <= {example.example_id for example in expected}


def test_a_split_without_labels_is_refused(splits):
  with pytest.raises(BiasjaxError, match=r"test-00000000 has label -1, as where a split has no labels"):
    sources.tfds(f"{splits}@test")


def test_a_label_without_a_name_is_refused_though_the_1000_have_its_number(splits, monkeypatch):
  from biasjax.data import prepared

  read = prepared.records

  def records(builder, split):
    length, record_at = read(builder, split)
    return length, lambda index: record_at(index) | {"label": 2}  # of two classes

  monkeypatch.setattr(prepared, "records", records)
  with pytest.raises(BiasjaxError, match="it is none of the 1000 classes"):
    sources.tfds(f"{splits}@train")


@pytest.mark.parametrize(
  ("labels", "label", "also"),
  [
    ("imagenet", 1000, ()),
    ("imagenet", -2, ()),
    ("imagenet_real", 3, (1000,)),
    ("imagenet_a", 0, ()),  # none of its 200
    ("imagenette", 1, ()),  # none of its 10
    ("categories16", 16, ()),
    ("model_vs_human", -1, ()),
    ("cue_conflict", 16, ()),
    ("synthetic", 16, ()),
  ],
)
def test_every_kind_of_labels_has_its_classes(labels, label, also):
  source = sources.Source(
    "x", 1, lambda _: sources.Example(b"", label, "a.png", also), "", "/here", labels=labels
  )
  with pytest.raises(BiasjaxError, match=rf"/here: a\.png has label {(also or (label,))[0]}"):
    source.example(0)


def test_an_absent_tfds_dataset_is_refused(tmp_path):
  pictures = tmp_path / "drawn/64px_10/1.0.0"  # as a builder's --per_category=10 makes them
  pictures.mkdir(parents=True)
  (pictures / "dataset_info.json").write_text("{}")
  with pytest.raises(BiasjaxError, match=r"no TFDS dataset 'drawn': name what is there, drawn/64px_10$"):
    sources.open_source("tfds:drawn@validation", str(tmp_path))
  with pytest.raises(BiasjaxError, match="no TFDS dataset 'nonesuch'"):
    sources.tfds("nonesuch", data_dir=str(tmp_path))


def test_a_tfds_dataset_that_is_not_prepared_is_refused(tmp_path):
  with pytest.raises(
    BiasjaxError, match=r"is not prepared in .*run.py --prepare=imagenet_v2, or .*pip install tensorflow"
  ):
    sources.tfds("imagenet_v2", data_dir=str(tmp_path))


def test_a_folder_that_is_named_like_a_benchmark_is_told_what_to_write(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "photographs").mkdir()
  for spec in ("photographs", "mine=photographs"):
    with pytest.raises(BiasjaxError, match="did you mean folder:photographs"):
      opening.open_dataset(spec)
  (tmp_path / "imagenet").mkdir()  # a benchmark is meant, also where a folder is called like it
  with pytest.raises(BiasjaxError, match=r"imagenet .* is not in "):
    opening.open_dataset("imagenet", str(tmp_path / "nowhere"))


def test_a_dataset_that_lacks_its_kind_or_its_path_is_told_what_to_write(tmp_path):
  with pytest.raises(BiasjaxError, match=f"did you mean folder:{tmp_path}"):
    opening.open_dataset(str(tmp_path))
  with pytest.raises(BiasjaxError, match="cue_conflict needs to know where: cue_conflict:PATH"):
    opening.open_dataset("cue_conflict")
  (tmp_path / "airplane").mkdir()
  (tmp_path / "airplane/airplane1-bear2.png").write_bytes(encoded(pixels(8, 8), "PNG"))
  with pytest.raises(BiasjaxError, match=f"its subfolders are the 16 categories.*cue_conflict:{tmp_path}"):
    opening.open_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize("spec", ["", "folder", "folder:", "zip:x", "a=b=folder:x", "/data/imagenet"])
def test_a_spec_of_another_form_is_refused(spec):
  with pytest.raises(BiasjaxError, match=r"expected tfds:DATASET.*folder:PATH.*biased:PATH"):
    sources.open_source(spec)


def test_a_folder_of_photographs_is_not_called_imagenet_unless_it_is_said(tmp_path):
  made = class_folder(tmp_path / "photographs", {"n01440764": 2, "n02391049": 1})
  assert sources.open_source(f"folder:{made}").name == "folder"
  assert sources.open_source(f"imagenet=folder:{made}").name == "imagenet"
  assert sources.open_source(f"mine=folder:{made}").name == "mine"


@pytest.mark.parametrize(("swapped", "name"), [(False, "imagenet"), (True, "folder")])
def test_a_folder_with_all_validation_images_is_imagenet(tmp_path, monkeypatch, swapped, name):
  """Of an ImageNet of four images; `swapped`: two of them lie in each other's class."""
  labels = (3, 0, 7, 3)
  monkeypatch.setattr(sources.layouts, "VALIDATION_COUNT", len(labels))
  monkeypatch.setattr(sources.layouts, "validation_labels", lambda: labels)
  given = (0, 3, 7, 3) if swapped else labels
  for number, label in enumerate(given, 1):
    folder = tmp_path / classes.wordnet_ids()[label]
    folder.mkdir(exist_ok=True)
    (folder / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(b"never decoded here")
  assert sources.open_source(f"folder:{tmp_path}").name == name
