"""Differences of two networks in numbers that are no ratios, by leaving out groups of images."""

import math
import types

import numpy as np
import pandas as pd
import pytest

from biasjax import channels, probes
from biasjax.data import layouts
from biasjax.probes import Metric
from biasjax.report import paired, regrouped
from biasjax.report.scores import Scores
from biasjax.study.stored import Observations

N = 400
MODELS = ("a", "b")


class Stored(Observations):
  """What two networks said, without a store: bool [n, conditions] of each."""

  def __init__(self, right: dict[str, np.ndarray], conditions: list[str], ids: dict[str, list[str]], **key):
    key |= {"preprocess": {"crop": 64}}
    units = {(m, "d", "p"): types.SimpleNamespace(key=key) for m in right}
    for name, value in {"units": units, "right": right, "conditions": conditions, "ids": ids}.items():
      object.__setattr__(self, name, value)  # it is frozen

  def read(self, model, dataset, probe):
    right = self.right[model]
    return pd.DataFrame(
      {
        "condition": np.tile(self.conditions, len(right)),
        "example_id": np.repeat(self.ids[model], len(self.conditions)),
        "label": np.repeat(np.arange(len(right)), len(self.conditions)),
        "prediction": np.where(right, np.arange(len(right))[:, None], 999).ravel(),
        "rank": np.where(right, 0, 1).ravel(),
      }
    )


def named(n: int) -> dict[str, list[str]]:
  ids = [f"{i}.png" for i in range(n)]
  return dict.fromkeys(MODELS, ids)


def drawn(rng: np.random.Generator, hard: tuple[float, float]) -> dict[str, np.ndarray]:
  """Two networks that find the same images easy."""
  ease = rng.normal(size=N)
  return {m: (ease + rng.normal(size=N) > h)[:, None] for m, h in zip(MODELS, hard, strict=True)}


def odds(observations):
  share = (observations["p"]["rank"] == 0).mean()
  return [Metric("odds/{dataset}", share / (1 - share), 0.0, 0.0, N)]


def asked(summarise):
  return lambda name, size: types.SimpleNamespace(conditions={}, needs=(), summarise=summarise)


def apart(right, summarise=odds, conditions=("clean",), ids=None, values=None):
  ids = ids or named(N)
  stored = Stored(right, list(conditions), ids)
  if values is None:
    of = ({"p": stored.read(m, "d", "p")} for m in MODELS)
    values = [{m.name.format(dataset="d"): m.value for m in summarise(tables)} for tables in of]
  return regrouped.differences(stored, asked(summarise), MODELS, "d", "p", values)


def test_the_interval_holds_the_true_difference_of_a_number_that_is_no_ratio():
  hard, rng, held = (-0.5, -0.8), np.random.default_rng(0), 0
  ease = np.random.default_rng(1).normal(size=2_000_000) * np.sqrt(2)
  shares = [float((ease > h).mean()) for h in hard]
  true = shares[0] / (1 - shares[0]) - shares[1] / (1 - shares[1])
  for _ in range(120):
    value, low, high, n = apart(drawn(rng, hard))["odds/d"]
    assert low < value < high
    assert n == N
    held += low <= true <= high
  assert held >= 106  # of 120: what 95 % gives in 99.7 % of such tests


def test_the_interval_is_that_of_the_delta_method():
  right = drawn(np.random.default_rng(2), (-0.5, -0.8))
  share = {m: of.mean() for m, of in right.items()}
  slope = {m: (right[m][:, 0] - share[m]) / (1 - share[m]) ** 2 for m in MODELS}
  error = np.std(slope["a"] - slope["b"], ddof=1) / np.sqrt(N)
  _, low, high, _ = apart(right)["odds/d"]
  # 20 groups tell a standard error to within a sixth, one in six times not.
  assert (high - low) / 2 / 2.093 == pytest.approx(error, rel=0.4)


def test_an_image_under_many_corruptions_is_one_draw():
  folders, images = [f"{c}/{s}" for c in ("fog", "snow") for s in range(1, 6)], 200
  rng = np.random.default_rng(5)
  ids = [f"{folder}/{i:03}.png" for i in range(images) for folder in folders]
  right = {
    m: (2 * rng.normal(size=(images, 1)) + rng.normal(size=(images, len(folders))) > 0).reshape(-1, 1)
    for m in MODELS
  }
  stored = Stored(right, ["clean"], dict.fromkeys(MODELS, ids), labels="imagenet_c")
  values = [{"odds/d": of.mean() / (1 - of.mean())} for of in right.values()]
  _, low, high, n = regrouped.differences(stored, asked(odds), MODELS, "d", "p", values)["odds/d"]
  slope = {m: of.reshape(images, -1).mean(1) / (1 - of.mean()) ** 2 for m, of in right.items()}
  error = np.std(slope["a"] - slope["b"], ddof=1) / np.sqrt(images)
  assert (high - low) / 2 / 2.093 == pytest.approx(error, rel=0.4)
  assert n == images


def test_a_critical_band_has_a_paired_difference_and_networks_that_answer_alike_have_none(monkeypatch):
  monkeypatch.setattr(regrouped, "GROUPS", 5)  # every group is a fit
  probe = probes.get("critical_band", 64)
  rng = np.random.default_rng(3)
  # A band of some octaves around band 2, in which more noise disturbs more: a fit that ends soon.
  hard = {"clean": -1.5} | {
    f"f={f}/sd={sd}": 0.9 * (math.log2(sd / 0.01) - 2) * math.exp(-((f - 2) ** 2) / 2) - 1
    for f in range(5)
    for sd in channels.PUBLISHED_SDS
  }
  assert list(hard) == list(probe.conditions)
  right = rng.normal(size=(N, 1)) + rng.normal(size=(N, len(hard))) > np.array(list(hard.values()))
  shifted = right.copy()
  shifted[: N // 8] = rng.random((N // 8, len(hard))) < 0.5

  made = {}

  def summarise(observations):
    table = observations["p"]
    key = pd.util.hash_pandas_object(table).to_numpy().tobytes()
    if key not in made:  # networks that answer alike, and one of them again
      made[key] = [m for m in probe.summarise({"critical_band": table}) if not m.detail]
    return made[key]

  found = apart({"a": right, "b": right}, summarise, probe.conditions)
  assert {value[:3] for value in found.values()} == {(0.0, 0.0, 0.0)}
  found = apart({"a": right, "b": shifted}, summarise, probe.conditions)
  assert "criticalband/continuous/cf_norm" in found
  for value, low, high, n in found.values():
    assert low < value < high
    assert n == N


def test_other_images_few_images_and_numbers_that_decisions_do_not_give_are_not_compared():
  right = drawn(np.random.default_rng(4), (0.0, 0.0))
  others = {"a": [f"{i}.png" for i in range(N)], "b": [f"other{i}.png" for i in range(N)]}
  assert apart(right, ids=others) == {}
  assert apart(right, values=[{"odds/d": 7.0}, {"odds/d": 8.0}]) == {}
  few = {m: of[:30] for m, of in right.items()}
  assert apart(few, ids=named(30)) == {}


def test_a_mean_over_some_of_the_conditions_has_a_paired_difference():
  probe, rng, images = probes.get("corruptions", 64), np.random.default_rng(6), 120
  right = {
    m: 2 * rng.normal(size=(images, 1)) + rng.normal(size=(images, len(probe.conditions))) > 0 for m in MODELS
  }
  stored = Stored(right, list(probe.conditions), named(images))
  cbar = np.isin([name.split("/")[0] for name in probe.conditions], layouts.CBAR)
  name = "top1_acc/corruptions/cbar"
  rows = [(m, "d", "p", name, 100 * of[:, cbar].mean()) for m, of in right.items()]
  own = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", "value"])
  scores = Scores(list(MODELS), own.assign(detail=False, column=name), own.iloc[:0])
  summarise = lambda tables: [m for m in probe.summarise({"corruptions": tables["p"]}) if m.name == name]  # noqa: E731
  (found,) = paired.differences(scores, stored, asked(summarise)).itertuples()
  apart_ = 100 * (right["a"][:, cbar].mean(1) - right["b"][:, cbar].mean(1))
  assert found.difference == pytest.approx(apart_.mean())
  error = apart_.std(ddof=1) / np.sqrt(images)
  assert (found.high - found.low) / 2 / 2.093 == pytest.approx(error, rel=0.4)
