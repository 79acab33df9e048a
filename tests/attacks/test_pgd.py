"""PGD and FGSM against foolbox, on the same networks, images and starting points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_victims import attacked, victim
from small_scores import pictures, predictions, scores, torch_perceptron, weights

from biasjax import probes
from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import loop, pgd, threat

WEIGHTS = weights()
# Less than a 40th of the way to the budget, so that iterates do not only sit in corners.
EPS = {"linf": 0.05, "l2": 0.5}


@pytest.fixture
def double():
  """Double precision for one test."""
  with jax.enable_x64(True):
    yield


def foolbox_images(foolbox, attack, images, labels, start, eps) -> np.ndarray:
  """What foolbox's attack ends with, from `start`, in double precision."""
  import torch

  def there(array):
    return torch.from_numpy(np.moveaxis(np.asarray(array, np.float64), -1, 1).copy())

  model = foolbox.PyTorchModel(torch_perceptron(WEIGHTS), bounds=(0, 1), device="cpu")
  if start is not None:
    attack.get_random_start = lambda x0, epsilon: type(x0)(there(start))
  images, _, _ = attack(model, there(images), torch.from_numpy(labels.astype(np.int64)), epsilons=eps)
  return np.moveaxis(images.numpy(), 1, -1)


def our_images(attack: pgd.Pgd, images, labels, start, eps) -> np.ndarray:
  n = len(images)
  task = loop.Task(
    jax.random.split(jax.random.key(0), n),
    jnp.asarray(images, jnp.float64),
    jnp.asarray(labels)[:, None],
    jnp.zeros(n, jnp.int32),
    jnp.asarray(start if start is not None else images, jnp.float64),
  )
  by, budget = functools.partial(scores, jax.tree.map(np.float64, WEIGHTS)), jnp.float64(eps)

  @jax.jit
  def all_steps(task):
    ends = jnp.int32(0), jnp.int32(attack.steps)
    return loop.steps_between(attack, by, budget, *ends, task, attack.start(budget, task))

  return np.asarray(all_steps(task).adversarial)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_ends_where_foolbox_does_from_the_same_start(foolbox, double, norm):
  images, eps = pictures(6), EPS[norm]
  labels = predictions(WEIGHTS, images)
  start = np.asarray(
    threat.within(
      norm, jax.random.split(jax.random.key(5), 6), jnp.asarray(images, jnp.float64), jnp.float64(eps)
    )
  )
  if norm == "linf":
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=eps / 7, steps=40)
  else:
    theirs = foolbox.attacks.L2PGD(abs_stepsize=eps / 7, steps=40)
  expected = foolbox_images(foolbox, theirs, images, labels, start, eps)
  ours = pgd.Pgd(norm, 40, 1 / 7, relative=True, start_at="task")
  found = our_images(ours, images, labels, start, eps)
  assert np.abs(found - expected).max() < 1e-6
  assert np.abs(found - images).max() > 0.01  # it went somewhere


def test_fgsm_is_that_of_foolbox(foolbox, double):
  images = pictures(6)
  labels = predictions(WEIGHTS, images)
  theirs = foolbox.attacks.LinfFastGradientAttack()
  expected = foolbox_images(foolbox, theirs, images, labels, None, 0.03)
  attack = pgd.Pgd("linf", 1, 1.0, relative=True, start_at="image")
  np.testing.assert_allclose(our_images(attack, images, labels, None, 0.03), expected, atol=1e-12)


def test_the_published_pgd_is_40_steps_of_2_255_from_a_random_start():
  probe = probes.get("pgd")
  (low, high) = probe.conditions.values()
  assert (low * 255, high * 255) == (pytest.approx(0.5), pytest.approx(4))
  assert list(probe.conditions) == ["low", "high"]
  described = probe.parameters["attack"]
  assert (described["iterations"], described["start_at"], described["loss"]) == (40, "random", "ce")
  assert described["step_size"] * 255 == pytest.approx(2)


def test_a_curve_of_budgets_never_rises_and_keeps_what_is_broken():
  images = pictures(16, 3)
  labels = predictions(WEIGHTS, images)
  probe = probes.get("pgd:eps=0+1+2+4+8+16:curve=yes:steps=5")
  found = attacked(probe, victim(WEIGHTS), images, labels)
  right = np.array([predictions(WEIGHTS, adversarial) == labels for adversarial, _ in found.values()])
  assert right[0].all()
  assert not (~right[:-1] & right[1:]).any()
  assert right.sum(1)[-1] < right.sum(1)[1]


def valleys(variables, images):
  """Two classes, by how far the first pixel is from .5: below it there is no way out, far above it there is.

  Near .5 it is steeper below, so that a small budget ends there and a larger one must start elsewhere.
  """
  moved = images[:, 0, 0, 0] - 0.5
  margin = jnp.where(moved < 0, -5 * moved, moved + 39 * jnp.maximum(moved - 0.03, 0)) - 1
  return jnp.stack([jnp.zeros_like(margin), margin * variables], axis=1)


def test_restarts_of_a_curve_of_budgets_leave_the_smaller_ones_result():
  images, right = np.full((32, 4, 4, 3), 0.5, np.float32), np.zeros(32, int)
  found = {}
  for restarts in (1, 9):
    probe = probes.get(f"pgd:eps=5+25:curve=yes:restarts={restarts}:keep=best")
    (_, small), (_, large) = attacked(probe, victim(np.float32(1), of=valleys), images, right).values()
    assert (small["broken_by"] == "").all()
    found[restarts] = (large["broken_by"] == "pgd").sum()
  # Each start at random is above .5 with probability 1/2: of 32 images 1/8 stay, if there are 8 of these.
  assert found[1] < 32
  assert found[9] >= 31


def test_no_budget_gives_the_clean_image():
  images = pictures(5)
  for name in ("pgd:eps=0:steps=2", "pgd:eps=0:norm=l2:steps=2", "fgsm:eps=0"):
    ((found, columns),) = attacked(
      probes.get(name), victim(WEIGHTS), images, predictions(WEIGHTS, images)
    ).values()
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(columns["norm"], 0)


def test_an_image_that_is_wrong_already_is_left_as_it_is():
  images = pictures(5)
  labels = predictions(WEIGHTS, images)
  labels[2] = (labels[2] + 1) % 6
  ((found, columns),) = attacked(probes.get("pgd:eps=1:steps=2"), victim(WEIGHTS), images, labels).values()
  assert columns["broken_by"][2] == "clean"
  np.testing.assert_array_equal(found[2], images[2])
  assert (columns["norm"] > 0).tolist() == [True, True, False, True, True]


def test_restarts_and_the_best_iterate_break_no_fewer_images():
  images = pictures(16, 4)
  labels = predictions(WEIGHTS, images)
  broken = {}
  for options in ("", ":keep=best", ":restarts=3", ":keep=best:restarts=3"):
    probe = probes.get(f"pgd:eps=8:steps=3:step=4{options}")
    ((_, columns),) = attacked(probe, victim(WEIGHTS), images, labels).values()
    broken[options] = columns["broken_by"] == "pgd"
  assert not (broken[":restarts=3"] < broken[""]).any()
  assert broken[":keep=best:restarts=3"].sum() >= broken[":keep=best"].sum() >= broken[""].sum() > 0
  assert not broken[""].all()


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("pgd:eps=2+1", "pgd: eps=2\\+1: expected ascending numbers"),
    ("pgd:steps=0", "pgd: steps=0: expected a whole number from 1 on"),
    ("pgd:step=-1", "pgd: step=-1: expected a positive number"),
    ("pgd:norm=l1", "pgd: norm=l1: expected one of linf, l2"),
    ("pgd:start=image:restarts=2", "would all be the same attack"),
    ("autoattack:attacks=apgd", "autoattack: attacks=apgd: expected one of apgd-ce"),
    ("autoattack:queries=many", "autoattack: queries=many: expected a whole number"),
    ("pgd:eps=8/255", "eps=8/255: budgets are in 1/255 already: eps=8$"),
    ("pgd:step=2/255", "step=2/255: steps are in 1/255 already: step=2$"),
    ("fgsm:eps=nan", "fgsm: eps=nan: expected ascending numbers"),
  ],
)
def test_a_mistaken_option_is_named(name, message):
  with pytest.raises(BiasjaxError, match=message):
    probes.get(name)
