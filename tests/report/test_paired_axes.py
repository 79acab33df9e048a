"""The paired difference of an axis, a mean of accuracies of which some are of the same images."""

import types

import numpy as np
import pandas as pd
import pytest

from biasjax.report import paired
from biasjax.report.scores import Scores
from biasjax.results import across
from biasjax.study.stored import Observations

MODELS = ("a", "b")
SIZES = {"imagenet": 3000, "imagenet-v2": 1000, "imagenet-real": 3000}
IDS = {d: [f"{'v2' if d == 'imagenet-v2' else 'val'}_{i}" for i in range(n)] for d, n in SIZES.items()}


class Stored(Observations):
  """Which images two networks are right about."""

  def __init__(self, right: dict[tuple[str, str], np.ndarray]):
    units = {(m, d, "accuracy"): types.SimpleNamespace(key={}) for m, d in right}
    for name, value in {"units": units, "right": right}.items():
      object.__setattr__(self, name, value)  # it is frozen

  def accuracy(self, model, dataset, probe, metric):
    return pd.Series(self.right[model, dataset], index=IDS[dataset])


def answers(seed: int) -> dict[tuple[str, str], np.ndarray]:
  """ImageNet-ReaL's labels are other ones for some of ImageNet's images."""
  rng = np.random.default_rng(seed)
  ease = {d: rng.normal(size=n) for d, n in SIZES.items()}
  found = {}
  for model, hard in zip(MODELS, (-0.6, -0.5), strict=True):
    for dataset, n in SIZES.items():
      found[model, dataset] = (ease[dataset] + rng.normal(size=n) > hard).astype(float)
    right, again = found[model, "imagenet"], rng.random(SIZES["imagenet"]) < 0.2
    found[model, "imagenet-real"] = np.where(again, 1.0, right)
  return found


def scores(right) -> Scores:
  rows = []
  for model in MODELS:
    values = {d: 100 * float(right[model, d].mean()) for d in SIZES}
    rows += [(model, d, "accuracy", f"top1_acc/{d}", value) for d, value in values.items()]
    rows.append((model, across.NAME, across.NAME, "ID", float(np.mean(list(values.values())))))
  own = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", "value"])
  own["low"], own["high"], own["n"], own["chance"], own["flag"] = own["value"], own["value"], 1, np.nan, ""
  return Scores(list(MODELS), own.assign(detail=False, column=own["metric"]), own.iloc[:0])


def differences(right) -> pd.DataFrame:
  found = paired.differences(scores(right), Stored(right), lambda name, size: None)
  return found.set_index("metric")


def test_an_axis_difference_is_that_of_its_columns_and_errs_as_their_images_do():
  right = answers(0)
  found = differences(right).loc["ID"]
  apart = {d: right["a", d] - right["b", d] for d in SIZES}
  same = apart["imagenet"] + apart["imagenet-real"]
  error = np.sqrt(same.var() / len(same) + apart["imagenet-v2"].var() / SIZES["imagenet-v2"]) / 3
  assert found["difference"] == pytest.approx(100 * np.mean([of.mean() for of in apart.values()]))
  assert (found["high"] - found["low"]) / 2 == pytest.approx(100 * 1.96 * error, rel=0.02)
  assert found["n"] == sum(SIZES.values())
  assert found["smallest"] == pytest.approx(100 * (1.96 + 0.8416) * error, rel=0.02)


def test_an_axis_that_is_not_of_the_compared_columns_has_no_difference():
  right = answers(1)
  other = scores(right)
  other.own.loc[other.own["metric"] == "ID", "value"] += [1.0, 2.0]
  assert "ID" not in set(paired.differences(other, Stored(right), lambda n, s: None)["metric"])
  without = scores(right)
  kept = without.own[without.own["metric"] != "top1_acc/imagenet-v2"]
  found = paired.differences(Scores(list(MODELS), kept, without.others), Stored(right), lambda n, s: None)
  assert list(found["metric"]) == ["top1_acc/imagenet", "top1_acc/imagenet-real"]
