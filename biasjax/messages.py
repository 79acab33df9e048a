"""Lines for people, with commands called as they were called: from the repository, or installed."""

import os
import re
import sys

INSTALLED = {"biasjax": r"(python )?\brun\.py\b", "biasjax-convert": r"python -m convert\b|^convert(?=: )"}


def as_called(text: str) -> str:
  """`text` with commands named as they are where biasjax is installed, if this one was called so."""
  if os.path.basename(sys.argv[0]).removesuffix(".exe") in INSTALLED:
    for installed, here in INSTALLED.items():
      text = re.sub(here, installed, text)
  return text


def warn(sentence: str, program: str = "run.py") -> None:
  """Prints a sentence to the standard error, after the name of the program."""
  print(as_called(f"{program}: {sentence}"), file=sys.stderr)
