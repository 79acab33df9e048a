"""Figures about single frequencies: what is drawn is what the columns hold."""

import numpy as np

import made_tables
from biasjax.report import waves
from biasjax.study import analysis, definitions, table


def study(folder, columns):
  """Four models in two categories, with these columns beside the published ones."""
  frame = made_tables.table(4, 0).assign(**columns)
  frame.to_csv(folder / "results.csv", index=False)
  (folder / "categories.json").write_text('{"one": ["model0", "model1"], "other": ["model2", "model3"]}')
  asked = definitions.parse(made_tables.few(made_tables.definitions(), "HPP"))
  path = str(folder / "results.csv")
  read = table.read(path, str(folder / "categories.json"), asked.used_columns())
  return analysis.analyse(read, asked, seed=0)


def test_a_profile_is_drawn_over_its_radii_in_order(tmp_path):
  errors = {f"sensitivity/error/r={r}": [r, r, r + 1, r + 1] for r in (11, 2, 30)}
  gradients = {f"gradient-spectrum/r={r}": [-r] * 4 for r in (7, 14)}
  maps = {"sensitivity:map=31/error/r=1": [5.0] * 4}
  drawing = waves.profiles(study(tmp_path, errors | gradients | maps))
  of_errors, of_gradient = drawing.figure.axes
  for line in of_errors.get_lines():
    np.testing.assert_array_equal(line.get_xdata(), [2, 11, 30])
    assert line.get_ydata()[1] - line.get_ydata()[0] == 9
  assert [list(line.get_ydata()) for line in of_gradient.get_lines()] == [[-7, -14]] * len(of_gradient.lines)
  assert "sensitivity:map=31/error/r=1" not in drawing.data


def test_a_map_shows_a_wave_at_its_frequency_and_the_opposite_one(tmp_path):
  found = {f"sensitivity:map=3/error/i={i}/j={j}": [1.0] * 4 for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))}
  found["sensitivity:map=3/error/i=1/j=-1"] = [50.0, 60.0, 80.0, 80.0]
  drawing = waves.maps(study(tmp_path, found))
  for panel, expected in zip(drawing.figure.axes, (55, 80), strict=False):
    (image,) = panel.get_images()
    np.testing.assert_array_equal(image.get_array(), [[1, 1, expected], [1, 1, 1], [expected, 1, 1]])
  assert "(sensitivity:map=3)" in drawing.caption


def test_categories_without_a_map_do_not_change_the_scale_of_the_others(tmp_path):
  found = {f"sensitivity:map=3/error/i={i}/j={j}": [np.nan, np.nan, 20.0, 20.0] for i, j in ((0, 0), (0, 1))}
  found |= {f"sensitivity:map=3/error/i=1/j={j}": [np.nan, np.nan, 50.0, 70.0] for j in (-1, 0, 1)}
  drawing = waves.maps(study(tmp_path, found))
  *panels, _ = drawing.figure.axes
  images = [image for panel in panels for image in panel.get_images()]
  assert [image.get_clim() for image in images] == [
    (0, 60),
    (0, 60),
  ]  # the second category's 60 is the most


def test_nothing_is_drawn_of_nothing(tmp_path):
  plain = study(tmp_path, {})
  assert waves.profiles(plain) is None
  assert waves.maps(plain) is None
