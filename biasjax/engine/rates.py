"""How fast this machine runs the parts of a pass, measured shortly: for plans, batch sizes, benchmarks."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from biasjax import numerics, partition
from biasjax.data import pipeline
from biasjax.data.sources import Source
from biasjax.engine import programs
from biasjax.engine.evaluate import Network, Settings
from biasjax.engine.gathered import IN_FLIGHT
from biasjax.errors import BiasjaxError
from biasjax.models.load import in_order
from biasjax.probes.base import Probe, Victim

SECONDS = 1.0  # that a measurement goes on for, at least
GAIN = 1.05  # a batch twice as large must be that much faster to be worth its memory
BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)


@dataclasses.dataclass(frozen=True)
class Rate:
  """What a compiled function does.

  Attributes:
    per_s: images a second, over all devices of this process.
    compile_s: seconds that the first call took more than another.
  """

  per_s: float
  compile_s: float


def of_calls(call: Callable[[], Any], images: int, seconds: float = SECONDS) -> Rate:
  """The rate of `call`, which dispatches work on `images` images and returns what to wait for."""
  start = time.perf_counter()
  jax.block_until_ready(call())
  first = time.perf_counter() - start
  calls, start = 0, time.perf_counter()
  while not calls or time.perf_counter() - start < seconds:
    # As many at once as a pass has in flight, so that time and memory are those of a pass.
    jax.block_until_ready([call() for _ in range(min(IN_FLIGHT, 1 + calls))])
    calls += min(IN_FLIGHT, 1 + calls)
  each = (time.perf_counter() - start) / calls
  return Rate(images / each, max(0.0, first - each))


def decoding(source: Source, threads: int = pipeline.THREADS, seconds: float = SECONDS) -> float:
  """Images a second that the pipeline reads, decodes and crops, over the first examples of a source."""
  size, done = min(64, source.length), 0
  every = [(start, min(start + size, source.length)) for start in range(0, min(source.length, 4096), size)]
  start = time.perf_counter()
  for batch in pipeline.batches(source, every, batch_size=size, threads=threads):
    done += batch.count
    if time.perf_counter() - start > seconds:
      break
  return done / (time.perf_counter() - start)


def made_batch(crop: int, rows: int, most_labels: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Pixels uint8, labels and noise ids of `rows` drawn images."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (rows, crop, crop, 3), np.uint8)
  return pixels, np.zeros((rows, most_labels), np.int32), rng.integers(0, 2**32, (rows, 2), np.uint32)


@numerics.settled()
def perturbation(probe: Probe, crop: int, settings: Settings, seconds: float = SECONDS) -> Rate:
  """Images a second through one condition of a probe, what its conditions share counted in proportion."""
  split = partition.of_process(settings.partitioner)
  rows = settings.batch_size * len(split.devices)
  pixels, _, ids = split.put(made_batch(crop, rows))
  conditions = [
    split.share((programs.condition_key(0, probe.name, name), condition))
    for name, condition in probe.conditions.items()
  ]
  prepare = split.compile(programs.prepare_step(probe.prepare))
  perturb = split.compile(programs.perturb_step(probe.perturb), shared=2)
  calls = iter(range(2**62))
  kept: dict[str, Any] = {}

  def call():
    i = next(calls) % len(conditions)
    if i == 0:
      kept["prepared"] = prepare(pixels)
    return perturb(*conditions[i], ids, kept["prepared"])

  return of_calls(call, rows, seconds)


@numerics.settled()
def forward(
  model: Network, probe: Probe, source: Source, settings: Settings, seconds: float = SECONDS
) -> Rate:
  """Images a second through a network and a probe's decision."""
  split = partition.of_process(settings.partitioner)
  rows = settings.batch_size * len(split.devices)
  pixels, labels, _ = split.put(made_batch(source.crop, rows, source.most_labels))
  images = split.compile(programs.prepare_step(_image))(pixels)
  logits = programs.logits_step(model.apply, settings.precision)
  variables = split.share(in_order(model.architecture, model.variables))
  victim = Victim(logits, probe.decide[source.labels], variables, split)
  return of_calls(lambda: programs.observe(victim, images, labels), rows, seconds)


def _image(image):
  return image


def largest(models: Sequence[Network]) -> Network:
  """The one with the most parameters."""
  return max(models, key=lambda m: sum(np.size(leaf) for leaf in jax.tree.leaves(m.variables)))


def batch_size(models: Sequence[Network], probes: Sequence[Probe], source: Source, settings: Settings) -> int:
  """The batch size that `--batch_size=auto` stands for: found by trying.

  Ever larger ones are tried, with as many steps in flight as a pass has, until one does not fit, or is not
  faster by a twentieth.

  Raises:
    BiasjaxError: not even the smallest fits.
  """
  best, fastest = 0, 0.0
  model = largest(models)
  for size in BATCH_SIZES:
    tried = dataclasses.replace(settings, batch_size=size)
    try:
      for probe in probes:
        if probe.attack is None:
          perturbation(probe, source.crop, tried, seconds=0.0)
      rate = forward(model, probes[0], source, tried).per_s
    except jax.errors.JaxRuntimeError as error:
      if "RESOURCE_EXHAUSTED" not in str(error):
        raise
      break
    if best and rate < GAIN * fastest:
      break
    best, fastest = size, rate
  if not best:
    raise BiasjaxError(f"{model.name}: the device has no memory for {BATCH_SIZES[0]} images at a time")
  return best
