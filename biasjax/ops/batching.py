"""How a function of one image goes through a batch."""

from collections.abc import Callable
from typing import Any

import jax


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
  """`function`, of which a CPU does the images of a `vmap` one after the other, elsewhere side by side.

  For what goes through memory several times, as a Fourier transform does: what is made of one image stays in
  a core's cache, and XLA's transforms take one core in any case. Of functions that are not differentiated.
  """
  alone = jax.custom_batching.sequential_vmap(function)
  return lambda *arguments: jax.lax.platform_dependent(*arguments, cpu=alone, default=function)
