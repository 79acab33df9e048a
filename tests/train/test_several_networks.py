"""Several networks in one step: the kept one is a plain one, devices and restarts change nothing."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biasjax.data import sources
from biasjax.errors import BiasjaxError
from biasjax.models.architecture import Architecture
from biasjax.models.resnet import ResNet
from biasjax.partition import Partition
from biasjax.train import batches, command, given, interventions, step
from biasjax.train.interventions.base import Intervention, Objective
from deadline import DEADLINE_S
from made_images import class_folder
from made_recipes import Killed, program, recipe, run_loop

ARCHITECTURE = Architecture("basic", (1,), width=4, inner_width=4, num_classes=4)
RECIPE = recipe(ARCHITECTURE)
SIZE, ROWS, EXAMPLES = 32, 8, 24
LABELS = np.random.default_rng(9).integers(0, 4, EXAMPLES).astype(np.int32)
BIAS = np.random.default_rng(10).integers(0, 3, EXAMPLES).astype(np.int32)
GIVEN = {"label": LABELS, "bias": BIAS, "weight": np.linspace(0.5, 2, EXAMPLES)}


def made_batches(n: int, twice: bool = False) -> list[batches.Examples]:
  """Batches; `twice` shows the same half batch twice, so that two devices' BatchNorm see what one's does."""
  rng = np.random.default_rng(0)
  found = []
  for _ in range(n):
    indices = rng.permutation(EXAMPLES)[: ROWS // 2 if twice else ROWS].astype(np.uint32)
    pixels = rng.integers(0, 256, (len(indices), SIZE, SIZE, 3), dtype=np.uint8)
    if twice:
      indices, pixels = np.tile(indices, 2), np.tile(pixels, (2, 1, 1, 1))
    found.append(batches.Examples(pixels, LABELS[indices], indices))
  return found


def trained(recipe: step.Recipe, shown: list[batches.Examples], kind: str = "shard_map", devices: int = 1):
  """The state after these batches, and the loss of each step."""
  partition, run = program(recipe, kind, devices)
  objective = recipe.objective
  others = [step.fresh(recipe.architecture, recipe.seed, m) for m in range(1, objective.members)]
  start = step.init(recipe, step.fresh(recipe.architecture, recipe.seed), others, EXAMPLES)
  state = partition.share(jax.tree.map(np.asarray, start))
  columns = objective.prepare({name: GIVEN[name] for name in objective.needs}, 4)
  fixed = partition.share((np.array([0, recipe.seed], np.uint32), dict(columns)))
  rows = []
  for batch in shown:
    mixed = np.roll(batch.pixels, -1, 0), np.roll(batch.labels, -1, 0)
    state, measured = run(state, *fixed, *partition.put((batch.pixels, batch.labels, batch.indices, *mixed)))
    rows.append(float(partition.first(measured)["loss"]))
  return partition.first(state), rows


def with_(spec: str) -> step.Recipe:
  return dataclasses.replace(RECIPE, interventions=interventions.parse(spec))


def test_a_network_learns_the_same_bits_beside_others():
  def loss(c):
    each = [optax.softmax_cross_entropy(c.forward(m, c.images)[0], c.targets) for m in range(3)]
    return sum(map(jnp.mean, each)), c.memory

  beside = dataclasses.replace(
    RECIPE, interventions=(Intervention("beside", 1.0, objective=Objective(loss, members=3)),)
  )
  shown = made_batches(4)
  alone, losses = trained(RECIPE, shown)
  found, of_all = trained(beside, shown)
  for part in ("variables", "average", "optimizer"):
    jax.tree.map(np.testing.assert_array_equal, found[part], alone[part])
  assert all(three > one for one, three in zip(losses, of_all, strict=True))
  one, other = (member["params"]["fc"]["kernel"] for member in found["others"])
  assert not np.array_equal(one, other)  # networks of their own


@pytest.mark.parametrize("spec", ["lff=0", "end=0"])
def test_strength_zero_leaves_the_network_bit_equal(spec):
  shown = made_batches(2)
  found, alone = trained(with_(spec), shown)[0], trained(RECIPE, shown)[0]
  assert found.keys() == alone.keys()
  jax.tree.map(np.testing.assert_array_equal, found, alone)


def test_lff_remembers_the_losses_of_each_example_of_both_networks():
  (batch,) = made_batches(1)
  state, _ = trained(with_("lff=1"), [batch])
  network = ResNet(ARCHITECTURE)
  images, targets = jnp.asarray(batch.pixels / np.float32(255)), np.eye(4)[batch.labels]
  for member, name in enumerate(("kept", "biased")):
    logits, _ = network.apply(
      step.fresh(ARCHITECTURE, RECIPE.seed, member), images, train=True, mutable=["batch_stats"]
    )
    expected = np.zeros(EXAMPLES)
    expected[batch.indices] = optax.softmax_cross_entropy(logits, targets)
    np.testing.assert_allclose(state["memory"][name], expected, rtol=2e-4, atol=1e-6)
  assert sorted(np.flatnonzero(state["memory"]["seen"])) == sorted(batch.indices)


SPECS = ("lff=1", "end=2", "balanced_logits=1")
# Two devices in a process of its own; losses and a sum of the weights, of each form of the same training.
TWO = """
import json, sys
import numpy as np
sys.path[:0] = ["tests", "tests/train"]
import test_several_networks as t
found = {}
for spec in sys.argv[1:]:
  for form in (("shard_map", 1), ("shard_map", 2), ("pmap", 2)):
    state, losses = t.trained(t.with_(spec), t.made_batches(3, twice=True), *form)
    kernel = np.asarray(state["variables"]["params"]["fc"]["kernel"], np.float64)
    memory = {k: np.asarray(v).tolist() for k, v in state.get("memory", {}).items()}
    found[f"{spec} {form[0]} {form[1]}"] = [losses, kernel.ravel().tolist(), memory]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_devices():
  flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
  done = subprocess.run(
    [sys.executable, "-c", TWO, *SPECS],
    env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    capture_output=True,
    text=True,
    timeout=DEADLINE_S,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("spec", SPECS)
def test_devices_and_partitioners_give_the_same_losses(spec, on_devices):
  """What objectives gather is the whole batch, whichever device has it, and so is where its gradient goes."""
  losses, kernel, memory = on_devices[f"{spec} shard_map 1"]
  assert len(set(losses)) == 3
  for form in ("shard_map 2", "pmap 2"):
    again, of_form, remembered = on_devices[f"{spec} {form}"]
    np.testing.assert_allclose(again, losses, rtol=2e-5, err_msg=form)
    np.testing.assert_allclose(of_form, kernel, atol=2e-5, err_msg=form)
    for name, column in memory.items():
      np.testing.assert_allclose(remembered[name], column, atol=1e-4, err_msg=f"{form} {name}")


def test_an_interrupted_training_of_two_networks_ends_with_the_same_bytes(tmp_path):
  root = class_folder(tmp_path / "images", {"n01440764": 7, "n01443537": 6}, size=(40, 40))
  source = dataclasses.replace(sources.folder(root), crop=32, resize=36)
  recipe = dataclasses.replace(
    with_("lff=1"),
    architecture=dataclasses.replace(ARCHITECTURE, num_classes=1000),
    steps=5,
    average_decay=0.5,
  )
  labels = np.array([place.label for place in source.places], np.int32)

  split = Partition("shard_map")

  def run(folder, **stop):
    others, columns = [step.fresh(recipe.architecture, recipe.seed, 1)], {"label": labels}
    return run_loop(recipe, source, folder, partition=split, others=others, columns=columns, **stop)

  whole, log = run(tmp_path / "whole")
  with pytest.raises(Killed):
    run(tmp_path / "cut", stop_at=3)
  again, continued = run(tmp_path / "cut")
  assert continued == log
  assert len(whole) == 1  # the biased one is not kept
  jax.tree.map(np.testing.assert_array_equal, again, whole)


def annotated(tmp_path, ids, name="a.csv", **columns):
  rows = [",".join(["example_id", *columns])]
  rows += [",".join([one, *(str(column[i]) for column in columns.values())]) for i, one in enumerate(ids)]
  (tmp_path / name).write_text("\n".join(rows) + "\n")
  return str(tmp_path / name)


@pytest.fixture
def photographs(tmp_path):
  root = class_folder(tmp_path / "images", {"n01440764": 4, "n01443537": 4}, size=(40, 40))
  return dataclasses.replace(sources.folder(root), crop=32, resize=32)


def test_annotations_and_maps_are_part_of_what_a_training_is(photographs, tmp_path):
  ids = [place.example_id for place in photographs.places]
  (tmp_path / "map.csv").write_text("radius,sensitivity\n1,0.5\n")
  spec = f"end=1+sada:map={tmp_path / 'map.csv'}=0"
  settings = command.parse(
    {"architecture": "resnet10", "width": 1, "interventions": spec, "steps": 1, "warmup_epochs": 0}
  )
  asked = {"init": None, "offline": True, "batch_size": 4, "seed": 0, "workdir": tmp_path / "out"}
  asked |= {"partitioner": "shard_map", "annotations": annotated(tmp_path, ids, bias=[0, 1] * 4)}
  command.train(settings, photographs, asked)
  kept = json.loads((tmp_path / "out/network/settings.json").read_text())
  assert len(kept["annotations"]) == 64
  other = annotated(tmp_path, ids, "b.csv", bias=[0, 1] * 3 + [1, 1])
  with pytest.raises(BiasjaxError, match="holds a training with another annotations: go on"):
    command.train(settings, photographs, asked | {"annotations": other})
  with pytest.raises(BiasjaxError, match="end needs the bias of each example: give them with --annotations"):
    command.train(settings, photographs, asked | {"annotations": None})
  changed = dataclasses.replace(settings, weight_decay=0.5, momentum=0.5)
  with pytest.raises(BiasjaxError, match=r"another seed, train\.momentum, train\.weight_decay: go on"):
    command.train(changed, photographs, asked | {"seed": 1})
  (tmp_path / "map.csv").write_text("radius,sensitivity\n1,0.6\n")
  interventions._one.cache_clear()
  with pytest.raises(BiasjaxError, match=r"holds a training with another read\.sada: go on"):
    command.train(settings, photographs, asked)


def test_what_is_given_is_in_the_order_of_the_examples(photographs, tmp_path):
  ids = [place.example_id for place in photographs.places]
  path = annotated(tmp_path, ids[::-1], bias=["red", "blue"] * 4, weight=range(8))
  (end,) = interventions.parse("end=1")
  (weighted,) = interventions.parse("reweighted:by=weight=1")
  found, fingerprint = given.columns(photographs, end, path)
  assert found["bias"].tolist() == [0, 1] * 4  # blue, red from the last one on
  assert given.columns(photographs, weighted, path)[0]["weight"].tolist() == list(range(8))[::-1]
  (lff,) = interventions.parse("lff=1")
  found, none = given.columns(photographs, lff, path)
  assert (found["label"].tolist(), none) == ([p.label for p in photographs.places], None)
  assert fingerprint
  with pytest.raises(BiasjaxError, match="no column 'bias', which the intervention end needs"):
    given.columns(photographs, end, annotated(tmp_path, ids, weight=range(8)))
