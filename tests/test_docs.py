"""The docs say what the code says."""

import pathlib
import re

import pytest

from biasjax.data import datasets
from biasjax.train import interventions
from demo import make_zoo

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "datasets.md").read_text()


@pytest.mark.parametrize("row", datasets.ROWS, ids=lambda row: row.name)
def test_every_benchmark_is_documented_as_it_is(row):
  (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{row.name}` | `{row.table}` |")]
  assert (f"| {row.images:,} |" if row.images else "| not stated |") in line
  assert row.licence in line
  assert row.title in line
  assert f"`{row.archives[0].name}`" in line or len(row.archives) > 5
  assert row.archives[0].where.split(" ")[0] in line
  assert row.stock is None or f"TFDS `{row.stock[0]}`" in line


@pytest.mark.parametrize("name", interventions.names())
def test_every_intervention_is_described_and_its_effect_was_measured(name):
  if f"\n| `{name}` |" in (DOCS / "debiasing.md").read_text():
    return
  assert not interventions.parse(f"{name}=1")[0].objective
  described, measured = (DOCS / "interventions.md").read_text().split("## Measured effects")
  assert f"\n| `{name}` |" in described
  assert f"\n| `{name}" in measured or f"\n| without `{name}" in measured
  trained = "+".join([*make_zoo.INTERVENTIONS.values(), *make_zoo.FURTHER.values()])
  assert name in {part.partition("=")[0].partition(":")[0] for part in trained.split("+")}


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in DOCS.glob("*.md"))])
def test_links_lead_somewhere(page):
  path = DOCS.parent / page
  for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
    assert "://" in target or (path.parent / target).exists(), target
