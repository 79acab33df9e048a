"""Observations as arrays of examples by conditions: what most summaries count, of all or of a sample."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from biasjax.probes import chance
from biasjax.sampling import Estimate, estimate
from biasjax.statistics import Z, interval_of_share, wilson


@dataclasses.dataclass(frozen=True)
class Observed:
  """What a network said of the same examples under several conditions.

  Attributes:
    ids: of the examples [n].
    label, prediction, rank: int [n, conditions].
    right_classes: [n, conditions], of `chance.right_classes`.
  """

  ids: pd.Index
  label: np.ndarray
  prediction: np.ndarray
  rank: np.ndarray
  right_classes: np.ndarray

  @property
  def right(self) -> np.ndarray:
    """bool [n, conditions], top-1."""
    return self.rank == 0


def codes(values: pd.Series) -> tuple[np.ndarray, pd.Index]:
  """An integer for each value, and the distinct values that they stand for."""
  if isinstance(values.dtype, pd.CategoricalDtype):
    used = values.cat.remove_unused_categories()
    return used.cat.codes.to_numpy(), used.cat.categories
  found, distinct = pd.factorize(values)
  return found, pd.Index(distinct)


def under(table: pd.DataFrame, conditions: Sequence[str], ids: pd.Index | None = None) -> Observed:
  """The observations under `conditions`, in their order.

  Args:
    table: columns condition, example_id, label, prediction and rank; each example once for each condition.
    conditions: some of those that are there.
    ids: of the examples, which then are in this order; by default ascending, whatever the files' order.

  Raises:
    ValueError: an example lacks a condition.
  """
  condition, known = codes(table["condition"])
  example, named = codes(table["example_id"])
  column = pd.Index(conditions).get_indexer(known)[condition]
  order: pd.Index = named.sort_values() if ids is None else ids
  if not named.equals(order):
    example = order.get_indexer(named)[example]
  wanted = (column >= 0) & (example >= 0)
  if not wanted.all():
    column, example = column[wanted], example[wanted]
  n = len(order)
  at = example.astype(np.int64) * len(conditions) + column
  if not (np.bincount(at, minlength=n * len(conditions)) == 1).all():
    raise ValueError(f"not each of {n} examples once under {', '.join(conditions)}")

  def matrix(values: np.ndarray) -> np.ndarray:
    placed = np.empty(n * len(conditions), values.dtype)
    placed[at] = values if wanted.all() else values[wanted]
    return placed.reshape(n, len(conditions))

  label, prediction, rank = (matrix(table[name].to_numpy()) for name in ("label", "prediction", "rank"))
  several = matrix(chance.right_classes(table)) if "labels" in table else label
  return Observed(order, label, prediction, rank, several)


@dataclasses.dataclass(frozen=True)
class Sampled:
  """What a condition's accuracy rests on, where only a random sample was asked.

  Attributes:
    estimate: of the accuracy, from the sample.
    critical: standard errors that half of its interval has.
  """

  estimate: Estimate
  critical: float


@dataclasses.dataclass(frozen=True)
class Accuracies:
  """Who is right under several conditions.

  Attributes:
    ids: of the examples [n]: all that were asked, or, of a sample, all that it stands for.
    right: float64 [n, conditions], 1 or 0 (top-1); of a sample outcomes whose mean is the estimate, and whose
      spread is such that the usual interval holds what sampling adds (`Estimate.spread`).
    chance: float [conditions], fractions (`chance.of_answers`).
    samples: of each condition; () where all examples were asked.
  """

  ids: pd.Index
  right: np.ndarray
  chance: np.ndarray
  samples: Sequence[Sampled] = ()


def accuracies(table: pd.DataFrame, conditions: Sequence[str], ids: pd.Index | None = None) -> Accuracies:
  """The accuracies under `conditions`, in their order; `table` and `ids` as in `under`.

  The table's `attrs` say which classes compete, and whether it is of a sample (`results.sampled.Sample`).
  """
  sample = table.attrs.get("sample")
  classes = chance.competing(table.attrs)
  if sample is None:
    said = under(table, conditions, ids)
    at = np.tile(np.arange(len(conditions)), len(said.ids))
    labels, answers = said.right_classes.ravel(), said.prediction.ravel()
    chances = chance.of_answers(labels, answers, classes, at, len(conditions))
    return Accuracies(said.ids, said.right.astype(float), chances)
  every = pd.Index(sample.ids)
  order = every.sort_values() if ids is None else ids
  at = every.get_indexer(order)
  if (at < 0).any() or len(order) != len(every):
    raise ValueError("a sample of other examples")
  condition, known = codes(table["condition"])
  example, named = codes(table["example_id"])
  column = pd.Index(conditions).get_indexer(known)[condition]
  place = every.get_indexer(named)[example]
  hits = table["rank"].to_numpy() == 0
  right, of = np.empty((len(order), len(conditions))), []
  for index, name in enumerate(conditions):
    rows = column == index
    outcomes = np.full(int(rows.sum()), np.nan)
    outcomes[place[rows]] = hits[rows]  # samples are the first in the order
    critical = sample.critical[name]
    of.append(Sampled(estimate(outcomes, sample.known, sample.further.get(name)), critical))
    right[:, index] = of[-1].estimate.spread(critical)[at]
  asked = column >= 0
  labels, answers = (of[asked] for of in (chance.right_classes(table), table["prediction"].to_numpy()))
  chances = chance.of_answers(labels, answers, classes, column[asked], len(conditions))
  return Accuracies(order, right, chances, of)


def interval(right: np.ndarray, samples: Sequence[Sampled]) -> tuple[float, float, float]:
  """(accuracy, low, high), fractions: Wilson's interval, of a sample for the number of decisions it is worth.

  Args:
    right: float [n], of one condition, or the mean over several.
    samples: of these; () where all examples were asked, so that `right` is 0 or 1.
  """
  n = len(right)
  average = float(right.mean())
  if not samples:
    return average, *wilson(int(right.sum()), n)
  value = min(max(average, 0.0), 1.0)
  least = min(of.estimate.n for of in samples)
  return value, *interval_of_share(value, float(right.var()) / n, least)


def sampling_of(samples: Sequence[Sampled], weights: Sequence[float] | None = None) -> dict[str, Any]:
  """What a metric (`probes.base.Metric`) says of the samples that a weighted sum of accuracies rests on.

  Args:
    samples: of the accuracies; () where all examples were asked, so that there is nothing to say.
    weights: of the accuracies, in the metric's unit of 1; by default a mean in per cent.
  """
  if not samples:
    return {}
  estimates = [of.estimate for of in samples]
  least = min(estimates, key=lambda of: of.n)
  said = {"n": least.n, "estimator": " and ".join(dict.fromkeys(of.estimator for of in estimates))}
  if len(samples) == 1:
    (one,) = samples
    scale = 100.0 if weights is None else abs(weights[0])
    worth = {"effective_n": one.estimate.effective, "correlation": one.estimate.correlation}
    return said | worth | {"margin": scale * one.estimate.half(one.critical)}
  weights = [100 / len(samples)] * len(samples) if weights is None else weights
  # Samples are nested, so that errors of the same images add up; each condition's to its own margin, since of
  # few answers that change too little is seen. Conditions of which none is seen are taken to err together.
  errors, together = np.zeros(least.of), 0.0
  for weight, of in zip(weights, samples, strict=True):
    half, mine = of.estimate.half(max(of.critical, Z)), of.estimate.errors
    length = math.sqrt(float(mine @ mine))
    if length > 0:
      errors += weight * half / length * mine
    else:
      together += abs(weight) * half
  return said | {"margin": math.hypot(math.sqrt(float(errors @ errors)), together)}


def in_folders(ids: pd.Series, depth: int) -> tuple[np.ndarray, list[str], np.ndarray, int]:
  """Which images are the same but for the first folders of their paths.

  Made for many paths: those of a folder stand together, and mostly as in the other folders.

  Args:
    ids: str [n], paths.
    depth: how many folders are left out.

  Returns:
    The folder of each id, int [n]; the folders ("blur/1"); the image of each id, int [n]; how many there are.
  """
  paths = pa.Table.from_pandas(ids.astype(str).to_frame(), preserve_index=False)[0]
  folder, image = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
  folders: dict[str, int] = {}
  images: dict[str, int] = {}
  before, numbers = None, np.empty(0, np.int64)
  for name, start, stop in _runs(paths, depth):
    folder[start:stop] = folders.setdefault(name, len(folders))
    inside = paths.slice(start, stop - start)
    rest = _rest(inside, f"{name}/")
    if not _equal(rest, before):
      named = (path[len(name) + 1 :] for path in inside.to_pylist())
      before, numbers = rest, np.array([images.setdefault(of, len(images)) for of in named])
    image[start:stop] = numbers
  return folder, list(folders), image, len(images)


def _rest(paths: pa.ChunkedArray, prefix: str) -> np.ndarray | pa.ChunkedArray:
  """What follows the prefix of each; uint8 [n, length] where all paths are of one length, which is faster."""
  parts = []
  for part in paths.chunks:
    _, offsets, characters = part.buffers()
    wide = pa.types.is_large_string(part.type)
    at = np.frombuffer(offsets, np.int64 if wide else np.int32)[part.offset : part.offset + len(part) + 1]
    if (np.diff(at) != paths[0].as_buffer().size).any():
      return pc.call_function("utf8_slice_codeunits", [paths], pc.SliceOptions(len(prefix)))
    of_part = np.frombuffer(characters, np.uint8)[at[0] : at[-1]].reshape(len(part), -1)
    parts.append(of_part[:, len(prefix.encode()) :])
  return np.concatenate(parts)


def _equal(one: np.ndarray | pa.ChunkedArray, other: np.ndarray | pa.ChunkedArray | None) -> bool:
  if isinstance(one, np.ndarray):
    return isinstance(other, np.ndarray) and np.array_equal(one, other)
  return isinstance(other, pa.ChunkedArray) and one.equals(other)


def _runs(paths: pa.ChunkedArray, depth: int) -> Iterator[tuple[str, int, int]]:
  """(folder, start, stop) of paths that follow each other in it."""
  start = 0
  while start < len(paths):
    folder = "/".join(paths[start].as_py().split("/", depth)[:depth])
    stop, step = start + 1, 1
    while stop < len(paths):
      inside = pc.call_function(
        "starts_with", [paths.slice(stop, step)], pc.MatchSubstringOptions(f"{folder}/")
      ).to_numpy()
      if not inside.all():
        stop += int(inside.argmin())
        break
      stop, step = stop + len(inside), 2 * step
    yield folder, start, stop
    start = stop
