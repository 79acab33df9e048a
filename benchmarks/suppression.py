"""How valid each suppression is on photographs, and what it costs beside a ResNet-50.

python -m benchmarks.suppression --folder=PHOTOGRAPHS [--count=50]    the table of docs/probes.md
python -m benchmarks.suppression --cost [--batch=16] [--rounds=3]     of docs/performance.md

Burgert et al. 2025 compare a suppressed photograph with itself in three numbers, all of grey levels. A good
suppression of texture lowers the first two and keeps the third:

- local variance kept: the mean variance of windows of 11 x 11 pixels, suppressed over original;
- high frequencies kept: the share of power outside a disc of radius 11 around the centre of the spectrum,
  suppressed over original;
- gradients kept: Pearson's correlation of the two images' gradients, the mean over x and y.
"""

import functools
import pathlib
import statistics
import time

import jax
import numpy as np
import scipy.ndimage
from absl import app, flags

from biasjax.data import preprocess
from biasjax.engine import benchmark, programs
from biasjax.probes import suppression
from biasjax.terminal import aligned

flags.DEFINE_string("folder", None, "Photographs.")
flags.DEFINE_integer("count", 50, "How many of them, spread over the folder.", lower_bound=2)
flags.DEFINE_boolean("cost", False, "Time conditions and a ResNet-50's forward pass instead.")
flags.DEFINE_integer("batch", 16, "Images at a time.", lower_bound=1)
flags.DEFINE_integer("rounds", 3, "Turns that each takes.", lower_bound=1)

WINDOW, DISC = 11, 11
LUMA = np.array([0.299, 0.587, 0.114])


def local_variance(grey: np.ndarray) -> float:
  """The mean variance of windows, float [h, w]."""
  mean, square = (scipy.ndimage.uniform_filter(of, WINDOW) for of in (grey, grey**2))
  return float((square - mean**2).mean())


def high_frequencies(grey: np.ndarray) -> float:
  """The share of power outside the disc."""
  power = np.abs(np.fft.fftshift(np.fft.fft2(grey))) ** 2
  y, x = (np.arange(side) - side // 2 for side in grey.shape)
  return float(power[np.hypot(y[:, None], x[None, :]) > DISC].sum() / power.sum())


def gradients(grey: np.ndarray, other: np.ndarray) -> float:
  """The correlation of gradients; NaN of an image without any."""
  pairs = zip(np.gradient(grey), np.gradient(other), strict=True)
  return float(np.mean([np.corrcoef(one.ravel(), two.ravel())[0, 1] for one, two in pairs]))


def kept(original: np.ndarray, suppressed: np.ndarray) -> tuple[float, float, float]:
  """The three numbers of two images [h, w, 3]."""
  grey, other = original @ LUMA, suppressed @ LUMA
  return (
    local_variance(other) / local_variance(grey),
    high_frequencies(other) / high_frequencies(grey),
    gradients(grey, other),
  )


def validity(folder: str, count: int) -> list[list[str]]:
  """A row for each condition: means over the photographs."""
  paths = sorted(p for p in pathlib.Path(folder).expanduser().rglob("*") if p.is_file())
  paths = paths[:: max(len(paths) // count, 1)][:count]
  pixels = np.stack([preprocess.preprocess(path.read_bytes()) for path in paths])
  perturb = jax.jit(jax.vmap(suppression.perturb, in_axes=(0, 0, None)))
  keys, images = jax.random.split(jax.random.key(0), len(pixels)), (pixels / 255).astype(np.float32)
  rows = [["condition", "local variance kept", "high frequencies kept", "gradients kept"]]
  for name, condition in suppression.conditions("published").items():
    if "+" in name:
      continue
    seen = np.asarray(perturb(keys, images, condition))
    numbers = np.array([kept(*pair) for pair in zip(pixels / 255, seen, strict=True)])
    rows.append([name, *(f"{number:.2f}" for number in np.nanmean(numbers, axis=0))])
  return rows


def cost(batch: int, rounds: int) -> list[list[str]]:
  """Milliseconds an image of each condition, and of the network, in turns."""
  network = benchmark.made_model()
  pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)
  images = (pixels / 255).astype(np.float32)
  ids = np.arange(2 * batch, dtype=np.uint32).reshape(batch, 2)
  forward = jax.jit(programs.logits_step(network.apply, "float32"))
  perturb = jax.jit(programs.perturb_step(suppression.perturb))
  asked = suppression.conditions("published")
  runs = {"ResNet-50, forward": functools.partial(forward, network.variables, images)}
  for name, condition in asked.items():
    key = programs.condition_key(0, suppression.NAME, name)
    runs[name] = functools.partial(perturb, key, condition, ids, images)
  spent: dict[str, list[float]] = {name: [] for name in runs}
  for number in range(rounds + 1):
    for name, run in runs.items():
      start = time.perf_counter()
      jax.block_until_ready(run())
      if number:  # the first compiles
        spent[name].append(1e3 * (time.perf_counter() - start) / batch)
  found = {name: statistics.median(times) for name, times in spent.items()}
  network_ms = found["ResNet-50, forward"]
  for strengths in suppression.STRENGTHS:
    found[f"mean of strengths={strengths}"] = statistics.mean(
      found[name] for name in suppression.conditions(strengths)
    )
  return [
    ["condition", "ms", "of the network"],
    *([name, f"{ms:.2f}", f"{ms / network_ms:.3f}"] for name, ms in found.items()),
  ]


def main(argv: list[str]) -> None:
  """Prints one of the two tables."""
  del argv
  asked = flags.FLAGS
  if not (asked.cost or asked.folder):
    raise app.UsageError("--folder=PHOTOGRAPHS or --cost")
  print(aligned(cost(asked.batch, asked.rounds) if asked.cost else validity(asked.folder, asked.count)))


if __name__ == "__main__":
  app.run(main)
