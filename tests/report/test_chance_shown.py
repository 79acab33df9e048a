"""What guessing gives is in every figure of accuracies, and what rests on it is said beside the number."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from biasjax.report import cards, cells, curves, scatters, sections
from biasjax.study import analysis, definitions, table

METRICS = ["model", "dataset", "probe", "metric", "value", "low", "high", "n", "chance", "flag"]
FLAGS = [("ratio", "net1"), ("top1_acc/e", "net3")]
ASKED = {
  "biases": [{"name": "HPP", "label": "High-frequency bias", "mean": ["ratio"]}],
  "axes": [
    {"name": "ID", "label": "Accuracy", "mean": ["top1_acc/d", "top1_acc/e"]},
    {"name": "Z", "label": "Relative accuracy", "mean": ["top1_acc/d", "top1_acc/e"], "standardized": True},
  ],
  "groups": [{"name": "Total"}],
  "series": [{"name": "epochs", "factor": "epochs", "pattern": r"net(?P<x>\d+)"}],
  "draws": 200,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  """Ten networks; guessing gives 1 in d and, as they answer, 5 to 14 in e: 3 to 7.5 of the axis."""
  folder, rng = tmp_path_factory.mktemp("chance"), np.random.default_rng(0)
  names = [f"net{i}" for i in range(10)]
  numbers = {"ratio": rng.random(10), "top1_acc/d": 50 * rng.random(10), "top1_acc/e": 50 * rng.random(10)}
  pd.DataFrame({"model": names, **numbers}).to_csv(folder / "results.csv", index=False)
  by_chance = {"ratio": [""] * 10, "top1_acc/d": [1.0] * 10, "top1_acc/e": [5.0 + i for i in range(10)]}
  rows = [
    (name, "d", "x", metric, value, value - 1, value + 1, 300, of_chance, flag)
    for metric, values in numbers.items()
    for name, value, of_chance in zip(names, values, by_chance[metric], strict=True)
    for flag in ["accuracy cannot be told from chance" if (metric, name) in FLAGS else ""]
  ]
  pd.DataFrame(rows, columns=METRICS).to_csv(folder / "metrics.csv", index=False)
  asked = definitions.parse(ASKED)
  read = table.read(str(folder / "results.csv"), None, asked.used_columns())
  return analysis.analyse(read, asked, seed=0)


def decimals(study):
  return cells.digits(pd.concat([study.table.frame, study.biases, study.axes], axis=1))


def dashed(panel) -> list:
  return [line for line in panel.get_lines() if line.get_linestyle() == "--"]


def test_scatters_have_a_line_at_what_guessing_gives_and_crosses_on_what_rests_on_it(study):
  drawing = scatters.scatter(study, "HPP")
  accuracy, relative = drawing.figure.axes
  assert [line.get_ydata()[0] for line in dashed(accuracy)] == [(1 + 9.5) / 2]
  assert not dashed(relative)  # guessing has no place among standard deviations
  crosses = [line for line in accuracy.get_lines() if line.get_marker() == "x"]
  expected = [[study.biases.at[m, "HPP"], study.axes.at[m, "ID"]] for _, m in FLAGS]
  np.testing.assert_allclose(np.stack(crosses[0].get_data(), axis=1), expected)
  assert "Dashed: what guessing gives. Crossed: rests on an accuracy" in drawing.caption


def test_nothing_is_said_of_chance_where_nothing_is_known(study):
  bare = study.table.intervals.assign(chance=np.nan, flag="")
  silent = dataclasses.replace(study, table=dataclasses.replace(study.table, intervals=bare))
  drawing = scatters.scatter(silent, "HPP")
  assert not [line for panel in drawing.figure.axes for line in dashed(panel)]
  assert "guess" not in drawing.caption
  assert "chance" not in str(sections.all_models(silent, decimals(silent)))


def test_the_table_of_models_says_which_numbers_rest_on_chance(study):
  grid = sections.all_models(study, decimals(study))
  assert grid.columns[-1] == "what rests on an accuracy that cannot be told from chance"
  said = {row[0].text: row[-1].text for row in grid.rows}
  assert said == dict.fromkeys(study.biases.index, "") | {
    "net1": "High-frequency bias",
    "net3": "Accuracy, Relative accuracy",
  }


def test_a_models_page_says_which_numbers_rest_on_chance(study):
  for model, resting in (("net0", []), ("net3", ["Accuracy", "Relative accuracy"])):
    grid = cards.card(cards.Known(study, cards.Provenance(), decimals(study)), model)["standing"]
    at = grid.columns.index("read with")
    assert [row[0].text for row in grid.rows if row[at].text] == resting


def test_accuracy_along_a_series_has_a_line_at_what_guessing_gives(study):
  drawn = [panel for name in study.series for panel in curves.series(study, name).figure.axes]
  lines = {panel.get_title().split(",")[0]: [of.get_ydata()[0] for of in dashed(panel)] for panel in drawn}
  assert lines["Accuracy"] == [(1 + 9.5) / 2]
  assert lines["High-frequency bias"] == lines["Relative accuracy"] == []
