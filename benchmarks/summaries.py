"""CPU-seconds that tables take from stored observations: the first time, and when nothing has changed.

python -m benchmarks.summaries [--against=CHECKOUT] [--rounds=2] [--only=imagenet]

The observations are drawn: a network on ImageNet with three probes (50,000 images x 52 conditions), and on
ImageNet-C (4.75 million images). With --against another checkout of biasjax makes the tables of the same
observations, taking turns in one run, and numbers that differ are listed.
"""

import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
from absl import app, flags

from biasjax import probes
from biasjax.data import layouts
from biasjax.data.classes import wordnet_ids
from biasjax.engine import schedule
from biasjax.results import chunk
from biasjax.results.store import Store
from biasjax.results.unit import Unit
from biasjax.version import __version__

AGAINST = flags.DEFINE_string("against", None, "The root of another checkout, which is compared with.")
ROUNDS = flags.DEFINE_integer("rounds", 2, "Turns that each takes.", lower_bound=1)
IMAGES = flags.DEFINE_integer("images", 50_000, "Of ImageNet, and of each condition of ImageNet-C.")
ONLY = flags.DEFINE_string("only", "", "One of imagenet, imagenet-c.")
OLD_CHUNK = 2048  # of the paper's protocol before 0.3

# The public functions have moved since 0.2.
TIMED = """
import sys, time
from biasjax import probes
try:
  from biasjax.results.store import Store
  from biasjax.results.summary import summarise, write_tables
except ImportError:
  from biasjax.results import Store, summarise, write_tables
probes.get("critical_band")
started = time.process_time()
store = Store(sys.argv[1])
write_tables(store, summarise(store, probes.get))
print(time.process_time() - started)
"""


class Images:
  """As much of a source as the store asks for."""

  fingerprint, location, notes, incomplete, asked = "drawn", "nowhere", (), False, ()

  def __init__(self, name: str, length: int):
    self.name, self.length = name, length


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
  """Ids in class folders, and labels."""
  wnids = np.array(wordnet_ids())
  labels = np.sort(np.random.default_rng(0).integers(1000, size=count)).astype(np.int32)
  return np.array([f"{w}/ILSVRC2012_val_{i:08d}.JPEG" for i, w in enumerate(wnids[labels])]), labels


def drawn(labels: np.ndarray, hard: float, rng: np.random.Generator, ease: np.ndarray) -> dict:
  """What a network says: an image that is easy stays so under all conditions."""
  right = ease + rng.normal(size=len(labels)) > hard
  rank = np.where(right, 0, 1 + rng.geometric(0.05, len(labels))).astype(np.int32)
  confidence = rng.beta(2 + 2 * right, 2).astype(np.float32)
  return {
    "label": labels,
    "prediction": np.where(right, labels, rng.integers(1000, size=len(labels))).astype(np.int32),
    "rank": rank,
    "confidence": confidence,
    "nll": -np.log(np.where(right, confidence, 0.5 * (1 - confidence) + 1e-6)).astype(np.float32),
    "brier": (rng.random(len(labels)) * 2).astype(np.float32),
  }


def difficulty(condition: str) -> float:
  """Of a condition: what is left of the spectrum helps, and noise hurts most in the middle octave."""
  if condition == "clean":
    return -1.0
  if noise := re.fullmatch(r"f=(\d+)/sd=(.+)", condition):
    band, sd = int(noise[1]), float(noise[2])
    return -1.0 + 1.5 * math.log2(sd / 0.01) * math.exp(-((band - 3) ** 2) / 4.5)
  return 2.0 - 3.0 * float(condition.rpartition("/")[2])


def write(store: Store, unit: Unit, conditions: dict[str, float], ids, labels, size: int) -> None:
  """All observations of a unit, chunk by chunk."""
  ease = np.random.default_rng(0).normal(size=len(ids))
  rng = np.random.default_rng(1)
  said = {name: drawn(labels, hard, rng, ease) for name, hard in conditions.items()}
  for start, stop in chunk.chunks(len(ids), size):
    columns: dict = {
      "condition": np.repeat(list(conditions), stop - start),
      "example_id": np.tile(ids[start:stop], len(conditions)),
    }
    for name in next(iter(said.values())):
      columns[name] = np.concatenate([of_condition[name][start:stop] for of_condition in said.values()])
    store.write(unit, (start, stop), columns, {}, contents=np.ones(stop - start, np.uint32))


def fill(folder: pathlib.Path, dataset: str, *, old: bool) -> None:
  """A working directory of one network; `old` as 0.2 laid it out."""
  ids, labels = images(IMAGES.value)
  asked = {"accuracy": {"clean": -1.0}}
  kind = "imagenet"
  if dataset == "imagenet-c":
    kind = "imagenet_c"
    conditions = [f"{c}/{s}" for c in (*layouts.FIFTEEN, *layouts.EXTRA) for s in layouts.SEVERITIES]
    ids = np.concatenate([np.char.add(f"{condition}/", ids) for condition in conditions])
    labels = np.tile(labels, len(conditions))
  else:
    for name in ("spectral", "critical_band"):
      asked[name] = {condition: difficulty(condition) for condition in probes.get(name).conditions}
  looks = sum(map(len, asked.values()))
  size = OLD_CHUNK if old else schedule.chunk_size(looks, len(ids), 256, 1, "gpu")
  store = Store(folder, size)
  shown = {"resize": 256, "crop": 224, "interpolation": "bilinear"}
  for name, conditions in asked.items():
    key = {"biasjax": __version__, "labels": kind, "preprocess": shown, "precision": "float32", "seed": 0}
    unit = Unit("drawn", dataset, name, key | {"probe": name})
    store.register(Images(dataset, len(ids)), [unit])
    write(store, unit, conditions, ids, labels, size)
  if old:
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(manifest | {"format": 2, "chunk_size": size}))


def timed(checkout: pathlib.Path, folder: pathlib.Path) -> float:
  """CPU-seconds of a summary, imports left out."""
  command = [sys.executable, "-c", TIMED, str(folder)]
  done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
  if done.returncode:
    raise SystemExit(done.stderr)
  return float(done.stdout.split()[-1])


def compare(old: pathlib.Path, new: pathlib.Path) -> str:
  """How many of the numbers that two metrics.csv share are equal, but for rounding, and which are not."""
  names, numbers = ["model", "dataset", "probe", "metric"], ["value", "low", "high", "n"]
  both = pd.read_csv(old / "metrics.csv").merge(
    pd.read_csv(new / "metrics.csv"), on=names, suffixes=("_then", "_now")
  )
  lines = []
  for number in numbers:
    then, now = (both[f"{number}_{when}"].to_numpy(float) for when in ("then", "now"))
    differ = ~np.isclose(then, now, rtol=1e-9, atol=1e-9, equal_nan=True)
    which = ", ".join(
      f"{m} ({a:.6g}, {b:.6g})"
      for m, a, b in zip(both["metric"][differ][:5], then[differ], now[differ], strict=False)
    )
    lines.append(
      f"{number}: {(~differ).sum()} of {len(both)} are equal" + (f"; not {which} ..." if which else "")
    )
  return "\n".join(lines)


def main(argv: list[str]) -> None:
  del argv
  here = pathlib.Path(__file__).parents[1]
  for dataset in filter(None, [ONLY.value] if ONLY.value else ["imagenet", "imagenet-c"]):
    with tempfile.TemporaryDirectory() as temporary:
      old, new = pathlib.Path(temporary, "old"), pathlib.Path(temporary, "new")
      fill(new, dataset, old=False)
      if AGAINST.value:
        fill(old, dataset, old=True)
      seconds: dict[str, list[float]] = {"baseline": [], "first": [], "again": []}
      for _ in range(ROUNDS.value):
        shutil.rmtree(new / "summaries", ignore_errors=True)
        if AGAINST.value:
          seconds["baseline"].append(timed(pathlib.Path(AGAINST.value), old))
        seconds["first"].append(timed(here, new))
        seconds["again"].append(timed(here, new))
      for name, values in seconds.items():
        if values:
          line = f"{dataset}, {name}: {np.median(values):.2f} s of {', '.join(f'{v:.2f}' for v in values)}"
          ratio = np.median(seconds["baseline"]) / np.median(values) if AGAINST.value else np.nan
          print(line + (f"; 1/{ratio:.1f}" if np.isfinite(ratio) else ""), flush=True)
      if AGAINST.value:
        print(compare(old, new))


if __name__ == "__main__":
  app.run(main)
