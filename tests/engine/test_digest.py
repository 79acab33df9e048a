"""An edit of what a probe computes is seen, wherever it is; a renamed variable is none."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax import probes
from biasjax.data import sources
from biasjax.engine import digest, evaluate
from biasjax.probes.base import Probe
from biasjax.results.store import Store
from deadline import DEADLINE_S
from jax_profiles import unusual_settings
from made_images import class_folder
from made_models import made_model

DEVICE = """
import jax, jax.numpy as jnp, numpy as np
MASK = np.arange(3072, dtype=np.float32).reshape(32, 32, 3) % 2

def shrunk(image, factor):
  return image * factor

def prepare(image):
  return image.mean(), image

def perturb(key, prepared, condition):
  mean, image = prepared
  masked = jnp.where(MASK > 0, shrunk(image, 0.9), mean)
  return masked + condition["sd"] * jax.random.normal(key, image.shape)

def decide(logits):
  return logits - 0.25

CONDITIONS = {"a": {"sd": np.float32(0.1)}, "b": {"sd": np.float32(0.2)}}
"""

HOST = '''
import dataclasses, functools
import numpy as np
from biasjax.probes.base import Attacked
STEPS = {"few": 3}

@dataclasses.dataclass(frozen=True)
class Walk:
  """Where to."""
  length: float = 0.5

  def step(self, images):
    return images + self.length

@functools.cache
def mean():
  return 0.5

def attack(victim, keys, images, labels, *, walk):
  """Walks."""
  for condition in ("a", "b"):
    images = victim.partition.get(images)
    for _ in range(STEPS["few"]):
      moved = walk.step(images)
      images = np.clip(moved - mean(), 0, 1)
    yield condition, Attacked(images, {})

ATTACK = functools.partial(attack, walk=Walk())
'''


def module(source: str) -> types.ModuleType:
  """A module of somebody's own."""
  made = types.ModuleType("somebodys")
  sys.modules["somebodys"] = made  # dataclasses look there
  exec(compile(source, "somebodys.py", "exec"), vars(made))
  return made


def of_device(source: str) -> str:
  own = module(source)
  probe = Probe("own", own.CONDITIONS, own.perturb, lambda _: [], prepare=own.prepare)
  return digest.of_probe(dataclasses.replace(probe, decide={"classes": own.decide}), "classes", 32, 10)


def of_host(source: str) -> str:
  conditions = {"a": np.float32(0), "b": np.float32(0)}
  probe = Probe("own", conditions, lambda key, image, _: image, lambda _: [], attack=module(source).ATTACK)
  return digest.of_probe(probe, "classes", 32, 10)


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("shrunk(image, 0.9)", "shrunk(image, 0.9000001)"),
    ("shrunk(image, 0.9)", "image"),
    ("% 2", "% 3"),
    ("image.mean()", "image.max()"),
    ("logits - 0.25", "logits - 0.5"),
    ("np.float32(0.2)", "np.float32(0.3)"),
    ("random.normal", "random.uniform"),
  ],
)
def test_an_edit_of_what_is_compiled_is_another_computation(old, new):
  assert old in DEVICE
  assert of_device(DEVICE.replace(old, new)) != of_device(DEVICE)


@pytest.mark.parametrize(
  ("old", "new"),
  [("masked", "covered"), ("shrunk", "scaled"), ("mean, image = prepared", "mean, image = prepared  # both")],
)
def test_a_renamed_variable_of_what_is_compiled_is_the_same_computation(old, new):
  assert of_device(DEVICE.replace(old, new)) == of_device(DEVICE)


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ('"few": 3', '"few": 4'),
    ("length: float = 0.5", "length: float = 0.6"),
    ("images + self.length", "images - self.length"),
    ("return 0.5", "return 0.4"),
    ("moved - mean(), 0, 1", "moved - mean(), 0, 2"),
    ("walk=Walk()", "walk=Walk(0.7)"),
    ("np.clip", "np.minimum"),
  ],
)
def test_an_edit_of_an_attack_on_the_host_is_another_computation(old, new):
  assert old in HOST
  assert of_host(HOST.replace(old, new)) != of_host(HOST)


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("moved", "there"),
    ('"""Walks."""', '"""Walks further."""'),
    ("yield", "# each\n    yield"),
    ("Where", "How"),
  ],
)
def test_a_renamed_variable_of_an_attack_is_the_same_computation(old, new):
  assert of_host(HOST.replace(old, new)) == of_host(HOST)


def test_an_edit_deep_in_the_bundled_attacks_is_another_computation(monkeypatch):
  from biasjax.ops.attacks import threat

  probe = probes.get("pgd:eps=1", 32)
  before = digest.of_probe(probe, "classes", 32, 10)
  assert before == digest.of_probe(probes.get("pgd:eps=1", 32), "classes", 32, 10)
  monkeypatch.setattr(threat, "project", lambda norm, originals, images, eps: images)
  assert digest.of_probe(probe, "classes", 32, 10) != before


PRINT = """
from biasjax import probes
from biasjax.engine import digest
for name in ("spectral", "critical_band", "pgd", "autoattack"):
  print(digest.of_probe(probes.get(name, 64), "imagenet", 64, 1000))
"""


def test_digests_are_the_same_in_every_process_and_under_every_setting():
  environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
  environment |= {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
  found = [
    subprocess.run(
      [sys.executable, "-c", PRINT],
      env=environment | {"PYTHONHASHSEED": seed},
      check=True,
      capture_output=True,
      text=True,
      timeout=DEADLINE_S,
    ).stdout
    for seed in ("1", "2")
  ]
  assert found[0] == found[1]
  assert len(set(found[0].split())) == 4
  names = ("spectral", "critical_band")
  digest._perturbation.cache_clear()
  here = [digest.of_probe(probes.get(name, 64), "imagenet", 64, 1000) for name in names]
  digest._perturbation.cache_clear()
  with unusual_settings():
    assert [digest.of_probe(probes.get(name, 64), "imagenet", 64, 1000) for name in names] == here


def test_an_edited_probe_is_computed_anew_in_the_same_workdir(tmp_path):
  source = sources.folder(class_folder(tmp_path / "images", {"n01440764": 4}, size=(32, 32)), "made")
  source = dataclasses.replace(source, resize=None, crop=32)

  def nll(factor: float, workdir: pathlib.Path) -> list[float]:
    probe = Probe(
      "dim", {"dim": np.float32(0)}, lambda key, image, condition: image * factor, lambda observations: []
    )
    store = Store(workdir, 4)
    evaluate.evaluate([made_model("a", 0)], [probe], source, store)
    return store.read(store.units()[0])[0]["nll"].tolist()

  before, after = nll(0.9, tmp_path / "out"), nll(0.05, tmp_path / "out")
  assert after == nll(0.05, tmp_path / "fresh")
  assert before != after
  assert jnp.isfinite(jnp.array(after)).all()


WEIGHTS = np.ones(3, np.float32)


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_a_networks_own_rule_for_its_gradient_is_part_of_what_it_is(kind):
  def of_rule(factor: float) -> str:
    def identity(x):
      return x

    if kind == "vjp":
      ruled = jax.custom_vjp(identity)
      ruled.defvjp(lambda x: (x, None), lambda _, cotangent: (factor * cotangent,))
    else:
      ruled = jax.custom_jvp(identity)
      ruled.defjvp(lambda primals, tangents: (primals[0], factor * tangents[0]))
    return digest.of_network(
      lambda v, images: ruled(images).mean((1, 2)) * v[None], np.ones(3, np.float32), 8
    )

  assert of_rule(1.0) == of_rule(1.0)
  assert of_rule(1.0) != of_rule(-1.0)


def test_a_network_on_the_host_which_has_no_gradient_is_known_by_its_code():
  def of_factor(factor: float) -> str:
    def on_host(images):
      shape = jax.ShapeDtypeStruct((len(images), 3), np.float32)
      return jax.pure_callback(lambda x: np.asarray(x).mean((1, 2)) * np.float32(factor), shape, images)

    return digest.of_network(lambda v, images: on_host(images) * v[None], WEIGHTS, 8)

  assert of_factor(1.0) == of_factor(1.0)
  assert of_factor(1.0) != of_factor(2.0)
