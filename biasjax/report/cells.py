"""Tables as a page shows them."""

import dataclasses
import math
from collections.abc import Mapping

import jinja2.utils
import markupsafe
import numpy as np
import pandas as pd

from biasjax.study.verdict import edge, number

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
  return f"[{edge(low, digits)}, {edge(high, digits)}]" if math.isfinite(low + high) else ""


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


def table(grid: Grid) -> markupsafe.Markup:
  """A table's HTML: in Python, since a page has thousands of cells and a template takes ten times as long."""
  tall, wraps = " tall" if len(grid.rows) > 24 else "", " wraps" if grid.searched else ""
  caption = _escape(grid.caption)
  search = '<label class="search">Search: <input type="search" placeholder="model or category"></label>'
  file = f' (<a href="{_escape(grid.file)}">CSV</a>)' if grid.file else ""
  heads = "".join(
    f'<th scope="col"><button type="button">{_escape(name)}</button></th>' for name in grid.columns
  )
  before = f'<div class="searched">{search}' if grid.searched else ""
  lines = [
    f'{before}<div class="wide{tall}{wraps}" tabindex="0" role="region" aria-label="{caption}">',
    "<table>",
    f"<caption>{caption}{file}</caption>",
    f"<thead><tr>{heads}</tr></thead>",
    "<tbody>",
    *(f"<tr>{''.join(map(_cell, row))}</tr>" for row in grid.rows),
    "</tbody>",
    "</table>",
    "</div>",
    "</div>" if grid.searched else "",
  ]
  return markupsafe.Markup("\n".join(lines))


def _cell(cell: Cell) -> str:
  text = _escape(cell.text)
  if cell.href:
    inner = f'<a href="{_escape(cell.href)}">{text}</a>'
  elif cell.strong:
    inner = f'<b class="{_escape(cell.strong)}">{text}</b>'
  else:
    inner = str(cell.strip) if cell.strip else text
  said = f' class="{cell.kind}"' if cell.kind else ""
  if cell.sort is not None:
    said += f' data-v="{cell.sort}"'
  if cell.metric:
    said += f' data-metric="{_escape(chr(10).join(cell.metric))}"'
  if cell.keys:
    said += f' data-keys="{_escape(str(jinja2.utils.htmlsafe_json_dumps(cell.keys)))}"'
  return f"<td{said}>{inner}{f' <small>{_escape(cell.interval)}</small>' if cell.interval else ''}</td>"


def _escape(text: str) -> str:
  return str(markupsafe.escape(text))
