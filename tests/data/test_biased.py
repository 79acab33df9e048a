"""Biased worlds: counts that hold exactly, names that tell the cue, annotations that agree with them."""

import collections
import colorsys
import csv
import gzip
import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from biasjax.data import annotations, classes, opening
from biasjax.data.builders import biased, colored_mnist, synthetic_biased
from biasjax.errors import BiasjaxError


def pairs(split: str, count: int, k: int, rho: float = 1.0) -> collections.Counter:
  return collections.Counter(
    (label, biased.cue_of(split, label, number, count, k, rho))
    for label in range(k)
    for number in range(count)
  )


@pytest.mark.parametrize("rho", [0.9, 0.95, 0.98, 0.1])
def test_as_many_pictures_conflict_as_rho_says_spread_over_all_other_cues(rho):
  found = pairs("train_", 400, 10, rho)
  conflicts = round((1 - rho) * 400)
  for label in range(10):
    assert found[label, label] == 400 - conflicts
    others = [found[label, cue] for cue in range(10) if cue != label]
    assert sum(others) == conflicts
    assert max(others) - min(others) <= 1


def test_the_tests_have_every_pair_equally_often():
  assert pairs("aligned", 30, 5) == {(label, label): 30 for label in range(5)}
  assert pairs("unbiased", 30, 5) == {(label, cue): 6 for label in range(5) for cue in range(5)}
  expected = {(label, cue): 7 for label in range(5) for cue in range(5) if label != cue}
  assert pairs("conflicting", 28, 5) == expected


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  return synthetic_biased.make(
    str(tmp_path_factory.mktemp("worlds") / "hue"), [0.75], classes=3, size=32, per_class=8
  )


def test_another_world_under_the_same_names_is_another_dataset(tmp_path):
  """Pictures are stored uncompressed, so that its files are as large."""
  counts = {"train": 4, "aligned": 2, "conflicting": 2, "unbiased": 2}
  found = set()
  for grey in (10, 20):
    picture = np.full((8, 8, 3), grey, np.uint8)
    biased.build(
      tmp_path / f"{grey}", ("aye", "nay"), counts, lambda *_, of=picture: of, {"grey": grey}, [0.75]
    )
    found.add(opening.open_dataset(f"biased:{tmp_path / str(grey)}/train_0.75").fingerprint)
  assert len(found) == 2


def test_a_world_is_read_with_its_cues(world):
  source = opening.open_dataset(f"biased:{world}/train_0.75")
  assert (source.name, source.length, source.labels, source.own_classes) == ("train_0.75", 24, "classes", 3)
  assert (source.crop, source.resize) == (32, None)
  read = annotations.read(f"{world}/train_0.75.csv").of([p.example_id for p in source.places], "the world")
  bias, names = annotations.codes(read.columns["bias"])
  assert names == ("arch", "arrow", "bolt")
  assert bias.tolist() == [source.textures[place.example_id] for place in source.places]
  agree = [code == place.label for code, place in zip(bias, source.places, strict=True)]
  assert sum(agree) == 18
  for place in source.places:
    assert classes.cues(place.example_id, names) == (
      names[place.label],
      names[source.textures[place.example_id]],
    )


def test_the_cue_is_the_hue_of_the_texture(world):
  """Nearly always the hue of what is vivid is k / K of the cue's class k, whatever the class is."""
  source, right = opening.open_dataset(f"biased:{world}/conflicting"), []
  for index in range(0, source.length, 3):
    example = source.example(index)
    picture = np.asarray(Image.open(io.BytesIO(example.encoded)).convert("HSV"), float)
    middle = picture[8:24, 8:24].reshape(-1, 3)
    turn = (middle[:, 1] ** 2 * np.exp(2j * np.pi * middle[:, 0] / 256)).sum()
    nearest = round(np.angle(turn) / (2 * np.pi) * 3) % 3
    right.append(nearest == source.textures[example.example_id])
  assert np.mean(right) > 0.8  # of 64; grounds are vivid at times


def features(picture: np.ndarray) -> list[float]:
  """What tells textures in grey pictures at any orientation: power by radius, its symmetries, edges."""
  grey = picture.astype(float) @ [0.299, 0.587, 0.114]
  grey = (grey - grey.mean()) / grey.std()
  window = np.hanning(len(grey))
  power = np.abs(np.fft.fft2(grey * window[:, None] * window[None])) ** 2
  frequency = np.fft.fftfreq(len(grey), 1 / len(grey))
  radius = np.hypot(frequency[:, None], frequency[None])
  angle = np.arctan2(frequency[:, None], frequency[None])
  found = []
  for low in range(1, len(grey) // 2, 2):
    ring = (radius >= low) & (radius < low + 2)
    found.append(np.log(power[ring].mean() + 1e-3))
    found += [abs((power[ring] * np.exp(1j * k * angle[ring])).sum()) / power[ring].sum() for k in (2, 4, 6)]
  slope = np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1])
  return [*found, *np.quantile(grey, [0.05, 0.25, 0.5, 0.75, 0.95]), *np.quantile(slope, [0.25, 0.5, 0.75])]


@pytest.mark.parametrize("cue", ["hue", "tint"])
def test_the_class_can_be_told_without_the_cue(cue):
  """By a shallow network (random features, ridge regression) of grey pictures, each hue with each class."""
  rng, k = np.random.default_rng(0), 8

  def drawn(split, each):
    pairs = [(label, number) for label in range(k) for number in range(each)]
    pictures = [
      synthetic_biased.draw(split, y, i, (y + i) % k, kind=cue, classes=k, size=32) for y, i in pairs
    ]
    return np.array([features(picture) for picture in pictures]), np.array([y for y, _ in pairs])

  (x, y), (tested, truth) = drawn("train_0.125", 48), drawn("unbiased", 16)
  mean, deviation = x.mean(0), x.std(0)
  hidden = rng.normal(size=(x.shape[1], 300)) / np.sqrt(x.shape[1])

  def seen(these):
    these = (these - mean) / deviation
    return np.concatenate([these, np.maximum(these @ hidden, 0), np.ones((len(these), 1))], axis=1)

  solved = np.linalg.solve(seen(x).T @ seen(x) + 30 * np.eye(seen(x).shape[1]), seen(x).T @ np.eye(k)[y])
  assert np.mean(np.argmax(seen(tested) @ solved, axis=1) == truth) >= 0.7


def test_a_tint_is_the_hue_of_the_whole_picture():
  """By colorsys, of the mean colour along the rim, where there is hardly any figure."""
  apart = []
  for label, number, cue in ((k, number, (k + number) % 8) for k in range(8) for number in range(8)):
    shown = synthetic_biased.draw("unbiased", label, number, cue, kind="tint", classes=8, size=32) / 255.0
    rim = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
    hue = colorsys.rgb_to_hsv(*np.median(rim, axis=0))[0]
    apart.append(abs((hue - cue / 8 + 0.5) % 1 - 0.5))
  assert np.quantile(apart, 0.9) < 0.05


@pytest.mark.parametrize("cue", ["hue", "tint", "shape", "watermark"])
def test_a_picture_depends_on_its_class_and_its_cue(cue):
  def drawn(label, of):
    return synthetic_biased.draw("train_0.9", label, 5, of, kind=cue, classes=8, size=32).astype(int)

  np.testing.assert_array_equal(drawn(1, 2), drawn(1, 2))
  changed = np.abs(drawn(1, 2) - drawn(1, 6)).max(2) > 8
  assert changed.any()
  if cue == "watermark":
    assert not changed[5:].any()
    assert not changed[:, 5:].any()
  assert np.abs(drawn(1, 2) - drawn(3, 2)).max() > 8


def test_a_world_is_made_once_and_another_in_its_place_is_refused(world):
  before = {path: path.stat().st_mtime_ns for path in world.rglob("*.png")}
  synthetic_biased.make(str(world), [0.75, 0.5], classes=3, size=32, per_class=8)
  assert all(path.stat().st_mtime_ns == at for path, at in before.items())
  assert (world / "train_0.5.csv").exists()
  with pytest.raises(BiasjaxError, match="holds another world"):
    synthetic_biased.make(str(world), [0.75], classes=3, size=64, per_class=8)
  with pytest.raises(BiasjaxError, match=r"--rho=1\.2: expected a share from 0\.333"):
    synthetic_biased.make(str(world), [1.2], classes=3, size=32, per_class=8)
  with pytest.raises(BiasjaxError, match="--classes=17: expected 2 to 16"):
    synthetic_biased.make(str(world), [0.9], classes=17)


def test_a_world_that_had_no_room_for_what_it_is_made_of_is_made_later(tmp_path, monkeypatch):
  written = pathlib.Path.write_text

  def full(path, text, *args, **options):
    written(path, text[:9], *args, **options)
    raise OSError(28, "No space left on device", str(path))

  asked = {"rho": [0.75], "classes": 3, "size": 32, "per_class": 4}
  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
      synthetic_biased.make(str(tmp_path / "hue"), **asked)
  assert (
    len(
      opening.open_dataset(f"biased:{synthetic_biased.make(str(tmp_path / 'hue'), **asked)}/aligned").places
    )
    > 0
  )


def test_a_name_that_does_not_tell_the_cue_is_refused(world, tmp_path):
  (tmp_path / "one/arch").mkdir(parents=True)
  Image.new("RGB", (32, 32)).save(tmp_path / "one/arch/arch0.png")
  with pytest.raises(BiasjaxError, match="expected a cue-conflict stimulus"):
    opening.open_dataset(f"biased:{tmp_path}/one")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  """50 digits of each, of one grey level each: digit d number i is 5 i + d + 1 within a square."""
  path = tmp_path_factory.mktemp("digits") / "mnist.csv.gz"
  rows = []
  for digit in range(10):
    for number in range(50):
      picture = np.zeros((28, 28), int)
      picture[9:19, 9:19] = 5 * number + 5
      rows.append([*picture.ravel(), digit])
  text = io.StringIO()
  csv.writer(text).writerows(rows)
  path.write_bytes(gzip.compress(text.getvalue().encode()))
  return str(path)


def test_a_digit_has_the_colour_of_its_cue_and_the_ground_is_black(digits, tmp_path):
  world = colored_mnist.make(str(tmp_path / "digits"), [0.9], digits)
  source = opening.open_dataset(f"biased:{world}/train_0.9")
  assert (source.length, source.crop, source.own_classes) == (400, 28, 10)
  assert opening.open_dataset(f"biased:{world}/unbiased").length == 100
  assert opening.open_dataset(f"biased:{world}/conflicting").length == 90
  # Of the digit 3 (class "three") the first 4 of 40 conflict; number 20 is grey level 105 in its own colour.
  picture = np.asarray(Image.open(world / "train_0.9/three/three20-three20.png")) / 255
  np.testing.assert_allclose(picture[14, 14], 105 / 255 * np.array([0.7833, 0.8316, 0.6013]), atol=0.012)
  assert picture[:9].max() == 0
  assert len(list((world / "train_0.9/three").glob("three*-three*.png"))) == 36


def test_digits_tested_are_none_of_those_trained_on(digits, tmp_path):
  world = colored_mnist.make(str(tmp_path / "digits"), [1.0], digits)

  def levels(split):
    return {
      round(float(np.asarray(Image.open(path))[14, 14].max())) for path in (world / split / "one").iterdir()
    }

  train, test = levels("train_1"), levels("aligned")
  assert len(train) == 40
  assert max(train) < min(test)


@pytest.mark.parametrize("text", ["1,2,3\n", "a,b\n", ",".join(["300"] * 784 + ["1"]) + "\n"])
def test_a_table_of_something_else_is_refused(tmp_path, text):
  (tmp_path / "x.csv").write_text(text)
  with pytest.raises(BiasjaxError, match=r"--digits=.*(cannot be read|expected)"):
    colored_mnist.read(str(tmp_path / "x.csv"))
