"""What the study claims of noise: false findings of few models, and of models that come in families.

And, where a bias makes an axis, how often intervals over families hold what they are about.

python -m benchmarks.families [--repeats=100]

Noise is independent for each of 6 biases and 4 axes. Families differ by a standard deviation of 1, models of
a family by half of it, or, of biases, not at all; the sizes are those of the published categories, or equal
ones.
"""

import json

import numpy as np
import pandas as pd
from absl import app, flags

from biasjax.study import correlation, fragility, prediction, verdict
from biasjax.study.resampling import Resampling, bca, percentiles

REPEATS = flags.DEFINE_integer("repeats", 100, "Simulated studies of each kind.", lower_bound=1)
DRAWS = 500
PUBLISHED = (1, 10, 12, 3, 1, 15, 6)
FAMILIES = (PUBLISHED, (8, 8), (5,) * 4, (6,) * 8, (10,) * 20)


def noise(
  sizes: tuple[int, ...], columns: int, prefix: str, rng: np.random.Generator, spread: float = 0.5
) -> pd.DataFrame:
  """float [models, columns], for models of families of these sizes, which differ by `spread` within them."""
  place = np.repeat(np.arange(len(sizes)), sizes)
  values = rng.normal(size=(len(sizes), columns))[place] + spread * rng.normal(size=(len(place), columns))
  return pd.DataFrame(values).add_prefix(prefix)


def establishes(biases: pd.DataFrame, axes: pd.DataFrame, category: np.ndarray, samples: Resampling) -> bool:
  """Whether some relation stands every check that does not need other definitions or groups."""
  everyone = np.ones(len(category), bool)
  cells = correlation.cells(biases, axes, {"Total": everyone}, category, samples)
  inside, without = (
    {"Total": of(biases, axes, category, everyone, samples)}
    for of in (fragility.within, fragility.leave_one_category_out)
  )
  nothing = pd.DataFrame(columns=["bias", "axis", "group", "given", "n", "spearman", "p"])
  labels = {name: name for name in (*biases, *axes)}
  checks = fragility.checks(cells, inside, without, nothing, {}, labels)
  return bool((verdict.statuses(cells, checks)["status"] == verdict.ESTABLISHED).any())


def few_models(n: int, repeats: int) -> dict[str, float]:
  """The share of studies of n models of one family that establish something of nothing."""
  found = []
  category = np.array(["all"] * n, object)
  for seed in range(repeats):
    rng = np.random.default_rng([n, seed])
    biases, axes = (pd.DataFrame(rng.normal(size=(n, k))).add_prefix(p) for k, p in ((6, "b"), (4, "a")))
    found.append(establishes(biases, axes, category, Resampling(DRAWS, seed)))
  return {"models": n, "some relation established": float(np.mean(found))}


def families(sizes: tuple[int, ...], repeats: int, spread: float = 0.5) -> dict[str, object]:
  """Shares: of cells whose 95 % interval leaves out 0; of studies that establish something of nothing.

  Args:
    sizes: of the families.
    repeats: how many studies.
    spread: of biases within families.
  """
  category = np.repeat([f"f{i}" for i in range(len(sizes))], sizes).astype(object)
  n = len(category)
  out: dict[str, list[float]] = {
    "BCa over models": [],
    "BCa over families": [],
    "percentiles over families": [],
  }
  found = []
  for seed in range(repeats):
    rng, samples = np.random.default_rng([n, seed]), Resampling(DRAWS, seed)
    biases, axes = noise(sizes, 6, "b", rng, spread), noise(sizes, 4, "a", rng)
    found.append(establishes(biases, axes, category, samples))
    x, y = biases.to_numpy(), axes.to_numpy()
    of_families = samples.families(category)
    assert of_families is not None  # there are several
    whole = correlation.spearman_draws(x, y, np.ones((1, n))).reshape(-1)
    kept = {
      "models": (samples.models(n), 1 - np.eye(n)),
      "families": (of_families, np.stack([category != name for name in dict.fromkeys(category)])),
    }
    for name, (weights, leaving_out) in kept.items():
      drawn, without = (
        correlation.spearman_draws(x, y, w).reshape(len(w), -1) for w in (weights, leaving_out)
      )
      edges = np.array([bca(*of) for of in zip(whole, drawn.T, without.T, strict=True)])
      out[f"BCa over {name}"].append(_excludes_zero(edges))
      if name == "families":
        out["percentiles over families"].append(_excludes_zero(np.array([percentiles(d) for d in drawn.T])))
  shares = {name: round(float(np.mean(of)), 3) for name, of in out.items()}
  return {"sizes": sizes, "within": spread, **shares, "some relation established": float(np.mean(found))}


def _excludes_zero(edges: np.ndarray) -> float:
  return float(((edges[:, 0] > 0) | (edges[:, 1] < 0)).mean())


def predictions(repeats: int) -> dict[str, float]:
  """The share of studies that say of some axis that it is predicted, or predicted better than by accuracy."""
  category = np.repeat([f"f{i}" for i in range(len(PUBLISHED))], PUBLISHED).astype(object)
  predicted, better = [], []
  for seed in range(repeats):
    rng = np.random.default_rng(seed)
    biases, axes = (noise(PUBLISHED, k, p, rng) for k, p in ((6, "b"), (4, "a")))
    table, _, _ = prediction.predict_axes(biases, axes, category, "a0", Resampling(DRAWS, seed))
    said = [sentence.text for sentence in verdict.predicted(table, {name: name for name in axes})]
    predicted.append(any(" is predicted" in text for text in said))
    better.append(any(", better than" in text for text in said))
  return {"some axis predicted": float(np.mean(predicted)), "better than by accuracy": float(np.mean(better))}


def related(sizes: tuple[int, ...], effect: float, repeats: int) -> dict[str, object]:
  """Shares of 95 % intervals over families that hold what they are about, where a bias makes an axis.

  The axis is `effect` times a bias, and noise like it. Spearman's correlation of all models that there could
  be follows from both being normal; R-squared is held against its median over the studies.
  """
  category = np.repeat([f"f{i}" for i in range(len(sizes))], sizes).astype(object)
  true = 6 / np.pi * np.arcsin(effect / np.hypot(effect, 1) / 2)
  held, tables = [], []
  for seed in range(repeats):
    rng, samples = np.random.default_rng([len(category), seed]), Resampling(DRAWS, seed)
    biases, axes = noise(sizes, 3, "b", rng), noise(sizes, 2, "a", rng)
    axes["a1"] += effect * biases["b0"]
    of_families = samples.families(category)
    assert of_families is not None  # there are several
    x, y = biases[["b0"]].to_numpy(), axes[["a1"]].to_numpy()
    low, high = percentiles(correlation.spearman_draws(x, y, of_families).reshape(-1))
    held.append(low <= true <= high)
    table, _, _ = prediction.predict_axes(biases, axes, category, "a0", samples)
    tables.append(table[(table["axis"] == "a1") & (table["inputs"] == "all biases")])
  every = pd.concat(tables)
  median = every.groupby("predictor")["r2"].transform("median")
  inside = (every["family_low"] <= median) & (median <= every["family_high"])
  predicted = [bool((table["family_low"] > 0).all()) for table in tables]
  return {
    "sizes": sizes,
    "effect": effect,
    "Spearman held": float(np.mean(held)),
    **{f"R2 held, {name}": round(float(of.mean()), 2) for name, of in inside.groupby(every["predictor"])},
    "predicted": float(np.mean(predicted)),
  }


def main(argv: list[str]) -> None:
  del argv
  for n in (5, 6, 7, 8, 11):
    print(json.dumps(few_models(n, REPEATS.value)))
  for sizes in FAMILIES:
    for spread in (0.5, 0.0):
      print(json.dumps(families(sizes, REPEATS.value, spread)))
  print(json.dumps(predictions(REPEATS.value)))
  for sizes in ((2, 4, 6, 8, 12), PUBLISHED, (1, 2, 3, 4, 5, 8, 10, 15), (6,) * 20):
    for effect in (0.0, 0.5, 1.0, 3.0):
      print(json.dumps(related(sizes, effect, REPEATS.value)))


if __name__ == "__main__":
  app.run(main)
