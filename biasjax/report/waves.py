"""The figures of a study about single frequencies: errors under waves, and the spectrum of the gradient."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from biasjax.report.curves import draw_lines, matching, numbers
from biasjax.report.drawing import SEQUENTIAL, Drawing, figure, words
from biasjax.report.scatters import legend
from biasjax.study.analysis import Study

MAP = r"(sensitivity[^/]*)/error/i=(-?\d+)/j=(-?\d+)"
PROFILES = (
  (r"sensitivity([^/]*)/error/r=([\d.]+)", "error with a wave added, %", "waves of a frequency"),
  (r"gradient-spectrum()/r=([\d.]+)", "log10 of the power of the loss gradient", "gradient"),
)


def profiles(study: Study) -> Drawing | None:
  """Errors under waves, and power of the loss gradient, by frequency."""
  found = []
  for pattern, label, title in PROFILES:
    of_variant: dict[str, list[tuple[float, str]]] = {}
    for (variant, radius), name in matching(study, pattern).items():
      of_variant.setdefault(variant, []).append((float(radius), name))
    if of_variant:
      variant = min(of_variant)  # the probe without options, if it was asked
      found.append((sorted(of_variant[variant]), label, title))
  if not found:
    return None
  drawn = figure(3.4)
  for panel, (points, label, title) in zip(
    drawn.subplots(1, len(found), squeeze=False)[0], found, strict=True
  ):
    radii, names = zip(*points, strict=True)
    draw_lines(study, panel, np.array(radii), study.table.frame[list(names)])
    panel.set_title(title)
    panel.set_xlabel("spatial frequency, cycles an image")
    panel.set_ylabel(label)
  legend(study, drawn)
  names = [name for points, *_ in found for _, name in points]
  return Drawing(
    "sensitivity",
    "To which frequencies networks are sensitive",
    "A thin line for each model, a thick one for each category's median. What a wave of that frequency does "
    "to the error, mean over orientations; and how strongly the loss of an image reacts to it at first.",
    drawn,
    numbers(study, names),
    "Measurements",
  )


def maps(study: Study) -> Drawing | None:
  """The error under a wave of each of the lowest frequencies, a panel for each category."""
  found = matching(study, MAP)
  if not found:
    return None
  variant = max({of for of, *_ in found}, key=lambda of: sum(one == of for one, *_ in found))
  mine = {(int(i), int(j)): name for (of, i, j), name in found.items() if of == variant}
  names = study.table.categories
  drawn = figure(min(1.2 + 9.4 / len(names), 4.4))
  panels = drawn.subplots(1, len(names), sharey=True, squeeze=False)[0]
  medians = {
    name: study.table.frame.loc[study.table.category.eq(name).to_numpy(), list(mine.values())].median()
    for name in names
  }
  # A category without a map, of published rows say, has no part in the scale.
  most, image = float(np.nanmax([of.max() for of in medians.values()])), None
  for panel, name in zip(panels, names, strict=True):
    image = square(panel, medians[name].to_numpy(), np.array(list(mine)), most)
    panel.set_title(words(name))
  panels[0].set_ylabel("down, cycles an image")
  assert image is not None  # there is at least one panel
  drawn.colorbar(image, ax=panels.tolist(), label="error, %")
  return Drawing(
    "sensitivity_map",
    "The error with a wave of each frequency added",
    f"The median model of each category ({variant}); frequency 0 is in the middle, opposite frequencies are "
    "one wave.",
    drawn,
    numbers(study, list(mine.values())),
    "Measurements",
  )


def square(panel: Axes, values: np.ndarray, frequencies: np.ndarray, most: float) -> AxesImage:
  """Draws a map of frequencies and their opposites, frequency 0 in the middle.

  Args:
    panel: where.
    values: float [n], errors in per cent.
    frequencies: int [n, 2], down and across, of each pair of opposite ones either.
    most: the error that the scale ends at.
  """
  half = int(np.abs(frequencies).max())
  errors = np.full((2 * half + 1, 2 * half + 1), np.nan)
  for (i, j), value in zip(frequencies.tolist(), values, strict=True):
    errors[half + i, half + j] = errors[half - i, half - j] = value
  panel.set_xlabel("across, cycles an image")
  panel.grid(False)
  edges = (-half - 0.5, half + 0.5, half + 0.5, -half - 0.5)
  return panel.imshow(errors, cmap=SEQUENTIAL, vmin=0, vmax=most, extent=edges)
