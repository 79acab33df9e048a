import json
import re

import pytest

from biasjax.data import classes
from biasjax.errors import BiasjaxError


def test_sixteen_categories_of_207_classes():
  table = classes.category_classes()
  members = [member for of_category in table.values() for member in of_category]
  assert len(table) == 16
  assert list(table) == sorted(table)
  assert len(members) == len(set(members)) == 207
  assert table["airplane"] == (404,)
  assert len(table["dog"]) == 109


@pytest.mark.reference
def test_categories_agree_with_an_independent_list(reference):
  lists = json.loads((reference / "reference/class_lists.json").read_text())["categories16"]
  assert {category: list(members) for category, members in classes.category_classes().items()} == lists


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("airplane/airplane1-bicycle2.png", ("airplane", "bicycle")),
    ("dog10-elephant1.png", ("dog", "elephant")),
    ("0001_s5n_s01_0_bird_00_bird3-bird2.png", ("bird", "bird")),
  ],
)
def test_cues_are_read_off_the_file_name(name, expected):
  assert classes.cues(name) == expected


@pytest.mark.parametrize("name", ["airplane.png", "airplane1-spoon2.png", "n01440764_1-2.JPEG", "a-b-c.png"])
def test_other_file_names_are_refused(name):
  with pytest.raises(BiasjaxError, match="expected a cue-conflict stimulus"):
    classes.cues(name)


def test_classes_are_called_as_torchvision_calls_them(torchvision):
  theirs = torchvision.models._meta._IMAGENET_CATEGORIES
  # Which writes hyphens and apostrophes otherwise, and has words of its own for the two pairs that share one.
  plain = [re.sub(r"[^a-z]", "", name.lower()) for name in theirs]
  ours = [re.sub(r"[^a-z]", "", name.lower()) for name in classes.words()]
  differ = {classes.words()[i] for i in range(1000) if ours[i] != plain[i]}
  shared = {"crane (n02012849)", "crane (n03126707)", "maillot (n03710637)", "maillot (n03710721)"}
  assert differ <= shared
  assert len(set(classes.words())) == 1000
