"""Drawn pictures: the same everywhere, in accord or in conflict as their names say, varied."""

import hashlib
import io
import resource

import numpy as np
import pytest
from PIL import Image

from biasjax.data import sources, synthetic
from biasjax.data.builders import synthetic_conflict


def rng(seed: int = 0) -> np.random.Generator:
  return np.random.default_rng(seed)


def test_there_are_16_categories_each_with_an_outline_and_a_texture():
  assert len(synthetic.CATEGORIES) == 16
  assert list(synthetic.TEXTURES) == list(synthetic.OUTLINES) == sorted(synthetic.OUTLINES)


def test_a_picture_follows_from_its_seed_alone():
  digest = hashlib.sha256()
  for category in synthetic.CATEGORIES:
    digest.update(synthetic.picture(rng(5), category, category, 64).tobytes())
  again = [synthetic.picture(rng(5), category, category, 64).tobytes() for category in synthetic.CATEGORIES]
  assert hashlib.sha256(b"".join(again)).hexdigest() == digest.hexdigest()
  pictures = {synthetic.picture(rng(seed), "star", "star", 64).tobytes() for seed in range(20)}
  assert len(pictures) == 20


@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_picture_has_the_size_that_was_asked_for(size):
  assert synthetic.picture(rng(), "gear", "fish", size).shape == (size, size, 3)


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_an_outline_lies_mostly_within_the_picture_and_varies(category):
  masks = np.stack([synthetic.mask(synthetic.outline(rng(s), category, 64), 64) for s in range(12)])
  share = masks.mean((1, 2))
  assert 0.03 < share.min() <= share.max() < 0.6
  assert share.std() > 0.005
  centres = np.stack(
    [(m[:, :, None] * np.mgrid[:64, :64].transpose(1, 2, 0)).sum((0, 1)) / m.sum() for m in masks]
  )
  assert centres.std(0).min() > 1


def test_the_mask_of_a_square_is_its_area():
  square = np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 50.0], [10.0, 50.0]])
  assert synthetic.mask([square], 64).sum() == pytest.approx(20 * 40, rel=0.05)
  hole = np.array([[15.0, 15.0], [25.0, 15.0], [25.0, 25.0], [15.0, 25.0]])
  assert synthetic.mask([square, hole], 64).sum() == pytest.approx(20 * 40 - 100, rel=0.06)


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_a_texture_has_contrast_and_no_shape(category):
  fields = np.stack([synthetic.texture(rng(seed), category, 64) for seed in range(8)])
  assert fields.min() >= 0
  assert fields.max() <= 1
  assert fields.std((1, 2)).min() > 0.15
  # Each quarter looks like the whole: the texture is everywhere.
  quarters = fields.reshape(8, 2, 32, 2, 32).std((2, 4))
  assert quarters.min() > 0.3 * fields.std()


def test_the_texture_lies_inside_the_outline_and_the_background_outside():
  size = 64
  shape = synthetic.outline(rng(3), "circle", size)
  inside = synthetic.mask(shape, size)
  edges = synthetic.edges(shape, size)
  rim = np.abs(np.diff(inside, axis=0)).max(1).max() > 0
  assert rim
  assert (edges > 0.5).mean() < (inside > 0.5).mean()


def test_silhouettes_are_black_on_white_and_edges_thin():
  silhouette = synthetic.rendition(rng(), "heart", "silhouette", 64)
  assert set(np.unique(silhouette[::8, ::8])) <= set(range(256))
  assert (silhouette < 10).mean() > 0.05
  assert (silhouette > 245).mean() > 0.4
  assert ((silhouette > 10) & (silhouette < 245)).mean() < 0.1
  lines = synthetic.rendition(rng(), "heart", "edges", 64)
  assert (lines < 128).mean() < (silhouette < 128).mean()


@pytest.mark.parametrize("kind", synthetic.CORRUPTIONS)
def test_each_severity_is_further_from_the_picture(kind):
  picture = synthetic.picture(rng(1), "drop", "drop", 64)
  distances = [
    np.abs(synthetic.corrupt(rng(2), picture, kind, severity).astype(float) - picture).mean()
    for severity in (1, 2, 3)
  ]
  assert 0.5 < distances[0] < distances[1] < distances[2]


def test_noise_contrast_and_pixelation_are_as_strong_as_they_say():
  grey = np.full((64, 64, 3), 128, np.uint8)
  noisy = synthetic.corrupt(rng(), grey, "gaussian_noise", 2) / 255
  assert noisy.std() == pytest.approx(0.12, rel=0.03)
  flipped = synthetic.corrupt(rng(), grey, "impulse_noise", 3) != grey
  assert flipped.mean() == pytest.approx(0.16, rel=0.1)
  picture = synthetic.picture(rng(1), "drop", "drop", 64)
  flat = synthetic.corrupt(rng(), picture, "contrast", 2)
  assert flat.std((0, 1)) == pytest.approx(0.3 * picture.std((0, 1)), rel=0.03)
  blocks = synthetic.corrupt(rng(), picture, "pixelate", 2).reshape(16, 4, 16, 4, 3)
  assert np.ptp(blocks, axis=(1, 3)).max() == 0
  np.testing.assert_allclose(blocks[:, 0, :, 0], picture.reshape(16, 4, 16, 4, 3).mean((1, 3)), atol=1)


def test_defocus_spreads_a_point_evenly_over_a_disc():
  point = np.zeros((65, 65, 3))
  point[32, 32] = 1
  spread = synthetic._disc_blur(point, 3.0)[:, :, 0]
  distance = np.hypot(*(np.mgrid[:65, :65] - 32))
  assert spread.sum() == pytest.approx(1)
  assert np.ptp(spread[distance <= 2.5]) < 1e-12
  assert spread[distance > 3.5].max() == 0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  with pytest.MonkeyPatch.context() as patch:
    few = dict.fromkeys(synthetic_conflict.PER_CATEGORY, 1)
    patch.setattr(synthetic_conflict, "PER_CATEGORY", few)
    patch.setattr(synthetic_conflict, "PER_PAIR", 1)
    patch.setattr(synthetic_conflict, "CORRUPTED_PER_CATEGORY", 1)
    return synthetic_conflict.prepare(str(folder), size=32, per_category=1)


def test_a_full_disk_is_told_with_its_file(tmp_path):
  hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
  try:
    with pytest.raises(OSError, match=r"synthetic_conflict-train\.array_record.*: File too large$"):
      synthetic_conflict.prepare(str(tmp_path), size=32, per_category=1)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_the_conflict_split_holds_every_pair_that_disagrees(prepared):
  source = sources.open_source(f"tfds:{prepared}@conflict")
  assert (source.labels, source.length, source.crop, source.resize) == ("synthetic_conflict", 240, 32, None)
  names = {source.read(i).example_id for i in range(240)}
  pairs = {(a, b) for a in synthetic.CATEGORIES for b in synthetic.CATEGORIES if a != b}
  assert names == {f"{a}0-{b}0.png" for a, b in pairs}
  example = source.read(17)
  assert example.example_id.startswith(synthetic.CATEGORIES[example.label])


def test_a_part_of_the_conflict_split_is_in_conflict(prepared):
  assert sources.tfds(f"{prepared}@conflict[:25%]+conflict[200:]").labels == "synthetic_conflict"
  assert sources.tfds(f"{prepared}@validation[:25%]").labels == "synthetic"


def test_the_other_splits_agree_with_their_labels(prepared):
  for split in ("train", "validation", "edges", "fog_3"):
    source = sources.open_source(f"tfds:{prepared}@{split}")
    assert (source.labels, source.length) == ("synthetic", 16)
    for i in range(16):
      example = source.read(i)
      category = synthetic.CATEGORIES[example.label]
      assert example.example_id == f"{category}0-{category}0.png"
      assert Image.open(io.BytesIO(example.encoded)).size == (32, 32)


def test_what_is_prepared_is_the_same_each_time_and_differs_between_splits(prepared):
  def pixels(split, index):
    encoded = sources.open_source(f"tfds:{prepared}@{split}").read(index).encoded
    return np.asarray(Image.open(io.BytesIO(encoded)))

  label = sources.open_source(f"tfds:{prepared}@validation").read(4).label
  drawn = synthetic_conflict.draw("validation", label, 0, 32)
  np.testing.assert_array_equal(pixels("validation", 4), drawn)
  assert not np.array_equal(drawn, synthetic_conflict.draw("train", label, 0, 32))
