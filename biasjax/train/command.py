"""From what was asked on the command line to a trained network, exported and converted like anybody's."""

import contextlib
import csv
import dataclasses
import io
import json
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from biasjax import convert, messages, processes
from biasjax import partition as partitions
from biasjax.convert import conversion, export, torchvision
from biasjax.data import opening, sources, synthetic
from biasjax.data.classes import SUBSETS, wordnet_ids
from biasjax.errors import BiasjaxError, suggestion
from biasjax.models import architecture, load
from biasjax.results import sinks
from biasjax.results.store import write_file
from biasjax.train import batches, given, interventions, loop, step
from biasjax.types import Variables

CLASSES = {  # of a network, for each kind of labels that it can be trained on
  **dict.fromkeys(("imagenet", *SUBSETS), len(wordnet_ids())),
  "synthetic": len(synthetic.CATEGORIES),
}
ARCHITECTURES = {
  "resnet10": dataclasses.replace(architecture.RESNET18, stage_sizes=(1, 1, 1, 1)),
  "resnet18": architecture.RESNET18,
  "resnet34": architecture.RESNET34,
  "resnet50": architecture.RESNET50,
  "resnet101": architecture.RESNET101,
  "resnet152": architecture.RESNET152,
}

BROUGHT = ("architecture", "width")  # settings in whose place a network to go on from has its own
STATES, SETTINGS = "states", "settings.json"  # in a training's folder
MODELS = "models"  # in --workdir, of converted networks
LONGEST = 190  # of a name, quoted as observations are: with what files that are being written add, below 255
TAKEN = (MODELS, "observations", "summaries", "adversarial", "groups")  # what else is in it

RANGES = {  # of settings: the least, the most, in words
  **dict.fromkeys(("width", "save_every"), (1, math.inf, "at least 1")),
  **dict.fromkeys(
    ("epochs", "steps", "warmup_epochs", "learning_rate", "weight_decay", "keep_epochs"),
    (0, math.inf, "at least 0"),
  ),
  **dict.fromkeys(("label_smoothing", "average_decay"), (0, 1, "a share, 0 to 1")),
  "momentum": (0, math.nextafter(1, 0), "from 0 to below 1"),
}


@dataclasses.dataclass(frozen=True)
class Training:
  """The section `train` of a config; see configs/train.py.

  Attributes:
    name: of the network, and of its folder.
    architecture: one of `ARCHITECTURES`; --init brings its own.
    width: channels after the stem, 64 as published; likewise.
    interventions: a spec, see `interventions.parse`.
    epochs: of training; `steps`, if not 0, instead.
    warmup_epochs, learning_rate, optimizer, momentum, weight_decay, label_smoothing, average_decay: see
      `step.Recipe`.
    save_every: steps from one state on disk to the next.
    keep_epochs: a network is kept after every so many epochs, as NAME_epochE; 0 for none.
    dtype: of the exported weights, "float32" or "float16".
  """

  name: str = "network"
  architecture: str = "resnet50"
  width: int = 64
  interventions: str = interventions.NONE
  epochs: float = 90.0
  steps: int = 0
  warmup_epochs: float = 5.0
  learning_rate: float = 0.1
  optimizer: str = "sgd"
  momentum: float = 0.9
  weight_decay: float = 1e-4
  label_smoothing: float = 0.0
  average_decay: float = 0.0
  save_every: int = 500
  keep_epochs: int = 0
  dtype: str = "float32"


def parse(given: Mapping[str, Any]) -> Training:
  """The settings that a config's section `train` gives.

  Raises:
    BiasjaxError: an unknown setting, a value of another type or out of range, or as in `interventions.parse`.
  """
  known = {field.name: field for field in dataclasses.fields(Training)}
  for name, value in given.items():
    if name not in known:
      raise BiasjaxError(f"--config: train.{name} is unknown: {suggestion(name, known)}")
    expected = type(known[name].default)
    fine = isinstance(value, expected) or (expected is float and isinstance(value, int))
    if not fine or isinstance(value, bool):
      raise BiasjaxError(f"--config: train.{name} is {value!r}; expected {expected.__name__}")
    least, most, words = RANGES.get(name, (-math.inf, math.inf, ""))
    if words and not (least <= value <= most and math.isfinite(value)):
      raise BiasjaxError(f"--config: train.{name} is {value!r}; expected {words}")
  typed: dict[str, Any] = {name: type(getattr(Training, name))(value) for name, value in given.items()}
  settings = Training(**typed)
  if settings.architecture not in ARCHITECTURES:
    raise BiasjaxError(
      f"--config: train.architecture is {settings.architecture!r}; expected one of {', '.join(ARCHITECTURES)}"
    )
  for name, of in (("optimizer", step.OPTIMIZERS), ("dtype", ("float32", "float16"))):
    if getattr(settings, name) not in of:
      raise BiasjaxError(f"--config: train.{name} is {getattr(settings, name)!r}; expected {' or '.join(of)}")
  if not settings.name or set(settings.name) & set("/\\") or settings.name.startswith("."):
    raise BiasjaxError(f"--config: train.name is {settings.name!r}; expected the name of a folder")
  length = len(urllib.parse.quote(settings.name, safe=""))
  if length > LONGEST:
    raise BiasjaxError(
      f"--config: train.name is {settings.name!r}; files are called so, in {length} letters: expected "
      f"at most {LONGEST}"
    )
  if settings.name in TAKEN:
    raise BiasjaxError(
      f"--config: train.name is {settings.name!r}, which --workdir has for something else: take another name"
    )
  interventions.parse(settings.interventions)
  return settings


def ready(settings: Training, source: sources.Source, asked: Mapping[str, Any]) -> None:
  """Refuses a training that could not begin, before those before it are trained.

  Args:
    settings: of the training.
    source: what it is trained on.
    asked: as in `train`.

  Raises:
    BiasjaxError: it needs other annotations than it has, or, where the examples are known, than these have;
      an intervention cannot do with images of this size; or the source has labels that networks are not
      trained on or is less than a batch or a step.
  """
  acting = interventions.parse(settings.interventions)
  if source.places:  # whose annotations are looked for without reading its examples
    _columns(acting, source, asked)
  else:
    given.read(_objective(acting), asked["annotations"])
  _length(settings, source, asked["batch_size"])
  step.fit(acting, source.crop, classes_of(source))


def rows(batch_size: str | int) -> int:
  """--batch_size as a number; "auto" is for measuring.

  Raises:
    BiasjaxError: it is no positive whole number.
  """
  if not str(batch_size).isdecimal() or not int(batch_size):
    raise BiasjaxError(f"--batch_size={batch_size}: training needs a number of images")
  return int(batch_size)


def run(asked: Mapping[str, Any]) -> int:
  """Trains one network and prints where it is; returns the exit status.

  Args:
    asked: `dataset` (one), what `opening.open_asked` needs, `workdir`, `batch_size`, `seed`, `init` (one
      network to go on from, as in --models, or None), `offline`, `partitioner`, `annotations` (a file, or
      None), and `train`, the settings.

  Raises:
    BiasjaxError: a mistake in what was asked, or something cannot be read or written.
  """
  settings = parse(asked["train"])
  asked = {**asked, "batch_size": rows(asked["batch_size"])}
  if not asked["dataset"] or len(asked["dataset"]) != 1:
    raise BiasjaxError("--dataset is needed: one dataset to train on")
  report_to = sinks.parse(asked.get("report_to"))
  source = opening.open_asked(asked["dataset"][0], asked)
  if asked.get("annotations") and not given.annotated(
    _objective(interventions.parse(settings.interventions))
  ):
    raise BiasjaxError(
      f"--annotations={asked['annotations']}: no intervention of {settings.interventions!r} uses any: leave "
      "it out, or name one that does (docs/debiasing.md)"
    )
  folder, log = train(settings, source, asked)
  losses, accuracies = zip(*log, strict=True)
  for sink in report_to:
    sink(settings.name, {"loss": losses, "accuracy": accuracies}, {})
  loss, accuracy = np.mean(log[-20:], axis=0)
  print(
    f"{settings.name}: {len(log)} steps on {source.length} images; over the last {len(log[-20:])}: "
    f"loss {loss:.3f}, {accuracy:.1%} of the training examples right as they were shown"
  )
  print(
    f"{folder} (name it in --models); weights, log and settings are in {folder.parent.parent / settings.name}"
  )
  return 0


def train(
  settings: Training, source: sources.Source, asked: Mapping[str, Any]
) -> tuple[epath.Path, loop.Log]:
  """Trains, exports and converts one network; what is there already is not done again.

  Returns:
    The folder of the converted network, and loss and accuracy of each step.

  The further members that an objective keeps are NAME_member1 and so on.

  Raises:
    BiasjaxError: as in `run`; or another process is training a network of this name there.
  """
  workdir = epath.Path(asked["workdir"])
  busy = (
    f"another process is training {settings.name} in {workdir}: wait for it, or name another --workdir or "
    "train.name"
  )
  with contextlib.ExitStack() as held:
    try:
      held.enter_context(processes.alone(workdir / f".lock-training-{settings.name}", busy))
    except OSError as error:
      raise BiasjaxError(f"cannot write into {workdir}: {error}; name another --workdir") from error
    return _trained(settings, source, asked)


def _trained(
  settings: Training, source: sources.Source, asked: Mapping[str, Any]
) -> tuple[epath.Path, loop.Log]:
  """`train`, in a folder that no other process trains in."""
  classes = classes_of(source)
  acting = interventions.parse(settings.interventions)
  initial = None
  if asked["init"]:
    (folder, *more) = convert.resolve([asked["init"]], offline=asked["offline"])
    if more:
      raise BiasjaxError(f"--init={asked['init']}: names {1 + len(more)} networks; one is needed")
    initial = load.load(folder)
  per_epoch, steps = _length(settings, source, asked["batch_size"])
  warmup = round(settings.warmup_epochs * per_epoch)
  if warmup >= steps > 1:
    messages.warn(
      f"note: {settings.name}: train.warmup_epochs={settings.warmup_epochs:g} are {warmup} steps, and the "
      f"training has {steps}: the learning rate rises to its end and never falls"
    )
  recipe = step.Recipe(
    architecture=_architecture(settings, initial, classes),
    interventions=acting,
    steps=steps,
    warmup_steps=min(warmup, steps),
    learning_rate=settings.learning_rate,
    optimizer=settings.optimizer,
    momentum=settings.momentum,
    weight_decay=settings.weight_decay,
    label_smoothing=settings.label_smoothing,
    average_decay=settings.average_decay,
    seed=asked["seed"],
  )
  objective = recipe.objective
  columns, annotated = _columns(acting, source, asked)
  idle = ("save_every", *(BROUGHT if initial else ()))
  identity = {
    "train": {k: v for k, v in dataclasses.asdict(settings).items() if k not in idle},
    "dataset": source.fingerprint,
    "init": initial.fingerprint if initial else None,
    "batch_size": asked["batch_size"],
    "seed": asked["seed"],
  } | ({"annotations": annotated} if annotated else {})
  if initial:
    identity["architecture"] = load.describe(recipe.architecture)
  read = {one.name: one.read for one in acting if one.read}
  identity |= {"read": read} if read else {}
  workdir = epath.Path(asked["workdir"])
  place = workdir / settings.name
  keeping = settings.keep_epochs * per_epoch

  def snapshot(at: int) -> str:
    return f"{settings.name}_epoch{round(at / per_epoch):04d}"

  def keep(at: int, trained: Variables) -> None:
    _export(workdir, snapshot(at), recipe, trained, settings.dtype)

  members = [f"{settings.name}_member{member}" for member in range(1, objective.members)]
  snapshots = [snapshot(at) for at in range(keeping, steps + 1, keeping)] if keeping else []
  _refuse_others(workdir, settings.name, [*snapshots, *members])

  partition = partitions.of_process(asked["partitioner"])
  trained, log = loop.train(
    recipe,
    initial_variables(recipe, initial),
    source,
    loop.States(place / STATES, identity, len(partition.devices), _kind(partition)),
    partition,
    batch_size=asked["batch_size"],
    save_every=settings.save_every,
    keep_every=keeping,
    keep=keep,
    others=[initial_variables(recipe, initial, member) for member in range(1, objective.members)],
    columns=objective.prepare(columns, recipe.architecture.num_classes),
  )
  write_file(place / SETTINGS, (json.dumps(identity, indent=1, sort_keys=True) + "\n").encode())
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(["step", "loss", "accuracy"])
  writer.writerows([at, f"{loss:.7g}", f"{accuracy:.7g}"] for at, (loss, accuracy) in enumerate(log, 1))
  write_file(place / "log.csv", text.getvalue().encode())
  for member, variables in zip(members, trained[1:], strict=False):  # not all of them may be kept
    _export(workdir, member, recipe, variables, settings.dtype)
  return _export(workdir, settings.name, recipe, trained[0], settings.dtype), log


def _columns(
  acting: Sequence[interventions.Intervention], source: sources.Source, asked: Mapping[str, Any]
) -> tuple[Mapping[str, np.ndarray], str | None]:
  """What the objective needs of each example, and the fingerprint of the annotations, as `given.columns`."""
  part = asked.get("limit") is not None or asked.get("subset") is not None
  return given.columns(source, _objective(acting), asked.get("annotations"), part=part)


def _length(settings: Training, source: sources.Source, batch_size: int) -> tuple[int, int]:
  """Steps of an epoch, and of the training.

  Raises:
    BiasjaxError: there is not even one.
  """
  per_epoch = batches.steps_per_epoch(source, batch_size)
  steps = settings.steps or round(settings.epochs * per_epoch)
  if not steps:
    raise BiasjaxError(
      f"--config: train.epochs is {settings.epochs:g}, no step of {per_epoch} an epoch: "
      "set more, or train.steps"
    )
  return per_epoch, steps


def _kind(partition: partitions.Partition) -> str:
  """What last digits depend on: the kind of device and, on a CPU, in how many parts sums are made there."""
  device = partition.devices[0]
  return f"cpu ({processes.cores()} core(s))" if device.platform == "cpu" else device.device_kind


def _refuse_others(workdir: epath.Path, name: str, derived: Sequence[str]) -> None:
  """Refuses to write over networks of another training.

  Args:
    workdir: where both are.
    name: of the network that is to be trained.
    derived: of the networks that are exported beside it: snapshots and members.

  Raises:
    BiasjaxError: one of `derived` was trained under this name, or another training exported `name`.
  """

  def trained(other: str) -> bool:
    return any((workdir / other / left).exists() for left in (STATES, SETTINGS))

  own = next((other for other in derived if trained(other)), None)
  if own:
    raise BiasjaxError(
      f"{workdir / own} is a training of its own, and {name} would export a network of this name: take "
      "another train.name or --workdir"
    )
  if (workdir / name / f"{name}.safetensors").exists() and not trained(name):
    raise BiasjaxError(
      f"{workdir / name} holds a network that another training exported beside its own: take another "
      "train.name or --workdir"
    )


def classes_of(source: sources.Source) -> int:
  """How many classes a network has that is trained on a source.

  Raises:
    BiasjaxError: it has labels that networks are not trained on.
  """
  if source.labels not in CLASSES and not source.own_classes:
    raise BiasjaxError(
      f"{source.location} has labels {source.labels}; networks are trained on {' or '.join(CLASSES)}, or on "
      "class folders (classes:PATH)"
    )
  return source.own_classes or CLASSES[source.labels]


def _objective(acting: Sequence[interventions.Intervention]) -> interventions.Intervention | None:
  """The intervention that says what is minimised, if one does."""
  return next((one for one in acting if one.objective is not None), None)


def _architecture(settings: Training, initial: load.Model | None, classes: int) -> architecture.Architecture:
  if initial:
    if not isinstance(initial.architecture, architecture.Architecture):
      raise BiasjaxError(f"{initial.name}: is a traced network, which is measured; ResNets are trained")
    return dataclasses.replace(initial.architecture, num_classes=classes)
  of_depth = ARCHITECTURES[settings.architecture]
  return dataclasses.replace(of_depth, width=settings.width, inner_width=settings.width, num_classes=classes)


def initial_variables(recipe: step.Recipe, initial: load.Model | None, member: int = 0) -> Variables:
  """The variables to begin with; a network of other classes keeps all but its classifier.

  So do further members of an objective, which would otherwise be the same network.
  """
  new = step.fresh(recipe.architecture, recipe.seed, member)
  if initial is None:
    return new
  if initial.architecture == recipe.architecture and not member:
    return initial.variables
  params = initial.variables["params"] | {"fc": new["params"]["fc"]}
  return initial.variables | {"params": params}


def _export(
  workdir: epath.Path, name: str, recipe: step.Recipe, variables: Variables, dtype: str
) -> epath.Path:
  """Writes <workdir>/<name>/<name>.safetensors and converts it into <workdir>/models/<name>."""
  place = workdir / name
  path = place / f"{name}.safetensors"
  variables = jax.tree.map(np.asarray, variables)
  flat = load.flatten(variables)
  entries = {entry: flat[of.path] for entry, of in torchvision.entries(recipe.architecture).items()}
  # A variance, say, may be more than float16 holds: such tensors stay as they are.
  large = {entry for entry, values in entries.items() if np.abs(values).max() > np.finfo(dtype).max}
  if large:
    messages.warn(f"note: {name}: in float32, for {dtype} does not hold them: {', '.join(sorted(large))}")
  tensors = {entry: {"dtype": "float32" if entry in large else dtype} for entry in entries}
  model = load.Model(
    name=name,
    architecture=recipe.architecture,
    variables=variables,
    apply=load.apply_function(recipe.architecture),
    fingerprint=load.fingerprint(recipe.architecture, variables),
    certificate={"tensors": tensors},
  )
  folder = workdir / MODELS / name
  for unfinished in (path, folder):  # of a training that was killed: nobody else writes networks of this name
    processes.forget_unfinished(unfinished, 0.0)
  try:
    path.unlink(missing_ok=True)  # of a training that was killed before it was converted
  except OSError as error:
    raise BiasjaxError(f"cannot write {path}: {error}") from error
  export.write(model, path)
  mean, std = (tuple(map(float, variables["normalization"][key])) for key in ("mean", "std"))
  normalization = conversion.Normalization(mean, std, "of the network before training")
  conversion.write(conversion.convert(path, normalization=normalization), folder)
  return folder
