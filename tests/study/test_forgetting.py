"""What training forgets, by hand and from stored decisions."""

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax.errors import BiasjaxError
from biasjax.study import forgetting, stored

PATTERN = r"(?P<run>.+)@epoch(?P<epoch>\d+)"


def measure(right, confidences=None, wrong=9):
  """Examples whose label is their index; a wrong decision is for class `wrong`."""
  right = np.array(right, bool)
  predictions = np.where(right, np.arange(right.shape[1]), wrong)
  confidences = np.full(right.shape, 0.5) if confidences is None else np.array(confidences)
  return forgetting.measure(right, predictions, confidences)


def test_checkpoints_of_a_run_are_found_in_the_order_of_epochs():
  found = forgetting.runs(PATTERN, ["a@epoch10", "a@epoch9", "b@epoch1", "other"])
  assert found == {"a": {9: "a@epoch9", 10: "a@epoch10"}}


@pytest.mark.parametrize("pattern", ["(", "(?P<run>.+)", r"(?P<run>.+)@epoch(?P<epoch>.+)"])
def test_a_pattern_that_names_no_epochs_is_refused(pattern):
  with pytest.raises(BiasjaxError, match=r"study\.checkpoints"):
    forgetting.runs(pattern, ["a@epochlast"]) or forgetting.runs(pattern, ["(", "a"])


def test_two_models_for_one_epoch_are_refused():
  with pytest.raises(BiasjaxError, match="takes both a@epoch01 and a@epoch1 for epoch 1 of a"):
    forgetting.runs(PATTERN, ["a@epoch1", "a@epoch01", "a@epoch2"])


def test_forgotten_is_what_was_right_and_is_wrong_at_the_end():
  summary, epochs = measure([[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0]])
  assert summary["forgotten"] == 25
  assert summary["ever"] == 75
  assert summary["final"] == 50
  assert [e["accuracy"] for e in epochs] == [50, 50, 50]
  assert [e["forgotten"] for e in epochs] == [0, 25, 0]
  assert summary["peak"] == 1


def test_a_run_that_only_learns_forgets_nothing():
  summary, _ = measure([[0, 0, 1], [0, 1, 1], [1, 1, 1]])
  assert summary["forgotten"] == 0
  assert summary["gain"] == 0


def test_the_ensemble_takes_the_more_confident_decision():
  right = [[1, 1, 0, 0], [0, 0, 1, 1]]
  confident = [[0.9, 0.3, 0.9, 0.3], [0.5, 0.5, 0.5, 0.5]]
  summary, _ = measure(right, confident)
  # Right: the first (epoch 0 is surer), not the second, not the third, the fourth.
  assert summary["ensemble"] == 50
  assert summary["final"] == 50


def test_the_ensemble_wins_back_what_confident_epochs_knew():
  rng = np.random.default_rng(0)
  right = rng.random((3, 400)) < 0.6
  confidences = np.where(right, 0.9, 0.4)
  summary, _ = measure(right, confidences, wrong=-1)
  assert summary["gain_low"] > 0
  assert summary["ensemble"] == pytest.approx(summary["final"] + summary["gain"])


def test_intervals_over_several_conditions_of_the_same_images_hold_the_truth():
  rng, images, conditions = np.random.default_rng(1), 200, 20

  def run(n):
    ease = 2 * rng.normal(size=(n, 1))
    right = [ease + rng.normal(size=(n, 1)) + rng.normal(size=(n, conditions)) / 2 > 0 for _ in range(3)]
    right = np.stack(right).reshape(3, -1)
    confidences = np.where(right, 0.6, 0.5)
    image = np.repeat(np.arange(n), conditions)
    return forgetting.measure(right, np.where(right, 1, 0), confidences, image)[0]

  truth, runs = run(50_000), [run(images) for _ in range(200)]
  for name, low, high in (("forgotten", "low", "high"), ("gain", "gain_low", "gain_high")):
    held = sum(of[low] <= truth[name] <= of[high] for of in runs)
    assert held >= 180  # of 200: less than that is what 95 % gives in 1 of 500 tests


def test_conditions_of_one_image_are_not_images(tmp_path):
  rng = np.random.default_rng(2)
  right = {e: np.where(rng.random(60) < 0.7, 1, 0) for e in (1, 2)}
  runs = {
    f"net@epoch{e}": dict.fromkeys(
      ("clean", "dark", "bright"), stored_runs.decisions(np.ones(60, int), of, 0.4 + 0.1 * of)
    )
    for e, of in right.items()
  }
  stored_runs.write(tmp_path, runs, chunk=60)
  observed = stored.beside(str(tmp_path / "results.csv"))
  summary, _ = forgetting.tables(observed, forgetting.runs(PATTERN, list(runs)))
  rows = summary.set_index("condition")
  # Three conditions that say the same are worth one.
  width = rows["high"] - rows["low"]
  assert width["all"] == pytest.approx(width["clean"], rel=0.05)
  gain = rows["gain_high"] - rows["gain_low"]
  assert gain["all"] == pytest.approx(gain["clean"], rel=0.05)


def test_forgetting_comes_out_of_stored_decisions(tmp_path):
  label = np.arange(8)
  wrong = (label + 1) % 8

  def at(*right):
    return stored_runs.decisions(label, np.where(np.isin(label, right), label, wrong))

  runs = {
    "net@epoch1": {"clean": at(0, 1, 2), "dark": at(0)},
    "net@epoch2": {"clean": at(0, 1, 3), "dark": at(1)},
    "net@epoch3": {"clean": at(0, 3, 4, 5), "dark": at(1, 2)},
  }
  stored_runs.write(tmp_path, runs)
  observed = stored.beside(str(tmp_path / "results.csv"))
  found = forgetting.runs(PATTERN, list(runs))
  summary, epochs = forgetting.tables(observed, found)
  rows = summary.set_index("condition")
  assert rows["n"].to_dict() == {"all": 16, "clean": 8, "dark": 8}
  assert rows["forgotten"].to_dict() == {"all": 300 / 16, "clean": 25, "dark": 12.5}
  assert rows.loc["clean", "final"] == 50
  assert rows.loc["clean", "peak_epoch"] == 1
  clean = epochs[epochs["condition"] == "clean"]
  assert clean[["epoch", "accuracy", "forgotten"]].to_numpy().tolist() == [
    [1, 37.5, 25],
    [2, 37.5, 12.5],
    [3, 50, 0],
  ]


def test_damaged_decisions_are_named(tmp_path):
  stored_runs.write(tmp_path, {"net@epoch1": {"clean": stored_runs.decisions([0, 1], [0, 1])}})
  path = next(tmp_path.rglob("*.parquet"))
  path.write_bytes(b"nothing")
  observed = stored.beside(str(tmp_path / "results.csv"))
  with pytest.raises(BiasjaxError, match=r"parquet is damaged"):
    observed.read("net@epoch1", "drawn", "accuracy")


def test_a_flipped_bit_of_stored_decisions_is_never_read_as_other_numbers(tmp_path):
  rng = np.random.default_rng(0)
  decided = stored_runs.decisions(rng.integers(0, 9, 40), rng.integers(0, 9, 40), rng.random(40))
  stored_runs.write(tmp_path, {"net@epoch1": {"clean": decided}}, chunk=40)
  (path,) = tmp_path.rglob("*.parquet")
  whole = path.read_bytes()
  expected = stored.beside(str(tmp_path / "results.csv")).read("net@epoch1", "drawn", "accuracy")
  refused = 0
  for bit in rng.choice(8 * len(whole), 150, replace=False).tolist():
    content = bytearray(whole)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    try:
      found = stored.beside(str(tmp_path / "results.csv")).read("net@epoch1", "drawn", "accuracy")
    except BiasjaxError:
      refused += 1
    else:  # bits that nothing reads, such as the library's name
      pd.testing.assert_frame_equal(found, expected)
  assert refused > 50


def test_decisions_of_a_run_that_is_not_done_are_none(tmp_path):
  stored_runs.write(tmp_path, {"net@epoch1": {"clean": stored_runs.decisions(range(9), range(9))}})
  sorted(tmp_path.rglob("*.parquet"))[1].unlink()
  observed = stored.beside(str(tmp_path / "results.csv"))
  assert observed.read("net@epoch1", "drawn", "accuracy") is None
  assert observed.read("net@epoch2", "drawn", "accuracy") is None


@pytest.mark.parametrize(
  "text",
  ["", '{"units": [1]}', '{"format": 3, "datasets": {}, "units": [1]}', '{"format": 3, "datasets": {}}'],
)
def test_a_run_file_that_is_none_is_refused(tmp_path, text):
  (tmp_path / "run.json").write_text(text)
  with pytest.raises(BiasjaxError, match=r"run\.json is damaged"):
    stored.beside(str(tmp_path / "results.csv"))
  assert stored.beside(str(tmp_path / "elsewhere" / "results.csv")) is None
