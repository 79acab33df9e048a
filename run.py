"""Measures how image classifiers are biased, and studies whether that explains how they generalise.

python run.py --models=... --probes=... --dataset=... --workdir=out     measure; started again, it goes on
python run.py --summarise --workdir=out                                 the tables again, from what is stored
python run.py --trials='dir/*.csv' --workdir=out                        shape bias of recorded decisions
python run.py --table=out/results.csv --categories=... --output=study   study many models
python run.py --config=configs/train.py --dataset=... --workdir=out     train, or go on with --init=...
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from biasjax.errors import BiasjaxError

DECODING_EXIT_CODE = 3

flags.DEFINE_list("models", None, "Names, 'patterns*', folders or files of checkpoints, comma-separated.")
flags.DEFINE_list("probes", ["accuracy", "spectral"], "What to ask, comma-separated.")
flags.DEFINE_list(
  "dataset",
  None,
  "[NAME=]KIND:PATH (KIND: folder, cue_conflict, categories16) or [NAME=]tfds:DATASET[@SPLIT]; a list.",
)
flags.DEFINE_string("data_dir", None, "Where TFDS datasets were prepared.")
flags.DEFINE_string("workdir", "out", "Where observations and tables go; start again to go on.")
flags.DEFINE_integer("batch_size", 64, "Images that the device sees at a time.", lower_bound=1)
flags.DEFINE_integer("chunk_size", 256, "Images whose observations are written together.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of all noise and resampling.", lower_bound=0)
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
  *("summarise", "trials", "table", "categories", "compare", "output", "init"),
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
  if asked["train"] or asked["sweep"]:
    return train_networks(asked)
  if asked["table"] or asked["study"]:
    return study_table(asked)
  if asked["trials"]:
    return score_trials(asked)
  from biasjax import probes, results

  store = results.Store(asked["workdir"]) if asked["summarise"] else probe_models(asked)
  summary = results.summarise(store, probes.get)
  results.write_tables(store, summary)
  print(results.text_table(summary.metrics))
  print(f"{store.workdir}: results.csv, metrics.csv (with intervals), observations/")
  for sentence in summary.incomplete:
    print(f"run.py: {sentence}", file=sys.stderr)
  return _report_excluded(summary.excluded)


def study_table(asked: dict) -> int:
  """Studies a table; by the published definitions where the config gives none."""
  from biasjax.report import command
  from configs import study

  return command.run(asked | {"study": asked["study"] or study.get_config().to_dict()["study"]})


def train_networks(asked: dict) -> int:
  """Trains one network, or a family of them."""
  from biasjax.train import command

  return command.run(asked)


def score_trials(asked: dict) -> int:
  """Scores recorded decisions, writes the tables, prints the main one."""
  from biasjax import results

  print(results.score_trials(asked["trials"], asked["workdir"]))
  print(f"{asked['workdir']}: trials.csv, error_consistency.csv")
  return 0


def probe_models(asked: dict):
  """Computes what is missing of what was asked; returns the store."""
  for name in ("models", "dataset"):
    if not asked[name]:
      raise BiasjaxError(f"--{name} is needed: see python run.py --help")
  import convert
  from biasjax import evaluate, probes, results
  from biasjax.data import sources
  from biasjax.models.load import load

  names = list(dict.fromkeys(asked["probes"]))
  for name in names:
    probes.get(name)
  sources_ = [sources.open_source(spec, asked["data_dir"]) for spec in asked["dataset"]]
  _refuse_repeated("--dataset", [source.name for source in sources_])
  planned = probes.plan(names, sources_)
  models = [load(folder) for folder in convert.resolve(asked["models"], offline=asked["offline"])]
  _refuse_repeated("--models", [model.name for model in models])
  store = results.Store(asked["workdir"], asked["chunk_size"])
  for source in sources_:
    settings = evaluate.Settings(batch_size=asked["batch_size"], seed=asked["seed"])
    evaluate.evaluate(models, planned[source.name], source, store, settings)
  return store


def _refuse_repeated(flag: str, names: list[str]) -> None:
  repeated = sorted({name for name in names if names.count(name) > 1})
  if repeated:
    raise BiasjaxError(f"{flag}: {repeated[0]!r} is named twice; tables tell them apart by name")


def _report_excluded(excluded: dict[str, dict[str, str]]) -> int:
  for dataset, images in excluded.items():
    for image, reason in sorted(images.items()):
      print(f"run.py: {dataset}: {image} is excluded from all conditions: {reason}", file=sys.stderr)
    print(f"run.py: {dataset}: {len(images)} image(s) excluded, see excluded.csv", file=sys.stderr)
  return DECODING_EXIT_CODE if excluded else 0


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
  """absl's parsing, with a mistake said in one line."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    message = f"{' '.join(str(error).split())} (see python run.py --help)"
  except Exception as error:  # parsing runs the user's --config, which may raise anything
    message = f"--config cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}"
  print(f"run.py: error: {message}", file=sys.stderr)
  sys.exit(1)


if __name__ == "__main__":
  app.run(main, flags_parser=parse_flags)
