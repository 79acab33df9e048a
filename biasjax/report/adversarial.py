"""Adversarial images that were kept, as a figure: clean, perturbed, and their difference."""

import io

import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biasjax.errors import BiasjaxError
from biasjax.results.store import Store, write_file

MOST_ROWS = 8
PREFIX = "adversarial/"


def draw_all(store: Store) -> list[epath.Path]:
  """A PNG for each unit of a run that has kept images, beside their folder; returns their paths.

  Raises:
    BiasjaxError: images that were kept are damaged, or a figure cannot be written.
  """
  drawn = []
  for unit in store.units():
    kept = store.read_adversarial(unit, MOST_ROWS)
    if not kept:
      continue
    folder, picture = store.adversarial_folder(unit), io.BytesIO()
    try:
      figure = draw(kept, f"{unit.model}, {unit.probe} on {unit.dataset}")
      figure.savefig(picture, format="png", dpi=120)
    except (ValueError, KeyError, TypeError) as error:
      raise BiasjaxError(f"{folder}: the images cannot be drawn ({error}): delete it") from error
    drawn.append(folder.parent / f"{folder.name}.png")
    write_file(drawn[-1], picture.getvalue())
  return drawn


def difference(clean: np.ndarray, adversarial: np.ndarray) -> tuple[np.ndarray, float]:
  """(picture, largest): what was added, grey where nothing was, stretched so that its largest value shows.

  Args:
    clean: uint8 [h, w, 3].
    adversarial: float32 [h, w, 3] in [0, 1].

  Returns:
    float64 [h, w, 3] in [0, 1], and the largest absolute difference, in 1/255.
  """
  added = adversarial.astype(np.float64) - clean / 255
  largest = float(np.abs(added).max())
  return 0.5 + added / (2 * largest if largest else 1.0), 255 * largest


def draw(kept: dict[str, np.ndarray], title: str) -> Figure:
  """A row for each example: the clean image; for each condition, the adversarial one and the difference."""
  conditions = [name for name in kept if name.startswith(PREFIX)]
  rows, columns = len(kept["example_id"]), 1 + 2 * len(conditions)
  figure = Figure(figsize=(1.8 * columns, 1.9 * rows + 0.5), layout="constrained")
  figure.suptitle(title, fontsize=9)
  axes = figure.subplots(rows, columns, squeeze=False)
  for row in range(rows):
    clean = kept["clean"][row]
    _show(axes[row, 0], clean, str(kept["example_id"][row]).rsplit("/", 1)[-1])
    for c, name in enumerate(conditions):
      picture, largest = difference(clean, kept[name][row])
      _show(axes[row, 1 + 2 * c], kept[name][row], name.removeprefix(PREFIX))
      _show(axes[row, 2 + 2 * c], picture, f"difference, at most {largest:.2f}/255")
  return figure


def _show(axis: Axes, picture: np.ndarray, title: str) -> None:
  axis.imshow(picture, interpolation="nearest")
  axis.set_title(title, fontsize=6, parse_math=False)
  axis.set_axis_off()
