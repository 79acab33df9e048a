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
from biasjax.errors import BiasjaxError
from biasjax.statistics import difference_of_ratios, error_consistency, ratio_of_totals, wilson

COLUMNS = ["file", "n_conflict", "n_shape", "n_texture", "shape_bias", "low", "high"]
PAIRS = ["first", "second", "n", "kappa", "low", "high", "first_n", "second_n"]
PEOPLE = "people"
IMAGES = r"(?:^|_)([a-z]+\d+)-([a-z]+\d+)(?:\.[A-Za-z]+)?$"  # which a stimulus is made of


@dataclasses.dataclass(frozen=True)
class CueConflict:
  """What was decided where shape and texture disagree.

  Attributes:
    n_conflict: trials whose shape and texture differ.
    n_shape, n_texture: of these, decisions for the shape and for the texture.
    shape_bias: (share, low, high): shape decisions among those for either, with a 95 % interval; NaN without
      any.
    cue_accuracy: likewise decisions for either cue among all: how much the bias is about.
  """

  n_conflict: int
  n_shape: int
  n_texture: int
  shape_bias: tuple[float, float, float]
  cue_accuracy: tuple[float, float, float]


def count(decisions: pd.DataFrame, *, crossed: bool = True) -> CueConflict:
  """Counts decisions; trials whose shape is their texture (80 of the 1,280 stimuli) are left out.

  Stimuli are shape images crossed with texture images (160 with 48, of Geirhos et al.), and decisions about
  one image go together: intervals are clustered both ways (`statistics.ratio_of_totals`) where the names of
  the stimuli say which images they are made of, and Wilson's where they do not.

  Args:
    decisions: as above.
    crossed: False where stimuli of one name share no image.
  """
  conflict = decisions[decisions["shape"] != decisions["texture"]]
  shape, texture, images = _cues_of(conflict)
  images = images if crossed else ()
  return CueConflict(
    len(conflict),
    int(shape.sum()),
    int(texture.sum()),
    _share(shape, shape + texture, images),
    _share(shape + texture, np.ones(len(conflict)), images),
  )


def difference(
  first: pd.DataFrame, second: pd.DataFrame, *, crossed: bool = True
) -> tuple[float, float, float, int]:
  """Shape bias of one observer less that of another, on the stimuli that both have decided about.

  Args:
    first, second: decisions, a row for each stimulus.
    crossed: as for `count`.

  Returns:
    (difference, low, high, stimuli), the interval paired (`statistics.difference_of_ratios`).

  Raises:
    BiasjaxError: a stimulus is there twice.
  """
  tables = [table[table["shape"] != table["texture"]].set_index("image") for table in (first, second)]
  if not all(table.index.is_unique for table in tables):
    raise BiasjaxError(
      "shape biases are compared stimulus by stimulus, but one is there twice: keep one decision"
    )
  both = tables[0].index.intersection(tables[1].index)
  counts = [_cues_of(table.loc[both].reset_index()) for table in tables]
  (shape, texture, images), (other_shape, other_texture, _) = counts
  pair = (shape, shape + texture), (other_shape, other_shape + other_texture)
  return *difference_of_ratios(*pair, images if crossed else ()), len(both)


def _cues_of(conflict: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
  """Decided for the shape, for the texture (0 or 1 each), and the names of the images of either, if known."""
  shape, texture = ((conflict["response"] == conflict[cue]).to_numpy(float) for cue in ("shape", "texture"))
  names = conflict["image"].astype(str).str.extract(IMAGES)
  known = len(names) and names.notna().all(axis=None)
  return shape, texture, tuple(names[cue].to_numpy(str) for cue in names) if known else ()


def _share(chosen: np.ndarray, of: np.ndarray, images: Sequence[np.ndarray]) -> tuple[float, float, float]:
  if images:
    return ratio_of_totals(chosen, of, images)
  n = int(of.sum())
  return (float(chosen.sum() / n) if n else math.nan, *wilson(int(chosen.sum()), n))


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
    Columns `COLUMNS`. Intervals are those of `count`; that of the people together is over people, who
    differ more among each other than their decisions do.
  """
  rows = []
  for name, decisions in files.items():
    counts = count(decisions)
    rows.append((name, counts.n_conflict, counts.n_shape, counts.n_texture, *counts.shape_bias))
  if len(people) > 1:
    counted = [count(decisions) for decisions in people]
    shape = np.array([float(p.n_shape) for p in counted])
    texture = np.array([float(p.n_texture) for p in counted])
    totals = sum(p.n_conflict for p in counted), int(shape.sum()), int(texture.sum())
    rows.append((PEOPLE, *totals, *ratio_of_totals(shape, shape + texture)))
  return pd.DataFrame(rows, columns=COLUMNS)


def by_category(people: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """Shape bias of people together for each category of shape.

  Args:
    people: each person's decisions.

  Returns:
    Columns `category, shape_bias, low, high, n`; the interval is over people, who differ more among each
    other than their decisions do, and of one person over decisions. n is how many decisions it rests on.
  """
  rows = []
  for category in sorted(set().union(*(table["shape"] for table in people))):
    counted = [count(table[table["shape"] == category]) for table in people]
    shape, texture = (
      np.array([float(getattr(p, name)) for p in counted]) for name in ("n_shape", "n_texture")
    )
    total = int((shape + texture).sum())
    edges = ratio_of_totals(shape, shape + texture)
    if len(people) == 1 and total:
      edges = edges[0], *wilson(int(shape.sum()), total)
    if total:
      rows.append((category, *edges, total))
  return pd.DataFrame(rows, columns=["category", "shape_bias", "low", "high", "n"])


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
