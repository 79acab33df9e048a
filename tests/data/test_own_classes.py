"""A network's own classes: folders in the order of their names, or as a CSV numbers them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.cli import grouping, reporting
from biasjax.data import opening, preprocess
from biasjax.engine import evaluate
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.models.load import Model
from biasjax.models.resnet import ResNet
from biasjax.results.store import Store
from biasjax.results.summary import summarise, write_tables
from made_images import class_folder, encoded, pixels
from made_models import ARCHITECTURE

COUNTS = {"cat": 4, "ant": 3, "bee": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return class_folder(tmp_path_factory.mktemp("own") / "insects", COUNTS)


def written(path, text):
  path.write_text(text)
  return str(path)


def labels(source) -> list[tuple[str, int]]:
  return sorted({(place.example_id.split("/")[0], place.label) for place in source.places})


def test_folders_are_numbered_in_the_order_of_their_names_as_torchvision_does(folder, torchvision):

  source = opening.open_dataset(f"classes:{folder}")
  theirs = torchvision.datasets.ImageFolder(folder)
  assert dict(labels(source)) == theirs.class_to_idx
  assert (source.name, source.length, source.labels) == ("insects", 12, "classes")


def test_a_csv_numbers_them_otherwise(folder, tmp_path):
  numbers = written(tmp_path / "map.csv", "label,folder\n7,ant\n0,cat\n3,bee\n")
  assert labels(opening.open_dataset(f"x=classes:{folder}", classes=numbers)) == [
    ("ant", 7),
    ("bee", 3),
    ("cat", 0),
  ]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("folder,label\nant,0\nbee,1\n", "has no line for the folder 'cat'"),
    ("folder,label\nant,0\nbee,1\ncat,-1\n", "has a label below 0"),
    ("folder,label\nant,0\nant,1\nbee,2\ncat,3\n", "a folder is on two lines"),
    ("folder,label,label\nant,0,2\nbee,1,1\ncat,2,0\n", "has the column 'label' twice: keep one"),
    ("folder,label\nant,first\n", "is no CSV with the columns folder and label"),
    ("name,index\nant,0\n", "is no CSV with the columns folder and label"),
    ("", "has no line for the folder"),
  ],
)
def test_a_csv_that_does_not_fit_is_refused(folder, tmp_path, text, message):
  with pytest.raises(BiasjaxError, match=message):
    opening.open_dataset(f"classes:{folder}", classes=written(tmp_path / "map.csv", text))


def test_images_beside_the_folders_are_refused(tmp_path):
  class_folder(tmp_path / "val", {"ant": 1})
  (tmp_path / "val/stray.png").write_bytes(encoded(pixels(8, 8), "PNG"))
  with pytest.raises(BiasjaxError, match=r"1 image.s. are in no class's folder, e.g. stray.png"):
    opening.open_dataset(f"classes:{tmp_path / 'val'}")


def network(classes: int) -> Model:
  architecture = dataclasses.replace(ARCHITECTURE, num_classes=classes)
  rng = np.random.default_rng(1)
  shapes = load.variable_shapes(architecture)

  def draw(leaf):
    return np.abs(rng.normal(0.5, 0.2, leaf.shape)).astype(np.float32)

  return Model("made", architecture, jax.tree.map(draw, shapes), ResNet(architecture).apply, f"{classes}", {})


def test_accuracy_and_chance_are_those_of_the_networks_own_classes(folder, tmp_path):
  source, model = opening.open_dataset(f"classes:{folder}"), network(3)
  store = Store(tmp_path / "out", 5)
  evaluate.evaluate([model], [probes.get("accuracy")], source, store, evaluate.Settings(batch_size=4))
  metrics = summarise(store, probes.get).metrics.set_index("metric")
  batch = np.stack(
    [preprocess.preprocess(source.read(i).encoded) for i in range(source.length)]
  ) / np.float32(255)
  answers = np.argmax(np.asarray(model.apply(model.variables, jnp.asarray(batch))), axis=1)
  right = 100 * np.mean(answers == [place.label for place in source.places])
  assert metrics.value["top1_acc/insects"] == pytest.approx(right)
  assert metrics.chance["top1_acc/insects"] >= 100 / 3
  assert metrics.n["top1_acc/insects"] == 12


def test_classes_are_called_by_their_folders(folder, tmp_path):
  numbers = written(tmp_path / "map.csv", "folder,label\nant,0\nbee,2\ncat,2\n")
  source, model = opening.open_dataset(f"classes:{folder}", classes=numbers), network(3)
  store = Store(tmp_path / "out", 12)
  evaluate.evaluate([model], [probes.get("accuracy")], source, store, evaluate.Settings(batch_size=4))
  write_tables(store, summarise(store, probes.get))
  groups = grouping.grouped(Store(tmp_path / "out"), "class", None)["insects"]
  assert groups.to_dict() == {
    place.example_id: "ant" if place.example_id.startswith("ant") else "bee, cat" for place in source.places
  }
  assert reporting.from_workdir({"workdir": str(tmp_path / "out"), "models": None}) == 0
  table = pd.read_csv(tmp_path / "out/metrics.csv").set_index("metric")
  worst = {0: "ant", 2: "bee, cat"}[table.value["class_acc/insects/worst_class"]]
  rows = (tmp_path / "out/report.html").read_text().split("<tr")
  (row,) = (row for row in rows if "class_acc/insects/worst_class<" in row)
  assert row.rstrip().endswith(f'<td class="flag">{worst}</td></tr>')


def test_a_network_of_another_number_of_classes_is_refused(folder, tmp_path):
  source, settings = opening.open_dataset(f"classes:{folder}"), evaluate.Settings()
  with pytest.raises(BiasjaxError, match=r"3 class folders for 10 classes.*--classes=FILE"):
    evaluate.refuse([network(10)], [probes.get("accuracy")], source, settings)
  numbers = written(tmp_path / "map.csv", "folder,label\nant,0\nbee,5\ncat,9\n")
  source = opening.open_dataset(f"classes:{folder}", classes=numbers)
  evaluate.refuse([network(10)], [probes.get("accuracy")], source, settings)
  with pytest.raises(BiasjaxError, match="label 9 is none of its 5 classes, 0 to 4"):
    evaluate.refuse([network(5)], [probes.get("accuracy")], source, settings)


def test_images_of_other_kinds_are_passed_over_and_counted(tmp_path, torchvision):
  root = class_folder(tmp_path / "insects", COUNTS)
  for name in ("ant/one.gif", "bee/two.AVIF", "cat/three.gif"):
    (root / name).write_bytes(b"an image")
  (root / "cat/.hidden.gif").write_bytes(b"")
  source = opening.open_dataset(f"classes:{root}")
  assert source.length == len(torchvision.datasets.ImageFolder(root)) == 12
  (note,) = source.notes
  assert note.startswith(
    "images that are passed over for what their names end in: 1 .avif, 2 .gif; read are .jpg"
  )
  assert not source.incomplete
  unlinked = root / "ant/gone"
  unlinked.symlink_to(tmp_path / "nowhere")
  with pytest.raises(BiasjaxError, match="ant/gone"):
    opening.open_dataset(f"classes:{root}")


def test_splits_are_no_classes(tmp_path):
  for split in ("train", "val"):
    class_folder(tmp_path / "pets" / split, COUNTS)
  with pytest.raises(
    BiasjaxError, match=r"its subfolders are splits \(train, val\), not classes: name one of"
  ):
    opening.open_dataset(f"classes:{tmp_path / 'pets'}")
  assert opening.open_dataset(f"classes:{tmp_path / 'pets/val'}").length == 12
  flat = class_folder(tmp_path / "flat", {"train": 2, "test": 1})  # of vehicles and of exams, say
  assert opening.open_dataset(f"classes:{flat}").length == 3
