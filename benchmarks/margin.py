"""What --margin costs and whether its intervals cover: replays from observations of every image.

python -m benchmarks.margin --workdir=DIR --observe=1024  four networks, all of 1,024 drawn pictures
python -m benchmarks.margin --workdir=DIR [--margin=1] [--images=50000] [--replays=1000] [--conditions=12]

DIR holds observations of every image, of the first command or a run with --margin=0. A replay draws a random
order and looks at observations as a run would. With --images they are drawn with replacement from those in
DIR, to make a dataset of that size: its own answer is then what intervals are to cover.
"""

import collections
import io
import time

import numpy as np
from absl import app, flags
from PIL import Image

from biasjax import convert, probes
from biasjax.data import synthetic
from biasjax.data.layouts import Place
from biasjax.data.sources import Example, Source
from biasjax.engine import evaluate
from biasjax.models import load
from biasjax.probes.observed import under
from biasjax.results.store import Store, Unit
from biasjax.sampling import Known, Watch, covariates, estimate

NETWORKS = ["baseline_seed0", "stylised_seed0", "gaussian_noise_seed0", "linf_adversarial_seed0"]
SIDE = 64
FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Observations of every image.", required=True)
flags.DEFINE_integer("observe", 0, "Observe so many drawn pictures, instead of replaying.")
flags.DEFINE_list("networks", NETWORKS, "Of demo/zoo.")
flags.DEFINE_float("margin", 1.0, "Points.")
flags.DEFINE_integer("images", 0, "Of the dataset that is made from those observed; 0: as many as there are.")
flags.DEFINE_integer("replays", 1000, "Of each condition.")
flags.DEFINE_integer("conditions", 0, "Of each network and probe, evenly from all; 0: all.")
flags.DEFINE_integer("cost_replays", 5, "Of all conditions, for what is looked at in all.")
flags.DEFINE_string("probes", "spectral,critical_band,corruptions", "Whose conditions.")


def stop(
  y: np.ndarray, known: Known, margin: float, further: np.ndarray | None = None
) -> tuple[int, bool, float]:
  """(images looked at, whether the interval covers the mean of y, its half width) of one replay."""
  watch = Watch(margin, len(y))
  while True:
    found = estimate(y[: watch.at], known, further)
    watch.look(found)
    if watch.done:
      half = found.half(watch.critical)
      return found.n, abs(found.value - y.mean()) <= half + 1e-12, half


class Permuted(Known):
  """`Known` of the same images in another order."""

  def __init__(self, known: Known, order: np.ndarray):
    self.values, self._solved = known.values[order], {}


def observed(store: Store, unit: Unit, clean: Unit) -> tuple[np.ndarray, np.ndarray, list[str]]:
  """Right or not float [images, conditions], covariates [images, k], and the conditions."""
  table = store.load(clean).frame().sort_values("example_id")
  known = covariates(table["rank"].to_numpy() == 0, table["confidence"].to_numpy(), table["nll"].to_numpy())
  conditions = list(probes.get(unit.probe, unit.key["preprocess"]["crop"]).conditions)
  return under(store.load(unit).frame(), conditions).right.astype(float), known, conditions


def drawn(count: int) -> Source:
  """Pictures of the 16 categories, in memory."""
  names = [f"{synthetic.CATEGORIES[i % 16]}/{i}.png" for i in range(count)]
  places = [Place(name, i % 16) for i, name in enumerate(names)]

  def read(index: int) -> Example:
    category, buffer = synthetic.CATEGORIES[index % 16], io.BytesIO()
    picture = synthetic.picture(np.random.default_rng((20, index)), category, category, SIDE)
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return Example(buffer.getvalue(), index % 16, names[index])

  return Source("drawn", count, read, f"drawn {count}", "memory", "synthetic", None, SIDE, places=places)


def observe() -> None:
  """Asks every picture under every condition, for later replays."""
  models = [
    load.load(folder) for folder in convert.resolve([f"demo/zoo/{n}.safetensors" for n in FLAGS.networks])
  ]
  asked = [probes.get(name, SIDE) for name in ("accuracy", *FLAGS.probes.split(","))]
  store = Store(FLAGS.workdir, 128, create=True)
  evaluate.evaluate(models, asked, drawn(FLAGS.observe), store, evaluate.Settings(batch_size=128))


def main(argv) -> None:
  del argv
  if FLAGS.observe:
    return observe()
  store, margin = Store(FLAGS.workdir), FLAGS.margin / 100
  units = {(unit.model, unit.dataset, unit.probe): unit for unit in store.units()}
  wanted, rng = FLAGS.probes.split(","), np.random.default_rng(0)
  worst, cost, full, lines = [], collections.Counter(), collections.Counter(), []
  started = time.monotonic()
  for (model, dataset, probe), unit in units.items():
    if probe.partition(":")[0] not in wanted:
      continue
    y, values, conditions = observed(store, unit, units[model, dataset, "accuracy"])
    if FLAGS.images:
      rows = rng.integers(0, len(y), FLAGS.images)
      y, values = y[rows], values[rows]
    known = Known(values)
    for _ in range(FLAGS.cost_replays):
      order = rng.permutation(len(y))
      of = Permuted(known, order)
      looked = [stop(y[order, c], of, margin)[0] for c in range(y.shape[1])]
      cost[probe] += sum(looked) / FLAGS.cost_replays / len(y) / len(conditions)
    full[probe] += 1
    chosen = np.unique(np.linspace(0, y.shape[1] - 1, FLAGS.conditions or y.shape[1]).astype(int))
    covered, widths, sizes = np.zeros(len(chosen)), [], []
    for _ in range(FLAGS.replays):
      order = rng.permutation(len(y))
      of = Permuted(known, order)
      for at, c in enumerate(chosen):
        n, covers, half = stop(y[order, c], of, margin)
        covered[at] += covers
        widths.append(half)
        sizes.append(n)
    share = covered / max(FLAGS.replays, 1)
    worst += [(share[at], model, probe, conditions[c], y[:, c].mean()) for at, c in enumerate(chosen)]
    lines.append((model, probe, len(y), y.mean(), cost[probe] / full[probe]))
    print(
      f"{model} {probe}: {len(y):,} images, mean accuracy {y.mean():.3f}; covered {share.min():.3f} to "
      f"{share.max():.3f}, {share.mean():.3f} on average; {np.mean(sizes or [0]):.0f} images; "
      f"{time.monotonic() - started:.0f} s",
      flush=True,
    )
  print("share of all forward passes, by probe:", {name: round(cost[name] / full[name], 4) for name in cost})
  counts = {name: len(probes.get(name, 64).conditions) for name in cost}
  passes = sum(counts[name] * cost[name] / full[name] for name in cost) + 1
  print(f"together, the clean pass over all images counted: {passes / (sum(counts.values()) + 1):.4f}")
  for share, *where in sorted(worst)[:8]:
    print(f"  covered {share:.3f}: {where}")


if __name__ == "__main__":
  app.run(main)
