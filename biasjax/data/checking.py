"""Is it the dataset that its authors published? Asked before hours are spent on it."""

import collections
import hashlib
import pathlib
from collections.abc import Sequence

from biasjax.data.datasets import Dataset
from biasjax.data.layouts import Listing, Place

SHOWN = 3


def differences(row: Dataset, listing: Listing) -> list[str]:
  """What differs from what `row` says must be there: counts, classes, conditions, known files.

  Args:
    row: what was published.
    listing: what is there.

  Returns:
    A phrase for each difference; none where it is complete.
  """
  places, found = listing.places, []
  if listing.others:
    found.append(f"{len(listing.others)} image(s) do not belong to it, e.g. {listing.others[0]!r}")
  if listing.unreadable:
    found.append(f"{len(listing.unreadable)} file(s) cannot be read, e.g. {listing.unreadable[0]}")
  if row.images and len(places) != row.images:
    found.append(f"{len(places):,} images instead of {row.images:,}")
  if row.conditions:
    there = {place.condition for place in places}
    missing = [condition for condition in row.conditions if condition not in there]
    if missing:
      found.append(f"{len(missing)} of {len(row.conditions)} conditions are missing: {_shown(missing)}")
    unknown = sorted(there.difference(row.conditions))
    if unknown:
      found.append(f"{len(unknown)} conditions are unknown: {_shown(unknown)}")
  classes = {place.label for place in places}
  if len(classes) != row.classes:
    found.append(f"{len(classes):,} classes instead of {row.classes:,}")
  counts = collections.Counter((place.condition, place.label) for place in places)
  low, high = row.per_class
  wrong = [(where, n) for where, n in sorted(counts.items()) if not low <= n <= high]
  if wrong and not row.most_labels > 1:
    (condition, label), n = wrong[0]
    expected = f"{low}" if low == high else f"{low} to {high}"
    where = f"class {label}" + (f" of {condition}" if condition else "")
    found.append(f"{len(wrong)} classes have not {expected} images, e.g. {where} has {n}")
  by_id = {place.example_id: place.label for place in places} if row.known else {}
  by_name = {example_id.rpartition("/")[2]: label for example_id, label in by_id.items()}
  for known, label in row.known:
    there = by_id.get(known, by_name.get(known) if "/" not in known else None)
    if there is None:
      found.append(f"{known} is missing")
    elif there != label:
      found.append(f"{known} is in class {there} instead of {label}")
  return found


def _shown(names: Sequence[str]) -> str:
  return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def balanced(places: Sequence[Place], limit: int) -> list[int]:
  """Indices of `limit` examples of each condition, classes as equal as can be, in order.

  Which of a class are taken is decided by a hash of the file name: the same everywhere, and in each condition
  of ImageNet-C the images that the subset of ImageNet has. Where there are fewer examples, all are taken.
  """
  strata: dict[tuple[str, int], list[tuple[bytes, int]]] = collections.defaultdict(list)
  for i, place in enumerate(places):
    strata[place.condition, place.label].append((_rank(place), i))
  # Classes are filled in turn, so that no class is ahead of another by more than one.
  order: dict[str, list[tuple[int, bytes, int]]] = collections.defaultdict(list)
  for (condition, _), members in strata.items():
    order[condition] += [(turn, digest, i) for turn, (digest, i) in enumerate(sorted(members))]
  return sorted(i for candidates in order.values() for *_, i in sorted(candidates)[:limit])


def _rank(place: Place) -> bytes:
  name = pathlib.PurePosixPath(place.example_id).stem
  return hashlib.blake2b(name.encode(), digest_size=8).digest()
