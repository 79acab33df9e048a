"""What a probe shows a network, as pictures: the very images of a run, with the noise that is theirs."""

import fnmatch
from collections.abc import Sequence

import numpy as np

from biasjax import partition
from biasjax.engine import programs
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Probe


def conditions(probe: Probe, patterns: Sequence[str]) -> list[str]:
  """Those of a probe's conditions that match any of the patterns, in the probe's order.

  Raises:
    BiasjaxError: none does, or what the probe shows depends on the network.
  """
  if probe.attack:
    raise BiasjaxError(
      f"{probe.name} needs a network: python run.py --keep_adversarial=8 draws what it makes"
    )
  wanted = [c for c in probe.conditions if any(fnmatch.fnmatchcase(c, pattern) for pattern in patterns)]
  if not wanted:
    raise BiasjaxError(
      f"{probe.name} has no condition {','.join(patterns)}: it has {', '.join(probe.conditions)}"
    )
  return wanted


def perturbed(
  probe: Probe,
  wanted: Sequence[str],
  pixels: np.ndarray,
  noise_ids: np.ndarray,
  *,
  seed: int = 0,
  rows: int | None = None,
) -> dict[str, np.ndarray]:
  """Condition -> images, float32 [b, h, w, 3] in [0, 1].

  Args:
    probe: one that does not attack.
    wanted: its conditions.
    pixels: uint8 [b, h, w, 3].
    noise_ids: uint32 [b, 2], `pipeline.noise_id` of each.
    seed: of the noise, as of the run.
    rows: of a batch, at least b: with those of a run its compiled programs are used again.
  """
  split = partition.of_process()
  count, devices = len(pixels), len(split.devices)
  rows = max(rows or 0, -(-count // devices) * devices)
  padded = [
    np.concatenate([of, np.zeros((rows - count, *of.shape[1:]), of.dtype)]) for of in (pixels, noise_ids)
  ]
  images, ids = (split.put(of) for of in padded)
  prepared = split.compile(programs.prepare_step(probe.prepare))(images)
  perturb = split.compile(programs.perturb_step(probe.perturb), shared=2)
  shared = {c: (programs.condition_key(seed, probe.name, c), probe.conditions[c]) for c in wanted}
  return {
    c: np.asarray(split.get(perturb(*map(split.share, of), ids, prepared)))[:count]
    for c, of in shared.items()
  }
