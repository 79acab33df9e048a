"""Fixtures and the strictness under which every test runs."""

import contextlib
import os
import pathlib

import jax
import pytest

# Shapes that broadcast by accident are how wrong numbers come about.
jax.config.update("jax_numpy_rank_promotion", "raise")

REFERENCE = os.environ.get("BIASJAX_REFERENCE", "")


def pytest_collection_modifyitems(items):
  """Skips tests marked `reference` where the reference data is absent."""
  if REFERENCE and pathlib.Path(REFERENCE).is_dir():
    return
  reason = f"BIASJAX_REFERENCE={REFERENCE!r} names no folder of reference data"
  for item in items:
    if item.get_closest_marker("reference"):
      item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def reference() -> pathlib.Path:
  """The folder of reference data; for tests marked `reference` only."""
  return pathlib.Path(REFERENCE)


@pytest.fixture(scope="session")
def torchvision():
  """torchvision, which beside a CPU build of torch registers operators that do not exist there."""
  torch = pytest.importorskip("torch", reason="parity tests need torch")
  register = torch.library.register_fake

  def tolerant(*args, **kwargs):
    decorate = register(*args, **kwargs)

    def apply(function):
      with contextlib.suppress(RuntimeError):
        return decorate(function)
      return function

    return apply

  torch.library.register_fake = tolerant
  try:
    return pytest.importorskip("torchvision", reason="parity tests need torchvision")
  finally:
    torch.library.register_fake = register
