"""What a page of two networks cannot compare is said, with the reason."""

import html
import re
import types

import numpy as np
import pandas as pd

from biasjax import probes
from biasjax.report import network, paired
from biasjax.report.scores import Scores
from biasjax.results import across
from biasjax.study.stored import Observations

MODELS, N = ("a", "b"), 60


class Stored(Observations):
  """What two networks said about images whose ids are given, under every condition of a probe."""

  def __init__(self, ids):
    key = {"labels": "imagenet", "preprocess": {"crop": 64}}
    units = {
      (m, "photos", p): types.SimpleNamespace(key=key) for m in MODELS for p in ("accuracy", "critical_band")
    }
    for name, value in {"units": units, "ids": ids}.items():
      object.__setattr__(self, name, value)  # it is frozen

  def read(self, model, dataset, probe):
    conditions, ids = list(probes.get(probe, 64).conditions), self.ids[model]
    rank = np.arange(len(ids) * len(conditions)) % 3
    return pd.DataFrame(
      {
        "condition": np.tile(conditions, len(ids)),
        "example_id": np.repeat(ids, len(conditions)),
        "label": 1,
        "prediction": np.where(rank == 0, 1, 2),
        "rank": rank,
      }
    )

  def accuracy(self, model, dataset, probe, column):
    table = self.read(model, dataset, probe)
    return pd.Series((table["rank"] == 0).to_numpy(float), table["example_id"])


def page(ids) -> tuple[set[str], str]:
  """The metrics that are compared, and the text of that part of the page."""
  stored, rows = Stored(ids), []
  for m in MODELS:
    accuracy = 100 * stored.accuracy(m, "photos", "accuracy", "").mean()
    rows.append((m, "photos", "accuracy", "top1_acc/photos", accuracy))
    rows.append((m, "photos", "critical_band", "criticalband/continuous/bw_norm", 1.5))
    rows.append((m, across.NAME, across.NAME, "relative_mCE", 80.0))
    rows.append((m, "photos", "spectral", "LPP", np.nan))
  own = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", "value"])
  own = own.assign(low=own["value"], high=own["value"], n=N, chance=np.nan, margin=np.nan, flag="")
  found = Scores(list(MODELS), own.assign(detail=False, column=own["metric"]), own.iloc[:0])
  differences = paired.differences(found, stored, probes.get)
  whole = network.html(found, network.Beside(differences=differences), [], "out")
  (section,) = re.findall(r'<section id="compared">.*?</section>', whole, re.DOTALL)
  return set(differences["metric"]), html.unescape(re.sub(r"<[^>]*>", "", section))


def test_an_image_that_only_one_network_could_decode_is_named():
  ids = [f"{i:02}.png" for i in range(N)]
  compared, text = page({"a": ids, "b": ids[:7] + ids[8:]})
  assert not compared
  assert "photos; width, octaves (photos): only one network was shown 1 of 60 images (07.png)" in text


def test_other_reasons_are_told_and_what_is_compared_has_none():
  ids = [f"{i:02}.png" for i in range(N)]
  compared, text = page(dict.fromkeys(MODELS, ids))
  assert compared == {"top1_acc/photos"}
  assert "photos (photos)" not in text
  assert "width, octaves (photos): stored decisions do not give it" in text
  assert "relative_mCE (benchmarks): not one probe's number" in text
  assert "LPP" not in text  # undetermined, which its own row says
  _, text = page({"a": ids, "b": [f"other{i}.png" for i in range(N)]})
  assert "photos; width, octaves (photos): the networks were asked about different images" in text
  _, text = page(dict.fromkeys(MODELS, ids[:30]))
  assert "width, octaves (photos): of fewer than 40 images" in text
