"""Levels become the numbers that torchvision gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.ops.pixels import unit_interval

LEVELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("compile_", [jax.jit, lambda function: function])
def test_all_levels_are_divided_with_correct_rounding(compile_):
  np.testing.assert_array_equal(
    compile_(unit_interval)(jnp.asarray(LEVELS)), LEVELS.astype(np.float32) / np.float32(255)
  )


def test_all_levels_equal_to_tensor(torchvision):
  image = LEVELS.reshape(16, 16, 1).repeat(3, axis=2)
  expected = torchvision.transforms.ToTensor()(image).permute(1, 2, 0).numpy()
  np.testing.assert_array_equal(unit_interval(jnp.asarray(image)), expected)


def test_xla_cannot_add_the_two_parts_of_the_reciprocal_before():
  """As it does for TPUs without a barrier between them, where 126 levels then were off in the last bit."""
  assert "optimization_barrier" in str(jax.make_jaxpr(unit_interval)(LEVELS))
