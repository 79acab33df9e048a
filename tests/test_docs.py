"""The table of datasets says what the rows say."""

import pathlib

import pytest

from biasjax.data import datasets

PAGE = (pathlib.Path(__file__).parents[1] / "docs/datasets.md").read_text()


@pytest.mark.parametrize("row", datasets.ROWS, ids=lambda row: row.name)
def test_every_benchmark_is_documented_as_it_is(row):
  (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{row.name}` | `{row.table}` |")]
  assert f"| {row.images:,} |" in line
  assert row.licence in line
  assert row.title in line
  assert f"`{row.archives[0].name}`" in line or len(row.archives) > 5
  assert row.archives[0].where.split(" ")[0] in line
  assert row.stock is None or f"TFDS `{row.stock[0]}`" in line
