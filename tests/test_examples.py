"""The notebook runs from top to bottom, and so does the example of a network of one's own."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from examples import vit

ROOT = pathlib.Path(__file__).parents[1]


def test_the_notebook_runs_as_it_is(tmp_path):
  cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
  code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
  # What the text says of the two networks.
  shown = """
assert shape["stylised"].loc["shape-bias", "low"] > shape["baseline"].loc["shape-bias", "value"]
assert shape["stylised"].loc["shape-bias", "value"] > shape["baseline"].loc["shape-bias", "high"]
assert spectral["stylised"].metrics.loc["LPP", "low"] > 0.8
assert 0.5 < spectral["baseline"].metrics.loc["LPP", "value"] < 0.65
print("as told")
"""
  (tmp_path / "tour.py").write_text("\n\n".join([*code, shown]))
  done = subprocess.run(
    [sys.executable, "-W", "error", str(tmp_path / "tour.py")],
    cwd=ROOT / "docs",
    env=os.environ | {"MPLBACKEND": "Agg", "BIASJAX_CACHE": str(tmp_path)},
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == "as told\n"


def test_the_notebook_is_kept_without_outputs():
  cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
  assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_a_vision_transformer_is_measured(monkeypatch):
  kept = {}
  train = vit.train

  def noted(network, pictures, labels):
    kept["variables"] = train(network, pictures, labels)
    return kept["variables"]

  monkeypatch.setattr(vit, "train", noted)
  monkeypatch.setattr(vit, "STEPS", 100)  # a quarter of the example's
  metrics = vit.main()
  pictures, labels, _ = vit.draw(128, seed=1)
  logits = vit.ViT().apply(kept["variables"], pictures.astype(np.float32) / 255)
  right = (np.argmax(np.asarray(logits), axis=1) == labels).sum()
  assert metrics.loc["top1_acc/images", "value"] == 100 * right / 128
  weak, strong = (metrics.loc[f"top1_acc/PGD-5:eps=1+4/eps={eps}", "value"] for eps in (1, 4))
  assert strong <= weak < metrics.loc["top1_acc/images", "value"]
  conflict = vit.draw(128, seed=2, conflict=True)
  said = np.argmax(vit.ViT().apply(kept["variables"], conflict[0].astype(np.float32) / 255), axis=1)
  shape, texture = (said == conflict[1]).sum(), (said == conflict[2]).sum()
  assert metrics.loc["shape-bias", "value"] == shape / (shape + texture)
  assert {"LPP", "HPP", "metric/criticalband/bw", "criticalband/continuous/bw"} <= set(metrics.index)
