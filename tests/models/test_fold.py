"""A folded network is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.models import fold, load
from biasjax.models.resnet import Architecture


def random_variables(architecture, seed=0):
  rng = np.random.default_rng(seed)

  def draw(path, shape):
    name = path[-1].key
    if name in ("var", "scale", "std"):
      return rng.uniform(0.5, 1.5, shape.shape).astype(np.float32)
    fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 4
    return (rng.standard_normal(shape.shape) * (2 / fan_in) ** 0.5).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, load.variable_shapes(architecture))


@pytest.mark.parametrize(
  "architecture",
  [
    Architecture("bottleneck", (2, 1, 1), width=4, inner_width=4, num_classes=7),
    Architecture("bottleneck", (1, 2), width=4, inner_width=8, num_classes=7),
    Architecture("basic", (2, 1, 1), width=4, inner_width=4, num_classes=7),
  ],
  ids=["bottleneck", "wide", "basic"],
)
def test_folded_network_gives_the_same_logits(architecture):
  variables = random_variables(architecture)
  images = jnp.asarray(np.random.default_rng(1).random((2, 40, 36, 3), np.float32))
  model = load.Model("x", architecture, variables, load.apply_function(architecture), "unfolded", {})
  folded = fold.fold_model(model)
  expected = model.apply(model.variables, images)
  difference = jnp.abs(folded.apply(folded.variables, images) - expected).max() / jnp.abs(expected).max()
  assert difference < 1e-5
  assert folded.fingerprint != model.fingerprint
  assert "batch_stats" not in folded.variables


def test_folded_bias_comes_from_the_statistics():
  architecture = Architecture("basic", (1,), width=2, inner_width=2, num_classes=3)
  variables = random_variables(architecture)
  folded = fold.fold(variables)["params"]["layer1_0"]["conv2"]
  params, stats = variables["params"]["layer1_0"], variables["batch_stats"]["layer1_0"]["bn2"]
  factor = params["bn2"]["scale"] / np.sqrt(stats["var"] + 1e-5)
  np.testing.assert_allclose(
    folded["bias"], params["bn2"]["bias"] - stats["mean"] * factor, rtol=1e-5, atol=1e-7
  )
  np.testing.assert_allclose(
    folded["kernel"], params["conv2"]["kernel"] * factor[None, None, None], rtol=1e-6
  )
