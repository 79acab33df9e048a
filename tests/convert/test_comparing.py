"""Networks that compare values with what they made of them, or round quotients, count as PyTorch does."""

import jax
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import torch_networks
from biasjax.convert import tracing
from biasjax.traced import interpreter

CHANNELS, SIDE = 24, 28


def greatest(tokens):
  return tokens == tokens.max(1, keepdim=True).values


def median(tokens):
  return tokens == tokens.median(1, keepdim=True).values


def among_the_greatest(tokens):
  return tokens >= tokens.topk(5, 1).values[:, -1:]


def running(tokens):
  return tokens == tokens.cummax(1).values


def nothing_below_the_greatest(tokens):
  unit = functional.normalize(tokens, dim=-1)
  return (unit - unit.amax(1, keepdim=True)) == 0


def scaled_to_one(tokens):
  least, most = tokens.amin(1, keepdim=True), tokens.amax(1, keepdim=True)
  return (tokens - least) / (most - least) >= 1


def whole_shares(tokens):
  return torch.floor(tokens / tokens.amax(1, keepdim=True)).clamp(min=0)


def truncated(tokens):
  return torch.div(tokens, tokens.amax(1, keepdim=True), rounding_mode="trunc").clamp(min=0)


def whole_numbers(tokens):
  """No pixel is behind these: of 41 / 41 and the like."""
  places = torch.arange(tokens.shape[1] * 50, device=tokens.device).reshape(tokens.shape[1], -1)[:, :CHANNELS]
  return tokens * 0 + (places / 41).floor()


class Counting(nn.Module):
  """Tokens after a layer norm, and what a function makes of them, added up."""

  def __init__(self, function):
    super().__init__()
    self.patches, self.norm = nn.Conv2d(3, CHANNELS, 4, 4), nn.LayerNorm(CHANNELS)
    self.function = function

  def forward(self, x):
    tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
    return self.function(tokens).float().sum(1)


@pytest.mark.parametrize(
  "function",
  [
    *(greatest, median, among_the_greatest, running, nothing_below_the_greatest),
    *(scaled_to_one, whole_shares, truncated, whole_numbers),
  ],
)
def test_what_is_compared_or_rounded_counts_as_in_pytorch(function):
  network = torch_networks.randomise(Counting(function))
  images = np.random.default_rng(0).random((4, SIDE, SIDE, 3), np.float32)
  traced = tracing.trace(network, SIDE)
  channels = {"mean": np.zeros(3, np.float32), "std": np.ones(3, np.float32)}
  apply = interpreter.apply_function(traced.program)
  found = apply(tracing.variables(traced.weights, **channels), jax.numpy.asarray(images))
  with torch.no_grad():
    expected = network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("function", "barriers"),
  [(greatest, 1), (median, 1), (running, 1), (whole_numbers, 1), (scaled_to_one, 2), (truncated, 2)],
)
def test_on_other_devices_what_is_compared_or_divides_stands_behind_a_barrier(off_cpu, function, barriers):
  """As which XLA:GPU and XLA:TPU compute it once; no such device is at hand."""
  traced = tracing.trace(torch_networks.randomise(Counting(function)), SIDE)
  channels = {"mean": np.zeros(3, np.float32), "std": np.ones(3, np.float32)}
  variables = tracing.variables(traced.weights, **channels)
  images = jax.ShapeDtypeStruct((4, SIDE, SIDE, 3), np.float32)
  steps = jax.make_jaxpr(interpreter.apply_function(traced.program))(variables, images)
  assert str(steps).count("optimization_barrier") >= barriers  # tokens, and what they are divided by
