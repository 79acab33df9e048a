"""Names of points have room, and the inks of figures are read."""

import matplotlib as mpl
import numpy as np
import pytest

from biasjax.report import labels
from biasjax.report.drawing import DIVERGING
from biasjax.report.figures import on_colour

FONT, RADIUS, SIZE = 6.0, 4.0, (200.0, 150.0)


def boxes(points, names, placed):
  marks = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
  texts = {i: (x, y, x + labels.CHARACTER * FONT * len(names[i]), y + FONT) for i, x, y in placed}
  return marks, texts


@pytest.mark.parametrize("seed", range(4))
def test_no_name_covers_a_point_another_name_or_an_edge(seed):
  points = np.random.default_rng(seed).uniform((5, 5), (195, 145), (40, 2))
  names = [f"model_{i}" * (1 + i % 3) for i in range(40)]
  placed = labels.place(points, names, SIZE, FONT, 12, RADIUS)
  assert 3 <= len(placed) <= 12
  marks, texts = boxes(points, names, placed)
  for i, (left, bottom, right, top) in texts.items():
    assert left >= 0
    assert bottom >= 0
    assert right <= SIZE[0]
    assert top <= SIZE[1]
    others = [box for j, box in enumerate(marks) if j != i] + [box for j, box in texts.items() if j != i]
    for a, b, c, d in others:
      assert right <= a or c <= left or top <= b or d <= bottom


def test_the_loneliest_point_is_named_first():
  points = np.array([[20.0, 20.0], [24.0, 20.0], [150.0, 100.0]])
  assert labels.place(points, ["a", "b", "c"], SIZE, FONT, 1)[0][0] == 2


def test_a_long_name_keeps_its_ends():
  name = "resnet50_trained_on_SIN_and_IN_then_finetuned_on_IN"
  shown = labels.shortened(name)
  assert len(shown) == labels.MOST
  assert shown.startswith("resnet50_tra")
  assert shown.endswith("tuned_on_IN")
  assert labels.shortened("resnet50") == "resnet50"


def test_numbers_on_coloured_cells_stand_out():
  def luminance(colour):
    channels = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))

  for rho in np.linspace(-1, 1, 201):
    behind, ink = luminance(mpl.colormaps[DIVERGING]((rho + 1) / 2)), luminance(on_colour(rho))
    assert (max(behind, ink) + 0.05) / (min(behind, ink) + 0.05) >= 4.5, rho
