"""What labels are indices into: ImageNet's 1,000 classes, the 16 of Geirhos et al. (2018), the drawn 16.

And the classes that compete where a benchmark holds only some of the 1,000.
"""

import collections
import functools
import importlib.resources
import pathlib
import re
from collections.abc import Collection

from biasjax.data import synthetic
from biasjax.errors import BiasjaxError

CUE = re.compile(r"([a-z]+)\d*-([a-z]+)\d*")


@functools.cache
def wordnet_ids() -> tuple[str, ...]:
  """The 1,000 WordNet ids of ImageNet in sorted order, torchvision's and TFDS' class order."""
  text = importlib.resources.files("biasjax.data").joinpath("info/imagenet_wnids.txt").read_text()
  return tuple(text.split())


@functools.cache
def class_index() -> dict[str, int]:
  """WordNet id -> class index, 0..999."""
  return {wnid: index for index, wnid in enumerate(wordnet_ids())}


LAION_C = "laion_c"  # whose superclasses are not the 16 categories
# Benchmarks that hold some of the 1,000 classes: the file of their WordNet ids.
SUBSETS = ("imagenet_a", "imagenet_r", "imagenette")


@functools.cache
def subset(name: str) -> tuple[int, ...]:
  """The classes of one of `SUBSETS`, ascending indices: 200 in ImageNet-A and in -R, 10 in imagenette.

  Hendrycks et al. 2021a (A), 2021b (R); Howard 2019 (imagenette).
  """
  text = importlib.resources.files("biasjax.data").joinpath(f"info/{name}.txt").read_text()
  return tuple(sorted(class_index()[wnid] for wnid in text.split()))


def competing(labels: str) -> Collection[int] | None:
  """The labels that images may have, by their kind (`sources.Source.labels`); None for a network's own."""
  if labels in SUBSETS:
    return subset(labels)
  if labels in ("categories16", "cue_conflict", "model_vs_human"):
    return range(len(categories()))
  if labels == LAION_C:
    return range(len(category_classes(LAION_C)))
  if labels in ("synthetic", "synthetic_conflict"):
    return range(len(synthetic.CATEGORIES))
  return None if labels in ("classes", "class_conflict") else range(len(wordnet_ids()))


@functools.cache
def category_classes(kind: str = "categories16") -> dict[str, tuple[int, ...]]:
  """Category -> class indices (0..999), categories in alphabetical order: the order of their own index.

  Args:
    kind: "categories16" (Geirhos et al. 2018) or "laion_c" (Li et al. 2025), 16 of each.
  """
  text = importlib.resources.files("biasjax.data").joinpath(f"info/{kind}.txt").read_text()
  rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
  return {category: tuple(sorted(class_index()[wnid] for wnid in wnids)) for category, *wnids in rows}


def categories() -> tuple[str, ...]:
  """The 16 categories; a category's label is its index here."""
  return tuple(category_classes())


@functools.cache
def category_index() -> dict[str, int]:
  """Category -> label, 0..15."""
  return {category: i for i, category in enumerate(categories())}


@functools.cache
def words() -> tuple[str, ...]:
  """A word for each of ImageNet's classes, WordNet's first; two that share one ("crane") with their ids."""
  text = importlib.resources.files("biasjax.data").joinpath("info/imagenet_names.txt").read_text()
  of = dict(line.split(maxsplit=1) for line in text.splitlines() if not line.startswith("#"))
  once = collections.Counter(of.values())
  return tuple(of[i] if once[of[i]] == 1 else f"{of[i]} ({i})" for i in wordnet_ids())


def class_names(labels: str) -> tuple[str, ...]:
  """What labels are called, by their kind: words or categories; none of a network's own classes."""
  if labels in ("synthetic", "synthetic_conflict"):
    return synthetic.CATEGORIES
  if labels in ("categories16", "cue_conflict", "model_vs_human"):
    return categories()
  if labels == LAION_C:
    return tuple(category_classes(LAION_C))
  return () if labels in ("classes", "class_conflict") else words()


def conflict_categories(labels: str) -> tuple[str, ...]:
  """The categories whose cues are in conflict, by the kind of labels: drawn ones, or Geirhos et al.'s."""
  return synthetic.CATEGORIES if labels == "synthetic_conflict" else categories()


def cues(example_id: str, known: Collection[str] | None = None) -> tuple[str, str]:
  """(shape, texture) of a cue-conflict stimulus, from its file name: <shape>N-<texture>M.png.

  Names with anything before that, up to the last underscore, as in recorded trials, are understood too.

  Args:
    example_id: the file name.
    known: the categories there are; Geirhos et al.'s 16 by default.

  Raises:
    BiasjaxError: it is not so named, or names something that is none of the categories.
  """
  known = known or categories()
  match = CUE.fullmatch(pathlib.PurePosixPath(example_id).stem.rpartition("_")[2])
  if not match or not set(match.groups()) <= set(known):
    raise BiasjaxError(
      f"{example_id}: expected a cue-conflict stimulus <shape>N-<texture>M.png of the categories "
      + ", ".join(known)
    )
  return match[1], match[2]
