"""Subsets by name: which images are meant, and what is wrong with a list."""

import gzip

import pytest

from biasjax.data import layouts, opening, subsets
from biasjax.data.classes import wordnet_ids
from biasjax.data.layouts import Place
from biasjax.errors import BiasjaxError
from made_images import class_folder


def test_robustbenchs_subset_is_five_thousand_validation_images_of_their_classes():
  listed = subsets.names("robustbench5k")
  assert len(listed) == len(set(listed)) == 5000
  assert listed[:2] == ["n09468604/ILSVRC2012_val_00015253.JPEG", "n02823750/ILSVRC2012_val_00020685.JPEG"]
  for name in listed:
    folder, file = name.split("/")
    # Against TFDS' own list of labels.
    assert wordnet_ids()[layouts.validation_labels()[layouts.validation_number(file) - 1]] == folder


@pytest.mark.parametrize(
  ("example_id", "name", "belongs"),
  [
    ("n01440764/ILSVRC2012_val_00000293.JPEG", "ILSVRC2012_val_00000293.JPEG", True),
    ("ILSVRC2012_val_00000293.JPEG", "n01440764/ILSVRC2012_val_00000293.JPEG", True),
    ("fog/3/n01440764/ILSVRC2012_val_00000293.JPEG", "val/n01440764/ILSVRC2012_val_00000293.JPEG", True),
    ("ILSVRC2012_val_00000293.JPEG", "ILSVRC2012_val_00000293_n01440764.JPEG", True),
    ("n01443537/art_0.jpg", "n01443537/art_0.jpg", True),
    ("n01443537/art_0.jpg", "n01484850/art_0.jpg", False),
    ("n01443537/art_0.jpg", "art_0.jpg", True),
    ("n01443537/art_0.jpg", "art_1.jpg", False),
  ],
)
def test_a_name_means_a_file_in_whatever_folder_it_is_told(example_id, name, belongs):
  found, missing = subsets.kept([Place(example_id, 0)], [name])
  assert (found, len(missing)) == (([0], 0) if belongs else ([], 1))


@pytest.fixture
def folder(tmp_path):
  class_folder(tmp_path / "images", dict.fromkeys(wordnet_ids()[:2], 3))
  return tmp_path


def opened(folder, listed, **more):
  (folder / "list.txt").write_text("# two of them\n\n" + "\n".join(listed) + "\n")
  return opening.open_dataset(f"folder:{folder / 'images'}", subset=str(folder / "list.txt"), **more)


def test_a_subset_is_the_listed_images_and_has_a_key_of_its_own(folder):
  first, second = wordnet_ids()[:2]
  whole = opening.open_dataset(f"folder:{folder / 'images'}")
  some = opened(folder, [f"{first}/{first}_0.JPEG", f"{second}/{second}_2.JPEG"])
  assert [some.example(i).example_id for i in range(some.length)] == [
    f"{first}/{first}_0.JPEG",
    f"{second}/{second}_2.JPEG",
  ]
  assert some.example(1).label == 1
  assert some.example(1).encoded == whole.example(5).encoded
  others = opened(folder, [f"{first}/{first}_0.JPEG", f"{second}/{second}_1.JPEG"])
  again = opened(folder, [f"{second}/{second}_2.JPEG", f"{first}/{first}_0.JPEG"])
  assert some.fingerprint == again.fingerprint
  assert len({whole.fingerprint, some.fingerprint, others.fingerprint}) == 3
  assert "2 of 6 images" in some.notes[-1]
  assert opened(folder, [f"{first}/{first}_0.JPEG", f"{second}/{second}_2.JPEG"], limit=1).length == 1


def test_what_is_wrong_with_a_list_is_said(folder):
  first, _ = wordnet_ids()[:2]
  with pytest.raises(BiasjaxError, match=r"has no 7\.png"):
    opened(folder, [f"{first}/{first}_0.JPEG", "7.png"])
  assert opened(folder, [f"{first}/{first}_0.JPEG", "7.png"], allow_incomplete=True).incomplete
  with pytest.raises(BiasjaxError, match="has none of the 1 images"):
    opened(folder, ["7.png"], allow_incomplete=True)
  with pytest.raises(BiasjaxError, match="names no image"):
    opened(folder, [])
  with pytest.raises(BiasjaxError, match="did you mean robustbench5k"):
    subsets.names("robustbench")
  (folder / "list.gz").write_bytes(gzip.compress(b"a.png\nb.png")[:-9])
  with pytest.raises(BiasjaxError, match="cannot be read"):
    subsets.names(str(folder / "list.gz"))
