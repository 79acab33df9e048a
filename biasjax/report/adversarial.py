"""Adversarial images that were kept, as a figure: clean, perturbed, and their difference."""

import os
import pathlib
import urllib.parse

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biasjax.errors import BiasjaxError

MOST_ROWS = 8
PREFIX = "adversarial/"


def draw_all(workdir: str | os.PathLike) -> list[pathlib.Path]:
  """A PNG for each (dataset, probe, model) of `workdir`/adversarial, beside its folder; returns their paths.

  Raises:
    BiasjaxError: images that were kept are damaged, or a figure cannot be written.
  """
  folders = sorted({path.parent for path in pathlib.Path(workdir, "adversarial").rglob("*.npz")})
  drawn = []
  for folder in folders:
    dataset, probe, model = (urllib.parse.unquote(part) for part in folder.parts[-4:-1])
    path = folder.with_suffix(".png")
    try:
      kept = first(folder)
      figure = draw(kept, f"{model}, {probe} on {dataset}")
      figure.savefig(path, dpi=120)
    except (OSError, ValueError, KeyError) as error:
      raise BiasjaxError(f"{path}: adversarial images cannot be drawn ({error}): delete {folder}") from error
    drawn.append(path)
  return drawn


def first(folder: pathlib.Path, count: int = MOST_ROWS) -> dict[str, np.ndarray]:
  """The arrays of the first `count` examples in a folder of kept images."""
  parts, rows = [], 0
  for path in sorted(folder.glob("*.npz")):
    with np.load(path) as arrays:
      parts.append({name: arrays[name][: count - rows] for name in arrays.files})
    rows += len(parts[-1]["example_id"])
    if rows >= count:
      break
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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
