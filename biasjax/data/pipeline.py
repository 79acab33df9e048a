"""A range of a source as batches of one shape: each example once, in order, decoded ahead in threads."""

import dataclasses
import functools
import hashlib
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from biasjax.data import preprocess
from biasjax.data.ahead import ahead
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError

PADDING = -1
IMAGENET_NAME = re.compile(r"ILSVRC2012_|n\d{8}_")
THREADS = 16
# Seconds before each further attempt to read what failed: network file systems may be short of data for once.
PAUSES_S = (0.1, 0.4)


@dataclasses.dataclass(frozen=True)
class Batch:
  """Examples of one range, padded to a fixed size.

  Attributes:
    chunk: the (start, stop) that it belongs to.
    pixels: uint8 [b, h, w, 3]; zeros where there is no example.
    labels: int32 [b, most_labels], the classes that are right, -1 after them; only -1 where there is no
      example (padding at the end, or an undecodable image).
    noise_ids: uint32 [b, 2], `noise_id` of each row.
    example_ids: the id of each row; "" for padding.
    contents: uint32 [b], `content` of each row's bytes; 0 for padding.
    excluded: {example id: reason} of the images that could not be decoded.
  """

  chunk: tuple[int, int]
  pixels: np.ndarray
  labels: np.ndarray
  noise_ids: np.ndarray
  example_ids: list[str]
  contents: np.ndarray
  excluded: dict[str, str]

  @property
  def valid(self) -> np.ndarray:
    """Which rows hold an example, bool [b]."""
    return self.labels[:, 0] != PADDING

  @property
  def count(self) -> int:
    """Rows that are no padding, decoded or not."""
    return sum(map(bool, self.example_ids))


def noise_id(example_id: str, label: int) -> np.ndarray:
  """uint32 [2], of the file name and, unless it is a name of ImageNet's own, of class and folders between.

  Names like art_0.jpg are there once in each class, and slice_1.png maybe in each folder of a class.
  ImageNet's are there once, and the same image may have another first label in ReaL. The folder of the class
  plays no part: an image meets the same noise in a folder, in TFDS, which keeps it for some datasets only,
  and ImageNet's under each distortion of ImageNet-C.

  Args:
    example_id: ends in the file name.
    label: the first class that is right.
  """
  name = pathlib.PurePosixPath(example_id).name
  below = example_id.partition("/")[2] or example_id  # the folder of the class
  named = name if IMAGENET_NAME.match(name) else f"{label}/{below}"
  return np.frombuffer(hashlib.blake2b(named.encode(), digest_size=8).digest(), "<u4")


def content(encoded: bytes) -> int:
  """1 to 2^32 - 1, which stands for the bytes of an image."""
  return max(1, int.from_bytes(hashlib.blake2b(encoded, digest_size=4).digest(), "little"))


def read(source: Source, index: int) -> Example:
  """An example; what fails is tried again.

  Raises:
    BiasjaxError: storage fails, or a label is none of the classes.
  """
  for pause in (*PAUSES_S, None):
    try:
      return source.example(index)
    except OSError as error:
      if pause is None:
        raise BiasjaxError(
          f"{source.location}: example {index} cannot be read ({error}); what is computed is kept, start "
          "again"
        ) from error
      time.sleep(pause)
  raise AssertionError  # the last attempt returned or raised


def preprocessing(source: Source) -> Callable[[bytes], np.ndarray]:
  """Encoded bytes -> uint8 [crop, crop, 3], as the source says; ValueError for what cannot be decoded."""
  return functools.partial(
    preprocess.preprocess,
    short_side=source.resize,
    crop=source.crop,
    interpolation=source.interpolation,
    squash=source.squash,
    stimulus=source.stimulus,
  )


def pixels(
  source: Source, index: int, shown: Callable[[bytes], np.ndarray], then: str = ""
) -> tuple[Example, np.ndarray]:
  """An example and what `shown` makes of it, where every image is needed.

  Args:
    source: what to read.
    index: of the example.
    shown: as `preprocessing` returns it.
    then: what is to be done after an image that cannot be decoded was mended or removed.

  Raises:
    BiasjaxError: as `read`, or it cannot be decoded; it is named.
  """
  example = read(source, index)
  try:
    return example, shown(example.encoded)
  except ValueError as error:
    reason = " ".join(str(error).split())
    raise BiasjaxError(
      f"{source.location}: {example.example_id} cannot be decoded ({reason}): mend or remove it{then}"
    ) from error


def batches(
  source: Source,
  chunks: Sequence[tuple[int, int]],
  *,
  batch_size: int,
  decode: Callable[[bytes], np.ndarray] | None = None,
  threads: int = THREADS,
) -> Iterator[Batch]:
  """Batches of the examples in `chunks`, every one exactly once and in order; none spans two chunks.

  Args:
    source: what to read.
    chunks: (start, stop) ranges of indices.
    batch_size: rows in every batch; the last of a chunk is padded.
    decode: instead of `preprocessing(source)`.
    threads: that read and decode.

  Raises:
    BiasjaxError: storage failed, or a label is none of the classes; which file is said. (An image that is
      there but cannot be decoded, however often it is read, does not raise: it is left out and named in
      `excluded`.)
  """
  decode = decode or preprocessing(source)
  blank = np.zeros((source.crop, source.crop, 3), np.uint8)
  nothing = (PADDING,) * source.most_labels

  def load(index):
    example = read(source, index)
    labels = (example.label, *example.also, *nothing)[: source.most_labels]
    for pause in (*PAUSES_S, None):
      now = content(example.encoded)
      try:
        return labels, example.example_id, decode(example.encoded), now, ""
      except ValueError as error:
        reason = str(error)
      if pause is None:
        break
      time.sleep(pause)
      example = read(source, index)
      if content(example.encoded) == now:
        break
    return nothing, example.example_id, blank, now, reason

  # One iterator over all chunks: the next one is being decoded while the last batch of this one is computed.
  indices = (index for chunk in chunks for index in range(*chunk))
  examples = ahead(load, indices, threads=threads, most=2 * batch_size + threads)
  for chunk in chunks:
    for first in range(*chunk, batch_size):
      rows = [next(examples) for _ in range(min(batch_size, chunk[1] - first))]
      rows += [(nothing, "", blank, 0, "")] * (batch_size - len(rows))
      labels, example_ids, pixels, contents, reasons = zip(*rows, strict=True)
      yield Batch(
        chunk=chunk,
        pixels=np.stack(pixels),
        labels=np.array(labels, np.int32),
        noise_ids=np.stack([noise_id(name, of[0]) for name, of in zip(example_ids, labels, strict=True)]),
        example_ids=list(example_ids),
        contents=np.array(contents, np.uint32),
        excluded={name: reason for name, reason in zip(example_ids, reasons, strict=True) if reason},
      )
