"""Decisions over categories against plain NumPy on probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from biasjax.data.classes import categories, category_classes
from biasjax.errors import BiasjaxError
from biasjax.probes import decisions

sixteen = jax.jit(decisions.sixteen_categories)
LOGITS = np.random.default_rng(0).normal(0, 3, (200, 1000)).astype(np.float32)


def mean_probabilities(logits: np.ndarray) -> np.ndarray:
  """[b, 16], in double precision."""
  probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
  return np.stack([probabilities[:, list(c)].mean(axis=1) for c in category_classes().values()], axis=1)


def test_a_category_is_the_mean_probability_of_its_classes():
  expected = mean_probabilities(LOGITS)
  scores = np.asarray(sixteen(jnp.asarray(LOGITS)))
  np.testing.assert_array_equal(scores.argmax(1), expected.argmax(1))
  share = scipy.special.softmax(scores, axis=1)
  np.testing.assert_allclose(share, expected / expected.sum(1, keepdims=True), rtol=1e-4)


def test_a_category_with_many_classes_does_not_win_by_number():
  """110 dogs with a little each lose against the one airplane."""
  logits = np.full((1, 1000), -20.0, np.float32)
  logits[0, list(category_classes()["dog"])] = 0.0
  logits[0, category_classes()["airplane"][0]] = 1.0
  chosen = int(sixteen(jnp.asarray(logits)).argmax())
  assert categories()[chosen] == "airplane"


def test_probabilities_below_float32_still_decide():
  logits = np.zeros((1, 1000), np.float32)
  logits[0, 0] = 500.0  # a tench, which is in no category
  logits[0, category_classes()["knife"][0]] = 1.0
  scores = np.asarray(sixteen(jnp.asarray(logits)))
  assert np.isfinite(scores).all()
  assert categories()[scores.argmax()] == "knife"


def test_only_the_named_categories_compete():
  names = ("bear", "cat", "truck")
  scores = np.asarray(jax.jit(decisions.only(names))(jnp.asarray(LOGITS)))
  expected = np.where(np.isin(categories(), names), mean_probabilities(LOGITS), -1)
  np.testing.assert_array_equal(scores.argmax(1), expected.argmax(1))
  assert decisions.only(names) is decisions.only(names)


@pytest.mark.parametrize(("names", "message"), [(("cat",), "at least two"), (("cat", "spoon"), "'spoon'")])
def test_senseless_sets_of_categories_are_refused(names, message):
  with pytest.raises(BiasjaxError, match=message):
    decisions.only(names)


def test_a_network_of_other_classes_is_refused():
  with pytest.raises(BiasjaxError, match=r"1,000 classes; this one has 10"):
    decisions.sixteen_categories(jnp.zeros((1, 10)))


def test_laion_cs_superclasses_compete_by_the_mean_probability_of_their_classes():
  """Its authors' rule: probabilities over all 1,000, averaged over each superclass' classes, the highest."""
  members = category_classes("laion_c")
  assert list(members) == sorted(members)
  assert len(members) == 16
  assert sum(map(len, members.values())) == 285
  assert len(members["dog"]) == 109
  logits = np.random.default_rng(0).normal(0, 3, (50, 1000)).astype(np.float32)
  probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  means = np.stack([probability[:, list(of)].mean(1) for of in members.values()], axis=1)
  found = np.asarray(decisions.laion_c_superclasses(jnp.asarray(logits)))
  np.testing.assert_array_equal(found.argmax(1), means.argmax(1))
  np.testing.assert_allclose(found - found[:, :1], np.log(means / means[:, :1]), atol=1e-4)
