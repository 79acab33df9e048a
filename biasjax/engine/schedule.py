"""Which chunks a process computes: its own stripe, then what the others leave undone. No messages, no clocks.

Processes see each other's progress on disk only. A chunk that two of them compute is written twice with the
same bytes, so a wrong guess costs time and nothing else.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

Chunk = tuple[int, int]  # (start, stop), indices of examples

POLL_S = 1.0
PATIENCE_S = 10.0  # at least that long a chunk may be in another process' hands without being taken from it


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
