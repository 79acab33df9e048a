"""Networks to attack, and a probe's attack on them."""

import jax
import numpy as np
from small_scores import scores

from biasjax import partition
from biasjax.engine.programs import logits_step
from biasjax.probes.base import Probe, Victim
from biasjax.probes.decisions import every_class


def victim(variables, *, of=scores, split: partition.Partition | None = None) -> Victim:
  split = split or partition.of_process()
  return Victim(logits_step(of, "float32"), every_class, split.share(variables), split)


def key_data(names) -> np.ndarray:
  """A key for each example, from its name alone, uint32 [n, 2]."""
  return np.stack([np.asarray(jax.random.key_data(jax.random.key(int(name)))) for name in names])


def attacked(probe: Probe, on: Victim, images: np.ndarray, labels: np.ndarray, names=None) -> dict:
  """{condition: (images, columns)}, NumPy."""
  split = on.partition
  keys = key_data(range(len(images)) if names is None else names)
  batch = split.put((images, np.asarray(labels, np.int32)[:, None]))
  found = probe.attack(on, lambda condition: split.put(keys), *batch)
  return {condition: (split.get(a.images), dict(a.columns)) for condition, a in found}
