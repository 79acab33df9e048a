"""Tables on a terminal."""

import itertools
import math
import shutil
from collections.abc import Mapping

import pandas as pd

WIDTH = 120  # where there is no terminal that tells


def text_table(metrics: pd.DataFrame, width: int | None = None) -> str:
  """The main numbers with their intervals, a line for each model.

  Datasets of which there is one number stand side by side; the others have a table of their own. A
  number that is flagged has a letter, and its flag stands below the table.

  Args:
    metrics: columns "model", "dataset", "metric", "value", "low", "high", "n", "flag" and "detail"; what is
      detail is left out.
    width: characters in a line; by default the terminal's. Columns that do not fit go below.
  """
  main = metrics[~metrics["detail"]]
  several = main.groupby("dataset")["metric"].transform("nunique") > 1
  lines = []
  for dataset, table in main.groupby(main["dataset"].where(several, ""), sort=False):
    least, most = table["n"].min(), table["n"].max()
    images = f"{most:,} image{'s' if most > 1 else ''}"
    images = images if dataset or least == most else f"{least:,} to {images}"
    names = list(dict.fromkeys(table["dataset"]))
    title = names[0] if len(names) == 1 else f"{len(names)} datasets"
    notes = {flag: _letters(i) for i, flag in enumerate(f for f in dict.fromkeys(table["flag"]) if f)}
    lines += [f"{title}: {images}, 95 % intervals", *fitting(_columns(table, notes), width)]
    if notes:
      lines[-1:] = [*(f"({letter}) {flag}" for flag, letter in notes.items()), ""]
  return "\n".join(lines)


def _letters(index: int) -> str:
  """a to z, then aa, ab and so on."""
  return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)


def _columns(table: pd.DataFrame, notes: Mapping[str, str]) -> list[list[str]]:
  """The models' names, then a column for each metric, each with its head; `notes` has a flag's letter."""
  models = list(dict.fromkeys(table["model"]))
  columns = [["model", *models]]
  for metric, rows in table.groupby("metric", sort=False):
    digits = 1 if rows[["value", "high"]].abs().max(axis=None) >= 10 else 3
    fields = zip(*(rows[field] for field in ("model", "flag", "value", "low", "high")), strict=True)
    cells = {
      model: cell(*number, digits=digits) + (f" ({notes[flag]})" if flag else "")
      for model, flag, *number in fields
    }
    columns.append([str(metric), *(cells.get(model, "-") for model in models)])
  return columns


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
  return [line for block in blocks for line in (aligned([list(row) for row in zip(*block, strict=True)]), "")]


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
