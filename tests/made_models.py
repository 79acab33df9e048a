"""Small networks with every variable drawn at random, in memory and as converted checkpoints."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from biasjax.models import load, stored
from biasjax.models.architecture import Architecture
from biasjax.models.load import Model
from biasjax.models.resnet import ResNet

ARCHITECTURE = Architecture("bottleneck", (1, 1, 1, 1), width=8, inner_width=8)


@functools.cache
def network() -> ResNet:
  return ResNet(ARCHITECTURE)


def made_model(name: str, seed: int) -> Model:
  """A network that answers differently for each seed; residual branches and statistics are not trivial."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    scale = np.float32(np.prod(leaf.shape[:-1])) ** -0.5 if leaf.ndim > 1 else 0.3
    positive = path[-1].key in ("var", "scale", "std")
    values = rng.normal(0, scale, leaf.shape)
    return (0.5 + np.abs(values) if positive else values).astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(draw, load.variable_shapes(ARCHITECTURE))
  return Model(name, ARCHITECTURE, variables, network().apply, f"made from seed {seed}", {})


def made_checkpoint(folder: pathlib.Path, seed: int) -> pathlib.Path:
  """The same as `python -m convert` leaves it."""
  folder.mkdir(parents=True)
  model = made_model(folder.name, seed)
  load.save(epath.Path(folder), model.architecture, model.variables)
  (folder / stored.CERTIFICATE).write_text(json.dumps({}))
  return folder


def brightness(variables, images):
  """Three classes: dark, middling and light; as transparent as a network can be."""
  light = images.mean((1, 2, 3))[:, None]
  return -variables["sharpness"] * (light - jnp.array([[0.2, 0.5, 0.8]])) ** 2


VARIABLES = {"sharpness": jnp.float32(10)}
PLAIN = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (50, 128, 130, 200)])
