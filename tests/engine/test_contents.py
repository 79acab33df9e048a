"""An observation belongs to the bytes that it was made of: others are noticed, failures tried again."""

import dataclasses
import gc
import time
import weakref

import jaxlib.version
import numpy as np
import PIL
import pytest

from biasjax import probes
from biasjax.data import pipeline, sources
from biasjax.engine import contents, environment, evaluate
from biasjax.errors import BiasjaxError
from biasjax.partition import of_process
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from deadline import DEADLINE_S
from made_images import encoded, pixels
from made_models import made_model

LENGTH = 11


@pytest.fixture
def source(tmp_path):
  """Bitmaps, all of one size: other pixels are other bytes under the same names and sizes."""
  folder = tmp_path / "images/n01440764"
  folder.mkdir(parents=True)
  for i in range(LENGTH):
    (folder / f"{i:02d}.bmp").write_bytes(encoded(pixels(40, 40, seed=i), "BMP"))
  return sources.folder(tmp_path / "images", "made")


def run(source, workdir, names=("a",), asked=("accuracy",), **of_settings) -> Store:
  store = Store(workdir, 4)
  models = [made_model(name, seed) for seed, name in enumerate(names)]
  settings = evaluate.Settings(batch_size=4, **of_settings)
  evaluate.evaluate(models, [probes.get(name) for name in asked], source, store, settings)
  return store


def replace(source, indices) -> None:
  """Inverts images."""
  for index in indices:
    path = f"{source.location}/n01440764/{index:02d}.bmp"
    with open(path, "r+b") as file:
      content = bytearray(file.read())
      content[54:] = bytes(255 - byte for byte in content[54:])
      file.seek(0)
      file.write(content)


def files(workdir) -> dict[str, bytes]:
  return {str(p.relative_to(workdir)): p.read_bytes() for p in sorted(workdir.rglob("*")) if p.is_file()}


def damaged(source, wrong: dict[int, bytes], times: float = np.inf):
  """The source, where the first `times` readings of some images give other bytes."""
  left = dict.fromkeys(wrong, times)

  def read(index):
    example = source.read(index)
    if left.get(index, 0) > 0:
      left[index] -= 1
      return dataclasses.replace(example, encoded=wrong[index])
    return example

  return dataclasses.replace(source, read=read)


def test_images_that_were_replaced_under_their_names_and_sizes_are_refused(tmp_path, source):
  run(source, tmp_path / "out")
  replace(source, range(LENGTH))
  again = sources.folder(tmp_path / "images", "made")
  assert again.fingerprint == source.fingerprint
  with pytest.raises(
    BiasjaxError, match=r"n01440764/\d\d.bmp has not the bytes that a, accuracy in .*out was"
  ):
    run(again, tmp_path / "out")


def test_a_start_looks_at_one_image_of_each_chunk(tmp_path, source, monkeypatch):
  run(source, tmp_path / "out", ("a", "b"))
  read = []
  counted = dataclasses.replace(source, read=lambda index: read.append(index) or source.read(index))
  monkeypatch.setattr(pipeline, "batches", None)  # nothing is missing
  run(counted, tmp_path / "out", ("a", "b"))
  assert sorted(index // 4 for index in read) == [0, 1, 2]


def test_each_image_that_is_read_again_is_compared(tmp_path, source, monkeypatch):
  run(source, tmp_path / "out")
  monkeypatch.setattr(contents, "recheck", lambda *args: None)  # it looks at others than this one
  replace(source, [6])
  with pytest.raises(BiasjaxError, match=r"06.bmp has not the bytes that a, accuracy in"):
    run(source, tmp_path / "out", ("b",))
  assert len(list((tmp_path / "out/observations/made/accuracy/b").rglob("*.parquet"))) == 1  # of 0 to 4


def test_tables_never_rest_on_different_images(tmp_path, source, monkeypatch):
  run(source, tmp_path / "out")
  monkeypatch.setattr(contents, "recheck", lambda *args: None)
  monkeypatch.setattr(contents, "refuse_other", lambda *args: None)  # as if two runs had been at it at once
  replace(source, [6])
  store = run(source, tmp_path / "out", ("b",))
  with pytest.raises(
    BiasjaxError, match=r"a and b have seen different images of made, 1 of 11, e\.g\. example 6"
  ):
    summarise(store, probes.get)


def test_a_read_that_is_short_for_once_is_tried_again(source, monkeypatch):
  monkeypatch.setattr(pipeline, "PAUSES_S", (0.0, 0.0))
  short = source.read(5).encoded[:900]
  once = list(pipeline.batches(damaged(source, {5: short}, 1), [(0, LENGTH)], batch_size=LENGTH))
  whole = list(pipeline.batches(source, [(0, LENGTH)], batch_size=LENGTH))
  assert not once[0].excluded
  np.testing.assert_array_equal(once[0].pixels, whole[0].pixels)
  np.testing.assert_array_equal(once[0].contents, whole[0].contents)


def test_a_file_that_has_fewer_bytes_than_when_it_was_listed_stops_the_run(tmp_path, source, monkeypatch):
  monkeypatch.setattr(pipeline, "PAUSES_S", (0.0, 0.0))
  path = tmp_path / "images/n01440764/05.bmp"
  path.write_bytes(path.read_bytes()[:900])
  with pytest.raises(
    BiasjaxError, match=r"05.bmp has 900 bytes, not the 4,854 that it had when it was listed"
  ):
    run(source, tmp_path / "out")
  assert not list((tmp_path / "out").rglob("00000004*"))


def test_excluded_images_are_tried_again_when_their_bytes_are_others(tmp_path, source):
  run(source, tmp_path / "whole", ("a", "b"), ("accuracy", "spectral"))
  short = {5: source.read(5).encoded[:900]}
  store = run(damaged(source, short), tmp_path / "out", ("a", "b"), ("accuracy", "spectral"))
  assert all(list(store.read(unit)[1]) == ["n01440764/05.bmp"] for unit in store.units())
  run(source, tmp_path / "out", ("a", "b"), ("accuracy", "spectral"))
  assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_excluded_images_that_are_as_they_were_are_left_alone(tmp_path, source):
  broken = damaged(source, {5: b"BM" + b"no bitmap" * 20, 9: b"BM"})
  run(broken, tmp_path / "out")
  times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
  store = run(broken, tmp_path / "out")
  assert {path: path.stat().st_mtime_ns for path in times} == times
  (unit,) = store.units()
  assert sorted(store.read(unit)[1]) == ["n01440764/05.bmp", "n01440764/09.bmp"]


def test_a_chunk_says_what_computed_it(tmp_path, source):
  store = run(source, tmp_path / "out")
  (unit,) = store.units()
  said = store.footer(unit, (0, 4)).environment
  assert set(said) == {
    "jax",
    "jaxlib",
    "pillow",
    "libjpeg",
    "device",
    "platform",
    "compiler_options",
    "xla_flags",
  }
  assert (said["jaxlib"], said["pillow"]) == (jaxlib.version.__version__, PIL.__version__)
  split = of_process("shard_map")
  assert environment.describe(split, {"XLA_FLAGS": " --a=1  --b=2 "})["xla_flags"] == "--a=1 --b=2"


def test_tables_that_rest_on_several_environments_say_so(tmp_path, source, monkeypatch):
  describe = environment.describe
  store = run(source, tmp_path / "out")
  assert not any("jaxlib" in note for note in summarise(store, probes.get).notes)
  monkeypatch.setattr(environment, "describe", lambda split: describe(split) | {"jaxlib": "0.9.9"})
  store = run(source, tmp_path / "out", ("b",))
  (note,) = [note for note in summarise(store, probes.get).notes if "jaxlib" in note]
  assert note.startswith("the tables rest on more than one jaxlib")
  assert note.endswith(f"{jaxlib.version.__version__} (a), 0.9.9 (b)")


def test_a_chunk_does_not_hold_the_pixels_of_its_images(tmp_path, source, monkeypatch):
  batches, write = pipeline.batches, Store.write
  seen, alive = [], []

  def watched(*args, **more):
    for batch in batches(*args, **more):
      seen.append(weakref.ref(batch.pixels))
      yield batch

  def written(self, *args, **more):
    # Those of the last steps go when the device lets go of them, which a busy machine delays, and JAX drops
    # what it let go of at its next call or when garbage is collected.
    late = time.monotonic() + DEADLINE_S
    while sum(pixels() is not None for pixels in seen) > 3 and time.monotonic() < late:
      time.sleep(0.05)
      gc.collect()
    alive.append(sum(pixels() is not None for pixels in seen))
    write(self, *args, **more)

  monkeypatch.setattr(pipeline, "batches", watched)
  monkeypatch.setattr(Store, "write", written)
  store = Store(tmp_path / "out", LENGTH)
  evaluate.evaluate(
    [made_model("a", 0)], [probes.get("accuracy")], source, store, evaluate.Settings(batch_size=1)
  )
  assert len(seen) == LENGTH
  assert alive[0] <= 3  # the last one, and what is on its way
