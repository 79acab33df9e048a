"""Milliseconds per image and condition of each perturbation, against the published way of computing it.

python -m benchmarks.probes [--images=FOLDER] [--rounds=5] [--output=FILE.json]

The published way takes one image at a time and computes one FFT (in PyTorch), or one pyramid and a loop over
pixels (NumPy and pyrtools), for every condition; here a batch goes through one compiled program. The two take
turns within one run, since machines are shared; the ratio of the medians is what to quote. Needs
requirements-dev.txt.
"""

import json
import pathlib
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags

from benchmarks import published
from biasjax import partition, probes
from biasjax.data import pipeline, preprocess
from biasjax.engine import programs
from biasjax.probes import critical_band, spectral

IMAGES = flags.DEFINE_string("images", None, "A folder of images; drawn at random if not given.")
COUNT = flags.DEFINE_integer("count", 32, "Images: the batch.", lower_bound=1)
PUBLISHED_COUNT = flags.DEFINE_integer("published_count", 2, "Images that the published way is timed on.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns that each takes.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Where to write the figures as JSON.")


def pictures() -> np.ndarray:
  """uint8 [count, 224, 224, 3]."""
  if not IMAGES.value:
    return np.random.default_rng(0).integers(0, 256, (COUNT.value, 224, 224, 3), np.uint8)
  paths = sorted(p for p in pathlib.Path(IMAGES.value).rglob("*") if p.is_file())[: COUNT.value]
  return np.stack([preprocess.preprocess(path.read_bytes()) for path in paths])


def published_spectral(pixels: np.ndarray) -> int:
  """All conditions of the images one by one, in PyTorch; returns how many."""
  filters = [(b, spectral.radius(b, c, 224)) for b in spectral.COLUMNS for c in spectral.CUTOFFS]
  for band, radius in filters:
    for image in pixels:
      published.band_pass(image, band, radius)
  return len(filters) * len(pixels)


def published_critical_band(pixels: np.ndarray) -> int:
  """All conditions of the images one by one, with a pyramid and a loop over pixels; returns how many."""
  noises = [(0, 0.0), *((level, sd) for sd in critical_band.channels.PUBLISHED_SDS for level in range(7))]
  for level, sd in noises:
    for image in pixels:
      published.noisy(image, level, sd)
  return len(noises) * len(pixels)


def ours(name: str, pixels: np.ndarray) -> Callable[[], int]:
  """All conditions of the batch, by the steps that the pass runs; returns how many."""
  probe, split = probes.get(name), partition.of_process()
  ids = split.put(np.stack([pipeline.noise_id(str(i), 0) for i in range(len(pixels))]))
  prepare = split.compile(programs.prepare_step(probe.prepare))
  perturb = split.compile(programs.perturb_step(probe.perturb), shared=2)

  def run() -> int:
    prepared = prepare(split.put(pixels))
    for condition, numbers in probe.conditions.items():
      key = programs.condition_key(0, name, condition)
      jax.block_until_ready(perturb(*split.share((key, numbers)), ids, prepared))
    return len(pixels) * len(probe.conditions)

  run()  # compiles
  return run


def milliseconds(run: Callable[[], int]) -> float:
  start = time.perf_counter()
  done = run()
  return 1e3 * (time.perf_counter() - start) / done


def main(argv: list[str]) -> None:
  del argv
  pixels = pictures()
  theirs = {"spectral": published_spectral, "critical_band": published_critical_band}
  report = {"images": len(pixels), "rounds": ROUNDS.value, "device": str(jax.devices()[0])}
  for name, run_published in theirs.items():
    run_ours = ours(name, pixels)
    times: dict[str, list[float]] = {"published": [], "biasjax": []}
    for _ in range(ROUNDS.value):
      times["published"].append(milliseconds(lambda run=run_published: run(pixels[: PUBLISHED_COUNT.value])))
      times["biasjax"].append(milliseconds(run_ours))
    medians = {way: statistics.median(t) for way, t in times.items()}
    report[name] = {
      way: {"median_ms": medians[way], "min_ms": min(t), "max_ms": max(t)} for way, t in times.items()
    }
    report[name]["ratio"] = medians["published"] / medians["biasjax"]
    print(
      f"{name}: published {medians['published']:.2f}, biasjax {medians['biasjax']:.2f} ms per image and "
      f"condition: {report[name]['ratio']:.2f} times as fast"
    )
  if OUTPUT.value:
    pathlib.Path(OUTPUT.value).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
