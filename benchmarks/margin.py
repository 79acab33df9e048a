"""What --margin costs and whether its intervals cover: replays from observations of every image.

python -m benchmarks.margin --workdir=DIR --observe=1024  four networks, all of 1,024 drawn pictures
python -m benchmarks.margin --simulate --images=50000       attacks, simulated
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
from biasjax.results.store import Store
from biasjax.results.unit import Unit
from biasjax.sampling import Known, Watch, covariates, estimate

NETWORKS = ["baseline_seed0", "stylised_seed0", "gaussian_noise_seed0", "linf_adversarial_seed0"]
SIDE = 64
FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Observations of every image.")
flags.DEFINE_integer("observe", 0, "Observe so many drawn pictures, instead of replaying.")
flags.DEFINE_boolean("simulate", False, "AutoAttack beside PGD, on simulated answers; --images of them.")
flags.DEFINE_list("networks", NETWORKS, "Of demo/zoo.")
flags.DEFINE_float("margin", 1.0, "Points.")
flags.DEFINE_integer("images", 0, "Of the dataset that is made from those observed; 0: as many as there are.")
flags.DEFINE_integer("replays", 1000, "Of each condition.")
flags.DEFINE_integer("conditions", 0, "Of each network and probe, evenly from all; 0: all.")
flags.DEFINE_integer("cost_replays", 5, "Of all conditions, for what is looked at in all.")
flags.DEFINE_string("probes", "spectral,critical_band,corruptions", "Whose conditions.")


def stop(
  y: np.ndarray, order: np.ndarray, known: Known, margin: float, further: np.ndarray | None = None
) -> tuple[int, bool, float]:
  """(images looked at, whether the interval covers the mean of y, its half width) of one replay."""
  watch = Watch(margin, len(y))
  while True:
    found = estimate(y[order[: watch.at]], known, further)
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
  there = [
    chunk for chunk in store.chunks(unit.dataset) if store.has(unit, chunk) and store.has(clean, chunk)
  ]
  table = store.load(clean, there).frame().sort_values("example_id")
  known = covariates(table["rank"].to_numpy() == 0, table["confidence"].to_numpy(), table["nll"].to_numpy())
  conditions = list(probes.get(unit.probe, unit.key["preprocess"]["crop"]).conditions)
  return under(store.load(unit, there).frame(), conditions).right.astype(float), known, conditions


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


def simulate() -> None:
  """AutoAttack beside PGD on simulated answers to --images images: what is attacked, and whether it covers.

  76 % are right when clean, 38 % under AutoAttack and 40 % under PGD: PGD breaks hardly an image that
  AutoAttack does not. Strengths are normal, what is observed of them is noisy.
  """
  rng, count = np.random.default_rng(0), FLAGS.images
  strength = rng.normal(size=count)
  clean = strength + 0.5 * rng.normal(size=count)
  right = clean > np.quantile(clean, 0.24)
  confidence = 1 / (1 + np.exp(-1.5 * np.abs(clean)))
  nll = np.where(right, -np.log(confidence), -np.log1p(-confidence) + 1)
  held = strength + 0.4 * rng.normal(size=count)
  held[~right] = -np.inf
  robust = held > np.quantile(held, 0.62)
  pgd = (held + 0.02 * rng.normal(size=count) > np.quantile(held, 0.60)) & right
  known = Known(covariates(right, confidence, nll))
  for name, share in (("with pgd", 0.7), ("alone", 0.0)):
    attacked, first, covered = [], [], 0
    for _ in range(FLAGS.replays):
      order = rng.permutation(count)
      of, further = Permuted(known, order), None
      if share:
        looked = stop(pgd.astype(float), order, of, share * FLAGS.margin / 100)[0]
        first.append(right[order[:looked]].sum())
        further = pgd[order[:looked], None].astype(float)
      n, covers, _ = stop(robust.astype(float), order, of, FLAGS.margin / 100, further)
      attacked.append(right[order[:n]].sum())
      covered += covers
    print(
      f"simulated, {count:,} images, AutoAttack {name}: {np.mean(attacked):.0f} images attacked, 1 in "
      f"{count / np.mean(attacked):.1f}; by PGD {np.mean(first or [0]):.0f}; "
      f"covered {covered / FLAGS.replays:.3f}"
    )


def main(argv) -> None:
  del argv
  if FLAGS.simulate:
    return simulate()
  if FLAGS.observe:
    return observe()
  store, margin = Store(FLAGS.workdir), FLAGS.margin / 100
  units = {(unit.model, unit.dataset, unit.probe): unit for unit in store.units()}
  wanted, rng = FLAGS.probes.split(","), np.random.default_rng(0)
  worst, cost, full = [], collections.Counter(), collections.Counter()
  started = time.monotonic()
  for (model, dataset, probe), unit in units.items():
    if probe.partition(":")[0] not in wanted:
      continue
    y, values, conditions = observed(store, unit, units[model, dataset, "accuracy"])
    rows = rng.integers(0, len(y), FLAGS.images) if FLAGS.images else np.arange(len(y))
    y, known, count = np.ascontiguousarray(y[rows].T), Known(values[rows]), len(rows)
    for _ in range(FLAGS.cost_replays):
      order = rng.permutation(count)
      of = Permuted(known, order)
      looked = [stop(y[c], order, of, margin)[0] for c in range(len(y))]
      cost[probe] += sum(looked) / FLAGS.cost_replays / count / len(conditions)
    full[probe] += 1
    chosen = np.unique(np.linspace(0, len(y) - 1, FLAGS.conditions or len(y)).astype(int))
    covered, widths, sizes = np.zeros(len(chosen)), [], []
    for _ in range(FLAGS.replays):
      order = rng.permutation(count)
      of = Permuted(known, order)
      for at, c in enumerate(chosen):
        n, covers, half = stop(y[c], order, of, margin)
        covered[at] += covers
        widths.append(half)
        sizes.append(n)
    share = covered / max(FLAGS.replays, 1)
    worst += [(share[at], model, probe, conditions[c], y[c].mean()) for at, c in enumerate(chosen)]
    print(
      f"{model} {probe}: {count:,} images, mean accuracy {y.mean():.3f}; covered {share.min():.3f} to "
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
