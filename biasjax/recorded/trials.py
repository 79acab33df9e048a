"""Decisions about cue-conflict stimuli, by networks or people: shape bias and error consistency.

Geirhos et al. 2019, 2020, 2021. A table of decisions has a row for each trial and the columns `image` (the
stimulus' file name), `shape`, `texture` and `response`, each one of the 16 categories (the response may be
anything else, "na" say). NumPy and pandas only: neither a network nor a device is needed.
"""

import dataclasses
import glob
import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.data.classes import conflict_categories, cues
from biasjax.errors import BiasjaxError
from biasjax.statistics import error_consistency, ratio_of_totals, wilson

COLUMNS = ["file", "n_conflict", "n_shape", "n_texture", "shape_bias", "low", "high"]
PEOPLE = "people"
EXPECTED = ("subj", "object_response", "category", "imagename")


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


def read(path: str | pathlib.Path) -> pd.DataFrame:
  """Recorded decisions: a CSV with the columns subj, object_response, category and imagename.

  The texture is the name after the "-" at the end of `imagename`.

  Returns:
    The decisions, with the subject's name in `attrs["subject"]`.

  Raises:
    BiasjaxError: it cannot be read, lacks a column, has no trials, or has an image that is no such stimulus.
  """
  try:
    # "na" and "NaN" are answers and reaction times here, not missing values.
    table = pd.read_csv(path, keep_default_na=False)
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"{path} cannot be read as a CSV of trials: {' '.join(str(error).split())}") from error
  missing = [name for name in EXPECTED if name not in table]
  if missing:
    raise BiasjaxError(f"{path} has no column {missing[0]!r}: trials need {', '.join(EXPECTED)}")
  if not len(table):
    raise BiasjaxError(f"{path} holds no trials")
  try:
    named = [cues(name) for name in table["imagename"].astype(str)]
  except BiasjaxError as error:
    raise BiasjaxError(f"{path}: {error}") from error
  shape, texture = zip(*named, strict=True)
  disagree = np.flatnonzero(table["category"] != np.array(shape))
  if len(disagree):
    line = disagree[0]
    raise BiasjaxError(
      f"{path}, line {line + 2}: category is {table['category'][line]!r}, but {table['imagename'][line]!r} "
      f"shows a {shape[line]}"
    )
  decisions = pd.DataFrame(
    {
      "image": table["imagename"].str.rsplit("_", n=1).str[-1],
      "shape": shape,
      "texture": texture,
      "response": table["object_response"].astype(str),
    }
  )
  decisions.attrs["subject"] = str(table["subj"][0])
  return decisions


def matching(pattern: str) -> list[pathlib.Path]:
  """The files that match, sorted.

  Raises:
    BiasjaxError: none does.
  """
  paths = sorted(pathlib.Path(path) for path in glob.glob(pattern))
  if not paths:
    raise BiasjaxError(f"--trials={pattern}: no file matches")
  return paths


def read_all(paths: Sequence[pathlib.Path]) -> dict[str, pd.DataFrame]:
  """File name -> decisions.

  Raises:
    BiasjaxError: one cannot be read.
  """
  return {path.name: read(path) for path in paths}


def is_person(decisions: pd.DataFrame) -> bool:
  """Whether the trials are a person's: subjects are called subject-01 and so on, networks by their name."""
  return decisions.attrs.get("subject", "").startswith("subject")


def summarise(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
  """A row for each file, and one for all people together.

  Returns:
    Columns `COLUMNS`. Intervals are Wilson's over decisions; that of the people together is over people, who
    differ more among each other than their decisions do.
  """
  rows = []
  for name, decisions in files.items():
    counts = count(decisions)
    rows.append((name, *dataclasses.astuple(counts), *counts.shape_bias))
  people = [count(decisions) for decisions in files.values() if is_person(decisions)]
  if len(people) > 1:
    shape = np.array([float(p.n_shape) for p in people])
    texture = np.array([float(p.n_texture) for p in people])
    totals = sum(p.n_conflict for p in people), int(shape.sum()), int(texture.sum())
    rows.append((PEOPLE, *totals, *ratio_of_totals(shape, shape + texture)))
  return pd.DataFrame(rows, columns=COLUMNS)


def consistency(observers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
  """Error consistency of each two observers over the stimuli that both have seen; right is the shape.

  Returns:
    Columns first, second, n, kappa, low, high. An observer who saw a stimulus more than once counts with the
    first time.
  """
  right = {
    name: (table["response"] == table["shape"]).groupby(table["image"]).first()
    for name, table in observers.items()
  }
  rows = []
  for first, second in itertools.combinations(right, 2):
    both = right[first].index.intersection(right[second].index)
    pair = right[first][both].to_numpy(bool), right[second][both].to_numpy(bool)
    rows.append((first, second, len(both), *error_consistency(*pair)))
  return pd.DataFrame(rows, columns=["first", "second", "n", "kappa", "low", "high"])


def with_people(pairs: pd.DataFrame, people: Sequence[str]) -> pd.DataFrame:
  """Mean kappa of each observer with the people (other than themselves): columns observer, kappa, people."""
  both = pd.concat([pairs, pairs.rename(columns={"first": "second", "second": "first"})], ignore_index=True)
  with_one = both[both["second"].isin(people)]
  table = with_one.groupby("first", sort=False)["kappa"].agg(["mean", "count"]).reset_index()
  return table.set_axis(["observer", "kappa", "people"], axis=1)
