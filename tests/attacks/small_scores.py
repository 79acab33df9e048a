"""Small networks as scores, in JAX and in PyTorch, for the tests of attacks."""

import jax.numpy as jnp
import numpy as np

SIZE, HIDDEN, CLASSES = 10, 24, 6


def weights(seed: int = 0, classes: int = CLASSES, scale: float = 1.0) -> dict[str, np.ndarray]:
  """Two layers' weights, float32."""
  rng = np.random.default_rng(seed)
  first = rng.normal(0, 1, (SIZE * SIZE * 3, HIDDEN)).astype(np.float32) / np.float32(np.sqrt(SIZE * SIZE))
  second = rng.normal(0, 1, (HIDDEN, classes)).astype(np.float32) * np.float32(scale)
  return {"first": first, "second": second}


def scores(variables, images):
  """A perceptron with tanh: smooth, so that its gradients say where it goes."""
  first, second = (variables[name].astype(images.dtype) for name in ("first", "second"))
  return jnp.tanh((images.reshape(len(images), -1) - 0.5) @ first) @ second


def pictures(count: int, seed: int = 0) -> np.ndarray:
  """float32 [count, SIZE, SIZE, 3] in [0, 1], with pixels at both ends."""
  rng = np.random.default_rng(seed)
  return rng.uniform(-0.1, 1.1, (count, SIZE, SIZE, 3)).clip(0, 1).astype(np.float32)


def predictions(variables, images) -> np.ndarray:
  """What the perceptron says, int32 [n]."""
  return np.array(jnp.argmax(scores(variables, jnp.asarray(images)), axis=1), np.int32)


def torch_perceptron(variables):
  """The same in PyTorch, for images [b, 3, h, w], in the dtype of its input."""
  import torch

  class Perceptron(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.first, self.second = (
        torch.from_numpy(variables[name].astype(np.float64)) for name in ("first", "second")
      )

    def forward(self, images):
      flat = images.permute(0, 2, 3, 1).reshape(len(images), -1) - 0.5
      return torch.tanh(flat @ self.first.to(images.dtype)) @ self.second.to(images.dtype)

  return Perceptron().eval()
