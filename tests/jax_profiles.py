"""JAX' settings as a person may have them in a profile, all at once, for a test's duration."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def unusual_settings() -> Iterator[None]:
  """What changes numbers, and what ends a run at things that are no mistake here."""
  offset = jax.config.values["jax_random_seed_offset"]
  with contextlib.ExitStack() as stack:
    for setting in (
      *(jax.default_prng_impl("rbg"), jax.threefry_partitionable(False), jax.enable_x64(True)),
      *(jax.default_matmul_precision("bfloat16"), jax.numpy_dtype_promotion("strict")),
      *(jax.numpy_rank_promotion("raise"), jax.debug_nans(True), jax.debug_infs(True)),
      *(jax.debug_key_reuse(True), jax.transfer_guard("disallow")),
    ):
      stack.enter_context(setting)
    jax.config.update("jax_random_seed_offset", 5)
    stack.callback(jax.config.update, "jax_random_seed_offset", offset)
    yield
