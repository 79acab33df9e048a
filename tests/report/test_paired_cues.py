"""The paired difference of cue accuracies: stimuli share the images that they are made of."""

import types

import numpy as np
import pandas as pd
import pytest

from biasjax.data.classes import categories
from biasjax.report import paired
from biasjax.report.scores import Scores
from biasjax.study.stored import Observations

sm = pytest.importorskip("statsmodels.api", reason="compares with statsmodels")
MODELS = ("a", "b")
PICTURES = 12  # of shape; as many of texture
CLASSES = 6


def answers(seed: int) -> dict[str, pd.DataFrame]:
  """Decisions of two networks about every shape picture in every texture; some pictures are hard for one."""
  names, rng = categories(), np.random.default_rng(seed)
  pairs = [(s, t) for s in range(PICTURES) for t in range(PICTURES) if s % CLASSES != t % CLASSES]
  of_shape, of_texture = np.array(pairs).T
  found = {}
  for model in MODELS:
    hard = rng.normal(0, 1.5, (2, PICTURES))
    decided = hard[0][of_shape] + hard[1][of_texture] + rng.normal(size=len(pairs)) > 0
    said = np.where(decided, np.where(rng.random(len(pairs)) < 0.4, of_shape, of_texture) % CLASSES, 15)
    found[model] = pd.DataFrame(
      {
        "condition": "cue-conflict",
        "example_id": [f"{names[s % CLASSES]}{s}-{names[t % CLASSES]}{t}.png" for s, t in pairs],
        "label": of_shape % CLASSES,
        "prediction": said,
        "rank": (said != of_shape % CLASSES).astype(int),
        "shape_picture": of_shape,
        "texture_picture": of_texture,
        "decided": decided.astype(float),
      }
    )
  return found


class Stored(Observations):
  """Those decisions."""

  def __init__(self, tables: dict[str, pd.DataFrame], labels: str):
    key = {"labels": labels, "classes": 16}
    units = {(m, "cue-conflict", "shape"): types.SimpleNamespace(key=key) for m in tables}
    for name, value in {"units": units, "tables": tables}.items():
      object.__setattr__(self, name, value)  # it is frozen

  def read(self, model, dataset, probe):
    return self.tables[model].copy()


@pytest.mark.parametrize("labels", ["cue_conflict", "class_conflict"])
def test_the_difference_of_cue_accuracies_is_clustered_by_both_images(labels):
  tables = answers(0)
  if labels == "class_conflict":  # of which the textures are told beside
    tables = {m: of.assign(texture=of["texture_picture"] % CLASSES) for m, of in tables.items()}
  rows = [
    (m, "cue-conflict", "shape", "cue-conflict/accuracy", float(of["decided"].mean()))
    for m, of in tables.items()
  ]
  own = pd.DataFrame(rows, columns=["model", "dataset", "probe", "metric", "value"])
  own["low"], own["high"], own["n"], own["chance"], own["flag"] = own["value"], own["value"], 1, np.nan, ""
  scores = Scores(list(MODELS), own.assign(detail=False, column=own["metric"]), own.iloc[:0])
  found = paired.differences(scores, Stored(tables, labels), lambda name, size: None).set_index("metric")
  apart = (tables["a"]["decided"] - tables["b"]["decided"]).to_numpy()
  clusters = tables["a"][["shape_picture", "texture_picture"]].to_numpy()
  fit = sm.OLS(apart, np.ones(len(apart))).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
  row = found.loc["cue-conflict/accuracy"]
  assert row["difference"] == pytest.approx(apart.mean())
  # 11 degrees of freedom; statsmodels' corrections for few clusters differ a little from Cameron's.
  assert (row["high"] - row["low"]) / 2 / 2.201 == pytest.approx(fit.bse[0], rel=0.05)
  # As if stimuli were drawn by themselves.
  assert fit.bse[0] > 1.5 * apart.std() / np.sqrt(len(apart))
