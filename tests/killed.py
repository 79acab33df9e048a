"""Runs that are killed in the middle of their work."""

import contextlib
from collections.abc import Iterator

import pytest

from biasjax.results.store import Store


@contextlib.contextmanager
def killed_after(written: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
  """What runs inside is interrupted when so many files of observations are written."""
  write, count = Store.write, []

  def interrupted(self, *args, **more):
    if len(count) == written:
      raise KeyboardInterrupt
    count.append(args)
    write(self, *args, **more)

  with monkeypatch.context() as patch:
    patch.setattr(Store, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
      yield
