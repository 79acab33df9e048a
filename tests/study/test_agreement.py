"""Ours against theirs."""

import math

import numpy as np
import pandas as pd
import pytest

import stored_runs
from biasjax.study import agreement, stored
from biasjax.study.definitions import Sizes
from biasjax.study.table import INTERVALS, Table

CLEAN, R = "top1_acc/imagenet", "top1_acc/imagenet-r"
REAL, PGD = "top1_acc/imagenet-real", "top1_acc/PGD-40/low"
IMAGES = {CLEAN: 50_000, R: 30_000, REAL: 50_000, PGD: 50_000}


def table(frame):
  return Table(frame, pd.Series("all", index=frame.index))


def sizes(*models):
  return [Sizes("published", models, IMAGES)]


def compare(ours, theirs):
  both = (table(pd.DataFrame([values], index=["net"], dtype=float)) for values in (ours, theirs))
  return agreement.compare(*both, sizes("net"), {}, CLEAN)


def test_equal_numbers_are_the_same_network_and_protocol():
  cells, models = compare({CLEAN: 76.1, R: 36.2}, {CLEAN: 76.1, R: 36.2})
  assert cells["difference"].tolist() == [0, 0]
  assert models["verdict"].tolist() == ["same network, same protocol"]


def test_a_difference_is_in_points_and_in_sampling_errors():
  cells, _ = compare({CLEAN: 76.0}, {CLEAN: 75.0})
  error = 100 * math.sqrt(0.76 * 0.24 / 50_000)
  assert cells["difference"][0] == pytest.approx(1)
  assert cells["error"][0] == pytest.approx(error, rel=1e-3)
  assert cells["z"][0] == pytest.approx(1 / error, rel=1e-3)


def test_another_clean_accuracy_is_another_network():
  _, models = compare({CLEAN: 70.0, R: 36.2}, {CLEAN: 76.1, R: 36.2})
  assert models["verdict"][0] == "not the same network, or not the same images"
  assert models["reason"][0] == f"{CLEAN} differs by -6.10 points"


def test_other_columns_that_differ_without_a_cause_are_another_protocol():
  _, models = compare({CLEAN: 76.1, R: 30.0}, {CLEAN: 76.1, R: 36.2})
  assert models["verdict"][0] == "same network, another protocol"
  assert f"{R} (-6.2)" in models["reason"][0]


def test_what_has_a_known_cause_is_named_and_does_not_count():
  cells, models = compare({CLEAN: 76.1, REAL: 83.0}, {CLEAN: 76.1, REAL: 86.5})
  assert not cells["agrees"][1]
  assert "last batch" in cells["cause"][1]
  assert models["verdict"][0] == "same network, same protocol"
  assert f"{REAL} (-3.5)" in models["reason"][0]


def test_pgds_phantom_images_are_taken_out():
  # 9,000 of 50,000 images robust; published as (9,000 + 48) of 50,048.
  published = 100 * 9048 / 50048
  cells, _ = compare({CLEAN: 76.1, PGD: 18.0}, {CLEAN: 76.1, PGD: published})
  row = cells[cells["column"] == PGD].iloc[0]
  assert row["corrected"] == pytest.approx(18.0, abs=1e-9)
  assert row["difference"] == pytest.approx(0, abs=1e-9)


def test_without_clean_accuracy_nothing_is_decided():
  _, models = compare({R: 36.2}, {R: 36.2})
  assert models["verdict"][0] == "undecided"


def test_missing_numbers_are_not_compared():
  cells, _ = compare({CLEAN: 76.1, "shape-bias": math.nan}, {CLEAN: 76.1, "shape-bias": 0.2})
  assert cells["column"].tolist() == [CLEAN]


def test_paired_decisions_give_the_error_of_their_differences(tmp_path):
  label = np.arange(200) % 10
  rng = np.random.default_rng(0)
  first = np.where(rng.random(200) < 0.7, label, 11)
  second = np.where(rng.random(200) < 0.05, 12, first)
  for name, predictions in (("ours", first), ("theirs", second)):
    (tmp_path / name).mkdir()
    decided = {"net": {"clean": stored_runs.decisions(label, predictions)}}
    stored_runs.write(tmp_path / name, decided, dataset="imagenet")
  runs = [stored.beside(str(tmp_path / name / "results.csv")) for name in ("ours", "theirs")]
  found = agreement.paired_errors(*runs, [CLEAN])
  differences = (first == label).astype(float) - (second == label)
  expected = 100 * differences.std(ddof=1) / math.sqrt(200)
  assert found == {("net", CLEAN): pytest.approx(expected)}
  # Paired decisions tell far smaller differences apart than two accuracies do.
  assert expected < 100 * math.sqrt(2 * 0.7 * 0.3 / 200)


def test_versions_of_an_image_are_one_in_a_paired_error(tmp_path):
  rng, folders = np.random.default_rng(1), [f"fog/{severity}" for severity in range(1, 6)]
  label, ids = np.ones(200, int), [f"{folder}/{i}.png" for folder in folders for i in range(40)]
  for name in ("ours", "theirs"):
    (tmp_path / name).mkdir()
    said = np.tile(rng.random(40) < 0.6, len(folders)).astype(int)  # alike at every severity
    decided = {"net": {"clean": stored_runs.decisions(label, said)}}
    stored_runs.write(tmp_path / name, decided, "imagenet-c", ids=ids, labels="imagenet_c", chunk=200)
  runs = [stored.beside(str(tmp_path / name / "results.csv")) for name in ("ours", "theirs")]
  right = [run.read("net", "imagenet-c", "accuracy")["prediction"].to_numpy()[:40] for run in runs]
  expected = 100 * (right[0] - right[1].astype(float)).std(ddof=1) / math.sqrt(40)
  column = "top1_acc/imagenet-c"
  assert agreement.paired_errors(*runs, [column]) == {("net", column): pytest.approx(expected)}


@pytest.mark.reference
def test_the_published_table_agrees_with_itself(reference):
  theirs = pd.read_csv(reference / "data" / "paper" / "benchmark.csv", index_col="model")
  columns = [CLEAN, R, REAL, "shape-bias"]
  ours = theirs[columns]
  _, models = agreement.compare(table(ours), table(theirs), sizes(*theirs.index), {}, CLEAN)
  assert set(models["verdict"]) == {"same network, same protocol"}
  assert len(models) == 70


@pytest.mark.reference
def test_networks_mixed_up_are_found_out(reference):
  theirs = pd.read_csv(reference / "data" / "paper" / "benchmark.csv", index_col="model")
  ours = theirs.loc[["resnet50.a1_in1k"], [CLEAN, R]].rename(index=lambda _: "tv_resnet50")
  _, models = agreement.compare(table(ours), table(theirs), sizes("tv_resnet50"), {}, CLEAN)
  assert models["verdict"].tolist() == ["not the same network, or not the same images"]


def test_what_was_measured_here_has_none_of_the_published_slips():
  """Two runs of this project over all images, which have counted no phantoms."""
  intervals = pd.DataFrame(
    [("net", column, 17.7, 18.3, 50_000, "imagenet", "pgd", math.nan, "") for column in (PGD, REAL)],
    columns=INTERVALS,
  )
  ours, theirs = (pd.DataFrame([{CLEAN: 76.1, PGD: 18.0, REAL: real}], ["net"]) for real in (83.0, 86.5))
  other = Table(theirs, pd.Series("all", index=["net"]), intervals=intervals)
  cells, models = agreement.compare(table(ours), other, sizes("net"), {}, CLEAN)
  row = cells.set_index("column").loc[PGD]
  assert (row["corrected"], row["difference"], row["cause"]) == (18.0, 0.0, "")
  assert models["verdict"][0] == "same network, another protocol"  # of ReaL, which nothing explains
