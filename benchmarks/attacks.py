"""Seconds an image of PGD-40 and of AutoAttack, against foolbox and against the authors' package.

python -m benchmarks.attacks --images=FOLDER --checkpoint=FILE.pth [--count=4] [--output=FILE.json]
python -m benchmarks.attacks --images=FOLDER --networks=FOLDER     AutoAttack, on two small networks

PGD-40 within 4/255 on a checkpoint of one of torchvision's ResNets, photographs of 224 pixels: biasjax,
foolbox on PyTorch (parameters frozen, also channels-last) and foolbox on JAX (the network compiled).
AutoAttack "standard" on networks of 32 pixels. All take turns within one run, since machines are shared; the
ratio of the medians is what to quote. Compiling is not counted. Needs requirements-dev.txt.
"""

import contextlib
import io
import json
import pathlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags

from benchmarks import small_networks
from biasjax import partition, probes
from biasjax.convert import conversion
from biasjax.engine.programs import logits_step
from biasjax.models.load import Model, easing, load
from biasjax.probes.base import Victim
from biasjax.probes.decisions import every_class
from tests import cpu_torchvision

with warnings.catch_warnings():  # it imports names that scipy is about to rename
  warnings.simplefilter("ignore", DeprecationWarning)
  import foolbox
  from foolbox.models.jax import JAXModel

IMAGES = flags.DEFINE_string("images", None, "A folder of class folders of photographs.", required=True)
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A ResNet in PyTorch's format, for PGD.")
NETWORK = flags.DEFINE_string("network", "resnet18", "What torchvision calls it.")
NETWORKS = flags.DEFINE_string("networks", None, "Where small trained networks are kept, for AutoAttack.")
COUNT = flags.DEFINE_integer("count", 4, "Photographs for PGD: the batch.", lower_bound=1)
SMALL_COUNT = flags.DEFINE_integer("small_count", 64, "Photographs for AutoAttack.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 40, "Of PGD.", lower_bound=1)
QUERIES = flags.DEFINE_integer("queries", 5000, "Of Square, for both.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 2, "Turns that each takes.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Where to write the figures as JSON.")

EPS = 4 / 255
SMALL_EPS = {"standard": 2.0, "robust": 8.0}  # 1/255


def channels_first(images: np.ndarray) -> torch.Tensor:
  return torch.from_numpy(np.moveaxis(images, -1, 1).copy())


def ours(name: str, model: Model, images: np.ndarray, labels: np.ndarray) -> Callable[[], np.ndarray]:
  """Which images withstand the probe, by a call."""
  probe, split = probes.get(name), partition.of_process()
  logits, variables = logits_step(model.apply, "float32"), split.share(model.variables)
  victim = Victim(logits, every_class, variables, split, easing(model.architecture))
  keys = split.put(np.asarray(jax.random.key_data(jax.random.split(jax.random.key(0), len(images)))))
  batch = split.put((images, labels.astype(np.int32)[:, None]))

  def run() -> np.ndarray:
    ((_, attacked),) = probe.attack(victim, lambda _: keys, *batch)
    return np.asarray(attacked.columns["broken_by"] == "")

  return run


def by_foolbox(model, images, labels) -> Callable[[], np.ndarray]:
  attack = foolbox.attacks.LinfPGD(abs_stepsize=2 / 255, steps=STEPS.value)

  def run() -> np.ndarray:
    _, _, broken = attack(model, images, labels, epsilons=EPS)
    return ~np.asarray(broken)

  return run


def by_autoattack(model: torch.nn.Module, eps: float, images, labels) -> Callable[[], np.ndarray]:
  from pyautoattack import AutoAttack

  x, y = channels_first(images), torch.from_numpy(labels)

  def run() -> np.ndarray:
    torch.manual_seed(0)
    attack = AutoAttack(model, norm="Linf", eps=eps, seed=0, version="standard", device="cpu")
    attack.square.n_queries = QUERIES.value
    with contextlib.redirect_stdout(io.StringIO()):
      found = attack.run_standard_evaluation(x, y, batch_size=len(x))
    found = found[0] if isinstance(found, tuple) else found
    return (model(found).argmax(1) == y).numpy()

  return run


def take_turns(ways: dict[str, Callable[[], np.ndarray]], count: int) -> dict:
  """Seconds an image and how many withstood, for each way."""
  times: dict[str, list[float]] = {name: [] for name in ways}
  withstood = {
    name: int(run().sum()) for name, run in ways.items() if name.startswith(("biasjax", "foolbox, JAX"))
  }
  for _ in range(ROUNDS.value):
    for name, run in ways.items():
      started = time.perf_counter()
      withstood[name] = int(run().sum())
      times[name].append((time.perf_counter() - started) / count)
  medians = {name: statistics.median(values) for name, values in times.items()}
  ratios = {name: medians[name] / medians["biasjax"] for name in ways}
  return {"seconds_an_image": medians, "all": times, "over_biasjax": ratios, "withstood": withstood}


def measure_pgd() -> dict:
  images = small_networks.photographs(IMAGES.value, 224)[0][: COUNT.value]
  with tempfile.TemporaryDirectory() as folder:
    conversion.write(conversion.convert(pathlib.Path(CHECKPOINT.value)), pathlib.Path(folder) / "network")
    model = load(pathlib.Path(folder) / "network")
  # What the network says is taken for right: of an image that it has wrong biasjax makes no adversarial one.
  labels = np.asarray(model.apply(model.variables, images)).argmax(axis=1)
  state = torch.load(CHECKPOINT.value)["state_dict"]
  network = getattr(cpu_torchvision.load().models, NETWORK.value)()
  network.load_state_dict(
    {name.removeprefix("module."): v.float() for name, v in state.items() if v.ndim}, False
  )
  frozen = small_networks.Normalized(network).eval().requires_grad_(False)
  x, y = channels_first(images), torch.from_numpy(labels)
  in_torch = foolbox.PyTorchModel(frozen, bounds=(0, 1), device="cpu")
  variables = jax.device_put(model.variables)
  in_jax = JAXModel(lambda x: model.apply(variables, x), bounds=(0, 1), data_format="channels_last")
  ways = {
    "biasjax": ours(f"pgd:eps=4:steps={STEPS.value}", model, images, labels),
    "foolbox, PyTorch": by_foolbox(in_torch, x, y),
    "foolbox, PyTorch channels-last": by_foolbox(in_torch, x.to(memory_format=torch.channels_last), y),
    "foolbox, JAX": by_foolbox(in_jax, jnp.asarray(images), jnp.asarray(labels)),
  }
  return take_turns(ways, len(images))


def measure_autoattack(kind: str) -> dict:
  images, labels = small_networks.photographs(IMAGES.value)
  network, model = small_networks.both_ways(NETWORKS.value, kind, images, labels)
  images, labels = images[: SMALL_COUNT.value], labels[: SMALL_COUNT.value]
  eps = SMALL_EPS[kind]
  ways = {
    "biasjax": ours(f"autoattack:eps={eps:g}:queries={QUERIES.value}", model, images, labels),
    "the authors' package": by_autoattack(network, eps / 255, images, labels),
  }
  return take_turns(ways, len(images))


def main(argv: list[str]) -> None:
  del argv
  report = {"device": str(jax.devices()[0]), "rounds": ROUNDS.value, "steps": STEPS.value}
  if CHECKPOINT.value:
    report["pgd"] = measure_pgd()
    print(json.dumps(report["pgd"], indent=1), flush=True)
  if NETWORKS.value:
    for kind in SMALL_EPS:
      report[f"autoattack, {kind}"] = measure_autoattack(kind)
      print(json.dumps(report[f"autoattack, {kind}"], indent=1), flush=True)
  if OUTPUT.value:
    pathlib.Path(OUTPUT.value).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
