"""Batches to train on: each example once an epoch, in an order that the seed and the epoch decide."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from biasjax.data import pipeline
from biasjax.data.ahead import ahead
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError

# After an image was mended or removed, either of which makes another data set of them.
ANEW = (
  "; a training that has begun goes on with the same files only: name another train.name or --workdir then"
)


@dataclasses.dataclass(frozen=True)
class Examples:
  """One step's examples.

  Attributes:
    pixels: uint8 [b, h, w, 3].
    labels: int32 [b].
    indices: uint32 [b], of the examples in the source.
  """

  pixels: np.ndarray
  labels: np.ndarray
  indices: np.ndarray


def steps_per_epoch(source: Source, batch_size: int) -> int:
  """Whole batches in an epoch; what is left over waits for another epoch's order.

  Raises:
    BiasjaxError: there is not even one.
  """
  if source.length < batch_size:
    raise BiasjaxError(f"{source.location}: {source.length} images are less than --batch_size={batch_size}")
  return source.length // batch_size


def order(length: int, seed: int, epoch: int) -> np.ndarray:
  """The indices of an epoch in its order."""
  return np.random.default_rng((seed, epoch)).permutation(length)


def batches(source: Source, seed: int, batch_size: int, start: int, stop: int) -> Iterator[Examples]:
  """The batches of steps `start` to `stop`, decoded ahead in threads; any start gives the same batches.

  Raises:
    BiasjaxError: an image cannot be read or decoded.
  """
  per_epoch = steps_per_epoch(source, batch_size)
  shown = pipeline.preprocessing(source)
  orders = functools.lru_cache(maxsize=2)(functools.partial(order, source.length, seed))

  def load(position):
    step, row = divmod(position, batch_size)
    epoch, within = divmod(step, per_epoch)
    index = orders(epoch)[within * batch_size + row]
    example, pixels = pipeline.pixels(source, int(index), shown, ANEW)
    return pixels, example.label, index

  positions = range(start * batch_size, stop * batch_size)
  examples = ahead(load, positions, threads=8, most=4 * batch_size)
  for _ in range(start, stop):
    pixels, labels, indices = zip(*(next(examples) for _ in range(batch_size)), strict=True)
    yield Examples(np.stack(pixels), np.array(labels, np.int32), np.array(indices, np.uint32))
