"""Tables on a terminal."""

import itertools
import math
import re
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  import pandas  # tables of words alone need not wait for it

FIELDS = ("model", "flag", "value", "low", "high")
# How metrics begin whose unit is per cent, of which one decimal is shown however small they are.
PER_CENT = ("top1_acc", "top5_acc", "class_acc", "mCE", "CE/", "relative_mCE", "effective_robustness")
HEAD = 11  # characters of a column's head in a line
WIDTH = 120  # where there is no terminal that tells


def text_table(metrics: "pandas.DataFrame", width: int | None = None) -> str:
  """The main numbers in one table.

  Of few networks, a row for each number and a column for each network, with 95 % intervals. Of more than fit
  so, a line for each network and a column for each number, without. A number that is flagged has a letter,
  and its flag stands below the table.

  Args:
    metrics: columns "model", "dataset", "column" (a number's name), "value", "low", "high", "n", "flag" and
      "detail"; what is detail is left out.
    width: characters in a line; by default the terminal's. Columns that do not fit go below.
  """
  width = width or shutil.get_terminal_size((WIDTH, 24)).columns
  main = metrics[~metrics["detail"]]
  # What most was asked of comes first.
  asked = main.groupby("dataset")["column"].transform("nunique")
  main = main.assign(asked=-asked).sort_values("asked", kind="stable")
  notes = {flag: _letters(i) for i, flag in enumerate(f for f in dict.fromkeys(main["flag"]) if f)}
  models = list(dict.fromkeys(metrics["model"]))
  counted = f"{len(models)} network{'s' if len(models) > 1 else ''}"
  if not len(main):  # of a benchmark that is not whole, say: no mean over it
    return f"{counted}, no main number: {len(metrics):,} numbers of detail are in metrics.csv\n"
  lines = _numbers(main, models, notes)
  title = f"{counted}, 95 % intervals"
  if len(models) > 1 and max(map(len, lines)) > width:
    title = f"{counted}; intervals and numbers of images are in metrics.csv"
    lines = fitting(_values(main, models, notes), width)[:-1]
  return "\n".join([title, *lines, *(f"({letter}) {flag}" for flag, letter in notes.items()), ""])


def _letters(index: int) -> str:
  """a to z, then aa, ab and so on."""
  return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)


def _cells(
  main: "pandas.DataFrame", notes: Mapping[str, str], *, intervals: bool
) -> dict[tuple[str, str], str]:
  """(number, model) -> its text; `notes` has a flag's letter."""
  cells = {}
  for column, rows in main.groupby("column", sort=False):
    small = not rows[["value", "high"]].abs().max(axis=None) >= 10
    digits = 3 if small and not str(column).startswith(PER_CENT) else 1
    for model, flag, value, low, high in zip(*(rows[of] for of in FIELDS), strict=True):
      text = cell(value, low, high, digits) if intervals else cell(value, digits=digits)
      cells[str(column), model] = text + (f" ({notes[flag]})" if flag else "")
  return cells


def _numbers(main: "pandas.DataFrame", models: list[str], notes: Mapping[str, str]) -> list[str]:
  """A line for each number, with how many images it is of."""
  cells = _cells(main, notes, intervals=True)
  rows = [["", "images", *models]]
  for column, of in main.groupby("column", sort=False):
    least, most = of["n"].min(), of["n"].max()
    images = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    rows.append([str(column), images, *(cells.get((str(column), model), "-") for model in models)])
  return aligned(rows).splitlines()


def _values(main: "pandas.DataFrame", models: list[str], notes: Mapping[str, str]) -> list[list[str]]:
  """The networks' names, then a column for each number, each with its head in lines of its parts."""
  cells = _cells(main, notes, intervals=False)
  names = list(dict.fromkeys(main["column"]))
  heads = [_folded(name) for name in names]
  deep = max(map(len, heads), default=1)
  return [
    ["model", *[""] * (deep - 1), *models],
    *(
      [*head, *[""] * (deep - len(head)), *(cells.get((name, model), "-") for model in models)]
      for name, head in zip(names, heads, strict=True)
    ),
  ]


def _folded(name: str) -> list[str]:
  """A column's head in lines, each as long as HEAD where its parts allow it."""
  lines = [""]
  for part in re.findall(r"[^/@_:-]*[/@_:-]?", name):
    if lines[-1] and len(lines[-1] + part) > HEAD:
      lines.append("")
    lines[-1] += part
  return lines


def fitting(columns: list[list[str]], width: int | None = None) -> list[str]:
  """Lines of as many tables as it takes, each with the first column; an empty line after each.

  Args:
    columns: texts, each with its head.
    width: characters in a line; by default the terminal's. Columns that do not fit go below.
  """
  width = width or shutil.get_terminal_size((WIDTH, 24)).columns
  first, *others = columns
  blocks = [[first]]
  for column in others:
    block = [*blocks[-1], column]
    needed = sum(max(map(len, c)) + 2 for c in block) - 2
    if needed > width and len(blocks[-1]) > 1:
      block = [first, column]
      blocks.append(block)
    blocks[-1] = block
  tables = ([list(row) for row in zip(*block, strict=True) if any(row)] for block in blocks)
  return [line for table in tables for line in (aligned(table), "")]


def cell(value: float, low: float = math.nan, high: float = math.nan, digits: int = 3) -> str:
  """A number with its interval, if it has one."""
  if math.isnan(value):
    return "undetermined"
  interval = "" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
  return f"{value:.{digits}f}{interval}"


def aligned(rows: list[list[str]]) -> str:
  """Left-aligned columns; a row that is empty starts a table of its own."""
  lines = []
  for filled, of_table in itertools.groupby(rows, key=bool):
    of_table = list(of_table)
    if not filled:
      lines.append("")
      continue
    widths = [max(len(row[i]) for row in of_table) for i in range(len(of_table[0]))]
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in of_table]
  return "\n".join(lines)
