"""How wall time and peak memory of a run grow with images, conditions and networks.

python -m benchmarks.growth --images=FOLDER --models=A,B,C,D [--output=FILE.json]

Each run is a process of its own with a fresh workdir; programs come compiled from a cache that a first run
fills, so that what is left of the start is start-up. A straight line through the times of a series gives
start-up (what nothing would take) and the cost of one more; "off" is the largest distance from that line.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags

IMAGES = flags.DEFINE_string("images", None, "A folder of class folders.", required=True)
MODELS = flags.DEFINE_list("models", None, "Four networks of one architecture.", required=True)
LIMITS = flags.DEFINE_list("limits", ["100", "250", "500", "1000"], "How many images.")
OUTPUT = flags.DEFINE_string("output", None, "Where to write the figures as JSON.")

FEW, BATCH = 100, 25
PROBES = {1: "accuracy", 23: "spectral", 52: "spectral,critical_band"}  # by their number of conditions


def run(models: list[str], probes: str, limit: int, cache: str) -> dict[str, float]:
  """Seconds and peak memory in MB of one run."""
  with tempfile.TemporaryDirectory() as workdir:
    command = [sys.executable, "run.py", f"--models={','.join(models)}", f"--probes={probes}"]
    command += [f"--dataset=folder:{IMAGES.value}", f"--limit={limit}", f"--workdir={workdir}"]
    command += [f"--batch_size={BATCH}", f"--chunk_size={2 * BATCH}"]
    keep = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    start = time.perf_counter()
    process = subprocess.Popen(
      command, env=os.environ | keep, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
      sys.exit(f"{' '.join(command)} failed")
  return {"seconds": time.perf_counter() - start, "peak_mb": used.ru_maxrss / 1024}


def line(counts: list[int], runs: list[dict[str, float]]) -> dict:
  """The runs of a series and the line through their times."""
  seconds = np.array([one["seconds"] for one in runs])
  each, start = np.polyfit(counts, seconds, 1)
  off = float(np.abs(seconds - start - each * np.array(counts)).max() / seconds.max())
  return {"counts": counts, "runs": runs, "each_s": float(each), "start_s": float(start), "off": off}


def main(argv: list[str]) -> None:
  del argv
  models, limits = MODELS.value, [int(limit) for limit in LIMITS.value]
  with tempfile.TemporaryDirectory() as cache:
    run(models, PROBES[52], BATCH, cache)
    report = {}
    series = {
      "images (23 conditions, 1 network)": [(models[:1], PROBES[23], limit) for limit in limits],
      f"conditions ({FEW} images, 1 network)": [(models[:1], probes, FEW) for probes in PROBES.values()],
      f"networks ({FEW} images, 52 conditions)": [(models[:n], PROBES[52], FEW) for n in (1, 2, 4)],
    }
    for (name, runs), counts in zip(series.items(), (limits, list(PROBES), [1, 2, 4]), strict=True):
      report[name] = line(counts, [run(*one, cache) for one in runs])
      print(name, json.dumps(report[name]), flush=True)
  if OUTPUT.value:
    pathlib.Path(OUTPUT.value).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
