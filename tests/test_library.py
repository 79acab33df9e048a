"""biasjax as a library: the numbers of the command line, for any network, and mistakes said in one line."""

import dataclasses
import pathlib
import re
import subprocess
import sys
import urllib.parse

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import biasjax
import made_programs
from biasjax import probes
from biasjax.data import preprocess, sources
from biasjax.data.builders import biased
from biasjax.data.classes import categories, cues
from deadline import DEADLINE_S
from made_images import class_folder, encoded, pixels
from made_models import PLAIN, VARIABLES, brightness, made_checkpoint

ROOT = pathlib.Path(__file__).parents[1]
PROBES = ("accuracy", "spectral", "critical_band", "pgd:steps=2")


def python(*arguments: object) -> subprocess.CompletedProcess:
  command = [sys.executable, *map(str, arguments)]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def stimuli(root: pathlib.Path) -> pathlib.Path:
  """Noise under the names of cue-conflict stimuli; in one of them shape and texture agree."""
  for i, name in enumerate(("dog/dog1-cat2", "dog/dog2-dog1", "car/car1-bear1", "oven/oven3-boat2")):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.png").write_bytes(encoded(pixels(224, 224, seed=i), "PNG"))
  return root


@pytest.fixture(scope="module")
def command_line(tmp_path_factory):
  """What run.py says, and the model and the images that it was asked about."""
  folder = tmp_path_factory.mktemp("command")
  model = made_checkpoint(folder / "narrow", 0)
  photographs = class_folder(folder / "val", {"n01440764": 3, "n01443537": 3})
  conflict = stimuli(folder / "conflict")
  flags = [f"--models={model}", f"--probes={','.join((*PROBES, 'shape'))}", f"--workdir={folder / 'out'}"]
  flags += [f"--dataset=images=folder:{photographs},cue_conflict:{conflict}", "--batch_size=4", "--noreport"]
  done = python("run.py", *flags)
  assert done.returncode == 0, done.stderr
  return folder


def assert_same_numbers(found: biasjax.Measured, workdir: pathlib.Path, dataset: str):
  written = pd.read_csv(workdir / "metrics.csv", dtype=str).fillna({"flag": ""})
  numbers = ["value", "low", "high", "n", "chance"]
  # As Python reads them, which is exact; pandas is not before its version 3.
  written[numbers] = written[numbers].map(float)
  written["n"] = written["n"].astype(int)
  written = written[written["dataset"] == dataset].set_index("metric")
  assert set(found.metrics.index) == set(written.index)
  expected = written.loc[found.metrics.index, ["probe", "value", "low", "high", "n", "chance", "flag"]]
  pd.testing.assert_frame_equal(found.metrics.drop(columns="detail"), expected, check_exact=True)
  for probe, table in found.observations.items():
    stored = pd.read_parquet(workdir / "observations" / dataset / urllib.parse.quote(probe))
    columns = [name for name in table.columns if name not in ("model", "dataset", "texture")]
    pd.testing.assert_frame_equal(table[columns], stored[columns], check_exact=True)


def measured(folder: pathlib.Path, source: sources.Source, probes, textures=None, **more) -> biasjax.Measured:
  """What the library says of the images of a source, which run.py was asked about as files."""
  model = biasjax.load(folder / "narrow")
  read = [source.read(i) for i in range(source.length)]
  names = [example.example_id for example in read]
  return biasjax.measure(
    model.apply,
    model.variables,
    np.stack([preprocess.preprocess(example.encoded, short_side=source.resize) for example in read]),
    np.array([example.label for example in read]),
    probes,
    textures=None if textures is None else np.array([textures(name) for name in names]),
    names=names,
    batch_size=4,
    **more,
  )


def test_the_numbers_are_those_of_the_command_line_bit_for_bit(command_line):
  found = measured(command_line, sources.folder(command_line / "val"), PROBES)
  assert_same_numbers(found, command_line / "out", "images")


def test_shape_bias_is_that_of_the_command_line(command_line):
  found = measured(
    command_line,
    sources.cue_conflict(command_line / "conflict"),
    "shape",
    textures=lambda name: categories().index(cues(name)[1]),
    labels_are="categories16",
  )
  assert_same_numbers(found, command_line / "out", "cue-conflict")


def shades(count: int) -> tuple[np.ndarray, np.ndarray]:
  """Noise of three mean levels, whose classes `brightness` has right mostly."""
  rng = np.random.default_rng(3)
  labels = rng.integers(0, 3, count)
  levels = np.array([51, 128, 204])[labels] + rng.normal(0, 40, count)
  noise = rng.normal(0, 60, (count, 16, 16, 3))
  return np.clip(levels[:, None, None, None] + noise, 0, 255).astype(np.uint8), labels


def test_a_margin_asks_a_sample_whose_numbers_hold_those_of_all_images(tmp_path):
  given = brightness, VARIABLES, *shades(1200), "spectral"
  whole = biasjax.measure(*given, progress=False).metrics
  found = biasjax.measure(*given, margin=4.0, workdir=tmp_path, progress=False)
  numbers = found.metrics
  assert list(numbers.index) == list(whole.index)
  of_sample = numbers[(numbers["estimator"] != "") & numbers["margin"].notna()]
  accuracies = of_sample[of_sample.index.str.startswith("top1_acc/bandpass")]
  assert len(accuracies) > 20
  assert (accuracies["margin"] <= 4).all()
  assert accuracies["n"].max() < 1200
  off = (of_sample["value"] - whole.loc[of_sample.index, "value"]).abs()
  assert (off <= of_sample["margin"]).mean() > 0.9
  written = pd.read_csv(tmp_path / "metrics.csv").set_index("metric")
  columns = ["value", "low", "high", "margin", "effective_n", "correlation"]
  of_all = numbers.loc[written.index, columns].astype(float)
  pd.testing.assert_frame_equal(of_all, written[columns].astype(float), rtol=1e-12)
  found.observations["spectral"].to_parquet(tmp_path / "kept.parquet")  # nothing in it stands in the way
  again = biasjax.measure(*given, margin=4.0, progress=False)
  pd.testing.assert_frame_equal(again.metrics, numbers)


def test_a_margin_that_is_none_is_said():
  for margin, said in (("much", "margin=much: expected points"), ("1@pgd", "margin=1@pgd: no probe 'pgd'")):
    with pytest.raises(biasjax.BiasjaxError, match=said):
      biasjax.measure(brightness, VARIABLES, *shades(4), "spectral", margin=margin)


def test_images_are_a_dataset_as_run_py_shows_it(command_line):
  given = biasjax.images(f"folder:{command_line / 'val'}")
  source = sources.folder(command_line / "val")
  read = [source.read(i) for i in range(source.length)]
  assert given.names == [example.example_id for example in read]
  np.testing.assert_array_equal(given.labels, [example.label for example in read])
  shown = [preprocess.preprocess(example.encoded) for example in read]
  np.testing.assert_array_equal(given.pixels, np.stack(shown))
  assert (given.labels_are, given.dataset, given.textures) == ("imagenet", "folder", None)
  assert biasjax.images(f"folder:{command_line / 'val'}", limit=2, size=64).pixels.shape == (2, 64, 64, 3)


def test_probes_by_their_defaults_and_with_a_path_are_this_projects_own(tmp_path):
  (tmp_path / "frost").mkdir()
  (tmp_path / "frost" / "frost1.png").write_bytes(encoded(pixels(64, 64), "PNG"))
  frost = f"corruptions:only=frost:frost_dir={tmp_path / 'frost'}"
  asked = ("spectral:mask=half-open", frost)  # the first is what `spectral` is without saying so
  found = biasjax.measure(
    brightness, VARIABLES, PLAIN, np.array([0, 1, 1, 2]), asked, workdir=tmp_path / "out"
  )
  metrics = pd.read_csv(tmp_path / "out" / "metrics.csv").set_index("metric")
  name = "top1_acc/corruptions:only=frost/frost_1"
  assert metrics.loc[name, "value"] == found.metrics.loc[name, "value"]
  assert "metric/bandpass/LFC/0.5" in metrics.index


def test_tables_say_how_images_came_to_their_size(command_line, tmp_path):
  folder, conflict = f"folder:{command_line / 'val'}", f"cue_conflict:{command_line / 'conflict'}"
  said = {
    biasjax.images(folder).preprocessed: "bilinear 256, crop 224",  # as run.py says it of the same images
    biasjax.images(folder, size=64).preprocessed: "bilinear 73, crop 64",
    biasjax.images(conflict).preprocessed: "as they are, crop 224",
    biasjax.images(conflict, size=64).preprocessed: "bilinear 64, crop 64",  # brought there as a whole
  }
  assert list(said) == list(said.values())
  written = pd.read_csv(command_line / "out" / "metrics.csv").groupby("dataset")["preprocessing"].unique()
  assert written["images"].tolist() == ["bilinear 256, crop 224"]
  class_folder(tmp_path / "own", {"a": 2, "b": 2, "c": 2})
  given = biasjax.images(f"classes:{tmp_path / 'own'}", size=64)
  for which, asked in {"images": (given, None), "pixels": (given.pixels, given.labels)}.items():
    biasjax.measure(brightness, VARIABLES, *asked, "accuracy", workdir=tmp_path / which)
  tables = [pd.read_csv(tmp_path / which / "metrics.csv") for which in ("images", "pixels")]
  assert [set(table["preprocessing"]) for table in tables] == [
    {"bilinear 73, crop 64"},
    {"as they are, crop 64"},
  ]


def test_images_of_stimuli_give_run_pys_shape_bias_in_one_call(command_line):
  model, given = (
    biasjax.load(command_line / "narrow"),
    biasjax.images(f"cue_conflict:{command_line / 'conflict'}"),
  )
  assert [categories()[texture] for texture in given.textures] == ["bear", "cat", "dog", "boat"]
  assert given.labels_are == "categories16"
  found = biasjax.measure(model.apply, model.variables, given, probes="shape", batch_size=4)
  assert_same_numbers(found, command_line / "out", "cue-conflict")


def test_images_of_a_biased_world_bring_its_cues_and_accuracy_says_how_often_they_are_the_answer(tmp_path):
  levels = [10, 128, 245]  # what `brightness` takes for its three classes

  def shows_the_cue_but_once(split, label, number, cue):
    shown = label if (label, number) == (0, 1) else cue
    return np.full((32, 32, 3), levels[shown], np.uint8)

  counts = {"train": 2, "aligned": 2, "conflicting": 2, "unbiased": 3}
  biased.build(str(tmp_path / "world"), "abc", counts, shows_the_cue_but_once, {"size": 32}, [0.5])
  given = biasjax.images(f"biased:{tmp_path / 'world'}/conflicting")
  assert sorted(zip(given.labels, given.textures, strict=True)) == [
    *((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
  ]
  found = biasjax.measure(brightness, VARIABLES, given, probes="accuracy").metrics
  assert found.loc["cue_share/conflicting", "value"] == pytest.approx(100 * 5 / 6)
  assert found.loc["top1_acc/conflicting", "value"] == pytest.approx(100 * 1 / 6)


def test_images_of_several_right_classes_are_measured_as_such(tmp_path):
  variables, labels = VARIABLES, np.array([[0, -1], [0, 1], [2, -1], [2, 0]])
  found = biasjax.measure(brightness, variables, PLAIN, labels, "accuracy").metrics
  assert found.loc["top1_acc/images", "value"] == 75  # it says 0, 1, 1, 2
  # Who says any of the three as often is right in 6 of 12; the answers dealt out would be in 7 of 16.
  assert found.loc["top1_acc/images", "chance"] == pytest.approx(50)
  assert not found.index.str.startswith("class_acc").any()
  with pytest.raises(biasjax.BiasjaxError, match="labels holds -1"):
    biasjax.measure(brightness, variables, PLAIN, np.array([[-1, 0]] * 4), "accuracy")


def test_guessing_among_several_right_classes_is_at_chance_in_every_probe():
  """Of ten classes any three in a row are right: who guesses is right in three of ten."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
  labels = (rng.integers(0, 10, (60, 1)) + np.arange(3)) % 10

  def guess(variables, images):
    return jnp.sin(1e4 * images.mean((1, 2)) @ variables)

  network = rng.normal(size=(3, 10)).astype(np.float32)
  found = biasjax.measure(guess, network, pixels, labels, ("accuracy", "spectral")).metrics
  assert found.loc["top1_acc/images", "chance"] == pytest.approx(30, abs=5)
  assert found.loc["top1_acc/images", "flag"] == "cannot be told from chance"
  filtered = found[found.index.str.startswith("top1_acc/bandpass")]
  assert (filtered["chance"] > 25).all()


def test_images_that_cannot_be_decoded_are_left_out(tmp_path, caplog):
  folder = class_folder(tmp_path / "val", {"n01440764": 2})
  (folder / "n01440764/n01440764_1.JPEG").write_bytes(b"no image at all")
  given = biasjax.images(f"folder:{folder}")
  assert given.names == ["n01440764/n01440764_0.JPEG"]
  assert len(given.pixels) == len(given.labels) == 1
  assert list(given.excluded) == ["n01440764/n01440764_1.JPEG"]
  assert "n01440764_1.JPEG is left out" in caplog.text
  (folder / "n01440764/n01440764_0.JPEG").write_bytes(b"")
  with pytest.raises(biasjax.BiasjaxError, match=r"no image could be decoded, e\.g\. .*_0\.JPEG: 0 bytes"):
    biasjax.images(f"folder:{folder}")


def test_class_folders_that_are_not_the_networks_classes_are_refused(tmp_path):
  for name in "ab":
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.png").write_bytes(encoded(pixels(40, 40), "PNG"))
  given = biasjax.images(f"classes:{tmp_path}", size=32)
  assert (given.labels_are, given.labels.tolist(), given.own_classes) == ("classes", [0, 1], 2)
  with pytest.raises(biasjax.BiasjaxError, match="2 class folders for 3 classes"):
    biasjax.measure(brightness, VARIABLES, given, probes="accuracy")


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"preprocess": "mine"}, "preprocess='mine': expected one of paper, native"),
    ({"preprocess": "native"}, "'native' is what a network's authors did: say which, model="),
    ({"size": 0}, "size=0: a number of pixels"),
    ({"limit": 0}, "limit=0: expected a number of images, at least 1"),
    ({"spec": "folder:/nowhere"}, "/nowhere is not a folder"),
  ],
)
def test_a_mistake_in_asking_for_images_is_one_line(command_line, changed, message):
  with pytest.raises(biasjax.BiasjaxError, match=message):
    biasjax.images(**{"spec": f"folder:{command_line / 'val'}"} | changed)


def thousand(variables, images):
  """1,000 classes, of which it always says the last."""
  return jnp.broadcast_to(jnp.arange(1000.0) * variables["sharpness"], (len(images), 1000))


def test_a_shape_bias_that_rests_on_nothing_is_said_with_its_reason(caplog):
  found = biasjax.measure(thousand, VARIABLES, PLAIN, [0, 2, 2, 15], "shape", textures=[1, 1, 0, 2]).metrics
  assert np.isnan(found.loc["shape-bias", "value"])
  assert found.loc["shape-bias", "flag"] == "no decision is for either cue"
  assert len(found) == 5 + 3  # and a row for each shape that is there, not for each class
  assert "no decision is for the shape or the texture" in caplog.text
  assert "labels_are='categories16'" in caplog.text


def test_each_network_whose_scores_are_probabilities_is_noticed(caplog):
  for _ in range(2):
    biasjax.measure(lambda v, x: jax.nn.softmax(brightness(v, x)), VARIABLES, PLAIN, [0, 1, 1, 2], "accuracy")
  assert caplog.text.count("its scores are probabilities (they add up to 1), not logits") == 2


def test_a_traced_network_is_loaded_from_its_folder(tmp_path):
  folder = made_programs.made_checkpoint(tmp_path / "vit_small", 1, size=32, classes=10)
  model = biasjax.load(folder)
  logits = model.apply(model.variables, np.full((2, 32, 32, 3), 0.5, np.float32))
  assert (logits.shape, model.size, model.classes) == ((2, 10), 32, 10)
  found = biasjax.measure(
    model.apply, model.variables, np.stack([np.full((32, 32, 3), 9, np.uint8)]), [3], "accuracy"
  )
  assert found.observations["accuracy"]["prediction"].to_list() == [
    int(np.argmax(model.apply(model.variables, np.full((1, 32, 32, 3), 9 / 255, np.float32))))
  ]


class Unhashable:
  __hash__ = None

  def __call__(self, variables, images):
    return brightness(variables, images)


def test_shape_bias_counts_classes_without_names():
  # It says 0, 1, 1, 2: the shape, the texture, neither, and a stimulus whose cues agree.
  found = biasjax.measure(brightness, VARIABLES, PLAIN, [0, 2, 2, 2], "shape", textures=[1, 1, 0, 2]).metrics
  assert found.loc["shape-bias", "value"] == 0.5
  assert found.loc["cue-conflict/accuracy", "value"] == pytest.approx(2 / 3)
  assert found.loc["shape-bias/0", "value"] == 1
  assert found.loc["shape-bias/2", "value"] == 0


def test_any_number_of_classes_has_a_critical_band():
  found = biasjax.measure(brightness, VARIABLES, PLAIN, [0, 1, 1, 2], "critical_band")
  assert found.metrics.loc["top1_acc/criticalband/clean", "value"] == 50  # all are middling at low contrast


def test_the_class_that_is_predicted_ranks_first_whatever_xla_fuses():
  found = biasjax.measure(brightness, VARIABLES, PLAIN // 2, [0, 0, 0, 1], "accuracy").observations
  assert found["accuracy"]["prediction"].to_list() == [0, 0, 0, 1]
  assert found["accuracy"]["rank"].to_list() == [0] * 4


def test_a_probe_of_ones_own_is_asked():
  def right(tables):
    return [probes.Metric("darker", float((tables["darker"]["rank"] == 0).sum()), 0.0, 0.0, 4)]

  darker = dataclasses.replace(
    probes.get("accuracy", 32),
    name="darker",
    perturb=lambda key, image, condition: image / 2,
    summarise=lambda tables: [
      probes.Metric("darker", float((tables["darker"]["rank"] == 0).sum()), 0.0, 0.0, 4)
    ],
  )
  found = biasjax.measure(brightness, VARIABLES, PLAIN, [0, 0, 0, 1], [darker])
  assert found.metrics["value"].to_dict() == {"darker": 4}


def test_a_probe_of_ones_own_with_another_ones_number_is_one_line():
  accuracy = probes.get("accuracy", 32)
  same = dataclasses.replace(
    accuracy, name="same", summarise=lambda tables: [probes.Metric("top1_acc/{dataset}", 0.0, 0.0, 0.0, 4)]
  )
  message = "measure: probe same: it calls a number 'top1_acc/images' as accuracy does"
  with pytest.raises(biasjax.BiasjaxError, match=message):
    biasjax.measure(brightness, VARIABLES, PLAIN, [0, 0, 0, 1], [accuracy, same])


def test_noise_belongs_to_names_and_seeds():
  random = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
  kept = []
  for order, more in (((0, 1, 2, 3), {}), ((3, 1, 0, 2), {}), ((0, 1, 2, 3), {"seed": 1})):
    names = [f"{i}.png" for i in order]
    found = biasjax.measure(
      brightness, VARIABLES, random[list(order)], [1] * 4, "critical_band", names=names, **more
    )
    table = found.observations["critical_band"].sort_values(["condition", "example_id"])
    kept.append(table["confidence"].to_numpy())
  np.testing.assert_array_equal(kept[0], kept[1])
  assert (kept[0] != kept[2]).any()


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"pixels": PLAIN / 255}, r"pixels is float64 \[4, 32, 32, 3\], not uint8 \[n, size, size, 3\]: .*rint"),
    ({"pixels": PLAIN[:, :30]}, r"pixels is uint8 \[4, 30, 32, 3\], not"),
    ({"pixels": PLAIN[:0]}, r"pixels is uint8 \[0, 32, 32, 3\], not"),
    ({"labels": [0, 1, 1]}, r"labels is int64 \[3\], not int \[4\]"),
    ({"labels": [0.0, 1.0, 1.0, 2.0]}, r"labels is float64 \[4\], not int \[4\]"),
    ({"labels": [0, 1, 1, 3]}, "labels holds 3, but 3 classes compete, 0 to 2"),
    ({"labels": [0, 1, 1, -1]}, "labels holds -1, but 3 classes compete"),
    ({"textures": [0, 1, 1, 3], "probes": "shape"}, "textures holds 3, but 3 classes compete"),
    ({"probes": "shape"}, "probe shape cannot be asked about labels that are classes: it needs textures"),
    (
      {"textures": [0, 1, 1, 2], "probes": ("shape", "accuracy")},
      "probe accuracy asks about images without textures: leave them out",
    ),
    ({"probes": "spectrum"}, "unknown probe 'spectrum': did you mean spectral"),
    ({"probes": ()}, "probes is empty"),
    ({"probes": "spectral", "pixels": PLAIN[:, :31, :31]}, "spectral: images of 31 x 31 pixels: an even"),
    ({"probes": "critical_band", "pixels": PLAIN[:, :8, :8]}, "8 pixels hold 2 octaves, too few"),
    ({"apply": Unhashable()}, "apply is a Unhashable, which cannot be hashed: give a function"),
    ({"names": ["a", "b", "a", "c"]}, "names holds 4, 3 of them different, for 4 images"),
    ({"labels_are": "imagnet"}, "labels_are='imagnet': expected one of classes, imagenet"),
    ({"labels_are": "imagenet"}, "1,000 classes needs a network of 1,000 classes; this one has 3"),
    ({"batch_size": 0}, "batch_size=0"),
    ({"seed": True}, "seed=True: expected a whole number"),
    ({"dataset": ".."}, r"a dataset cannot be called '\.\.', since folders are"),
    ({"model": ""}, "a network cannot be called '', since folders are"),
    ({"pixels": [PLAIN[0], PLAIN[0, :9]]}, "pixels is list, and no array: "),
    ({"labels": [[0], [0, 1], [1], [1]]}, "labels is list, and no array: "),
    ({"variables": {}}, r"fails for images float32 \[1, 32, 32, 3\]: KeyError: 'sharpness'"),
    ({"variables": {"sharpness": np.float32(np.nan)}}, r"logits of 4 image\(s\) are not finite, e.g. 000000"),
    ({"apply": lambda v, x: x}, r"gives float32 \[1, 32, 32, 3\] for one image, not logits float32 \[1, cl"),
    ({"apply": lambda v, x: brightness(v, x).astype(jnp.bfloat16)}, r"gives bfloat16 \[1, 3\] for one image"),
    ({"apply": lambda v, x: (brightness(v, x), {})}, "gives tuple for one image"),
    ({"apply": lambda v, x: jnp.asarray(np.asarray(x))}, "TracerArrayConversionError"),
  ],
)
def test_a_mistake_is_one_line(changed, message):
  given = {"apply": brightness, "variables": VARIABLES, "pixels": PLAIN, "labels": [0, 1, 1, 2]}
  with pytest.raises(biasjax.BiasjaxError, match=message) as caught:
    biasjax.measure(**{**given, "probes": "accuracy"} | changed)
  assert "\n" not in str(caught.value)


def test_what_was_compiled_for_a_network_is_used_again():
  traced = []

  def apply(variables, images):
    traced.append(images.shape)
    return brightness(variables, images)

  for sharpness in (10, 20, 30):
    biasjax.measure(apply, {"sharpness": jnp.float32(sharpness)}, PLAIN, [0, 1, 1, 2], "accuracy")
  assert traced.count((4, 32, 32, 3)) == 1


def test_load_refuses_a_pattern_of_several(tmp_path, monkeypatch):
  monkeypatch.setenv("BIASJAX_CACHE", str(tmp_path))
  for name in ("mine_1", "mine_2"):
    made_checkpoint(tmp_path / "models" / name, 0)
  assert biasjax.load("mine_1").name == "mine_1"
  with pytest.raises(biasjax.BiasjaxError, match="mine_\\* stands for 2 networks, mine_1 among them"):
    biasjax.load("mine_*")


@pytest.mark.parametrize("precision", ["bf16", "tensorfloat32"])
def test_load_refuses_a_precision_that_it_would_not_use(precision):
  with pytest.raises(
    biasjax.BiasjaxError, match=f"precision={precision!r}: expected one of float32, bfloat16"
  ):
    biasjax.load("mine", precision=precision)


# In a process of its own: types are checked while tests run, and not where users call.
WRONG_TYPES = """
import numpy as np, biasjax
given = lambda variables, images: images.mean((1, 2)), {}, np.zeros((2, 8, 8, 3), np.uint8), [0, 1]
for call in (
  lambda: biasjax.measure(*given, batch_size="64"),
  lambda: biasjax.measure(*given, seed=0.5),
  lambda: biasjax.measure(*given, ["accuracy", 5]),
  lambda: biasjax.measure(*given, None),
  lambda: biasjax.images("folder:/nowhere", limit="5"),
  lambda: biasjax.load(5),
):
  try:
    call()
  except biasjax.BiasjaxError as error:
    print(error)
"""


def test_a_wrong_type_is_one_line():
  done = python("-c", WRONG_TYPES)
  assert done.stdout.splitlines() == [
    "measure: batch_size='64': expected a whole number, at least 1",
    "measure: seed=0.5: expected a whole number, at least 0",
    "measure: probes holds 5: expected names, or probes of your own",
    "measure: probes is empty: name one",
    "images: limit='5': expected a number of images, at least 1",
    "load: 5 is no name, file or folder",
  ], done.stderr


def test_importing_biasjax_does_not_import_jax():
  done = python("-c", "import sys, biasjax; print(sorted({'jax', 'pandas', 'orbax'} & set(sys.modules)))")
  assert done.stdout.strip() == "[]", done.stderr


def test_the_page_shows_what_works(tmp_path, capsys):
  (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL)
  exec(compile(code, "docs/library.md", "exec"), {})
  assert "LPP" in capsys.readouterr().out


def test_a_batch_is_no_larger_than_what_there_is():
  seen = set()

  def apply(variables, images):
    seen.add(len(images))
    return jnp.zeros((len(images), 2)) + images.mean((1, 2, 3))[:, None]

  biasjax.measure(apply, {}, np.zeros((3, 16, 16, 3), np.uint8), [0, 1, 0], "accuracy")
  assert seen == {1, 3}  # one, to find how many classes there are
