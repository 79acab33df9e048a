#!/usr/bin/env bash
# In Grain, taking an element costs time in proportion to how many are ready: a larger prefetch buffer makes a fast loader slower.
#
# `ReadOptions(prefetch_buffer_size=...)` is how many elements threads make ahead, and more of them should cost memory and nothing
# else. But each `next` of the iterator counts, for a metric that nobody need have asked for, the finished elements from the front of
# the buffer on, one by one, under the iterator's lock and in the consumer's thread, whether the metric is exported or not. Where the
# consumer is the slower one, as with a loader that keeps up, the buffer is full and the count goes over all of it: 1,000 elements
# ahead are 1,000 calls an element, a quarter of a millisecond or more, when the queue itself needs one. With small images (a PNG of
# 28 pixels is decoded in 0.05 ms) the counting costs several times the decoding.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet grain==0.2.18 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import concurrent.futures
import importlib.metadata
import sys
import time

import grain

print("grain", importlib.metadata.version("grain"))
ELEMENTS = 3000
asked = 0
done = concurrent.futures.Future.done


def counted(future):
  global asked
  asked += 1
  return done(future)


def taken(buffer):
  """Calls of Future.done and CPU microseconds for an element, after the buffer has filled."""
  global asked
  options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=buffer)
  elements = iter(grain.MapDataset.range(ELEMENTS + buffer).to_iter_dataset(options))
  next(elements)
  time.sleep(1)
  asked, start = 0, time.thread_time()
  for _ in range(ELEMENTS):
    next(elements)
  return asked / ELEMENTS, 1e6 * (time.thread_time() - start) / ELEMENTS


sizes = (16, 128, 1024)
times = [taken(size)[1] for size in sizes]
concurrent.futures.Future.done = counted
calls = [taken(size)[0] for size in sizes]
for size, call, cost in zip(sizes, calls, times):
  print(f"buffer of {size}: {call:.0f} questions whether it is done and {cost:.0f} microseconds of the consumer an element")
as_found = all(call > size / 2 for size, call in zip(sizes, calls)) and times[-1] > 3 * times[0]
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
