"""The commands as processes: importing them, a Ctrl-C at any moment, and warnings of libraries included.

Imports next to nothing, so that what it guards begins at once.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO, cast

from biasjax import processes
from biasjax.cli import exits
from biasjax.messages import warn


def biasjax() -> None:
  """The command `biasjax`, or python run.py."""

  def start() -> None:
    from biasjax.cli import main

    main.start()

  _guarded(start, "run.py")


def convert() -> None:
  """The command `biasjax-convert`, or python -m convert."""

  def start() -> None:
    from biasjax.cli import converting

    converting.start()

  _guarded(start, "convert")


def _guarded(start: Callable[[], None], program: str) -> None:
  if sys.stdout is not None:  # as it is where it was closed
    sys.stdout = cast(TextIO, Readable(sys.stdout))
  try:
    processes.hold_memory()
    keep_warnings()
    start()
  except KeyboardInterrupt:
    stopped(program)


class Readable:
  """A stream whose reader may go (`| head`): what is printed then goes to nobody, and the command goes on."""

  def __init__(self, stream: TextIO):
    self._stream = stream

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    """As of the stream."""
    self._unless_gone(lambda: self._stream.write(text))
    return len(text)

  def flush(self) -> None:
    """As of the stream."""
    self._unless_gone(self._stream.flush)

  def _unless_gone(self, do: Callable[[], Any]) -> None:
    try:
      do()
    except BrokenPipeError:
      nobody = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nobody, self._stream.fileno())  # what is buffered goes there, too, when the process ends
      os.close(nobody)


def stopped(program: str = "run.py") -> NoReturn:
  """Says that the process was told to stop, and ends it without anything that takes time or prints more."""
  warn("stopped; start the same command again to go on", program)
  sys.stdout.flush()
  os._exit(exits.INTERRUPTED)


def keep_warnings() -> None:
  """Python's warnings go where the log goes, a file in the working directory, and not to the terminal.

  They are libraries' words to programmers; what a user should know biasjax says itself.
  """
  logging.captureWarnings(True)
  captured = logging.getLogger("py.warnings")
  captured.propagate = False
  captured.addHandler(logging.NullHandler())
