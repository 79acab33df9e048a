"""Probes models and prints their biases.

python run.py --models=... --probes=... --dataset=... --workdir=...
python run.py --config=configs/study.py --table=results.csv --categories=categories.json --output=study/
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from biasjax.errors import BiasjaxError

DECODING_EXIT_CODE = 3

flags.DEFINE_list("models", None, "Converted checkpoints (folders), comma-separated.")
flags.DEFINE_list("probes", ["accuracy", "spectral"], "What to ask, comma-separated.")
flags.DEFINE_list("dataset", None, "[NAME=]folder:PATH or [NAME=]tfds:DATASET[@SPLIT], comma-separated.")
flags.DEFINE_string("data_dir", None, "Where TFDS datasets were prepared.")
flags.DEFINE_string("workdir", "out", "Where observations and tables go; start again to go on.")
flags.DEFINE_integer("batch_size", 64, "Images that the device sees at a time.", lower_bound=1)
flags.DEFINE_integer("chunk_size", 512, "Images whose observations are written together.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of all noise.", lower_bound=0)
flags.DEFINE_string("table", None, "Study this CSV of results (a row for each model) instead of probing.")
flags.DEFINE_string("categories", None, 'JSON: {"category": ["model", ...]}, which models are alike.')
flags.DEFINE_string("compare", None, "A published CSV: how far --table is from it.")
flags.DEFINE_string("output", "study", "Where the study goes.")
config_flags.DEFINE_config_file("config", None, "A file whose get_config() sets any of these flags.")

SETTINGS = ("models", "probes", "dataset", "data_dir", "workdir", "batch_size", "chunk_size", "seed")
SETTINGS += ("table", "categories", "compare", "output")


def settings(values: flags.FlagValues) -> dict:
  """What was asked: the command line before the config before the defaults.

  A config may hold definitions of a study beside flags, under `study`.

  Raises:
    BiasjaxError: the config sets something that is no flag.
  """
  config = values.config.to_dict() if values.config else {}
  study = config.pop("study", None)
  unknown = sorted(set(config) - set(SETTINGS))
  if unknown:
    raise BiasjaxError(f"--config sets {unknown[0]!r}, which is none of {', '.join(SETTINGS)}")
  asked = {n: config[n] if n in config and not values[n].present else values[n].value for n in SETTINGS}
  return asked | {"study": study}


def run(asked: dict) -> int:
  """Probes, writes the tables, prints the main one; returns the exit status.

  Raises:
    BiasjaxError: a mistake in what was asked, or storage failed.
  """
  if asked["table"] or asked["study"]:
    return _study(asked)
  for name in ("models", "dataset"):
    if not asked[name]:
      raise BiasjaxError(f"--{name} is needed: see python run.py --help")
  # Imported late: JAX takes seconds to start, and a misspelt flag should not have to wait for it.
  from biasjax.models.load import load

  from biasjax import evaluate, probes, results
  from biasjax.data import sources

  names = list(dict.fromkeys(asked["probes"]))
  needed = dict.fromkeys(need for name in names for need in (*probes.get(name).needs, name))
  sources_ = [sources.open_source(spec, asked["data_dir"]) for spec in asked["dataset"]]
  models = [load(spec) for spec in asked["models"]]
  _refuse_repeated("--models", [model.name for model in models])
  _refuse_repeated("--dataset", [source.name for source in sources_])
  store = results.Store(asked["workdir"], asked["chunk_size"])
  for source in sources_:
    evaluate.evaluate(
      models,
      [probes.get(name) for name in needed],
      source,
      store,
      batch_size=asked["batch_size"],
      seed=asked["seed"],
    )
  summary = results.summarise(store, probes.get)
  results.write_tables(store, summary)
  print(results.text_table(summary.metrics))
  print(f"{store.workdir}: results.csv, metrics.csv (with intervals), observations/")
  for sentence in summary.incomplete:
    print(f"run.py: {sentence}", file=sys.stderr)
  return _report_excluded(summary.excluded)


def _study(asked: dict) -> int:
  """Studies a table; by the published definitions where the config gives none."""
  from biasjax.report import command
  from configs import study

  return command.run(asked | {"study": asked["study"] or study.get_config().to_dict()["study"]})


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
    print(f"run.py: error: {' '.join(str(error).split())} (see python run.py --help)", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  app.run(main, flags_parser=parse_flags)
