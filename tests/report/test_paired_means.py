"""Paired differences of means over corruptions and waves, beside a bootstrap of their definitions."""

import math
import types

import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import layouts
from biasjax.data.classes import class_index
from biasjax.report import paired
from biasjax.report.scores import Scores
from biasjax.study.stored import Observations

MODELS, N, SIZE = ("a", "b"), 300, 32


class Stored(Observations):
  """What two networks said, without a store: {(model, probe): observations}."""

  def __init__(self, said, labels):
    units = {
      (m, "d", p): types.SimpleNamespace(key={"labels": labels, "preprocess": {"crop": SIZE}})
      for m, p in said
    }
    for name, value in {"units": units, "said": said}.items():
      object.__setattr__(self, name, value)  # it is frozen

  def read(self, model, dataset, probe):
    return self.said.get((model, probe))


def table(right: np.ndarray, conditions: list[str], ids: list[str] | None = None) -> pd.DataFrame:
  """Observations of bool [images, conditions], under ids that name the image, or all of them."""
  label = np.repeat(np.arange(len(right)), len(conditions))
  return pd.DataFrame(
    {
      "condition": np.tile(conditions, len(right)) if ids is None else "clean",
      "example_id": [f"{i:03}.png" for i in label] if ids is None else ids,
      "label": label,
      "prediction": np.where(right.ravel(), label, 999),
      "rank": np.where(right.ravel(), 0, 1),
      "confidence": 0.5,
      "nll": 0.5,
      "brier": 0.5,
    }
  )


def differences(said, probe, labels="imagenet") -> pd.DataFrame:
  rows = []
  for model in MODELS:
    of = {name: said[model, name].copy() for name in (probe.name, *probe.needs)}
    for one in of.values():
      one.attrs["labels"] = labels
    found = (m for m in probe.summarise(of) if not m.detail)
    rows += [(model, "d", probe.name, m.name.format(dataset="d"), m.value) for m in found]
  own = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", "value"])
  own = own.assign(low=own["value"], high=own["value"], n=N, chance=np.nan, flag="", detail=False)
  scores = Scores(list(MODELS), own.assign(column=own["metric"]), own.iloc[:0])
  return paired.differences(scores, Stored(said, labels), probes.get).set_index("metric")


def answers(rng: np.random.Generator, hard: np.ndarray) -> dict[str, np.ndarray]:
  """bool [images, conditions] of two networks that find the same images easy."""
  ease = rng.normal(size=(N, 1))
  return {
    m: ease + rng.normal(size=(N, 1)) + rng.normal(size=(N, len(hard))) > hard + 0.3 * i
    for i, m in enumerate(MODELS)
  }


def assert_as_bootstrapped(row, number, right, within=0.06):
  """That it is number(a) - number(b), and its interval that of networks whose images are drawn anew."""
  rng, draws = np.random.default_rng(0), []
  for _ in range(1500):
    at = rng.integers(N, size=N)
    draws.append(number(right["a"][at]) - number(right["b"][at]))
  assert row["difference"] == pytest.approx(number(right["a"]) - number(right["b"]))
  half = 1.968 * np.std(draws)  # Student's t of 299
  # The end towards none; the other knows that a larger difference varies more.
  towards = row["difference"] - row["low"] if row["difference"] > 0 else row["high"] - row["difference"]
  assert towards == pytest.approx(half, rel=within)
  assert half * 0.94 < (row["high"] - row["low"]) / 2 < half * 1.25
  assert row["n"] == N


def mean_over(conditions, corruptions, weight):
  """sum over corruptions of weight(corruption) * the mean error over severities, in per cent."""

  def number(right):
    total = 0.0
    for corruption in corruptions:
      at = [conditions.index(f"{corruption}/{severity}") for severity in range(1, 6)]
      total += weight(corruption) * (1 - right[:, at].mean())
    return 100 * total / len(corruptions)

  return number


def test_means_over_corruptions_made_here():
  probe = probes.get("corruptions", SIZE)
  names = list(probe.conditions)
  right = answers(np.random.default_rng(2), np.linspace(-2, 1, len(names)))
  found = differences({(m, probe.name): table(of, names) for m, of in right.items()}, probe)
  fourteen = [of for of in layouts.FIFTEEN if of != "frost"]
  mce = mean_over(names, fourteen, lambda of: 100 / layouts.ALEXNET[of])
  assert_as_bootstrapped(found.loc["corruptions/mCE14"], mce, right)
  error = mean_over(names, layouts.CBAR, lambda of: 1.0)
  assert_as_bootstrapped(found.loc["corruptions/error/cbar"], error, right)
  assert_as_bootstrapped(found.loc["top1_acc/corruptions/cbar"], lambda of: 100 - error(of), right)
  error = mean_over(names, [*fourteen, *layouts.EXTRA], lambda of: 1.0)
  assert_as_bootstrapped(found.loc["top1_acc/corruptions/without-frost"], lambda of: 100 - error(of), right)


def test_means_over_the_published_corruptions():
  names = [f"{of}/{severity}" for of in (*layouts.FIFTEEN, *layouts.EXTRA) for severity in range(1, 6)]
  ids = [f"{name}/{i:03}.png" for i in range(N) for name in names]
  right = answers(np.random.default_rng(3), np.linspace(-2, 1, len(names)))
  said = {(m, "accuracy"): table(of, names, ids) for m, of in right.items()}
  found = differences(said, probes.get("accuracy", SIZE), "imagenet_c")
  mce = mean_over(names, layouts.FIFTEEN, lambda of: 100 / layouts.ALEXNET[of])
  assert_as_bootstrapped(found.loc["mCE/d"], mce, right)
  error = mean_over(names, layouts.FIFTEEN, lambda of: 1.0)
  assert_as_bootstrapped(found.loc["top1_acc/d/15"], lambda of: 100 - error(of), right)


@pytest.mark.parametrize("options", ["", ":map=5"])
def test_rises_of_the_error_under_waves(options):
  probe = probes.get(f"sensitivity{options}", SIZE)
  names = list(probe.conditions)
  radius = []
  for name in names:
    row, column = (
      (float(of[2:]) for of in f"{name}/j=0".split("/")[:2])
      if options
      else (float(name[2:].split("/")[0]), 0)
    )
    radius.append(round(math.hypot(row, column)))
  radius = np.array(radius)
  rng = np.random.default_rng(4)
  right = answers(rng, np.concatenate([[-2.5], np.cos(radius / 4) - 0.5]))
  said = {(m, "accuracy"): table(of[:, :1], ["clean"]) for m, of in right.items()}
  said |= {(m, probe.name): table(of[:, 1:], names) for m, of in right.items()}
  found = differences(said, probe)
  variant = f"sensitivity{options}"
  bands = {"mean": radius > 0}
  if not options:
    bands |= {"low": (radius > 0) & (radius <= 16 / 3), "high": radius > 32 / 3}
    bands |= {"mid": (radius > 16 / 3) & (radius <= 32 / 3)}
  for band, of in bands.items():
    rise = lambda right, of=of: 100 * (right[:, 0].mean() - right[:, 1:][:, of].mean())  # noqa: E731
    assert_as_bootstrapped(found.loc[f"{variant}/{band}"], rise, right)

  def centroid(right):
    known = [r for r in np.unique(radius) if 0 < r <= 2] if options else np.unique(radius[radius > 0])
    rises = np.array([right[:, 0].mean() - right[:, 1:][:, radius == r].mean() for r in known])
    return (known * rises).sum() / rises.sum()

  assert_as_bootstrapped(found.loc[f"{variant}/centroid"], centroid, right, 0.1)


def test_reciprocal_ranks_shares_of_the_cue_and_centroids_of_gradients():
  rng, accuracy = np.random.default_rng(5), probes.get("accuracy", SIZE)
  rank = {m: rng.geometric(0.4, N) + rng.integers(0, 2, N) - 1 for m in MODELS}
  wnid = [wnids[0] for wnids in layouts.REFINED_BIAS["shape"].values()]
  stimuli = [f"{of}/{i}.png" for i in range(N // 10) for of in layouts.REFINED_BIAS["shape"]]
  plain = {m: table(of[:, None] == 0, ["clean"]).assign(rank=of) for m, of in rank.items()}
  label = np.resize([class_index()[of] for of in wnid], N)
  said = {(m, "accuracy"): of.assign(example_id=stimuli, label=label) for m, of in plain.items()}
  found = differences(said, accuracy, "refined_bias_shape")
  assert_as_bootstrapped(found.loc["refined-bias/shape"], lambda rank: (1 / (1 + rank)).mean(), rank)

  cue = rng.integers(0, 10, N)
  answer = {m: np.where(rng.random(N) < 0.3, cue, 10) for m in MODELS}
  said = {
    (m, "accuracy"): plain[m].assign(label=np.arange(N) % 10, texture=cue, prediction=answer[m])
    for m in MODELS
  }
  found = differences(said, accuracy).loc["cue_share/d"]
  apart = cue != np.arange(N) % 10
  for_cue = {m: 100 * (of == cue)[apart] for m, of in answer.items()}
  assert found["difference"] == pytest.approx(for_cue["a"].mean() - for_cue["b"].mean())
  error = np.std(for_cue["a"] - for_cue["b"], ddof=1) / np.sqrt(apart.sum())
  assert found["high"] - found["low"] == pytest.approx(2 * 1.969 * error, rel=0.06)

  shared = rng.gamma(9.0, 1.0, N)
  centroid = {m: shared + rng.gamma(4.0, 1.0, N) for m in MODELS}
  centroid["b"][7] = np.nan  # no gradient
  columns = {f"share_{ring}": 0.1 for ring in range(20)} | {"log10_power": 0.0}
  said = {(m, "gradient_spectrum"): plain[m].assign(**columns, centroid=of) for m, of in centroid.items()}
  found = differences(said, probes.get("gradient_spectrum", SIZE)).loc["gradient-spectrum/centroid"]
  assert_as_bootstrapped(found, np.nanmean, centroid)
