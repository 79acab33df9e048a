"""A vision transformer of one's own, probed: biasjax needs (variables, images) -> logits and nothing else.

python -m examples.vit [--steps=300]

Trains a small ViT on drawn pictures for some seconds and asks for its spectral bias and its critical band.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import biasjax
from biasjax.data import synthetic

STEPS = flags.DEFINE_integer("steps", 300, "Of training.", lower_bound=0)
SIZE, PATCH, WIDTH, CLASSES = 64, 8, 64, 16


class ViT(nn.Module):
  """Four blocks over patches; images float32 [b, h, w, 3] in [0, 1] -> logits [b, 16]."""

  @nn.compact
  def __call__(self, images):
    """Normalises by itself."""
    x = nn.Conv(WIDTH, (PATCH, PATCH), (PATCH, PATCH))((images - 0.5) / 0.25)
    x = x.reshape(len(x), -1, WIDTH)
    x = x + self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], WIDTH))
    for _ in range(4):
      y = nn.LayerNorm()(x)
      x = x + nn.MultiHeadDotProductAttention(num_heads=4)(y, y)
      x = x + nn.Dense(WIDTH)(nn.gelu(nn.Dense(2 * WIDTH)(nn.LayerNorm()(x))))
    return nn.Dense(CLASSES)(nn.LayerNorm()(x).mean(axis=1))


def pictures(per_category: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """uint8 [n, 64, 64, 3] in which shape and texture agree, and their categories [n]."""
  labels = np.tile(np.arange(CLASSES), per_category)
  drawn = [
    synthetic.picture(np.random.default_rng((seed, i)), *[synthetic.CATEGORIES[label]] * 2, SIZE)
    for i, label in enumerate(labels)
  ]
  return np.stack(drawn), labels


def train(images: np.ndarray, labels: np.ndarray, steps: int):
  """The network's variables after some steps of AdamW."""
  network, optimizer = ViT(), optax.adamw(1e-3)
  variables = network.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))

  @jax.jit
  def step(variables, state, x, y):
    def loss(variables):
      logits = network.apply(variables, x.astype(jnp.float32) / 255)
      return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    updates, state = optimizer.update(jax.grad(loss)(variables), state, variables)
    return optax.apply_updates(variables, updates), state

  state, rng = optimizer.init(variables), np.random.default_rng(0)
  for _ in range(steps):
    chosen = rng.choice(len(images), 32)
    variables, state = step(variables, state, images[chosen], labels[chosen])
  return variables


def main(argv: list[str]) -> None:
  """Trains, measures, prints."""
  del argv
  variables = train(*pictures(40, seed=0), STEPS.value)
  images, labels = pictures(5, seed=1)
  found = biasjax.measure(ViT().apply, variables, images, labels, ["accuracy", "spectral", "critical_band"])
  print(found.metrics[found.metrics["metric"].isin(["top1_acc/data", "LPP", "HPP"])].to_string(index=False))


if __name__ == "__main__":
  app.run(main)
