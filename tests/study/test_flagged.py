"""Relations that only numbers at chance show."""

import numpy as np
import pandas as pd

from biasjax.study import analysis, chance, definitions, table

METRICS = ["model", "dataset", "probe", "metric", "value", "low", "high", "n", "chance", "flag"]
ASKED = {
  "biases": [{"name": "HPP", "label": "High-frequency bias", "mean": ["ratio"]}],
  "axes": [{"name": "ID", "label": "Accuracy", "mean": ["top1_acc/d"]}],
  "groups": [{"name": "Total"}],
  "draws": 400,
}


def study(folder, ratio, clean, flagged, bias=None, columns=()):
  """Networks of which the first `flagged` have ratios that rest on chance."""
  names = [f"net{i}" for i in range(len(clean))]
  frame = pd.DataFrame({"model": names, "ratio": ratio, "top1_acc/d": clean})
  frame.to_csv(folder / "results.csv", index=False)
  flags = ["accuracy cannot be told from chance" if i < flagged else "" for i in range(len(names))]
  rows = [
    (name, "d", "spectral", "ratio", value, value - 0.1, value + 0.1, 300, "", flag)
    for name, value, flag in zip(names, ratio, flags, strict=True)
  ]
  pd.DataFrame(rows, columns=METRICS).to_csv(folder / "metrics.csv", index=False)
  biases = [{**ASKED["biases"][0], **(bias or {})}]
  asked = definitions.parse({**ASKED, "biases": biases, "columns": list(columns)})
  return analysis.analyse(table.read(str(folder / "results.csv"), None, asked.used_columns()), asked, seed=0)


def test_chance_over_clean_accuracy_establishes_nothing(tmp_path):
  # Where nothing is left of accuracy but chance, the ratio falls with clean accuracy by arithmetic.
  clean = np.linspace(40, 90, 12)
  found = study(tmp_path, 6.25 / clean, clean, flagged=9)
  assert found.tables["correlations"]["spearman"][0] < -0.99
  assert found.tables["claims"]["status"].tolist() == ["fragile"]
  said = " ".join(sentence.text for sentence in found.sentences)
  assert "that is not established: without numbers at chance (3 models left): weakens" in said
  assert any(
    "High-frequency bias of 9 of 12 models (net0, net1, net2, ...) rests on" in n for n in found.notes
  )


def test_chance_is_seen_through_a_derived_column_and_a_factor(tmp_path):
  clean, derived = np.linspace(40, 90, 12), [{"name": "both", "mean": ["ratio"]}]
  for bias in ({"mean": ["both"]}, {"mean": ["top1_acc/d"], "times": "ratio"}):
    found = study(tmp_path, 6.25 / clean, clean, 9, bias, derived)
    checks = found.tables["checks"].set_index("check")
    assert checks.loc["without numbers at chance", "n"] == 3


def test_a_relation_that_is_there_without_them_stands(tmp_path):
  rng = np.random.default_rng(0)
  clean = np.linspace(40, 90, 20)
  found = study(tmp_path, clean / 100 + 0.01 * rng.random(20), clean, flagged=4)
  assert found.tables["claims"]["status"].tolist() == ["established"]
  checks = found.tables["checks"].set_index("check")
  assert checks.loc["without numbers at chance", ["n", "verdict"]].tolist() == [16, "holds"]


def test_without_flags_nothing_is_left_out(tmp_path):
  clean = np.linspace(40, 90, 12)
  found = study(tmp_path, clean / 100, clean, flagged=0)
  assert "chance" not in set(found.tables["checks"]["kind"])
  assert not any("chance" in note for note in found.notes)
  assert not chance.flagged({}, found.axes[[]], found.table, {}).size
