"""Successive halving over a grid: who is trained for how long, who stays, and what a second start does."""

import math
import pathlib
import types

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax.cli import halving
from biasjax.errors import BiasjaxError
from biasjax.train import loop

LABEL = np.repeat([0, 1], 50)
# Of each recipe, how many of the two classes' 50 images are wrong after its whole training: in the plane of
# error and gap the second and third are the front, the fourth is behind both, the first behind everything.
WRONG = {
  "lr-0.1_width-4": (30, 49),
  "lr-0.1_width-8": (5, 5),
  "lr-0.2_width-4": (0, 9),
  "lr-0.2_width-8": (3, 13),
}
FACTORS = {"lr": [0.1, 0.2], "width": [4, 8]}


def asked(folder, **grid):
  sweep = {
    "dataset": "drawn",
    "seeds": [0],
    "grid": {"factors": FACTORS, "rungs": 3, **grid},
    "measure": [{"probes": ["accuracy"], "dataset": ["drawn"]}],
  }
  train = {"epochs": 8.0, "warmup_epochs": 2.0}
  return {"workdir": str(folder), "train": train, "sweep": sweep, "annotations": None, "batch_size": "8"}


@pytest.fixture
def trained(monkeypatch):
  """The trainings, (name, epochs), as they are asked for; nothing is trained, and answers are `WRONG`."""
  found = []

  def train(asked, source, seed, changed):
    found.append((changed["name"], changed["epochs"], changed["warmup_epochs"]))
    return changed["name"]

  def measure(asked):
    for dataset in asked["dataset"]:
      said = {}
      for name in asked["models"]:
        answers = LABEL.copy()
        first, second = WRONG[name.partition("_rung")[0]] if dataset == "drawn" else (0, 0)
        answers[:first], answers[50 : 50 + second] = 1, 0
        said[name] = {"clean": stored_runs.decisions(LABEL, answers)}
      ids = [f"{i:03d}.png" for i in range(100)]
      of_run = {"ids": ids, "chunk": 100, "labels": "synthetic", "dataset": dataset}
      stored_runs.write(pathlib.Path(asked["workdir"]), said, **of_run)
    return 0

  def named(asked):
    return [types.SimpleNamespace(name=name) for name in asked["dataset"]], {}

  monkeypatch.setattr(halving, "trained", train)
  monkeypatch.setattr(halving.commands, "measure", measure)
  monkeypatch.setattr(halving.commands, "opened", named)
  monkeypatch.setattr(halving.opening, "open_asked", lambda *_: None)
  monkeypatch.setattr(halving.training, "parse", lambda given: given)
  monkeypatch.setattr(halving.training, "ready", lambda *_: None)
  return found


def test_the_better_half_is_trained_for_twice_as_long(trained, tmp_path, capsys):
  assert halving.run(asked(tmp_path)) == 0
  by_epochs = {}
  for name, epochs, warmup in trained:
    by_epochs.setdefault(epochs, []).append(name.partition("_rung")[0])
    assert warmup == epochs / 4
  assert set(by_epochs) == {2, 4, 8}
  assert by_epochs[2] == list(WRONG)
  assert by_epochs[4] == ["lr-0.1_width-8", "lr-0.2_width-4"]  # the front: (10 %, 0) and (9 %, 18)
  assert by_epochs[8] == ["lr-0.2_width-4"]  # of two that are both on the front the lower error
  table = pd.read_csv(tmp_path / "halving.csv")
  first = table[table["rung"] == 0].set_index("recipe")
  assert first["layer"].to_dict() == dict(zip(WRONG, (2, 0, 0, 1), strict=True))
  assert first.loc["lr-0.1_width-4", ["error", "disparity"]].to_list() == [79, 38]
  assert (tmp_path / "pareto.csv").exists()
  assert "1 of 4 recipes are left" in capsys.readouterr().out


def test_what_is_measured_first_decides_whatever_it_is_called_and_whatever_annotates_training(
  trained, tmp_path
):
  (tmp_path / "a.csv").write_text("example_id,bias\ntrain.png,0\n")
  given = asked(tmp_path, rungs=2, eta=4) | {"annotations": str(tmp_path / "a.csv")}
  given["sweep"]["measure"] += [{"probes": ["accuracy"], "dataset": ["a_test"]}]
  assert halving.run(given) == 0
  table = pd.read_csv(tmp_path / "halving.csv")
  assert table.loc[table["rung"] == 1, "recipe"].to_list() == ["lr-0.2_width-4"]
  assert table["error"].min() == 9


def test_images_that_cannot_be_decoded_do_not_end_a_search(trained, tmp_path, monkeypatch):
  measure = halving.commands.measure
  monkeypatch.setattr(halving.commands, "measure", lambda asked: measure(asked) or 3)
  assert halving.run(asked(tmp_path)) == 3
  assert pd.read_csv(tmp_path / "halving.csv")["rung"].max() == 2


def test_a_recipe_that_diverges_is_left_out_and_the_others_go_on(trained, tmp_path, monkeypatch, capsys):
  train = halving.trained

  def diverging(asked, source, seed, changed):
    if changed["name"].startswith("lr-0.2_width-4"):
      raise loop.DivergedError("the loss of step 3 is not finite")
    return train(asked, source, seed, changed)

  monkeypatch.setattr(halving, "trained", diverging)
  assert halving.run(asked(tmp_path, rungs=2)) == 0
  said = capsys.readouterr()
  assert "lr-0.2_width-4 is left out: lr-0.2_width-4_rung0_seed0: the loss of step 3 is not" in said.err
  assert "2 of 4 recipes are left" in said.out
  table = pd.read_csv(tmp_path / "halving.csv")
  lost = table[table["recipe"] == "lr-0.2_width-4"]
  assert lost[["rung", "layer", "kept"]].to_numpy().tolist() == [[0, -1, False]]
  assert lost["error"].isna().all()
  # The best of the other three: (10 %, 0), and of those behind it the lower error.
  assert set(table.loc[table["rung"] == 1, "recipe"]) == {"lr-0.1_width-8", "lr-0.2_width-8"}
  monkeypatch.setattr(halving, "trained", lambda *_: (_ for _ in ()).throw(loop.DivergedError("at step 1")))
  with pytest.raises(BiasjaxError, match="no recipe is left"):
    halving.run(asked(tmp_path / "other"))


def test_recipes_whose_names_no_file_can_have_are_refused_before_any_is_trained(tmp_path):
  noise = "+".join(f"{name}_noise=0.123456789" for name in ("gaussian", "uniform", "band", "diffusion"))
  factors = {"width": [4, 8], "interventions": ["none", f"{noise}+low_pass=0.123456789+flip=0.123456789"]}
  factors |= {"weight_decay": [1e-4, 0.00123456789]}
  with pytest.raises(BiasjaxError, match=r"_rung2_seed0'; files are called so, in 195 letters"):
    halving.run(asked(tmp_path, factors=factors))


def test_a_second_start_asks_for_the_same_and_says_the_same(trained, tmp_path):
  halving.run(asked(tmp_path, rungs=2))
  first, table = list(trained), (tmp_path / "halving.csv").read_bytes()
  trained.clear()
  halving.run(asked(tmp_path, rungs=2))
  assert trained == first
  assert (tmp_path / "halving.csv").read_bytes() == table


def test_the_better_ones_are_those_of_lower_layers():
  points = np.array([[10.0, 1], [2, 2], [1, 9], [3, 3], [9, 9]])
  assert halving.better(points, 3) == [0, 1, 2]
  assert halving.better(points, 4) == [0, 1, 2, 3]
  assert halving.better(points, 1) == [2]
  with pytest.raises(BiasjaxError, match="is not known"):
    halving.better(np.array([[1, math.nan]]), 1)


def test_a_training_of_steps_is_shortened_too():
  found = halving._shortened({"steps": 10, "warmup_epochs": 1.0}, 4)
  assert (found["steps"], found["warmup_epochs"]) == (2, 0.25)
  assert halving._shortened({"steps": 1}, 4)["steps"] == 1


@pytest.mark.parametrize(
  ("grid", "message"),
  [
    ({"factors": {}}, "sweep.grid.factors is needed"),
    ({"factors": {"epochs": [1, 2]}}, "sweep.grid.factors.epochs is"),
    ({"factors": {"width": 8}}, "sweep.grid.factors.width is 8; expected values of a recipe, a list"),
    ({"eta": 1}, "sweep.grid.eta is 1; expected a whole number from 2"),
    ({"rung": 2}, "sweep.grid.rung is unknown: did you mean rungs?"),
    ({"factors": ["width"]}, "sweep.grid.factors is ['width']; expected {setting of train"),
    ({"rungs": True}, "sweep.grid.rungs is True; expected a whole number from 1"),
    ({"groups": 3}, "sweep.grid.groups is 3; expected a name"),
    ({"on": "draw"}, "sweep.grid.on is 'draw': did you mean drawn?"),
  ],
)
def test_a_mistake_is_named(trained, tmp_path, grid, message):
  with pytest.raises(BiasjaxError) as raised:
    halving.run(asked(tmp_path, **grid))
  assert message in str(raised.value)
