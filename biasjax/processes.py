"""Other Python processes of this package: how many there is room for, and who is at work on a file."""

import contextlib
import ctypes
import fcntl
import glob
import importlib.util
import logging
import os
import pathlib
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping

from biasjax.errors import BiasjaxError

logger = logging.getLogger(__name__)
DAY_S = 86_400.0


def environment() -> dict[str, str]:
  """Of a process that is to import what this one can."""
  return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))}


def cores() -> int:
  """How many cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hold_memory(environment: Mapping[str, str] = os.environ) -> bool:
  """Has this process keep what it frees, and whether it does; before it has threads, or theirs do not.

  XLA takes one block for all that a program computes on the way, and frees it after each call. From 32 MB on
  glibc has the system map such a block anew every time, which then fills it with zeros page by page as it is
  written: 5 to 18 % of the processor time of a ResNet-50 (docs/performance.md). Not on other C libraries, not
  where JAX may find something else than CPUs, whose hosts have many threads that share one heap then, and not
  where the environment itself says how to allocate.

  Args:
    environment: of this process.
  """
  said = any(name.startswith("MALLOC_") for name in environment) or "glibc.malloc" in environment.get(
    "GLIBC_TUNABLES", ""
  )
  if platform.libc_ver()[0] != "glibc" or said or not _cpus_alone(environment):
    return False
  allocator = ctypes.CDLL(None)
  # Of malloc.h: M_ARENA_MAX, since only the first heap grows beyond 64 MB; M_MMAP_MAX; M_TRIM_THRESHOLD.
  return all([*map(allocator.mallopt, (-8, -4, -1), (1, 0, -1))])


def _cpus_alone(environment: Mapping[str, str]) -> bool:
  """Whether JAX will compute on CPUs, as far as can be said before it is imported."""
  given = environment.get("JAX_PLATFORMS")
  return given == "cpu" if given else not any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))


def forget_unfinished(path: str | os.PathLike, age_s: float = DAY_S) -> None:
  """Removes what killed processes left beside a file or folder that is written elsewhere and renamed.

  Args:
    path: of the file or folder; what is unfinished is called .NAME.HEX.tmp, beside it.
    age_s: only what has not been touched for so long: another process may be at work on what is younger.
  """
  path = pathlib.Path(path)
  for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 32}.tmp"):
    with contextlib.suppress(OSError):  # another process removed it, or may not
      if time.time() - left.stat().st_mtime >= age_s:
        shutil.rmtree(left) if left.is_dir() else left.unlink()


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
