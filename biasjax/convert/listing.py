"""What --list=models prints; imports no JAX."""

import dataclasses

from biasjax.convert import cached, download
from biasjax.models import zoo

OWN = "your own"


def listing(pattern: str = "*") -> str:
  """Name, category, state, size and source of each model, zoo and own conversions; of one, all that is known.

  Args:
    pattern: a name, or one with wildcards.

  Raises:
    BiasjaxError: no model is so called.
  """
  names = zoo.matching(pattern, list(dict.fromkeys([*zoo.ZOO, *cached.converted_names()])))
  rows = [zoo.ZOO.get(name) for name in names]
  if len(rows) == 1 and rows[0]:
    return _all_of(rows[0])
  width = max(map(len, names))
  lines = []
  for name, row in zip(names, rows, strict=True):
    if row is None:
      lines.append(f"{name:<{width}}  {OWN:<20}  converted")
      continue
    size = f"{row.megabytes} MB" if row.megabytes else "? MB"
    lines.append(
      f"{name:<{width}}  {row.category:<20}  {_state(row):<10}  {size:>6}  "
      f"{row.source}{' and a classifier' * bool(row.head)}{' *' * bool(_doubts(row))}"
    )
  if any(row and _doubts(row) for row in rows):
    lines.append("* not all of it is verified: name it alone to see what")
  return "\n".join([*lines, f"cache: {download.cache_directory()}"])


def _all_of(row: zoo.Checkpoint) -> str:
  """A line for each thing that is known of a row."""
  known = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
  known |= {"state": _state(row), "unverified": "; ".join(_doubts(row))}
  return "\n".join(f"{name:<10}  {value}" for name, value in known.items() if value not in (None, ""))


def _state(row: zoo.Checkpoint) -> str:
  if cached.is_current(row):
    return "converted"
  sources = [row.source, row.head] if row.head else [row.source]
  return "downloaded" if all(map(download.cached, sources)) else "-"


def _doubts(row: zoo.Checkpoint) -> list[str]:
  return [row.unverified] * bool(row.unverified) + ["the file's sha256"] * (row.sha256 is None)
