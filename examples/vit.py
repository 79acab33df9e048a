"""A small vision transformer of one's own, trained on drawn pictures for seconds, asked what it is biased to.

python -m examples.vit draws pictures of four categories, trains, and prints the main numbers of five probes.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

import biasjax
from biasjax.data import synthetic

CATEGORIES = ("arch", "crescent", "hourglass", "square")
SIZE = 32  # pixels of a side
PATCH = 8
STEPS = 400
BATCH = 64


class ViT(nn.Module):
  """Logits float32 [b, classes] of images float32 [b, 32, 32, 3] in [0, 1]."""

  classes: int = len(CATEGORIES)
  width: int = 64
  depth: int = 2

  @nn.compact
  def __call__(self, images):
    """The network; it normalises each image itself."""
    contrast = jnp.std(images, (1, 2, 3), keepdims=True) + 0.01
    x = (images - jnp.mean(images, (1, 2, 3), keepdims=True)) / contrast
    x = nn.gelu(nn.Conv(16, (3, 3), (2, 2))(x))
    x = nn.Conv(self.width, (PATCH // 2, PATCH // 2), (PATCH // 2, PATCH // 2))(x)
    x = x.reshape(len(x), -1, self.width)
    x = x + self.param("position", nn.initializers.normal(0.02), (1, *x.shape[1:]))
    for _ in range(self.depth):
      x = x + nn.MultiHeadDotProductAttention(num_heads=4)(nn.LayerNorm()(x))
      x = x + nn.Dense(self.width)(nn.gelu(nn.Dense(2 * self.width)(nn.LayerNorm()(x))))
    return nn.Dense(self.classes)(nn.LayerNorm()(x).mean(1))


def draw(count: int, seed: int, *, conflict: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Pictures uint8 [count, 32, 32, 3], and the categories of shapes and of textures, int [count]."""
  rng = np.random.default_rng(seed)
  shapes = rng.integers(0, len(CATEGORIES), count)
  textures = (shapes + conflict * rng.integers(1, len(CATEGORIES), count)) % len(CATEGORIES)
  pictures = [
    synthetic.picture(rng, CATEGORIES[s], CATEGORIES[t], SIZE) for s, t in zip(shapes, textures, strict=True)
  ]
  return np.stack(pictures), shapes, textures


def train(network: nn.Module, pictures: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict:
  """Variables after `STEPS` steps of Adam."""
  images = pictures.astype(np.float32) / 255
  variables = jax.jit(network.init)(jax.random.key(seed), images[:1])
  optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 2e-3, 20, STEPS))

  @jax.jit
  def step(variables, state, images, labels):
    def loss(variables):
      logits = network.apply(variables, images)
      return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    updates, state = optimizer.update(jax.grad(loss)(variables), state)
    return optax.apply_updates(variables, updates), state

  state, rng = optimizer.init(variables), np.random.default_rng(seed)
  for _ in range(STEPS):
    rows, turns = rng.integers(0, len(images), BATCH), rng.integers(4)
    variables, state = step(variables, state, np.rot90(images[rows], turns, (1, 2)), labels[rows])
  return variables


def main() -> pd.DataFrame:
  """Draws, trains, measures; returns the metrics."""
  network = ViT()
  pictures, labels, _ = draw(1024, seed=0)
  variables = train(network, pictures, labels)

  pictures, labels, _ = draw(128, seed=1)
  probes = ("accuracy", "spectral", "critical_band", "pgd:eps=1+4:steps=5")
  plain = biasjax.measure(network.apply, variables, pictures, labels, probes).metrics

  pictures, shapes, textures = draw(128, seed=2, conflict=True)
  conflict = biasjax.measure(network.apply, variables, pictures, shapes, "shape", textures=textures).metrics
  return pd.concat([plain, conflict])


if __name__ == "__main__":
  metrics = main()
  print(metrics.loc[~metrics["detail"], ["value", "low", "high", "n"]].round(3).to_string())
