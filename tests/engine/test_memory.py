"""What a process frees it keeps for the next program, where that is XLA on a CPU: counted in pages mapped."""

import json
import os
import pathlib
import platform
import subprocess
import sys

import pytest

from biasjax import processes
from deadline import DEADLINE_S

ROOT = pathlib.Path(__file__).parents[2]
SIZE = 80 << 20  # bytes, more than a heap of glibc's beside the first holds
# Pages that are mapped while a block is filled for the first time, and once more after it was freed.
FILL = f"""
import ctypes, json, resource, sys, threading
if "hold" in sys.argv:
  from biasjax.cli import starting
  starting._guarded(lambda: None, "test")
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
counts = []
def fill():
  for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = c.malloc({SIZE})
    c.memset(block, 1, {SIZE})
    c.free(block)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=fill)
thread.start()
thread.join()
print(json.dumps(counts))
"""


def mapped(*arguments: str) -> list[int]:
  environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
  environment |= {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": ""}
  command = [sys.executable, "-c", FILL, *arguments]
  run = {"cwd": ROOT, "env": environment, "check": True, "text": True, "timeout": DEADLINE_S}
  return json.loads(subprocess.run(command, stdout=subprocess.PIPE, **run).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_block_that_was_freed_is_not_mapped_again():
  first, again = mapped("hold")
  assert again <= first / 20
  first, again = mapped()
  assert again >= first / 2  # what it is there for


@pytest.mark.parametrize(
  "environment",
  [
    {"JAX_PLATFORMS": "cuda"},
    {"JAX_PLATFORMS": "cuda,cpu"},
    {"MALLOC_ARENA_MAX": "2"},
    {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"},
  ],
)
def test_memory_is_left_to_the_system_where_another_device_or_the_user_has_a_say(environment):
  assert not processes.hold_memory(environment)
