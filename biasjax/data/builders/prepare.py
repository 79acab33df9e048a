"""`run.py --prepare`: finds the files, checks them, writes the dataset; started again, it goes on."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

from biasjax.data import checking, datasets, opening
from biasjax.data.files import UNKNOWN
from biasjax.data.layouts import Listing
from biasjax.errors import BiasjaxError

SPARE = 1.05  # of the images' own size, that records and the listing take


def prepare(
  name: str, manual_dir: str | None, data_dir: str | None = None, *, allow_incomplete: bool = False
) -> str:
  """Prepares a benchmark in array_record, and returns the folder it is in.

  Args:
    name: of a row of `datasets.ROWS`.
    manual_dir: the folder that holds its archive or its unpacked folder, or either itself.
    data_dir: where TFDS datasets go, a local folder; TFDS' default if None.
    allow_incomplete: go on where the files are not what was published.

  Raises:
    BiasjaxError: no such benchmark, its files are not there or not complete, or the disk is too small.
  """
  row = datasets.get(name)
  base = pathlib.Path(opening.default_data_dir(data_dir)).expanduser()
  final = base / row.builder / opening.VERSION
  if (final / opening.LISTING).exists():
    return str(final)
  if "://" in str(data_dir):
    raise BiasjaxError(f"--data_dir={data_dir}: prepare in a local folder, then copy {row.builder} there")
  try:
    listing = opening.listing(row, _files(row, manual_dir), manual_dir)
  except BiasjaxError as error:
    raise BiasjaxError(f"--prepare={row.name}: {error}; needed: {opening.wanted(row)}") from error
  wrong = checking.differences(row, listing)
  if wrong and not allow_incomplete:
    raise BiasjaxError(
      f"{row.name} in {manual_dir} is not what its authors published: {'; '.join(wrong)}: get it again, or "
      "go on regardless with --allow_incomplete"
    )
  files = [dataclasses.replace(f, size=len(f.read())) if f.size == UNKNOWN else f for f in listing.files]
  listing = dataclasses.replace(listing, files=files)
  # What is kept of an earlier attempt belongs to exactly these files.
  digest = hashlib.sha256(
    "\n".join(f"{p.example_id} {f.size}" for p, f in zip(listing.places, listing.files, strict=True)).encode()
  )
  unfinished = base / row.builder / f".unfinished-{digest.hexdigest()[:16]}"
  try:
    unfinished.mkdir(parents=True, exist_ok=True)
    _room(listing, unfinished)
    # TFDS' own leftovers of an attempt that was killed.
    for left in final.parent.glob(f"incomplete.*_{final.name}"):
      shutil.rmtree(left)
    _write(row, listing, unfinished, base)
    shutil.rmtree(unfinished)
  except OSError as error:
    raise BiasjaxError(f"cannot prepare {row.name} in {base}: {error}; start again to go on") from error
  return str(final)


def _write(row: datasets.Dataset, listing: Listing, unfinished: pathlib.Path, base: pathlib.Path) -> None:
  from biasjax.data.builders.benchmark import Benchmark

  with storing():
    Benchmark(row, listing, unfinished, str(base)).download_and_prepare()


@contextlib.contextmanager
def storing() -> Iterator[None]:
  """While TFDS writes: array_record's RuntimeError about what the system refuses is raised as an OSError."""
  try:
    yield
  except RuntimeError as error:
    refused = re.search(r"\w+\(\) failed: ([^;]+); writing ([^;]+)", str(error))
    if refused is None:
      raise
    raise OSError(f"{refused[2]}: {refused[1]}") from error


def _files(row: datasets.Dataset, manual_dir: str | None) -> pathlib.Path:
  if not manual_dir:
    raise BiasjaxError(f"--prepare={row.name} needs --manual_dir, a folder with {opening.wanted(row)}")
  root = pathlib.Path(manual_dir).expanduser()
  if not root.exists():
    raise BiasjaxError(f"--manual_dir={manual_dir} is not there; it should hold {opening.wanted(row)}")
  found = opening.distributed(row, manual_dir)
  if found is None and root.is_dir() and not any(root.iterdir()):
    raise BiasjaxError(f"--manual_dir={manual_dir} is empty; it should hold {opening.wanted(row)}")
  return found or root


def _room(listing: Listing, unfinished: pathlib.Path) -> None:
  there = sum(path.stat().st_size for path in unfinished.iterdir())
  needed = SPARE * sum(file.size for file in listing.files) - there
  free = shutil.disk_usage(unfinished).free
  if needed > free:
    raise BiasjaxError(
      f"{os.fspath(unfinished.parent)}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free: "
      "make room, or name another --data_dir"
    )
