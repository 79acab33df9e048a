"""Batches hold each example exactly once, in order, whatever their size."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biasjax.data import pipeline
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.train import batches as training

SIZE = 2


def numbered(length: int, damaged=(), missing=()) -> Source:
  """A source whose i-th image has the value i in every pixel and class i % 7."""

  def read(index):
    if index in missing:
      raise FileNotFoundError(f"gone/{index}.png")
    content = b"damaged" if index in damaged else str(index).encode()
    return Example(content, index % 7, f"folder/{index}.png", () if index % 2 else (9,))

  return Source("numbered", length, read, "fingerprint", "/somewhere", crop=SIZE, most_labels=2)


def decode(content: bytes) -> np.ndarray:
  return np.full((SIZE, SIZE, 3), int(content), np.uint8)


def batches(source, chunks, batch_size):
  return list(pipeline.batches(source, chunks, batch_size=batch_size, decode=decode, threads=3))


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 60), chunk=st.integers(1, 30), batch_size=st.integers(1, 17))
def test_every_example_comes_once_and_in_order(length, chunk, batch_size):
  chunks = [(start, min(start + chunk, length)) for start in range(0, length, chunk)]
  seen = []
  for batch in batches(numbered(length), chunks, batch_size):
    assert batch.pixels.shape == (batch_size, SIZE, SIZE, 3)
    valid = batch.valid
    values = batch.pixels[valid][:, 0, 0, 0]
    start, stop = batch.chunk
    assert ((values >= start) & (values < stop)).all()
    np.testing.assert_array_equal(batch.labels[valid, 0], values % 7)
    np.testing.assert_array_equal(batch.labels[valid, 1], np.where(values % 2, -1, 9))
    assert [name for name in batch.example_ids if name] == [f"folder/{value}.png" for value in values]
    seen.extend(values)
  assert seen == list(range(length))


def test_padding_is_blank_and_labelled_as_no_example():
  (batch,) = batches(numbered(3), [(0, 3)], 5)
  np.testing.assert_array_equal(batch.valid, [True, True, True, False, False])
  np.testing.assert_array_equal(batch.labels, [[0, 9], [1, -1], [2, 9], [-1, -1], [-1, -1]])
  assert not batch.pixels[3:].any()


def test_an_image_that_cannot_be_decoded_is_named_and_the_rest_goes_on():
  first, second = batches(numbered(6, damaged=(1, 4)), [(0, 6)], 3)
  np.testing.assert_array_equal(first.valid, [True, False, True])
  np.testing.assert_array_equal(second.valid, [True, False, True])
  assert list(first.excluded) == ["folder/1.png"]
  assert "damaged" in first.excluded["folder/1.png"]


def test_storage_that_fails_stops_with_the_place():
  with pytest.raises(BiasjaxError, match=r"/somewhere: example 2 cannot be read \(gone/2\.png\)"):
    batches(numbered(6, missing=(2,)), [(0, 6)], 3)


def test_a_label_that_is_no_class_stops_whoever_reads_it():
  source = dataclasses.replace(numbered(6), read=lambda i: Example(str(i).encode(), 994 + 2 * i, f"{i}.png"))
  with pytest.raises(BiasjaxError, match=r"/somewhere: 3\.png has label 1000: it is none of the 1000"):
    batches(source, [(0, 6)], 3)
  with pytest.raises(BiasjaxError, match=r"has label 100[024]"):
    list(training.batches(source, 0, 6, 0, 1))


def test_noise_ids_follow_the_file_and_not_the_folder():
  a, b, c = map(pipeline.noise_id, ("n01440764/x_1.JPEG", "x_1.JPEG", "n01440764/x_2.JPEG"))
  np.testing.assert_array_equal(a, b)
  assert (a != c).any()
  names = [pathlib.PurePosixPath(f"ILSVRC2012_val_{i:08d}.JPEG") for i in range(2000)]
  assert len({pipeline.noise_id(str(name)).tobytes() for name in names}) == 2000
