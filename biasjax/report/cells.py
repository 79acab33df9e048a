"""Tables as a page shows them."""

import dataclasses
import math

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
  """

  text: str
  sort: float | int | None = None
  kind: str = ""
  href: str = ""
  strong: str = ""
  strip: markupsafe.Markup | None = None


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
