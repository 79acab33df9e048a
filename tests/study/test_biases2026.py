"""configs/biases2026.py on a table whose truth is known: notions that agree, and one that does not."""

import numpy as np
import pandas as pd
import scipy.stats

import made_observations
from biasjax.configuration import load
from biasjax.study import analysis, definitions
from biasjax.study import table as tables

config = load("biases2026")


def test_agreement_between_notions_of_shape_bias_is_their_rank_correlation(tmp_path):
  rng, n = np.random.default_rng(0), 30
  shape, other = rng.uniform(size=(2, n))
  columns = {
    "model": [f"model{i}" for i in range(n)],
    "shape-bias": shape,
    "shape-reliance": 0.5 + 0.4 * (shape + 0.1 * rng.normal(size=n)),
    "texture-reliance": 0.5 - 0.4 * shape + 0.05 * rng.normal(size=n),
    "colour-reliance": rng.uniform(size=n),
    "refined-bias/shape": other,
    "refined-bias/texture": rng.uniform(size=n),
    "top1_acc/imagenet": rng.uniform(60, 80, n),
    "top1_acc/corruptions/without-frost": rng.uniform(30, 50, n),
    "top1_acc/corruptions/cbar": rng.uniform(30, 50, n),
    "watermark/gap": rng.uniform(-20, 0, n),
  }
  table = pd.DataFrame(columns)
  table.to_csv(tmp_path / "results.csv", index=False)
  study = config.get_config().to_dict()["study"] | {"draws": 400}
  asked = definitions.parse(study)
  read = tables.read(str(tmp_path / "results.csv"), None, asked.used_columns())
  rows = analysis.analyse(read, asked, seed=0).tables["bias_by_bias"].to_dict("records")
  found = {(row["bias"], row["axis"]): row for row in rows}
  column = {bias["name"]: bias["mean"][0] for bias in study["biases"]}
  for (bias, axis), row in found.items():
    expected = scipy.stats.spearmanr(table[column[bias]], table[column[axis]]).statistic
    assert abs(row["spearman"] - expected) < 1e-9
    assert row["low"] < row["spearman"] < row["high"]
  assert found["cue_conflict", "shape_reliance"]["low"] > 0.5
  assert found["cue_conflict", "texture_reliance"]["high"] < -0.5
  assert found["cue_conflict", "refined_shape"]["low"] < 0 < found["cue_conflict", "refined_shape"]["high"]


def test_every_measure_is_a_column_that_something_gives():
  """Of the probes, as their summaries name them; the rest are accuracies of datasets and trials of shape."""
  given = {"top1_acc/imagenet", "shape-bias", "refined-bias/shape", "refined-bias/texture"}
  given |= set(made_observations.summary("suppression", lambda of: 5, 10, clean=8))
  given |= set(made_observations.summary("corruptions", lambda of: 5, 10))
  given |= set(made_observations.summary("watermark", lambda of: 5, 10, clean=8))
  study = config.get_config().to_dict()["study"]
  measures = [*study["biases"], *study["axes"]]
  measures += [bias for variation in study["variations"] for bias in variation["biases"]]
  assert {column for measure in measures for column in measure["mean"]} <= given
  assert set(study["benchmarks"]) <= given


def test_a_column_of_a_part_of_a_benchmark_is_named_where_the_whole_is_missing():
  asked = definitions.parse(config.get_config().to_dict()["study"])
  part = "refined-bias/shape@refined-bias-shape-incomplete"
  table = pd.DataFrame({"shape-bias": [0.2, 0.3], part: [0.5, 0.6]})
  _, missing = definitions.compute(asked.biases, table)
  assert f"no column refined-bias/shape; it has {part}" in missing["refined_shape"]
  assert missing["refined_texture"] == "the table has no column refined-bias/texture"
