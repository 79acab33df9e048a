"""--report_to: what reaches TensorBoard's files and wandb's interface."""

import io
import sys
import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from biasjax.errors import BiasjaxError
from biasjax.results import sinks
from board import images, scalars

FIGURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
TABLE = pd.DataFrame({"model": ["a", "b"], "top1_acc/imagenet": [75.5, 50.0], "LPP": [0.5, float("nan")]})


def test_tensorboard_gets_each_models_row_and_the_curves(tmp_path):
  (sink,) = sinks.parse([f"tensorboard:{tmp_path}"])
  sinks.send_table([sink], TABLE)
  assert scalars(tmp_path / "a") == [("top1_acc/imagenet", 75.5, 1), ("LPP", 0.5, 1)]
  assert scalars(tmp_path / "b") == [("top1_acc/imagenet", 50.0, 1)]
  sink("trained", {"loss": (2.0, 1.0), "accuracy": (0.25, 0.5)}, {})
  expected = [("loss", 2.0, 1), ("loss", 1.0, 2), ("accuracy", 0.25, 1), ("accuracy", 0.5, 2)]
  assert scalars(tmp_path / "trained") == expected


def test_tensorboard_gets_figures_beside_the_numbers(tmp_path):
  (sink,) = sinks.parse([f"tensorboard:{tmp_path}"])
  sinks.send_table([sink], TABLE, {"b": {"curve": FIGURE}})
  (shown,) = images(tmp_path / "b").values()
  np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown))), FIGURE)
  assert images(tmp_path / "a") == {}


def test_wandb_gets_the_same(monkeypatch):
  calls = []

  class Run:
    def log(self, values, step):
      calls.append((values, step))

    def finish(self):
      calls.append("finished")

  def init(*, project, name):
    calls.append((project, name))
    return Run()

  monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Image=np.ndarray.tobytes))
  (sink,) = sinks.parse(["wandb:biases"])
  sinks.send_table([sink], TABLE[:1], {"a": {"curve": FIGURE}})
  sink("trained", {"loss": (2.0, 1.0), "accuracy": (0.25, 0.5)}, {})
  numbers = {"top1_acc/imagenet": 75.5, "LPP": 0.5}
  assert calls == [
    *(("biases", "a"), (numbers | {"curve": FIGURE.tobytes()}, 1), "finished"),
    *(("biases", "trained"), ({"loss": 2.0, "accuracy": 0.25}, 1), ({"loss": 1.0, "accuracy": 0.5}, 2)),
    "finished",
  ]


@pytest.mark.parametrize(
  ("spec", "said"),
  [
    ("wandb:x", "--report_to=wandb:x needs wandb .*: pip install wandb, or leave it out"),
    ("tensorbord:x", r"did you mean tensorboard\?"),
    ("wandb", "what follows the colon is missing"),
  ],
)
def test_a_mistake_is_one_line(monkeypatch, spec, said):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(BiasjaxError, match=said):
    sinks.parse([spec])


def test_nothing_is_imported_that_was_not_asked_for(monkeypatch):
  for name in ("tensorboardX", "wandb"):
    monkeypatch.setitem(sys.modules, name, None)  # importing it would fail
  assert sinks.parse(None) == []
