"""Probes on arrays give the numbers of the command line; other people's networks can be asked."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import biasjax
from biasjax.data.classes import wordnet_ids
from biasjax.errors import BiasjaxError
from made_images import pixels
from made_models import made_model


def linear(variables, images):
  """Ten classes by the mean colour."""
  return images.mean(axis=(1, 2)) @ variables["kernel"]


RNG = np.random.default_rng(0)
VARIABLES = {"kernel": RNG.normal(size=(3, 10)).astype(np.float32)}
IMAGES = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)
LABELS = (IMAGES.astype(np.float32).mean((1, 2)) / np.float32(255) @ VARIABLES["kernel"]).argmax(1)


def test_the_numbers_are_those_of_the_command_line(tmp_path):
  """On the same pixels under the same names, noise included."""
  wnids = wordnet_ids()[5:7]
  names, images, labels = [], [], []
  for i in range(6):
    image, wnid = pixels(256, 256), wnids[i % 2]
    image = np.roll(image, 17 * i, axis=0)
    names.append(f"{wnid}/{i}.png")
    (tmp_path / "images" / wnid).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(tmp_path / "images" / names[-1])
    images.append(image[16:-16, 16:-16])
    labels.append(5 + i % 2)
  model = made_model("net", 0)
  from biasjax import evaluate, probes, results
  from biasjax.data import sources

  source = sources.folder(tmp_path / "images", "data")
  store = results.Store(tmp_path / "out", 6)
  ask = ["accuracy", "critical_band"]
  evaluate.evaluate(
    [model], [probes.get(name) for name in ask], source, store, evaluate.Settings(batch_size=4)
  )
  expected = results.summarise(store, probes.get).metrics
  order = np.argsort(names)
  found = biasjax.measure(
    model.apply,
    model.variables,
    np.stack(images)[order],
    np.array(labels)[order],
    ask,
    kind="imagenet",
    names=[names[i] for i in order],
    batch_size=3,
  )
  columns = ["probe", "metric", "value", "low", "high", "n"]
  pd.testing.assert_frame_equal(found.metrics, expected[columns], rtol=1e-5)
  assert len(found.observations) == 6 * (1 + 29)


def test_any_network_and_any_number_of_classes():
  ask = ["accuracy", "spectral", "pgd:eps=128:steps=2:step=64"]
  found = biasjax.measure(linear, VARIABLES, IMAGES, LABELS, ask)
  assert found["top1_acc/data"] == 100
  # Nothing but the mean is left of the lowest frequencies, and the mean is all that the network looks at.
  assert found["metric/bandpass/LFC/0.99"] == 1
  assert found["top1_acc/PGD-2:eps=128:step=64/eps=128"] < 100
  with pytest.raises(KeyError, match="there are top1_acc/data"):
    found["shape-bias"]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"images": IMAGES / 255}, "images are float64 [12, 32, 32, 3]; expected uint8"),
    ({"images": IMAGES[:, :20]}, "expected uint8 [n, s, s, 3]"),
    ({"labels": LABELS[:3]}, "labels are int64 [3]; expected integers [12]"),
    ({"labels": LABELS + 9}, "but the network has 10 classes"),
    ({"names": ["a"] * 12}, "1 different names for 12 images"),
    ({"apply": lambda v, x: x}, "expected logits [1, classes]"),
    ({"ask": ["shape"]}, "probe shape needs a dataset with labels"),
    ({"kind": "imagenet"}, "needs a network of 1,000 classes; this one has 10"),
    ({"variables": {"kernel": VARIABLES["kernel"] * np.nan}}, "not finite"),
  ],
)
def test_mistakes_are_named(change, message):
  given = {"apply": linear, "variables": VARIABLES, "images": IMAGES, "labels": LABELS, "ask": ["accuracy"]}
  with pytest.raises(BiasjaxError, match=re.escape(message)):
    biasjax.measure(**given | change)


def test_the_example_runs():
  done = subprocess.run(
    [sys.executable, "-m", "examples.vit", "--steps=3"], capture_output=True, text=True, timeout=120
  )
  assert done.returncode == 0, done.stderr
  assert "LPP" in done.stdout
