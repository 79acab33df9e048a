"""Imports go one way, read off the syntax trees."""

import ast
import pathlib
import subprocess
import sys

import pytest

from deadline import DEADLINE_S

ROOT = pathlib.Path(__file__).parents[1]

# What each part may import of the project, besides itself and `LEAVES`: from the ground up, and so without a
# circle, since a part may only name parts that stand above it here.
ALLOWED = {
  "biasjax.types": (),
  "biasjax.errors": (),
  "biasjax.buckets": (),
  "biasjax.version": (),
  "biasjax.messages": (),
  "biasjax.options": (),
  "biasjax.named": (),
  "biasjax.processes": (),
  "biasjax.configuration": (),
  "biasjax.terminal": (),
  "biasjax.statistics": (),
  "biasjax.sampling": ("statistics",),
  "biasjax.compiling": (),
  "biasjax.partition": ("compiling",),
  "biasjax.numerics": (),
  "biasjax.channels": ("statistics",),
  "biasjax.ops": (),
  "biasjax.traced": ("compiling", "ops"),
  "biasjax.models": ("numerics", "ops", "traced"),
  "biasjax.data": ("sampling",),
  "biasjax.convert": ("models", "numerics", "terminal", "traced"),
  "biasjax.results": ("data", "sampling", "statistics"),
  "biasjax.recorded": ("data", "results", "statistics", "terminal"),
  "biasjax.probes": (
    *("channels", "data", "numerics", "ops", "partition", "recorded", "sampling", "statistics"),
  ),
  "biasjax.engine": (
    *("compiling", "data", "models", "numerics", "ops", "partition", "probes", "recorded", "results"),
    "sampling",
  ),
  "biasjax.library": ("convert", "data", "engine", "models", "numerics", "probes", "results"),
  "biasjax.study": ("results", "statistics"),
  "biasjax.report": ("data", "recorded", "results", "sampling", "statistics", "study", "terminal"),
  "biasjax.train": ("convert", "data", "models", "numerics", "ops", "partition", "results"),
  "biasjax.cli": (
    *("compiling", "configuration", "convert", "data", "engine", "models", "partition", "probes"),
    *("recorded", "report", "results", "study", "terminal", "train"),
  ),
}
LEAVES = {
  "biasjax.buckets",
  "biasjax.errors",
  "biasjax.named",
  "biasjax.options",
  "biasjax.processes",
  "biasjax.version",
  "biasjax.types",
  "biasjax.messages",
}


def part(module: str) -> str:
  """The entry of `ALLOWED` that a module belongs to."""
  return ".".join(module.split(".")[:2])


def modules() -> dict[str, pathlib.Path]:
  paths = ROOT.glob("biasjax/**/*.py")
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
  assert used <= {f"biasjax.{name}" for name in ALLOWED[here]} | LEAVES | {here}


def test_nothing_is_imported_from_above():
  order = list(ALLOWED)
  for at, (name, below) in enumerate(ALLOWED.items()):
    assert {f"biasjax.{part}" for part in below} <= set(order[:at]), name


# What compares with it, and what builds and traces a network of its.
ABOUT_TORCH = {"biasjax.convert.parity", "biasjax.convert.tracing", "biasjax.convert.building"}


@pytest.mark.parametrize("module", sorted(modules().keys() - ABOUT_TORCH))
def test_no_module_imports_torch_or_tensorflow(module):
  names = set()
  for node in ast.walk(ast.parse(modules()[module].read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names.add((node.module or "").split(".")[0])
  assert not names & {"torch", "torchvision", "timm", "tensorflow"}


def test_scipys_statistics_are_loaded_where_they_are_used():
  """Loading them takes a third of the time in which a command starts."""
  importing = [name for name, path in modules().items() if "import scipy.stats" in path.read_text()]
  assert importing == []


@pytest.mark.parametrize("wing", ["results", "study", "report"])
def test_tables_are_read_and_studied_without_jax_and_without_probes(wing):
  names = sorted(name for name in modules() if name.startswith(f"biasjax.{wing}"))
  script = f"import sys, {', '.join(names)}; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True
  )
  loaded = set(done.stdout.split())
  assert set(names) <= loaded
  assert not loaded & {"jax", "flax", "biasjax.probes", "biasjax.engine", "biasjax.models", "scipy.stats"}


@pytest.mark.parametrize(
  ("said", "needless"),
  [
    ("from biasjax.cli import listing; listing.datasets('*')", {"jax", "pandas"}),
    ("from biasjax.cli import listing; listing.models('*')", {"jax", "flax", "orbax", "pandas"}),
    ("from biasjax.cli import summarising", {"biasjax.cli.networks", "biasjax.engine.evaluate"}),
    ("from biasjax.report import draw", {"scipy.special"}),
  ],
)
def test_what_measures_nothing_does_not_wait_for_what_measures(said, needless):
  script = f"{said}\nimport sys; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True
  )
  assert not set(done.stdout.split()) & needless


def test_no_two_files_of_tests_have_one_name():
  """pytest imports them by their names alone."""
  names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
  assert sorted(names) == sorted(set(names))
