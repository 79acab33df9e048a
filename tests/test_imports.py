"""Imports go one way, read off the syntax trees."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# The pass, and what it is made of.
PASS = {
  f"biasjax.{part}"
  for part in (
    "evaluate",
    "programs",
    "data",
    "models",
    "partition",
    "probes",
    "rates",
    "results",
    "schedule",
  )
}

# What each part may import of the project, besides itself, errors, version and types.
ALLOWED = {
  "biasjax.types": set(),
  "biasjax.errors": set(),
  "biasjax.version": set(),
  "biasjax.options": set(),
  "biasjax.usage": set(),
  "biasjax.terminal": set(),
  "biasjax.sinks": set(),
  "biasjax.listing": {"biasjax.data", "biasjax.probes", "biasjax.terminal", "biasjax.train", "convert"},
  "biasjax.statistics": set(),
  "biasjax.channels": {"biasjax.statistics"},
  "biasjax.across": {"biasjax.statistics", "biasjax.data"},
  "biasjax.people": {"biasjax.statistics", "biasjax.data"},
  "biasjax.trials": {"biasjax.statistics", "biasjax.data"},
  "biasjax.partition": set(),
  "biasjax.schedule": set(),
  "biasjax.ops": set(),
  "biasjax.models": {"biasjax.ops"},
  "biasjax.data": set(),
  "biasjax.probes": {
    "biasjax.ops",
    "biasjax.models",
    "biasjax.data",
    "biasjax.partition",
    "biasjax.statistics",
    "biasjax.channels",
    "biasjax.trials",
  },
  "biasjax.results": {
    "biasjax.across",
    "biasjax.probes",
    "biasjax.statistics",
    "biasjax.trials",
  },
  "biasjax.scoring": {"biasjax.people", "biasjax.results", "biasjax.terminal", "biasjax.trials"},
  "biasjax.passes": {"biasjax.models", "biasjax.data"},
  "biasjax.programs": {"biasjax.ops", "biasjax.partition", "biasjax.probes"},
  "biasjax.evaluate": {
    "biasjax.programs",
    "biasjax.probes",
    "biasjax.models",
    "biasjax.data",
    "biasjax.ops",
    "biasjax.partition",
    "biasjax.results",
    "biasjax.schedule",
  },
  "biasjax.launch": {"biasjax.schedule"},
  "biasjax.rates": PASS,
  "biasjax.plan": PASS,
  "biasjax.benchmark": PASS,
  "biasjax.commands": PASS
  | {
    "biasjax.launch",
    "biasjax.passes",
    "biasjax.plan",
    "biasjax.sinks",
    "biasjax.terminal",
    "biasjax.benchmark",
    "biasjax.report",
    "convert",
  },
  "biasjax.library": PASS | {"convert"},
  "biasjax.train": {
    "biasjax.ops",
    "biasjax.models",
    "biasjax.data",
    "biasjax.partition",
    "biasjax.sinks",
    "convert",
  },
  "biasjax.sweep": {"biasjax.commands", "biasjax.data", "biasjax.report", "biasjax.train"},
  "biasjax.study": {"biasjax.statistics"},
  "biasjax.report": {"biasjax.study"},
  "convert": {"biasjax.models"},
}
LEAVES = {"biasjax.errors", "biasjax.options", "biasjax.version", "biasjax.types", "biasjax.usage"}


def part(module: str) -> str:
  """The entry of `ALLOWED` that a module belongs to."""
  return ".".join(module.split(".")[: 2 if module.startswith("biasjax") else 1])


def modules() -> dict[str, pathlib.Path]:
  paths = [*ROOT.glob("biasjax/**/*.py"), *ROOT.glob("convert/**/*.py")]
  names = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths
  }
  names.pop("biasjax")  # the public surface
  return names


def imported(path: pathlib.Path) -> set[str]:
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      found.add(node.module)
      if node.module == "biasjax":
        found |= {f"biasjax.{alias.name}" for alias in node.names}
  return {name for name in found if name.split(".")[0] in ("biasjax", "convert", "run") and name != "biasjax"}


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_lies_below_it(module):
  here = part(module)
  assert here in ALLOWED, f"{here} is new: say in ALLOWED what it may import"
  used = {part(name) for name in imported(modules()[module])}
  assert used <= ALLOWED[here] | LEAVES | {here}


@pytest.mark.parametrize("module", sorted(modules().keys() - {"convert.parity"}))  # --parity is about torch
def test_no_module_imports_torch_or_tensorflow(module):
  names = set()
  for node in ast.walk(ast.parse(modules()[module].read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names.add((node.module or "").split(".")[0])
  assert not names & {"torch", "torchvision", "timm", "tensorflow"}
