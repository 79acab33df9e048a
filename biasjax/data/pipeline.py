"""A range of a source as batches of one shape: each example once, in order, decoded ahead in threads."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np

from biasjax.data import preprocess
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Batch:
  """Examples of one range, padded to a fixed size.

  Attributes:
    chunk: the (start, stop) that it belongs to.
    pixels: uint8 [b, h, w, 3]; zeros where there is no example.
    labels: int32 [b, most_labels], the classes that are right, -1 after them; only -1 where there is no
      example (padding at the end, or an undecodable image).
    noise_ids: uint32 [b, 2], a hash of each example's file name that noise is keyed by.
    example_ids: the id of each row; "" for padding.
    excluded: {example id: reason} of the images that could not be decoded.
  """

  chunk: tuple[int, int]
  pixels: np.ndarray
  labels: np.ndarray
  noise_ids: np.ndarray
  example_ids: list[str]
  excluded: dict[str, str]

  @property
  def valid(self) -> np.ndarray:
    """Which rows hold an example, bool [b]."""
    return self.labels[:, 0] != PADDING

  @property
  def count(self) -> int:
    """Rows that are no padding, decoded or not."""
    return sum(map(bool, self.example_ids))


def noise_id(example_id: str) -> np.ndarray:
  """uint32 [2], from the file name alone: an image meets the same noise in a folder and in TFDS."""
  digest = hashlib.blake2b(pathlib.PurePosixPath(example_id).name.encode(), digest_size=8).digest()
  return np.frombuffer(digest, "<u4")


def preprocessing(source: Source) -> Callable[[bytes], np.ndarray]:
  """Encoded bytes -> uint8 [crop, crop, 3], as the source says; ValueError for what cannot be decoded."""
  return functools.partial(
    preprocess.preprocess,
    short_side=source.resize,
    crop=source.crop,
    interpolation=source.interpolation,
  )


def batches(
  source: Source,
  chunks: Sequence[tuple[int, int]],
  *,
  batch_size: int,
  decode: Callable[[bytes], np.ndarray] | None = None,
  threads: int = 16,
) -> Iterator[Batch]:
  """Batches of the examples in `chunks`, every one exactly once and in order; none spans two chunks.

  Args:
    source: what to read.
    chunks: (start, stop) ranges of indices.
    batch_size: rows in every batch; the last of a chunk is padded.
    decode: instead of `preprocessing(source)`.
    threads: that read and decode.

  Raises:
    BiasjaxError: storage failed; which file is said. (An image that is there but cannot be decoded does not
      raise: it is left out and named in `excluded`.)
  """
  decode = decode or preprocessing(source)
  blank = np.zeros((source.crop, source.crop, 3), np.uint8)
  nothing = (PADDING,) * source.most_labels

  def load(index):
    try:
      example = source.read(int(index))
    except OSError as error:
      raise BiasjaxError(
        f"{source.location}: example {index} cannot be read ({error}); what is computed is kept, start again"
      ) from error
    try:
      labels = (example.label, *example.also, *nothing)[: source.most_labels]
      return labels, example.example_id, decode(example.encoded), ""
    except ValueError as error:
      return nothing, example.example_id, blank, str(error)

  # One iterator over all chunks: the next one is being decoded while the last batch of this one is computed.
  examples = iter(
    grain.MapDataset.source([index for chunk in chunks for index in range(*chunk)])
    .map(load)
    .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * batch_size + threads))
  )
  for chunk in chunks:
    for first in range(*chunk, batch_size):
      rows = [next(examples) for _ in range(min(batch_size, chunk[1] - first))]
      rows += [(nothing, "", blank, "")] * (batch_size - len(rows))
      labels, example_ids, pixels, reasons = zip(*rows, strict=True)
      yield Batch(
        chunk=chunk,
        pixels=np.stack(pixels),
        labels=np.array(labels, np.int32),
        noise_ids=np.stack([noise_id(example_id) for example_id in example_ids]),
        example_ids=list(example_ids),
        excluded={name: reason for name, reason in zip(example_ids, reasons, strict=True) if reason},
      )
