"""Kills a run with -9 at random moments, again and again, and compares its results with an undisturbed run.

Takes the flags of run.py:
python -m benchmarks.soak --models=A,B --dataset=... --probes=... --workdir=DIR --kills=200 --verbosity=-1
"""

import json
import os
import pathlib
import random
import signal
import sys
import time

from absl import app, flags

from biasjax.cli import commands
from biasjax.cli import main as run

flags.DEFINE_integer("kills", 200, "How many.")
flags.DEFINE_float("longest", 12.0, "Seconds that a run is left alone at most.")


def start(workdir: pathlib.Path) -> int:
  """`run.py` in a process of its own, which is forked so that Python's imports are paid once; its number."""
  child = os.fork()
  if child:
    return child
  with open(os.devnull, "w") as quiet:
    os.dup2(quiet.fileno(), 1)
    os._exit(commands.measure(run.settings(flags.FLAGS) | {"workdir": str(workdir)}))


def contents(workdir: pathlib.Path) -> dict[str, bytes]:
  """What counts as the result: everything but logs, locks and what was cut short."""
  found = {}
  for path in sorted(workdir.rglob("*")):
    if path.is_file() and not path.name.startswith((".", "log-")):
      found[str(path.relative_to(workdir))] = path.read_bytes()
  return found


def main(argv: list[str]) -> None:
  del argv
  output = pathlib.Path(flags.FLAGS.workdir)
  chance = random.Random(0)
  kills, starts, began = 0, 0, time.monotonic()
  while True:
    child = start(output / "killed")
    starts += 1
    limit = time.monotonic() + chance.uniform(0, flags.FLAGS.longest)
    ended = 0
    while not ended and (kills >= flags.FLAGS.kills or time.monotonic() < limit):
      ended, status = os.waitpid(child, os.WNOHANG)
      time.sleep(0.01)
    if ended:
      if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"a run failed with {os.waitstatus_to_exitcode(status)}")
      break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
  killed_s = time.monotonic() - began
  began = time.monotonic()
  _, status = os.waitpid(start(output / "undisturbed"), 0)
  if os.waitstatus_to_exitcode(status) != 0:
    sys.exit("the undisturbed run failed")
  killed, undisturbed = contents(output / "killed"), contents(output / "undisturbed")
  report = {
    "kills": kills,
    "starts": starts,
    "files": len(undisturbed),
    "same": sum(killed.get(name) == content for name, content in undisturbed.items()),
    "more": sorted(set(killed) - set(undisturbed)),
    "cut_short": sum(1 for _ in (output / "killed").rglob(".*.parquet.*")),
    "killed_s": round(killed_s),
    "undisturbed_s": round(time.monotonic() - began),
  }
  print(json.dumps(report, indent=1))
  sys.exit(report["same"] != report["files"] or bool(report["more"]) or kills < flags.FLAGS.kills)


if __name__ == "__main__":
  app.run(main)
