"""The pass: right numbers, for any batch size and any number of interruptions."""

import dataclasses
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import preprocess, sources
from biasjax.data.classes import SUBSETS, subset
from biasjax.engine import evaluate, programs
from biasjax.errors import BiasjaxError
from biasjax.models.load import Model
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from killed import killed_after
from made_images import class_folder, encoded, pixels
from made_models import ARCHITECTURE, made_model, network

COUNTS = {"n01440764": 4, "n01443537": 3, "n15075141": 4}
CONTINUOUS = ["confidence", "nll", "brier"]


@pytest.fixture
def source(tmp_path):
  return sources.folder(class_folder(tmp_path / "images", COUNTS), "made")


def run(models, names, source, workdir, *, chunk_size=4, batch_size=3, **of_settings) -> Store:
  store = Store(workdir, chunk_size)
  settings = evaluate.Settings(batch_size=batch_size, **of_settings)
  evaluate.evaluate(models, [probes.get(name) for name in names], source, store, settings)
  return store


def table(store: Store) -> pd.DataFrame:
  tables = [store.read(unit)[0] for unit in store.units()]
  columns = ["model", "probe", "condition", "example_id"]
  return pd.concat(tables).sort_values(columns, ignore_index=True)


def oracle(model: Model, source: sources.Source, perturb) -> pd.DataFrame:
  """One image at a time, in NumPy but for the network."""
  rows = []
  for example in map(source.read, range(source.length)):
    image = preprocess.preprocess(example.encoded).astype(np.float32) / np.float32(255)
    scores = np.asarray(model.apply(model.variables, jnp.asarray(perturb(image)[None])), np.float64)[0]
    order = np.argsort(-scores, kind="stable")
    softmax = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    rank = int(np.flatnonzero(order == example.label)[0])
    brier = np.sum((softmax - (np.arange(1000) == example.label)) ** 2)
    nll = -np.log(softmax[example.label])
    rows.append((example.example_id, example.label, order[0], rank, softmax.max(), nll, brier))
  return pd.DataFrame(rows, columns=["example_id", "label", "prediction", "rank", *CONTINUOUS])


def low_pass(image: np.ndarray, radius: int) -> np.ndarray:
  centred = np.fft.fftshift(np.fft.fft2(image.astype(np.float64), axes=(0, 1)), axes=(0, 1))
  mask = np.zeros_like(centred)
  mask[112 - radius : 112 + radius, 112 - radius : 112 + radius] = 1
  filtered = np.fft.ifft2(np.fft.ifftshift(centred * mask, axes=(0, 1)), axes=(0, 1)).real
  return np.clip(filtered, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
  ("probe", "condition", "perturb"),
  [
    ("accuracy", "clean", lambda image: image),
    ("spectral", "low/0.2", lambda image: low_pass(image, 22)),
  ],
)
def test_observations_are_what_one_image_at_a_time_gives(tmp_path, source, probe, condition, perturb):
  model = made_model("a", 0)
  found = table(run([model], [probe], source, tmp_path / "out"))
  found = found[found["condition"] == condition].reset_index(drop=True)
  expected = oracle(model, source, perturb)
  for column in ("example_id", "label", "prediction", "rank"):
    np.testing.assert_array_equal(found[column], expected[column])
  for column in CONTINUOUS:
    np.testing.assert_allclose(found[column], expected[column], rtol=1e-4)


def test_observations_do_not_depend_on_batch_or_chunk_size_or_company(tmp_path, source):
  a, b = made_model("a", 0), made_model("b", 1)
  alone = table(run([a], ["accuracy", "spectral"], source, tmp_path / "1", chunk_size=11, batch_size=11))
  others = table(run([b, a], ["spectral", "accuracy"], source, tmp_path / "2", chunk_size=5, batch_size=2))
  others = others[others["model"] == "a"].reset_index(drop=True)
  exact = [column for column in alone.columns if column not in CONTINUOUS]
  pd.testing.assert_frame_equal(alone[exact], others[exact])
  for column in CONTINUOUS:
    np.testing.assert_allclose(alone[column], others[column], rtol=1e-5)


def contents(workdir) -> dict[str, bytes]:
  return {str(p.relative_to(workdir)): p.read_bytes() for p in sorted(workdir.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("written", [0, 1, 2])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path, source, monkeypatch, written):
  model = made_model("a", 0)
  run([model], ["accuracy"], source, tmp_path / "whole")
  with killed_after(written, monkeypatch):
    run([model], ["accuracy"], source, tmp_path / "cut")
  run([model], ["accuracy"], source, tmp_path / "cut", batch_size=3)
  assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_what_is_there_is_not_computed_again(tmp_path, source, monkeypatch):
  a, b = made_model("a", 0), made_model("b", 1)
  run([a], ["accuracy"], source, tmp_path / "out")
  write, written = Store.write, []

  def noted(self, unit, chunk, *rest, **more):
    written.append((unit.model, chunk))
    write(self, unit, chunk, *rest, **more)

  monkeypatch.setattr(Store, "write", noted)
  run([a, b], ["accuracy"], source, tmp_path / "out")
  assert written == [("b", chunk) for chunk in [(0, 4), (4, 8), (8, 11)]]
  run([a, b], ["accuracy"], source, tmp_path / "out")
  assert len(written) == 3


def test_a_damaged_chunk_is_computed_again(tmp_path, source, caplog):
  model = made_model("a", 0)
  run([model], ["accuracy"], source, tmp_path / "out")
  before = contents(tmp_path / "out")
  path = next((tmp_path / "out").rglob("*4-*.parquet"))
  path.write_bytes(path.read_bytes()[:-20])
  with caplog.at_level(logging.WARNING):
    run([model], ["accuracy"], source, tmp_path / "out")
  assert f"{path} is damaged" in caplog.text
  assert contents(tmp_path / "out") == before


def test_an_undecodable_image_is_left_out_of_every_condition(tmp_path, source):
  path = tmp_path / "images/n01443537/n01443537_1.JPEG"
  path.write_bytes(path.read_bytes()[:700])
  source = sources.folder(tmp_path / "images", "made")
  store = run([made_model("a", 0)], ["accuracy", "spectral"], source, tmp_path / "out")
  for unit in store.units():
    observations, excluded = store.read(unit)
    assert list(excluded) == ["n01443537/n01443537_1.JPEG"]
    counts = observations.groupby("condition")["example_id"].nunique()
    assert set(counts) == {10}
    assert len(counts) == len(probes.get(unit.probe).conditions)
  assert summarise(store, probes.get).excluded["made"].keys() == excluded.keys()


def test_logits_that_are_not_finite_stop_that_model_and_not_the_run(tmp_path, source):
  model = made_model("a", 0)
  model.variables["params"]["fc"]["bias"][3] = np.inf
  other = made_model("b", 1)
  store = Store(tmp_path / "out", 4)
  outcome = evaluate.evaluate([model, other], [probes.get("accuracy")], source, store)
  assert list(outcome.stopped) == ["a"]
  assert "logits of 4 image(s) are not finite, e.g. n01440764/" in outcome.stopped["a"]
  assert [unit.model for unit in store.units() if not store.missing(unit)] == ["b"]


def test_a_model_without_the_1000_classes_is_refused(tmp_path, source):
  model = dataclasses.replace(
    made_model("a", 0), architecture=dataclasses.replace(ARCHITECTURE, num_classes=10)
  )
  with pytest.raises(BiasjaxError, match=r"model a, accuracy on made: .*1,000 classes; this one has 10"):
    run([model], ["accuracy"], source, tmp_path / "out")


def test_other_images_under_the_same_name_are_refused(tmp_path, source):
  model = made_model("a", 0)
  run([model], ["accuracy"], source, tmp_path / "out")
  (tmp_path / "images/n01440764/more.png").write_bytes(encoded(pixels(9, 9), "PNG"))
  with pytest.raises(BiasjaxError, match="results for a dataset named 'made' that were made on other images"):
    run([model], ["accuracy"], sources.folder(tmp_path / "images", "made"), tmp_path / "out")


def test_the_same_images_in_the_order_of_a_sample_are_said_to_be_that(tmp_path, source):
  run([made_model("a", 0)], ["accuracy"], source, tmp_path / "out")
  sampled = source.in_random_order(0)
  with pytest.raises(BiasjaxError, match=r"one of the two in the order of a sample \(--margin\)"):
    run([made_model("a", 0)], ["accuracy"], sampled, tmp_path / "out")


def test_one_program_serves_all_conditions_and_all_networks_of_an_architecture(tmp_path, source):
  traced = []

  def counted(name, function):
    def call(*args):
      traced.append(name)
      return function(*args)

    return call

  spectral = probes.get("spectral")
  probe = dataclasses.replace(spectral, perturb=counted("perturb", spectral.perturb))
  apply = counted("apply", network().apply)
  models = [dataclasses.replace(made_model(str(seed), seed), apply=apply) for seed in range(3)]
  settings = evaluate.Settings(batch_size=3)
  evaluate.evaluate(models, [probe], source, Store(tmp_path / "out", 4), settings)
  # Once to be compiled; what is perturbed also once for the key.
  assert sorted(traced) == ["apply", "perturb", "perturb"]


def test_one_program_of_a_network_serves_every_decision(tmp_path, source):
  traced = []

  def apply(variables, images):
    traced.append(images.shape)
    return network().apply(variables, images)

  model = dataclasses.replace(made_model("a", 0), apply=apply)
  for kind in ("imagenet", "imagenet_a", "imagenet_r", "categories16"):
    label = subset(kind)[0] if kind in SUBSETS else 0

    def read(index, label=label):
      return dataclasses.replace(source.read(index), label=label)

    of_kind = dataclasses.replace(source, name=kind, labels=kind, read=read)
    evaluate.evaluate([model], [probes.get("accuracy")], of_kind, Store(tmp_path / "out", 4))
  assert len(traced) == 1


def test_ties_go_to_the_lower_class_in_prediction_and_rank():
  scores = jnp.array([[1.0, 3.0, 3.0, 0.0]] * 4)
  prediction, rank, confidence, _, _ = programs.observation(scores, jnp.arange(4)[:, None])
  np.testing.assert_array_equal(prediction, [1, 1, 1, 1])
  np.testing.assert_array_equal(rank, [2, 0, 1, 3])
  np.testing.assert_allclose(confidence, np.exp(3) / (np.e + 2 * np.exp(3) + 1), rtol=1e-6)


def test_the_key_names_everything_a_number_depends_on(source):
  (unit,), (other_seed,) = (
    evaluate.units([made_model("a", 0)], [probes.get("accuracy")], source, evaluate.Settings(seed=seed))[0]
    for seed in (0, 1)
  )
  assert json.loads(json.dumps(unit.key)) == unit.key
  assert unit.digest != other_seed.digest
  assert {
    "biasjax",
    "model",
    "dataset",
    "preprocess",
    "conditions",
    "parameters",
    "precision",
    "seed",
  } <= set(unit.key)


def test_any_of_several_right_classes_counts():
  scores = jnp.array([[1.0, 4.0, 2.0, 3.0], [5.0, 4.0, 2.0, 3.0], [0.0, 0.0, 1.0, 1.0], [0.0, 2.0, 1.0, 1.0]])
  labels = jnp.array([[2, 1], [2, 1], [3, -1], [3, 2]])
  prediction, rank, _, nll, brier = programs.observation(scores, labels)
  np.testing.assert_array_equal(prediction, [1, 0, 2, 1])
  np.testing.assert_array_equal(rank, [0, 1, 1, 1])
  softmax = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
  best = np.array([1, 1, 3, 2])
  np.testing.assert_allclose(nll, -np.log(softmax[range(4), best]), rtol=1e-5)
  np.testing.assert_allclose(brier, ((softmax - np.eye(4)[best]) ** 2).sum(1), rtol=1e-5)


def said_of_probabilities(caplog):
  return [r.getMessage() for r in caplog.records if "are probabilities" in r.getMessage()]


@pytest.mark.parametrize("power", [1, 100], ids=["soft", "nearly one-hot"])
def test_scores_that_are_probabilities_are_noticed_once(source, tmp_path, caplog, power):
  def apply(variables, images):
    return jax.nn.softmax(power * network().apply(variables, images))

  made = made_model("soft", 1)
  soft = dataclasses.replace(made, apply=apply, fingerprint=f"probabilities, {power}")
  run([soft, made_model("plain", 2)], ["accuracy"], source, tmp_path / "a")
  run([soft], ["accuracy"], source, tmp_path / "b")
  assert len(said_of_probabilities(caplog)) == 1
  assert "model soft: its scores are probabilities (they add up to 1)" in said_of_probabilities(caplog)[0]


@pytest.mark.parametrize(
  "other",
  [jax.nn.sigmoid, jax.nn.log_softmax, lambda x: x / jnp.sum(x, axis=1, keepdims=True)],
  ids=["sigmoid", "logarithms", "sum 1 with negatives"],
)
def test_other_scores_are_not_taken_for_probabilities(source, tmp_path, caplog, other):
  def apply(variables, images):
    return other(network().apply(variables, images))

  made = dataclasses.replace(made_model("other", 1), apply=apply, fingerprint=f"other {other}")
  run([made], ["accuracy"], source, tmp_path / "a")
  assert not said_of_probabilities(caplog)


def test_a_network_that_normalises_over_the_batch_is_left_out(source, tmp_path):
  def over_the_batch(variables, images):
    logits = network().apply(variables, images)
    return (logits - logits.mean(0, keepdims=True)) / logits.std(0, keepdims=True)

  made = made_model("mixing", 1)
  mixing = dataclasses.replace(made, apply=over_the_batch, fingerprint="mixing")
  store = Store(tmp_path / "out", 4)
  asked = [probes.get("accuracy")]
  outcome = evaluate.evaluate(
    [mixing, made_model("own", 2)], asked, source, store, evaluate.Settings(batch_size=4)
  )
  assert list(outcome.stopped) == ["mixing"]
  assert "depend on the other images of the batch" in outcome.stopped["mixing"]
  assert [unit.model for unit in store.units() if store.has(unit, (0, 4))] == ["own"]
