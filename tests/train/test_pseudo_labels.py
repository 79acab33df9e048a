"""Pseudo-labels: clusters that are there are found; a network that answers by the cue labels by the cue."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from biasjax.data import annotations
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.models.architecture import Architecture
from biasjax.train import given, interventions, pseudo_labels, step

ARCHITECTURE = Architecture("basic", (1,), width=4, inner_width=4, num_classes=3)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
CUES = np.array([0, 1, 2, 1, 2, 0, 0, 1])


def test_separated_clusters_are_found_up_to_their_names():
  rng = np.random.default_rng(0)
  of = np.repeat([0, 1, 2], [50, 30, 20])
  features = 5 * np.eye(3)[of] + rng.normal(0, 0.1, (100, 3))
  found, cosine = pseudo_labels.clustered(features, 3, 0)
  np.testing.assert_array_equal(found, of)  # the larger first
  assert cosine.min() > 0.99
  again, _ = pseudo_labels.clustered(features * rng.uniform(1, 9, (100, 1)), 3, 0)  # lengths do not matter
  np.testing.assert_array_equal(again, of)


def encoded(seed: int) -> bytes:
  file = io.BytesIO()
  Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
  return file.getvalue()


def source(cues=CUES) -> Source:
  ids = [f"{i}.png" for i in range(8)]
  return Source(
    **{"name": "made", "length": 8, "fingerprint": "", "location": "here", "labels": "classes"},
    read=lambda i: Example(encoded(int(CUES[i])), int(LABELS[i]), ids[i]),
    resize=None,
    crop=32,
    own_classes=3,
    textures=None if cues is None else dict(zip(ids, cues.tolist(), strict=True)),
  )


def network() -> load.Model:
  """Its features tell only the picture, which is the cue's; its classifier is made to answer by it."""
  variables = step.fresh(ARCHITECTURE, 0)
  model = load.Model("made", ARCHITECTURE, variables, load.apply_function(ARCHITECTURE), "", {})
  _, _, _, features = pseudo_labels.answers(model, source())
  by_cue = np.stack([features[list(CUES).index(cue)] for cue in range(3)])
  kernel = np.linalg.pinv(by_cue) @ (20 * np.eye(3))
  params = variables["params"] | {
    "fc": {"kernel": kernel.astype(np.float32), "bias": np.zeros(3, np.float32)}
  }
  return dataclasses.replace(model, variables=variables | {"params": params})


@pytest.fixture(scope="module")
def biased():
  return network()


@pytest.mark.parametrize("by", ["prediction", "clusters"])
def test_a_network_that_answers_by_the_cue_labels_by_the_cue(biased, by, tmp_path):
  said = pseudo_labels.write(biased, source(), str(tmp_path / "p.csv"), by)
  assert "100.0% of the conflicting examples labelled right, purity 100.0%" in said
  read = annotations.read(str(tmp_path / "p.csv"))
  bias = read.columns["bias"].astype(int)
  assert len(set(zip(bias, CUES, strict=True))) == 3  # one to one
  if by == "prediction":
    np.testing.assert_array_equal(bias, CUES)
  assert "labelled right" not in pseudo_labels.write(biased, source(None), str(tmp_path / "q.csv"), by)


def test_what_it_gets_wrong_is_another_bias(biased, tmp_path):
  pseudo_labels.write(biased, source(), str(tmp_path / "p.csv"), "error")
  read = annotations.read(str(tmp_path / "p.csv"))
  np.testing.assert_array_equal(read.columns["bias"].astype(int), LABELS != CUES)
  assert read.further["confidence"].astype(float)[LABELS == CUES].min() > 0.9


def test_true_labels_as_pseudo_labels_are_the_true_labels(biased, tmp_path):
  """What is trained with is the same, so the networks are, bit for bit."""
  made = source()
  pseudo_labels.write(biased, made, str(tmp_path / "p.csv"), "prediction")
  rows = ["example_id,bias", *(f"{i}.png,{cue}" for i, cue in enumerate(CUES))]
  (tmp_path / "true.csv").write_text("\n".join(rows) + "\n")
  (end,) = interventions.parse("end=1")
  found, true = (given.columns(made, end, str(tmp_path / name)) for name in ("p.csv", "true.csv"))
  np.testing.assert_array_equal(found[0]["bias"], true[0]["bias"])
  assert found[1] == true[1]  # the fingerprint, too


def test_agreement_counts_the_conflicting_examples():
  labels, truth = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0])
  assert pseudo_labels.agreement(1 - truth, labels, truth) == (1.0, 1.0)
  purity, right = pseudo_labels.agreement(labels, labels, truth)
  assert purity == pytest.approx(4 / 6)
  assert right == 0


def test_a_network_of_too_few_classes_is_refused(biased):
  with pytest.raises(BiasjaxError, match="has 3 classes; a label is 7"):
    pseudo_labels.answers(
      biased, dataclasses.replace(source(), read=lambda i: Example(encoded(0), 7, f"{i}.png"))
    )


def test_an_image_that_cannot_be_decoded_is_named(biased):
  torn = dataclasses.replace(
    source(), read=lambda i: Example(encoded(0)[: 70 if i == 5 else None], 0, f"{i}.png")
  )
  with pytest.raises(BiasjaxError, match=r"^here: 5.png cannot be decoded \(.*\): mend or remove it$"):
    pseudo_labels.answers(biased, torn)


@pytest.mark.parametrize(
  ("asked", "message"),
  [
    ({"by": "clusters", "clusters": -1}, "--clusters=-1: expected a number of clusters, to 8 examples"),
    ({"by": "clusters", "clusters": 9}, "--clusters=9"),
    ({"by": "clusters", "seed": -1}, "--seed=-1: expected a whole number from 0"),
    ({"by": "error", "of": 2}, "made answers with 3 classes, and here has 2: other ones"),
    ({"by": "prediction", "output": "none/p.csv"}, "cannot be written: its folder is not there"),
  ],
)
def test_what_cannot_be_labelled_is_refused_before_the_network_is_asked(biased, tmp_path, asked, message):
  asked = dict(asked)
  of, output = asked.pop("of", 3), str(tmp_path / asked.pop("output", "p.csv"))
  unread = dataclasses.replace(source(), own_classes=of, read=lambda _: pytest.fail("it was asked"))
  with pytest.raises(BiasjaxError, match=message):
    pseudo_labels.write(biased, unread, output, **asked)
