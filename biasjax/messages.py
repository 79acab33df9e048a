"""Lines for people, with commands called as they were called: from the repository, or installed."""

import os
import re
import sys
from collections.abc import Callable

import tqdm

from biasjax.errors import BiasjaxError

INSTALLED = {"biasjax": r"(python )?\brun\.py\b", "biasjax-convert": r"python -m convert\b|^convert(?=: )"}


def as_called(text: str) -> str:
  """`text` with commands named as they are where biasjax is installed, if this one was called so."""
  if os.path.basename(sys.argv[0]).removesuffix(".exe") in INSTALLED:
    for installed, here in INSTALLED.items():
      text = re.sub(here, installed, text)
  return text


def counted(n: int, what: str) -> str:
  """A number of things: "1 model", "2 models"."""
  return f"{n} {what}{'' if n == 1 else 's'}"


def warn(sentence: str, program: str = "run.py") -> None:
  """Prints a sentence to the standard error, after the name of the program."""
  print(as_called(f"{program}: {sentence}"), file=sys.stderr)


def refused(error: OSError) -> str:
  """What the system would not do, and with which file."""
  return f"{error.filename}: {error.strerror or error}" if error.filename else error.strerror or str(error)


def ended(work: Callable[[], object], program: str) -> int:
  """Prints what `work` returns; a user's mistake, or storage that fails, is one line instead.

  Args:
    work: all that a command does once its flags are read.
    program: what messages begin with.

  Returns:
    The exit status: 0, 1 after a mistake, 75 where a Ctrl-C stopped it (docs/running.md).
  """
  try:
    print(work())
  except BiasjaxError as error:
    warn(f"error: {error}", program)
  except OSError as error:
    warn(f"error: {refused(error)}", program)
  except KeyboardInterrupt:
    warn("stopped", program)
    return 75
  else:
    return 0
  return 1


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"
EVERY = "BIASJAX_PROGRESS_S"  # seconds from one line of progress to the next, where no terminal shows a bar


def progress(*, shown: bool = True, **asked) -> tqdm.tqdm:
  """A bar on the standard error, or, where that is none, a line a minute, or every $BIASJAX_PROGRESS_S.

  Args:
    shown: whether there is either.
    **asked: what tqdm takes.
  """
  if not shown or sys.stderr.isatty():
    return tqdm.tqdm(**asked, disable=not shown)
  try:
    seconds = float(os.environ.get(EVERY, 60))
  except ValueError:
    seconds = 60.0
  every = {"mininterval": seconds, "miniters": 1, "delay": seconds}  # nothing before the first has passed
  line = asked.get("bar_format", BAR).replace("|{bar}|", "")
  return tqdm.tqdm(**{**asked, "bar_format": line}, **every, file=_Lines(), leave=False)


class _Lines:
  """The standard error for what is written over itself: a line for each time."""

  def write(self, text: str) -> None:
    if text.strip():
      sys.stderr.write(f"{text.strip()}\n")

  def flush(self) -> None:
    sys.stderr.flush()
