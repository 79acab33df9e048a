"""Objectives against their closed forms: nothing here is computed twice by the code under test."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biasjax.errors import BiasjaxError
from biasjax.train import interventions
from biasjax.train.interventions import balanced_logits, end, gce, greedy, lff, reweighted
from biasjax.train.interventions.base import Context

ROWS, CLASSES = 6, 4
RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 2, 3, 1, 0], np.int32)
TARGETS = np.eye(CLASSES, dtype=np.float32)[LABELS]


def logits(scale: float = 1.0) -> np.ndarray:
  return (scale * np.random.default_rng(1).normal(size=(ROWS, CLASSES))).astype(np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
  e = np.exp(x - x.max(1, keepdims=True))
  return e / e.sum(1, keepdims=True)


def entropy(x: np.ndarray) -> np.ndarray:
  return -np.log(softmax(x.astype(np.float64))[np.arange(len(x)), LABELS])


def context(answers, memory=None, columns=None, progress=0.0, features=None) -> Context:
  """One device, networks that answer `answers`."""
  return Context(
    images=jnp.zeros((ROWS, 2, 2, 3)),
    targets=jnp.asarray(TARGETS),
    labels=jnp.asarray(LABELS),
    indices=jnp.arange(ROWS),
    columns={name: jnp.asarray(value) for name, value in (columns or {}).items()},
    memory={name: jnp.asarray(value) for name, value in (memory or {}).items()},
    progress=jnp.float32(progress),
    forward=lambda member, images: (
      answers[member],
      jnp.zeros((ROWS, 1)) if features is None else features,
    ),
    gather=lambda x: x,
  )


def objective(spec: str):
  (intervention,) = interventions.parse(spec)
  return intervention.objective


NAMES = ("balanced_logits", "end", "gce", "greedy", "lff", "reweighted")


@pytest.mark.parametrize("name", NAMES)
def test_strength_zero_is_no_objective_at_all(name):
  assert objective(f"{name}=0") is None
  assert objective(f"{name}=1") is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seen", [0.0, 1.0])
def test_a_strength_that_goes_to_zero_goes_to_plain_training(name, seen):
  """The gradient of the kept network, by a strength of 1e-6, is that of cross-entropy."""
  given = {"label": LABELS, "bias": np.array([0, 1, 1, 0, 1, 1], np.int32)}
  memory = {column: np.full(ROWS, seen, np.float32) for column in ("seen", "biased", "kept")}
  of = objective(f"{name}=1e-6")
  columns = of.prepare(given, CLASSES)
  features = jnp.asarray(np.random.default_rng(3).normal(size=(ROWS, 5)), jnp.float32)

  def loss(kept):
    return of.loss(context([kept, jnp.asarray(logits(2))], memory, columns, 0.5, features))[0]

  expected = (softmax(logits()) - TARGETS) / ROWS
  np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(logits())), expected, atol=2e-5)


def test_the_gradient_of_gce_is_that_of_cross_entropy_times_p_to_the_q():
  x, q = logits(2), 0.7
  p = softmax(x)[np.arange(ROWS), LABELS]
  of_entropy = softmax(x) - TARGETS
  found = jax.grad(lambda z: jnp.sum(gce.amplified(z, jnp.asarray(LABELS), jnp.asarray(TARGETS), q)))(
    jnp.asarray(x)
  )
  np.testing.assert_allclose(found, p[:, None] ** q * of_entropy, atol=1e-6)
  # And so it is that of (1 - p^q) / q, by finite differences in double precision.
  h = 1e-6
  differences = np.zeros_like(x, np.float64)
  for row in range(ROWS):
    for column in range(CLASSES):
      moved = [x.astype(np.float64) for _ in range(2)]
      for sign, each in zip((1, -1), moved, strict=True):
        each[row, column] += sign * h
      up, down = (((1 - softmax(each)[row, LABELS[row]] ** q) / q) for each in moved)
      differences[row, column] = (up - down) / (2 * h)
  np.testing.assert_allclose(found, differences, atol=1e-6)


@pytest.mark.parametrize(("scale", "factor"), [("official", 0.7), ("true", 1.0)])
def test_the_biased_network_of_lff_learns_by_gce(scale, factor):
  memory = {name: np.zeros(ROWS, np.float32) for name in ("seen", "biased", "kept")}
  of = objective(f"lff:scale={scale}=1")
  x = logits(2)

  def loss(biased):
    return of.loss(context([jnp.asarray(logits()), biased], memory, {"label": LABELS}))[0]

  p = softmax(x)[np.arange(ROWS), LABELS]
  expected = factor * p[:, None] ** 0.7 * (softmax(x) - TARGETS) / ROWS
  np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(x)), expected, atol=1e-6)


def test_equal_losses_weigh_one_half_and_no_loss_is_not_nan():
  memory = {"biased": jnp.array([0.5, 2.0, 0.0, 0.0]), "kept": jnp.array([0.5, 2.0, 0.0, 0.0])}
  labels = jnp.array([0, 0, 1, 1])
  found = lff.weights(memory, labels, jnp.arange(4), 2)
  np.testing.assert_allclose(found, [0.5, 0.5, 0.0, 0.0], atol=1e-6)


def test_the_weights_are_relative_to_the_largest_loss_of_the_class_among_all_examples():
  rng = np.random.default_rng(2)
  labels = rng.integers(0, 3, 50).astype(np.int32)
  losses = {name: rng.gamma(1.0, size=50).astype(np.float32) for name in ("biased", "kept")}
  at = np.array([4, 40, 17])
  relative = {
    name: np.array([column[i] / max(column[labels == labels[i]]) for i in at])
    for name, column in losses.items()
  }
  expected = relative["biased"] / (relative["biased"] + relative["kept"])
  memory = {name: jnp.asarray(column) for name, column in losses.items()}
  found = lff.weights(memory, jnp.asarray(labels), jnp.asarray(at), 3)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert 0 <= found.min() <= found.max() <= 1
  turned = np.array([2, 0, 1])[labels]  # classes by other numbers
  np.testing.assert_array_equal(lff.weights(memory, jnp.asarray(turned), jnp.asarray(at), 3), found)


def test_a_constant_loss_is_remembered_as_itself_from_the_first_visit_on():
  memory = {name: jnp.zeros(5) for name in ("seen", "biased", "kept")}
  at = jnp.array([3, 1])
  for visit in range(4):
    memory = lff.remember(memory, at, jnp.array([2.0, 0.5]), jnp.array([1.0, 3.0]), 0.7)
    np.testing.assert_allclose(memory["biased"], [0, 0.5, 0, 2.0, 0], rtol=1e-6, err_msg=str(visit))
    np.testing.assert_allclose(memory["kept"], [0, 3.0, 0, 1.0, 0], rtol=1e-6)
  assert memory["seen"].tolist() == [0, 1, 0, 1, 0]
  later = lff.remember(memory, at, jnp.array([0.0, 0.0]), jnp.array([0.0, 0.0]), 0.7)
  np.testing.assert_allclose(later["biased"], [0, 0.35, 0, 1.4, 0], rtol=1e-6)


def test_the_curriculum_of_greedy_begins_at_a_half_and_ends_at_one():
  assert float(greedy.curriculum(jnp.float32(0), 0.5)) == pytest.approx(0.5, abs=1e-6)
  assert float(greedy.curriculum(jnp.float32(1), 0.5)) == pytest.approx(1.0, abs=1e-6)
  # As published: 20 epochs from 0, offset 10.
  assert float(greedy.curriculum(jnp.float32(19 / 20), 0.5)) == pytest.approx(0.9986, abs=1e-4)


@pytest.mark.parametrize(
  ("biased", "weight"),
  [
    (np.zeros((ROWS, CLASSES)), 1 - 0.5 * 0.5 / CLASSES),  # tells nothing
    (50 * TARGETS, 1 - 0.5 * 0.5),  # certain, and right
    (50 * np.roll(TARGETS, 1, axis=1), 1.0),  # certain, and wrong
  ],
)
def test_greedy_weighs_by_what_the_biased_network_is_sure_of(biased, weight):
  of = objective("greedy=0.5")
  gradient = jax.grad(lambda kept: of.loss(context([kept, jnp.asarray(biased, jnp.float32)]))[0])
  expected = weight * (softmax(logits()) - TARGETS) / ROWS
  np.testing.assert_allclose(gradient(jnp.asarray(logits())), expected, atol=1e-6)


def test_gradient_supervision_is_cross_entropy_against_what_the_biased_network_leaves_of_the_label():
  of, biased = objective("greedy:curve=gs=1"), logits(2)
  left = np.clip(TARGETS - softmax(biased), 0, 1)
  value, _ = of.loss(context([jnp.asarray(logits()), jnp.asarray(biased)]))
  expected = np.mean(entropy(biased) - (left * np.log(softmax(logits()))).sum(1))
  assert float(value) == pytest.approx(expected, rel=1e-5)


def test_nothing_flows_to_greedys_biased_network_through_the_weight():
  of = objective("greedy=1")
  biased = logits(2)
  gradient = jax.grad(lambda b: of.loss(context([jnp.asarray(logits()), b], progress=0.4))[0])
  np.testing.assert_allclose(gradient(jnp.asarray(biased)), (softmax(biased) - TARGETS) / ROWS, atol=1e-6)


# Three classes and three biases, all nine pairs, and what the features are.
PAIRS = [(y, b) for y in range(3) for b in range(3)]
OF_CLASS, OF_BIAS = (np.array(column, np.int32) for column in zip(*PAIRS, strict=True))


@pytest.mark.parametrize(
  ("features", "expected"),
  [
    (np.ones((9, 4)), (1, 0)),  # all equal
    (np.eye(9), (0, 0.5)),  # orthonormal
    (np.eye(3)[OF_CLASS], (0, 0)),  # one direction a class: the best
    (np.eye(3)[OF_BIAS], (1, 0.5)),  # one direction a bias: the worst
  ],
)
def test_end_has_its_four_closed_forms(features, expected):
  found = end.penalties(jnp.asarray(3 * features, jnp.float32), jnp.asarray(OF_CLASS), jnp.asarray(OF_BIAS))
  np.testing.assert_allclose(found, expected, atol=1e-6)


def by_pairs(features, labels, bias):
  """The penalties pair by pair, in double precision."""
  unit = features / np.linalg.norm(features, axis=1, keepdims=True)
  sums, sharing, together, crossing = {}, 0, 0.0, 0
  for i in range(len(unit)):
    for j in range(i):
      cosine = float(unit[i] @ unit[j])
      if bias[i] == bias[j]:
        sums[bias[i]] = sums.get(bias[i], 0.0) + cosine
        sharing += 1
      elif labels[i] == labels[j]:
        together += (1 + cosine) / 2
        crossing += 1
  ortho = sum(map(abs, sums.values())) / sharing if sharing else 0.0
  return ortho, 1 - together / crossing if crossing else 0.0


@pytest.mark.parametrize("biases", [1, 4, 200])
def test_end_is_the_sum_over_pairs(biases):
  rng = np.random.default_rng(biases)
  features = rng.normal(size=(40, 6))
  labels = rng.integers(0, 5, 40).astype(np.int32)
  bias = rng.permutation(200)[:40] if biases == 200 else rng.integers(0, biases, 40)
  bias = bias.astype(np.int32)
  found = end.penalties(jnp.asarray(features, jnp.float32), jnp.asarray(labels), jnp.asarray(bias))
  np.testing.assert_allclose(found, by_pairs(features, labels, bias), atol=1e-5)
  if biases == 1:
    assert float(found[1]) == 0
  # Features of one bias that all change their sign: an absolute value of a sum does not.
  turned = np.where(bias[:, None] == bias[0], -features, features)
  again = end.penalties(jnp.asarray(turned, jnp.float32), jnp.asarray(labels), jnp.asarray(bias))
  assert float(again[0]) == pytest.approx(float(found[0]), abs=1e-5)


def test_the_weights_of_reweighted_make_class_and_bias_independent():
  rng = np.random.default_rng(5)
  labels = rng.integers(0, 3, 500).astype(np.int32)
  bias = np.where(rng.random(500) < 0.8, labels, rng.integers(0, 3, 500)).astype(np.int32)
  weights = reweighted.inverse(labels, bias)
  for b in range(3):
    of = [weights[(labels == y) & (bias == b)].sum() for y in range(3)]
    np.testing.assert_allclose(of, of[0])  # within a bias all classes weigh alike
    n = (bias == b).sum()
    assert weights[(labels == 1) & (bias == b)][0] == pytest.approx(n / ((labels == 1) & (bias == b)).sum())


def test_weights_are_cut_and_the_effective_sample_size_is_said(capsys):
  # Five examples that weigh 1 and one of 10: the mean is 2.5; 4 times that is 10, cut at 2 it is 5.
  given = {"weight": np.array([1.0] * 5 + [10.0])}
  whole = objective("reweighted:by=weight=1").prepare(given, 2)["weight"]
  np.testing.assert_allclose(whole, np.array([1.0] * 5 + [10.0]) / 2.5)
  assert "effective sample size 2 of 6" in capsys.readouterr().out  # 225 / 105
  cut = objective("reweighted:by=weight:largest=2=1").prepare(given, 2)["weight"]
  np.testing.assert_allclose(cut, np.array([1.0] * 5 + [5.0]) * 0.6, rtol=1e-6)
  half = objective("reweighted:by=weight=0.5").prepare(given, 2)["weight"]
  np.testing.assert_allclose(half[5] / half[0], np.sqrt(10), rtol=1e-6)
  columns = {"weight": whole}
  value, _ = objective("reweighted:by=weight=1").loss(context([jnp.asarray(logits())], columns=columns))
  assert float(value) == pytest.approx(np.mean(whole * entropy(logits())), rel=1e-5)
  with pytest.raises(BiasjaxError, match="all weights are 0"):
    objective("reweighted:by=weight=1").prepare({"weight": np.zeros(3)}, 2)
  with pytest.raises(BiasjaxError, match="beyond what a number holds"):
    objective("reweighted:by=weight=1000").prepare(given, 2)


def test_a_biased_bayes_posterior_becomes_the_unbiased_one():
  """p(y | x, b) is p(x | y) p(y | b); what is learnt with log p(y | b) added is p(x | y), whatever b is."""
  labels = np.array([0] * 95 + [1] * 5 + [0] * 5 + [1] * 95, np.int32)
  bias = np.array([0] * 100 + [1] * 100, np.int32)
  added = balanced_logits.log_prior(labels, bias, 2)
  np.testing.assert_allclose(np.exp(added), [[0.95, 0.05], [0.05, 0.95]], atol=1e-8)
  likelihood = np.array([0.8, 0.2])
  posterior = likelihood * np.exp(added[1])
  posterior /= posterior.sum()
  np.testing.assert_allclose(posterior, [0.1739, 0.8261], atol=1e-4)
  # The network that minimises the loss on such data is found by descent on its two logits.
  columns = objective("balanced_logits=1").prepare({"label": labels, "bias": bias}, 2)
  drawn = jnp.asarray(posterior, jnp.float32)

  def loss(z):
    c = dataclasses.replace(
      context([jnp.broadcast_to(z, (ROWS, 2))], columns=columns),
      targets=jnp.broadcast_to(drawn, (ROWS, 2)),
      indices=jnp.full(ROWS, 150),
    )
    return objective("balanced_logits=1").loss(c)[0]

  solver = optax.sgd(2.0)
  z = jnp.zeros(2)
  state = solver.init(z)
  step = jax.jit(jax.grad(loss))
  for _ in range(300):
    updates, state = solver.update(step(z), state)
    z = optax.apply_updates(z, updates)
  np.testing.assert_allclose(jax.nn.softmax(z), likelihood, atol=1e-4)


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("lff=1+end=1", "lff and end both say what is minimised"),
    ("mixup=0.2+greedy=1", "greedy needs the class of each example, and mixup mixes them"),
    ("cutmix=1+lff=1", "lff needs the class of each example, and cutmix mixes them"),
    ("lff:q=2=1", "lff:q=2: expected a number from 0 to 1"),
    ("lff:scale=half=1", "expected official or true"),
    ("greedy=1.5", "the strength is a share"),
    ("greedy:curve=up=1", "expected cr or gs"),
    ("end:alpha=much=1", "expected a number from 0"),
    ("reweighted:by=domain=1", "expected bias or weight"),
    ("reweighted:largest=0.5=1", "expected a number from 1"),
  ],
)
def test_what_cannot_be_meant_is_refused(spec, message):
  with pytest.raises(BiasjaxError, match=message):
    interventions.parse(spec)


def test_mixing_goes_with_an_objective_of_strength_zero():
  assert len(interventions.parse("mixup=0.2+lff=0")) == 2
  assert len(interventions.parse("mixup=0+lff=1")) == 2
