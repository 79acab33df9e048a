"""How large chunks are, and which a process computes: its own stripe, then what the others leave undone.

Processes see each other's progress on disk only. A chunk that two of them compute is written twice with the
same bytes, so a wrong guess costs time and nothing else. No messages, no clocks.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

from biasjax.results.chunk import Chunk

POLL_S = 1.0
PATIENCE_S = 10.0  # at least that long a chunk may be in another process' hands without being taken from it


# Forward passes that one device makes for a chunk, about: some minutes' work, which is what a killed process
# loses.
LOOKS_IN_CHUNK = {"cpu": 2**13}
LOOKS_ELSEWHERE = 2**19
FEWEST, MOST_IN_CHUNK = 64, 2**14  # for each device; in all
MOST_CHUNKS = 448  # of a dataset: files are opened one by one when tables are made


def chunk_size(looks: int | float, length: int, rows: int, devices: int, platform: str) -> int:
  """Examples in a chunk: few enough that little is lost with it, enough that files are few and batches full.

  Args:
    looks: forward passes that one example costs, for all models and conditions.
    length: examples of the dataset.
    rows: of a batch over all devices. The size is a multiple of it, or, where an example costs very much,
      less than one batch.
    devices: of the process.
    platform: of them, "cpu" or another.
  """
  wanted = devices * LOOKS_IN_CHUNK.get(platform, LOOKS_ELSEWHERE) / max(looks, 1)
  wanted = max(min(wanted, MOST_IN_CHUNK), FEWEST * devices, length / MOST_CHUNKS)
  step = rows if wanted > rows else devices
  return step * math.ceil(wanted / step)


def of_samples(size: int, step: int, length: int) -> int:
  """The chunk size nearest below `size` that divides the steps in which samples grow.

  Looks are taken at the same numbers of images then, whatever a machine is like.

  Args:
    size: `chunk_size`.
    step: `sampling.step`, a power of two.
    length: examples of the dataset.
  """
  found = step
  while found > size and found % 2 == 0 and found / 2 >= length / MOST_CHUNKS:
    found //= 2
  return found


@dataclasses.dataclass(frozen=True)
class Worker:
  """One of the processes that share a run.

  Attributes:
    rank: 0 to count - 1.
    count: how many there are.
    helps: whether it goes on with the others' chunks when its own are done. Processes of one job that run at
      the same time do; elements of a job array, which may start hours apart, do not.
  """

  rank: int = 0
  count: int = 1
  helps: bool = False


def own(every: Sequence[Chunk], worker: Worker) -> list[Chunk]:
  """The stripe of `worker`: disjoint from the others', together they are all chunks."""
  return list(every[worker.rank :: worker.count])


class Waiting:
  """Decides which of the others' chunks to take, and how long one may be in its owner's hands."""

  def __init__(self, clock: Callable[[], float] = time.monotonic):
    self._clock = clock
    self._since: dict[Chunk, float] = {}

  def next(
    self, every: Sequence[Chunk], left: Sequence[Chunk], worker: Worker, *, patience: float
  ) -> Chunk | None:
    """A chunk to compute now, or None to look again later.

    An owner works through its stripe in order, so the first that is left of it is presumably in its hands: it
    is taken only when it has been that for `patience` seconds. The last is taken first.

    Args:
      every: all chunks.
      left: those that nobody has written.
      worker: who asks.
      patience: seconds, at least `PATIENCE_S`.
    """
    missing, now = set(left), self._clock()
    in_hand = []
    for offset in range(worker.count):
      owner = (worker.rank + offset) % worker.count
      stripe = [chunk for chunk in every[owner :: worker.count] if chunk in missing]
      if len(stripe) > 1 or (stripe and offset == 0):
        return stripe[-1]
      in_hand += stripe
    self._since = {chunk: self._since.get(chunk, now) for chunk in in_hand}
    overdue = [chunk for chunk in in_hand if now - self._since[chunk] >= max(patience, PATIENCE_S)]
    return overdue[0] if overdue else None
