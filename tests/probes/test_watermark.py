"""The watermark against Pillow's own compositing, and its numbers counted by hand."""

import importlib.resources

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from biasjax import probes
from biasjax.ops import watermark

# As Li et al. 2023 draw it: pixels of the side, of the font.
SIZES = ((224, 36), (384, 62), (299, 48))


@pytest.mark.parametrize(("size", "font_size"), SIZES)
def test_the_watermark_is_what_pillow_composes(size, font_size):
  pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
  layer = Image.new("RGBA", (size, size), (255, 255, 255, 0))
  font = importlib.resources.files("biasjax.data").joinpath("info/watermark.otf")
  drawn = ImageFont.truetype(str(font), font_size)
  where = 0.01 * size, 0.4 * size
  ImageDraw.Draw(layer).text(where, "捷径捷径捷径", fill=(255, 255, 255, 128), font=drawn)
  expected = Image.alpha_composite(Image.fromarray(pixels).convert("RGBA"), layer).convert("RGB")
  found = np.asarray(watermark.watermarked(jnp.asarray(pixels, jnp.float32) / 255)) * 255
  assert np.abs(found - np.asarray(expected).astype(float)).max() <= 1.001
  changed = np.abs(found - pixels).max(axis=2) > 1
  assert 0.02 < changed.mean() < 0.1
  rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
  assert 0.4 < rows[0] / size < rows[-1] / size < 0.62
  assert columns[0] / size < 0.05
  assert columns[-1] / size > 0.9


def test_the_font_is_free_and_says_so():
  licence = importlib.resources.files("biasjax.data").joinpath("info/watermark-OFL.txt").read_text()
  assert "SIL OPEN FONT LICENSE" in licence
  assert "Adobe" in licence


def test_gap_and_cartons_are_those_counted_by_hand():
  # Ten images, the last two of cartons; before: eight right, one wrong, one carton not seen.
  label = [*range(8), 478, 478]
  before = [*range(7), 99, 478, 5]
  after = [0, 1, 2, 478, 478, 478, 98, 478, 478, 478]
  tables = {}
  for name, condition, answers in (("accuracy", "clean", before), ("watermark", "watermark", after)):
    rank = [0 if one == other else 5 for one, other in zip(answers, label, strict=True)]
    tables[name] = pd.DataFrame(
      {"condition": condition, "example_id": [f"{i}.png" for i in range(10)], "label": label}
    ).assign(prediction=answers, rank=rank)
    tables[name].attrs["labels"] = "imagenet"
  # In another order, which must not matter.
  attrs = tables["watermark"].attrs
  tables["watermark"] = tables["watermark"].iloc[::-1].reset_index(drop=True)
  tables["watermark"].attrs = attrs
  found = {metric.name: metric for metric in probes.get("watermark").summarise(tables)}
  assert found["watermark/gap"].value == pytest.approx(100 * (5 - 8) / 10)
  assert found["watermark/gap"].low < -30 < found["watermark/gap"].high
  assert found["watermark/becomes-carton"].value == pytest.approx(100 * 4 / 8)
  assert found["watermark/becomes-carton"].n == 8
  assert found["watermark/carton/without"].value == 0
  assert found["watermark/carton-gap"].value == pytest.approx(100 * (2 - 1) / 2)
  assert found["top1_acc/watermark"].value == pytest.approx(50)
