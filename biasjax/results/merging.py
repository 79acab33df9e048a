"""One working directory of several, where what they hold fits together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from biasjax.errors import BiasjaxError
from biasjax.results import chunk as files
from biasjax.results import mixing
from biasjax.results.store import Store, write_file
from biasjax.results.unit import Unit

# What a part of a unit's key stands for, where two directories differ in it.
WORDS = {
  "model": "networks of one name with different weights",
  "dataset": "different images",
  "labels": "different kinds of labels",
  "preprocess": "different preprocessing",
  "precision": "different --precision",
  "seed": "different --seed",
  "biasjax": "different versions of biasjax",
  "computes": "another computation under the same name",
  "sample": "different --margin",
}
OF_DATASET = {
  "length": "different images",
  "fingerprint": "different images",
  "chunk_size": "chunks of different sizes",
}


def merge(stores: Sequence[Store], into: Store) -> None:
  """Copies what several directories hold into one; what is there already is not copied again.

  Nothing is written where anything does not fit.

  Args:
    stores: what is merged.
    into: the directory that it goes to; what it holds must fit as well.

  Raises:
    BiasjaxError: two of them hold different images under one name, in chunks of different sizes, other
      numbers of a network under one name, or numbers made with different settings; or it cannot be written.
  """
  everything = [into, *stores]
  datasets = _datasets(everything)
  units = _units(everything)
  mixing.refuse_different_settings(into, [unit for unit, _ in units.values()])
  mixing.refuse_different_networks(into, [unit for unit, _ in units.values()])
  recipe = _recipe(everything)
  _refuse_other_bytes(everything)
  for store in stores:
    for unit in store.units():
      _copy(store, into, unit)
  into.adopt(datasets, [unit for unit, _ in units.values()], recipe)


def _datasets(stores: Sequence[Store]) -> dict[str, Any]:
  found: dict[str, tuple[dict[str, Any], Store]] = {}
  for store in stores:
    for name, known in store.manifest["datasets"].items():
      other, where = found.setdefault(name, (known, store))
      for part, words in OF_DATASET.items():
        if other[part] == known[part]:
          continue
        told, so = f"{other[part]} and {known[part]}", ""
        if part == "fingerprint":
          told = "other names, sizes or labels, or the order of a sample, --margin, in one of them"
        if part == "chunk_size":
          if min(other[part], known[part]) >= known["length"]:
            continue  # all images are one chunk in both
          so = "; give both runs one --chunk_size"
        raise BiasjaxError(
          f"{where.workdir} and {store.workdir} hold {words} under the name {name} ({told}): "
          f"they cannot be merged{so}"
        )
  return {name: known for name, (known, _) in found.items()}


def _units(stores: Sequence[Store]) -> dict[tuple[str, str, str], tuple[Unit, Store]]:
  found: dict[tuple[str, str, str], tuple[Unit, Store]] = {}
  for store in stores:
    for unit in store.units():
      other, where = found.setdefault((unit.model, unit.dataset, unit.probe), (unit, store))
      if other.digest != unit.digest:
        differ = sorted(k for k in {**other.key, **unit.key} if other.key.get(k) != unit.key.get(k))
        words = ", ".join(WORDS.get(part, f"another {part}") for part in differ)
        raise BiasjaxError(
          f"{where.workdir} and {store.workdir} both hold {unit.model}, {unit.probe} on {unit.dataset}, and "
          f"not the same: {words}; they cannot be merged"
        )
  return found


def _recipe(stores: Sequence[Store]) -> str:
  """--preprocess of them all; "" where none says."""
  found = {store.manifest.get("preprocess", ""): store for store in stores}
  found.pop("", None)
  if len(found) > 1:
    said = " and ".join(f"--preprocess={recipe} ({store.workdir})" for recipe, store in found.items())
    raise BiasjaxError(f"numbers were made by {said}: they cannot be merged")
  return next(iter(found), "")


def _refuse_other_bytes(stores: Sequence[Store]) -> None:
  """Compares the bytes of the images that units have seen, chunk by chunk, as far as footers say."""
  seen: dict[tuple[str, files.Chunk], tuple[np.ndarray, Unit, Store]] = {}
  for store in stores:
    for unit in store.units():
      for chunk in store.chunks(unit.dataset):
        footer = store.footer(unit, chunk) if store.has(unit, chunk) else None
        if footer is None or footer.contents is None:
          continue
        contents, other, where = seen.setdefault((unit.dataset, chunk), (footer.contents, unit, store))
        differ = np.flatnonzero((contents != footer.contents) & (contents != 0) & (footer.contents != 0))
        if len(differ):
          raise BiasjaxError(
            f"{other.model} of {where.workdir} and {unit.model} of {store.workdir} have seen different "
            f"images of {unit.dataset}, e.g. example {chunk[0] + int(differ[0])}: they cannot be merged"
          )


def _copy(store: Store, into: Store, unit: Unit) -> None:
  """The unit's files; one that is there already is the same, by the key."""
  for chunk in store.chunks(unit.dataset):
    if not store.has(unit, chunk):
      continue
    for name in (files.marker_name(chunk), files.file_name(chunk)):
      _copy_file(into, store.folder(unit) / name, into.folder(unit) / name)
  for path in store.kept_adversarial(unit):
    _copy_file(into, path, into.adversarial_folder(unit) / path.name)


def _copy_file(into: Store, source: epath.Path, target: epath.Path) -> None:
  if target.exists() or not source.exists():
    return
  try:
    content = source.read_bytes()
  except OSError as error:
    raise BiasjaxError(f"{source} cannot be read ({error}): {into.workdir} is not whole") from error
  write_file(target, content)
