"""Batches hold each example exactly once, in order, whatever their size."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biasjax.data import pipeline, sources
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.train import batches as training
from made_images import class_folder, encoded

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


def noise_of(source: sources.Source) -> list[bytes]:
  """The noise id of each example, sorted."""
  (batch,) = pipeline.batches(source, [(0, source.length)], batch_size=source.length)
  return sorted(row.tobytes() for row in batch.noise_ids)


def test_images_of_one_name_in_two_classes_meet_different_noise_in_a_folder_as_in_tfds(
  tmp_path, prepared_tfds
):
  class_folder(tmp_path / "images", {"n01440764": 2, "n01443537": 2})
  for wnid, colour in (("n01440764", 50), ("n01443537", 90)):
    for name in ("art_0.JPEG", "art_1.JPEG"):
      picture = encoded(np.full((8, 8, 3), colour, np.uint8))
      (tmp_path / "images" / wnid / name).write_bytes(picture)
  in_folder = noise_of(sources.folder(tmp_path / "images"))
  assert len(set(in_folder)) == 8
  assert noise_of(sources.tfds(str(prepared_tfds(tmp_path / "images")))) == in_folder


def test_images_of_one_name_in_two_folders_of_a_class_meet_different_noise(tmp_path):
  for where in ("ill/patient_1", "ill/patient_2", "well/patient_3"):
    (tmp_path / where).mkdir(parents=True)
    for slice_of in range(2):
      (tmp_path / where / f"{slice_of}.png").write_bytes(encoded(np.zeros((224, 224, 3), np.uint8), "PNG"))
  assert len(set(noise_of(sources.own_classes(tmp_path)))) == 6


def test_noise_of_imagenets_images_follows_the_name_whatever_the_label():
  """ReaL has other labels for them, ImageNet-C them in other folders."""
  name = "ILSVRC2012_val_00000293.JPEG"
  ids = [
    pipeline.noise_id(path, label)
    for path in (name, f"n01440764/{name}", f"fog/3/n01440764/{name}")
    for label in (0, 7)
  ]
  assert len({noise.tobytes() for noise in ids}) == 1
  names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(2000)]
  assert len({pipeline.noise_id(other, 0).tobytes() for other in names}) == 2000
