"""Intervals from counts, from stored decisions and by rule, against other ways to compute them."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import stored_runs
from biasjax.results import across
from biasjax.study import definitions, sampling, stored, table
from biasjax.study.definitions import Measure, Sizes

PUBLISHED = Sizes("published", ("net", "twin"), {"top1_acc/d": 2000, "share": 700})


def read(folder, frame, metrics=None):
  """The table of numbers [models, columns] as the study reads it, with the metrics.csv of `metrics`."""
  frame.rename_axis("model").to_csv(folder / "results.csv")
  if metrics is not None:
    metrics.to_csv(folder / "metrics.csv", index=False)
  return table.read(str(folder / "results.csv"), None, frame.columns)


def test_counts_give_wilsons_interval(tmp_path):
  frame = pd.DataFrame({"top1_acc/d": [36.0, 0.0], "share": [0.36, 1.0]}, index=["net", "twin"])
  found = sampling.columns(read(tmp_path, frame), [PUBLISHED])
  for model, column, right, n, scale in (
    ("net", "top1_acc/d", 720, 2000, 100),
    ("twin", "top1_acc/d", 0, 2000, 100),
    ("net", "share", 252, 700, 1),
    ("twin", "share", 700, 700, 1),
  ):
    expected = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
    assert found.of(model, column) == pytest.approx((scale * expected.low, scale * expected.high))
    assert found.n.at[model, column] == n


@pytest.mark.parametrize("n", [7500, 800, 50_000])
def test_a_share_of_nothing_or_everything_is_in_its_interval(tmp_path, n):
  frame = pd.DataFrame({"top1_acc/d": [0.0, 100.0], "share": [0.0, 1.0]}, index=["net", "twin"])
  found = sampling.columns(read(tmp_path, frame), [Sizes("of", ("net", "twin"), dict.fromkeys(frame, n))])
  assert (found.low.loc["net"] == 0).all()
  assert found.high.loc["twin"].tolist() == [100, 1]


def test_a_size_counts_for_the_models_of_its_source_alone(tmp_path):
  frame = pd.DataFrame({"top1_acc/d": [36.0, 66.7], "share": [0.36, 0.667]}, index=["net", "mine"])
  found = sampling.columns(read(tmp_path, frame), [PUBLISHED])
  assert found.low.loc["net"].notna().all()
  for known in (found.low, found.high, found.n, found.errors):
    assert known.loc["mine"].isna().all()


def test_a_size_does_not_count_for_a_model_that_was_measured(tmp_path):
  # Of the same name as a published one; its shape bias rests on nobody knows what.
  frame = pd.DataFrame({"top1_acc/d": [36.0], "share": [0.5]}, index=["net"])
  metrics = pd.DataFrame([("net", "d", "accuracy", "top1_acc/d", 36.0, 20.0, 55.0, 25)], columns=METRICS)
  found = sampling.columns(read(tmp_path, frame, metrics), [PUBLISHED])
  assert found.of("net", "top1_acc/d") == (20, 55)
  assert found.n.at["net", "top1_acc/d"] == 25
  assert math.isnan(found.low.at["net", "share"])


METRICS = ["model", "dataset", "probe", "metric", "value", "low", "high", "n"]


def run(folder, rights, ids=None, labels="imagenet"):
  """A run that stored {dataset: bool [images]} for one network; returns (table, observations, datasets)."""
  folder.mkdir(exist_ok=True)
  rows, frame = [], {}
  for dataset, right in rights.items():
    n = len(right)
    decided = {"net": {"clean": stored_runs.decisions(np.zeros(n, int), np.where(right, 0, 1))}}
    stored_runs.write(folder, decided, dataset, ids=ids and ids[dataset], labels=labels, chunk=100)
    interval = scipy.stats.binomtest(int(right.sum()), n).proportion_ci(method="wilson")
    column = f"top1_acc/{dataset}"
    frame[column] = 100 * right.mean()
    rows.append(
      ("net", dataset, "accuracy", column, frame[column], 100 * interval.low, 100 * interval.high, n)
    )
  metrics = pd.DataFrame(rows, columns=METRICS)
  found = read(folder, pd.DataFrame(frame, index=["net"]), metrics)
  return found, stored.beside(str(folder / "results.csv"))


def correlated(n, columns, share, seed=0):
  """bool [columns][n]: what is hard in one column is hard in the others."""
  rng = np.random.default_rng(seed)
  ease = rng.normal(size=n)
  return {f"c{k}": ease + rng.normal(size=n) < scipy.stats.norm.ppf(share) * 1.4 for k in range(columns)}


def interval(found, observed, columns):
  """The interval of the mean of columns, and where it is from."""
  asked = {"axis": Measure("axis", tuple(columns))}
  values, _ = definitions.compute(asked, found.frame)
  intervals, _ = sampling.measures(asked, values, found, sampling.columns(found, []), observed)
  return values.at["net", "axis"], *intervals.of("net", "axis"), intervals.origin["axis"]


def test_an_axis_has_the_error_of_its_images_and_not_of_its_columns(tmp_path):
  rights = correlated(n=300, columns=6, share=0.7)
  found, observed = run(tmp_path, rights)
  value, low, high, origin = interval(found, observed, found.frame.columns)
  of_image = np.mean(list(rights.values()), axis=0)
  error = 100 * of_image.std() / math.sqrt(300)
  assert origin == sampling.STORED
  assert value == pytest.approx(100 * of_image.mean())
  assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.01)
  # As if each column had images of its own: too narrow.
  apart = 100 * math.sqrt(sum(r.mean() * (1 - r.mean()) / 300 for r in rights.values())) / 6
  assert error > 1.5 * apart


def test_images_that_only_some_columns_have_are_known_by_their_names(tmp_path):
  rights = correlated(n=300, columns=2, share=0.6)
  rights["c1"] = rights["c1"][50:]
  ids = {"c0": [f"a/{i}.png" for i in range(300)], "c1": [f"a/{i}.png" for i in range(50, 300)]}
  found, observed = run(tmp_path, rights, ids)
  _, low, high, origin = interval(found, observed, found.frame.columns)
  influence = np.zeros((300, 2))
  influence[:, 0] = (rights["c0"] - rights["c0"].mean()) / 300
  influence[50:, 1] = (rights["c1"] - rights["c1"].mean()) / 250
  error = 100 * math.sqrt((influence.mean(axis=1) ** 2).sum())
  assert origin == sampling.STORED
  assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.01)


def test_conditions_that_are_part_of_the_names_are_of_one_image(tmp_path):
  # As ImageNet-C is stored: one dataset, an id for each photograph in each condition.
  rights = correlated(n=100, columns=2, share=0.6)
  everything = np.concatenate(list(rights.values()))
  ids = [f"{c}/a/{i}.png" for c in ("fog/1", "fog/2") for i in range(100)]
  _, observed = run(tmp_path, {"c": everything}, {"c": ids}, labels="imagenet_c")
  mean = observed.accuracy("net", "c", "accuracy", "top1_acc/c")
  assert mean["a/7.png"] == np.mean([rights["c0"][7], rights["c1"][7]])
  assert len(mean) == 100
  one = observed.accuracy("net", "c", "accuracy", "top1_acc/fog_2")
  assert one["a/7.png"] == rights["c1"][7]


def moving_together(found):
  """The widest that the interval of a mean can be: half widths averaged."""
  low, high = (found.intervals[name].mean() for name in ("low", "high"))
  return pytest.approx((low, high))


def test_without_stored_decisions_columns_of_the_same_images_count_as_moving_together(tmp_path):
  found, _ = run(tmp_path, correlated(n=300, columns=4, share=0.7))
  _, low, high, origin = interval(found, None, found.frame.columns)
  assert origin == sampling.RULE
  assert (low, high) == moving_together(found)


def test_other_names_for_the_images_leave_the_rule(tmp_path):
  rights = correlated(n=300, columns=2, share=0.7)
  ids = {name: [f"{name}/{i}.png" for i in range(300)] for name in rights}
  found, observed = run(tmp_path, rights, ids)
  _, low, high, _ = interval(found, observed, found.frame.columns)
  assert (low, high) == moving_together(found)


def test_decisions_that_do_not_make_the_number_leave_the_rule(tmp_path):
  found, observed = run(tmp_path, correlated(n=300, columns=2, share=0.7))
  for frame in (found.frame, found.intervals):
    numbers = frame.columns if frame is found.frame else ["low", "high"]
    frame[numbers] = frame[numbers] + 0.7  # the table is of another run
  _, low, high, origin = interval(found, observed, found.frame.columns)
  assert origin == sampling.RULE
  assert (low, high) == moving_together(found)


def test_damaged_decisions_leave_the_rule_and_are_said(tmp_path):
  found, observed = run(tmp_path, correlated(n=300, columns=2, share=0.7))
  next(tmp_path.rglob("*.parquet")).write_bytes(b"nothing")
  asked = {"axis": Measure("axis", tuple(found.frame.columns))}
  values, _ = definitions.compute(asked, found.frame)
  intervals, notes = sampling.measures(asked, values, found, sampling.columns(found, []), observed)
  assert intervals.of("net", "axis") == moving_together(found)
  assert "parquet is damaged" in notes[0]


def test_the_study_and_the_runs_own_tables_have_one_rule(tmp_path):
  values = dict(
    zip([c for columns in across.AXES.values() for c in columns], np.linspace(20, 80, 10), strict=True)
  )
  rows = [
    ("net", "imagenet", "accuracy", column, v, v - 1 - v / 50, v + 1, 100) for column, v in values.items()
  ]
  metrics = pd.DataFrame(rows, columns=METRICS)
  of_run = across.derive(metrics.assign(chance=math.nan, flag="", detail=False)).set_index("metric")
  found = read(tmp_path, pd.DataFrame([values], index=["net"]), metrics)
  for axis, columns in across.AXES.items():
    _, low, high, _ = interval(found, None, columns)
    assert (low, high) == pytest.approx(tuple(of_run.loc[axis, ["low", "high"]]))


@pytest.mark.parametrize("right", [0, 1, 299, 300])
def test_no_interval_of_accuracies_leaves_0_to_100(tmp_path, right):
  found, observed = run(tmp_path, {name: np.arange(300) < right for name in ("c0", "c1")})
  for known in (observed, None):
    _, low, high, _ = interval(found, known, found.frame.columns)
    assert 0 <= low < high <= 100


def test_a_bias_that_the_run_has_measured_itself_has_the_runs_interval(tmp_path):
  cutoffs = {f"metric/bandpass/LFC/{c}": value for c, value in ((0.1, 0.2), (0.2, 0.6))}
  rows = [("net", "d", "spectral", name, v, v - 0.3, v + 0.3, 99) for name, v in cutoffs.items()]
  rows.append(("net", "d", "spectral", "LPP", 0.4, 0.35, 0.46, 99))
  frame = pd.DataFrame([{**cutoffs, "LPP": 0.4}], index=["net"])
  found = read(tmp_path, frame, pd.DataFrame(rows, columns=METRICS))
  for parts, expected in ((list(cutoffs), (0.35, 0.46)), ([*cutoffs, *list(cutoffs)[1:]], None)):
    asked = {"LPP": Measure("LPP", tuple(parts))}
    values, _ = definitions.compute(asked, found.frame)
    intervals, _ = sampling.measures(asked, values, found, sampling.columns(found, []))
    if expected:
      assert intervals.of("net", "LPP") == expected
    else:  # another mean than the run's: the columns' intervals, moving together
      assert intervals.of("net", "LPP") == pytest.approx(
        (values.at["net", "LPP"] - 0.3, values.at["net", "LPP"] + 0.3)
      )


def test_measures_other_than_means_have_no_interval(tmp_path):
  frame = pd.DataFrame({"top1_acc/d": [36.0], "share": [0.5]}, index=["net"])
  found = read(tmp_path, frame)
  asked = {"raw": Measure("raw", ("share",), times="top1_acc/d"), "absent": Measure("absent", ("nothing",))}
  values, _ = definitions.compute({"raw": asked["raw"]}, found.frame)
  intervals, _ = sampling.measures(
    asked, values.assign(absent=0.0), found, sampling.columns(found, [PUBLISHED])
  )
  assert intervals.low.isna().all(axis=None)
