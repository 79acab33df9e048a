"""Other Python processes of this package, and how many there is room for."""

import os
import sys


def environment() -> dict[str, str]:
  """Of a process that is to import what this one can."""
  return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))}


def cores() -> int:
  """How many cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
