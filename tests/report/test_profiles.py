"""Figures of one network over frequencies, from made numbers."""

import math

import matplotlib.colors
import numpy as np
import pandas as pd

from biasjax.report import network, portraits
from biasjax.report.scores import KEY, Scores

NONE = pd.DataFrame()


def scores(rows):
  """Of (probe, metric, value, low, high)."""
  made = [
    (
      "mine",
      "val",
      probe,
      metric,
      value,
      low,
      high,
      50,
      math.nan,
      "",
      "r=" in metric or "i=" in metric,
      metric,
    )
    for probe, metric, value, low, high in rows
  ]
  columns = [*KEY, "value", "low", "high", "n", "chance", "flag", "detail", "column"]
  table = pd.DataFrame(made, columns=columns)
  return Scores(["mine"], table, table.iloc[:0])


def test_errors_under_waves_stand_beside_the_clean_error_with_their_intervals():
  rows = [("sensitivity", f"sensitivity/error/r={r}", 30.0 + r, 25.0 + r, 36.0 + r) for r in (1, 9, 16)]
  rows.append(("accuracy", "top1_acc/val", 80.0, 78.0, 82.0))
  rows.append(("sensitivity", "sensitivity/error", 50.0, 45.0, 55.0))
  (drawing,) = portraits.drawings(scores(rows), {}, {}, None, NONE)
  (panel,) = drawing.figure.axes
  solid, clean = panel.get_lines()
  np.testing.assert_array_equal(solid.get_xydata(), [[1, 31], [9, 39], [16, 46]])
  assert list(clean.get_ydata()) == [20, 20]
  (band, _) = panel.collections
  edges = band.get_paths()[0].vertices[:, 1]
  assert (edges.min(), edges.max()) == (26, 52)
  assert drawing.points["sensitivity-0"][1] == "mine, sensitivity/error/r=9: 39.00 [34.00, 45.00]"


def test_the_power_of_the_gradient_is_drawn_by_ring():
  rows = [("gradient_spectrum", f"gradient-spectrum/r={r}", -1.0 * r, -r - 0.5, -r + 0.5) for r in (2, 4)]
  rows.append(("gradient_spectrum", "gradient-spectrum/centroid", 3.0, 2.5, 3.5))
  (drawing,) = portraits.drawings(scores(rows), {}, {}, None, NONE)
  np.testing.assert_array_equal(drawing.figure.axes[0].get_lines()[0].get_xydata(), [[2, -2], [4, -4]])


def test_a_map_is_drawn_of_a_network_that_was_asked_for_one():
  name = "sensitivity:map=3"
  found = {(0, 0): 1.0, (0, 1): 2.0, (1, -1): 3.0, (1, 0): 4.0, (1, 1): 5.0}
  rows = [(name, f"{name}/error/i={i}/j={j}", value, value, value) for (i, j), value in found.items()]
  rows.append((name, f"{name}/mean", 3.0, 2.0, 4.0))
  (drawing,) = portraits.drawings(scores(rows), {}, {}, None, NONE)
  (image,) = drawing.figure.axes[0].get_images()
  np.testing.assert_array_equal(image.get_array(), [[5, 4, 3], [2, 1, 2], [3, 4, 5]])
  assert drawing.figure.axes[0].get_title() == "mine"


def bands(dataset, octaves, centre):
  """Rows of a critical band that was probed with noise of so many octaves."""
  fit = {"bw_norm": 1.0, "cf_norm": centre, "pns_norm": 1.0}
  rows = [
    ("critical_band", f"criticalband/continuous/{name}", v, 0.9 * v, 1.1 * v) for name, v in fit.items()
  ]
  rows += [
    ("critical_band", f"criticalband/continuous/threshold/f={f}_norm", 1, 1, 1) for f in range(octaves)
  ]
  return scores(rows).own.assign(dataset=dataset)


def test_a_band_is_drawn_over_the_octaves_that_its_own_images_have():
  own = pd.concat([bands("large", 7, 40.0), bands("small", 5, 8.0)], ignore_index=True)
  found = Scores(["mine"], own, own.iloc[:0])
  pixels = {"large": 224, "small": 64}
  panels = [of.figure.axes[0] for of in portraits.drawings(found, {}, pixels, None, NONE)]
  large, small = ([tick.get_text() for tick in panel.get_xticklabels()] for panel in panels)
  assert large == ["1.75", "3.5", "7", "14", "28", "56", "112"]
  assert small == ["2", "4", "8", "16", "32"]
  x, y = panels[1].get_lines()[0].get_xydata().T
  assert abs(x[y.argmax()] - small.index("8")) < 0.05


def test_an_accuracy_that_is_not_known_is_left_out():
  rows = [("accuracy", f"top1_acc/{name}", value, value, value) for name, value in (("a", 60.0), ("b", 50.0))]
  found = scores([*rows, ("accuracy", "top1_acc/c", math.nan, math.nan, math.nan)])
  (drawing,) = portraits.drawings(found, {}, {}, None, NONE)
  assert sum(map(len, drawing.points.values())) == 2
  assert [tick.get_text() for tick in drawing.figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_tiles_of_one_number_say_of_which_images_it_is():
  rows = [("spectral", "LPP", 0.5, 0.4, 0.6), ("spectral", "HPP", 0.1, 0.0, 0.2)]
  own = pd.concat([scores(rows).own, scores(rows[:1]).own.assign(dataset="other")], ignore_index=True)
  own["margin"] = math.nan
  found = Scores(["mine"], own, own.iloc[:0])
  page = network.html(found, network.Beside(), [], "here")
  titles = [part.partition("</h3>")[0] for part in page.split('<div class="tile"><h3>')[1:]]
  low, high = "Low frequencies only (LPP)", "High frequencies only (HPP)"
  assert titles == [f"{low} (val)", f"{low} (other)", high]


def test_a_hollow_point_is_one_that_cannot_be_told_from_chance_and_no_other():
  rows = [("accuracy", "top1_acc/val", 80.0, 78.0, 82.0), ("pgd", "top1_acc/PGD", 30.0, 28.0, 32.0)]
  found = scores([*rows, ("fgsm", "top1_acc/FGSM", 1.0, 0.5, 2.0)])
  found.own["flag"] = ["", "no gradient to follow on 9 of 50 images", "cannot be told from chance"]
  (drawing,) = portraits.drawings(found, {}, {}, None, NONE)
  fills = [points.get_facecolor()[0].tolist() for points in drawing.figure.axes[0].collections]
  ink, paper = (list(matplotlib.colors.to_rgba(of)) for of in (portraits.INK, portraits.PAPER))
  assert fills == [ink, ink, paper]
