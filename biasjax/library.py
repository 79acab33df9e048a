"""What `import biasjax` offers: a network by name, and the probes on arrays, for one's own JAX code.

docs/library.md shows it at work.
"""

import dataclasses
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from PIL import Image

from biasjax import convert, numerics
from biasjax import probes as all_probes
from biasjax.data.sources import Example, Source
from biasjax.engine import evaluate, given
from biasjax.engine.given import Given
from biasjax.errors import BiasjaxError
from biasjax.models import load as converted
from biasjax.models.load import Model
from biasjax.probes.base import DECISIONS, Probe
from biasjax.results.store import Store
from biasjax.results.summary import NUMBERS
from biasjax.types import Images, Logits

NAME = "images"  # what stands for the dataset in the names of metrics
# What labels are, where a second one says what the texture is.
CONFLICTS = {"classes": "class_conflict", "categories16": "cue_conflict", "synthetic": "synthetic_conflict"}


@dataclasses.dataclass(frozen=True)
class Measured:
  """What `measure` found.

  Attributes:
    metrics: a row for each number, by its name: probe, value, low, high (a 95 % interval), n (what it rests
      on), chance (of an accuracy, what guessing gives), flag (what it should not be read without) and detail
      (whether it is one point of many). `metrics.loc["LPP", "value"]` is one of them.
    observations: probe -> what the network said about each image under each condition, the columns of
      docs/results.md and those that the probe adds.
  """

  metrics: pd.DataFrame
  observations: dict[str, pd.DataFrame]


def load(spec: str | os.PathLike, precision: str = "float32") -> Model:
  """A ResNet by its name, its checkpoint or the folder of its conversion.

  Args:
    spec: one of what --models takes: a name (`python -m convert --list`), a file of PyTorch's or
      safetensors, a folder that `python -m convert` wrote. What is not converted yet is, into the cache.
    precision: "bfloat16" for features in bfloat16; float32 otherwise.

  Raises:
    BiasjaxError: there is no such network, `spec` stands for several, or it cannot be fetched or converted.
  """
  folders = convert.resolve([os.fspath(spec)])
  if len(folders) != 1:
    raise BiasjaxError(f"{spec} stands for {len(folders)} networks, {folders[0].name} among them: name one")
  return converted.load(folders[0], precision)


@numerics.settled()
def measure(
  apply: Callable[[Any, Images], Logits],
  variables: Any,
  pixels: Any,
  labels: Any,
  probes: str | Sequence[str | Probe] = ("accuracy", "spectral"),
  *,
  textures: Any = None,
  names: Sequence[str] | None = None,
  labels_are: str = "classes",
  batch_size: int = 64,
  seed: int = 0,
) -> Measured:
  """Asks the probes of one network about images in memory: the numbers of run.py on the same images.

  Args:
    apply: (variables, images float32 [b, h, w, 3] in [0, 1]) -> logits float32 [b, classes], in evaluation
      mode; pure JAX. What is compiled for one `apply` is used again when the same object comes again.
    variables: a tree of arrays.
    pixels: uint8 [n, h, w, 3], square, as the network is to see them.
    labels: int [n], the right classes; where there are textures, those of the shapes.
    probes: names, with options as in "pgd:eps=1:steps=10", or probes of one's own; accuracy is asked of all
      images if another probe compares with it.
    textures: int [n], for `shape`: the class whose texture each image wears.
    names: n different names, which noise belongs to, as it does to file names; "00000000" and so on if None.
    labels_are: "classes", the network's own, however many; or one of `probes.base.DECISIONS`, "categories16"
      say, for the 16 categories of Geirhos et al. decided by the 1,000 classes of ImageNet.
    batch_size: images that each device sees at a time.
    seed: of all noise.

  Raises:
    BiasjaxError: an argument is not as above, there is no such probe, or logits are not finite.
  """
  if batch_size < 1 or seed < 0:
    raise BiasjaxError(f"measure: batch_size={batch_size}, seed={seed}: expected at least 1, and at least 0")
  pixels, size = _checked_pixels(pixels)
  names = _checked_names(names, len(pixels))
  kind = _kind(labels_are, textures is not None)
  asked = [_probe(probe, size, kind) for probe in ([probes] if isinstance(probes, str) else probes)]
  if not asked:
    raise BiasjaxError("measure: probes is empty: name one")
  needed = {name: all_probes.get(name, size) for probe in asked for name in probe.needs}
  planned = list((needed | {probe.name: probe for probe in asked}).values())
  network = given.checked("measure", "network", apply, variables, size, kept=False)
  rights = _checked_labels("labels", labels, len(pixels), network, planned[0], kind)

  def read(index: int) -> Example:
    bitmap = io.BytesIO()
    Image.fromarray(pixels[index]).save(bitmap, "BMP")  # nothing is compressed
    return Example(bitmap.getvalue(), int(rights[index]), names[index])

  source = Source(NAME, len(pixels), read, "", "memory", labels=kind, resize=None, crop=size)
  settings = evaluate.Settings(batch_size=batch_size, seed=seed, progress=False)
  attrs = {"labels": kind, "classes": network.classes}
  of_example = None
  if textures is not None:
    wears = _checked_labels("textures", textures, len(pixels), network, planned[0], kind)
    of_example = dict(zip(names, wears, strict=True))
  with tempfile.TemporaryDirectory(prefix="biasjax-") as folder:
    store = Store(folder, create=True)
    outcome = evaluate.evaluate([network], planned, source, store, settings)
    if outcome.stopped:
      raise BiasjaxError(f"measure: the network is not asked further: {outcome.stopped[network.name]}")
    tables = {unit.probe: store.read(unit)[0] for unit in store.units()}
  for table in tables.values():
    table.attrs |= attrs
    if of_example:
      table["texture"] = table["example_id"].map(of_example)
  rows = [
    (m.name.format(dataset=NAME), probe.name, *(getattr(m, number) for number in NUMBERS))
    for probe in planned
    for m in probe.summarise({name: tables[name] for name in (probe.name, *probe.needs)})
  ]
  metrics = pd.DataFrame(rows, columns=["metric", "probe", *NUMBERS])
  return Measured(metrics.set_index("metric"), tables)


def _checked_pixels(pixels: Any) -> tuple[np.ndarray, int]:
  """`pixels` as NumPy, and the pixels of a side."""
  pixels = np.asarray(pixels)
  shape = pixels.shape
  if pixels.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or not shape[0]:
    raise BiasjaxError(
      f"measure: pixels is {pixels.dtype} {list(shape)}, not uint8 [n, size, size, 3]: resize and crop to a "
      "square, and write values of [0, 1] as np.rint(255 * values).astype(np.uint8)"
    )
  return pixels, shape[1]


def _checked_names(names: Sequence[str] | None, n: int) -> list[str]:
  if names is None:
    return [f"{i:08d}" for i in range(n)]
  names = [str(name) for name in names]
  if len(names) != n or len(set(names)) != n or "" in names:
    raise BiasjaxError(
      f"measure: names holds {len(names)}, {len(set(names))} of them different, for {n} images: give each a "
      "name of its own"
    )
  return names


def _kind(labels_are: str, conflict: bool) -> str:
  """The kind of labels (`Source.labels`)."""
  kinds = CONFLICTS if conflict else DECISIONS
  if labels_are not in kinds:
    beside = " with textures" if conflict else ""
    raise BiasjaxError(f"measure: labels_are={labels_are!r}{beside}: expected one of {', '.join(kinds)}")
  return CONFLICTS[labels_are] if conflict else labels_are


def _probe(probe: str | Probe, size: int, kind: str) -> Probe:
  """The probe, if it can be asked about such labels."""
  probe = probe if isinstance(probe, Probe) else all_probes.get(probe, size)
  if kind not in probe.decide:
    what = "asks about images without textures: leave them out"
    if kind not in CONFLICTS.values():
      what = f"cannot be asked about labels that are {kind}: it needs textures, or other labels_are"
    raise BiasjaxError(f"measure: probe {probe.name} {what}")
  return probe


def _checked_labels(what: str, labels: Any, n: int, network: Given, probe: Probe, kind: str) -> np.ndarray:
  """int [n], each a class that competes."""
  labels = np.asarray(labels)
  if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (n,):
    raise BiasjaxError(f"measure: {what} is {labels.dtype} {list(labels.shape)}, not int [{n}]: one an image")
  scores = np.asarray(probe.decide[kind](jnp.zeros((1, network.classes))))[0]
  # The shape probe itself leaves out stimuli of categories that do not compete.
  competing = np.flatnonzero((scores > -np.inf) | (kind in CONFLICTS.values()))
  wrong = labels[~np.isin(labels, competing)]
  if len(wrong):
    raise BiasjaxError(
      f"measure: {what} holds {wrong[0]}, but {len(competing)} classes compete, {competing[0]} to "
      f"{competing[-1]}"
    )
  return labels
