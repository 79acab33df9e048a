"""Wall time of a whole pass, spectral and critical band on one network, against the published way.

python -m benchmarks.whole_pass --images=FOLDER [--count=16] [--rounds=3] [--output=FILE.json]

The published way goes over the images once for each condition: decode, resize, crop, filter or noise in
loader processes, then PyTorch's forward pass. It runs as published, and at its best: glibc's allocator tuned,
layout channels-last, BatchNorm fused. Each way is a process of its own with the same ResNet-50; they take
turns, since machines are shared, and the ratio of the medians is what to quote. Both times are given: of the
whole process, and from its first image on (imports, loading and compiling left out). Needs
requirements-dev.txt.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from tests import cpu_torchvision

IMAGES = flags.DEFINE_string("images", None, "A folder of class folders.", required=True)
COUNT = flags.DEFINE_integer("count", 16, "Images, and the batch.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns that each takes.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Where to write the figures as JSON.")
WAY = flags.DEFINE_string("way", None, "One way only, in this process: what the turns consist of.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The network that all ways use; made if not given.")

WAYS = ("published", "published at its best", "biasjax")
ALLOCATOR = {
  "MALLOC_TOP_PAD_": "268435456",
  "MALLOC_MMAP_THRESHOLD_": "4294967296",
  "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
PROBES = ("spectral", "critical_band")


def paths() -> list[pathlib.Path]:
  """The images, spread over the classes."""
  found = sorted(path for path in pathlib.Path(IMAGES.value).glob("*/*") if path.is_file())
  return found[:: max(1, len(found) // COUNT.value)][: COUNT.value]


def conditions() -> list[tuple[str, int, float]]:
  """("low" or "high", r, 0) and ("noise", level, sd): clean, 22 filters, 29 noises."""
  from biasjax.channels import PUBLISHED_SDS
  from biasjax.probes import spectral

  filters = [(b, spectral.radius(b, c, 224), 0.0) for b in spectral.COLUMNS for c in spectral.CUTOFFS]
  noises = [("noise", 0, 0.0), *(("noise", level, sd) for sd in PUBLISHED_SDS for level in range(7))]
  return [("clean", 0, 0.0), *filters, *noises]


def theirs(best: bool) -> tuple[float, float]:
  """(when the first image came, when all was done), by the published way."""
  import numpy as np
  import torch
  from torch.nn.utils.fusion import fuse_conv_bn_eval

  from benchmarks import published
  from biasjax.data import preprocess

  network = cpu_torchvision.load().models.resnet50()
  network.load_state_dict(torch.load(CHECKPOINT.value))
  network.eval()
  if best:
    for module in list(network.modules()):
      for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")):
        if isinstance(getattr(module, norm, None), torch.nn.BatchNorm2d):
          setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
          setattr(module, norm, torch.nn.Identity())
    network = network.to(memory_format=torch.channels_last)
  mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

  class Images(torch.utils.data.Dataset):
    def __init__(self, condition):
      self.condition, self.paths = condition, paths()

    def __len__(self):
      return len(self.paths)

    def __getitem__(self, index):
      pixels = preprocess.preprocess(self.paths[index].read_bytes())
      kind, number, sd = self.condition
      if kind == "noise":
        grey = published.noisy(pixels, number, sd)
        return torch.from_numpy(np.broadcast_to(grey, (3, 224, 224)).astype(np.float32))
      if kind == "clean":
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
      return published.band_pass(pixels, kind, number)

  first = time.perf_counter()
  with torch.inference_mode():
    for condition in conditions():
      loader = torch.utils.data.DataLoader(Images(condition), COUNT.value, num_workers=os.cpu_count() or 1)
      for batch in loader:
        batch = (batch - mean) / std
        network(batch.to(memory_format=torch.channels_last) if best else batch).argmax(1)
  return first, time.perf_counter()


def ours() -> tuple[float, float]:
  """The same by biasjax, observations written."""

  from biasjax import probes
  from biasjax.data import sources
  from biasjax.engine import evaluate
  from biasjax.models.load import load
  from biasjax.results.store import Store

  model = load(pathlib.Path(CHECKPOINT.value).with_suffix(""))
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    for path in paths():
      (root / "images" / path.parent.name).mkdir(parents=True, exist_ok=True)
      (root / "images" / path.parent.name / path.name).symlink_to(path.resolve())
    source = sources.folder(root / "images")
    planned = probes.plan(PROBES, [source])[source.name]
    settings = evaluate.Settings(batch_size=COUNT.value, progress=False)
    for name in ("compiles", "timed"):
      first = time.perf_counter()
      evaluate.evaluate([model], planned, source, Store(root / name, COUNT.value), settings)
  return first, time.perf_counter()


def make_checkpoint(folder: pathlib.Path) -> pathlib.Path:
  """A ResNet-50 with drawn weights for PyTorch, and its conversion beside it."""
  import torch

  from biasjax.convert import conversion

  torch.manual_seed(0)
  checkpoint = folder / "resnet50.pth"
  torch.save(cpu_torchvision.load().models.resnet50().state_dict(), checkpoint)
  conversion.write(conversion.convert(checkpoint), checkpoint.with_suffix(""))
  return checkpoint


def turn(way: str, checkpoint: pathlib.Path) -> dict[str, float]:
  """Seconds of one process: in all, and from its first image on."""
  best = ALLOCATOR if way == WAYS[1] else {}
  given = [f"--images={IMAGES.value}", f"--count={COUNT.value}", f"--checkpoint={checkpoint}", f"--way={way}"]
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, "-m", "benchmarks.whole_pass", *given],
    env=os.environ | best,
    capture_output=True,
    text=True,
  )
  if done.returncode:
    sys.exit(done.stderr)
  return {"process": time.perf_counter() - start, "pass": json.loads(done.stdout.splitlines()[-1])}


def main(argv: list[str]) -> None:
  del argv
  if WAY.value:
    first, last = ours() if WAY.value == WAYS[2] else theirs(best=WAY.value == WAYS[1])
    print(json.dumps(last - first))
    return
  with tempfile.TemporaryDirectory() as folder:
    checkpoint = make_checkpoint(pathlib.Path(folder))
    turns = {way: [] for way in WAYS}
    for _ in range(ROUNDS.value):
      for way in WAYS:
        turns[way].append(turn(way, checkpoint))
        print(f"{way}: {turns[way][-1]}", file=sys.stderr, flush=True)
  report = {"images": COUNT.value, "conditions": len(conditions()), "rounds": ROUNDS.value}
  for what in ("process", "pass"):
    median = {way: statistics.median(t[what] for t in turns[way]) for way in WAYS}
    report[what] = {way: round(seconds, 1) for way, seconds in median.items()}
    report[f"{what}: times faster than"] = {way: round(median[way] / median[WAYS[2]], 2) for way in WAYS[:2]}
  print(json.dumps(report, indent=1))
  if OUTPUT.value:
    pathlib.Path(OUTPUT.value).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
