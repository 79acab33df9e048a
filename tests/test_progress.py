"""How far a command is, on a terminal and where there is none."""

import io
import sys

from biasjax import messages


def shown(monkeypatch, every: str, total: int = 4) -> str:
  monkeypatch.setenv(messages.EVERY, every)
  monkeypatch.setattr(sys, "stderr", io.StringIO())
  with messages.progress(desc="drawn", total=total, unit=" images") as bar:
    for _ in range(total):
      bar.update(1)
  return sys.stderr.getvalue()


def test_without_a_terminal_progress_is_whole_lines(monkeypatch):
  lines = shown(monkeypatch, every="0").splitlines()
  assert [line.split("[")[0].strip() for line in lines[-4:]] == [
    f"drawn: {25 * n:3d}% {n}/4" for n in range(1, 5)
  ]
  assert not any("\r" in line for line in lines)


def test_what_takes_less_than_a_minute_says_nothing(monkeypatch):
  assert shown(monkeypatch, every="60") == ""


def test_what_is_not_to_be_shown_is_not(monkeypatch):
  monkeypatch.setenv(messages.EVERY, "0")
  monkeypatch.setattr(sys, "stderr", io.StringIO())
  with messages.progress(shown=False, total=3) as bar:
    bar.update(3)
  assert sys.stderr.getvalue() == ""


def test_an_interval_that_is_no_number_is_a_minute(monkeypatch):
  assert shown(monkeypatch, every="often") == ""
