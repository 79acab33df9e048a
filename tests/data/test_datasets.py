"""Each benchmark, as distributed and prepared, gives every example once with the right labels."""

import dataclasses
import gzip
import json
import pathlib
import resource

import pytest

import made_benchmarks
from biasjax.data import builders, classes, datasets, layouts, opening, preprocess
from biasjax.errors import BiasjaxError
from made_benchmarks import MADE, jpeg, pack, real_json, right_counts, unpack
from made_images import class_folder

TENCH = "n01440764"


def everything(source) -> dict[str, tuple[tuple[int, ...], bytes]]:
  examples = [source.read(i) for i in range(source.length)]
  read = {e.example_id: ((e.label, *e.also), e.encoded) for e in examples}
  assert len(read) == len(examples)  # each once
  return read


@pytest.fixture
def small(monkeypatch):
  """(name) -> the made copy, with the row's counts made to fit it."""

  def fit(name: str) -> made_benchmarks.Made:
    made = MADE[name]()
    monkeypatch.setitem(datasets.DATASETS, name, right_counts(made, datasets.get(name)))
    return made

  return fit


def test_every_benchmark_has_a_made_copy():
  assert MADE.keys() == datasets.DATASETS.keys()


@pytest.mark.parametrize("name", MADE)
def test_archive_folder_and_prepared_dataset_give_every_example_once(tmp_path, small, name):
  made = small(name)
  row = datasets.get(name)
  content = {path.rpartition("/")[2]: data for path, data in made.files.items()}
  folder, archive = unpack(made, tmp_path / "folder"), pack(made, row, tmp_path / "archive")
  for place in (folder, archive):
    if name == "imagenet_real":
      real_json(place)
  ways = [opening.open_dataset(f"{name}:{place}") for place in (folder, archive)]
  where = builders.prepare(name, str(archive), str(tmp_path / "tfds"))
  assert pathlib.Path(where).parent.name == row.builder
  ways.append(opening.open_dataset(name, data_dir=str(tmp_path / "tfds")))
  for source in ways:
    read = everything(source)
    assert {example_id: labels for example_id, (labels, _) in read.items()} == made.expected
    if row.conditions or name == "model_vs_human":  # file names repeat
      assert {data for _, data in read.values()} <= set(made.files.values())
    else:
      assert all(data == content[example_id.rpartition("/")[2]] for example_id, (_, data) in read.items())
    assert all(preprocess.decode(data).mode == "RGB" for _, data in read.values())
    assert (source.name, source.labels, source.resize) == (row.table, row.labels, row.resize)
    assert source.notes == ()
  assert len({source.fingerprint for source in ways}) == 1


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_c", "model_vs_human"])
def test_it_is_found_in_manual_dir_by_its_authors_names(tmp_path, small, name):
  made = small(name)
  pack(made, datasets.get(name), tmp_path / "packed")
  unpack(made, tmp_path / "unpacked")
  for manual in ("packed", "unpacked"):
    source = opening.open_dataset(name, str(tmp_path / "none"), str(tmp_path / manual))
    assert {i: labels for i, (labels, _) in everything(source).items()} == made.expected


def test_folders_of_v2_are_in_numeric_order(tmp_path, small):
  unpack(small("imagenet_v2"), tmp_path)
  source = opening.open_dataset(f"imagenet_v2:{tmp_path}")
  assert [source.read(i).label for i in range(4)] == [0, 2, 10, 999]


def test_stimuli_are_not_resized():
  for name in ("imagenet_c", "imagenet_cbar", "model_vs_human", "stylized"):
    assert datasets.get(name).resize is None
  for name in ("imagenet", "imagenet_v2", "imagenet_a", "imagenet_r", "imagenet_sketch"):
    assert datasets.get(name).resize == 256


def test_class_folders_of_the_validation_set_are_understood(tmp_path, small):
  small("imagenet")
  class_folder(tmp_path / "val", {TENCH: 2})
  class_folder(tmp_path / "train", {"n01443537": 1})
  source = opening.open_dataset(f"imagenet:{tmp_path}", allow_incomplete=True)
  assert {label for label, _ in everything(source).values()} == {(0,)}


def test_real_matches_images_by_number_and_leaves_those_without_labels_out(tmp_path, small):
  made = small("imagenet_real")
  # In class folders of ImageNet's own labels, which ReaL's replace.
  for name, content in made.files.items():
    (tmp_path / "val" / TENCH).mkdir(parents=True, exist_ok=True)
    (tmp_path / "val" / TENCH / name).write_bytes(content)
  real_json(tmp_path)
  source = opening.open_dataset(f"imagenet_real:{tmp_path / 'val'}")
  read = everything(source)
  assert {name: labels for name, (labels, _) in read.items()} == made.expected
  assert source.most_labels == 9


def test_labels_follow_from_the_numbers_of_validation_images():
  labels = layouts.validation_labels()
  assert len(labels) == 50_000
  assert (labels[0], labels[292]) == (65, 0)
  assert all(labels.count(label) == 50 for label in (0, 1, 65, 999))


@pytest.mark.reference
def test_labels_of_validation_images_agree_with_the_folders_they_are_in(reference):
  labels, names = layouts.validation_labels(), list((reference / "data/imagenette_val").glob("*/ILSVRC*"))
  assert len(names) == 35
  for path in names:
    assert labels[layouts.validation_number(path.name) - 1] == classes.class_index()[path.parent.name]


# Class lists, against two independent sources.


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_masks_are_timms(torchvision, name):
  timm = pytest.importorskip("timm", reason="needs timm")
  info = pathlib.Path(timm.__file__).parent / "data/_info"
  indices = [int(line) for line in (info / f"{name}_indices.txt").read_text().split()]
  assert list(classes.subset(name)) == indices
  wnids = (info / f"{name}_synsets.txt").read_text().split()
  assert [classes.wordnet_ids()[index] for index in indices] == wnids


def test_real_of_timm_has_as_many_images_as_the_row(torchvision):
  timm = pytest.importorskip("timm", reason="needs timm")
  path = pathlib.Path(timm.__file__).parent / "data/_info/imagenet_real_labels.json"
  real = layouts.read_real(path)
  assert sum(map(bool, real)) == datasets.get("imagenet_real").images
  assert max(map(len, real)) == datasets.get("imagenet_real").most_labels


def test_label_order_is_tfds():
  import tensorflow_datasets as tfds

  assert tuple(tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split()) == (
    classes.wordnet_ids()
  )
  listed = tfds.core.tfds_path("image_classification/imagenette_labels.txt").read_text().split()
  assert [classes.class_index()[wnid] for wnid in listed] == list(classes.subset("imagenette"))


@pytest.mark.reference
def test_class_and_corruption_lists_agree_with_an_independent_list(reference):
  lists = json.loads((reference / "reference/class_lists.json").read_text())
  for name in classes.SUBSETS:
    assert list(classes.subset(name)) == lists[name]
  assert list(layouts.FIFTEEN) == lists["imagenet_c"]["fifteen"]
  assert list(layouts.EXTRA) == lists["imagenet_c"]["extra"]
  assert list(layouts.CBAR) == lists["imagenet_c_bar"]


# What is wrong is said.


def test_missing_files_are_named_with_size_and_address(tmp_path):
  with pytest.raises(BiasjaxError, match=r"imagenet-a\.tar \(0\.69 GB\) from https://people\.eecs"):
    opening.open_dataset("imagenet_a", str(tmp_path))
  with pytest.raises(BiasjaxError, match=r"is empty; it should hold noise\.tar \(22\.57 GB\).*zenodo"):
    builders.prepare("imagenet_c", str(tmp_path), str(tmp_path / "tfds"))
  with pytest.raises(BiasjaxError, match=r"needs --manual_dir, a folder with ImageNet-Sketch\.zip"):
    builders.prepare("imagenet_sketch", None, str(tmp_path / "tfds"))


def test_an_incomplete_dataset_is_refused_and_noted_if_allowed(tmp_path):
  unpack(MADE["imagenet_a"](), tmp_path)
  with pytest.raises(BiasjaxError, match=r"3 images instead of 7,500; 2 classes instead of 200.*--allow_inc"):
    opening.open_dataset(f"imagenet_a:{tmp_path}")
  source = opening.open_dataset(f"imagenet_a:{tmp_path}", allow_incomplete=True)
  assert source.length == 3
  assert "3 images instead of 7,500" in source.notes[0]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda c: c.update({"imagenet-a/n01440764/x.jpg": jpeg(1)}),
      "1 image.s. do not belong to it.*n01440764",
    ),
    (lambda c: c.update({"imagenet-a/stray.jpg": jpeg(1)}), "1 image.s. do not belong to it.*stray.jpg"),
    (lambda c: c.pop("imagenet-a/n01531178/0.1_x.jpg"), "2 images instead of 3"),
  ],
)
def test_what_differs_is_said(tmp_path, small, change, message):
  made = small("imagenet_a")
  change(made.files)
  unpack(made, tmp_path)
  with pytest.raises(BiasjaxError, match=message):
    opening.open_dataset(f"imagenet_a:{tmp_path}")


def test_a_missing_condition_and_a_known_file_in_the_wrong_class_are_said(tmp_path, small):
  made = small("imagenet_c")
  known = f"fog/3/{TENCH}/ILSVRC2012_val_00000293.JPEG"
  made.files[known.replace(TENCH, "n01443537")] = made.files.pop(known)
  gone = [name for name in made.files if name.startswith("snow/")]
  for name in gone:
    del made.files[name]
  unpack(made, tmp_path)
  with pytest.raises(
    BiasjaxError, match=r"5 of 95 conditions are missing: snow/1, snow/2, snow/3, \.\.\."
  ) as e:
    opening.open_dataset(f"imagenet_c:{tmp_path}")
  assert f"{known} is missing" in str(e.value)


def test_two_copies_of_an_example_are_refused(tmp_path, small):
  made = small("imagenet_a")
  unpack(made, tmp_path / "one")
  unpack(made, tmp_path / "two")
  with pytest.raises(BiasjaxError, match="are the same example: name the folder of one copy"):
    opening.open_dataset(f"imagenet_a:{tmp_path}")


def test_another_dataset_is_refused(tmp_path):
  class_folder(tmp_path / "x", {TENCH: 1})
  with pytest.raises(BiasjaxError, match="none belongs to imagenet_v2"):
    opening.open_dataset(f"imagenet_v2:{tmp_path}")
  with pytest.raises(BiasjaxError, match="did you mean imagenet_v2"):
    opening.open_dataset("imagenet_v3")


@pytest.mark.parametrize("keep", [0, 100, 3000])
def test_a_damaged_archive_is_refused(tmp_path, small, keep):
  made = small("imagenet_a")
  path = pack(made, datasets.get("imagenet_a"), tmp_path) / "imagenet-a.tar"
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(BiasjaxError, match=r"imagenet-a\.tar (is no archive, or is damaged|holds no images)"):
    opening.open_dataset(f"imagenet_a:{path}")


def test_a_damaged_compressed_archive_is_refused(tmp_path, small):
  made = small("imagenette")
  path = pack(made, datasets.get("imagenette"), tmp_path) / "imagenette2-320.tgz"
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(BiasjaxError, match=r"imagenette2-320\.tgz is no archive, or is damaged"):
    opening.open_dataset(f"imagenette:{path}")


def test_a_damaged_member_of_a_zip_is_a_failure_of_storage(tmp_path, small):
  made = small("imagenet_sketch")
  path = pack(made, datasets.get("imagenet_sketch"), tmp_path) / "ImageNet-Sketch.zip"
  content = bytearray(path.read_bytes())
  content[200] ^= 0xFF  # within the first image
  path.write_bytes(content)
  source = opening.open_dataset(f"imagenet_sketch:{path}")
  with pytest.raises(OSError, match=r"ImageNet-Sketch\.zip: sketch/n01440764/sketch_13\.JPEG"):
    source.read(0)


@pytest.mark.parametrize("content", ["[]", "{", "[[1000]]"])
def test_another_real_json_is_refused(tmp_path, content):
  (tmp_path / "real.json").write_text(content)
  with pytest.raises(BiasjaxError, match=r"real\.json"):
    layouts.read_real(tmp_path / "real.json")


def test_a_missing_real_json_is_named(tmp_path, small):
  unpack(small("imagenet_real"), tmp_path)
  with pytest.raises(BiasjaxError, match=r"real\.json is neither beside nor above.*reassessed-imagenet"):
    opening.open_dataset(f"imagenet_real:{tmp_path}")


# Preparing.


def test_preparing_goes_on_after_a_break(tmp_path, small, monkeypatch):
  from biasjax.data.builders import benchmark

  monkeypatch.setattr(benchmark, "SHARD_BYTES", 1)  # a shard for each image
  made = small("imagenet_a")
  folder = unpack(made, tmp_path / "images")
  read, broken = [], True
  original = benchmark._Unread.__init__

  def init(self, file):
    original(self, file)
    self.read = lambda: reading(file)

  def reading(file):
    if broken and file.name.endswith("0.2_y.jpg"):
      raise OSError("the disk is gone")
    read.append(file.name)
    return file.read()

  monkeypatch.setattr(benchmark._Unread, "__init__", init)
  with pytest.raises(BiasjaxError, match="the disk is gone; start again to go on"):
    builders.prepare("imagenet_a", str(folder), str(tmp_path / "tfds"))
  assert len(read) == 2
  broken = False
  # What TFDS leaves when it is killed.
  (tmp_path / "tfds/biasjax_imagenet_a/incomplete.3M1NZI_1.0.0").mkdir()
  where = builders.prepare("imagenet_a", str(folder), str(tmp_path / "tfds"))
  assert len(read) == 3  # the two finished shards were kept
  source = opening.open_dataset("imagenet_a", str(tmp_path / "tfds"))
  assert {i: labels for i, (labels, _) in everything(source).items()} == made.expected
  assert {path.name for path in pathlib.Path(where).parent.iterdir()} == {"1.0.0"}
  assert builders.prepare("imagenet_a", None, str(tmp_path / "tfds")) == where  # it is there already


def test_a_disk_that_fills_while_a_benchmark_is_prepared_is_one_line(tmp_path, small):
  folder = unpack(small("imagenet_a"), tmp_path / "images")
  hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
  resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
  try:
    with pytest.raises(BiasjaxError, match=r"^cannot prepare imagenet_a in .*: File too large; start again"):
      builders.prepare("imagenet_a", str(folder), str(tmp_path / "tfds"))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_damaged_listing_is_refused(tmp_path, small):
  folder = unpack(small("imagenet_a"), tmp_path / "images")
  where = pathlib.Path(builders.prepare("imagenet_a", str(folder), str(tmp_path / "tfds")))
  kept = json.loads(gzip.decompress((where / opening.LISTING).read_bytes()))
  for content in (b"x", gzip.compress(json.dumps({**kept, "ids": kept["ids"][1:]}).encode())):
    (where / opening.LISTING).write_bytes(content)
    with pytest.raises(BiasjaxError, match="is damaged"):
      opening.open_dataset("imagenet_a", str(tmp_path / "tfds"))


# Subsets.


def test_a_limit_takes_the_same_balanced_images_everywhere(tmp_path, small):
  made = small("imagenet_c")
  unpack(made, tmp_path / "c")
  one = opening.open_dataset(f"imagenet_c:{tmp_path / 'c'}", limit=1)
  two = opening.open_dataset(f"imagenet_c:{tmp_path / 'c'}", limit=2)
  names = {name.rpartition("/")[2] for name in everything(one)}
  assert one.length == 95  # one of each condition, and the same image in each
  assert len(names) == 1
  assert two.length == 190
  assert one.fingerprint != two.fingerprint
  assert "95 of 190 images" in one.notes[0]


def test_a_limit_balances_classes(tmp_path):
  class_folder(tmp_path, {TENCH: 9, "n01443537": 5, "n01484850": 1})
  source = opening.open_dataset(f"folder:{tmp_path}", limit=7)
  labels = [source.read(i).label for i in range(source.length)]
  assert sorted(labels) == [0, 0, 0, 1, 1, 1, 2]
  again = opening.open_dataset(f"imagenet:{tmp_path}", limit=7, allow_incomplete=True)
  assert everything(again) == everything(source)


def test_a_limit_that_takes_every_image_is_no_limit(tmp_path):
  class_folder(tmp_path, {TENCH: 3, "n01443537": 2})
  whole = opening.open_dataset(f"folder:{tmp_path}")
  for limit in (5, 6, 1000):
    limited = opening.open_dataset(f"folder:{tmp_path}", limit=limit)
    assert (limited.fingerprint, limited.notes) == (whole.fingerprint, ())
    assert everything(limited) == everything(whole)


def test_a_dataset_is_opened_again_from_another_folder(tmp_path, monkeypatch):
  class_folder(tmp_path / "here/images", {TENCH: 3, "n01443537": 2})
  (tmp_path / "here/list.txt").write_text(f"{TENCH}/{TENCH}_0.JPEG\n")
  (tmp_path / "there").mkdir()
  monkeypatch.chdir(tmp_path / "here")
  asked = {"data_dir": None, "manual_dir": ".", "subset": "list.txt", "limit": None, "allow_incomplete": True}
  for spec in ("mine=folder:images", "imagenet:images", "classes:./images"):
    source = opening.open_asked(spec, asked)
    images = everything(source)
    monkeypatch.chdir(tmp_path / "there")
    again = opening.open_again({"asked": source.asked, "fingerprint": source.fingerprint})
    assert again is not None, spec
    assert everything(again) == images
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.reference
def test_photographs_through_both_ways_are_the_same_images(reference, tmp_path):
  for name, images in (("imagenet", "imagenet_sample"), ("imagenette", "imagenette_val")):
    path = reference / "data" / images
    files = opening.open_dataset(f"{name}:{path}", allow_incomplete=True)
    builders.prepare(name, str(path), str(tmp_path), allow_incomplete=True)
    prepared = opening.open_dataset(name, str(tmp_path), allow_incomplete=True)
    assert prepared.fingerprint == files.fingerprint
    assert all(prepared.read(i) == files.read(i) for i in range(files.length))


def test_rows_are_whole():
  for row in datasets.ROWS:
    assert dataclasses.asdict(row)
    assert row.licence
    assert row.citation
    assert row.archives
    assert row.images >= row.classes or not row.images  # not stated


def test_parts_of_one_benchmark_are_found_among_others(tmp_path, small):
  made = small("model_vs_human")
  unpack(made, tmp_path)
  unpack(MADE["imagenet_a"](), tmp_path / "other")
  source = opening.open_dataset("model_vs_human", str(tmp_path / "none"), str(tmp_path))
  assert {i: labels for i, (labels, _) in everything(source).items()} == made.expected


# What TFDS prepared itself.


def stock(data_dir, dataset: str, split: str, examples: dict[str, tuple[bytes, int]]) -> pathlib.Path:
  """As TFDS' own builders lay a dataset out: {file name: (bytes, label)}."""
  import tensorflow_datasets as tfds

  class Stock(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    name = dataset
    VERSION = tfds.core.Version("0.1.0")

    def _info(self):
      features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=list(classes.wordnet_ids())),
        "file_name": tfds.features.Text(),
      }
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      del dl_manager
      return {split: self._generate_examples()}

    def _generate_examples(self):
      for name, (content, label) in examples.items():
        yield name, {"image": content, "label": label, "file_name": name}

  builder = Stock(data_dir=data_dir, file_format="array_record")
  builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


def stock_imagenet_a(data_dir) -> pathlib.Path:
  made = MADE["imagenet_a"]()
  contents = {path.rpartition("/")[2]: content for path, content in made.files.items()}
  labels = {example_id.rpartition("/")[2]: of[0] for example_id, of in made.expected.items()}
  return stock(data_dir, "imagenet_a", "test", {name: (contents[name], labels[name]) for name in contents})


def test_real_needs_no_second_copy_of_a_prepared_imagenet(tmp_path, small, monkeypatch):
  made = small("imagenet_real")
  row = dataclasses.replace(datasets.get("imagenet"), images=3, classes=3, per_class=(1, 1), known=())
  monkeypatch.setitem(datasets.DATASETS, "imagenet", row)
  folder, own, theirs = (tmp_path / name for name in ("images", "own", "stock"))
  unpack(made, folder)
  builders.prepare("imagenet", str(folder), str(own))
  stock(theirs, "imagenet2012", "validation", {name: (data, 5) for name, data in made.files.items()})
  (tmp_path / "manual").mkdir()
  real_json(tmp_path / "manual")
  for data_dir in (own, theirs):
    source = opening.open_dataset("imagenet_real", str(data_dir), str(tmp_path / "manual"))
    read = everything(source)
    assert {name: labels for name, (labels, _) in read.items()} == made.expected
    assert all(data == made.files[name] for name, (_, data) in read.items())
    assert (source.labels, source.resize, source.most_labels) == ("imagenet_real", 256, 9)


def test_what_tfds_prepared_is_found_and_its_classes_compete(tmp_path):
  where = stock_imagenet_a(tmp_path)
  with pytest.raises(BiasjaxError, match=f"imagenet_a in {where} is not .*: 3 images instead of 7,500: get"):
    opening.open_dataset("imagenet_a", str(tmp_path))
  source = opening.open_dataset("imagenet_a", str(tmp_path), allow_incomplete=True)
  assert (source.name, source.labels) == ("imagenet-a", "imagenet_a")
  assert sorted(labels for labels, _ in everything(source).values()) == [(6,), (11,), (11,)]
  one = opening.open_dataset("imagenet_a", str(tmp_path), allow_incomplete=True, limit=2)
  assert sorted(labels for labels, _ in everything(one).values()) == [(6,), (11,)]


def test_a_dataset_in_another_format_is_refused_with_the_command_that_converts_it(tmp_path):
  where = stock_imagenet_a(tmp_path)
  info = where / "dataset_info.json"
  info.write_text(info.read_text().replace("array_record", "tfrecord"))
  for path in where.glob("*array_record*"):
    path.rename(where / path.name.replace("array_record", "tfrecord"))
  with pytest.raises(BiasjaxError, match=r"is in tfrecord.*convert_format --out_file_format=array_record"):
    opening.open_dataset("imagenet_a", str(tmp_path), allow_incomplete=True)


def test_known_files_of_real_are_those_of_timms_copy(torchvision):
  timm = pytest.importorskip("timm", reason="needs timm")
  real = layouts.read_real(pathlib.Path(timm.__file__).parent / "data/_info/imagenet_real_labels.json")
  for name, label in datasets.get("imagenet_real").known:
    assert real[layouts.validation_number(name) - 1][0] == label


@pytest.mark.reference
def test_known_files_are_where_other_sources_have_them(reference):
  path, _ = datasets.get("imagenette").known[0]
  assert (reference / "data/imagenette_val" / path).is_file()
  trials = "".join(p.read_text() for p in (reference / "data/trials/humans/edge").glob("*.csv"))
  assert "oven_00_oven10.png" in trials
