"""What --list and --inspect print."""

import dataclasses
from typing import Any

from biasjax.convert import download, families, readers, readings, resolving, stated
from biasjax.models import zoo
from biasjax.terminal import aligned

OWN = "your own"
FEW = 8  # entries of a container that are shown


def listing(pattern: str = "*") -> str:
  """Name, category, state, size and source of each model, zoo and own conversions; of one, all that is known.

  Args:
    pattern: a name, or one with wildcards.

  Raises:
    BiasjaxError: no model is so called.
  """
  names = zoo.matching(pattern, list(dict.fromkeys([*zoo.ZOO, *resolving.converted_names()])))
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
  if resolving.is_current(row):
    return "converted"
  sources = [row.source, row.head] if row.head else [row.source]
  return "downloaded" if all(map(download.cached, sources)) else "-"


def _doubts(row: zoo.Checkpoint) -> list[str]:
  return [row.unverified] * bool(row.unverified) + ["the file's sha256"] * (row.sha256 is None)


def inspection(file: readers.File, *, tensors: bool = False) -> str:
  """What is in a file: container, globals, the tree with its tensors, and how it would be read.

  Args:
    file: opened.
    tensors: whether every tensor is listed, a line each, and not the first few of many.
  """
  lines = [f"{file.path}: {file.container}, {file.size:,} bytes"]
  count, total = _count(file.tree)
  lines.append(f"{count} tensors, {total:,} bytes")
  if file.globals:
    lines.append("globals that its pickle refers to (none was imported):")
    lines += [f"  {name}" for name in file.globals]
  lines += _listed(file.tree) if tensors else _tree(file.tree, 0, set())
  family = families.recognise(file.tree)
  rules = families.FAMILIES[family] if family else families.Family()
  found, whole = readings.readings(file.tree, rules, anywhere=True), readings.whole(file)
  named = f" ({family})" if family else ""
  ways = ", ".join(f"--reading={str(r)!r}{'' if r in whole else ' (not whole)'}" for r in found) or "none"
  lines.append(f"ResNets in it{named}: {ways}")
  if said := [str(s) for s in stated.collect(file)]:
    lines += ["said of it, in it and beside it:", *(f"  {text}" for text in said)]
  return "\n".join(lines)


def _count(tree: Any) -> tuple[int, int]:
  count, total, visited, left = 0, 0, set(), [tree]
  while left:
    value = left.pop()
    if readers.is_tensor(value):
      count, total = count + 1, total + value.nbytes
    elif isinstance(value, (dict, list, tuple)) and id(value) not in visited:
      visited.add(id(value))
      left += value.values() if isinstance(value, dict) else value
  return count, total


def _listed(tree: Any) -> list[str]:
  """Every tensor in the order of the file, with the keys that lead to it."""
  rows, visited = [], set()
  left: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
  while left:
    keys, value = left.pop()
    if readers.is_tensor(value):
      rows.append([f"  {'/'.join(map(_short, keys))}", str(value.numbers), str(list(value.shape))])
    elif isinstance(value, dict | list | tuple) and id(value) not in visited:
      visited.add(id(value))
      items = value.items() if isinstance(value, dict) else enumerate(value)
      left += reversed([((*keys, key), inner) for key, inner in items])
  return aligned(rows).splitlines()


def _tree(tree: Any, depth: int, visited: set[int]) -> list[str]:
  if not isinstance(tree, dict) or id(tree) in visited or depth > families.DEPTH:
    return []
  visited.add(id(tree))
  lines = []
  shown = list(tree.items())
  # A state dict is long and alike; containers beside it matter.
  if len(shown) > 3 * FEW:
    plain = [item for item in shown if not isinstance(item[1], dict)]
    hidden = {id(item) for item in plain[FEW:]}
    shown = [item for item in shown if id(item) not in hidden]
  for key, value in shown:
    lines.append(f"{'  ' * (depth + 1)}{_short(key)}: {_leaf(value)}")
    lines += _tree(value, depth + 1, visited)
  if len(shown) < len(tree):
    lines.append(f"{'  ' * (depth + 1)}... and {len(tree) - len(shown)} more")
  return lines


def _leaf(value: Any) -> str:
  if readers.is_tensor(value):
    return f"{value.numbers} {list(value.shape)}"
  if isinstance(value, (dict, list, tuple, set, frozenset)):
    return f"{type(value).__name__} of {len(value)}"
  return _short(value)


def _short(value: Any) -> str:
  if isinstance(value, int) and value.bit_length() > 128:
    return "a long number"
  text = repr(value[:80] if isinstance(value, (str, bytes)) else value)
  return text if len(text) <= 90 else text[:87] + "..."
