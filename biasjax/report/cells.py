"""Tables as a page shows them."""

import dataclasses
import math
from collections.abc import Mapping

import markupsafe
import numpy as np

from biasjax.study.verdict import number


@dataclasses.dataclass(frozen=True)
class Cell:
  """One cell.

  Attributes:
    text: as shown.
    sort: what sorting goes by, where it is not the text.
    kind: a class: "n" for numbers, "long" for sentences.
    href: where it leads.
    strong: the class of an outcome.
    strip: a drawing instead of text.
    metric: of a number of metrics.csv, which one: model, dataset, probe and metric.
  """

  text: str
  sort: float | int | None = None
  kind: str = ""
  href: str = ""
  strong: str = ""
  strip: markupsafe.Markup | None = None
  metric: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Grid:
  """A table: a caption, columns, rows of cells, the CSV of the same, and whether it starts folded."""

  caption: str
  columns: list[str]
  rows: list[list[Cell]]
  file: str = ""
  folded: bool = False


def text_cell(text: str) -> Cell:
  """Words."""
  return Cell(text)


def number_cell(value: float | int | np.number, digits: int = 2) -> Cell:
  """A number, or nothing; sorting goes by its full value."""
  if not math.isfinite(value):
    return Cell("", kind="n")
  return Cell(number(float(value), digits), sort=float(value), kind="n")


def verdict_cell(outcome: str) -> Cell:
  """An outcome of a check."""
  return Cell(outcome, strong=outcome.replace(" ", "-"))


MARKS = ("var(--link)", "var(--bad)")


def strip(values: np.ndarray, marked: Mapping[str, float]) -> markupsafe.Markup:
  """A box plot of `values` [n], all finite, with some numbers marked, each by the name of whose it is."""
  everything = [*values, *marked.values()]
  low, high = min(everything), max(everything)
  width = high - low or 1.0
  first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])

  def at(value: float) -> str:
    return f"{200 * float(value - low) / width + 4:.1f}"

  box = f'<rect x="{at(first)}" y="4" width="{200 * float(third - first) / width:.1f}" height="8" '
  drawn = ['<line x1="4" x2="204" y1="8" y2="8" stroke="var(--grid)"/>', f'{box}fill="var(--grid)"/>']
  drawn.append(f'<line x1="{at(middle)}" x2="{at(middle)}" y1="3" y2="13" stroke="var(--quiet)"/>')
  said = []
  for (name, value), colour in zip(marked.items(), MARKS, strict=False):
    drawn.append(f'<circle cx="{at(value)}" cy="8" r="3.6" fill="{colour}"/>')
    said.append(f"{name} {value:.3g}".strip())
  label = markupsafe.escape(f"{', '.join(said)} between {low:.3g} and {high:.3g}")
  start = f'<svg class="strip" viewBox="0 0 208 16" role="img" aria-label="{label}">'
  return markupsafe.Markup(f"{start}{''.join(drawn)}</svg>")
