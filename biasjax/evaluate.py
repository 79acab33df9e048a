"""The pass: one look at each image for every model and probe, in chunks that are never computed twice.

The only module that knows devices and chunks.
"""

import collections
import functools
import itertools
import logging
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jaxtyping import Array, Float, Int

from biasjax.data import pipeline, preprocess
from biasjax.data.classes import wordnet_ids
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError
from biasjax.models.load import Model
from biasjax.ops.pixels import unit_interval
from biasjax.probes.base import Probe
from biasjax.probes.decisions import Decision
from biasjax.results import Store, Unit, chunks
from biasjax.types import Labels, Logits, Pixels, Variables
from biasjax.version import __version__

# Steps that may wait on the device: enough that it is never idle, few enough that their images fit in memory.
IN_FLIGHT = 8
PRECISION = "float32"


def units(models: Sequence[Model], probes: Sequence[Probe], source: Source, seed: int) -> list[list[Unit]]:
  """The unit of work for each probe and, within it, each model."""
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
          "preprocess": {"resize": source.resize, "crop": preprocess.CROP, "interpolation": "bilinear"},
          "labels": source.labels,
          "probe": probe.name,
          "conditions": list(probe.conditions),
          "parameters": dict(probe.parameters),
          "precision": PRECISION,
          "seed": seed,
        },
      )
      for model in models
    ]
    for probe in probes
  ]


def evaluate(
  models: Sequence[Model],
  probes: Sequence[Probe],
  source: Source,
  store: Store,
  *,
  batch_size: int = 64,
  seed: int = 0,
  size: int = preprocess.CROP,
) -> None:
  """Computes what `store` lacks of `models` x `probes` over `source`, chunk by chunk.

  Each image is decoded once and each condition's perturbation is computed once, for any number of models.
  Numbers do not depend on what else is computed in the same pass, nor on the order.

  Args:
    models: with distinct names.
    probes: with all the probes that they need; each with a decision for the source's kind of labels.
    source: the images.
    store: where observations are kept.
    batch_size: images that a device sees at a time.
    seed: of all noise.
    size: pixels of a side.

  Raises:
    BiasjaxError: a model has not the 1,000 classes, storage failed, or a model gave logits that are not
      finite. Finished chunks are kept.
  """
  for model in models:
    if model.architecture.num_classes != len(wordnet_ids()):
      raise BiasjaxError(
        f"model {model.name} has {model.architecture.num_classes} classes, but the labels of {source.name} "
        f"are indices into ImageNet's {len(wordnet_ids())}: they cannot be compared"
      )
  work = units(models, probes, source, seed)
  store.register(source, itertools.chain(*work))
  missing = {
    chunk: [[not store.has(unit, chunk) for unit in of_probe] for of_probe in work]
    for chunk in chunks(source.length, store.chunk_size)
  }
  missing = {chunk: lacks for chunk, lacks in missing.items() if np.any(lacks)}
  if not missing:
    logging.info("%s: nothing is missing", source.name)
    return

  variables = [jax.device_put(model.variables) for model in models]
  batches = pipeline.batches(
    source,
    list(missing),
    batch_size=batch_size,
    preprocess=functools.partial(preprocess.preprocess, short_side=source.resize),
    size=size,
  )
  steps = {
    chunk: sum(len(probe.conditions) * sum(row) for probe, row in zip(probes, lacks, strict=True))
    for chunk, lacks in missing.items()
  }
  progress = tqdm.tqdm(
    desc=source.name,
    total=sum(stop - start for start, stop in missing),
    unit=" images",
    bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]",
    disable=not sys.stderr.isatty(),
  )
  # By default TPUs and recent GPUs multiply float32 in fewer bits than that.
  with jax.default_matmul_precision(PRECISION), progress:
    for chunk, of_chunk in itertools.groupby(batches, key=lambda batch: batch.chunk):
      observed = _Observed()
      for batch in of_chunk:
        images = jax.device_put(batch.pixels)
        labels = jax.device_put(batch.labels)
        for p, probe in enumerate(probes):
          wanted = [m for m in range(len(models)) if missing[chunk][p][m]]
          if not wanted:
            continue
          prepare, perturb = _device_functions(probe)
          prepared = prepare(images)
          for name, condition in probe.conditions.items():
            perturbed = perturb(_condition_key(seed, probe.name, name), batch.noise_ids, prepared, condition)
            for m in wanted:
              step = _observe(models[m].apply, probe.decide[source.labels])
              observed.add((p, m), name, step(variables[m], perturbed, labels))
            progress.update(batch.count * len(wanted) / steps[chunk])
        observed.end_batch(batch)
      for p, of_probe in enumerate(work):
        for m, unit in enumerate(of_probe):
          if missing[chunk][p][m]:
            columns = observed.columns((p, m))
            _refuse_nonfinite(unit, columns)
            store.write(unit, chunk, columns, observed.excluded)
      logging.info("%s: examples %d to %d are written", source.name, *chunk)


class _Observed:
  """What the models said about one chunk, gathered without waiting for the device."""

  def __init__(self):
    self.excluded: dict[str, str] = {}
    self._steps: dict[tuple[int, int], list[tuple[str, Any]]] = collections.defaultdict(list)
    self._in_flight: collections.deque = collections.deque()
    self._batches: list[pipeline.Batch] = []

  def add(self, key: tuple[int, int], condition: str, step: tuple[Array, Array, Array]) -> None:
    self._steps[key].append((condition, step))
    self._in_flight.append(step)
    if len(self._in_flight) > IN_FLIGHT:
      jax.block_until_ready(self._in_flight.popleft())

  def end_batch(self, batch: pipeline.Batch) -> None:
    self._batches.append(batch)
    self.excluded |= batch.excluded

  def columns(self, key: tuple[int, int]) -> dict[str, Any]:
    """The columns of an observation table, condition by condition, examples in order."""
    steps = jax.device_get(self._steps[key])
    per_batch = len(steps) // len(self._batches)
    columns: dict[str, list] = collections.defaultdict(list)
    for c in range(per_batch):
      for b, batch in enumerate(self._batches):
        condition, (prediction, rank, confidence) = steps[b * per_batch + c]
        valid = batch.valid
        ids = [name for name, keep in zip(batch.example_ids, valid, strict=True) if keep]
        columns["condition"] += [condition] * len(ids)
        columns["example_id"] += ids
        columns["label"] += list(batch.labels[valid])
        columns["prediction"] += list(prediction[valid])
        columns["rank"] += list(rank[valid])
        columns["confidence"] += list(confidence[valid])
    return dict(columns)


def _refuse_nonfinite(unit: Unit, columns: dict[str, Any]) -> None:
  bad = np.flatnonzero(~np.isfinite(columns["confidence"]))
  if len(bad):
    condition, example_id = columns["condition"][bad[0]], columns["example_id"][bad[0]]
    raise BiasjaxError(
      f"model {unit.model}: logits of {len(bad)} image(s) are not finite, e.g. {example_id} under "
      f"{condition}; nothing of this chunk is kept: check the checkpoint"
    )


def _condition_key(seed: int, probe: str, condition: str) -> Array:
  """The key that a condition's noise starts from."""
  key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(probe.encode()))
  return jax.random.fold_in(key, zlib.crc32(condition.encode()))


@functools.lru_cache(maxsize=64)
def _functions(prepare: Callable, perturb: Callable) -> tuple[Callable, Callable]:
  """`prepare` and `perturb` of a probe over a batch, each compiled once."""

  def perturb_example(key, noise_id, prepared, condition):
    key = jax.random.fold_in(jax.random.fold_in(key, noise_id[0]), noise_id[1])
    return perturb(key, prepared, condition)

  def prepare_batch(pixels: Pixels):
    return jax.vmap(prepare)(unit_interval(pixels))

  return jax.jit(prepare_batch), jax.jit(jax.vmap(perturb_example, in_axes=(None, 0, 0, None)))


def _device_functions(probe: Probe) -> tuple[Callable, Callable]:
  return _functions(probe.prepare, probe.perturb)


@functools.lru_cache(maxsize=64)
def _observe(apply: Callable[[Variables, Array], Logits], decide: Decision) -> Callable:
  """The compiled step of all networks that share `apply`: what is kept of each image's logits."""

  @jax.jit
  def step(variables: Variables, images: Float[Array, "b h w c"], labels: Labels):
    return observation(decide(apply(variables, images)), labels)

  return step


def observation(scores: Logits, labels: Labels) -> tuple[Int[Array, "b"], Int[Array, "b"], Float[Array, "b"]]:
  """Prediction, rank of the right class (0 is top-1) and the prediction's softmax probability, each [b].

  Ties go to the lower class index, in the prediction as in the rank, so that rank 0 and a right prediction
  are the same thing. The rank means nothing where the label is negative.
  """
  classes = jnp.arange(scores.shape[1])[None]
  right = jnp.take_along_axis(scores, jnp.maximum(labels, 0)[:, None], axis=1)
  ahead = (scores > right) | ((scores == right) & (classes < labels[:, None]))
  confidence = jnp.max(jax.nn.softmax(scores, axis=1), axis=1)
  return jnp.argmax(scores, axis=1).astype(jnp.int32), jnp.sum(ahead, axis=1, dtype=jnp.int32), confidence
