"""Measures how image classifiers are biased, and studies whether that explains how they generalise.

python run.py --models=... --probes=... --dataset=... --workdir=out    measure; again, it goes on
python run.py --models=... --probes=... --dataset=... --dry_run        what that would do, how long
python run.py --list=models                                            what there is; --version
python run.py --prepare=imagenet_v2 --manual_dir=... --data_dir=...    a benchmark as TFDS dataset
python run.py --summarise --workdir=out                                the tables again; or --report
python run.py --trials='dir/*.csv' --workdir=out                       people; --factors; --groups
python run.py --table=out/results.csv --categories=... --output=study  study many models
python run.py --config=configs/train.py --dataset=... --workdir=out    train, or go on with --init
"""

import logging as std_logging
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from biasjax import buckets, configuration, processes
from biasjax.cli import exits, paths, usage
from biasjax.errors import BiasjaxError, suggestion
from biasjax.messages import refused, warn

MOST_DRAWING = 4  # processes for the figures of a study
LISTED = ("models", "probes", "datasets", "conditions", "interventions")


def _define_list(name: str, default: list[str] | None, text: str) -> None:
  flags.DEFINE(paths.ListParser(), name, default, text, serializer=flags.ListSerializer(","))


_define_list(
  "models", None, "Names, 'patterns*', folders, files; answers:FILE; MODULE:FUNCTION of JAX; a list."
)
_define_list("probes", ["accuracy", "spectral"], "NAME[:OPTION=VALUE...][@DATASET+...]; a list.")
_define_list(
  "dataset",
  None,
  "[NAME=]BENCHMARK[:PATH], or KIND:PATH (folder, tfds ...); a list.",
)
flags.DEFINE_string("data_dir", None, "Where TFDS datasets were prepared; benchmarks as distributed.")
flags.DEFINE_string("manual_dir", None, "Where benchmarks lie as they are distributed, archives or folders.")
flags.DEFINE_string("prepare", None, "Prepare this benchmark from --manual_dir into --data_dir.")
flags.DEFINE_string("subset", None, "Images that a file names, or robustbench5k.")
flags.DEFINE_integer(
  "limit", None, "So many images; a list's; of samples, to so many points (1@pgd).", lower_bound=1
)
flags.DEFINE_string("margin", None, "Ask random samples until known to so many points: 1, 1@autoattack.")
flags.DEFINE_string("classes", None, "CSVs: of classes:PATH, folder,label; of examples, example_id,bias...")
flags.DEFINE_string(
  "annotations", None, "A CSV with example_id and any of bias, weight, domain, group: for objectives."
)
flags.DEFINE_boolean("allow_incomplete", False, "Use a dataset that is not what its authors published.")
flags.DEFINE_enum("preprocess", "paper", ["paper", "native"], "How images are resized.")
flags.DEFINE_string("workdir", "out", "Where results go; start again to go on.")
flags.DEFINE_string("batch_size", "64", "Images that each device sees at a time, or auto: by trying.")
flags.DEFINE_integer(
  "chunk_size", None, "Images stored together; not set: what takes some minutes.", lower_bound=1
)
flags.DEFINE_integer("decode_threads", 16, "That read and decode images.", lower_bound=1)
flags.DEFINE_enum(
  "precision", "float32", ["float32", "tensorfloat32", "bfloat16"], "Of the networks' products."
)
flags.DEFINE_enum("partitioner", "shard_map", ["shard_map", "pmap"], "How a batch is split over devices.")
flags.DEFINE_string("shard", None, "NUMBER/COUNT: one element of a job array, 1/8 to 8/8, say.")
flags.DEFINE_boolean(
  "distributed", None, "One of several processes; not set: found out on TPU pods and SLURM."
)
flags.DEFINE_string("coordinator", None, "Elsewhere: HOST:PORT of the first, how many, which.")
flags.DEFINE_integer("num_processes", None, "How many processes there are, elsewhere.", lower_bound=1)
flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0, elsewhere.", lower_bound=0)
flags.DEFINE_boolean("dry_run", False, "Say what would be computed, and how long it would take.")
flags.DEFINE_boolean("benchmark", False, "Measure this machine: rates, compile times, memory.")
flags.DEFINE_string("profile", None, "A folder for a trace of JAX' profiler; run few images with it.")
flags.DEFINE_boolean("tune_cpu", True, "Compile for CPUs with options of XLA that were measured.")
flags.DEFINE_boolean(
  "compilation_cache", True, "Keep compiled programs for the next start, in $BIASJAX_CACHE."
)
flags.DEFINE_integer("seed", 0, "Of all noise and resampling.", lower_bound=0)
flags.DEFINE_integer(
  "keep_adversarial", 0, "Of so many of the first images, keep what attacks made of them.", lower_bound=0
)
flags.DEFINE_boolean("offline", False, "Never download a checkpoint.")
flags.DEFINE_string("list", None, f"{', '.join(LISTED)}[:PATTERN].")
_define_list("report_to", None, "Numbers also to tensorboard:DIR, wandb:PROJECT; to a folder.")
flags.DEFINE_string(
  "export", None, "A folder for the same as model-vs-human's trials, model cards and timm's tables."
)
flags.DEFINE_boolean("summarise", False, "Make the tables of --workdir again; of A,B,C merged into --output.")
flags.DEFINE_boolean("report", None, "A page of one or two networks; not set: after a run of no more.")
flags.DEFINE_string("trials", None, "Decisions beside: people's; ImageNet-X's factors; or of groups.")
flags.DEFINE_string("factors", None, "ImageNet-X's annotations, JSON lines, beside stored decisions.")
flags.DEFINE_string(
  "groups", None, "class, category, a CSV class,group, or a column of --annotations: how far apart they are."
)
flags.DEFINE_string("table", None, "Study this CSV of results, a row for each model.")
flags.DEFINE_string("categories", None, 'JSON: {"category": ["model", ...]}, which models are alike.')
flags.DEFINE_multi_string("beside", None, "A CSV of reference networks under one's own; repeatable.")
flags.DEFINE_string("compare", None, "A published CSV: how far --table is from it.")
flags.DEFINE_string("output", "study", "Where the study goes.")
flags.DEFINE_string("init", None, "The network that training goes on from, named as in --models.")
config_flags.DEFINE_config_file("config", None, "A file whose get_config() sets any of these flags.")

# The page of --help: a line each; those of one line share the first one's text.
HELP = {
  "What to measure": (
    *("models", "probes", "dataset", "limit subset margin", "preprocess", "seed", "keep_adversarial"),
  ),
  "Data": ("data_dir manual_dir", "prepare", "classes annotations", "allow_incomplete"),
  "Run": ("workdir", "config", "list", "dry_run", "summarise", "report", "offline", "report_to export"),
  "Machine": (
    *("batch_size", "chunk_size", "decode_threads", "precision", "partitioner"),
    *("tune_cpu", "compilation_cache"),
    *("benchmark", "profile"),
    *("shard", "distributed", "coordinator num_processes process_id"),
  ),
  "Study": ("table", "categories", "beside", "compare", "output", "trials factors groups"),
  "Training, with --config=configs/train.py": ("init",),
}
SETTINGS = tuple(name for rows in HELP.values() for row in rows for name in row.split() if name != "config")

SECTIONS = ("study", "train", "sweep")  # of a config, beside flags

# Which flags are used where; any other one that is given there is a mistake.
_OPENING = ("data_dir", "manual_dir", "subset", "limit", "classes", "allow_incomplete")
_MACHINE = ("batch_size", "chunk_size", "decode_threads", "precision", "partitioner", "profile")
_WORKER = ("shard", "distributed", "coordinator", "num_processes", "process_id")
_ASKING = ("models", "probes", "dataset", "margin", "preprocess", "seed", "keep_adversarial", *_OPENING)
_MEASURING = ("workdir", "report", "beside", "report_to", "export", *_ASKING, *_MACHINE, *_WORKER)
USED = {
  "in measuring": _MEASURING,
  "with --list": ("list",),
  "in a sweep": (
    "workdir",
    "annotations",
    "report_to",
    "preprocess",
    "keep_adversarial",
    *_OPENING,
    *_MACHINE,
  ),
  "in training": (
    *("dataset", "workdir", "batch_size", "partitioner", "seed", "init", "report_to", "annotations"),
    *_OPENING,
  ),
  "with --table": ("table", "categories", "beside", "compare", "output", "seed"),
  "with --trials": ("trials", "workdir"),
  "with --factors": ("factors", "workdir"),
  "with --groups": ("groups", "annotations", "probes", "workdir"),
  "with --prepare": ("prepare", "manual_dir", "data_dir", "allow_incomplete"),
  "with --summarise": ("summarise", "workdir", "output", "report_to", "export"),
  "with --report": ("report", "workdir", "models", "beside", "trials"),
  "with --benchmark": ("benchmark", "workdir", *(n for n in _ASKING if n != "margin"), *_MACHINE, *_WORKER),
  "with --dry_run": ("dry_run", *_MEASURING),
}
WITHOUT_JAX = ("with --list", "with --table", "with --trials", "with --factors", "with --prepare")
ON_DISKS = ("in training", "in a sweep")  # whose working directory holds more than tables and observations
EVERYWHERE = ("offline", "tune_cpu", "compilation_cache")


def settings(values: flags.FlagValues) -> dict:
  """What was asked: the command line before the config before the defaults.

  A config may hold sections beside flags, `SECTIONS`.

  Raises:
    BiasjaxError: the config is not there, or sets something that is no flag.
  """
  try:
    config = values.config.to_dict() if values.config else {}
  except OSError as error:
    path = config_flags.get_config_filename(values["config"])
    if pathlib.Path(path).exists():
      raise BiasjaxError(f"--config={path} cannot be loaded: {' '.join(str(error).split())}") from error
    there = [f"configs/{found.name}" for found in sorted(configuration.FOLDER.glob("[a-z]*.py"))]
    raise BiasjaxError(f"--config={path}: there is no such file: {suggestion(path, there)}") from error
  sections = {name: config.pop(name, None) for name in SECTIONS}
  unknown = sorted(set(config) - set(SETTINGS))
  if unknown:
    raise BiasjaxError(f"--config sets {unknown[0]!r}, which is no flag: {suggestion(unknown[0], SETTINGS)}")
  asked = {n: config[n] if n in config and not values[n].present else values[n].value for n in SETTINGS}
  return asked | sections


def command_of(asked: dict) -> str:
  """Which of `USED` was asked for."""
  if asked["list"]:
    return "with --list"
  if asked["sweep"]:
    return "in a sweep"
  if asked["train"]:
    return "in training"
  if asked["table"] or asked["study"]:
    return "with --table"
  if asked["report"] and not asked["dataset"]:
    return "with --report"
  for name in ("trials", "factors", "groups", "prepare", "summarise", "benchmark", "dry_run"):
    if asked[name]:
      return f"with --{name}"
  return "in measuring"


def refuse(command: str, asked: dict, given: Sequence[str]) -> None:
  """Refuses flags that do not belong together, before anything is imported or computed.

  Args:
    command: of `USED`.
    asked: as `settings` returns it.
    given: the flags that the command line sets to something else than their defaults; what a config sets and
      a command does not use is left alone, since one config may serve several commands.

  Raises:
    BiasjaxError: a flag that the command does not use, or two that contradict each other.
  """
  for name in given:
    if name not in (*USED[command], *EVERYWHERE):
      others = [where for where, used in USED.items() if name in used and where != f"with --{name}"]
      only = f", only {' or '.join(others)}" if 0 < len(others) <= 4 else ""
      raise BiasjaxError(f"--{name} is not used {command}{only}: leave it out")
  for name in ("workdir", "output"):  # of a variable that was not set, and otherwise this folder
    if not asked[name]:
      raise BiasjaxError(f"--{name}= is empty: name a folder (--{name}=. is this one)")
  local = ("data_dir", "manual_dir", "output", *(["workdir"] if command in ON_DISKS else []))
  in_bucket = next((name for name in local if asked[name] and buckets.named(asked[name])), None)
  if in_bucket:
    raise BiasjaxError(f"--{in_bucket}={asked[in_bucket]}: {command} this has to be a folder on a disk")
  meeting = [name for name in _WORKER[2:] if asked[name] is not None]
  if asked["shard"] and (asked["distributed"] or meeting):
    other = meeting[0] if meeting else "distributed"
    raise BiasjaxError(f"--shard and --{other} both say who this process is: use one of them")
  if meeting and asked["distributed"] is False:
    raise BiasjaxError(f"--{meeting[0]} is for processes that run together: leave out --distributed=false")
  if asked["process_id"] is not None and asked["process_id"] >= (asked["num_processes"] or sys.maxsize):
    raise BiasjaxError(
      f"--process_id={asked['process_id']}: of --num_processes={asked['num_processes']} the last is "
      f"{asked['num_processes'] - 1}"
    )


def run(asked: dict, given: Sequence[str] = ()) -> int:
  """Does what was asked; returns the exit status.

  Args:
    asked: as `settings` returns it.
    given: the flags that the command line sets to something else than their defaults.

  Raises:
    BiasjaxError: a mistake in what was asked, or storage failed.
  """
  command = command_of(asked)
  refuse(command, asked, given)
  asked = paths.understood(asked, lists=("models", "dataset"))
  own = [spec for spec in asked["dataset"] or () if re.match(r"(?:[^=:/]+=)?classes:", spec)]
  if "classes" in given and command != "in a sweep" and asked["dataset"] and not own:
    raise BiasjaxError("--classes numbers the folders of --dataset=classes:PATH, which none is: leave it out")
  # Each command imports what it needs: JAX takes seconds to start; a misspelt flag should not wait for it.
  if command not in WITHOUT_JAX:
    from biasjax.convert import download
    from biasjax.engine import launch

    if asked["compilation_cache"] and not asked["benchmark"]:  # which says how long compiling takes
      launch.keep_programs(download.cache_directory())
    launch.import_jax(tune=asked["tune_cpu"])
  commands = {
    "with --list": list_names,
    "in a sweep": sweep_networks,
    "in training": train_network,
    "with --table": study_table,
    "with --trials": score_trials,
    "with --factors": score_factors,
    "with --groups": compare_groups,
    "with --prepare": prepare,
    "with --report": report_networks,
  }
  return commands.get(command, measure)(asked)


def measure(asked: dict) -> int:
  """Measures models; or plans that, makes the tables again, or measures the machine."""
  if asked["summarise"]:
    from biasjax.cli import summarising
    from biasjax.results import sinks

    return summarising.summarised(_summarised(asked), sinks.parse(asked["report_to"]), asked["export"])
  from biasjax.cli import commands

  command = commands.measure
  if asked["benchmark"]:
    command = commands.benchmark_machine
  elif asked["dry_run"]:
    command = commands.dry_run
  return command(asked)


def _summarised(asked: dict) -> Any:
  """The working directory that tables are to be made of; of several, what they are merged into."""
  from biasjax.results import merging
  from biasjax.results.store import Store

  folders = [paths.expanded(folder) for folder in paths.joined(asked["workdir"].split(","))]
  somewhere = asked["output"] != flags.FLAGS["output"].default
  if len(folders) == 1 and not somewhere:
    return Store(folders[0])
  if not somewhere:
    raise BiasjaxError(
      f"--workdir={asked['workdir']} names {len(folders)} directories: say where the merged one goes with "
      "--output=DIRECTORY"
    )
  into = Store(asked["output"], create=True)
  merging.merge([Store(folder) for folder in folders], into)
  return Store(into.workdir)


def list_names(asked: dict) -> int:
  """Prints what there is, a line each."""
  what, _, pattern = asked["list"].partition(":")
  if what not in LISTED:
    raise BiasjaxError(f"--list={asked['list']}: {what!r} is unknown: {suggestion(what, LISTED)}")
  from biasjax.cli import listing

  usage.show(getattr(listing, what)(pattern or "*"))
  return 0


def study_table(asked: dict) -> int:
  """Studies a table; by the published definitions where the config gives none."""
  from biasjax.report import command

  published = configuration.load("study").get_config().to_dict()["study"]
  drawing = min(processes.cores(), MOST_DRAWING)
  return command.run(asked | {"study": asked["study"] or published, "processes": drawing})


def train_network(asked: dict) -> int:
  """Trains one network."""
  from biasjax.engine import launch

  launch.devices()
  from biasjax.train import command

  return command.run(asked)


def sweep_networks(asked: dict) -> int:
  """Trains a family of networks, which is then measured and studied."""
  from biasjax.engine import launch

  launch.devices()
  from biasjax.cli import halving, sweep

  return (halving if asked["sweep"].get("grid") else sweep).run(asked)


def score_trials(asked: dict) -> int:
  """Scores recorded decisions, writes the tables, prints the main ones."""
  from biasjax.recorded import scoring

  print(scoring.score_trials(asked["trials"], asked["workdir"]))
  return 0


def score_factors(asked: dict) -> int:
  """Joins stored decisions with ImageNet-X's annotations, writes the table, prints it."""
  from biasjax.recorded import factors

  print(factors.score(asked["factors"], asked["workdir"]))
  return 0


def compare_groups(asked: dict) -> int:
  """Compares groups of images in what was measured."""
  from biasjax.cli import grouping

  everything = asked["probes"] == flags.FLAGS["probes"].default
  return grouping.run({**asked, "probes": [grouping.ACCURACY] if everything else asked["probes"]})


def report_networks(asked: dict) -> int:
  """Writes the page of one or two networks that have been measured."""
  from biasjax.cli import reporting

  return reporting.from_workdir(asked)


def prepare(asked: dict) -> int:
  """Prepares a benchmark; started again, it goes on."""
  from biasjax.data import builders

  allow = asked["allow_incomplete"]
  folder = builders.prepare(asked["prepare"], asked["manual_dir"], asked["data_dir"], allow_incomplete=allow)
  print(f"{asked['prepare']} is prepared: {folder}")
  return 0


def main(argv: list[str]) -> int:
  """Runs what the flags ask; a user's mistake is one line and exit status 1."""
  values = flags.FLAGS
  try:
    if not values["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # Orbax turns it up when it is imported
    if len(argv) > 1:
      raise BiasjaxError(f"unexpected argument {argv[1]!r}: everything is a flag, see python run.py --help")
    given = [name for name in SETTINGS if values[name].present and values[name].value != values[name].default]
    return run(settings(values), given)
  except BiasjaxError as error:
    warn(f"error: {error}")
  except OSError as error:  # of a file that may not be read, a disk that is full: nothing that a program does
    std_logging.getLogger("biasjax").info("the traceback:", exc_info=True)
    warn(f"error: {refused(error)}")
  return exits.MISTAKE


def parse_flags(argv: list[str]) -> list[str]:
  """absl's parsing, with a mistake said in one line, and a page of help that fits a screen."""
  if {"-h", "-help", "--help", "--helpshort"} & set(argv[1:]):
    usage.show(usage.page(flags.FLAGS, __doc__ or "", HELP))
    sys.exit(0)
  if "--version" in argv[1:]:
    usage.version()
    sys.exit(0)
  try:
    return flags.FLAGS([argv[0], *map(find_config, argv[1:])])
  except flags.Error as error:
    message = f"{' '.join(str(error).split())} (see python run.py --help)"
    if unsettable := re.search(r"<class 'list'> of field (\S+) is not supported for overriding", message):
      message = (
        f"--{unsettable[1]} is a list, which the command line cannot set: change it in a copy of the config"
      )
  except Exception as error:  # parsing runs the user's --config, which may raise anything
    cause = next(iter(error.args), "")
    if isinstance(error, AttributeError) and isinstance(cause, KeyError):  # ml_collections': --config.x=...
      message = f"--config has no such setting: {' '.join(str(*cause.args[:1]).split())}"
    else:
      message = f"--config cannot be loaded: {type(error).__name__}: {' '.join(str(cause).split())}"
  warn(f"error: {message}")
  sys.exit(exits.MISTAKE)


def find_config(argument: str) -> str:
  """--config=~/X.py with the home, or =configs/X.py, which is installed with biasjax, if it is not here."""
  flag, _, path = argument.partition("=")
  if flag.lstrip("-") != "config":
    return argument
  path = paths.expanded(path)
  name = path.removeprefix("configs/")
  shipped = configuration.FOLDER / name
  if name != path and not pathlib.Path(path).exists() and shipped.exists():
    path = str(shipped)
  return f"{flag}={path}" if path else argument


def start() -> None:
  """Parses the command line and runs it; see `starting`."""
  app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
  start()
