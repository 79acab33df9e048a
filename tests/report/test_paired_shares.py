"""Paired differences of what is a share of images, beside the probe's own numbers: reliances, watermarks."""

import types

import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.report import paired
from biasjax.report.scores import Scores
from biasjax.study.stored import Observations

MODELS, N, CARTON = ("a", "b"), 60, 478


class Stored(Observations):
  """What two networks said, without a store: {(model, probe): {condition: answers}}."""

  def __init__(self, said):
    key = {"labels": "imagenet", "preprocess": {"crop": 64}}
    units = {(m, "imagenet", p): types.SimpleNamespace(key=key) for m, p in said}
    for name, value in {"units": units, "said": said}.items():
      object.__setattr__(self, name, value)  # it is frozen

  def read(self, model, dataset, probe):
    return pd.concat(
      pd.DataFrame(
        {
          "condition": condition,
          "example_id": [f"{i:02}.png" for i in range(N)],
          "label": np.arange(N),
          "prediction": answers,
          "rank": np.where(answers == np.arange(N), 0, 1),
        }
      )
      for condition, answers in self.said[model, probe].items()
    )


def differences(said, ending: str = "") -> pd.DataFrame:
  stored, rows = Stored(said), []
  for model, name in (of for of in said if of[1] != "accuracy"):
    probe = probes.get(name, 64)
    tables = {of: stored.read(model, "imagenet", of) for of in (name, *probe.needs)}
    for table in tables.values():
      table.attrs["labels"] = "imagenet"
    found = (m for m in probe.summarise(tables) if not m.detail)
    rows += [(model, "imagenet", name, m.name.format(dataset="imagenet") + ending, m.value) for m in found]
  own = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", "value"])
  own = own.assign(low=own["value"], high=own["value"], n=N, chance=np.nan, flag="", detail=False)
  scores = Scores(list(MODELS), own.assign(column=own["metric"]), own.iloc[:0])
  return paired.differences(scores, stored, probes.get).set_index("metric")


def wrong(*images: int) -> np.ndarray:
  answers = np.arange(N)
  answers[list(images)] = 999
  return answers


def test_answers_that_never_become_carton_do_not_say_that_they_never_would():
  said = {
    (m, p): {c: wrong(1)} for m in MODELS for p, c in (("accuracy", "clean"), ("watermark", "watermark"))
  }
  found = differences(said)
  for metric in ("watermark/becomes-carton", "watermark/gap"):
    row = found.loc[metric]
    assert row["difference"] == 0
    # One image of 60 that one of them answers otherwise cannot be ruled out.
    assert row["low"] < -100 / N
    assert row["high"] > 100 / N
    assert row["smallest"] > 100 / N


def test_differences_of_watermark_numbers_are_those_of_counts():
  marked = {"a": wrong(), "b": wrong(*range(4))}
  marked["a"][:9] = CARTON
  plain = {"a": wrong(5), "b": wrong()}
  plain["a"][0] = CARTON  # which does not become it
  said = {(m, "accuracy"): {"clean": of} for m, of in plain.items()}
  said |= {(m, "watermark"): {"watermark": of} for m, of in marked.items()}
  found = differences(said)["difference"]
  assert found["watermark/becomes-carton"] == pytest.approx(100 * 8 / 59)
  assert found["watermark/gap"] == pytest.approx(100 * ((51 - 58) - (56 - 60)) / 60)


def test_reliances_of_networks_that_lose_nothing_have_an_interval_and_the_delta_methods_error():
  known = {c: wrong(1) for c in probes.get("suppression", 64).conditions}
  said = {(m, "accuracy"): {"clean": wrong(1)} for m in MODELS} | {(m, "suppression"): known for m in MODELS}
  row = differences(said).loc["colour-reliance"]
  assert row["low"] < -1 / N < 1 / N < row["high"]
  grey = {"a": wrong(*range(9)), "b": wrong(*range(5, 17))}
  said |= {(m, "suppression"): known | {"grey/1.0": of} for m, of in grey.items()}
  row = differences(said).loc["colour-reliance"]
  clean = (np.arange(N) != 1).astype(float)
  kept = [(of == np.arange(N)).astype(float) for of in grey.values()]
  assert row["difference"] == pytest.approx((kept[1].sum() - kept[0].sum()) / 59)
  of_each = [(of - of.sum() / 59 * clean) / 59 for of in kept]
  error = np.sqrt(N / (N - 1) * ((of_each[0] - of_each[1]) ** 2).sum())
  assert (row["high"] - row["low"]) / 2 / 2.001 == pytest.approx(error, rel=0.1)


def test_what_could_have_been_seen_is_told_by_the_end_towards_none():
  said = {(m, "accuracy"): {"clean": wrong(*range(30, 60))} for m in MODELS}
  known = dict.fromkeys(probes.get("suppression", 64).conditions, wrong())
  said |= {(m, "suppression"): known for m in MODELS}
  said["a", "suppression"] = known | {"bilateral/12": wrong(*range(58))}
  row = differences(said).loc["texture-reliance"]
  # 58 of 60 images are changed: 30 + 28 of what is 30 of the clean ones.
  assert row["difference"] == pytest.approx(58 / 30)
  assert row["smallest"] == pytest.approx((1 + 0.8416 / 1.96) * (row["difference"] - row["low"]), rel=1e-3)
  assert row["smallest"] < row["difference"]


def test_numbers_of_a_benchmark_that_is_not_whole_are_compared_as_those_of_the_whole():
  said = {(m, "accuracy"): {"clean": wrong(*range(i, 9))} for i, m in enumerate(MODELS)}
  names = probes.get("suppression", 64).conditions
  said |= {
    (m, "suppression"): {c: wrong(*range(i, 20 + at)) for at, c in enumerate(names)}
    for i, m in enumerate(MODELS)
  }
  said |= {(m, "watermark"): {"watermark": wrong(*range(30 + i))} for i, m in enumerate(MODELS)}
  whole, part = differences(said), differences(said, "@imagenet-incomplete")
  assert {"shape-reliance", "watermark/gap"} <= set(whole.index)
  assert list(part.index) == [f"{name}@imagenet-incomplete" for name in whole.index]
  pd.testing.assert_frame_equal(part.reset_index(drop=True), whole.reset_index(drop=True))
