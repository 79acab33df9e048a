"""Training: the step is PyTorch's, a killed run ends like one that was not, noise belongs to examples."""

import dataclasses
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file

from biasjax import numerics
from biasjax.convert import torchvision as names
from biasjax.data import sources
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.models.architecture import Architecture
from biasjax.models.resnet import ResNet
from biasjax.partition import AXIS, Partition
from biasjax.train import batches, command, interventions, loop, step
from deadline import DEADLINE_S
from every_device import assert_for_all
from in_process import run
from jax_profiles import unusual_settings
from made_images import class_folder
from made_recipes import Killed, program, recipe, run_loop

ROOT = pathlib.Path(__file__).parents[2]
# Few layers: what these tests take is compiling.
ARCHITECTURE = Architecture("basic", (1,), width=4, inner_width=4, num_classes=16)
RECIPE = recipe(ARCHITECTURE, warmup_steps=2, label_smoothing=0.1)
SIZE, ROWS = 32, 8


def made_batches(n: int) -> list[batches.Examples]:
  rng = np.random.default_rng(0)
  return [
    batches.Examples(
      rng.integers(0, 256, (ROWS, SIZE, SIZE, 3), dtype=np.uint8),
      rng.integers(0, 16, ROWS).astype(np.int32),
      rng.permutation(100)[:ROWS].astype(np.uint32),
    )
    for _ in range(n)
  ]


def trained(recipe: step.Recipe, shown: list[batches.Examples], kind: str = "shard_map"):
  """The state after these batches, and what each step measured."""
  partition, run = program(recipe, kind, len(jax.devices()))
  state = partition.share(step.init(recipe, step.fresh(recipe.architecture, recipe.seed)))
  fixed = partition.share((np.asarray(jax.random.key_data(jax.random.key(recipe.seed))), {}))
  rows = []
  for batch in shown:
    others = np.roll(batch.pixels, -1, 0), np.roll(batch.labels, -1, 0)
    state, measured = run(state, *fixed, *partition.put((batch.pixels, batch.labels, batch.indices, *others)))
    rows.append({name: float(value) for name, value in partition.first(measured).items()})
  return partition.first(state), rows


@pytest.mark.parametrize("device", ["this one", "another"])
def test_the_loss_curve_and_weights_are_those_of_pytorch(torchvision, device, request):
  import torch

  if device == "another":
    request.getfixturevalue("off_cpu")

  from torch_networks import network

  shown = made_batches(4)
  architecture = dataclasses.replace(ARCHITECTURE, stage_sizes=(1, 1, 1, 1))  # torchvision's have four
  recipe = dataclasses.replace(RECIPE, architecture=architecture)
  net = network(torchvision, block="basic", stage_sizes=(1, 1, 1, 1), width=4, classes=16)
  variables = step.fresh(architecture, RECIPE.seed)
  flat = load.flatten(variables)
  entries = names.entries(architecture)
  net.load_state_dict(
    {n: torch.from_numpy(names.to_torch(flat[e.path]).copy()) for n, e in entries.items()}, strict=False
  )
  net.train()
  decayed = [p for p in net.parameters() if p.ndim > 1]
  others = [p for p in net.parameters() if p.ndim == 1]
  optimizer = torch.optim.SGD(
    [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
    lr=1.0,
    momentum=0.9,
    nesterov=True,
  )
  mean, std = (torch.tensor(v)[None, :, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
  losses = []
  # Two steps of warm-up, then a cosine over the other six.
  rates = [0.0, 0.025, 0.05, 0.05 * (1 + np.cos(np.pi / 6)) / 2]
  for batch, rate in zip(shown, rates, strict=True):
    for group in optimizer.param_groups:
      group["lr"] = rate
    x = (torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    target = torch.from_numpy(batch.labels).long()
    loss = torch.nn.functional.cross_entropy(net(x), target, label_smoothing=0.1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
  state, rows = trained(recipe, shown)
  np.testing.assert_allclose([row["loss"] for row in rows], losses, rtol=2e-4)
  params = load.flatten({"params": state["variables"]["params"]})
  for name, entry in entries.items():
    if entry.path[0] == "params":
      expected = net.state_dict()[name].numpy()
      np.testing.assert_allclose(names.to_torch(params[entry.path]), expected, atol=3e-4, err_msg=name)


def test_a_step_is_for_every_device_with_whole_products(off_cpu):
  """Lowered for GPUs and TPUs, of which none is at hand; a device is an entry of a vmap."""
  state = jax.eval_shape(lambda: step.init(RECIPE, step.fresh(ARCHITECTURE, 0)))
  (batch,) = made_batches(1)
  key, pixels = np.zeros(2, np.uint32), batch.pixels[None]
  labels, indices = batch.labels[None], batch.indices[None]
  devices = jax.vmap(step.make(RECIPE), (None, None, None, 0, 0, 0, 0, 0), axis_name=AXIS)
  with numerics.settled():
    traced = jax.jit(devices).trace(state, key, {}, pixels, labels, indices, pixels, labels)
    assert_for_all(traced.lower(lowering_platforms=("cuda", "tpu")).as_text())


class Linear(nn.Module):
  @nn.compact
  def __call__(self, x, train: bool):
    x = x.reshape(len(x), -1)
    self.sow("intermediates", "features", x)
    return nn.Dense(16)(x)


def test_a_network_of_ones_own_takes_the_step_of_its_gradient():
  """A linear one, whose gradient is known: x (p - y)."""
  (batch,) = made_batches(1)
  plain = {"warmup_steps": 0, "weight_decay": 0.0, "label_smoothing": 0.0, "interventions": ()}
  recipe = dataclasses.replace(RECIPE, network=Linear(), **plain)
  rng = np.random.default_rng(1)
  kernel = rng.normal(0, 0.01, (SIZE * SIZE * 3, 16))
  layer = {"kernel": kernel.astype(np.float32), "bias": np.zeros(16, np.float32)}
  partition, run = program(recipe, "shard_map", len(jax.devices()))
  state = partition.share(step.init(recipe, {"params": {"Dense_0": layer}, "batch_stats": {}}))
  fixed = partition.share((np.asarray(jax.random.key_data(jax.random.key(0))), {}))
  others = np.roll(batch.pixels, -1, 0), np.roll(batch.labels, -1, 0)
  state, measured = run(state, *fixed, *partition.put((batch.pixels, batch.labels, batch.indices, *others)))
  x = batch.pixels.reshape(ROWS, -1) / 255
  logits = x @ kernel
  p = np.exp(logits - logits.max(1, keepdims=True))
  p /= p.sum(1, keepdims=True)
  rate = recipe.learning_rate * (1 + recipe.momentum)  # Nesterov's first step
  expected = kernel - rate * x.T @ (p - np.eye(16)[batch.labels]) / ROWS
  after = partition.first(state)["variables"]["params"]["Dense_0"]["kernel"]
  np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-6)
  loss = -np.log(p[np.arange(ROWS), batch.labels]).mean()
  assert float(partition.first(measured)["loss"]) == pytest.approx(loss, rel=1e-5)


def test_both_partitioners_train_alike():
  shown = made_batches(2)
  a, b = (trained(RECIPE, shown, kind)[0]["variables"]["params"] for kind in ("shard_map", "pmap"))
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)


def test_the_average_follows_the_weights_as_its_decay_says():
  recipe, shown = dataclasses.replace(RECIPE, average_decay=0.15), made_batches(3)
  before = step.init(recipe, step.fresh(ARCHITECTURE, 3))["variables"]["params"]["fc"]["kernel"]
  expected = np.asarray(before, np.float64)
  for n in range(1, 4):
    weights = trained(recipe, shown[:n])[0]["variables"]["params"]["fc"]["kernel"]
    decay = min(0.15, n / (9 + n))  # (1 + t) / (10 + t) for t = n - 1
    expected = decay * expected + (1 - decay) * weights
  found = trained(recipe, shown)[0]["average"]["params"]["fc"]["kernel"]
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_frozen_filters_stay_and_the_others_learn():
  recipe = dataclasses.replace(RECIPE, interventions=interventions.parse("frozen_filters=1"))
  start = load.flatten({"params": step.fresh(ARCHITECTURE, 3)["params"]})
  end = load.flatten({"params": trained(recipe, made_batches(3))[0]["variables"]["params"]})
  for path, value in start.items():
    spatial = path[-1] == "kernel" and value.ndim == 4 and value.shape[0] > 1
    assert np.array_equal(value, end[path]) == spatial, path


def test_augmentation_belongs_to_the_example_not_to_its_row():
  acting = interventions.parse("flip=0.5+gaussian_noise=0.2+patch_shuffle=0.5")
  (batch,) = made_batches(1)
  images, targets = jnp.asarray(batch.pixels / np.float32(255)), jax.nn.one_hot(batch.labels, 16)
  indices = jnp.asarray(batch.indices)
  key = jax.random.key(0)
  augment = jax.jit(lambda at, *of: step.augment(key, acting, at, *of, *of))
  whole, _ = augment(indices, images, targets)
  order = np.array([5, 2, 7, 7, 2, 5, 5, 5])
  some, _ = augment(indices[order], images[order], targets[order])
  np.testing.assert_allclose(some, np.asarray(whole)[order], atol=1e-6)


def test_a_fresh_network_is_distributed_as_flax_makes_it():
  architecture = Architecture("bottleneck", (1,), width=16, inner_width=16, num_classes=16)
  ours = load.flatten(step.fresh(architecture, 0))
  images = jnp.zeros((1, 64, 64, 3))
  flax = load.flatten(jax.jit(ResNet(architecture).init)(jax.random.key(0), images))
  assert ours.keys() == flax.keys()
  for path, value in flax.items():
    assert ours[path].shape == value.shape
    if path[-1] == "kernel":
      tolerance = 5 / np.sqrt(2 * value.size)
      assert np.std(ours[path]) == pytest.approx(float(np.std(value)), rel=2 * tolerance), path
    else:
      np.testing.assert_array_equal(ours[path], value)


def test_products_in_place_of_1x1_convolutions_give_the_same_network():
  variables = step.fresh(ARCHITECTURE, 0)
  images = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, SIZE, SIZE, 3)), jnp.float32)
  plain = jax.jit(lambda v, x: ResNet(ARCHITECTURE).apply(v, x))(variables, images)
  with step.products_on_cpu():
    other = jax.jit(lambda v, x: ResNet(ARCHITECTURE).apply(v, x))(variables, images)
  np.testing.assert_allclose(plain, other, atol=1e-4)


@pytest.fixture
def source(tmp_path):
  counts = {"n01440764": 9, "n01443537": 8, "n15075141": 6}
  source = sources.folder(class_folder(tmp_path / "images", counts, size=(40, 40)))
  return dataclasses.replace(source, crop=32, resize=36)


def test_an_epoch_shows_each_example_at_most_once_and_any_start_continues_it(source):
  whole = list(batches.batches(source, 7, 4, 0, 12))
  assert batches.steps_per_epoch(source, 4) == 5
  for epoch in (whole[:5], whole[5:10]):
    seen = np.concatenate([batch.indices for batch in epoch])
    assert len(set(seen)) == 20
  assert not np.array_equal(whole[0].indices, whole[5].indices)
  later = list(batches.batches(source, 7, 4, 6, 12))
  for a, b in zip(whole[6:], later, strict=True):
    np.testing.assert_array_equal(a.pixels, b.pixels)
    np.testing.assert_array_equal(a.labels, b.labels)
  labels = {int(i): source.read(int(i)).label for i in range(23)}
  assert [labels[int(i)] for i in whole[0].indices] == list(whole[0].labels)
  with pytest.raises(BiasjaxError, match="23 images are less than --batch_size=24"):
    batches.steps_per_epoch(source, 24)


def test_an_image_that_cannot_be_decoded_is_named(source, tmp_path):
  path = tmp_path / "images/n01443537/n01443537_1.JPEG"
  path.write_bytes(bytes(path.stat().st_size))
  then = "mend or remove it; .* goes on with the same files only: name another train.name or --workdir"
  with pytest.raises(BiasjaxError, match=f"n01443537/n01443537_1.JPEG cannot be decoded .*{then}"):
    list(batches.batches(source, 0, 4, 0, 5))


def test_storage_that_fails_once_does_not_end_a_training(source):
  failed = set()

  def read(index):
    if index not in failed:
      failed.add(index)
      raise OSError("stale file handle")
    return source.read(index)

  shaky = dataclasses.replace(source, read=read)
  found, expected = ([b.pixels for b in batches.batches(of, 7, 4, 0, 2)] for of in (shaky, source))
  np.testing.assert_array_equal(found, expected)


def test_an_interrupted_training_ends_with_the_same_bytes(source, tmp_path):
  architecture = dataclasses.replace(ARCHITECTURE, num_classes=1000)
  acting = interventions.parse("flip=0.5+gaussian_noise=0.1")
  recipe = dataclasses.replace(
    RECIPE, architecture=architecture, interventions=acting, average_decay=0.9, steps=7
  )
  split = Partition("shard_map")

  def ended(name, **stop):
    return run_loop(recipe, source, tmp_path / name, partition=split, **stop)

  whole, log = ended("whole")
  assert len(log) == 7
  for stop_at in (1, 5):
    with pytest.raises(Killed):
      ended("cut", stop_at=stop_at)
  again, continued = ended("cut")
  assert continued == log
  jax.tree.map(np.testing.assert_array_equal, again, whole)
  assert len(list((tmp_path / "cut").iterdir())) == loop.KEPT
  # The last state is damaged: the one before is gone on from, to the same end.
  for path in (tmp_path / "cut/00000007").rglob("*"):
    if path.is_file():
      path.write_bytes(b"")
  jax.tree.map(np.testing.assert_array_equal, ended("cut")[0], whole)


def test_a_training_whose_loss_is_not_finite_ends_and_keeps_no_state_of_it(source, tmp_path):
  architecture = dataclasses.replace(ARCHITECTURE, num_classes=1000)
  recipe = dataclasses.replace(RECIPE, architecture=architecture, learning_rate=1e30, warmup_steps=0, steps=4)
  with pytest.raises(loop.DivergedError, match=r"the loss of step [23] is not finite"):
    run_loop(recipe, source, tmp_path / "states")
  assert not list(tmp_path.rglob("00000004"))


def test_a_training_whose_weights_are_not_finite_after_its_last_step_has_diverged(source, tmp_path):
  architecture = dataclasses.replace(ARCHITECTURE, num_classes=1000)
  beyond = {"learning_rate": 3e38, "weight_decay": 1e3, "warmup_steps": 0, "steps": 1}
  recipe = dataclasses.replace(RECIPE, architecture=architecture, **beyond)
  with pytest.raises(loop.DivergedError, match="the weights after step 1 are not finite"):
    run_loop(recipe, source, tmp_path / "states")
  assert not list(tmp_path.rglob("00000001"))


def test_networks_that_differ_in_their_seed_share_one_program(source, tmp_path, monkeypatch):
  made, split = [], Partition("shard_map")
  program = split.program
  monkeypatch.setattr(split, "program", lambda *of, **how: made.append(of) or program(*of, **how))

  def ended(seed, name):
    architecture = dataclasses.replace(ARCHITECTURE, num_classes=1000)
    acting = interventions.parse("flip=0.5")  # anew, as each member of a sweep does
    recipe = dataclasses.replace(RECIPE, architecture=architecture, interventions=acting, steps=2, seed=seed)
    return run_loop(recipe, source, tmp_path / name, partition=split)[0]

  ended(0, "first")
  after = ended(1, "after")
  assert len(made) == 1
  loop._program.cache_clear()
  alone = ended(1, "alone")
  assert len(made) == 2
  jax.tree.map(np.testing.assert_array_equal, after, alone)


def test_training_does_not_depend_on_settings_of_jax(source, tmp_path):
  random = "flip=0.5+patch_shuffle:grid=2=0.5+cutmix=1+band_noise=0.1"
  recipe = dataclasses.replace(
    RECIPE,
    architecture=dataclasses.replace(ARCHITECTURE, num_classes=1000),
    interventions=interventions.parse(random),
    steps=2,
    warmup_steps=0,
  )
  usual, log = run_loop(recipe, source, tmp_path / "usual")
  with unusual_settings():
    found, again = run_loop(recipe, source, tmp_path / "found")
  assert again == log
  jax.tree.map(np.testing.assert_array_equal, found, usual)


def test_a_state_of_another_training_is_refused_and_of_other_devices_noted(tmp_path, capsys, monkeypatch):
  place, kind, version = load.epath.Path(tmp_path / "states"), "cpu (8 core(s))", loop.__version__
  states = loop.States(place, {"seed": 0, "train": 1}, kind=kind)
  state = jax.tree.map(np.asarray, step.init(RECIPE, step.fresh(ARCHITECTURE, 0)))
  states.save(state, [(1.0, 0.5)])
  restored, log = states.latest(state)
  assert log == [(1.0, 0.5)]
  assert not capsys.readouterr().err
  on_two = dataclasses.replace(states, devices=2)
  assert on_two.latest(state, steps=0)  # it is whole
  assert not capsys.readouterr().err
  assert on_two.latest(state, steps=8)
  assert "was trained on 1 device(s) and goes on on 2: BatchNorm" in capsys.readouterr().err
  assert dataclasses.replace(states, kind="cpu (2 core(s))").latest(state, steps=0)
  assert not capsys.readouterr().err
  assert dataclasses.replace(states, kind="cpu (2 core(s))").latest(state, steps=8)
  said = "was trained on cpu (8 core(s)) and goes on on cpu (2 core(s)): sums are made in other parts"
  assert said in capsys.readouterr().err
  monkeypatch.setattr(loop, "__version__", "9.9")
  assert states.latest(state, steps=0)
  said = capsys.readouterr().err
  assert f"{place} was trained by biasjax {version}, and this is 9.9, which may compute otherwise" in said
  jax.tree.map(np.testing.assert_array_equal, restored, state)
  with pytest.raises(BiasjaxError, match="holds a training with another seed: go on as it was started"):
    dataclasses.replace(states, identity={"seed": 1, "train": 1}).latest(state)


@pytest.mark.parametrize("name", ["runs[1]", "runs*"])
def test_a_training_goes_on_in_a_folder_that_looks_like_a_pattern(tmp_path, name):
  states = loop.States(load.epath.Path(tmp_path / name / "states"), {"seed": 0})
  state = jax.tree.map(np.asarray, step.init(RECIPE, step.fresh(ARCHITECTURE, 0)))
  left = states.folder / f"00000000{loop.UNFINISHED}-0"  # of a process that was killed
  left.mkdir(parents=True)
  states.save(state, [(1.0, 0.5)])
  assert not left.exists()
  restored, log = states.latest(state)
  assert log == [(1.0, 0.5)]
  jax.tree.map(np.testing.assert_array_equal, restored, state)


def train_command(root, workdir, *more):
  config = "configs/train.py"
  flags = [f"--config={config}", f"--dataset=folder:{root}", f"--workdir={workdir}", "--batch_size=4"]
  flags += ["--config.train.architecture=resnet10", "--config.train.width=2", "--config.train.steps=6"]
  flags += ["--config.train.save_every=2", "--config.train.name=tiny"]
  return [*flags, *more]


def test_killed_and_started_again_the_command_trains_the_same_network(tmp_path):
  root = class_folder(tmp_path / "images", {"n01440764": 9, "n01443537": 8}, size=(300, 260))
  done = run(*train_command(root, tmp_path / "whole", f"--report_to=tensorboard:{tmp_path / 'board'}"))
  assert done.returncode == 0, done.stderr
  (events,) = (tmp_path / "board/tiny").iterdir()
  assert b"loss" in events.read_bytes()
  assert "tiny: 6 steps on 17 images" in done.stdout
  command = [sys.executable, "run.py", *train_command(root, tmp_path / "cut")]
  process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
  limit = time.monotonic() + DEADLINE_S
  while not (tmp_path / "cut/tiny/states/00000002").exists() and process.poll() is None:
    assert time.monotonic() < limit
    time.sleep(0.005)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  left = [
    tmp_path / "cut" / name for name in (f"models/.tiny.{7:032x}.tmp", f"tiny/.tiny.safetensors.{7:032x}.tmp")
  ]
  left[0].mkdir(parents=True)  # as where it is killed while it exports
  (left[0] / "certificate.json").write_text("{")
  left[1].write_bytes(b"weights")
  subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=DEADLINE_S, check=True)
  assert not any(path.exists() for path in left)
  for name in ("tiny/tiny.safetensors", "tiny/log.csv", "tiny/settings.json"):
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
  model = load.load(tmp_path / "cut/models/tiny")
  assert model.architecture.width == 2
  assert model.certificate["normalization"]["origin"] == "of the network before training"


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"name": "a/b"}, "expected the name of a folder"),
    ({"epoch": 3}, "train.epoch is unknown: did you mean epochs?"),
    ({"epochs": "many"}, "train.epochs is 'many'; expected float"),
    ({"width": 0}, "expected at least 1"),
    ({"steps": True}, "expected int"),
    ({"architecture": "vgg"}, "expected one of resnet10"),
    ({"dtype": "int8"}, "expected float32 or float16"),
    ({"learning_rate": float("nan")}, "expected at least 0"),
    ({"epochs": float("inf")}, "expected at least 0"),
    ({"warmup_epochs": -1.0}, "train.warmup_epochs is -1.0; expected at least 0"),
    ({"weight_decay": -1e-4}, "expected at least 0"),
    ({"momentum": 1.0}, "expected from 0 to below 1"),
    ({"label_smoothing": 1.5}, "expected a share, 0 to 1"),
    ({"average_decay": -0.5}, "expected a share, 0 to 1"),
    ({"name": "models"}, "train.name is 'models', which --workdir has for something else"),
    ({"name": 191 * "a"}, "files are called so, in 191 letters: expected at most 190"),
    ({"name": 32 * "é"}, "in 192 letters"),
    ({"interventions": "flop=1"}, "'flop=1' is not NAME=STRENGTH of a known intervention"),
  ],
)
def test_a_mistake_in_the_settings_is_named(given, message):
  with pytest.raises(BiasjaxError, match=message):
    command.parse(given)


def test_a_training_of_no_steps_is_refused(source, tmp_path):
  asked = {"init": None, "offline": True, "batch_size": 4, "seed": 0, "workdir": tmp_path}
  with pytest.raises(BiasjaxError, match=r"train\.epochs is 0, no step of"):
    command.train(command.Training(epochs=0.0), source, asked)


def test_a_network_is_trained_by_one_process_at_a_time(source, tmp_path):
  asked = {"init": None, "offline": True, "batch_size": 4, "seed": 0, "workdir": tmp_path}
  holding = (
    "import fcntl, sys, time; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); "
    "print(flush=True); time.sleep(600)"
  )
  path = tmp_path / ".lock-training-mine"
  with subprocess.Popen([sys.executable, "-c", holding, path], stdout=subprocess.PIPE) as other:
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(BiasjaxError, match="another process is training mine in"):
      command.train(command.Training(name="mine", epochs=0.0), source, asked)
    with pytest.raises(BiasjaxError, match="no step of"):  # other names are free
      command.train(command.Training(name="other", epochs=0.0), source, asked)
    other.kill()
  with pytest.raises(BiasjaxError, match="no step of"):
    command.train(command.Training(name="mine", epochs=0.0), source, asked)


def test_a_disk_without_room_for_a_state_is_one_line_and_the_state_before_it_stays(tmp_path, capfd):
  states = loop.States(epath.Path(tmp_path / "states"), {"of": "this"})

  def state(at, size):
    drawn = np.random.default_rng(at).random((8, size)).astype(np.float32)
    return {"step": np.array(at)} | {f"w{i}": of for i, of in enumerate(drawn)}

  states.save(state(1, 10), [(0.5, 0.5)])
  hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
  try:
    with pytest.raises(BiasjaxError, match=r"cannot write .*states: .*File too large; start again"):
      states.save(state(2, 200_000), [])
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
  assert "Traceback" not in capfd.readouterr().err  # of Orbax's threads
  found, log = states.latest(state(0, 10))
  assert (int(found["step"]), log) == (1, [(0.5, 0.5)])
  states.save(state(3, 20), [])
  # A thread of the save that failed may write once more after that; the next save removes it.
  kept = [path.name for path in states.folder.iterdir() if loop.UNFINISHED not in path.name]
  assert sorted(kept) == ["00000001", "00000003"]


def test_a_training_writes_over_no_network_of_another_training(source, tmp_path, monkeypatch):
  def stop(*_, **__):
    raise BiasjaxError("stopped here")

  monkeypatch.setattr(command.loop, "train", stop)
  asked = {
    **{"init": None, "offline": True, "batch_size": 4, "seed": 0, "workdir": tmp_path},
    "partitioner": "shard_map",
  }

  def train(**settings):
    with pytest.raises(BiasjaxError) as raised:
      command.train(command.Training(architecture="resnet10", width=1, **settings), source, asked)
    return str(raised.value)

  (tmp_path / "a_epoch0002" / "states").mkdir(parents=True)  # a training of this name
  said = "a_epoch0002 is a training of its own, and a would export a network of this name"
  assert said in train(name="a", epochs=4.0, keep_epochs=2)
  for free in ({"name": "a", "epochs": 1.0, "keep_epochs": 2}, {"name": "a_epoch0002", "epochs": 4.0}):
    assert train(**free) == "stopped here"
  (tmp_path / "b_epoch0002").mkdir()  # what training b left
  (tmp_path / "b_epoch0002" / "b_epoch0002.safetensors").write_bytes(b"weights")
  assert "holds a network that another training exported" in train(name="b_epoch0002", epochs=4.0)
  assert train(name="b", epochs=4.0, keep_epochs=2) == "stopped here"  # which goes on
  (tmp_path / "c_member1").mkdir()
  (tmp_path / "c_member1" / "settings.json").write_text("{}")  # trained, its states deleted
  said = train(name="c", epochs=4.0, interventions="diverse:members=2=1")
  assert "c_member1 is a training of its own" in said


def test_a_warm_up_that_never_ends_is_said(source, tmp_path, monkeypatch, capsys):
  def stop(*_, **__):
    raise BiasjaxError("stopped here")

  monkeypatch.setattr(command.loop, "train", stop)
  asked = {
    **{"init": None, "offline": True, "batch_size": 4, "seed": 0, "workdir": tmp_path},
    "partitioner": "shard_map",
  }
  for steps, said in ((10, True), (1000, False)):
    settings = command.Training(architecture="resnet10", width=1, steps=steps, warmup_epochs=5.0)
    with pytest.raises(BiasjaxError, match="stopped here"):
      command.train(settings, source, asked)
    assert ("the learning rate rises to its end and never falls" in capsys.readouterr().err) == said


def test_what_float16_does_not_hold_is_exported_in_float32_and_said(tmp_path, capsys):
  variables = step.fresh(ARCHITECTURE, 0)
  variances = np.array([1, 1e5, 2, 3], np.float32)
  variables["batch_stats"]["bn1"]["var"] = variances
  folder = command._export(epath.Path(tmp_path), "n", RECIPE, variables, "float16")
  np.testing.assert_array_equal(load.load(folder).variables["batch_stats"]["bn1"]["var"], variances)
  assert "n: in float32, for float16 does not hold them: bn1.running_var" in capsys.readouterr().err
  tensors = load_file(tmp_path / "n" / "n.safetensors")
  assert {name for name, tensor in tensors.items() if tensor.dtype == np.float32} == {"bn1.running_var"}
