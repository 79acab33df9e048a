"""How JAX computes every number here, whatever its settings are outside: a person's profile moves none.

docs/running.md names the settings that were tried.
"""

import contextlib
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

# Of the largest logit: what other images of a batch may change of an image's logits, which are its own.
BESIDE_OTHERS = 1e-4
GENERATOR = "threefry2x32"  # Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"

_SETTINGS = (
  # Numbers of another kind, or another number of them.
  functools.partial(jax.default_prng_impl, GENERATOR),
  functools.partial(jax.threefry_partitionable, True),
  functools.partial(jax.enable_x64, False),
  # Other roundings. By default TPUs and recent GPUs multiply float32 in fewer bits than that.
  functools.partial(jax.default_matmul_precision, "float32"),
  functools.partial(jax.softmax_custom_jvp, False),
  functools.partial(jax.disable_jit, False),
  # What would end a run: scores of classes that do not compete are -inf, and a pass sees for itself whether
  # logits are finite.
  functools.partial(jax.debug_nans, False),
  functools.partial(jax.debug_infs, False),
  functools.partial(jax.transfer_guard, "allow"),
  functools.partial(jax.numpy_dtype_promotion, "standard"),
)


@contextlib.contextmanager
def settled() -> Iterator[None]:
  """A context, and a decorator, in which numbers do not depend on JAX's settings outside; for this thread.

  A function that is compiled takes them on where it is traced, which is where it is first called.
  """
  with contextlib.ExitStack() as stack:
    for setting in _SETTINGS:
      stack.enter_context(setting())
    yield


def seed_key(seed: int) -> np.ndarray:
  """The key of a seed, uint32 [2]: its upper and its lower half. `jax.random.key` adds a setting to it."""
  return np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)


def keys(data: UInt32[Array | np.ndarray, "*shape 2"]) -> Key[Array, "*shape"]:
  """Keys for `jax.random` of what they are made of."""
  return jax.random.wrap_key_data(jnp.asarray(data), impl=GENERATOR)
