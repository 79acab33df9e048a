"""Trains the bundled networks: narrow ResNet-50s on the drawn pictures, each under one intervention.

python -m demo.make_zoo --workdir=DIR [--only=NAME,...]
python -m demo.make_zoo --workdir=DIR --further     those that are measured in docs/interventions.md only

Half an hour on two cores, each of the two. Each network leaves demo/zoo/NAME.safetensors, under torchvision's
names, and demo/zoo/NAME.json: the command that made it, what it depends on, its training in brief, its
certificate. Further ones stay converted in DIR/models. Started again after a kill, it goes on.
"""

import csv
import json
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys

from absl import app, flags

from biasjax.configuration import load

PLAIN = load("miniature").PLAIN

ZOO = pathlib.Path(__file__).parent / "zoo"
INTERVENTIONS = {
  "baseline": PLAIN,
  "stylised": f"{PLAIN}+stylised=0.5",
  "patch_shuffle": f"{PLAIN}+patch_shuffle=0.5",
  "gaussian_noise": f"{PLAIN}+gaussian_noise=0.4",
  "low_pass": f"{PLAIN}+low_pass=0.5",
  "high_pass": f"{PLAIN}+high_pass=0.5",
  "augmix": f"{PLAIN}+augmix=1",
  "linf_adversarial": f"{PLAIN}+linf_adversarial:steps=1=2",
}
# Not bundled. The last three show what each part of PLAIN does, by its absence.
FURTHER = {
  "uniform_noise": f"{PLAIN}+uniform_noise=0.7",
  "band_noise": f"{PLAIN}+band_noise=0.4",
  "diffusion_noise": f"{PLAIN}+diffusion_noise=0.5",
  "mixup": f"{PLAIN}+mixup=1",
  "cutmix": f"{PLAIN}+cutmix=1",
  "random_crop": f"{PLAIN}+random_crop=0.75",
  "l2_adversarial": f"{PLAIN}+l2_adversarial:steps=1=0.5",
  "frozen_filters": f"{PLAIN}+frozen_filters=1",
  "without_flip": "greyscale=0.2+contrast=0.8",
  "without_greyscale": "flip=0.5+contrast=0.8",
  "without_contrast": "flip=0.5+greyscale=0.2",
}
SEEDS = {"baseline": (0, 1, 2), "stylised": (0, 1)}  # one seed for the others
EPOCHS = 15  # 1,200 steps
EVERY = 80  # steps that a line of the brief log sums up: an epoch


def names() -> dict[str, list[str]]:
  """The networks of each intervention."""
  return {kind: [f"{kind}_seed{seed}" for seed in SEEDS.get(kind, (0,))] for kind in INTERVENTIONS}


def train(name: str, workdir: pathlib.Path) -> list[str]:
  """Trains one network; returns the command."""
  kind, seed = name.rsplit("_seed", 1)
  command = [
    "run.py",
    "--config=configs/train.py",
    f"--seed={seed}",
    f"--config.train.name={name}",
    f"--config.train.interventions={(INTERVENTIONS | FURTHER)[kind]}",
    f"--config.train.epochs={EPOCHS}",
    f"--data_dir={workdir / 'data'}",
    f"--workdir={workdir}",
  ]
  subprocess.run([sys.executable, *command], check=True)
  return command


def bundle(name: str, command: list[str], workdir: pathlib.Path) -> None:
  """Puts a trained network and its record into the zoo."""
  with open(workdir / name / "log.csv") as file:
    steps = list(csv.DictReader(file))
  brief = [
    {
      "step": first + len(epoch),
      **{key: round(statistics.fmean(float(row[key]) for row in epoch), 4) for key in ("loss", "accuracy")},
    }
    for first in range(0, len(steps), EVERY)
    for epoch in [steps[first : first + EVERY]]
  ]
  record = {
    # Where the pictures and the training lay on the machine says nothing.
    "command": shlex.join(["python", *command[:-2], "--data_dir=DIR", "--workdir=DIR"]),
    "made_from": json.loads((workdir / name / "settings.json").read_text()),
    "log": brief,
    "certificate": json.loads((workdir / "models" / name / "certificate.json").read_text()),
  }
  shutil.copyfile(workdir / name / f"{name}.safetensors", ZOO / f"{name}.safetensors")
  (ZOO / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def main(argv: list[str]) -> None:
  """Trains what was asked, and bundles what is bundled."""
  del argv
  workdir = pathlib.Path(flags.FLAGS.workdir)
  ZOO.mkdir(exist_ok=True)
  builder = "biasjax.data.builders.synthetic_conflict"
  subprocess.run([sys.executable, "-m", builder, f"--data_dir={workdir / 'data'}"], check=True)
  bundled = [name for of_kind in names().values() for name in of_kind]
  for network in [f"{kind}_seed0" for kind in FURTHER] if flags.FLAGS.further else bundled:
    if network in (flags.FLAGS.only or [network]):
      command = train(network, workdir)
      if network in bundled:
        bundle(network, command, workdir)
  (ZOO / "categories.json").write_text(json.dumps(names(), indent=1) + "\n")


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "Where the drawn pictures and the trainings go.", required=True)
  flags.DEFINE_list("only", [], "Not all, but these.")
  flags.DEFINE_bool("further", False, "Train those that are not bundled.")
  app.run(main)
