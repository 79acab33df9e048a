"""Whether the images are still those that stored observations were computed from.

A chunk's footer holds a digest of each image's bytes. A start over existing chunks reads one image of each,
and whatever is read again to compute more is compared as a whole.
"""

import concurrent.futures
import logging
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from biasjax.data import pipeline
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError
from biasjax.results.chunk import Chunk
from biasjax.results.store import Store
from biasjax.results.unit import Unit

logger = logging.getLogger(__name__)


def recheck(source: Source, store: Store, own: Sequence[Chunk], threads: int) -> None:
  """Compares one image of each chunk that is there with what it was, and tries excluded images again.

  A chunk from which an image was excluded that has other bytes now is outdated, and so computed again.

  Args:
    source: the images, registered.
    store: where the chunks are.
    own: the chunks that this process looks after.
    threads: that read.

  Raises:
    BiasjaxError: an image is not the one that was observed, or storage fails.
  """
  units = [unit for unit in store.units() if unit.dataset == source.name]
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    _outdate_excluded(source, store, units, own, pool)
    list(pool.map(lambda numbered: _compare_one(source, store, units, *numbered), enumerate(own)))


def _outdate_excluded(
  source: Source,
  store: Store,
  units: Iterable[Unit],
  own: Sequence[Chunk],
  pool: concurrent.futures.Executor,
) -> None:
  there = [
    (unit, chunk, store.excluded(unit, chunk)) for unit in units for chunk in own if store.has(unit, chunk)
  ]
  indices = sorted({index for _, _, excluded in there for index in excluded})
  now = dict(zip(indices, pool.map(lambda index: _digest(source, index), indices), strict=True))
  for unit, chunk, excluded in there:
    changed = [index for index, digest in excluded.items() if now[index] != digest]
    if changed:
      logger.warning(
        "%s, %s on %s: %d image(s) that could not be decoded have other bytes now: examples %d to %d are "
        "computed again",
        *(unit.model, unit.probe, unit.dataset, len(changed), *chunk),
      )
      store.outdate(unit, chunk)


def _compare_one(source: Source, store: Store, units: Sequence[Unit], number: int, chunk: Chunk) -> None:
  there = [unit for unit in units if store.has(unit, chunk)]
  if not there:
    return
  unit = there[number % len(there)]  # another one's for each chunk, so that all of them are looked at
  footer = store.footer(unit, chunk)
  if footer is None or footer.contents is None:
    return
  observed = np.flatnonzero(footer.contents).tolist()
  if not observed:
    return
  at = observed[zlib.crc32(f"{source.fingerprint} {chunk}".encode()) % len(observed)]
  example = pipeline.read(source, chunk[0] + at)
  if pipeline.content(example.encoded) != footer.contents[at]:
    raise _changed(source, store, unit, example.example_id)


def _digest(source: Source, index: int) -> int:
  return pipeline.content(pipeline.read(source, index).encoded)


def refuse_other(
  source: Source, store: Store, chunk: Chunk, example_ids: Sequence[str], contents: np.ndarray
) -> None:
  """Compares what was read of a whole chunk with what other observations of it were computed from.

  Args:
    source: the images.
    store: where the others are.
    chunk: (start, stop).
    example_ids: of the chunk, in order.
    contents: uint32 [stop - start], `pipeline.content` of each, decoded or not.

  Raises:
    BiasjaxError: an image is not the one that was observed.
  """
  for unit in store.units():
    if unit.dataset != source.name or not store.has(unit, chunk):
      continue
    footer = store.footer(unit, chunk)
    if footer is None or footer.contents is None:
      continue
    other = np.flatnonzero((footer.contents != contents) & (footer.contents != 0)).tolist()
    if other:
      raise _changed(source, store, unit, example_ids[other[0]])
    return  # that one was compared with the rest when it was written


def _changed(source: Source, store: Store, unit: Unit, example_id: str) -> BiasjaxError:
  return BiasjaxError(
    f"{source.location}: {example_id} has not the bytes that {unit.model}, {unit.probe} in {store.workdir} "
    "was computed from: images were replaced under the same names, or storage is unreliable: put back what "
    "was there, or name another --workdir"
  )
