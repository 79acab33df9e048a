"""Networks that are kept from agreeing why: closed forms, and the two-dimensional test."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biasjax.errors import BiasjaxError
from biasjax.train import interventions
from biasjax.train.interventions import diverse
from biasjax.train.interventions.base import Context

SEEDS, MEMBERS, HIDDEN = 5, 4, 32


def test_identical_networks_are_wholly_aligned_and_those_that_use_other_pixels_not_at_all():
  gradient = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
  same = jnp.asarray(np.stack([gradient] * 3))
  assert float(diverse.alignment(same, "cosine")) == pytest.approx(3, abs=1e-5)  # three pairs
  assert float(diverse.alignment(same, "squared")) == pytest.approx(3 * np.mean((gradient**2).sum(1) ** 2))
  left, right = gradient * (np.arange(6) < 3), gradient * (np.arange(6) >= 3)
  assert float(diverse.alignment(jnp.asarray(np.stack([left, right])), "cosine")) == 0
  opposite = jnp.asarray(np.stack([gradient, -gradient]))
  assert float(diverse.alignment(opposite, "cosine")) == pytest.approx(1, abs=1e-5)


def test_the_alignment_of_linear_networks_is_that_of_their_weights_whatever_the_image():
  rng = np.random.default_rng(1)
  weights = rng.normal(size=(2, 3, 12)).astype(np.float32)  # of two networks, three classes
  images = rng.normal(size=(5, 2, 2, 3)).astype(np.float32)
  logits = np.einsum("mkd,bd->mbk", weights, images.reshape(5, 12))
  top = logits.argmax(2)
  expected = np.mean([(weights[0, top[0, b]] @ weights[1, top[1, b]]) ** 2 for b in range(5)])
  c = context([lambda x, w=w: x.reshape(len(x), 12) @ w.T for w in weights], jnp.asarray(images), 3)
  (squared,) = interventions.parse("diverse:members=2:similarity=squared=1")
  (alone,) = interventions.parse("diverse:members=2=0")
  found = float(squared.objective.loss(c)[0]) - float(alone.objective.loss(c)[0])
  assert found == pytest.approx(expected, rel=1e-4)


def context(networks, images, classes, labels=None) -> Context:
  labels = jnp.zeros(len(images), jnp.int32) if labels is None else labels
  return Context(
    images=images,
    targets=jax.nn.one_hot(labels, classes),
    labels=labels,
    indices=jnp.arange(len(images)),
    columns={},
    memory={},
    progress=jnp.float32(0),
    forward=lambda member, x: (networks[member](x), jnp.zeros((len(x), 1))),
    gather=lambda x: x,
  )


def points(rng, n: int, both: bool):
  """(points [n, 1, 1, 2], labels): x1 tells the class by its sign, x2 by three slabs; or x2 alone does."""
  labels = rng.integers(0, 2, n)
  first = rng.uniform(0.1, 1, n) * (2 * (labels if both else rng.integers(0, 2, n)) - 1)
  # The class 1 is the middle slab.
  outer = rng.choice([-1, 1], n) * rng.uniform(0.45, 1, n)
  second = np.where(labels == 1, rng.uniform(-0.25, 0.25, n), outer)
  return np.stack([first, second], 1)[:, None, None, :].astype(np.float32), labels.astype(np.int32)


def answer(params, x):
  x = x.reshape(len(x), 2)
  for weights, offsets in params[:-1]:
    x = jax.nn.relu(x @ weights + offsets[None])
  return x @ params[-1][0] + params[-1][1][None]


def begun(rng):
  sizes = (2, HIDDEN, HIDDEN, HIDDEN, 2)
  return [
    (rng.normal(0, np.sqrt(2 / n), (n, m)).astype(np.float32), np.zeros(m, np.float32))
    for n, m in itertools.pairwise(sizes)
  ]


def best_on_the_harder_cue(spec: str, steps: int = 800) -> np.ndarray:
  """Of each seed the best member's accuracy where only the harder cue tells the class, per cent [SEEDS]."""
  (intervention,) = interventions.parse(spec)
  rngs = [np.random.default_rng(seed) for seed in range(SEEDS)]
  start = [[begun(rng) for _ in range(MEMBERS)] for rng in rngs]
  params = jax.tree.map(lambda *each: jnp.stack(each), *start)
  shown = [points(rng, 256, both=True) for rng in rngs]
  images, labels = (jnp.stack([jnp.asarray(one[i]) for one in shown]) for i in range(2))
  solver = optax.adam(3e-3)

  def loss(members, x, y):
    networks = [lambda z, p=p: answer(p, z) for p in members]
    return intervention.objective.loss(context(networks, x, 2, y))[0]

  def step(_, carried):
    params, state = carried
    gradients = jax.vmap(jax.grad(loss))(params, images, labels)
    updates, state = solver.update(gradients, state)
    return optax.apply_updates(params, updates), state

  params, _ = jax.jit(lambda p, s: jax.lax.fori_loop(0, steps, step, (p, s)))(params, solver.init(params))
  found = []
  for seed in range(SEEDS):
    x, y = points(np.random.default_rng(100 + seed), 2000, both=False)
    of_seed = jax.tree.map(lambda p, seed=seed: p[seed], params)
    found.append(max(100 * float(np.mean(np.argmax(answer(p, x), 1) == y)) for p in of_seed))
  return np.array(found)


def test_some_network_learns_the_harder_cue_only_where_they_are_kept_from_agreeing():
  independent = best_on_the_harder_cue("diverse=0")
  assert np.median(independent) <= 55, independent
  found = best_on_the_harder_cue("diverse=10")
  assert np.median(found) >= 70, found
  assert (found > independent + 5).sum() >= 4, found


def test_the_plain_dot_product_is_refused_and_so_is_what_is_none():
  with pytest.raises(BiasjaxError, match="the plain dot product has no lower bound"):
    interventions.parse("diverse:similarity=dot=1")
  with pytest.raises(BiasjaxError, match="expected one of cosine, squared"):
    interventions.parse("diverse:similarity=angle=1")
  with pytest.raises(BiasjaxError, match="expected a whole number from 1"):
    interventions.parse("diverse:members=0=1")


def test_one_network_alone_is_trained_plainly():
  (one,) = interventions.parse("diverse:members=1=5")
  logits = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
  value, _ = one.objective.loss(context([lambda x: jnp.asarray(logits)], jnp.zeros((4, 1, 1, 3)), 3))
  expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[:, 0])
  assert float(value) == pytest.approx(expected, rel=1e-5)
