"""Numbers do not depend on JAX's settings, and noise is threefry's as published."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import biasjax
from biasjax import numerics, probes
from biasjax.data import pipeline
from biasjax.engine import programs
from biasjax.probes.base import Probe
from jax_profiles import unusual_settings

LABELS = np.arange(24) % 10
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: np.ndarray, counter: np.ndarray) -> np.ndarray:
  """Threefry-2x32-20 (Salmon et al. 2011): uint32 [..., 2] of keys and counters uint32 [..., 2]."""
  words = [key[..., :1], key[..., 1:], key[..., :1] ^ key[..., 1:] ^ np.uint32(0x1BD11BDA)]
  x, y = counter[..., :1] + words[0], counter[..., 1:] + words[1]
  for group in range(5):
    for rotation in ROTATIONS[group % 2]:
      x = x + y
      y = (y << np.uint32(rotation) | y >> np.uint32(32 - rotation)) ^ x
    x, y = x + words[(group + 1) % 3], y + words[(group + 2) % 3] + np.uint32(group + 1)
  return np.concatenate([x, y], axis=-1)


def folded(key: np.ndarray, *values: int) -> np.ndarray:
  """`key` after folding in numbers, as JAX defines it: the generator's output for (0, number)."""
  for value in values:
    key = threefry(key, np.array([0, value], np.uint32))
  return key


def uniform(key: np.ndarray, count: int) -> np.ndarray:
  """Numbers in [0, 1): the upper 23 bits of both words' exclusive or, for the counters 0, 1, ..."""
  counters = np.stack([np.zeros(count, np.uint32), np.arange(count, dtype=np.uint32)], axis=-1)
  bits = np.bitwise_xor.reduce(threefry(key, counters), axis=-1)
  return (bits >> np.uint32(9)).astype(np.float64) / 2**23


def test_the_oracle_gives_the_published_numbers():
  """Known answers of the Random123 distribution."""
  ones = np.full(2, 0xFFFFFFFF, np.uint32)
  assert threefry(np.zeros(2, np.uint32), np.zeros(2, np.uint32)).tolist() == [0x6B200159, 0x99BA4EFE]
  assert threefry(ones, ones).tolist() == [0x1CB996FC, 0xBB002BE7]


@pytest.mark.parametrize("settings", [contextlib.nullcontext, unusual_settings])
@pytest.mark.parametrize("seed", [0, 2**40 + 3])
def test_noise_is_threefry_of_seed_probe_condition_and_name(settings, seed):
  crc_of_probe, crc_of_condition = 0xCBF43926, 0x3610A686  # of the check strings of CRC-32
  ids = np.stack([pipeline.noise_id("a.png", 0), pipeline.noise_id("b.png", 1)])
  programs.condition_key.cache_clear()
  with settings():
    key = programs.condition_key(seed, "123456789", "hello")
    perturb = jax.jit(programs.perturb_step(lambda key, image, condition: jax.random.uniform(key, (5,))))
    with jax.transfer_guard("allow"):
      found = np.asarray(perturb(key, (), ids, np.zeros((2, 1), np.float32)))
  expected = folded(np.array([seed >> 32, seed % 2**32], np.uint32), crc_of_probe, crc_of_condition)
  np.testing.assert_array_equal(key, expected)
  for row, noise_id in zip(found, ids, strict=True):
    np.testing.assert_array_equal(row, uniform(folded(expected, *noise_id), 5).astype(np.float32))


def apply(weights, images):
  return ((images.reshape(len(images), -1) - 0.5) @ weights).astype(jnp.float32)


def observations() -> dict[str, pd.DataFrame]:
  """Of a template matcher, under noise, filters and attacks."""
  rng = np.random.default_rng(0)
  prototypes = rng.integers(60, 196, (10, 32, 32, 3))
  pixels = np.clip(prototypes[LABELS] + rng.normal(0, 60, (len(LABELS), 32, 32, 3)), 0, 255).astype(np.uint8)
  weights = np.asarray((prototypes.reshape(10, -1) / 255 - 0.5).T, np.float32)
  return biasjax.measure(apply, weights, pixels, LABELS, asked(), batch_size=12).observations


def asked() -> list[Probe]:
  """Probes, with few of their conditions."""
  few = {
    "critical_band": ("clean", "f=0/sd=0.16", "f=2/sd=0.16"),
    "spectral": ("low/0.2", "high/0.2"),
    "pgd:eps=8:steps=2": ("eps=8",),
    "autoattack:eps=8:attacks=apgd-ce+square:steps=2:queries=4": ("eps=8",),
  }
  return [
    dataclasses.replace(
      probe, conditions={name: probe.conditions[name] for name in few[probe.name]}, summarise=lambda _: []
    )
    for probe in (probes.get(name, 32) for name in few)
  ]


def test_observations_do_not_depend_on_settings_of_jax():
  usual = observations()
  with unusual_settings():
    found = observations()
  for probe, expected in usual.items():
    pd.testing.assert_frame_equal(found[probe], expected)


def test_a_settled_function_leaves_the_settings_as_they_were():
  @numerics.settled()
  def inside():
    return jax.config.jax_enable_x64, jnp.asarray(1.0).dtype

  with jax.enable_x64(True):
    assert inside() == (False, np.float32)
    assert jnp.asarray(1.0).dtype == np.float64
