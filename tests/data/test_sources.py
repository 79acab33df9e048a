"""Every way in gives each image once, with its label among the 1,000 classes."""

import json
import pathlib
import random

import numpy as np
import pytest
import scipy.io

from biasjax.data import classes, sources
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


# The flat layout: 50,000 names of which a few are there, and a ground truth in one of its published forms.

FLAT_LABELS = np.random.default_rng(0).integers(0, 1000, sources.FLAT_COUNT)
FLAT_NUMBERS = (1, 2, 777, 50_000)


def flat_folder(root: pathlib.Path) -> pathlib.Path:
  images = root / "val"
  images.mkdir(parents=True)
  for number in FLAT_NUMBERS:
    (images / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(encoded(pixels(8, 8, seed=number)))
  return images


def flat_wnids() -> list[str]:
  return [classes.wordnet_ids()[label] for label in FLAT_LABELS]


def write_challenge_numbers(images: pathlib.Path, with_order: bool = True) -> None:
  """As in ILSVRC2012_devkit_t12: numbers in an order of its own, here a shuffled one."""
  order = list(classes.wordnet_ids())
  random.Random(0).shuffle(order)
  number = {wnid: i + 1 for i, wnid in enumerate(order)}
  data = images.parent / "ILSVRC2012_devkit_t12" / "data"
  data.mkdir(parents=True)
  text = "\n".join(str(number[wnid]) for wnid in flat_wnids())
  (data / "ILSVRC2012_validation_ground_truth.txt").write_text(text + "\n")
  if with_order:
    # The file has inner nodes of the WordNet tree after the 1,000 classes.
    rows = [(i + 1, wnid, "words") for i, wnid in enumerate([*order, "n00001740"])]
    synsets = np.array(rows, dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    scipy.io.savemat(data / "meta.mat", {"synsets": synsets[:, None]})


def write_synsets(images: pathlib.Path) -> None:
  (images.parent / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(flat_wnids()))


def write_kaggle(images: pathlib.Path) -> None:
  rows = [f"ILSVRC2012_val_{i + 1:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for i, wnid in enumerate(flat_wnids())]
  random.Random(1).shuffle(rows)
  (images / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(rows))


@pytest.mark.parametrize("write", [write_challenge_numbers, write_synsets, write_kaggle])
def test_flat_images_get_their_labels_from_the_ground_truth(tmp_path, write):
  images = flat_folder(tmp_path)
  write(images)
  read = everything(sources.folder(images))
  assert [(name, label) for name, label, _ in read] == [
    (f"ILSVRC2012_val_{number:08d}.JPEG", FLAT_LABELS[number - 1]) for number in FLAT_NUMBERS
  ]


def test_flat_images_without_ground_truth_are_refused(tmp_path):
  with pytest.raises(BiasjaxError, match="put the ground truth beside it"):
    sources.folder(flat_folder(tmp_path))


def test_numbers_without_the_challenges_order_are_refused(tmp_path):
  images = flat_folder(tmp_path)
  write_challenge_numbers(images, with_order=False)
  with pytest.raises(BiasjaxError, match=r"no meta\.mat"):
    sources.folder(images)


def test_an_incomplete_ground_truth_is_refused(tmp_path):
  images = flat_folder(tmp_path)
  (tmp_path / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(flat_wnids()[:-1]))
  with pytest.raises(BiasjaxError, match="49999 labels, not 50000"):
    sources.folder(images)


# TFDS


def test_tfds_gives_what_the_folder_gives(tmp_path, prepared_tfds):
  counts = {TENCH: 3, TOILET_TISSUE: 2}
  root = class_folder(tmp_path / "images", counts)
  read = everything(sources.tfds(f"{prepared_tfds(root)}@validation"))
  expected = everything(sources.folder(root))
  by_name = {pathlib.Path(name).name: rest for name, *rest in expected}
  assert {pathlib.Path(name).name: rest for name, *rest in read} == by_name
  assert len(read) == 5


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


def test_an_absent_tfds_dataset_is_refused(tmp_path):
  with pytest.raises(BiasjaxError, match="no TFDS dataset 'nonesuch'"):
    sources.tfds("nonesuch", data_dir=str(tmp_path))


def test_a_tfds_dataset_that_is_not_prepared_is_refused(tmp_path):
  with pytest.raises(
    BiasjaxError, match=r"is not prepared in .*run.py --prepare=imagenet_v2, or .*pip install tensorflow"
  ):
    sources.tfds("imagenet_v2", data_dir=str(tmp_path))


@pytest.mark.parametrize("spec", ["", "folder", "folder:", "zip:x", "a=b=folder:x", "/data/imagenet"])
def test_a_spec_of_another_form_is_refused(spec):
  with pytest.raises(BiasjaxError, match="expected folder:PATH or tfds:DATASET"):
    sources.open_source(spec)
