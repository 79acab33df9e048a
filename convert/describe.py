"""What --list and --inspect print."""

import fnmatch
import math
from collections.abc import Sequence
from typing import Any

from biasjax.models import zoo
from convert import download, families, readers, resolving

FEW = 8  # entries of a container that are shown


def listing(patterns: Sequence[str] = ("*",)) -> str:
  """What of the zoo, by category, and of the user's own conversions has such a name.

  State, size, licence, source, and what is unverified.
  """

  def wanted(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

  lines = []
  width = max(map(len, zoo.ZOO))
  for category in (*zoo.CATEGORIES, zoo.OTHER):
    rows = [row for row in zoo.ROWS if row.category == category and wanted(row.name)]
    if not rows:
      continue
    lines.append(f"{category.replace('_', ' ')} ({len(rows)})")
    for row in rows:
      size = f"{row.megabytes} MB" if row.megabytes else "? MB"
      lines.append(f"  {row.name:<{width}}  {_state(row):<10}  {size:>6}  {row.licence}  {row.source}")
      if row.head:
        lines.append(f"  {'':<{width}}  and its classifier: {row.head}")
      if doubts := _doubts(row):
        lines.append(f"  {'':<{width}}  not verified: {'; '.join(doubts)}")
  own = [name for name in resolving.converted_names() if name not in zoo.ZOO and wanted(name)]
  if own:
    lines.append(f"your own ({len(own)})")
    lines += [f"  {name}" for name in own]
  lines.append(f"cache: {download.cache_directory()}")
  return "\n".join(lines)


def _state(row: zoo.Checkpoint) -> str:
  if resolving.is_current(row):
    return "converted"
  sources = [row.source, row.head] if row.head else [row.source]
  return "downloaded" if all(map(download.cached, sources)) else "-"


def _doubts(row: zoo.Checkpoint) -> list[str]:
  return [row.unverified] * bool(row.unverified) + ["the file's sha256"] * (row.sha256 is None)


def inspection(file: readers.File) -> str:
  """What is in a file: container, globals, the tree with its tensors, and how it would be read."""
  lines = [f"{file.path}: {file.container}, {file.size:,} bytes"]
  tensors, total = _count(file.tree)
  lines.append(f"{tensors} tensors, {total:,} bytes")
  if file.globals:
    lines.append("globals that its pickle refers to (none was imported):")
    lines += [f"  {name}" for name in file.globals]
  lines += _tree(file.tree, 0, set())
  family = families.recognise(file.tree)
  rules = families.FAMILIES[family] if family else families.Family()
  found = families.readings(file.tree, rules, anywhere=True)
  named = f" ({family})" if family else ""
  ways = ", ".join(f"--reading={str(r)!r}" for r in found) or "none"
  lines.append(f"ResNets in it{named}: {ways}")
  return "\n".join(lines)


def _count(tree: Any) -> tuple[int, int]:
  count, total, visited, left = 0, 0, set(), [tree]
  while left:
    value = left.pop()
    if readers.is_tensor(value):
      count, total = count + 1, total + math.prod(value.shape) * value.dtype.itemsize
    elif isinstance(value, (dict, list, tuple)) and id(value) not in visited:
      visited.add(id(value))
      left += value.values() if isinstance(value, dict) else value
  return count, total


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
    return f"{value.dtype} {list(value.shape)}"
  if isinstance(value, (dict, list, tuple, set, frozenset)):
    return f"{type(value).__name__} of {len(value)}"
  return _short(value)


def _short(value: Any) -> str:
  if isinstance(value, int) and value.bit_length() > 128:
    return "a long number"
  text = repr(value[:80] if isinstance(value, (str, bytes)) else value)
  return text if len(text) <= 90 else text[:87] + "..."
