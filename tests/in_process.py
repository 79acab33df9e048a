"""The commands in the process of the tests: what they print and return, without the seconds of a start."""

import contextlib
import dataclasses
import io
import logging
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator
from unittest import mock

from absl import flags
from absl import logging as absl_logging
from absl.testing import flagsaver

from biasjax.cli import converting, main

ROOT = pathlib.Path(__file__).parents[1]
LOGGERS = ("biasjax", "py.warnings")


@dataclasses.dataclass(frozen=True)
class Done:
  """As of a process that has ended."""

  returncode: int
  stdout: str
  stderr: str


@contextlib.contextmanager
def _logs_as_they_were() -> Iterator[None]:
  before = {name: (log.handlers[:], log.level, log.propagate) for name, log in _loggers()}
  verbosity = absl_logging.get_verbosity()
  try:
    yield
  finally:
    absl_logging.set_verbosity(verbosity)
    for name, log in _loggers():
      handlers, level, log.propagate = before[name]
      log.setLevel(level)
      for handler in set(log.handlers) - set(handlers):
        handler.close()
      log.handlers[:] = handlers


@contextlib.contextmanager
def _flags_as_they_were() -> Iterator[None]:
  before = flagsaver.save_flag_values(flags.FLAGS)
  try:
    yield
  finally:
    # Modules that were imported meanwhile have defined flags of theirs, and will not again.
    new = {n: flags.FLAGS[n] for n in flags.FLAGS if n not in before and not n.startswith("config")}
    flagsaver.restore_flag_values(before)
    for name, flag in new.items():
      flags.FLAGS[name] = flag


def _loggers() -> list[tuple[str, logging.Logger]]:
  return [(name, logging.getLogger(name)) for name in LOGGERS]


def run(*arguments: object, folder: pathlib.Path = ROOT) -> Done:
  """`python run.py` with these arguments, started in `folder`."""
  with _flags_as_they_were():
    return _done(lambda argv: main.main(main.parse_flags(argv)), ["run.py", *map(str, arguments)], folder)


def convert(*arguments: object, folder: pathlib.Path = ROOT) -> Done:
  """`python -m convert` likewise."""
  return _done(converting.main, ["convert", *map(str, arguments)], folder)


def _done(command: Callable[[list[str]], int], argv: list[str], folder: pathlib.Path) -> Done:
  printed, said = io.StringIO(), io.StringIO()
  with (
    contextlib.chdir(folder),
    mock.patch.object(sys, "argv", argv),  # where --config.x=... is looked for
    warnings.catch_warnings(),
    _logs_as_they_were(),
    contextlib.redirect_stdout(printed),
    contextlib.redirect_stderr(said),
  ):
    warnings.filterwarnings("ignore", ".*load_module", DeprecationWarning)  # ml_collections', of --config
    try:
      status = command(argv)
    except SystemExit as end:
      status = end.code
  return Done(int(status or 0), printed.getvalue(), said.getvalue())
