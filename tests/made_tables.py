"""Tables whose truth is known."""

import json

import numpy as np
import pandas as pd

from biasjax.configuration import load
from biasjax.data.layouts import FIFTEEN

study = load("study")

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


def with_curves(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
  """The same with columns that only figures use: all cutoffs, severities, names of a series."""
  rng = np.random.default_rng(seed)
  n = len(frame)
  more = {f"metric/bandpass/{b}/{c}": rng.random(n) for b in ("LFC", "HFC") for c in ("0.01", "0.6", "0.9")}
  more |= {f"top1_acc/{c}_{s}": 100 * rng.random(n) for c in FIFTEEN for s in range(1, 6)}
  more |= {"metric/criticalband/" + name: rng.random(n) + 1 for name in ("bw", "cf", "pns")}
  more |= {
    f"top1_acc/criticalband/f={f}/sd={sd}": 100 * rng.random(n) for f in range(7) for sd in (0.02, 0.16)
  }
  more |= {
    "metric/criticalband/bw_norm": rng.random(n) + 1,
    "metric/criticalband/cf_norm": 40 + rng.random(n),
  }
  names = [f"resnet50_moco_v3_{100 * (i + 1)}ep" if i < 4 else m for i, m in enumerate(frame["model"])]
  return frame.assign(**more, model=names)


def few(config: dict, *biases: str) -> dict:
  """The published definitions of some biases and two axes, with few draws: quick to study."""
  return config | {
    "biases": [row for row in config["biases"] if row["name"] in biases],
    "axes": [row for row in config["axes"] if row["name"] in ("ID", "Robustness")],
    "variations": config["variations"][:2],
    "draws": 200,
  }


def write(folder, frame: pd.DataFrame, of_models: dict | None = None) -> dict:
  """The files of a study, as `run` wants to be asked for it."""
  frame.to_csv(folder / "table.csv", index=False)
  path = None
  if of_models is not None:
    path = str(folder / "categories.json")
    (folder / "categories.json").write_text(json.dumps(of_models))
  asked = {"table": str(folder / "table.csv"), "categories": path, "compare": None}
  return asked | {"output": str(folder / "study"), "seed": 0, "study": definitions()}
