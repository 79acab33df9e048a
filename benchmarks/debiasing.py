"""Debiasing with the small networks that it was published with: is it the network, or the method?

python -m biasjax.data.builders.colored_mnist --output=worlds/digits --digits=mnist_5k.csv.gz
python -m benchmarks.debiasing --world=worlds/digits --network=perceptron --rhos=0.95,0.98 --output=digits.csv
python -m benchmarks.debiasing --world=worlds/digits --network=resnet --rhos=0.95,0.98 --output=resnet.csv
python -m biasjax.data.builders.synthetic_biased --output=worlds/hue32 --size=32 --rho=0.95,0.125
python -m benchmarks.debiasing --world=worlds/hue32 --network=strided --rhos=0.95 --output=hue.csv
python -m biasjax.data.builders.synthetic_biased --output=worlds/tint32 --size=32 --rho=0.95 --cue=tint
python -m benchmarks.debiasing --world=worlds/tint32 --network=strided --rhos=0.95 --output=tint.csv
python -m biasjax.data.builders.synthetic_biased --output=worlds/mark32 --size=32 --rho=0.95 --cue=watermark
python -m benchmarks.debiasing --world=worlds/mark32 --network=strided --rhos=0.95 --output=mark.csv

`perceptron` is Colored MNIST's network of Nam et al. (2020): three layers of 100. `strided` has three
convolutions of 5 x 5 with a stride of 2, and a mean over positions. `resnet` is a ResNet-10 of width 8.
Recipes are fixed: Adam at 0.001 (ResNet: 0.002) along a cosine, no decay, no smoothing, the last step's
network; digits in batches of 200 for 30 epochs (ResNet: 256 for 31), the drawn world in batches of 64 for 20.
With five times the pictures (`--per_class=1000 --rho=0.95,0.99`) a network
takes ten to twenty minutes of a core. A training is the trainer's (`biasjax.train.loop`), with its
interventions. Networks of an --output are not trained again.
"""

import dataclasses
import pathlib
import tempfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import pandas as pd
from absl import app, flags

import biasjax
from biasjax.data import opening
from biasjax.models.resnet import ResNet
from biasjax.partition import Partition
from biasjax.train import batches, command, given, interventions, loop, step

WORLD = flags.DEFINE_string("world", None, "Folder of a biased world.", required=True)
NETWORK = flags.DEFINE_enum("network", "perceptron", ["perceptron", "strided", "resnet"], "What is trained.")
RHOS = flags.DEFINE_list("rhos", ["0.95", "0.98"], "Shares of training pictures whose cue is their class'.")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Of initialisation and order.")
OUTPUT = flags.DEFINE_string("output", None, "CSV, a row for each network.", required=True)
METHODS = flags.DEFINE_list("methods", None, "Of those below; all by default.")
SPECS = {
  "plain": "none",
  "lff": "lff=1",
  "greedy": "greedy=1",
  "end": "end=1",
  "end10": "end:beta=10=1",
  "reweighted": "reweighted=1",
  "balanced_logits": "balanced_logits=1",
}
SPLITS = ("aligned", "conflicting", "unbiased")
# Images of a step, epochs, learning rate.
RECIPES = {"perceptron": (200, 30, 0.001), "strided": (64, 20, 0.001), "resnet": (256, 31, 0.002)}


class Perceptron(nn.Module):
  """Images [b, h, w, 3] to logits [b, classes] by three layers of 100."""

  classes: int

  @nn.compact
  def __call__(self, x, train: bool = False):
    x = x.reshape(len(x), -1)
    for _ in range(3):
      x = nn.relu(nn.Dense(100)(x))
    self.sow("intermediates", "features", x)
    return nn.Dense(self.classes)(x)


class Strided(nn.Module):
  """Images [b, h, w, 3] to logits [b, classes] by three convolutions of 5 x 5 and a mean over positions."""

  classes: int

  @nn.compact
  def __call__(self, x, train: bool = False):
    for width in (32, 64, 128):
      x = nn.relu(nn.Conv(width, (5, 5), strides=2)(x))
    x = x.mean((1, 2))
    self.sow("intermediates", "features", x)
    return nn.Dense(self.classes)(x)


def resnet(classes: int) -> ResNet:
  """The ResNet-10 of width 8."""
  return ResNet(
    dataclasses.replace(command.ARCHITECTURES["resnet10"], width=8, inner_width=8, num_classes=classes)
  )


def train(
  network: nn.Module, spec: str, world: str, rho: str, seed: int, batch_size: int, epochs: int, rate: float
):
  """The variables of a trained network."""
  source = opening.open_dataset(f"biased:{world}/train_{rho}")
  acting = interventions.parse(spec)
  recipe = step.Recipe(
    architecture=resnet(source.own_classes).architecture,
    interventions=acting,
    steps=epochs * batches.steps_per_epoch(source, batch_size),
    warmup_steps=0,
    learning_rate=rate,
    momentum=0.9,
    weight_decay=0.0,
    label_smoothing=0.0,
    average_decay=0.0,
    seed=seed,
    optimizer="adam",
    network=None if isinstance(network, ResNet) else network,
  )
  columns, _ = given.columns(source, next(iter(acting), None), f"{world}/train_{rho}.csv")
  like = jnp.zeros((1, source.crop, source.crop, 3))

  def initial(member: int):
    if recipe.network is None:
      return command.initial_variables(recipe, None, member)
    return {"params": network.init(jax.random.key(1000 * seed + member), like)["params"], "batch_stats": {}}

  first, *others = map(initial, range(recipe.objective.members))
  with tempfile.TemporaryDirectory() as states:
    (trained, *_), _ = loop.train(
      recipe,
      first,
      source,
      loop.States(pathlib.Path(states), {}, 1),
      Partition("shard_map", jax.devices()[:1]),
      batch_size=batch_size,
      save_every=recipe.steps,
      keep_every=0,
      keep=lambda at, variables: None,
      others=others,
      columns=recipe.objective.prepare(columns, source.own_classes),
    )
  return trained


def measured(network: nn.Module, variables, shown: dict[str, biasjax.Images]) -> dict[str, float]:
  """Accuracy on each split, and the cue share on the conflicting one; per cent."""
  found = {}
  for split, images in shown.items():
    metrics = biasjax.measure(network.apply, variables, images, probes="accuracy", progress=False).metrics
    found[split] = metrics.loc[f"top1_acc/{split}", "value"]
    if split == "conflicting":
      found["cue_share"] = metrics.loc[f"cue_share/{split}", "value"]
  return found


def main(argv):
  del argv
  batch_size, epochs, rate = RECIPES[NETWORK.value]
  shown = {split: biasjax.images(f"{split}=biased:{WORLD.value}/{split}") for split in SPLITS}
  networks = {"perceptron": Perceptron, "strided": Strided, "resnet": resnet}
  network = networks[NETWORK.value](shown["aligned"].own_classes)
  output = pathlib.Path(OUTPUT.value)
  rows = pd.read_csv(output, dtype={"rho": str}).to_dict("records") if output.exists() else []
  done = {(row["method"], row["rho"], row["seed"]) for row in rows}
  wanted = [(m, r, int(s)) for r in RHOS.value for m in METHODS.value or SPECS for s in SEEDS.value]
  for method, rho, seed in wanted:
    if (method, rho, seed) not in done:
      variables = train(network, SPECS[method], WORLD.value, rho, seed, batch_size, epochs, rate)
      rows.append({"method": method, "rho": rho, "seed": seed} | measured(network, variables, shown))
      pd.DataFrame(rows).to_csv(output, index=False, float_format="%.2f")
  table = pd.DataFrame(rows).drop(columns="seed").groupby(["rho", "method"], sort=False)
  print(table.agg(["mean", "min", "max"]).round(1).to_string())


if __name__ == "__main__":
  app.run(main)
