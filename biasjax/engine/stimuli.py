"""What a probe shows networks, as images: for a network that cannot run here to answer to."""

import hashlib
import json
from collections.abc import Iterator

from biasjax.data import pipeline
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Probe

# What of a source says how images are brought to size.
PREPROCESS = ("resize", "crop", "interpolation", "squash", "stimulus")
# How images are written: of 256 levels, or as they are.
FORMS = ("png", "npy")


def identity(probe: Probe, source: Source, seed: int, form: str) -> str:
  """16 hex digits that stand for the images that a probe shows of a dataset.

  Args:
    probe: of which size and options is part of it.
    source: names, sizes and labels of its images, and how they are brought to size.
    seed: of all noise.
    form: one of `FORMS`.
  """
  shown = {
    "dataset": source.fingerprint,
    "preprocess": {name: getattr(source, name) for name in PREPROCESS},
    "probe": probe.name,
    "conditions": list(probe.conditions),
    "parameters": dict(probe.parameters),
    "seed": seed,
    "form": form,
  }
  return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def refuse_adaptive(probe: Probe, who: str) -> None:
  """Raises BiasjaxError for a probe whose images depend on what the network says of others."""
  if probe.attack is not None:
    raise BiasjaxError(
      f"{who}: {probe.name} asks the network itself, step by step, so there are no images to be answered "
      "beforehand: leave it out"
    )


def batches(source: Source, rows: int, threads: int = pipeline.THREADS) -> Iterator[pipeline.Batch]:
  """All images of a source, as a pass sees them."""
  every = [(start, min(start + rows, source.length)) for start in range(0, source.length, rows)]
  return pipeline.batches(source, every, batch_size=rows, threads=threads)
