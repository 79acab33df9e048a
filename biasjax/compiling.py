"""Options of XLA for a program on a CPU, by what it holds; for versions of jaxlib they were measured with.

XLA gives single convolutions and products on CPUs to YNNPACK. Its convolutions of one group are slower than
XLA's other kernels, its grouped ones up to twice as fast, its products about alike (docs/performance.md). An
option belongs to a program, so that a network is compiled in one way whatever else a process computes.
"""

import importlib.metadata
import os
from typing import Any

from jax.extend import core

OPTION = "xla_cpu_experimental_ynn_fusion_type"  # a list; another version of jaxlib may not know it
MEASURED = ("0.10.2",)
NONE, CONVOLUTIONS = "", "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
_settled = {"tune": True}


def settle(*, tune: bool) -> None:
  """Says, before anything is compiled, whether programs of this process get options."""
  _settled["tune"] = tune


def tuned(platform: str) -> bool:
  """Whether programs on such a device get options; not where XLA_FLAGS has the same one, or names a file."""
  given = os.environ.get("XLA_FLAGS", "").strip()
  said = OPTION in given or (bool(given) and not given.startswith("-"))
  measured = importlib.metadata.version("jaxlib") in MEASURED
  return platform == "cpu" and _settled["tune"] and measured and not said


def said(platform: str) -> str:
  """What a record says of the options on such a device."""
  return f"{OPTION} by program" if tuned(platform) else "as given"


def options(jaxpr: Any, platform: str) -> dict[str, Any] | None:
  """`compiler_options` of `jax.jit` for a program; None for those that XLA has by itself.

  Args:
    jaxpr: of the program.
    platform: of the devices.
  """
  if not tuned(platform):
    return None
  return {OPTION: CONVOLUTIONS if _groups(jaxpr) else NONE}


def _groups(jaxpr: Any) -> bool:
  """Whether a convolution of several groups is in it, or the gradient of one."""
  for step in jaxpr.eqns:
    counts = (step.params.get(f"{what}_group_count", 1) for what in ("feature", "batch"))
    if any(count > 1 for count in counts):
      return True
    for parameter in step.params.values():
      for each in parameter if isinstance(parameter, tuple | list) else (parameter,):
        inner = each.jaxpr if isinstance(each, core.ClosedJaxpr) else each
        if isinstance(inner, core.Jaxpr) and _groups(inner):
          return True
  return False
