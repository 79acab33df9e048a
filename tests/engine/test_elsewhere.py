"""What a pass compiles can be compiled for GPUs and TPUs, and asks them for whole float32 products.

None is at hand. Lowered for them, a program would name what only CPUs have; and by default TPUs and recent
GPUs multiply float32 in fewer bits.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax import numerics, probes
from biasjax.engine import programs
from biasjax.models import load
from biasjax.ops.attacks.loop import Task
from biasjax.probes import adversary, autoattack
from biasjax.probes.decisions import every_class, sixteen_categories
from every_device import PRODUCT, assert_for_all
from made_models import ARCHITECTURE

ROWS, SIZE = 2, 32
# One of each kind: all of them take a minute to trace.
CORRUPTIONS = (
  "corruptions:only=shot_noise+glass_blur+elastic_transform+jpeg_compression+plasma_noise+sparkles"
)


def shape(*of, dtype=np.float32):
  return jax.ShapeDtypeStruct(of, dtype)


def lowered(function, *arguments) -> str:
  with numerics.settled():
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda", "tpu")).as_text()


IMAGES, IDS = shape(ROWS, SIZE, SIZE, 3), shape(ROWS, 2, dtype=np.uint32)
LABELS = shape(ROWS, 1, dtype=np.int32)


@pytest.mark.parametrize("name", [*(n for n in probes.names() if n != "corruptions"), CORRUPTIONS])
def test_perturbations_are_for_every_device(off_cpu, name):
  probe = probes.get(name, SIZE)
  prepare = programs.prepare_step(probe.prepare)
  pixels = shape(ROWS, SIZE, SIZE, 3, dtype=np.uint8)
  assert_for_all(lowered(prepare, pixels))
  if probe.attack is None:
    condition = jax.tree.map(jnp.asarray, next(iter(probe.conditions.values())))
    prepared = jax.eval_shape(prepare, pixels)
    step = programs.perturb_step(probe.perturb)
    assert_for_all(lowered(step, shape(2, dtype=np.uint32), condition, IDS, prepared))


@pytest.mark.parametrize("decide", [every_class, sixteen_categories])
def test_decisions_and_observations_are_for_every_device(off_cpu, decide):
  logits = shape(ROWS, 1000)
  assert_for_all(lowered(decide, logits))
  scores = jax.eval_shape(decide, logits)
  assert_for_all(lowered(programs.observation, scores, LABELS))
  assert_for_all(lowered(adversary._look(decide), logits, LABELS))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_networks_under_attack_are_for_every_device(off_cpu, norm, name):
  """The loop over steps is part of the program there."""
  attack = autoattack.stages(norm, 2, 2, 1)[name].attack
  logits = programs.logits_step(load.apply_function(ARCHITECTURE), "float32")
  variables = load.variable_shapes(ARCHITECTURE)
  task = Task(IDS, IMAGES, LABELS, shape(ROWS, dtype=np.int32), IMAGES)
  shared = shape(), shape(dtype=np.uint32)
  state = jax.eval_shape(adversary._start(attack), shared, task)
  assert_for_all(lowered(adversary._start(attack), shared, task))
  whole = shape(dtype=np.int32)
  steps = adversary._steps(lambda variables, images: every_class(logits(variables, images)), attack)
  text = lowered(steps, variables, shared, (whole, whole), task, state)
  assert_for_all(text)
  assert "stablehlo.while" in text
  assert PRODUCT.search(text)
