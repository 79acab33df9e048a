"""Trains the bundled zoo again: python -m demo.make_zoo --workdir=zoo_training [--only=baseline_seed0,...]

Each network is what its command in demo/zoo/<name>/settings.json trains; this does them all in one process,
goes on where it was stopped, and copies weights, settings, log and certificate into demo/zoo. About an hour
on four cores.
"""

import csv
import json
import pathlib
import shutil

from absl import app, flags

from biasjax.data import sources
from biasjax.data.builders import synthetic_conflict
from biasjax.train import command
from configs import train as config

ZOO = pathlib.Path(__file__).with_name("zoo")
PLAIN = "flip=0.5"
# name -> category, interventions, seed. The study takes networks of one category for near-duplicates.
NETWORKS = {
  "baseline_seed0": ("baseline", PLAIN, 0),
  "baseline_seed1": ("baseline", PLAIN, 1),
  "stylised_seed0": ("stylised", f"{PLAIN}+stylised=0.75", 0),
  "stylised_seed1": ("stylised", f"{PLAIN}+stylised=0.75", 1),
  "low_pass": ("filtered", f"{PLAIN}+low_pass=1", 0),
  "high_pass": ("filtered", f"{PLAIN}+high_pass=1", 0),
  "gaussian_noise": ("noise", f"{PLAIN}+gaussian_noise=0.3", 0),
  "patch_shuffle": ("scrambled", f"{PLAIN}+patch_shuffle=1", 0),
  "linf_eps2": ("adversarial_training", f"{PLAIN}+linf_adversarial:steps=2=2", 0),
  "mixup": ("mixing", f"{PLAIN}+mixup=0.4", 0),
  "frozen_filters": ("freezing", f"{PLAIN}+frozen_filters=1", 0),
}
ROWS = 20  # steps that a row of the brief log averages


def make(name: str, source: sources.Source, workdir: pathlib.Path) -> None:
  """Trains one network, or goes on with it, and copies it into the zoo."""
  _, interventions, seed = NETWORKS[name]
  defaults = config.get_config().to_dict()
  settings = command.parse(defaults["train"] | {"name": name, "interventions": interventions})
  asked = {"init": None, "offline": True, "seed": seed, "batch_size": defaults["batch_size"]}
  asked |= {"workdir": str(workdir), "partitioner": "shard_map"}
  folder, log = command.train(settings, source, asked)
  place = ZOO / name
  place.mkdir(parents=True, exist_ok=True)
  shutil.copy(workdir / name / f"{name}.safetensors", place)
  shutil.copy(pathlib.Path(folder) / "certificate.json", place)
  identity = json.loads((workdir / name / "settings.json").read_text())
  flag = "python run.py --config=configs/train.py --data_dir=data --workdir=trained"
  identity["command"] = (
    f"{flag} --seed={seed} --config.train.name={name} --config.train.interventions={interventions}"
  )
  (place / "settings.json").write_text(json.dumps(identity, indent=1, sort_keys=True) + "\n")
  with open(place / "log.csv", "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["step", "loss", "accuracy"])
    for first in range(0, len(log), ROWS):
      rows = log[first : first + ROWS]
      means = (sum(values) / len(rows) for values in zip(*rows, strict=True))
      writer.writerow([first + len(rows), *(f"{mean:.4f}" for mean in means)])
  print(f"{name}: {len(log)} steps, {place}", flush=True)


def main(argv: list[str]) -> None:
  """Trains what the flags ask for."""
  del argv
  workdir = pathlib.Path(flags.FLAGS.workdir)
  data = synthetic_conflict.prepare(str(workdir / "data"))
  source = sources.open_source(f"tfds:{data}@train")
  for name in flags.FLAGS.only or NETWORKS:
    make(name, source, workdir)
  categories: dict[str, list[str]] = {}
  for name, (category, _, _) in NETWORKS.items():
    if (ZOO / name).exists():
      categories.setdefault(category, []).append(name)
  (ZOO / "categories.json").write_text(json.dumps(categories, indent=1) + "\n")


if __name__ == "__main__":
  flags.DEFINE_string("workdir", "zoo_training", "Where training goes on; start again to go on.")
  flags.DEFINE_list("only", None, f"Some of {', '.join(NETWORKS)}.")
  app.run(main)
