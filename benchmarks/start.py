"""How soon a run reaches its first results, the first time and again: what keeping compiled programs saves.

python -m benchmarks.start --starts=3 -- --models=checkpoints/resnet50 --dataset=folder:PATH --probes=accuracy

What stands after `--` are flags of run.py. The starts take turns: with an empty folder for compiled programs,
then with a filled one. A start is timed from the process to its first file of observations: make the dataset,
the batch and the chunk small (`--limit=4 --batch_size=4`).
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def start(given: list[str], cache: pathlib.Path, workdir: pathlib.Path) -> dict[str, float]:
  """Seconds until the first file of observations, and seconds of all cores until the end."""
  environment = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
  environment["BIASJAX_CACHE"] = str(cache)
  before, began, first = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0.0
  process = subprocess.Popen(
    [sys.executable, "run.py", *given, f"--workdir={workdir}"], env=environment, stdout=subprocess.DEVNULL
  )
  while process.poll() is None:
    if not first and next(workdir.glob("observations/**/*.parquet"), None):
      first = time.monotonic() - began
    time.sleep(0.02)
  if process.returncode or not first:
    sys.exit(f"run.py ended with {process.returncode} and made no file of observations")
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
  return {"first_s": first, "all_s": time.monotonic() - began, "cpu_s": cpu}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--starts", type=int, default=3)
  parser.add_argument("flags", nargs="+", help="of run.py, after --")
  asked = parser.parse_args()
  took: dict[str, list[dict[str, float]]] = {"first": [], "again": []}
  for _ in range(asked.starts):
    with tempfile.TemporaryDirectory() as folder:
      for kind in took:
        workdir = pathlib.Path(folder, kind)
        took[kind].append(start(asked.flags, pathlib.Path(folder, "cache"), workdir))
  medians = {
    kind: {name: round(statistics.median(each[name] for each in all_of), 2) for name in all_of[0]}
    for kind, all_of in took.items()
  }
  ratios = {name: round(medians["again"][name] / medians["first"][name], 2) for name in medians["first"]}
  print(json.dumps(medians | {"ratio": ratios}, indent=1))


if __name__ == "__main__":
  main()
