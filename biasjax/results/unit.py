"""What a set of observations is of: a model under a probe on a dataset, and what its numbers depend on."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

ANSWERS = "answers "  # begins what tells stored answers from others, in a unit's key
SAMPLE = "sample"  # of a key: to which margin its averages are known; absent where all images are asked
SETTINGS = ("precision", "seed", "preprocessing", "version")
CHOSEN = ("precision", "seed")  # of them, those of which one table has one each


@dataclasses.dataclass(frozen=True)
class Unit:
  """One model under one probe on one dataset.

  Attributes:
    model, dataset, probe: names, as in tables.
    key: everything that its numbers depend on, as JSON.
  """

  model: str
  dataset: str
  probe: str
  key: Mapping[str, Any] = dataclasses.field(hash=False)

  @functools.cached_property
  def digest(self) -> str:
    """16 hex digits that stand for the key."""
    return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]

  def another_network(self, other: "Unit") -> bool:
    """Whether `other` is of the same name and cannot be of the same network.

    A function's digest is of one size of images, and of stored answers each dataset may have a file.
    """
    if self.model != other.model or self.key.get("model") == other.key.get("model"):
      return False
    if self.dataset == other.dataset:
      return True
    answers = (str(unit.key.get("model")).startswith(ANSWERS) for unit in (self, other))
    sizes = (unit.key.get("preprocess", {}).get("crop") for unit in (self, other))
    return len(set(sizes)) == 1 and not all(answers)

  @property
  def settings(self) -> dict[str, str]:
    """What metrics.csv says of how its numbers were made, `SETTINGS`; "" where the key does not say."""
    return {
      "precision": str(self.key.get("precision", "")),
      "seed": str(self.key.get("seed", "")),
      "preprocessing": str(self.key.get("preprocessing") or in_words(self.key.get("preprocess", {}))),
      "version": str(self.key.get("biasjax", "")),
    }


def in_words(preprocess: Mapping[str, Any]) -> str:
  """How images come to their size, "bilinear 256, crop 224"; "" where that is not known.

  Args:
    preprocess: `resize`, `crop`, `interpolation`, `squash` and `stimulus` of a `Source`.
  """
  crop = preprocess.get("crop")
  if crop is None:
    return ""
  # Stimuli that are stored in another size are brought to what networks see as a whole.
  side = preprocess.get("resize") or (crop if preprocess.get("stimulus") else None)
  if side is None:
    return f"as they are, crop {crop}"
  squashed = " squashed" if preprocess.get("squash") else ""
  return f"{preprocess.get('interpolation', '')} {side}{squashed}, crop {crop}".strip()
