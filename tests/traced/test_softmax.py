"""The softmax of long rows on CPUs is JAX's, bit for bit."""

import jax
import numpy as np
import pytest

from biasjax import compiling
from biasjax.traced import reductions


@pytest.mark.parametrize("n", [32, 47, 197, 1000])
def test_a_softmax_of_rows_is_that_of_jax(n):
  x = np.random.default_rng(n).normal(0, 9, (3, 5, n)).astype(np.float32)
  x[0, 0, n // 2 :], x[0, 1], x[0, 2, n - 1], x[0, 3] = -np.inf, -np.inf, np.nan, 2
  options = {compiling.OPTION: compiling.NONE} if compiling.tuned(jax.default_backend()) else None
  ours = jax.jit(reductions._softmax_of_rows, compiler_options=options)(x)
  np.testing.assert_array_equal(ours, jax.jit(jax.nn.softmax, compiler_options=options)(x))
