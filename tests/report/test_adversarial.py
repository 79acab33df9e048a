"""Adversarial images that a run has kept."""

import numpy as np
import pytest
from PIL import Image

import stored_runs
from biasjax.errors import BiasjaxError
from biasjax.report import adversarial
from biasjax.results.store import Store
from biasjax.results.unit import Unit

UNIT = Unit("a/net", "drawn", "pgd:eps=1", {"seed": 0})


def kept(folder):
  """A store in which one of two units has kept two chunks of images."""
  store, rng = Store(folder, chunk_size=3), np.random.default_rng(0)
  store.register(stored_runs.images("drawn", 5), [UNIT, Unit("other", "drawn", "pgd:eps=1", {"seed": 0})])
  clean = rng.integers(0, 256, (5, 4, 4, 3), np.uint8)
  for start, stop in ((0, 3), (3, 5)):
    arrays = {
      "example_id": np.array([f"x/{i}.png" for i in range(start, stop)]),
      "clean": clean[start:stop],
      "adversarial/eps=1": clean[start:stop].astype(np.float32) / 255,
    }
    store.write_adversarial(UNIT, (start, stop), arrays)
  return store, clean


@pytest.mark.parametrize("name", ["out", "out[1]"])
def test_the_first_images_are_read_across_chunks(tmp_path, name):
  store, clean = kept(tmp_path / name)
  for count in (1, 3, 4, 9):
    found = store.read_adversarial(UNIT, count)
    assert found["example_id"].tolist() == [f"x/{i}.png" for i in range(min(count, 5))]
    np.testing.assert_array_equal(found["clean"], clean[:count])


def test_a_unit_that_has_kept_images_is_drawn_beside_them(tmp_path):
  store, _ = kept(tmp_path)
  (path,) = adversarial.draw_all(store)
  assert path == store.adversarial_folder(UNIT).parent / f"{UNIT.digest}.png"
  with Image.open(path) as picture:
    assert picture.size[1] > 200


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, content):
  store, _ = kept(tmp_path)
  next(tmp_path.rglob("*.npz")).write_bytes(content)
  with pytest.raises(BiasjaxError, match=r"npz is damaged") as caught:
    adversarial.draw_all(store)
  assert "\n" not in str(caught.value)
