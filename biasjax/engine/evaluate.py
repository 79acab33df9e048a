"""The pass: one look at each image for every model and probe, in chunks that are never computed twice.

The only module that knows chunks and processes. Processes do not talk to each other: what is on disk tells
each of them what is left (`schedule.py`).
"""

import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import tqdm

from biasjax import messages, numerics, sampling
from biasjax import partition as partitions
from biasjax.data import pipeline
from biasjax.data.sources import Source
from biasjax.engine import answered, contents, digest, environment, gathered, margins, programs, schedule
from biasjax.engine.answered import Answered
from biasjax.engine.gathered import Gathered
from biasjax.engine.schedule import Worker
from biasjax.engine.stimuli import PREPROCESS
from biasjax.engine.suspicious import DEPENDENT, FirstImages, FirstLogits, say_probabilities
from biasjax.errors import BiasjaxError
from biasjax.models.load import easing, in_order
from biasjax.probes.base import OF_ARRAYS, Probe, Victim
from biasjax.results import sampled
from biasjax.results.chunk import Chunk
from biasjax.results.sampled import Followed
from biasjax.results.store import Store
from biasjax.results.unit import SAMPLE, Unit
from biasjax.types import Images, Logits
from biasjax.version import __version__

logger = logging.getLogger(__name__)

HELPS = 10  # times as dear is a probe, at least, that another one's answers are taken to help


@runtime_checkable
class Network(Protocol):
  """What a pass needs of a model (`models.load.Model`)."""

  @property
  def name(self) -> str:
    """As it appears in tables."""
    ...

  @property
  def architecture(self) -> Any:
    """Equal for networks that share a program; hashable."""
    ...

  @property
  def variables(self) -> Any:
    """A tree of arrays."""
    ...

  @property
  def apply(self) -> Callable[[Any, Images], Logits]:
    """(variables, images float32 [b, h, w, 3] in [0, 1]) -> logits float32 [b, classes]; pure.

    One object for networks that share a program.
    """
    ...

  @property
  def classes(self) -> int | None:
    """How many logits there are; None of stored decisions."""
    ...

  @property
  def size(self) -> int | None:
    """Pixels of a side of the images that it sees; None for those of the dataset."""
    ...

  @property
  def certificate(self) -> Mapping[str, Any]:
    """What its conversion recorded."""
    ...

  @property
  def fingerprint(self) -> str:
    """Changes when a logit could."""
    ...


@dataclasses.dataclass
class Outcome:
  """How a run ended.

  Attributes:
    stopped: model -> why nothing more was asked of it.
    interrupted: whether it ended early because it was told to.
  """

  stopped: dict[str, str] = dataclasses.field(default_factory=dict)
  interrupted: bool = False


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a pass runs.

  Attributes:
    batch_size: images that each device sees at a time; fewer where a whole chunk has fewer.
    seed: of all noise.
    precision: of the networks' products: "float32", "tensorfloat32" or "bfloat16"; the models must have been
      loaded for it. Perturbations are always computed in float32.
    partitioner: "shard_map" or "pmap".
    worker: which share of the chunks is this process'.
    told_to_stop: asked after each chunk.
    progress: whether to show a bar, or a line a minute where there is no terminal.
    keep_adversarial: of how many of the first examples the adversarial images are kept.
    threads: that read and decode images.
    margins: (dataset, probe) -> the margin, in points, to which the probe's accuracies are to be known; it is
      asked about a random sample that grows until then, others about every image. The source is in random
      order (`Source.in_random_order`).
  """

  batch_size: int = 64
  seed: int = 0
  precision: str = "float32"
  partitioner: str = "shard_map"
  worker: Worker = dataclasses.field(default_factory=Worker)
  told_to_stop: Callable[[], bool] = lambda: False
  progress: bool = True
  keep_adversarial: int = 0
  threads: int = pipeline.THREADS
  margins: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)


def default_chunk(
  models: Sequence[Network], probes: Sequence[Probe], source: Source, settings: Settings
) -> int:
  """Images in a chunk of `source` where nobody says (`schedule.chunk_size`)."""
  devices = partitions.of_process(settings.partitioner).devices
  looks = len(models) * sum(len(probe.conditions) * probe.forwards for probe in probes)
  rows = settings.batch_size * len(devices)
  size = schedule.chunk_size(looks, source.length, rows, len(devices), devices[0].platform)
  if not any((source.name, probe.name) in settings.margins for probe in probes):
    return size
  return schedule.of_samples(size, sampling.step(source.length), source.length)


def units(
  models: Sequence[Network], probes: Sequence[Probe], source: Source, settings: Settings
) -> list[list[Unit]]:
  """The unit of work for each probe and, within it, each model."""
  computed = {
    (probe.name, classes): digest.of_probe(probe, source.labels, source.crop, classes)
    for probe in probes
    for classes in {model.classes for model in models}
  }
  return [
    [
      Unit(
        model=model.name,
        dataset=source.name,
        probe=probe.name,
        key={
          "biasjax": __version__,
          "model": model.fingerprint,
          "dataset": source.fingerprint,
          "preprocess": {name: getattr(source, name) for name in PREPROCESS},
          "labels": source.labels,
          "probe": probe.name,
          "conditions": list(probe.conditions),
          "parameters": dict(probe.parameters),
          "computes": computed[probe.name, model.classes],
          "precision": settings.precision,
          "seed": settings.seed,
        }
        | ({"classes": model.classes} if source.labels in OF_ARRAYS else {})
        | ({"preprocessing": source.preprocessed} if source.preprocessed else {})
        | _sample(probe, probes, source, settings),
      )
      for model in models
    ]
    for probe in probes
  ]


def _sample(
  probe: Probe, probes: Sequence[Probe], source: Source, settings: Settings
) -> dict[str, dict[str, Any]]:
  """What a unit's key says of its sample: to which margin, and which cheaper probes' answers help."""
  margin = settings.margins.get((source.name, probe.name))
  if margin is None:
    return {}
  helped = {
    name: [other.name, condition]
    for other in sorted(probes, key=lambda of: (of.forwards, of.name))  # the dearest that is cheaper
    for condition, about in other.alike.items()
    for name, mine in probe.alike.items()
    if about == mine and HELPS * other.forwards <= probe.forwards
  }
  return {SAMPLE: {"margin": margin} | ({"helped_by": helped} if helped else {})}


@numerics.settled()
def evaluate(
  models: Sequence[Network],
  probes: Sequence[Probe],
  source: Source,
  store: Store,
  settings: Settings = Settings(),
) -> Outcome:
  """Computes what `store` lacks of `models` x `probes` over `source`, chunk by chunk.

  Each image is decoded once and each condition's perturbation is computed once, for any number of models.
  Numbers do not depend on what else is computed in the same pass, nor on the order. A model whose logits are
  not finite, or depend on the other images of a batch, is left out from there on.

  Args:
    models: with distinct names.
    probes: with all the probes that they need; each with a decision for the source's kind of labels.
    source: the images.
    store: where observations are kept.
    settings: how.

  Raises:
    BiasjaxError: a model has not the classes that a decision needs, a probe shows no images in [0, 1], an
      image is not the one that stored observations were computed from, storage failed, or the device has not
      enough memory. Finished chunks are kept.
  """
  refuse(models, probes, source, settings)
  work = units(models, probes, source, settings)
  margins.refuse(probes, store, source, settings.margins)
  store.register(source, itertools.chain(*work), default_chunk(models, probes, source, settings))
  outcome = Outcome()
  running = _Pass(models, probes, source, store, settings, work, outcome)
  try:
    running.run()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise BiasjaxError(
      f"the device has not enough memory for --batch_size={settings.batch_size}: name a smaller one, or "
      "--batch_size=auto; what is computed is kept"
    ) from error
  return outcome


def refuse(models: Sequence[Network], probes: Sequence[Probe], source: Source, settings: Settings) -> None:
  """Lets each decision judge the number of classes of each network, and compares stored answers with probes.

  What each probe shows is looked at as well (`digest.of_shown`).

  Raises:
    BiasjaxError: one does not fit.
  """
  for probe in probes:
    digest.of_shown(probe, source.crop)
  for model in models:
    if source.labels == "classes":
      _refuse_other_classes(model, source)
    if isinstance(model, Answered):
      answered.refuse(model, probes, source, settings.seed)
    for probe in probes if model.classes is not None else ():
      logits = jax.ShapeDtypeStruct((1, model.classes), np.float32)
      try:
        jax.eval_shape(probe.decide[source.labels], logits)
      except BiasjaxError as error:
        raise BiasjaxError(f"model {model.name}, {probe.name} on {source.name}: {error}") from error


def _refuse_other_classes(model: Network, source: Source) -> None:
  """Raises where a network's own classes are not those that the class folders stand for."""
  said = f"model {model.name} on {source.name}"
  if model.classes is None:
    raise BiasjaxError(f"{said}: how many classes compete is not known: give logits instead of answers")
  if source.own_classes not in (None, model.classes):
    raise BiasjaxError(
      f"{said}: {source.own_classes} class folders for {model.classes:,} classes, so their order does not "
      "tell which is which: say so with --classes=FILE (columns folder and label)"
    )
  highest = max((place.label for place in source.places), default=0)
  if highest >= model.classes:
    raise BiasjaxError(
      f"{said}: label {highest} is none of its {model.classes:,} classes, 0 to {model.classes - 1}"
    )


class _Pass:
  """What one source is asked, on the devices of this process."""

  def __init__(
    self,
    models: Sequence[Network],
    probes: Sequence[Probe],
    source: Source,
    store: Store,
    settings: Settings,
    work: list[list[Unit]],
    outcome: Outcome,
  ):
    self.models, self.probes, self.source, self.store = models, probes, source, store
    self.settings, self.work, self.outcome = settings, work, outcome
    self.partition = partitions.of_process(settings.partitioner)
    devices = len(self.partition.devices)
    self.chunks = store.chunks(source.name)
    fullest = -(-max(stop - start for start, stop in self.chunks) // devices)
    self.rows = min(settings.batch_size, fullest) * devices  # padding costs as much as images do
    self.environment = environment.describe(self.partition)
    self.longest = 0.0  # seconds that a chunk took
    self.first = FirstLogits(self.partition)
    self.shown = FirstImages(self.partition)
    # The conditions that are asked now, for each probe and, within it, each model.
    self.asked = [
      [() if SAMPLE in unit.key else tuple(probe.conditions) for unit in of_probe]
      for probe, of_probe in zip(probes, work, strict=True)
    ]

  def run(self) -> None:
    """Computes this process' chunks, then those that the others leave undone; then samples, look by look."""
    contents.recheck(
      self.source, self.store, schedule.own(self.chunks, self.settings.worker), self.settings.threads
    )
    self.share(self.chunks, self.source.name)
    sampled_probes = [p for p, of_probe in enumerate(self.work) if any(SAMPLE in of.key for of in of_probe)]
    if sampled_probes:
      self.sample(sampled_probes)

  def sample(self, of: Sequence[int]) -> None:
    """Has samples grow until what is asked is known to its margin, as far as this process can see to that.

    Args:
      of: indices of the probes.
    """
    populations = {}
    for m, model in enumerate(self.models):
      if model.name not in self.outcome.stopped:
        units = {of_probe[m].probe: of_probe[m] for of_probe in self.work}
        populations[m] = sampled.population(self.store, units)
    if None in populations.values():  # clean images are left to another process
      return
    followed: dict[tuple[int, int], Followed] = {}
    while not self.stopping():
      for p in of:
        for m, population in populations.items():
          further = None if (p, m) in followed else self.further(p, m, followed, population)
          if further is not None:
            conditions = tuple(self.probes[p].conditions)
            followed[p, m] = Followed(self.store, self.work[p][m], population, conditions, further)
      going = {
        (p, m): found
        for (p, m), found in followed.items()
        if found.wanted and self.models[m].name not in self.outcome.stopped
      }
      if not going:
        return
      start, stop = min(f.reached for f in going.values()), min(f.until for f in going.values())
      self.asked = [
        [going[p, m].wanted if (p, m) in going else () for m in range(len(self.models))]
        for p in range(len(self.probes))
      ]
      chunks = [chunk for chunk in self.chunks if start <= chunk[0] < stop]
      logger.info("%s: a sample grows to %d images", self.source.name, stop)
      if not self.share(chunks, f"{self.source.name}, sample of {stop:,}"):
        return
      for found in going.values():
        found.advance()

  def further(
    self, p: int, m: int, followed: Mapping[tuple[int, int], Followed], population: sampled.Population
  ) -> dict[str, np.ndarray] | None:
    """What cheaper probes said that help to estimate (`Followed`); None while they are not at an end."""
    index = {probe.name: at for at, probe in enumerate(self.probes)}
    found = {}
    for name, (of, condition) in sampled.helpers(self.work[p][m]).items():
      unit, other = self.work[index[of]][m], followed.get((index[of], m))
      if SAMPLE in unit.key and (other is None or other.wanted):
        return None
      found[name] = sampled.observed_by(self.store, unit, population, condition, other)
    return found

  def share(self, every: Sequence[Chunk], name: str) -> bool:
    """Computes what is missing of `every`; returns whether all of it is there in the end.

    Args:
      every: chunks.
      name: of the bar.
    """
    worker = self.settings.worker
    missing = [chunk for chunk in every if self.is_missing(chunk)]
    if not missing:
      logger.info("%s: nothing is missing", name)
      return True
    own = sorted(set(schedule.own(every, worker)) & set(missing))
    with messages.progress(
      desc=name,
      total=sum(stop - start for start, stop in own),
      unit=" images",
      bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]",
      shown=self.settings.progress,
    ) as progress:
      self.compute(own, progress)
      waiting, left = schedule.Waiting(), missing
      while not self.stopping():
        if worker.helps:
          self.store.look_again()
        left = [chunk for chunk in left if self.is_missing(chunk)]
        if not left or not worker.helps:
          return not left
        chunk = waiting.next(every, left, worker, patience=2 * self.longest)
        if chunk is None:
          time.sleep(schedule.POLL_S)
        else:
          logger.info("%s: examples %d to %d were left by another process", self.source.name, *chunk)
          self.compute([chunk], progress)
    return False

  @functools.cached_property
  def variables(self) -> list[Any]:
    """Of each model, on the devices."""
    return [self.partition.share(in_order(model.architecture, model.variables)) for model in self.models]

  @functools.cached_property
  def conditions(self) -> dict[str, dict[str, Any]]:
    """Of each probe by name: (key, condition) on the devices."""
    return {
      probe.name: {
        name: self.partition.share((programs.condition_key(self.settings.seed, probe.name, name), condition))
        for name, condition in probe.conditions.items()
      }
      for probe in self.probes
    }

  def stopping(self) -> bool:
    """Whether this run was told to stop."""
    self.outcome.interrupted = self.outcome.interrupted or self.settings.told_to_stop()
    return self.outcome.interrupted

  def missing(self, chunk: Chunk) -> list[list[tuple[str, ...]]]:
    """The conditions that are to be computed of `chunk`, for each probe and, within it, each model."""
    stopped, store = self.outcome.stopped, self.store
    return [
      [
        () if unit.model in stopped or store.has(unit, chunk) else asked
        for unit, asked in zip(*of_probe, strict=True)
      ]
      for of_probe in zip(self.work, self.asked, strict=True)
    ]

  def is_missing(self, chunk: Chunk) -> bool:
    """Whether there is anything to be computed of `chunk`."""
    return any(conditions for of_probe in self.missing(chunk) for conditions in of_probe)

  def compute(self, wanted: Sequence[Chunk], progress: tqdm.tqdm) -> None:
    """Computes and stores what is missing of the chunks, until told to stop."""
    threads = self.settings.threads
    batches = pipeline.batches(self.source, wanted, batch_size=self.rows, threads=threads)
    for chunk, of_chunk in itertools.groupby(batches, key=lambda batch: batch.chunk):
      if self.stopping():
        return
      started = time.monotonic()
      if self.settings.worker.helps:
        self.store.look_again()
      missing = self.missing(chunk)
      steps = sum(len(conditions) for of_probe in missing for conditions in of_probe)
      if not steps:  # meanwhile another process did it
        continue
      observed = Gathered(self.partition)
      for batch in of_chunk:
        for p, m, condition, step, columns in self.steps(batch, missing, observed):
          observed.add((p, m), condition, step, columns)
          progress.update(batch.count / steps)
        self.shown.refuse(batch.valid)
        observed.end_batch(batch, self.settings.keep_adversarial - chunk[0])
      self.write(chunk, missing, observed)
      took = time.monotonic() - started
      self.longest = max(self.longest, took)
      logger.info(
        "%s: examples %d to %d are written: %d steps of %d images in %.1f s",
        *(self.source.name, *chunk, steps, chunk[1] - chunk[0], took),
      )

  def steps(
    self, batch: pipeline.Batch, missing: list[list[tuple[str, ...]]], observed: Gathered
  ) -> Iterator[tuple[int, int, str, Any, Mapping[str, Any]]]:
    """(probe, model, condition, what is observed, further columns), dispatched but not waited for."""
    split = self.partition
    images, labels, ids = split.put((batch.pixels, batch.labels, batch.noise_ids))
    for p, probe in enumerate(self.probes):
      wanted = [m for m in range(len(self.models)) if missing[p][m]]
      if not wanted:
        continue
      conditions = self.conditions[probe.name]
      prepared = split.compile(programs.prepare_step(probe.prepare))(images)
      if probe.attack is None:
        for name, (key, condition) in conditions.items():
          asking = [m for m in wanted if name in missing[p][m]]
          if any(not isinstance(self.models[m], Answered) for m in asking):
            perturbed = split.compile(programs.perturb_step(probe.perturb), shared=2)(
              key, condition, ids, prepared
            )
            self.shown.look(probe, name, perturbed)
          for m in asking:
            model = self.models[m]
            if isinstance(model, Answered):
              yield p, m, name, self.looked_up(model, m, probe, name, batch, labels), {}
            else:
              yield p, m, name, programs.observe(self.victim(m, probe), perturbed, labels, self.look(m)), {}
        continue

      def keys(name, conditions=conditions):
        return split.compile(programs.example_keys, shared=1)(conditions[name][0], ids)

      for m in wanted:
        victim = self.victim(m, probe)
        asked = missing[p][m]
        some = {} if len(asked) == len(probe.conditions) else {"only": asked}
        for name, attacked in probe.attack(victim, keys, prepared, labels, **some):
          changed = attacked.images is not prepared  # a probe may ask about the images as they are
          if changed and observed.examples < self.settings.keep_adversarial - batch.chunk[0]:
            observed.keep((p, m), name, split.get(attacked.images))
          yield p, m, name, programs.observe(victim, attacked.images, labels, self.look(m)), attacked.columns

  def looked_up(
    self, model: Answered, m: int, probe: Probe, condition: str, batch: pipeline.Batch, labels: Any
  ) -> Any:
    """What stored answers say of a batch, as `programs.observe` gives it."""
    found = self.partition.put(model.of(self.source, probe, condition, batch))
    if model.classes is None:
      return found
    decide = probe.decide[self.source.labels]
    if look := self.first.look(m, None):
      look(None, found)
    return programs.judge(self.partition, decide, found, labels)

  def look(self, m: int) -> Callable[[Any, Any], None] | None:
    """What the first images and logits of model `m` are shown to."""

    def network(images: Any) -> Any:
      step = programs.logits_step(self.models[m].apply, self.settings.precision)
      return self.partition.compile(step, shared=1)(self.variables[m], images)

    return self.first.look(m, network)

  def victim(self, m: int, probe: Probe) -> Victim:
    """Model `m`, as `probe` asks it."""
    logits = programs.logits_step(self.models[m].apply, self.settings.precision)
    ease = easing(self.models[m].architecture)
    return Victim(logits, probe.decide[self.source.labels], self.variables[m], self.partition, ease)

  def stop(self, model: str, reason: str) -> None:
    """Leaves a model out from here on."""
    self.outcome.stopped[model] = reason
    logger.error("model %s is left out from here on: %s", model, reason)

  def write(self, chunk: Chunk, missing: list[list[tuple[str, ...]]], observed: Gathered) -> None:
    """Stores the chunk; a model whose logits are not finite, or not an image's own, is left out.

    Raises:
      BiasjaxError: its images are not those that stored observations were computed from, or storage failed.
    """
    contents.refuse_other(self.source, self.store, chunk, observed.example_ids, observed.contents)
    for m, (probabilities, dependent) in self.first.findings().items():
      model = self.models[m]
      if probabilities:
        say_probabilities(model.name, model.fingerprint or model.apply)
      if dependent:
        self.stop(model.name, DEPENDENT)
    for p, of_probe in enumerate(self.work):
      for m, unit in enumerate(of_probe):
        if not missing[p][m] or unit.model in self.outcome.stopped:
          continue
        columns = observed.columns((p, m))
        if self.source.textures is not None:
          ids = columns["example_id"]
          columns["texture"] = np.array([self.source.textures[name] for name in ids], np.int32)
        if reason := gathered.nonfinite(columns):
          self.stop(unit.model, reason)
          continue
        # First, so that what the chunk's presence promises is there.
        if kept := observed.kept((p, m), self.settings.keep_adversarial - chunk[0]):
          self.store.write_adversarial(unit, chunk, kept)
        self.store.write(
          unit,
          chunk,
          columns,
          observed.excluded,
          contents=observed.contents * observed.decoded,
          again=observed.again(chunk[0]),
          environment=self.environment,
        )
