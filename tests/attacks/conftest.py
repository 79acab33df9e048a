"""The library that PGD is compared with."""

import warnings

import pytest


@pytest.fixture(scope="session")
def foolbox():
  pytest.importorskip("torch", reason="parity tests need torch")
  with warnings.catch_warnings():  # it imports names that scipy and others are about to rename
    warnings.simplefilter("ignore", DeprecationWarning)
    return pytest.importorskip("foolbox", reason="parity tests need foolbox")
