"""What an image costs from its file to a batch, in processor time and by the clock, and decoding alone.

python -m benchmarks.loading --dataset=folder:PATH [--images=1000] [--batch_sizes=64,256] [--turns=3]
"""

import time
from collections.abc import Callable

from absl import app, flags

from biasjax.data import opening, pipeline

DATASET = flags.DEFINE_string("dataset", None, "As --dataset of run.py.", required=True)
IMAGES = flags.DEFINE_integer("images", 1000, "Looked at in each turn.", lower_bound=1)
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["64", "256"], "Images of a batch.")
TURNS = flags.DEFINE_integer("turns", 3, "The least of so many is printed.", lower_bound=1)


def timed(work: Callable[[], object]) -> tuple[float, float]:
  """Seconds of all cores, and by the clock."""
  cpu, clock = time.process_time(), time.perf_counter()
  work()
  return time.process_time() - cpu, time.perf_counter() - clock


def main(argv):
  del argv
  source = opening.open_dataset(DATASET.value)
  n = min(IMAGES.value, source.length)
  decode = pipeline.preprocessing(source)

  def alone():
    for index in range(n):
      decode(pipeline.read(source, index).encoded)

  def batched(rows):
    for _ in pipeline.batches(source, [(0, n)], batch_size=rows):
      pass

  ways = {"one thread, no batches": alone}
  ways |= {f"batches of {size}": lambda rows=int(size): batched(rows) for size in BATCH_SIZES.value}
  alone()  # files are in memory from now on
  found = {name: [] for name in ways}
  for _ in range(TURNS.value):
    for name, work in ways.items():
      found[name].append(timed(work))
  print(f"{source.location}: milliseconds an image, {n} images")
  for name, times in found.items():
    cpu, clock = (1e3 * min(each) / n for each in zip(*times, strict=True))
    print(f"{name}: {cpu:.3f} of processor time, {clock:.3f} by the clock")


if __name__ == "__main__":
  app.run(main)
