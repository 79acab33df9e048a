"""Attacks in the pass: observations, tables, kept images, and the same again after an interruption."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data.sources import Example, Source
from biasjax.engine import evaluate
from biasjax.models.architecture import RESNET18
from biasjax.models.load import Model
from biasjax.ops.attacks import threat
from biasjax.probes import adversary
from biasjax.report import adversarial
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from made_images import encoded, pixels

PROBE = "autoattack:eps=1+8:attacks=apgd-ce+apgd-t+square:steps=3:queries=8"
COUNT = 7


def apply(variables, images):
  """Six classes from 8 x 8 means, the other 994 far behind."""
  small = images.reshape(len(images), 8, 28, 8, 28, 3).mean((2, 4)).reshape(len(images), -1)
  return jnp.pad((small - 0.5) @ variables["w"], ((0, 0), (0, 994)), constant_values=-50.0)


@pytest.fixture(scope="module")
def model():
  weights = np.random.default_rng(0).normal(0, 3, (192, 6)).astype(np.float32)
  return Model("made", RESNET18, {"w": weights}, apply, "made", {})


@pytest.fixture(scope="module")
def source(model):
  """Pictures with the label that the model gives them, but for one."""
  images = [pixels(224, 224, seed=seed) for seed in range(COUNT)]
  unit = jnp.asarray(np.stack(images), jnp.float32) / 255
  labels = np.array(jnp.argmax(apply(model.variables, unit), axis=1))
  labels[3] = (labels[3] + 1) % 6

  def read(index):
    return Example(encoded(images[index], "PNG"), int(labels[index]), f"{index}.png")

  return Source("made", COUNT, read, "pictures", "memory")


def run(model, source, workdir, batch_size=4, keep=5) -> Store:
  store = Store(workdir, 4)
  settings = evaluate.Settings(batch_size=batch_size, keep_adversarial=keep)
  evaluate.evaluate([model], [probes.get(PROBE)], source, store, settings)
  return store


@pytest.fixture(scope="module")
def stored(model, source, tmp_path_factory) -> Store:
  return run(model, source, tmp_path_factory.mktemp("attacked"))


def observations(store: Store) -> pd.DataFrame:
  (unit,) = store.units()
  return store.read(unit)[0]


def test_observations_say_what_broke_each_image_at_what_loss_and_distance(stored):
  table = observations(stored)
  assert len(table) == 2 * COUNT
  wrong = table[table["example_id"] == "3.png"]
  assert list(wrong["broken_by"]) == ["clean", "clean"]
  assert list(wrong["norm"]) == [0, 0]
  # What the pass saw again on the stored image agrees with what the attack saw.
  right = table["rank"] == 0
  assert ((table["broken_by"] == "") == right).all()
  assert ((table["loss"] < 0) == right).all()
  for condition, eps in (("eps=1", 1 / 255), ("eps=8", 8 / 255)):
    norms = table["norm"][table["condition"] == condition]
    assert norms.max() <= eps + threat.rounding("linf", (224, 224, 3), np.dtype(np.float32), eps)
  broken = (~right).groupby(table["condition"]).sum()
  assert 1 <= broken["eps=1"] <= broken["eps=8"] <= COUNT
  assert broken["eps=8"] > 1


def test_accuracy_is_over_the_true_number_of_images(stored):
  """Seven images in batches of four: the padded row counts for nothing."""
  metrics = summarise(stored, probes.get).metrics.set_index("metric")
  table = observations(stored)
  right = (table["rank"] == 0).groupby(table["condition"]).sum()
  name = f"top1_acc/{PROBE.replace('autoattack', 'AutoAttack')}/eps=1"
  assert metrics.loc[name, "n"] == COUNT
  assert metrics.loc[name, "value"] == pytest.approx(100 * right["eps=1"] / COUNT)


def test_another_batch_size_gives_the_same_observations(model, source, stored, tmp_path):
  table, other = observations(stored), observations(run(model, source, tmp_path, batch_size=2))
  same = ["condition", "example_id", "prediction", "rank", "broken_by"]
  pd.testing.assert_frame_equal(table[same], other[same])


def test_kept_images_are_those_that_were_observed(model, source, stored):
  files = sorted((stored.workdir / "adversarial").glob("made/*/made/*/*.npz"))
  assert [file.name for file in files] == ["00000000-00000004.npz", "00000004-00000007.npz"]
  (kept,) = filter(None, (stored.read_adversarial(unit, 8) for unit in stored.units()))
  assert list(kept["example_id"]) == [f"{i}.png" for i in range(5)]
  table = observations(stored)
  for condition in ("eps=1", "eps=8"):
    images = kept[f"adversarial/{condition}"]
    of_condition = table[table["condition"] == condition].head(5)
    said = np.argmax(apply(model.variables, jnp.asarray(images)), axis=1)
    np.testing.assert_array_equal(said, of_condition["prediction"])
    clean = kept["clean"] / np.float32(255)
    np.testing.assert_allclose(threat.measured_norms("linf", clean, images), of_condition["norm"], atol=1e-7)


def test_kept_images_are_drawn_clean_perturbed_and_their_difference(stored):
  (path,) = adversarial.draw_all(stored)
  assert path.read_bytes().startswith(b"\x89PNG")
  clean = np.full((4, 4, 3), 51, np.uint8)
  moved = np.full((4, 4, 3), 0.2, np.float32)
  moved[1, 2, 0] += 2 / 255
  moved[0, 0, 1] -= 1 / 255
  picture, largest = adversarial.difference(clean, moved)
  assert largest == pytest.approx(2, rel=1e-4)
  assert picture[1, 2, 0] == pytest.approx(1)
  assert picture[0, 0, 1] == pytest.approx(0.25, abs=1e-4)
  assert picture[3, 3, 2] == pytest.approx(0.5, abs=1e-5)


def test_an_interrupted_run_ends_with_the_same_observations(model, source, stored, tmp_path, monkeypatch):
  write = Store.write

  def interrupted(self, unit, chunk, *rest, **more):
    if chunk[0]:
      raise KeyboardInterrupt
    write(self, unit, chunk, *rest, **more)

  with monkeypatch.context() as patch:
    patch.setattr(Store, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
      run(model, source, tmp_path)
  pd.testing.assert_frame_equal(observations(run(model, source, tmp_path)), observations(stored))


def test_the_first_attack_counts_and_what_stays_right_keeps_its_worst_image():
  images = np.zeros((3, 2, 2, 3), np.float32)
  look = adversary.Look(np.array([True, True, False]), np.array([-1.0, -1.0, 2.0]), images, images)
  outcome = adversary.Progress.of_clean(images, look)
  rows = np.array([0, 1])
  for value, margins, right in ((0.1, [-0.5, -0.9], [True, True]), (0.2, [-0.7, 0.3], [True, False])):
    found = np.full((2, 2, 2, 3), value, np.float32)
    said = adversary.Look(np.array(right), np.array(margins), found, found)
    outcome.take(rows, found, said, f"attack {value}", keep=True)
  assert list(outcome.broken_by) == ["", "attack 0.2", "clean"]
  np.testing.assert_allclose(outcome.images[:, 0, 0, 0], [0.1, 0.2, 0.0])
  np.testing.assert_allclose(outcome.margin, [-0.5, 0.3, 2.0])
