"""Tables whose truth is known."""

import json

import numpy as np
import pandas as pd

from configs import study

CATEGORIES = ("recipes", "augmentation", "adversarial_training", "contrastive")
BIAS_COLUMNS = {
  "shape_bias": ["shape-bias"],
  "LPP": study.LOW,
  "HPP": study.HIGH,
  "critical_bw": ["metric/criticalband/bw_norm"],
  "critical_cf": ["metric/criticalband/cf_norm"],
  "critical_pns": ["metric/criticalband/pns_norm"],
}
AXIS_COLUMNS = {
  "ID": [study.CLEAN, study.V2, study.REAL],
  "Robustness": [study.A, study.C, study.CBAR],
  "Concepts": [study.SKETCH, study.R, study.STYLIZED],
  "Adversarial": [study.PGD_LOW],
}


def definitions() -> dict:
  """The published study's, in plain form."""
  return study.get_config().to_dict()["study"]


def table(n: int, seed: int, plant: float = 0.0) -> pd.DataFrame:
  """n models whose biases and axes are independent, but for HPP x Robustness.

  Args:
    n: models.
    seed: of the numbers.
    plant: the share of Robustness that HPP makes, in [0, 1].
  """
  rng = np.random.default_rng(seed)
  columns = {}
  latent = {name: rng.random(n) for name in (*BIAS_COLUMNS, *AXIS_COLUMNS)}
  latent["Robustness"] = plant * latent["HPP"] + (1 - plant) * latent["Robustness"]
  for name, of in BIAS_COLUMNS.items():
    columns |= dict.fromkeys(of, latent[name])
  for name, of in AXIS_COLUMNS.items():
    columns |= dict.fromkeys(of, 20 + 60 * latent[name])
  return pd.DataFrame({"model": [f"model{i}" for i in range(n)], **columns})


def categories(n: int) -> dict[str, list[str]]:
  """Every fourth model in one category."""
  return {name: [f"model{i}" for i in range(k, n, 4)] for k, name in enumerate(CATEGORIES)}


def write(folder, frame: pd.DataFrame, of_models: dict | None = None) -> dict:
  """The files of a study, as `run` wants to be asked for it."""
  frame.to_csv(folder / "table.csv", index=False)
  path = None
  if of_models is not None:
    path = str(folder / "categories.json")
    (folder / "categories.json").write_text(json.dumps(of_models))
  asked = {"table": str(folder / "table.csv"), "categories": path, "compare": None}
  return asked | {"output": str(folder / "study"), "seed": 0, "study": definitions()}
