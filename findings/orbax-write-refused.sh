#!/usr/bin/env bash
# Orbax raises a ValueError, no OSError, where the system refuses to write a checkpoint (a full disk, a quota).
#
# Python's `open(...).write` raises an OSError with an errno, so a training that means to survive a full disk, or to say so in a line,
# catches OSError around `Checkpointer.save`. TensorStore, which writes the arrays, has absl's status codes, and its Python binding
# makes a ValueError of it, whose text alone holds the number; Orbax passes that on, and leaves its temporary folder beside. The
# refusal here is a limit on the size of files (EFBIG), which needs no full disk; a disk without room (ENOSPC) was seen to end alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet orbax-checkpoint==0.12.8 tensorstore==0.1.86 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import importlib.metadata
import logging
import pathlib
import re
import resource
import signal
import sys

import numpy as np
import orbax.checkpoint as ocp

logging.disable()
for name in ("orbax-checkpoint", "tensorstore"):
  print(name, importlib.metadata.version(name))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
state = {"weights": np.random.default_rng(0).normal(size=(256, 1024)).astype(np.float32)}
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, resource.RLIM_INFINITY))


def refused(write):
  try:
    write()
  except Exception as error:
    return error
  return None


def by_numpy():
  with open("weights.npy", "wb") as file:
    np.save(file, state["weights"])


def by_orbax():
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(pathlib.Path("state").resolve(), state)


numpy_error, orbax_error = refused(by_numpy), refused(by_orbax)
print("numpy.save:", type(numpy_error).__mro__[:2], numpy_error)
print("Orbax:", type(orbax_error).__mro__[:2], " ".join(str(orbax_error).split())[:300])
left = sorted(path.name for path in pathlib.Path().glob("state*"))
print("left:", left)
as_found = (
  isinstance(numpy_error, OSError)
  and isinstance(orbax_error, ValueError)
  and not isinstance(orbax_error, OSError)
  and re.search(r"os_error_code='\d+'", str(orbax_error)) is not None
  and bool(left)
  and "state" not in left
)
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
