"""Decisions about cue-conflict stimuli, by networks or people: shape bias and error consistency.

Geirhos et al. 2019, 2020, 2021. A table of decisions has a row for each trial and the columns `image` (the
stimulus' file name), `shape`, `texture` and `response`, each one of the 16 categories (the response may be
anything else, "na" say). NumPy and pandas only: neither a network nor a device is needed.
"""

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.data.classes import conflict_categories, cues
from biasjax.statistics import error_consistency, ratio_of_totals, wilson

COLUMNS = ["file", "n_conflict", "n_shape", "n_texture", "shape_bias", "low", "high"]
PAIRS = ["first", "second", "n", "kappa", "low", "high", "first_n", "second_n"]
PEOPLE = "people"


@dataclasses.dataclass(frozen=True)
class CueConflict:
  """What was decided where shape and texture disagree.

  Attributes:
    n_conflict: trials whose shape and texture differ.
    n_shape, n_texture: of these, decisions for the shape and for the texture.
  """

  n_conflict: int
  n_shape: int
  n_texture: int

  @property
  def shape_bias(self) -> tuple[float, float, float]:
    """Shape decisions among those for either, with Wilson's interval (95 %); NaN without any."""
    decided = self.n_shape + self.n_texture
    return (self.n_shape / decided if decided else math.nan, *wilson(self.n_shape, decided))

  @property
  def cue_accuracy(self) -> tuple[float, float, float]:
    """Decisions for either cue among all, with Wilson's interval: how much the bias is about."""
    decided = self.n_shape + self.n_texture
    return (decided / self.n_conflict if self.n_conflict else math.nan, *wilson(decided, self.n_conflict))


def count(decisions: pd.DataFrame) -> CueConflict:
  """Counts decisions; trials whose shape is their texture (80 of the 1,280 stimuli) are left out."""
  conflict = decisions[decisions["shape"] != decisions["texture"]]
  return CueConflict(
    n_conflict=len(conflict),
    n_shape=int((conflict["response"] == conflict["shape"]).sum()),
    n_texture=int((conflict["response"] == conflict["texture"]).sum()),
  )


def category_names(observations: pd.DataFrame) -> tuple[str, ...]:
  """The categories in the order of their labels; classes that have no names are called by their numbers."""
  kind = observations.attrs.get("labels", "cue_conflict")
  if kind == "class_conflict":
    return tuple(str(label) for label in range(observations.attrs["classes"]))
  return conflict_categories(kind)


def from_observations(observations: pd.DataFrame) -> pd.DataFrame:
  """The decisions of one network, from the observations of the shape probe.

  Textures come from the file names, or from a column `texture` of labels where there is one.
  """
  names = category_names(observations)
  if "texture" in observations:
    shape, texture = (np.array(names)[observations[cue].to_numpy()] for cue in ("label", "texture"))
  else:
    shape, texture = zip(*(cues(name, names) for name in observations["example_id"]), strict=True)
  return pd.DataFrame(
    {
      "image": [pathlib.PurePosixPath(name).name for name in observations["example_id"]],
      "shape": shape,
      "texture": texture,
      "response": np.array(names)[observations["prediction"].to_numpy()],
    }
  )


def decisions_of(recording: pd.DataFrame) -> pd.DataFrame:
  """Decisions about cue-conflict stimuli, of a table of `files.read`; its `attrs` are kept."""
  shape, texture = zip(*map(cues, recording["image"]), strict=True)
  decisions = pd.DataFrame(
    {
      "image": recording["image"].str.rsplit("_", n=1).str[-1],
      "shape": shape,
      "texture": texture,
      "response": recording["response"],
    }
  )
  decisions.attrs = dict(recording.attrs)
  return decisions


def summarise(files: Mapping[str, pd.DataFrame], people: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """A row for each file, and one for all people together.

  Args:
    files: name -> the decisions in that file.
    people: each person's decisions, whatever files they are in.

  Returns:
    Columns `COLUMNS`. Intervals are Wilson's over decisions; that of the people together is over people, who
    differ more among each other than their decisions do.
  """
  rows = []
  for name, decisions in files.items():
    counts = count(decisions)
    rows.append((name, *dataclasses.astuple(counts), *counts.shape_bias))
  if len(people) > 1:
    counted = [count(decisions) for decisions in people]
    shape = np.array([float(p.n_shape) for p in counted])
    texture = np.array([float(p.n_texture) for p in counted])
    totals = sum(p.n_conflict for p in counted), int(shape.sum()), int(texture.sum())
    rows.append((PEOPLE, *totals, *ratio_of_totals(shape, shape + texture)))
  return pd.DataFrame(rows, columns=COLUMNS)


def consistency(observers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
  """Error consistency of each two observers over the stimuli that both have seen; right is the shape.

  Returns:
    Columns `PAIRS`: `n` is how many stimuli both have seen, `first_n` and `second_n` how many each has. The
    interval is over stimuli, for these two observers. Who saw a stimulus more than once counts with the first
    time.
  """
  right = {
    name: (table["response"] == table["shape"]).groupby(table["image"]).first()
    for name, table in observers.items()
  }
  rows = []
  for first, second in itertools.combinations(right, 2):
    both = right[first].index.intersection(right[second].index)
    pair = right[first][both].to_numpy(bool), right[second][both].to_numpy(bool)
    seen = len(right[first]), len(right[second])
    rows.append((first, second, len(both), *error_consistency(*pair), *seen))
  return pd.DataFrame(rows, columns=PAIRS)


def notes_on(pairs: pd.DataFrame) -> list[str]:
  """What a reader of `consistency` has to know: how many pairs share few of the stimuli that they saw."""
  little = pairs[pairs["n"] < pairs[["first_n", "second_n"]].min(axis=1) / 2]
  if not len(little):
    return []
  worst = little.loc[little["n"].idxmin()]
  seen = f"{worst['first_n']} and {worst['second_n']}"
  return [
    f"{len(little)} of {len(pairs)} pairs of observers share less than half of the cue-conflict stimuli that "
    f"they saw; {worst['first']} and {worst['second']}, who share the fewest, {worst['n']} of {seen}"
  ]
