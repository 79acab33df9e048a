"""What an optimiser makes of gradients, against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biasjax.errors import BiasjaxError
from biasjax.models.architecture import Architecture
from biasjax.train import command, step

torch = pytest.importorskip("torch", reason="compares with PyTorch")
STEPS, WARMUP, RATE, DECAY = 12, 3, 0.05, 0.1


@pytest.mark.parametrize("name", step.OPTIMIZERS)
def test_updates_are_those_of_pytorch_with_warm_up_cosine_and_decay_of_kernels(name):
  recipe = step.Recipe(
    architecture=Architecture("basic", (1,)),
    interventions=(),
    steps=STEPS,
    warmup_steps=WARMUP,
    learning_rate=RATE,
    momentum=0.8,
    weight_decay=DECAY,
    label_smoothing=0.0,
    average_decay=0.0,
    seed=0,
    optimizer=name,
  )
  rng = np.random.default_rng(0)
  params = {"fc": {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)}}
  gradients = [{"fc": {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)}} for _ in range(STEPS)]
  with jax.enable_x64(True):
    ours, optimizer = jax.tree.map(jnp.asarray, params), step.optimizer(recipe)
    state = optimizer.init(ours)
    for gradient in gradients:
      updates, state = optimizer.update(gradient, state, ours)
      ours = optax.apply_updates(ours, updates)

  theirs = {of: torch.nn.Parameter(torch.tensor(value)) for of, value in params["fc"].items()}
  groups = [
    {"params": [theirs["kernel"]], "weight_decay": DECAY},
    {"params": [theirs["bias"]], "weight_decay": 0.0},
  ]
  if name == "adam":
    descent = torch.optim.Adam(groups, lr=RATE, betas=(0.8, 0.999))
  else:
    descent = torch.optim.SGD(groups, lr=RATE, momentum=0.8, nesterov=True)
  for t, gradient in enumerate(gradients):
    rising = RATE * t / WARMUP
    falling = RATE * (1 + np.cos(np.pi * (t - WARMUP) / (STEPS - WARMUP))) / 2
    for group in descent.param_groups:
      group["lr"] = rising if t < WARMUP else falling
    for of, parameter in theirs.items():
      parameter.grad = torch.tensor(gradient["fc"][of])
    descent.step()
  for of, parameter in theirs.items():
    np.testing.assert_allclose(ours["fc"][of], parameter.detach().numpy(), rtol=1e-6)
    assert np.abs(parameter.detach().numpy() - params["fc"][of]).max() > 0.01


def test_another_optimizer_is_refused():
  with pytest.raises(BiasjaxError, match=r"train\.optimizer is 'lion'; expected sgd or adam"):
    command.parse({"optimizer": "lion"})
