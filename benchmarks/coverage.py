"""How often 95 % intervals hold the truth: python -m benchmarks.coverage --repeats=400

Simulated observations whose truth is known, of each kind of interval that summaries have, as Markdown tables,
in per cent. With R repeats the standard error of a coverage is 22 / sqrt(R); channels have a quarter of them.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.special
from absl import app, flags

from biasjax import channels, statistics

REPEATS = flags.DEFINE_integer("repeats", 400, "Simulated data sets of each kind.", lower_bound=1)
ONLY = flags.DEFINE_enum("only", None, ("ratio", "classes", "shape", "channel"), "One of the tables.")

CLEAN = 0.75  # accuracy without a filter
Z = 1.959964


def delta_method(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float]:
  """The textbook interval of a paired ratio: symmetric, from the variance of the residuals."""
  ratio = numerator.mean() / denominator.mean()
  half = Z * (numerator - ratio * denominator).std(ddof=1) / math.sqrt(len(numerator)) / denominator.mean()
  return ratio - half, ratio + half


def filtered(n: int, hits: float, conditions: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Right under a filter (the mean over conditions, `hits` expected in the first of them), and when clean."""
  clean = rng.random(n) < CLEAN
  known = np.where(clean, 0.95 / CLEAN, 0.05 / (1 - CLEAN)) * hits / n
  right = rng.random((n, 1)) < known[:, None] * np.linspace(1, 0.2, conditions)
  return right.mean(axis=1), clean.astype(float)


def ratios(repeats: int) -> Iterator[list[object]]:
  """Ratios of an accuracy near the floor to the clean one."""
  yield [
    "images",
    "right of them",
    "Fieller",
    "delta method",
    "below 0",
    "mean of five: Fieller",
    "delta method",
  ]
  for n in (200, 1000, 50_000):
    for hits in (3, 5, 10, 30):
      row: list[object] = [f"{n:,}", hits]
      for conditions in (1, 5):
        rng, held = np.random.default_rng(hits), np.zeros(3)
        truth = hits / n / CLEAN * np.linspace(1, 0.2, conditions).mean()
        for _ in range(repeats):
          pair = filtered(n, hits, conditions, rng)
          _, low, high = statistics.ratio_of_means(*pair)
          from_, to = delta_method(*pair)
          held += low <= truth <= high, from_ <= truth <= to, from_ < 0
        row += (100 * held / repeats).tolist()[: 3 if conditions == 1 else 2]
      yield row


def above_chance(repeats: int) -> Iterator[list[object]]:
  """Chance-corrected ratios of 16 classes: what is known under a filter, of what is known without."""
  yield ["images", "known clean", "kept", "held"]
  for n in (160, 800):
    for known, kept in ((0.9, 0.5), (0.5, 0.1), (0.5, 0.0)):
      rng, held = np.random.default_rng(0), 0
      for _ in range(repeats):
        knows = rng.random(n) < known
        clean = knows | (rng.random(n) < 1 / 16)
        right = (knows & (rng.random(n) < kept)) | (rng.random(n) < 1 / 16)
        pair = right.astype(float), clean.astype(float)
        _, low, high = statistics.ratio_of_means(*pair, chance=(1 / 16, 1 / 16))
        held += low <= kept <= high
      yield [n, known, kept, 100 * held / repeats]


def classes(repeats: int) -> Iterator[list[object]]:
  """Mean and spread of the accuracies of given classes, which differ by .2 (standard deviation)."""
  yield ["classes", "images of each", "mean", "width of top-1's", "spread"]
  for k, each in ((10, 100), (100, 5), (200, 50), (1000, 50)):
    rng = np.random.default_rng(0)
    p, n, held, widths = rng.beta(2.5, 1, k), np.full(k, each), np.zeros(2), []
    for _ in range(repeats):
      right = rng.binomial(n, p)
      _, low, high = statistics.mean_over_classes(right, n)
      _, least, most = statistics.spread_of_classes(right, n)
      held += low <= p.mean() <= high, least <= p.std(ddof=1) <= most
      of_count = statistics.wilson(int(right.sum()), k * each)
      widths.append((high - low) / (of_count[1] - of_count[0]))
    mean, spread = 100 * held / repeats
    yield [k, each, mean, 100 * np.mean(widths), spread]


def shape_bias(repeats: int) -> Iterator[list[object]]:
  """Shape bias of 1,200 stimuli of 160 shape images and 48 texture images, and of those of one category."""
  yield [
    "bias",
    "spread of images",
    "shapes x textures",
    "stimuli",
    "two ways",
    "Wilson",
    "difference of two",
  ]
  for base, spread in ((-1.2, 0.0), (-1.2, 1.0), (0.0, 1.0), (3.0, 1.0)):
    for shapes, textures, n in ((160, 48, 1200), (10, 45, 75)):
      rng, held = np.random.default_rng(0), np.zeros(3)
      truth = float(scipy.special.expit(base + spread * rng.standard_normal((400_000, 2)).sum(1)).mean())
      for _ in range(repeats):
        networks, images = crossed(shapes, textures, n, base, spread, rng)
        _, low, high = statistics.ratio_of_totals(*networks[0], images)
        least, most = statistics.wilson(*(float(of.sum()) for of in networks[0]))
        _, under, over = statistics.difference_of_ratios(*networks, images)
        held += low <= truth <= high, least <= truth <= most, under <= 0 <= over
      yield [f"{truth:.2f}", spread, f"{shapes} x {textures}", n, *(100 * held / repeats)]


def crossed(
  shapes: int, textures: int, n: int, base: float, spread: float, rng: np.random.Generator
) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
  """Two networks' (decisions for the shape, for either cue), and the stimuli's images.

  The log odds of a decision for the shape vary by `spread` between images of either kind; half of that
  variance the two networks share.
  """
  cells = rng.choice(shapes * textures, n, replace=False)
  images = cells // textures, cells % textures
  shared = [spread * rng.standard_normal(k) for k in (shapes, textures)]
  networks = []
  for _ in range(2):
    odds = np.full(n, base)
    for of_both, which in zip(shared, images, strict=True):
      odds += (of_both + spread * rng.standard_normal(len(of_both)))[which] / math.sqrt(2)
    either = rng.random(n) < 0.6
    networks.append(
      ((either & (rng.random(n) < scipy.special.expit(odds))).astype(float), either.astype(float))
    )
  return networks, images


def channel(repeats: int) -> Iterator[list[object]]:
  """Channels of 400 images: how often intervals hold the truth, and how often the fit is rejected at .05."""
  yield ["channel", "shared by conditions", "bandwidth", "centre", "peak", "fit rejected"]
  bands, sds = np.arange(7), np.array(channels.PUBLISHED_SDS)
  kinds = {
    "height 3.5, sd 2": 3.5 * np.exp(-((bands - 3.5) ** 2) / 8),
    "height 3.2, sd 1": 3.2 * np.exp(-((bands - 4.0) ** 2) / 2),
    "flat, 2.5": np.full(7, 2.5),
    "two peaks": 3 * np.exp(-((bands - 1) ** 2) / 0.98) + 3 * np.exp(-((bands - 5) ** 2) / 0.98),
  }
  truths = {
    "height 3.5, sd 2": channels.channel(3.5, 3.5, 2.0),
    "height 3.2, sd 1": channels.channel(3.2, 4.0, 1.0),
    "flat, 2.5": channels.Channel(math.nan, math.nan, 2.0 ** (2.5 - 4)),
  }
  for name, sensitivities in kinds.items():
    for shared in (0.0, 0.6):
      rng, held, rejected = np.random.default_rng(0), np.zeros(3), 0
      for _ in range(repeats):
        outcomes = observed(sensitivities, sds, shared, rng)
        counts = np.full(outcomes.shape[1], len(outcomes))
        fitted = channels.fit_psychometric(outcomes.sum(0), counts, sds, 0.001, outcomes)
        fit = channels.fit_channel(fitted, None)
        rejected += fit.p_value < 0.05
        if name in truths:
          held += [
            getattr(fit.low, of) <= getattr(truths[name], of) <= getattr(fit.high, of)
            for of in ("bw", "cf", "pns")
          ]
      known = [
        math.isfinite(getattr(truths[name], of)) if name in truths else False for of in ("bw", "cf", "pns")
      ]
      cells = [100 * h / repeats if k else "" for h, k in zip(held, known, strict=True)]
      yield [name, shared, *cells, 100 * rejected / repeats]


def observed(
  sensitivities: np.ndarray, sds: np.ndarray, shared: float, rng: np.random.Generator, n: int = 400
) -> np.ndarray:
  """Right or wrong, float [n, 1 + bands x SDs]; conditions share so much of the images' difficulty."""
  clean, chance, slope = 0.7, 0.001, 3.0
  kept = (clean / 2 - chance) / (clean - chance)
  at = math.log2(channels.STRONGEST) + 0.5 - sensitivities + scipy.special.logit(kept) / slope / math.log(2)
  falling = chance + (clean - chance) / (1 + (sds / 2.0 ** at[:, None]) ** slope)
  p = np.concatenate([[clean], falling.ravel()])
  latent = math.sqrt(shared) * rng.standard_normal((n, 1))
  latent = latent + math.sqrt(1 - shared) * rng.standard_normal((n, len(p)))
  return (latent < scipy.special.ndtri(p)).astype(float)


TABLES: dict[str, tuple[tuple[Callable[[int], Iterator[list[object]]], int], ...]] = {
  # How many of the repeats each is worth: fits take longer.
  "ratio": ((ratios, 1), (above_chance, 1)),
  "classes": ((classes, 1),),
  "shape": ((shape_bias, 1),),
  "channel": ((channel, 4),),
}


def main(argv: list[str]) -> None:
  del argv
  for name, tables in TABLES.items():
    for table, dearer in tables if ONLY.value in (None, name) else ():
      print(f"\n{(table.__doc__ or '').splitlines()[0]}\n")
      for i, row in enumerate(table(max(REPEATS.value // dearer, 1))):
        cells = [f"{cell:.1f}" if isinstance(cell, float) and cell > 1 else str(cell) for cell in row]
        print(f"| {' | '.join(cells)} |", flush=True)
        if i == 0:
          print(f"|{' --- |' * len(row)}")


if __name__ == "__main__":
  app.run(main)
