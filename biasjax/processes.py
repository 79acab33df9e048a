"""Other Python processes of this package: how many there is room for, and who is at work on a file."""

import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Iterator

from biasjax.errors import BiasjaxError

logger = logging.getLogger(__name__)


def environment() -> dict[str, str]:
  """Of a process that is to import what this one can."""
  return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))}


def cores() -> int:
  """How many cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def alone(path: str | os.PathLike, busy: str | None = None) -> Iterator[None]:
  """Holds a file of a local folder; the system lets go of it when a process dies.

  Args:
    path: of the file, made if it is not there; of a bucket nothing is held, since buckets have no locks.
    busy: what is said where another process holds it; None to wait for that process instead.

  Raises:
    BiasjaxError: another process holds it, and `busy` is given.
    OSError: the file cannot be made.
  """
  if "://" in os.fspath(path):
    yield
    return
  os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
  with open(path, "a") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except BlockingIOError as error:
      raise BiasjaxError(busy) from error
    except OSError as error:  # some network file systems
      logger.warning("%s cannot be locked (%s): see that only one run uses it", path, error)
    yield
