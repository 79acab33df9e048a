"""Tables as a page shows them."""

import dataclasses
import math
from collections.abc import Mapping

import markupsafe
import numpy as np
import pandas as pd

from biasjax.study.verdict import number

Key = tuple[str | int, ...]


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
    interval: of the number, shown below it.
    keys: where each number that is shown comes from, in their order: (table, row, field) of study.json;
      ("models" or "table", model, column); ("intervals" or "metrics", model, column, "low" or "high").
  """

  text: str
  sort: float | int | None = None
  kind: str = ""
  href: str = ""
  strong: str = ""
  strip: markupsafe.Markup | None = None
  metric: tuple[str, ...] = ()
  interval: str = ""
  keys: tuple[Key, ...] = ()


@dataclasses.dataclass(frozen=True)
class Grid:
  """A table.

  Attributes:
    caption, columns, rows: what it shows.
    file: the CSV of the same.
    folded: whether it starts folded.
    searched: whether its rows can be searched.
  """

  caption: str
  columns: list[str]
  rows: list[list[Cell]]
  file: str = ""
  folded: bool = False
  searched: bool = False


def text_cell(text: str) -> Cell:
  """Words."""
  return Cell(text)


def number_cell(value: float | int | np.number, digits: int = 2, *keys: Key) -> Cell:
  """A number, or nothing; sorting goes by its full value."""
  if not math.isfinite(value):
    return Cell("", kind="n")
  return Cell(number(float(value), digits), sort=float(value), kind="n", keys=keys)


def interval(low: float, high: float, digits: int = 2) -> str:
  """[low, high], or nothing."""
  return f"[{number(low, digits)}, {number(high, digits)}]" if math.isfinite(low + high) else ""


def interval_cell(low: float, high: float, digits: int = 2, *keys: Key) -> Cell:
  """An interval; sorting goes by its width."""
  if not math.isfinite(low + high):
    return text_cell("")
  return Cell(interval(low, high, digits), sort=high - low, kind="n", keys=keys)


def digits(values: pd.DataFrame) -> dict[str, int]:
  """{column: decimals that tell the models apart}, the same wherever a measure is shown."""
  known = values.abs().where(np.isfinite(values))
  middle, largest = known.median(), known.max()
  return {str(name): 1 if largest[name] >= 10 else 4 if middle[name] < 0.05 else 3 for name in values.columns}


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
