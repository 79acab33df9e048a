"""Numbers of a random sample show how far the number from all images may be."""

import numpy as np
import pandas as pd

from biasjax.report import network, scores
from biasjax.report.scores import Scores


def of(margins: list[float]) -> Scores:
  table = pd.DataFrame({"metric": ["top1_acc/imagenet", "LPP"], "probe": ["accuracy", "spectral"]})
  table = table.assign(model="mine", dataset="imagenet", value=[76.1, 0.5], low=[75.0, 0.4], high=[77.0, 0.6])
  table = table.assign(n=[50_000, 2_048], chance=np.nan, margin=margins, flag="", detail=False)
  table["column"] = table["metric"]
  return Scores(["mine"], table, table.iloc[:0])


def test_a_margin_has_its_column_where_there_is_one():
  (_, _, clean), (_, _, sampled) = scores.grids(of([np.nan, 0.0123]))
  assert "margin" not in clean.columns
  at = sampled.columns.index("margin")
  assert [row[at].text for row in sampled.rows] == ["0.012"]
  everything = scores.everything(of([np.nan, 0.0123]), {})
  assert [row[everything.columns.index("margin")].text for row in everything.rows] == ["", "0.012"]


def test_a_margin_that_one_of_two_networks_has_says_whose_it_is():
  every, sampled = of([np.nan, np.nan]).own, of([np.nan, 0.0123]).own.assign(model="yours")
  found = Scores(["mine", "yours"], pd.concat([every, sampled], ignore_index=True), every.iloc[:0])
  shown = scores.everything(found, {})
  at = shown.columns.index("margin")
  assert [row[at].text for row in shown.rows] == ["", "-, 0.012"]


def test_the_page_says_what_a_margin_is_only_where_there_are_some():
  said = "Numbers with a margin are of a random sample"
  for margins, expected in (([np.nan, 0.0123], True), ([np.nan, np.nan], False)):
    page = network.html(of(margins), network.Beside(), [], "out")
    assert (said in page) is expected
    assert (">margin<" in page) is expected
