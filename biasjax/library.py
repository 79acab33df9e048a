"""Probes on arrays, by any network: what `import biasjax` offers to somebody else's JAX program."""

import dataclasses
import hashlib
import io
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from PIL import Image

from biasjax import evaluate, probes, results
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.probes.base import ANY
from biasjax.types import Images, Logits

DATASET = "data"


@dataclasses.dataclass(frozen=True)
class Measured:
  """What probes found.

  Attributes:
    metrics: columns probe, metric, value, low, high (95 %), n, as in metrics.csv, see docs/results.md.
    observations: what the network said about each image under each condition, see there too.
  """

  metrics: pd.DataFrame
  observations: pd.DataFrame

  def __getitem__(self, metric: str) -> float:
    """The value of one metric, such as "LPP".

    Raises:
      KeyError: it was not measured.
    """
    found = self.metrics.loc[self.metrics["metric"] == metric, "value"]
    if found.empty:
      raise KeyError(f"{metric!r}: there are {', '.join(self.metrics['metric'])}")
    return float(found.iloc[0])


@dataclasses.dataclass(frozen=True)
class _Given:
  """A network that somebody else's program brings."""

  apply: Callable[[Any, Images], Logits]
  variables: Any
  classes: int
  name: str = "network"
  fingerprint: str = ""


def measure(
  apply: Callable[[Any, Images], Logits],
  variables: Any,
  images: np.ndarray,
  labels: np.ndarray,
  ask: Sequence[str] = ("accuracy", "spectral"),
  *,
  kind: str = ANY,
  names: Sequence[str] | None = None,
  batch_size: int = 64,
  precision: str = "float32",
  seed: int = 0,
) -> Measured:
  """Asks probes about a network on images in memory; the numbers are those that run.py gives for the files.

  Args:
    apply: (variables, images) -> logits, float [b, k], of float32 images [b, h, w, 3] in [0, 1]; it
      normalises by itself, and can be traced by `jax.jit`.
    variables: a tree of arrays, whatever `apply` takes.
    images: uint8 [n, s, s, 3], as the network is to see them; s even.
    labels: int [n], the right class of each.
    ask: names of probes, with options, as --probes has them.
    kind: what labels mean: "classes", any network's own, all of which compete; or a dataset's kind of labels
      (`data.sources.Source`): "imagenet", "categories16", "cue_conflict", ...
    names: of the images, each once. Noise belongs to a name, and a cue-conflict stimulus' name tells its
      texture. By default their numbers.
    batch_size: images that each device sees at a time; numbers do not depend on it.
    precision: as --precision.
    seed: of all noise.

  Raises:
    BiasjaxError: arrays of another shape, type or range, unknown probes, a kind of labels that a probe cannot
      take, or logits that are not finite.
  """
  source, classes = _source(apply, variables, images, labels, kind, names)
  with tempfile.TemporaryDirectory() as folder:
    store = results.Store(pathlib.Path(folder), max(source.length, 1))
    asked = probes.plan(ask, [source])[DATASET]
    settings = evaluate.Settings(batch_size=batch_size, precision=precision, seed=seed, progress=False)
    outcome = evaluate.evaluate([_Given(apply, variables, classes)], asked, source, store, settings)
    if outcome.stopped:
      raise BiasjaxError(f"measure: {next(iter(outcome.stopped.values()))}")
    summary = results.summarise(store, probes.get)
    observed = pd.concat([store.read(unit)[0] for unit in store.units()], ignore_index=True)
  columns = ["probe", "metric", "value", "low", "high", "n"]
  return Measured(summary.metrics[columns], observed)


def _source(
  apply: Callable,
  variables: Any,
  images: np.ndarray,
  labels: np.ndarray,
  kind: str,
  names: Sequence[str] | None,
) -> tuple[Source, int]:
  """The images as a source, and the number of the network's classes."""
  images, labels = np.asarray(images), np.asarray(labels)
  n = len(images) if images.ndim else 0
  square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[3] == 3
  if images.dtype != np.uint8 or not square or not n:
    raise BiasjaxError(
      f"measure: images are {images.dtype} {list(images.shape)}; expected uint8 [n, s, s, 3], values 0 to 255"
    )
  if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
    raise BiasjaxError(f"measure: labels are {labels.dtype} {list(labels.shape)}; expected integers [{n}]")
  size = images.shape[1]
  logits = jax.eval_shape(apply, variables, jax.ShapeDtypeStruct((1, size, size, 3), np.float32))
  if getattr(logits, "ndim", 0) != 2 or logits.shape[0] != 1:
    raise BiasjaxError(f"measure: apply gives {logits} for one image; expected logits [1, classes]")
  classes = logits.shape[1]
  if kind == ANY and not (labels.min() >= 0 and labels.max() < classes):
    raise BiasjaxError(
      f"measure: labels from {labels.min()} to {labels.max()}, but the network has {classes} classes"
    )
  named = [str(i) for i in range(n)] if names is None else list(map(str, names))
  if len(set(named)) != n:
    raise BiasjaxError(f"measure: {len(set(named))} different names for {n} images; each needs its own")
  digest = hashlib.sha256(images.tobytes() + labels.tobytes() + "\0".join(named).encode()).hexdigest()

  def read(index: int) -> Example:
    encoded = io.BytesIO()
    Image.fromarray(images[index]).save(encoded, "PNG", compress_level=0)  # without loss, as files are read
    return Example(encoded.getvalue(), int(labels[index]), named[index])

  return Source(DATASET, n, read, digest, "measure", kind, resize=None, crop=size), classes
