"""AutoAttack: as strong as the published package, exact in its budgets, the same on any number of devices."""

import functools
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_victims import attacked, key_data, victim
from small_scores import pictures, predictions, scores, torch_perceptron, weights

from biasjax import partition, probes
from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import apgd, loop, square, threat
from biasjax.probes import adversary
from deadline import DEADLINE_S

WEIGHTS = weights()
IMAGES = pictures(64, 7)
LABELS = predictions(WEIGHTS, IMAGES)
# Budgets that about half of the pictures withstand.
EPS = {"linf": "1.5", "l2": "0.1"}
# Square knows no gradients and needs more.
SQUARE_EPS = {"linf": "3", "l2": "0.25"}


# One probe in most tests, so that its programs are compiled once.
SMALL = "steps=10:queries=50"


def absolute(norm: str, eps: str) -> float:
  return float(eps) / 255 if norm == "linf" else float(eps)


def published(attack: str, norm: str, eps: str, queries: int) -> np.ndarray:
  """Which of `IMAGES` withstand the authors' package."""
  torch = pytest.importorskip("torch", reason="parity tests need torch")
  pyautoattack = pytest.importorskip("pyautoattack", reason="parity tests need pyautoattack")
  torch.set_num_threads(1)  # more of them fight with JAX's over matrices as small as these
  x = torch.from_numpy(np.moveaxis(IMAGES, -1, 1).copy())
  model, y = torch_perceptron(WEIGHTS), torch.from_numpy(LABELS.astype(np.int64))
  run = pyautoattack.AutoAttack(
    model,
    attacks=[attack],
    version="custom",
    norm={"linf": "Linf", "l2": "L2"}[norm],
    eps=absolute(norm, eps),
    seed=0,
  )
  run.apgd.n_restarts = run.apgd_targeted.n_restarts = run.fab.n_restarts = 1
  run.apgd_targeted.n_target_classes = run.fab.n_target_classes = 5
  run.square.n_queries = queries
  run.apgd.n_iter = run.apgd_targeted.n_iter = run.fab.n_iter = 50
  found = run.run_standard_evaluation(x, y, batch_size=len(x))
  found = found[0] if isinstance(found, tuple) else found
  return (model(found).argmax(1) == y).numpy()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_squares_shrink_as_in_the_authors_package(norm):
  pytest.importorskip("torch", reason="parity tests need torch")
  package = pytest.importorskip("pyautoattack", reason="parity tests need pyautoattack")
  theirs = package.AutoAttack(None, norm="Linf", eps=1.0, version="standard", device="cpu").square
  queries, size = theirs.n_queries, 224
  assert queries == 5000
  shares = np.array([theirs.p_selection(i) for i in range(queries - 1)])
  expected = np.rint(np.sqrt(shares * size**2))
  if norm == "l2":  # odd, at least 3, and within the image
    expected = np.minimum(expected + 1 - expected % 2, size - 1)
  np.testing.assert_array_equal(square.sides(queries, size, size, norm)[1:], expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_an_attack_is_as_strong_as_the_published_one(attack, norm):
  eps = (SQUARE_EPS if attack == "square" else EPS)[norm]
  probe = probes.get(f"autoattack:eps={eps}:norm={norm}:attacks={attack}:queries=300:steps=50")
  ((images, columns),) = attacked(probe, victim(WEIGHTS), IMAGES, LABELS).values()
  here = predictions(WEIGHTS, images) == LABELS
  there = published(attack, norm, eps, 300)
  assert 0.1 < there.mean() < 0.9
  # Square is random: of 64 pictures, a few are broken by luck.
  assert here.sum() - there.sum() <= (4 if attack == "square" else 1)
  assert set(columns["broken_by"]) == {"", attack}
  assert ((columns["broken_by"] == "") == here).all()


def test_masked_gradients_fool_pgd_but_not_autoattack():
  """Scores so large that the softmax saturates: the cross-entropy's gradient is exactly zero."""
  masked = weights(scale=1e4)
  images, labels = IMAGES[:16], LABELS[:16]
  with_gradients, without = (
    attacked(probes.get("pgd:eps=8:steps=20:start=image"), victim(w), images, labels)["eps=8"][1]
    for w in (WEIGHTS, masked)
  )
  assert (with_gradients["broken_by"] == "pgd").mean() > 0.9
  assert (without["broken_by"] == "").mean() > 0.9
  assert without["norm"][without["broken_by"] == ""].max() == 0
  probe = probes.get(f"autoattack:eps=8:{SMALL}")
  ((found, columns),) = attacked(probe, victim(masked), images, labels).values()
  assert (columns["broken_by"] == "apgd-t").mean() > 0.9
  assert (predictions(masked, found) == labels).mean() < 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(eps=st.sampled_from([0.0, 0.01, 0.5, 3.0, 700.0]), seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_budget_is_never_exceeded_and_images_stay_in_range(norm, eps, seed):
  images = pictures(4, seed)
  labels = predictions(WEIGHTS, images)
  probe = probes.get(f"autoattack:eps={eps:g}:norm={norm}:{SMALL}")
  ((found, columns),) = attacked(probe, victim(WEIGHTS), images, labels).values()
  slack = threat.rounding(norm, images.shape[1:], images.dtype, absolute(norm, str(eps)))
  assert threat.measured_norms(norm, images, found).max() <= absolute(norm, str(eps)) + slack
  assert found.min() >= 0
  assert found.max() <= 1
  np.testing.assert_array_equal(columns["norm"], threat.measured_norms(norm, images, found))
  if eps == 0:
    np.testing.assert_array_equal(found, images)
    assert (columns["broken_by"] == "").all()


def test_a_perturbation_beyond_its_budget_is_noticed():
  on = adversary.Adversary(victim(WEIGHTS), IMAGES[:4], LABELS[:4, None], "linf")
  outcome = adversary.Progress.of_clean(IMAGES[:4], on.clean)
  outcome.images[1, 0, 0, 0] = 1 - outcome.images[1, 0, 0, 0]
  with pytest.raises(RuntimeError, match="exceeds its budget"):
    on.attacked("eps=1", 1 / 255, outcome)


def test_results_depend_neither_on_batch_size_nor_on_company():
  probe = probes.get(f"autoattack:eps=1:{SMALL}")
  ((whole, columns),) = attacked(probe, victim(WEIGHTS), IMAGES[:16], LABELS[:16]).values()
  assert 2 < (columns["broken_by"] == "").sum() < 14
  order = np.random.default_rng(0).permutation(16)
  for rows in order.reshape(4, 4):
    ((part, of_part),) = attacked(probe, victim(WEIGHTS), IMAGES[rows], LABELS[rows], rows).values()
    np.testing.assert_allclose(part, whole[rows], atol=1e-6)
    np.testing.assert_array_equal(of_part["broken_by"], columns["broken_by"][rows])


def test_the_loop_on_the_device_gives_what_the_loop_on_the_host_gives():
  probe = probes.get(f"autoattack:eps=1:{SMALL}")
  sequence = probe.attack.keywords["sequence"]
  found = []
  for on_host in (True, False):
    on = adversary.Adversary(victim(WEIGHTS), IMAGES[:16], LABELS[:16, None], "linf", on_host=on_host)
    found.append(on.attack(sequence, 1 / 255, key_data(range(16))))
  np.testing.assert_allclose(found[0].images, found[1].images, atol=1e-6)
  np.testing.assert_array_equal(found[0].broken_by, found[1].broken_by)
  assert 0 < found[0].right.sum() < 16


def test_fewer_than_four_competing_classes_are_refused_by_name():
  three = weights(classes=3)
  labels = predictions(three, IMAGES)
  message = "apgd-t compares the best 4 classes, but only 3 compete here"
  with pytest.raises(BiasjaxError, match=message):
    attacked(probes.get("autoattack:steps=2"), victim(three), IMAGES[:4], labels[:4])
  probe = probes.get("autoattack:steps=2:attacks=apgd-ce+fab-t")
  ((_, columns),) = attacked(probe, victim(three), IMAGES[:4], labels[:4]).values()
  assert len(columns["broken_by"]) == 4


def masked_scores(variables, images):
  """Only the first four of the six classes compete."""
  of_images = scores(variables, images)
  return jnp.where(jnp.arange(6)[None] < 4, of_images, -jnp.inf)


def test_classes_that_do_not_compete_are_neither_targets_nor_predictions():
  on = victim(WEIGHTS, of=masked_scores)
  pictured = IMAGES[:16]
  labels = np.array(jnp.argmax(masked_scores(WEIGHTS, jnp.asarray(pictured)), 1))
  ((images, columns),) = attacked(probes.get(f"autoattack:eps=4:{SMALL}"), on, pictured, labels).values()
  assert np.isfinite(images).all()
  assert np.isfinite(columns["loss"]).all()
  said = np.array(jnp.argmax(masked_scores(WEIGHTS, jnp.asarray(images)), 1))
  assert (said < 4).all()
  assert (said != labels).mean() > 0.5


def test_what_is_still_right_is_gathered_into_few_sizes():
  assert adversary.group_sizes(256, 1) == (256, 64, 16)
  assert adversary.group_sizes(64, 8) == (64, 16, 8)
  assert adversary.group_sizes(3, 1) == (3,)
  for count in range(1, 150):
    found = list(adversary.groups(count, (64, 16, 4)))
    assert sum(used for used, _ in found) == count
    assert all(2 * used > size or size == 4 for used, size in found)


def test_accuracy_after_each_attack_follows_from_what_broke_what():
  probe = probes.get("autoattack")
  table = pd.DataFrame(
    {
      "condition": "eps=4",
      "example_id": list("abcde"),
      "rank": [0, 3, 1, 2, 5],
      "label": range(5),
      "prediction": [0, 9, 9, 9, 9],
      "broken_by": ["", "clean", "apgd-ce", "square", "apgd-t"],
    }
  )
  metrics = {m.name: (m.value, m.n) for m in probe.summarise({"autoattack": table})}
  assert metrics == {
    "top1_acc/AutoAttack/eps=4": (20.0, 5),
    "top1_acc/AutoAttack/eps=4/after apgd-ce": (60.0, 5),
    "top1_acc/AutoAttack/eps=4/after apgd-t": (40.0, 5),
    "top1_acc/AutoAttack/eps=4/after fab-t": (40.0, 5),
  }


def test_checkpoints_are_those_of_the_paper():
  """p_0 = 0, p_1 = .22, p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06); w_j = ceil(100 p_j)."""
  at = np.flatnonzero(apgd.checkpoints(100))
  np.testing.assert_array_equal(at, [22, 41, 57, 70, 80, 87, 93, 99])


def test_every_loop_ends_early_once_all_is_broken():
  steps = []

  class Counted(square.Square):
    def step(self, scores, eps, i, task, state):
      jax.debug.callback(lambda: steps.append(1))
      return super().step(scores, eps, i, task, state)

  n = 4
  task = loop.Task(
    jax.random.split(jax.random.key(0), n),
    jnp.asarray(IMAGES[:n]),
    jnp.asarray((LABELS[:n, None] + 1) % 6),
    jnp.zeros(n, jnp.int32),
    jnp.asarray(IMAGES[:n]),
  )
  attack, asked = Counted("linf", 100), functools.partial(scores, WEIGHTS)
  eps, ends = jnp.float32(0.001), (jnp.int32(0), jnp.int32(100))
  state = loop.steps_between(attack, asked, eps, *ends, task, attack.start(eps, task))
  jax.effects_barrier()
  assert state.broken.all()
  assert len(steps) == 1


FOUR = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
sys.path[:0] = [".", "tests/attacks"]
import numpy as np
from biasjax import partition, probes
from made_victims import attacked, victim
from small_scores import pictures, predictions, weights
images = pictures(64, 7)[:16]
labels = predictions(weights(), images)
probe = probes.get("autoattack:eps=1:steps=6:queries=12:attacks=apgd-t+square")
found = {}
for kind in partition.KINDS:
  on = victim(weights(), split=partition.Partition(kind))
  assert len(on.partition.devices) == 4
  ((found[f"{kind}_images"], columns),) = attacked(probe, on, images, labels).values()
  found[f"{kind}_broken"] = columns["broken_by"].astype(str)
np.savez(sys.argv[1], **found)
"""


def test_results_do_not_depend_on_the_number_of_devices_or_the_partitioner(tmp_path):
  probe = probes.get("autoattack:eps=1:steps=6:queries=12:attacks=apgd-t+square")
  ((images, columns),) = attacked(probe, victim(WEIGHTS), IMAGES[:16], LABELS[:16]).values()
  root = pathlib.Path(__file__).parents[2]
  subprocess.run([sys.executable, "-c", FOUR, tmp_path / "out.npz"], cwd=root, check=True, timeout=DEADLINE_S)
  found = np.load(tmp_path / "out.npz")
  for kind in partition.KINDS:
    np.testing.assert_allclose(found[f"{kind}_images"], images, atol=1e-6)
    np.testing.assert_array_equal(found[f"{kind}_broken"], columns["broken_by"].astype(str))
