"""What a run would do, without doing it: images, conditions, forward passes, time, memory, disk."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax

from biasjax import partition, sampling
from biasjax.data.sources import Source
from biasjax.engine import evaluate, rates
from biasjax.engine.answered import Answered
from biasjax.engine.evaluate import Network, Settings
from biasjax.engine.gathered import IN_FLIGHT
from biasjax.models.load import in_order
from biasjax.probes.base import Probe
from biasjax.results.chunk import chunks
from biasjax.results.store import Store

# Of one observation, compressed: 20.7 were measured in chunks of 100 images, 25.6 in chunks of 50.
BYTES_PER_OBSERVATION = 24


@dataclasses.dataclass(frozen=True)
class Row:
  """One probe on one dataset, for all models.

  Attributes:
    dataset, probe: names.
    images: of the dataset; of a sample the most that it may need.
    conditions: of the probe.
    observations: that are still to be made, by all processes.
    forwards: forward passes that they cost, gradients counted as three.
    seconds: for them, one process, at the measured rates.
  """

  dataset: str
  probe: str
  images: int
  conditions: int
  observations: int
  forwards: int
  seconds: float


def rows(
  models: Sequence[Network],
  planned: Mapping[str, Sequence[Probe]],
  sources: Sequence[Source],
  store: Store,
  settings: Settings,
) -> list[Row]:
  """What is missing of each probe on each dataset, timed by a short measurement."""
  found = []
  computed = [model for model in models if not isinstance(model, Answered)]
  architectures = {model.architecture: model for model in computed}
  for source in sources:
    probes = planned[source.name]
    evaluate.refuse(models, probes, source, settings)
    work = evaluate.units(models, probes, source, settings)
    default = evaluate.default_chunk(models, probes, source, settings)
    every = chunks(source.length, store.chunk_size(source.name, default))
    decode = 1 / rates.decoding(source, settings.threads)
    forward = {
      architecture: 1 / rates.forward(model, probes[0], source, settings).per_s
      for architecture, model in architectures.items()
    }
    of_probes = [
      {
        unit.model: sum(stop - start for start, stop in every if not store.has(unit, (start, stop)))
        for unit in of_probe
      }
      for of_probe in work
    ]
    sharing = sum(any(missing.values()) for missing in of_probes)  # an image is decoded once for these
    for probe, missing in zip(probes, of_probes, strict=True):
      images = source.length
      if margin := settings.margins.get((source.name, probe.name)):
        images = sampling.most(source.length, margin / 100)
        missing = {name: max(images - source.length + lacking, 0) for name, lacking in missing.items()}
      conditions = len(probe.conditions)
      perturb = 0.0 if probe.attack else 1 / rates.perturbation(probe, source.crop, settings).per_s
      seconds = max(missing.values()) * (decode / max(sharing, 1) + conditions * perturb)
      looks = {m.name: missing[m.name] * conditions * probe.forwards for m in computed}
      seconds += sum(looks[m.name] * forward[m.architecture] for m in computed)
      observations, forwards = conditions * sum(missing.values()), round(sum(looks.values()))
      found.append(Row(source.name, probe.name, images, conditions, observations, forwards, seconds))
  return found


def text(
  found: Sequence[Row], models: Sequence[Network], sources: Sequence[Source], settings: Settings, workers: int
) -> str:
  """The plan as a table for a terminal."""
  header = ["dataset", "probe", "images", "conditions", "forward passes", "time"]
  lines = [header] + [
    [r.dataset, r.probe, f"{r.images:,}", str(r.conditions), f"{r.forwards:,}", duration(r.seconds)]
    for r in found
  ]
  widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
  table = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
  split = partition.of_process(settings.partitioner)
  forwards, seconds = sum(r.forwards for r in found), sum(r.seconds for r in found)
  crop = max(source.crop for source in sources)
  images = settings.batch_size * crop * crop * 3 * 4 * (IN_FLIGHT + 2)
  weights = sum(_bytes(model) for model in models)
  kind = split.devices[0].device_kind
  table += [
    "",
    f"{len(models)} model(s), {forwards:,} forward passes: "
    f"{duration(seconds)} on {len(split.devices)} x {kind}"
    + (f", {duration(seconds / workers)} on {workers} such processes" if workers > 1 else ""),
    f"{size(images + weights)} on each device for images and variables, besides the network's features; "
    f"{size(sum(r.observations for r in found) * BYTES_PER_OBSERVATION)} of observations on disk",
  ]
  if settings.margins:
    table.append("of samples: the most that they may need, half of it or less as a rule")
  return "\n".join(table)


def _bytes(model: Network) -> int:
  """Of a model's variables, as they are on a device."""
  placed = jax.eval_shape(functools.partial(in_order, model.architecture), model.variables)
  return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(placed))


def duration(seconds: int | float) -> str:
  """Seconds, minutes, hours or days."""
  for unit, long in (("days", 86400), ("h", 3600), ("min", 60)):
    if seconds >= 2 * long:
      return f"{seconds / long:.1f} {unit}"
  return f"{seconds:.0f} s"


def size(count: int | float) -> str:
  """A number of bytes in decimal units."""
  for unit, large in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
    if count >= large:
      return f"{count / large:.1f} {unit}"
  return f"{count / 1e3:.1f} kB"
