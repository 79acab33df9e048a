"""Which probes are asked about a random sample, and to how many points: --margin."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from biasjax import probes, sampling
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError, suggestion
from biasjax.messages import warn
from biasjax.probes import Probe
from biasjax.results.sampled import CLEAN
from biasjax.results.store import Store

DEAR = "autoattack"  # sampled of itself
MOST_ATTACKED, OF_ITSELF = 5000, 1.0  # images up to which it is not; to how many points
# Of the margin, for a probe whose answers help another one: what they leave open adds to what that one does.
HELPING = 0.7


@dataclasses.dataclass(frozen=True)
class Margins:
  """What is sampled.

  Attributes:
    sources: of the run, those in random order of which samples are taken.
    planned: dataset -> probes, with the clean images where samples rest on them.
    margins: (dataset, probe) -> points.
  """

  sources: list[Source]
  planned: dict[str, list[Probe]]
  margins: dict[tuple[str, str], float]


def parse(text: str | float | None, called: str = "--margin") -> tuple[float | None, tuple[str, ...]]:
  """(points, probes) of POINTS[@PROBE+PROBE]; no points if it is not set, no probes for all.

  Args:
    text: what was given.
    called: what it was given as, for messages.

  Raises:
    BiasjaxError: it is something else.
  """
  if text is None:
    return None, ()
  points, _, where = str(text).partition("@")
  try:
    margin = float(points)
  except ValueError:
    margin = math.nan
  if not 0 <= margin < 50:
    raise BiasjaxError(
      f"{called}={text}: expected points from 0 (every image) to below 50, like 1, or 1@pgd+autoattack"
    )
  return margin, tuple(where.split("+")) if where else ()


def apply(
  text: str | float | None,
  seed: int,
  planned: Mapping[str, Sequence[Probe]],
  sources: Sequence[Source],
  called: str = "--margin",
) -> Margins:
  """What a margin stands for; where it is not set, AutoAttack of a large dataset asks a sample, and says so.

  Args:
    text: POINTS[@PROBE+PROBE].
    seed: of the random order.
    planned: dataset -> probes.
    sources: the datasets.
    called: what `text` was given as, for messages.

  Raises:
    BiasjaxError: `text` is something else, or names a probe that is not asked, or asks every image.
  """
  margin, named = parse(text, called)
  every = [probe for of in planned.values() for probe in of]
  for name in named:
    of_name = [probe for probe in every if _module(probe) == name]
    if not of_name:
      hint = suggestion(name, sorted({_module(probe) for probe in every if probe.sampled}))
      raise BiasjaxError(f"{called}={text}: no probe {name!r} is asked for: {hint}")
    if not any(probe.sampled for probe in of_name):
      raise BiasjaxError(f"{called}={text}: {name} asks every image: name probes that a sample will do for")
  margins: dict[tuple[str, str], float] = {}
  found, asked = [], {}
  for source in sources:
    mine = list(planned[source.name])
    if margin is None:
      chosen = [p for p in mine if _module(p) == DEAR and source.length > MOST_ATTACKED]
      points = OF_ITSELF
    else:
      chosen = [p for p in mine if margin and p.sampled and (not named or _module(p) in named)]
      points = margin
    if chosen and not any(probe.name == CLEAN for probe in mine):
      clean = probes.get(CLEAN, source.crop)
      if source.labels in clean.decide:
        mine.insert(0, clean)
      else:
        chosen = []
    if chosen and margin is None:
      warn(
        f"{DEAR} on {source.name} asks a random sample of its {source.length:,} images, until accuracy is "
        f"known to {points:g} point: --margin=0 asks all of them, --margin=2@{DEAR} fewer"
      )
    for probe in chosen:
      helps = any(
        set(probe.alike.values()) & set(other.alike.values()) and other.forwards > probe.forwards
        for other in chosen
      )
      margins[source.name, probe.name] = points * (HELPING if helps else 1)
    found.append(source.in_random_order(seed) if chosen else source)
    asked[source.name] = mine
  return Margins(found, asked, margins)


def _module(probe: Probe) -> str:
  return probe.name.partition(":")[0]


def refuse(
  planned: Sequence[Probe], store: Store, source: Source, margins: Mapping[tuple[str, str], float]
) -> None:
  """Of a sample, whether it can grow as it is to; asked before its dataset is registered with its chunks.

  Args:
    planned: the probes that `source` is asked about.
    store: where observations are kept, in chunks.
    source: the images.
    margins: (dataset, probe) -> points.

  Raises:
    BiasjaxError: the clean images are not asked, or looks would not be at the ends of chunks.
  """
  if not any((source.name, probe.name) in margins for probe in planned):
    return
  if CLEAN not in {probe.name for probe in planned}:
    raise BiasjaxError(f"a sample of {source.name} rests on clean images: --probes needs {CLEAN}, too")
  size, step = store.chunk_size(source.name, 0), sampling.step(source.length)  # 0: one that divides it
  if 0 < size < source.length and step % size:
    raise BiasjaxError(
      f"chunks of {size} images: with --margin a sample of {source.name} grows by {step}, which chunks are "
      "to divide: leave --chunk_size out, or name a power of two up to that"
    )
