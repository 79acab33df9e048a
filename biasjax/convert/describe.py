"""What --inspect prints."""

from typing import Any

from biasjax.convert import families, readers, readings, stated
from biasjax.terminal import aligned

FEW = 8  # entries of a container that are shown


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
