"""What run.py does with models and datasets: measure them, plan that, or measure the machine."""

import contextlib
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from biasjax import compiling, convert, partition, probes
from biasjax.cli import exits, networks, starting, summarising
from biasjax.data import opening
from biasjax.data.preprocess import CROP
from biasjax.data.sources import Source
from biasjax.engine import benchmark, evaluate, launch, margins, passes, plan, rates
from biasjax.engine.answered import Answered
from biasjax.engine.evaluate import Network
from biasjax.engine.schedule import Worker
from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.probes import Probe
from biasjax.results import sinks
from biasjax.results.store import Store
from biasjax.results.summary import unfinished, wide
from biasjax.results.unit import SAMPLE, Unit

logger = logging.getLogger(__name__)

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
AUTO = "auto"
MOST_REPORTED = 2  # networks on one page


@dataclasses.dataclass(frozen=True)
class Asked:
  """What the flags of one run stand for; `passes` holds which models see which source together."""

  models: list[Network]
  passes: list[tuple[list[Network], Source]]
  planned: dict[str, list[Probe]]
  settings: evaluate.Settings
  store: Store


def measure(asked: Mapping[str, Any]) -> int:
  """Computes what is missing of what was asked, then makes the tables; returns the exit status.

  Raises:
    BiasjaxError: a mistake in what was asked, or storage failed.
  """
  _needed(asked)
  report_to = sinks.parse(asked.get("report_to"))
  worker = _worker(asked)
  launch.log_to(asked["workdir"], worker)
  stopping = launch.Stopping(at_once=starting.stopped)
  with stopping.listening():
    opened = _opened(asked, worker)
    opened = dataclasses.replace(
      opened, settings=dataclasses.replace(opened.settings, told_to_stop=stopping, progress=worker.rank == 0)
    )
    split = partition.of_process(opened.settings.partitioner)
    logger.info(
      "%s: %d model(s), %s; %d x %s, batch size %d, %s, options of XLA %s",
      *("start", len(opened.models), ", ".join(opened.planned)),
      *(len(split.devices), split.devices[0].device_kind, opened.settings.batch_size),
      *(opened.settings.precision, compiling.said(split.devices[0].platform)),
    )
    stopped: dict[str, str] = {}
    interrupted = False
    with opened.store.lock(f"{worker.rank}-of-{worker.count}"), _profile(asked["profile"]):
      _register(opened, asked["preprocess"])
      for members, source in opened.passes:
        left = [model for model in members if model.name not in stopped]
        if not left:
          continue
        planned = probes.sized(opened.planned[source.name], source)
        outcome = evaluate.evaluate(left, planned, source, opened.store, opened.settings)
        stopped |= outcome.stopped
        interrupted = outcome.interrupted
        if interrupted:
          break
  for model, reason in stopped.items():
    warn(f"model {model} is left out: {reason}")
  if interrupted:
    warn("stopped as told; start the same command again to go on")
    return exits.INTERRUPTED
  opened.store.look_again()
  others = _left_to_others(opened, stopped)
  if others:
    print(f"shard {worker.rank + 1}/{worker.count} is done; {others} chunk(s) are left to others")
    return exits.INCOMPLETE if stopped else 0
  if worker.rank and worker.helps:
    return exits.INCOMPLETE if stopped else 0  # the first process makes the tables
  if len(stopped) == len(opened.models):
    return exits.INCOMPLETE
  summary, status = summarising.tables(opened.store, asked.get("export"))
  figures = _report(opened, asked, stopped)
  sinks.send_table(report_to, wide(summary.metrics), figures)
  damaged = _left_to_others(opened, stopped)  # found so when the tables were made, and set aside
  return exits.INCOMPLETE if stopped or damaged else status


def _report(
  opened: Asked, asked: Mapping[str, Any], stopped: Mapping[str, str]
) -> dict[str, dict[str, np.ndarray]]:
  """The page of a run's networks, unless there are many, or it is not wanted; {model: its figures}."""
  names = [model.name for model in opened.models if model.name not in stopped]
  if asked.get("report") is False or len(names) > MOST_REPORTED:
    if asked.get("beside"):
      warn("--beside is of a page of one or two networks, and none was written: --report --models=NAME,NAME")
    return {}
  from biasjax.cli import reporting  # only here: matplotlib takes its time

  sources = {source.name: source for _, source in opened.passes}
  rows = opened.settings.batch_size * len(partition.of_process(opened.settings.partitioner).devices)
  return reporting.after_run(opened.store, names, asked, sources, rows)


def dry_run(asked: Mapping[str, Any]) -> int:
  """Prints what `measure` would do: what is there and what is missing, images, passes, time, memory, disk."""
  _needed(asked)
  sinks.parse(asked.get("report_to"))
  worker = launch.parse_shard(asked["shard"])
  launch.devices()
  found, absent = [], []
  for spec in asked["dataset"]:
    try:
      found.append(opening.open_asked(spec, asked))
      print(f"found    {found[-1].name}: {found[-1].length:,} images, {found[-1].location}")
    except BiasjaxError as error:
      absent.append(spec)
      print(f"missing  {spec}: {error}")
  _refuse_repeated("--dataset", [source.name for source in found])
  named = networks.sort(asked["models"])
  present, to_fetch = convert.not_fetched(named.checkpoints)
  models = _models([*present, *named.others], asked, found)
  for model in models:
    print(f"found    model {model.name}")
  if to_fetch:  # what time they take does not depend on what they have learnt
    stand_in = benchmark.made_model(precision=asked["precision"])
    models += [dataclasses.replace(stand_in, name=name, fingerprint=name) for name in to_fetch]
  for name in to_fetch:
    print(f"missing  model {name}: will be fetched and converted")
  if not found:
    return exits.INCOMPLETE
  names = _probe_names(asked)
  planned = probes.plan(probes.asked_of(names, found) if absent else names, found)
  sampling = margins.apply(asked.get("margin"), asked["seed"], planned, found)
  found, planned = sampling.sources, sampling.planned
  settings = _settings(asked, models, planned, found, worker)
  settings = dataclasses.replace(settings, margins=sampling.margins)
  store = _store(asked)
  _refuse(Asked(models, _passes(asked, models, found), planned, settings, store), asked)
  rows = [
    row
    for members, source in _passes(asked, models, found)
    for row in plan.rows(
      members, {source.name: probes.sized(planned[source.name], source)}, [source], store, settings
    )
  ]
  print()
  print(plan.text(rows, models, found, settings, worker.count))
  return exits.INCOMPLETE if absent else 0


def benchmark_machine(asked: Mapping[str, Any]) -> int:
  """Measures the parts of a pass and the whole on this machine; writes and prints benchmark.json.

  Models and datasets are made where none are named.
  """
  _needed(asked, images=False)
  worker = _worker(asked)
  launch.log_to(asked["workdir"], worker)
  found = [opening.open_asked(spec, asked) for spec in asked["dataset"] or ()]
  found = found or [benchmark.made_source()]
  models = _models(asked["models"], asked, found) if asked["models"] else []
  if stored := [model.name for model in models if isinstance(model, Answered)]:
    raise BiasjaxError(f"--models: {stored[0]} is stored answers, which are not computed: leave it out")
  models = models or [benchmark.made_model(precision=asked["precision"])]
  planned = probes.plan(_probe_names(asked), found)
  settings = _settings(asked, models, planned, found, worker)
  store = _store(asked)
  with store.lock(f"{worker.rank}-of-{worker.count}"):
    members, source = _passes(asked, models, found)[0]
    asked_of = {source.name: probes.sized(planned[source.name], source)}
    report = benchmark.measure(members, asked_of, [source], settings)
    name = "benchmark.json" if worker.count == 1 else f"benchmark-{worker.rank}-of-{worker.count}.json"
    print(benchmark.write(report, store.workdir / name))
  return 0


def opened(asked: Mapping[str, Any]) -> tuple[list[Source], dict[str, list[Probe]]]:
  """(the datasets, the probes that each is asked).

  Raises:
    BiasjaxError: one is not there, is named twice, or they do not fit.
  """
  names = _probe_names(asked)
  found = [opening.open_asked(spec, asked) for spec in asked["dataset"]]
  _refuse_repeated("--dataset", [source.name for source in found])
  return found, probes.plan(names, found)


def _opened(asked: Mapping[str, Any], worker: Worker) -> Asked:
  """Everything that a run needs, what is wrong found before anything is downloaded or computed."""
  found, planned = opened(asked)
  sampling = margins.apply(asked.get("margin"), asked["seed"], planned, found)
  found, planned = sampling.sources, sampling.planned
  models = _models(asked["models"], asked, found)
  _refuse_ending(models, asked)
  settings = _settings(asked, models, planned, found, worker)
  settings = dataclasses.replace(settings, margins=sampling.margins)
  split = _passes(asked, models, found)
  for members, source in split:
    evaluate.refuse(members, probes.sized(planned[source.name], source), source, settings)
  return Asked(models, split, planned, settings, _store(asked))


def _refuse_ending(models: Sequence[Network], asked: Mapping[str, Any]) -> None:
  """Raises what would be wrong at the end of a run: of pages and exports."""
  if asked.get("report") and len(models) > MOST_REPORTED:
    raise BiasjaxError(
      f"--report is about one or two networks, and {len(models)} are asked for: leave it out, and afterwards "
      "name those that it is to be about: --report --models=NAME,NAME"
    )
  if asked.get("beside"):
    from biasjax.study import references, table  # only here: few runs have any

    for path in asked["beside"]:
      table.read(path, None, (), references.FLAG)
  export = epath.Path(asked.get("export") or ".")
  if export.exists() and not export.is_dir():
    raise BiasjaxError(f"--export={export} is a file: name a folder")


def _refuse(opened: Asked, asked: Mapping[str, Any]) -> None:
  """Raises what the run that is planned would, before it computes anything."""
  _refuse_ending(opened.models, asked)
  passes = _units(opened)
  opened.store.refuse_other_settings([unit for _, _, units in passes for unit in units], asked["preprocess"])
  for _, source, _ in passes:
    opened.store.refuse_other_images(source)
    margins.refuse(opened.planned[source.name], opened.store, source, opened.settings.margins)


def _passes(
  asked: Mapping[str, Any], models: list[Network], found: list[Source]
) -> list[tuple[list[Network], Source]]:
  return [one for source in found for one in passes.split(models, source, asked["preprocess"])]


def _needed(asked: Mapping[str, Any], *, images: bool = True) -> None:
  size = str(asked["batch_size"])
  if size != AUTO and not (size.isdigit() and int(size)):
    raise BiasjaxError(f"--batch_size={size}: expected a number of images, or {AUTO}")
  if asked["precision"] not in PRECISIONS:
    raise BiasjaxError(f"--precision={asked['precision']}: expected one of {', '.join(PRECISIONS)}")
  for name in ("models", "dataset") if images else ():
    if not asked[name]:
      raise BiasjaxError(f"--{name} is needed: see python run.py --help")


def _probe_names(asked: Mapping[str, Any]) -> list[str]:
  names = list(dict.fromkeys(asked["probes"]))
  found = [probes.get(probes.located(name)[0]) for name in names]
  if not names:
    raise BiasjaxError("--probes is needed: see python run.py --list=probes")
  if asked["keep_adversarial"] and not any(probe.attack for probe in found):
    raise BiasjaxError(f"--keep_adversarial needs a probe that attacks, such as pgd, not {', '.join(names)}")
  return names


def _models(specs: Sequence[str], asked: Mapping[str, Any], found: Sequence[Source]) -> list[Network]:
  size = found[0].crop if found else CROP
  return networks.load_all(specs, size=size, precision=asked["precision"], offline=asked["offline"])


def _refuse_repeated(flag: str, names: list[str]) -> None:
  repeated = sorted({name for name in names if names.count(name) > 1})
  if repeated:
    raise BiasjaxError(f"{flag}: {repeated[0]!r} is named twice; tables tell them apart by name")


def _worker(asked: Mapping[str, Any]) -> Worker:
  if asked["shard"]:
    worker = launch.parse_shard(asked["shard"])
  else:
    worker = launch.join(*(asked[n] for n in ("distributed", "coordinator", "num_processes", "process_id")))
  launch.devices()
  return worker


def _settings(
  asked: Mapping[str, Any],
  models: list[Network],
  planned: Mapping[str, list[Probe]],
  found: list[Source],
  worker: Worker,
) -> evaluate.Settings:
  size = str(asked["batch_size"])
  settings = evaluate.Settings(
    batch_size=1 if size == AUTO else int(size),
    seed=asked["seed"],
    precision=asked["precision"],
    partitioner=asked["partitioner"],
    worker=worker,
    keep_adversarial=asked["keep_adversarial"],
    threads=asked["decode_threads"],
  )
  if size != AUTO:
    return settings
  computed = [model for model in models if not isinstance(model, Answered)]
  if not computed:
    return dataclasses.replace(settings, batch_size=64)
  members, source = _passes(asked, computed, found)[0]
  wanted = probes.sized(planned[source.name], source)
  evaluate.refuse(members, wanted, source, settings)
  chosen = rates.batch_size(members, wanted, source, settings)
  logger.info("--batch_size=auto is %d", chosen)
  return dataclasses.replace(settings, batch_size=chosen)


def _store(asked: Mapping[str, Any]) -> Store:
  return Store(asked["workdir"], asked["chunk_size"], create=True)


def _units(opened: Asked) -> list[tuple[list[Network], Source, list[Unit]]]:
  """What each pass observes."""
  return [
    (
      members,
      source,
      [
        unit
        for of_probe in evaluate.units(
          members, probes.sized(opened.planned[source.name], source), source, opened.settings
        )
        for unit in of_probe
      ],
    )
    for members, source in opened.passes
  ]


def _register(opened: Asked, recipe: str) -> None:
  """All passes, before the first: tables that mix settings are refused while nothing is computed yet."""
  passes = _units(opened)
  for _, source, _ in passes:
    margins.refuse(opened.planned[source.name], opened.store, source, opened.settings.margins)
  opened.store.settle([unit for _, _, units in passes for unit in units], recipe)
  for members, source, units in passes:
    default = evaluate.default_chunk(members, opened.planned[source.name], source, opened.settings)
    opened.store.register(source, units, default)


def _left_to_others(opened: Asked, stopped: Mapping[str, str]) -> int:
  """Chunks that nobody has written, of models that were not stopped; a sample that is to grow is one."""
  units = [unit for _, _, of_pass in _units(opened) for unit in of_pass if unit.model not in stopped]
  every = sum(len(opened.store.missing(unit)) for unit in units if SAMPLE not in unit.key)
  return every + len(unfinished(opened.store, [unit for unit in units if SAMPLE in unit.key], probes.get))


@contextlib.contextmanager
def _profile(folder: str | None):
  """A profiler trace of everything inside, if a folder is named."""
  if not folder:
    yield
    return
  with jax.profiler.trace(folder):
    yield
  logger.info("the profiler's trace is in %s", folder)
