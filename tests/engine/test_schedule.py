"""Every chunk is computed, whatever becomes of the processes, and rarely twice."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biasjax.engine import schedule
from biasjax.engine.schedule import Worker

CHUNK_S = 5.0  # that a chunk takes in the simulation


def every(count: int) -> list[schedule.Chunk]:
  return [(10 * i, 10 * i + 10) for i in range(count)]


@given(count=st.integers(0, 50), workers=st.integers(1, 9))
def test_stripes_are_disjoint_and_cover_all_chunks(count, workers):
  stripes = [schedule.own(every(count), Worker(rank, workers)) for rank in range(workers)]
  assert sorted(itertools.chain(*stripes)) == every(count)
  assert max(map(len, stripes)) - min(map(len, stripes)) <= 1


def simulate(
  count: int, workers: int, deaths: dict[int, float], speeds: list[float]
) -> tuple[set, int, float]:
  """(written, computed in vain, seconds) of processes that see each other's files and nothing else."""
  now, chunks, written, vain = 0.0, every(count), set(), 0
  clock = [0.0]
  waiting = [schedule.Waiting(lambda: clock[0]) for _ in range(workers)]
  stripes = [schedule.own(chunks, Worker(rank, workers)) for rank in range(workers)]
  hands: list = [None] * workers  # (chunk, when it is done)
  done = [False] * workers
  while not all(done[r] or deaths.get(r, 1e9) <= now for r in range(workers)):
    clock[0] = now
    for rank in range(workers):
      if done[rank] or deaths.get(rank, 1e9) <= now:
        continue
      if hands[rank] and hands[rank][1] <= now:
        vain += hands[rank][0] in written
        written.add(hands[rank][0])
        hands[rank] = None
      if hands[rank] is None:
        left = [chunk for chunk in chunks if chunk not in written]
        own = [chunk for chunk in stripes[rank] if chunk not in written]
        worker = Worker(rank, workers, helps=True)
        if not left:
          done[rank] = True
          continue
        chunk = own[0] if own else waiting[rank].next(chunks, left, worker, patience=2 * CHUNK_S)
        if chunk:
          hands[rank] = (chunk, now + CHUNK_S * speeds[rank])
    now += 1.0
    assert now < 1e4, "they never end"
  return written, vain, now


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 20), workers=st.integers(1, 5))
def test_survivors_compute_what_the_dead_leave(data, count, workers):
  mortal = data.draw(st.sets(st.integers(0, workers - 1), max_size=workers - 1))
  deaths = {rank: data.draw(st.floats(0, 60)) for rank in mortal}
  speeds = data.draw(st.lists(st.sampled_from([0.4, 1.0, 3.0]), min_size=workers, max_size=workers))
  written, _, _ = simulate(count, workers, deaths, speeds)
  assert written == set(every(count))


def test_nothing_is_computed_twice_by_equal_processes():
  written, vain, seconds = simulate(16, 4, {}, [1.0] * 4)
  assert (len(written), vain) == (16, 0)
  assert seconds <= 4 * CHUNK_S + 2


def test_a_fast_process_helps_a_slow_one():
  _, _, alone = simulate(12, 2, {0: 0.0}, [1.0, 3.0])
  _, _, helped = simulate(12, 2, {}, [0.4, 3.0])
  assert helped < alone / 2


@pytest.mark.parametrize("step", [-100.0, 0.0])
def test_a_clock_that_stands_or_goes_backwards_takes_nothing_from_anyone(step):
  times = itertools.count(0, step)
  waiting = schedule.Waiting(lambda: next(times))
  asked = [waiting.next(every(4), [(10, 20)], Worker(0, 2, helps=True), patience=1.0) for _ in range(20)]
  assert asked == [None] * 20  # the owner of (10, 20) is presumably at work on it
  assert waiting.next(every(4), [(0, 10)], Worker(0, 2, helps=True), patience=1.0) == (0, 10)
