"""Which classes compete for a decision, for each kind of label.

A decision turns logits into scores of the competing classes such that softmax over the scores is the
probability of each among them.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from biasjax.data import synthetic
from biasjax.data.classes import LAION_C, categories, category_classes, subset
from biasjax.errors import BiasjaxError, suggestion
from biasjax.types import Logits

Scores = Float[Array, "b competing"]
Decision = Callable[[Logits], Scores]


def every_class(logits: Logits) -> Scores:
  """Every class of the network competes, however many there are."""
  return logits


def all_classes(logits: Logits) -> Scores:
  """Every one of ImageNet's classes competes.

  Raises:
    BiasjaxError: there are not 1,000 classes.
  """
  _require(logits, 1000, "a decision over ImageNet's 1,000 classes")
  return logits


def drawn_categories(logits: Logits) -> Scores:
  """Every one of the 16 drawn categories (`data/synthetic.py`) competes.

  Raises:
    BiasjaxError: there are not 16 classes.
  """
  _require(logits, len(synthetic.CATEGORIES), "a decision over the drawn categories")
  return logits


def sixteen_categories(logits: Logits) -> Scores:
  """The 16 categories compete, each by the mean of its classes' softmax probabilities (Geirhos et al. 2019).

  Args:
    logits: float [b, 1000] over ImageNet's classes.

  Returns:
    float [b, 16]: log mean probability, up to a constant that all categories share.

  Raises:
    BiasjaxError: there are not 1,000 classes.
  """
  return _by_mean_probability(logits, "categories16", "the 16 categories")


def laion_c_superclasses(logits: Logits) -> Scores:
  """The 16 superclasses of LAION-C compete, as `sixteen_categories` do (Li et al. 2025).

  Raises:
    BiasjaxError: there are not 1,000 classes.
  """
  return _by_mean_probability(logits, LAION_C, "LAION-C's superclasses")


def _by_mean_probability(logits: Logits, kind: str, what: str) -> Scores:
  _require(
    logits, 1000, f"a decision over {what} by ImageNet's classes", " (of its own, see docs/library.md)"
  )
  # As logarithms, so that no probability is too small for float32.
  return jnp.stack(
    [
      jax.nn.logsumexp(logits[:, np.array(members)], axis=1) - np.log(len(members)).astype(np.float32)
      for members in category_classes(kind).values()
    ],
    axis=1,
  )


def _require(logits: Logits, classes: int, what: str, of_others: str = "") -> None:
  there = logits.shape[1]
  if there != classes:
    raise BiasjaxError(f"{what} needs a network of {classes:,} classes; this one has {there:,}{of_others}")


@functools.cache  # one object for equal names, so that a step is compiled once
def only_classes_of(benchmark: str) -> Decision:
  """The decision over the classes of ImageNet-A or -R or imagenette (`classes.SUBSETS`); others never win."""
  competing = np.zeros(1000, bool)
  competing[list(subset(benchmark))] = True

  def decide(logits: Logits) -> Scores:
    return jnp.where(competing[None], all_classes(logits), -jnp.inf)

  return decide


@functools.cache  # one object for equal categories, so that a step is compiled once
def only(names: tuple[str, ...]) -> Decision:
  """The decision over some of the 16 categories; the others never win.

  Raises:
    BiasjaxError: fewer than two categories, or an unknown one.
  """
  unknown = sorted(set(names) - set(categories()))
  if unknown or len(set(names)) < 2:
    if not unknown:
      raise BiasjaxError(f"categories: at least two must compete; there are {', '.join(categories())}")
    raise BiasjaxError(f"categories: {unknown[0]!r} is none: {suggestion(unknown[0], categories())}")
  competing = np.isin(categories(), names)

  def decide(logits: Logits) -> Scores:
    return jnp.where(competing[None], sixteen_categories(logits), -jnp.inf)

  return decide
