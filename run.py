"""Measures how image classifiers are biased, and studies whether that explains how they generalise.

python run.py --models=... --probes=... --dataset=... --workdir=out     measure; started again, it goes on
python run.py --list=models --models='robust_*'                         what there is
python run.py --models=... --probes=... --dataset=... --dry_run         what that would do, and how long
python run.py --prepare=imagenet_v2 --manual_dir=... --data_dir=...     a benchmark as a TFDS dataset
python run.py --summarise --workdir=out                                 the tables again, from what is stored
python run.py --trials='dir/*.csv' --workdir=out                        shape bias of recorded decisions
python run.py --table=out/results.csv --categories=... --output=study   study many models
python run.py --config=configs/train.py --dataset=... --workdir=out     train, or go on with --init=...
"""

import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from biasjax import usage
from biasjax.errors import BiasjaxError

flags.DEFINE_list("models", None, "Names, 'patterns*', folders or files of checkpoints, comma-separated.")
flags.DEFINE_list("probes", ["accuracy", "spectral"], "What to ask, comma-separated.")
flags.DEFINE_list(
  "dataset",
  None,
  "[NAME=]BENCHMARK[:PATH], [NAME=]KIND:PATH (folder, cue_conflict, categories16) or "
  "[NAME=]tfds:DATASET[@SPLIT]; a list.",
)
flags.DEFINE_string("data_dir", None, "Where TFDS datasets were prepared.")
flags.DEFINE_string(
  "manual_dir", None, "Where archives or folders of benchmarks lie as they are distributed."
)
flags.DEFINE_string("prepare", None, "Prepare this benchmark from --manual_dir into --data_dir.")
flags.DEFINE_integer("limit", None, "A class-balanced subset of so many images.", lower_bound=1)
flags.DEFINE_boolean("allow_incomplete", False, "Use a dataset that is not what its authors published.")
flags.DEFINE_enum("preprocess", "paper", ["paper", "native"], "How images are resized: see docs/datasets.md.")
flags.DEFINE_string("workdir", "out", "Where observations and tables go; start again to go on.")
flags.DEFINE_string("batch_size", "64", "Images that each device sees at a time, or auto: found by trying.")
flags.DEFINE_integer(
  "chunk_size",
  None,
  "Images whose observations are written together; by default 256, or four batches of all devices.",
  lower_bound=1,
)
flags.DEFINE_enum(
  "precision", "float32", ["float32", "tensorfloat32", "bfloat16"], "Of the networks' products."
)
flags.DEFINE_enum("partitioner", "shard_map", ["shard_map", "pmap"], "How a batch is split over devices.")
flags.DEFINE_string("shard", None, "NUMBER/COUNT: this is one element of a job array, 1/8 to 8/8, say.")
flags.DEFINE_boolean(
  "distributed", None, "One of several processes that run together; found out on TPU pods and SLURM."
)
flags.DEFINE_string("coordinator", None, "HOST:PORT of the first of them, elsewhere.")
flags.DEFINE_integer("num_processes", None, "How many there are, elsewhere.", lower_bound=1)
flags.DEFINE_integer("process_id", None, "Which one this is, from 0, elsewhere.", lower_bound=0)
flags.DEFINE_enum(
  "list",
  None,
  list(usage.LISTS),
  "What there is: of what --models or --dataset name; conditions of --probes.",
)
flags.DEFINE_boolean("dry_run", False, "Say what would be computed, and how long it would take.")
flags.DEFINE_boolean("benchmark", False, "Measure this machine: rates, compile times, memory.")
flags.DEFINE_string("profile", None, "A folder for a trace of JAX' profiler; run few images with it.")
flags.DEFINE_boolean("tune_cpu", True, "Set options of XLA that were measured to be faster on CPUs.")
flags.DEFINE_integer("seed", 0, "Of all noise and resampling.", lower_bound=0)
flags.DEFINE_integer(
  "keep_adversarial", 0, "Of so many of the first images, keep what attacks made of them.", lower_bound=0
)
flags.DEFINE_boolean("offline", False, "Never download a checkpoint.")
flags.DEFINE_boolean("summarise", False, "Make the tables of --workdir again from its observations.")
flags.DEFINE_string("trials", None, "CSV files of decisions about cue-conflict stimuli, a pattern.")
flags.DEFINE_string("table", None, "Study this CSV of results (a row for each model) instead of probing.")
flags.DEFINE_string("categories", None, 'JSON: {"category": ["model", ...]}, which models are alike.')
flags.DEFINE_string("compare", None, "A published CSV: how far --table is from it.")
flags.DEFINE_string("output", "study", "Where the study goes.")
flags.DEFINE_string("init", None, "The network that training goes on from, as --models names one.")
config_flags.DEFINE_config_file("config", None, "A file whose get_config() sets any of these flags.")

SETTINGS = (
  *("models", "probes", "dataset", "data_dir", "workdir", "batch_size", "chunk_size", "seed", "offline"),
  *("manual_dir", "prepare", "limit", "allow_incomplete", "preprocess"),
  *("precision", "partitioner", "shard", "distributed", "coordinator", "num_processes", "process_id"),
  *("dry_run", "benchmark", "profile", "tune_cpu", "keep_adversarial"),
  *("list", "summarise", "trials", "table", "categories", "compare", "output", "init"),
)

SECTIONS = ("study", "train", "sweep")  # of a config, beside flags


def settings(values: flags.FlagValues) -> dict:
  """What was asked: the command line before the config before the defaults.

  A config may hold sections beside flags, `SECTIONS`.

  Raises:
    BiasjaxError: the config is not there, or sets something that is no flag.
  """
  try:
    config = values.config.to_dict() if values.config else {}
  except OSError as error:
    raise BiasjaxError(f"--config cannot be loaded: {' '.join(str(error).split())}") from error
  sections = {name: config.pop(name, None) for name in SECTIONS}
  unknown = sorted(set(config) - set(SETTINGS))
  if unknown:
    raise BiasjaxError(f"--config sets {unknown[0]!r}, which is none of {', '.join(SETTINGS)}")
  asked = {n: config[n] if n in config and not values[n].present else values[n].value for n in SETTINGS}
  return asked | sections


def run(asked: dict) -> int:
  """Does what was asked; returns the exit status.

  Raises:
    BiasjaxError: a mistake in what was asked, or storage failed.
  """
  # Each command imports what it needs: JAX takes seconds to start; a misspelt flag should not wait for it.
  if asked["list"]:
    print(usage.listing(asked["list"], asked))
    return 0
  if asked["train"] or asked["sweep"]:
    return train_networks(asked)
  if asked["table"] or asked["study"]:
    return study_table(asked)
  if asked["trials"]:
    return score_trials(asked)
  if asked["prepare"]:
    return prepare(asked)
  from biasjax import launch

  xla_flags = launch.tune_cpu() if asked["tune_cpu"] else ""
  from biasjax import commands, results

  if asked["summarise"]:
    return commands.tables(results.Store(asked["workdir"]))
  command = commands.measure
  if asked["benchmark"]:
    command = commands.benchmark_machine
  elif asked["dry_run"]:
    command = commands.dry_run
  return command(asked | {"xla_flags": xla_flags})


def study_table(asked: dict) -> int:
  """Studies a table; by the published definitions where the config gives none."""
  from biasjax.report import command
  from configs import study

  return command.run(asked | {"study": asked["study"] or study.get_config().to_dict()["study"]})


def train_networks(asked: dict) -> int:
  """Trains one network; or a family of them, which is then measured and studied."""
  if asked["sweep"]:
    from biasjax import sweep

    return sweep.run(asked)
  from biasjax.train import command

  return command.run(asked)


def score_trials(asked: dict) -> int:
  """Scores recorded decisions, writes the tables, prints the main one."""
  from biasjax import scoring

  print(scoring.score_trials(asked["trials"], asked["workdir"]))
  print(f"{asked['workdir']}: trials.csv, error_consistency.csv (people.csv, ...)")
  return 0


def prepare(asked: dict) -> int:
  """Prepares a benchmark; started again, it goes on."""
  from biasjax.data import builders

  allow = asked["allow_incomplete"]
  folder = builders.prepare(asked["prepare"], asked["manual_dir"], asked["data_dir"], allow_incomplete=allow)
  print(f"{asked['prepare']} is prepared: {folder}")
  return 0


def main(argv: list[str]) -> int:
  """Runs what the flags ask; a user's mistake is one line and exit status 1."""
  try:
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # Orbax turns it up when it is imported
    if len(argv) > 1:
      raise BiasjaxError(f"unexpected argument {argv[1]!r}: everything is a flag, see python run.py --help")
    return run(settings(flags.FLAGS))
  except BiasjaxError as error:
    print(f"run.py: error: {error}", file=sys.stderr)
    return 1


def parse_flags(argv: list[str]) -> list[str]:
  """absl's parsing, with a mistake said in one line, and --help on one page."""
  if {"-h", "-help", "--help"} & set(argv[1:]):
    print(usage.page(__doc__ or "", flags.FLAGS))
    sys.exit(0)
  try:
    return flags.FLAGS([_installed(argument) for argument in argv])
  except flags.Error as error:
    message = f"{' '.join(str(error).split())} (see python run.py --help)"
  except Exception as error:  # parsing runs the user's --config, which may raise anything
    message = f"--config cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}"
  print(f"run.py: error: {message}", file=sys.stderr)
  sys.exit(1)


def _installed(argument: str) -> str:
  """--config=configs/NAME.py of this project is found from any folder."""
  flag, _, path = argument.partition("=")
  here = pathlib.Path(__file__).with_name("configs") / pathlib.Path(path).name
  named = flag.strip("-") == "config" and pathlib.Path(path).parent.name == "configs"
  return f"{flag}={here}" if named and not pathlib.Path(path).exists() and here.exists() else argument


def console() -> None:
  """The command `biasjax`."""
  app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
  console()
