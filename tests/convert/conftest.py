"""Fixtures of conversion's tests."""

import pytest


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
  """A cache of downloads and conversions that begins empty."""
  monkeypatch.setenv("BIASJAX_CACHE", str(tmp_path / "cache"))
