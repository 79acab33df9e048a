"""What networks say about the images of a chunk, gathered while the device works on."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from biasjax.data import pipeline
from biasjax.partition import Partition

# Steps that may wait on the device: enough that it is never idle, few enough that their images fit in memory.
IN_FLIGHT = 8
COLUMNS = ("prediction", "rank", "confidence", "nll", "brier")


class Gathered:
  """What the models said about one chunk, gathered without waiting for the device."""

  def __init__(self, partition: Partition):
    self.excluded: dict[str, str] = {}
    self._partition = partition
    self._steps: dict[tuple[int, int], dict[str, list]] = collections.defaultdict(dict)
    self._in_flight: collections.deque = collections.deque()
    self._batches: list[pipeline.Batch] = []  # without their pixels
    self._pixels: list[np.ndarray] = []  # of the batches of which adversarial images are kept
    self._kept: dict[tuple[int, int], dict[str, list]] = collections.defaultdict(dict)

  @property
  def examples(self) -> int:
    """How many are in the batches that have ended."""
    return sum(batch.count for batch in self._batches)

  def keep(self, key: tuple[int, int], condition: str, images: np.ndarray) -> None:
    """Keeps a batch's adversarial images, float32 [b, h, w, 3]."""
    self._kept[key].setdefault(condition, []).append(images)

  def kept(self, key: tuple[int, int], count: int) -> dict[str, np.ndarray]:
    """Of the chunk's first `count` examples that could be decoded: `example_id`, `clean` (uint8) and, by
    "adversarial/<condition>", the adversarial images; empty where none are kept."""
    conditions = self._kept[key]
    if not conditions:
      return {}
    batches = self._batches[: len(self._pixels)]
    rows = np.flatnonzero(np.concatenate([batch.valid for batch in batches])[:count])
    ids = np.concatenate([np.array(batch.example_ids) for batch in batches])
    clean = np.concatenate(self._pixels)
    images = {f"adversarial/{name}": np.concatenate(parts)[rows] for name, parts in conditions.items()}
    return {"example_id": ids[rows], "clean": clean[rows]} | images

  def add(self, key: tuple[int, int], condition: str, step: Any, further: Mapping[str, Any]) -> None:
    """Takes what was dispatched for a batch; waits where too much is in flight.

    Args:
      key: (probe, model), indices.
      condition: under which the batch was seen.
      step: arrays on the devices, of `COLUMNS`.
      further: columns that the probe adds, [b] each.
    """
    self._steps[key].setdefault(condition, []).append((step, further))
    self._in_flight.append(step)
    if len(self._in_flight) > IN_FLIGHT:
      jax.block_until_ready(self._in_flight.popleft())

  def end_batch(self, batch: pipeline.Batch, keeping: int) -> None:
    """Takes note of a batch; of the chunk's first `keeping` examples also of the pixels."""
    if self.examples < keeping:
      self._pixels.append(batch.pixels)
    self._batches.append(dataclasses.replace(batch, pixels=np.empty((0, 0, 0, 3), np.uint8)))
    self.excluded |= batch.excluded

  @property
  def example_ids(self) -> list[str]:
    """Of the chunk, decoded or not, in order."""
    return [name for batch in self._batches for name in batch.example_ids if name]

  @property
  def contents(self) -> np.ndarray:
    """uint32 [examples], a digest of the bytes of each."""
    return np.concatenate([batch.contents[: batch.count] for batch in self._batches])

  @property
  def decoded(self) -> np.ndarray:
    """bool [examples], which of them could be."""
    return np.concatenate([batch.valid[: batch.count] for batch in self._batches])

  def again(self, start: int) -> dict[int, int]:
    """{index: digest} of the chunk's excluded images; the chunk's first has the index `start`."""
    digests = self.contents
    return {start + at: int(digests[at]) for at in np.flatnonzero(~self.decoded).tolist()}

  def columns(self, key: tuple[int, int]) -> dict[str, Any]:
    """The columns of an observation table, condition by condition, examples in order."""
    columns: dict[str, list] = collections.defaultdict(list)
    for condition, steps in self._steps[key].items():
      for batch, (step, further) in zip(self._batches, steps, strict=True):
        ids = np.array(batch.example_ids, object)
        of_batch = {"condition": np.full(len(ids), condition, object), "example_id": ids}
        of_batch |= {"label": batch.labels[:, 0]}
        if batch.labels.shape[1] > 1:
          several = [" ".join(str(label) for label in row if label >= 0) for row in batch.labels.tolist()]
          of_batch["labels"] = np.array(several, object)
        of_batch |= dict(zip(COLUMNS, self._partition.get(step), strict=True)) | dict(further)
        for name, values in of_batch.items():
          columns[name].append(np.asarray(values)[batch.valid])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def nonfinite(columns: Mapping[str, Any]) -> str:
  """What is wrong with a chunk's observations; "" if nothing is."""
  bad = np.flatnonzero(~np.isfinite(columns["confidence"]))
  if not len(bad):
    return ""
  condition, example_id = columns["condition"][bad[0]], columns["example_id"][bad[0]]
  return (
    f"its logits of {len(bad)} image(s) are not finite, e.g. {example_id} under {condition}; "
    "nothing of that chunk is kept: check the checkpoint, or name another --precision"
  )
