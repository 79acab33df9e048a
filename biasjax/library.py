"""What `import biasjax` offers: a network by name, a dataset in memory, and the probes on arrays.

docs/library.md shows it at work.
"""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from PIL import Image

from biasjax import convert, numerics
from biasjax import probes as all_probes
from biasjax.data import opening, pipeline
from biasjax.data.classes import conflict_categories, cues
from biasjax.data.sources import Example, Source
from biasjax.engine import evaluate, given, margins, passes
from biasjax.engine.given import Given
from biasjax.engine.stimuli import PREPROCESS
from biasjax.errors import BiasjaxError
from biasjax.models import load as converted
from biasjax.models.load import Model
from biasjax.probes.accuracy import CONDITIONED
from biasjax.probes.base import DECISIONS, Probe
from biasjax.results.store import Store
from biasjax.results.summary import MEASURED, NUMBERS, observed, said, summarise, taken, write_tables
from biasjax.results.unit import SAMPLE, in_words
from biasjax.types import Images as Batch
from biasjax.types import Logits

logger = logging.getLogger(__name__)

NAME = "images"  # what stands for the dataset in the names of metrics
# What labels are, where a second one says what the texture is.
CONFLICTS = {"classes": "class_conflict", "categories16": "cue_conflict", "synthetic": "synthetic_conflict"}
KINDS = (*DECISIONS, *CONDITIONED)
ROWS = 64  # images that are decoded together
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Measured:
  """What `measure` found.

  Attributes:
    metrics: a row for each number, by its name: probe, value, low, high (a 95 % interval), n (what it rests
      on), chance (of an accuracy, what guessing gives), flag (what it should not be read without) and detail
      (whether it is one point of many); with a margin those of docs/sampling.md, too.
      `metrics.loc["LPP", "value"]` is one of them.
    observations: probe -> what the network said about each image under each condition, the columns of
      docs/results.md and those that the probe adds.
  """

  metrics: pd.DataFrame
  observations: dict[str, pd.DataFrame]


@dataclasses.dataclass(frozen=True)
class Images:
  """A dataset in memory, as a network is to see it; `measure` takes it whole, or its parts.

  Attributes:
    pixels: uint8 [n, size, size, 3].
    labels: int [n], the right classes, numbered as `labels_are` says; [n, k] where several may be right, -1
      after them.
    names: of each image, its path in the dataset.
    textures: int [n], of cue-conflict stimuli the class of the texture, `labels` being the shapes; in a
      biased world the class that the cue goes with; else None.
    labels_are: what labels are, as `measure` wants it: "imagenet" (0 to 999, the sorted WordNet ids),
      "categories16" (0 to 15: airplane, bear, bicycle, ... in alphabetical order), ...
    dataset: what tables call it.
    excluded: name -> reason, of images that could not be decoded and are left out.
    own_classes: how many class folders there are whose order numbers a network's own classes; None otherwise.
    class_names: the folders of a network's own classes, by label; {} otherwise.
    preprocessed: how images came to be so, "bilinear 256, crop 224", for tables; "" where that is not known.
  """

  pixels: np.ndarray
  labels: np.ndarray
  names: list[str]
  textures: np.ndarray | None
  labels_are: str
  dataset: str
  excluded: dict[str, str]
  own_classes: int | None = None
  class_names: Mapping[int, Sequence[str]] = dataclasses.field(default_factory=dict)
  preprocessed: str = ""


def load(spec: str | os.PathLike, precision: str = "float32") -> Model:
  """A ResNet by its name, its checkpoint or the folder of its conversion.

  Args:
    spec: one of what --models takes: a name (`python -m convert --list`), a file of PyTorch's or
      safetensors, a folder that `python -m convert` wrote. What is not converted yet is, into the cache.
    precision: "bfloat16" for features in bfloat16; float32 otherwise.

  Raises:
    BiasjaxError: there is no such network or precision, `spec` stands for several, or it cannot be fetched or
      converted.
  """
  if not isinstance(spec, str | os.PathLike):
    raise BiasjaxError(f"load: {spec!r} is no name, file or folder")
  if precision not in PRECISIONS:
    raise BiasjaxError(f"load: precision={precision!r}: expected one of {', '.join(PRECISIONS)}")
  folders = convert.resolve([os.fspath(spec)])
  if len(folders) != 1:
    raise BiasjaxError(f"{spec} stands for {len(folders)} networks, {folders[0].name} among them: name one")
  return converted.load(folders[0], precision)


def images(
  spec: str,
  *,
  limit: int | None = None,
  size: int | None = None,
  model: Model | None = None,
  preprocess: str = "paper",
  data_dir: str | None = None,
  manual_dir: str | None = None,
  allow_incomplete: bool = False,
  classes: str | None = None,
) -> Images:
  """A dataset of run.py, decoded and brought to size as run.py shows it to a network.

  Args:
    spec: as --dataset has it: "folder:PATH", "imagenet_v2", "cue_conflict:PATH", "tfds:DATASET@SPLIT", ...
    limit: a class-balanced subset of so many images. An image of 224 pixels takes 150 kB.
    size: pixels of a side, where the network sees another size than the dataset's, which is 224 mostly.
    model: the network whose size and, with preprocess="native", whose authors' preprocessing is meant.
    preprocess: "paper" or "native", as the flag.
    data_dir, manual_dir, allow_incomplete, classes: as the flags.

  Raises:
    BiasjaxError: there is no such dataset, it is not whole, or nothing in it can be decoded.
  """
  if preprocess not in passes.RECIPES:
    raise BiasjaxError(f"images: preprocess={preprocess!r}: expected one of {', '.join(passes.RECIPES)}")
  if preprocess == "native" and model is None:
    raise BiasjaxError("images: preprocess='native' is what a network's authors did: say which, model=...")
  if size is not None and (model is not None or not _is_whole(size, 1)):
    raise BiasjaxError(f"images: size={size!r}: a number of pixels, and not beside model, which has its own")
  if limit is not None and not _is_whole(limit, 1):
    raise BiasjaxError(f"images: limit={limit!r}: expected a number of images, at least 1")
  source = opening.open_dataset(
    *(spec, data_dir, manual_dir), limit=limit, allow_incomplete=allow_incomplete, classes=classes
  )
  if model is not None:
    ((_, source),) = passes.split([model], source, preprocess)
  elif size is not None:
    source = passes.at_size(source, size)
  pixels = np.empty((source.length, source.crop, source.crop, 3), np.uint8)
  labels = np.empty((source.length, source.most_labels), np.int32)
  names: list[str] = []
  excluded: dict[str, str] = {}
  every = [(start, min(start + ROWS, source.length)) for start in range(0, source.length, ROWS)]
  for batch in pipeline.batches(source, every, batch_size=ROWS):
    rows = np.flatnonzero(batch.valid)
    into = slice(len(names), len(names) + len(rows))
    pixels[into], labels[into] = batch.pixels[rows], batch.labels[rows]
    names += [batch.example_ids[row] for row in rows]
    excluded |= batch.excluded
  if not names:
    name, reason = next(iter(excluded.items()))
    raise BiasjaxError(f"{source.location}: no image could be decoded, e.g. {name}: {reason}")
  for name, reason in excluded.items():
    logger.warning("%s: %s is left out: %s", source.name, name, reason)
  textures, labels_are = None, source.labels
  conflicts = {kind: of for of, kind in CONFLICTS.items()}
  if source.labels in conflicts:
    known, labels_are = conflict_categories(source.labels), conflicts[source.labels]
    textures = np.array([known.index(cues(name, known)[1]) for name in names])
  elif source.textures is not None:
    textures = np.array([source.textures[name] for name in names])
  several = labels[: len(names)] if source.most_labels > 1 else labels[: len(names), 0]
  how = in_words({name: getattr(source, name) for name in PREPROCESS})
  return Images(
    *(pixels[: len(names)], several, names, textures, labels_are, source.name, excluded),
    **{"own_classes": source.own_classes, "class_names": source.class_names, "preprocessed": how},
  )


@numerics.settled()
def measure(
  apply: Callable[[Any, Batch], Logits],
  variables: Any,
  pixels: Any,
  labels: Any = None,
  probes: str | Sequence[str | Probe] = ("accuracy", "spectral"),
  *,
  textures: Any = None,
  names: Sequence[str] | None = None,
  labels_are: str = "classes",
  margin: float | str | None = None,
  batch_size: int = 64,
  seed: int = 0,
  dataset: str = NAME,
  model: str = "network",
  workdir: str | os.PathLike | None = None,
  progress: bool = True,
) -> Measured:
  """Asks the probes of one network about images in memory: the numbers of run.py on the same images.

  Args:
    apply: (variables, images float32 [b, h, w, 3] in [0, 1]) -> logits float32 [b, classes], in evaluation
      mode; pure JAX. What is compiled for one `apply` is used again when the same object comes again.
    variables: a tree of arrays.
    pixels: uint8 [n, h, w, 3], square, as the network is to see them; or `Images`, which bring labels, names,
      textures, labels_are, the dataset's name and how it was preprocessed with them.
    labels: int [n], the right classes; where there are textures, those of the shapes. [n, k] where several
      are right, -1 after them.
    probes: names, with options as in "pgd:eps=1:steps=10", or probes of one's own; accuracy is asked of all
      images if another probe compares with it.
    textures: int [n], for `shape` the class whose texture each image wears; for the other probes that of its
      cue, of which accuracy says how often it is the answer (the cue share).
    names: n different names, which noise belongs to, as it does to file names; "00000000" and so on if None.
    labels_are: "classes", the network's own, however many; or one of `probes.base.DECISIONS`, "categories16"
      say, for the 16 categories of Geirhos et al. decided by the 1,000 classes of ImageNet.
    margin: half the 95 % interval, in points, to which accuracies are to be known; a probe is asked about a
      random sample that grows until then, accuracy about every image, which is then asked if it was not. For
      some probes only "1@pgd+autoattack". None asks every image of everything.
    batch_size: images that each device sees at a time.
    seed: of all noise, and of the order in which a sample is drawn.
    dataset, model: what tables call the images and the network.
    workdir: where observations and tables are kept, as run.py's --workdir has them; the same call goes on
      after a break, and further networks and datasets go into the same place. None keeps nothing.
    progress: whether a bar is shown, or a line a minute where there is no terminal.

  Raises:
    BiasjaxError: an argument is not as above, there is no such probe, logits are not finite, or `workdir`
      holds something else under the same names.
  """
  for what, given_as, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
    if not _is_whole(given_as, least):
      raise BiasjaxError(f"measure: {what}={given_as!r}: expected a whole number, at least {least}")
  whole = pixels if isinstance(pixels, Images) else None
  if whole is not None:
    if labels is not None or textures is not None or names is not None:
      raise BiasjaxError(
        "measure: Images bring labels, textures and names: leave them out, and say probes=..."
      )
    labels, textures, names, labels_are = whole.labels, whole.textures, whole.names, whole.labels_are
    pixels = whole.pixels
    dataset = whole.dataset if dataset == NAME else dataset
  pixels, size = _checked_pixels(pixels)
  names = _checked_names(names, len(pixels))
  asked = [_probe(probe, size) for probe in ([probes] if isinstance(probes, str | Probe) else probes or ())]
  if not asked:
    raise BiasjaxError("measure: probes is empty: name one")
  kind = _kind(labels_are, asked, textures is not None)
  needed = {name: all_probes.get(name, size) for probe in asked for name in probe.needs}
  planned = list((needed | {probe.name: probe for probe in asked}).values())
  if workdir is not None:
    _refuse_own(planned, size)
  network = given.checked("measure", model, apply, variables, size, kept=workdir is not None)
  rights = _checked_labels("labels", labels, len(pixels), network, planned[0], kind)
  wears = None
  if textures is not None:
    wears = _checked_labels("textures", textures, len(pixels), network, planned[0], kind)[:, 0]
  source = _source(dataset, pixels, rights, names, wears, kind, hashed=workdir is not None)
  if whole is not None:
    kept = ("own_classes", "class_names", "preprocessed")
    source = dataclasses.replace(source, **{name: getattr(whole, name) for name in kept})
  sampling = margins.apply(0.0 if margin is None else margin, seed, {dataset: planned}, [source], "margin")
  (source,), planned = sampling.sources, sampling.planned[dataset]
  settings = evaluate.Settings(batch_size=batch_size, seed=seed, progress=progress, margins=sampling.margins)
  with contextlib.ExitStack() as stack:
    if workdir is None:
      folder: Any = stack.enter_context(tempfile.TemporaryDirectory(prefix="biasjax-"))
    else:
      folder = os.path.expanduser(workdir)
    store = Store(folder, create=True)
    units = list(itertools.chain(*evaluate.units([network], planned, source, settings)))
    if workdir is not None:
      stack.enter_context(store.lock("0-of-1"))
      store.settle(units, store.manifest.get("preprocess", ""))
    outcome = evaluate.evaluate([network], planned, source, store, settings)
    if outcome.stopped:
      raise BiasjaxError(f"measure: the network is not asked further: {outcome.stopped[network.name]}")
    tables = observed(store, units, lambda name, _: next(of for of in planned if of.name == name))
    if workdir is not None:
      write_tables(store, summarise(store, all_probes.get))
  numbers = MEASURED if margin is None else NUMBERS
  rows = []
  for probe in planned:
    try:
      metrics = said(probe, {name: tables[name] for name in (probe.name, *probe.needs)})
    except BiasjaxError as error:
      raise BiasjaxError(f"measure: probe {probe.name}: {error}") from error
    rows += [(name.format(dataset=dataset), probe.name, *values[: len(numbers)]) for name, *values in metrics]
  called: dict[str, str] = {}
  for probe in planned:
    if clash := taken(called, [name for name, of, *_ in rows if of == probe.name], probe.name):
      raise BiasjaxError(f"measure: probe {probe.name}: {clash}")
  metrics = pd.DataFrame(rows, columns=["metric", "probe", *numbers]).set_index("metric")
  if wears is not None:
    _say_no_cue(metrics, labels_are, network.classes, int(max(rights.max(), wears.max())))
  return Measured(metrics, {name: _plain(table) for name, table in tables.items()})


def _is_whole(value: Any, least: int) -> bool:
  return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def _array(what: str, given_as: Any) -> np.ndarray:
  """As NumPy.

  Raises:
    BiasjaxError: it is nothing that NumPy makes one array of, lists of different lengths say.
  """
  try:
    return np.asarray(given_as)
  except Exception as error:  # other libraries' arrays raise what they like, of a GPU's memory say
    reason = " ".join(str(error).split())[:150]
    raise BiasjaxError(f"measure: {what} is {type(given_as).__name__}, and no array: {reason}") from error


def _plain(table: pd.DataFrame) -> pd.DataFrame:
  """Observations with strings for categories, and without what only a summary reads (pandas keeps attrs)."""
  shared = table.select_dtypes("category").columns
  found = table.astype(dict.fromkeys(shared, str))
  found.attrs.pop(SAMPLE, None)
  return found


def _refuse_own(planned: Sequence[Probe], size: int) -> None:
  """Raises BiasjaxError for a probe that is not this project's: tables could not be made of it again."""
  for probe in planned:
    try:
      known = all_probes.get(probe.asked or probe.name, size)
    except BiasjaxError:
      known = None
    if known is not probe:
      raise BiasjaxError(
        f"measure: probe {probe.name} is of your own, and run.py could not summarise it: leave workdir out, "
        "or add the probe (docs/adding-a-probe.md)"
      )


def _source(
  name: str,
  pixels: np.ndarray,
  rights: np.ndarray,
  names: Sequence[str],
  wears: np.ndarray | None,
  kind: str,
  *,
  hashed: bool,
) -> Source:
  """The images as a dataset; `hashed` says whether what is kept of it needs to tell it from others."""

  def read(index: int) -> Example:
    bitmap = io.BytesIO()
    Image.fromarray(pixels[index]).save(bitmap, "BMP")  # nothing is compressed
    first, *others = rights[index].tolist()
    return Example(bitmap.getvalue(), first, names[index], tuple(label for label in others if label >= 0))

  fingerprint = ""
  if hashed:
    digest = hashlib.sha256("\0".join(names).encode())
    for array in (pixels, rights, *([] if wears is None else [wears])):
      digest.update(f"{array.dtype} {array.shape}".encode())
      digest.update(np.ascontiguousarray(array).data)
    fingerprint = digest.hexdigest()
  textures = None if wears is None else dict(zip(names, wears.tolist(), strict=True))
  size, many = pixels.shape[1], rights.shape[1]
  return Source(
    *(name, len(pixels), read, fingerprint, "memory"),
    **{"labels": kind, "resize": None, "crop": size, "most_labels": many, "textures": textures},
  )


def _say_no_cue(metrics: pd.DataFrame, labels_are: str, classes: int, highest: int) -> None:
  """Warns where shape bias is not determined, and of what that comes from mostly."""
  for name in metrics.index[metrics["probe"].str.partition(":")[0] == "shape"]:
    if name.partition(":")[0] != "shape-bias" or not np.isnan(metrics.loc[name, "value"]):
      continue
    hint = ""
    if labels_are == "classes" and classes == 1000 and highest < 16:
      hint = (
        ": labels and textures are below 16 of 1,000 classes; the 16 categories are labels_are='categories16'"
      )
    logger.warning("measure: no decision is for the shape or the texture, so there is no %s%s", name, hint)


def _checked_pixels(pixels: Any) -> tuple[np.ndarray, int]:
  """`pixels` as NumPy, and the pixels of a side."""
  pixels = _array("pixels", pixels)
  shape = pixels.shape
  if pixels.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or not shape[0]:
    raise BiasjaxError(
      f"measure: pixels is {pixels.dtype} {list(shape)}, not uint8 [n, size, size, 3]: give "
      "one or more, resize and crop to a square, and write values of [0, 1] as np.rint(255 * "
      "values).astype(np.uint8)"
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


def _probe(probe: str | Probe, size: int) -> Probe:
  if not isinstance(probe, str | Probe):
    raise BiasjaxError(f"measure: probes holds {probe!r}: expected names, or probes of your own")
  return probe if isinstance(probe, Probe) else all_probes.get(probe, size)


def _kind(labels_are: str, asked: Sequence[Probe], textures: bool) -> str:
  """The kind of labels (`Source.labels`), one that all probes can be asked about."""
  conflict = textures and any(kind in probe.decide for probe in asked for kind in CONFLICTS.values())
  kinds = CONFLICTS if conflict else KINDS
  if labels_are not in kinds:
    beside = " with textures" if conflict else ""
    raise BiasjaxError(f"measure: labels_are={labels_are!r}{beside}: expected one of {', '.join(kinds)}")
  kind = CONFLICTS[labels_are] if conflict else labels_are
  for probe in asked:
    if kind not in probe.decide:
      what = "asks about images without textures: leave them out"
      if not conflict:
        what = f"cannot be asked about labels that are {kind}: it needs textures, or other labels_are"
      raise BiasjaxError(f"measure: probe {probe.name} {what}")
  return kind


def _checked_labels(what: str, labels: Any, n: int, network: Given, probe: Probe, kind: str) -> np.ndarray:
  """int32 [n, k], each a class that competes, -1 after those of an image."""
  labels = _array(what, labels)
  several = labels.ndim == 2 and labels.shape[1] > 0 and what == "labels"
  if (
    not np.issubdtype(labels.dtype, np.integer)
    or labels.shape[:1] != (n,)
    or not (labels.ndim == 1 or several)
  ):
    raise BiasjaxError(f"measure: {what} is {labels.dtype} {list(labels.shape)}, not int [{n}]: one an image")
  labels = labels.reshape(n, -1)
  scores = np.asarray(probe.decide[kind](jnp.zeros((1, network.classes))))[0]
  # The shape probe itself leaves out stimuli of categories that do not compete.
  competing = np.flatnonzero((scores > -np.inf) | (kind in CONFLICTS.values()))
  absent = (labels == pipeline.PADDING) & (np.arange(labels.shape[1]) > 0)
  wrong = labels[~(np.isin(labels, competing) | absent)]
  if len(wrong):
    raise BiasjaxError(
      f"measure: {what} holds {wrong[0]}, but {len(competing)} classes compete, {competing[0]} to "
      f"{competing[-1]}"
    )
  return labels.astype(np.int32)
