"""What guessing would get, and which numbers rest on accuracies that cannot be told from it.

Chance is what a network's own answers would get if they were dealt out to the images at random (the expected
agreement in Cohen's kappa, 1960), but at least one in the number of classes that compete. Where all classes
that compete have equally many images the two are the same, whatever the answers. Where they have not, the
answers matter: a network that can only win with ten classes, or says the same of every image, has on images
of these ten classes a chance of a tenth, though a thousand compete.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from biasjax.data.classes import SUBSETS, subset
from biasjax.data.synthetic import CATEGORIES
from biasjax.statistics import wilson

AT_CHANCE = "cannot be told from chance"
BELOW_CHANCE = "below chance"

# How many classes compete, by the kind of labels (`Source.labels`).
COMPETING = {
  **dict.fromkeys(("imagenet", "imagenet_real", "imagenet_c", "imagenet_cbar"), 1000),
  **dict.fromkeys(("refined_bias_shape", "refined_bias_texture"), 1000),
  **dict.fromkeys(("categories16", "cue_conflict", "model_vs_human", "laion_c"), 16),
  **dict.fromkeys(("synthetic", "synthetic_conflict"), len(CATEGORIES)),
}


def competing(attrs: Mapping[str, Any]) -> int:
  """How many classes compete, from the `attrs` of observations."""
  kind = attrs.get("labels", "imagenet")
  if kind in SUBSETS:
    return len(subset(kind))
  return COMPETING[kind] if kind in COMPETING else attrs["classes"]


def numbered(kind: str) -> int | None:
  """How many classes answers about such labels are numbered by; None where the network says."""
  return 1000 if kind in SUBSETS else COMPETING.get(kind)


def of_answers(
  labels: np.ndarray,
  answers: np.ndarray,
  classes: int,
  condition: np.ndarray | None = None,
  conditions: int = 1,
) -> np.ndarray:
  """Chance in each condition, float [conditions], a fraction.

  Args:
    labels: int [n], from 0; or str [n], where several are right, with blanks between them.
    answers: int [n], from 0.
    classes: how many compete.
    condition: int [n], of each answer, below `conditions`; all are of one if None.
    conditions: how many there are.
  """
  at = np.zeros(len(labels), np.int64) if condition is None else condition.astype(np.int64)
  of_each = at
  if labels.dtype.kind not in "iu":
    several = [str(of).split() for of in labels]
    of_each = np.repeat(at, [len(of) for of in several])
    labels = np.array([int(label) for of in several for label in of], np.int64)
  many = int(max(labels.max(initial=0), answers.max(initial=0))) + 1
  of_labels, of_answers = (
    np.bincount(place * many + of, minlength=conditions * many).reshape(conditions, many).astype(float)
    for place, of in ((of_each, labels), (at, answers))
  )
  n = np.maximum(of_answers.sum(axis=1), 1)
  by_number = of_labels.sum(axis=1) / n / classes  # as many classes as are right of an image
  return np.maximum((of_labels * of_answers).sum(axis=1) / n**2, np.maximum(by_number, 1 / classes))


def right_classes(table: pd.DataFrame) -> np.ndarray:
  """Of each observation what `of_answers` takes for its labels: "labels", where several may be right."""
  return table["labels" if "labels" in table else "label"].to_numpy()


def of_reciprocal_rank(classes: int, right: int) -> float:
  """The mean of 1 / rank of the best of `right` classes in a random order of all `classes`."""
  # How likely it is that none of the first r is right.
  r = np.arange(1, classes - right + 1)
  none = np.concatenate([[1.0], np.cumprod((classes - right - r + 1) / (classes - r + 1)), [0.0]])
  return float((-np.diff(none) / np.arange(1, len(none))).sum())


def flag(low: float, high: float, chance: float, *, below: bool = True) -> str:
  """What an accuracy's interval says about chance, all in one unit; "" where it is above it.

  Args:
    low, high: the interval.
    chance: of the accuracy.
    below: whether an accuracy below chance is worth a word; that under an attack is not.
  """
  if not low <= chance:
    return ""
  return AT_CHANCE if chance <= high else BELOW_CHANCE if below else ""


def flag_of_count(right: int, n: int, chance: float) -> str:
  """`flag` of `right` of n decisions."""
  return flag(*wilson(right, n), chance)
