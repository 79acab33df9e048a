"""The summary of the suppression probe, counted by hand; the probe in a pass."""

import numpy as np
import pandas as pd
import pytest

import made_observations
from biasjax import probes
from biasjax.errors import BiasjaxError
from biasjax.probes import suppression


def summary(right):
  """Metrics by name; `right` are right under suppression, 8 of 10 on clean images."""
  return made_observations.summary("suppression", right, 10, size=32, clean=8)


def test_reliance_is_the_share_of_accuracy_that_is_lost():
  found = summary(lambda name: {"patch_shuffle/8": 2, "bilateral/12": 6}.get(name, 8))
  assert found["shape-reliance"].value == pytest.approx(1 - 2 / 8)
  assert found["texture-reliance"].value == pytest.approx(1 - 6 / 8)
  assert found["colour-reliance"].value == pytest.approx(0)
  assert found["suppression/patch_shuffle/8"].value == pytest.approx(2 / 8)
  assert found["top1_acc/suppression/patch_shuffle/8"].value == pytest.approx(20)
  # Each image has a class of its own, of 1,000, so that chance is a thousandth, or what a rare answer gets.
  assert found["top1_acc/suppression/patch_shuffle/8"].chance == pytest.approx(2.0)
  corrected = 1 - (0.2 - 0.02) / (0.8 - 0.08)
  assert found["shape-reliance/chance-corrected"].value == pytest.approx(corrected)
  for cue in ("shape", "texture"):
    metric = found[f"{cue}-reliance"]
    assert metric.low < metric.value < metric.high
    assert metric.n == 10


def test_what_is_lost_of_what_was_above_chance():
  """16 classes of 20 images: clean 80 %, and with the tiles moved no more than guessing gives."""
  label, n = np.tile(np.arange(16), 20), 320
  right = {"clean": np.arange(n) // 16 < 16, "patch_shuffle/8": np.arange(n) // 16 < 1.25}

  def said(condition):
    answers = np.where(right.get(condition, right["clean"]), label, (label + 1) % 16)
    table = pd.DataFrame({"condition": condition, "example_id": np.arange(n).astype(str), "label": label})
    return table.assign(prediction=answers, rank=np.where(answers == label, 0, 5))

  probe = probes.get("suppression", 32)
  tables = {"accuracy": said("clean"), "suppression": pd.concat([said(c) for c in probe.conditions])}
  for table in tables.values():
    table.attrs["labels"] = "synthetic"
  found = {metric.name: metric for metric in probe.summarise(tables)}
  share = 32 / 320
  assert found["shape-reliance"].value == pytest.approx(1 - share / 0.8)
  expected = 1 - (share - 1 / 16) / (0.8 - 1 / 16)
  assert found["shape-reliance/chance-corrected"].value == pytest.approx(expected)
  accuracy = found["top1_acc/suppression/patch_shuffle/8"]
  assert accuracy.chance == pytest.approx(6.25)
  assert (accuracy.flag, found["colour-reliance"].flag) == ("", "")
  tables["suppression"]["rank"] = 5
  lost = {metric.name: metric for metric in probe.summarise(tables)}
  assert lost["shape-reliance"].flag == "accuracy below chance"


def test_every_condition_has_one_form_and_the_published_ones_are_all_there():
  for strengths, count in (
    ("few", 3 + 3 + 2 + 2 + 2 + 1 + 3),
    ("published", 8 + 8 + 6 + 7 + 5 + 1 + 8 + 13 + 6),
  ):
    conditions = suppression.conditions(strengths)
    # Of the eight pairs with the strongest-but-one filter and the six in step, one is in both.
    assert len(conditions) == count
    forms = {tuple((k, v.shape, v.dtype) for k, v in c.items()) for c in conditions.values()}
    assert len(forms) == 1
    assert set(suppression.RELIANCE.values()) <= set(conditions)


def test_options_that_do_not_exist_are_refused():
  with pytest.raises(BiasjaxError, match="strengths=all: expected one of few, published"):
    probes.get("suppression:strengths=all")
  with pytest.raises(BiasjaxError, match="8 x 8 pixels: at least 16"):
    probes.get("suppression", 8)


def test_a_network_that_sees_only_colour_relies_on_colour_alone():
  """Measured through the library: images of one colour each, a network that reads the mean colour."""
  import biasjax

  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(3), 6)
  pixels = rng.integers(0, 60, (18, 32, 32, 3), np.uint8)
  for picture, label in zip(pixels, labels, strict=True):
    picture[..., label] += 120

  def apply(variables, images):
    return variables["scale"] * images.mean((1, 2))

  found = biasjax.measure(apply, {"scale": np.float32(100)}, pixels, labels, "suppression").metrics["value"]
  assert found["colour-reliance"] == pytest.approx(2 / 3, abs=0.34)  # grey leaves a guess
  assert found["shape-reliance"] == 0
  assert found["texture-reliance"] == 0
