"""Recorded decisions: exact counts, intervals, and who errs with whom."""

import json

import numpy as np
import pandas as pd
import pytest

from biasjax.errors import BiasjaxError
from biasjax.recorded import scoring, trials
from biasjax.statistics import error_consistency, ratio_of_totals


def trial_file(path, rows, subject="subject-01"):
  """A CSV as published, of (stimulus, response)."""
  table = pd.DataFrame(
    {
      "subj": subject,
      "session": 1,
      "trial": range(1, len(rows) + 1),
      "rt": "NaN",
      "object_response": [response for _, response in rows],
      "category": ["".join(c for c in name.split("-")[0] if c.isalpha()) for name, _ in rows],
      "condition": 0,
      "imagename": [f"{i:04d}_s5n_s01_0_x_00_{name}.png" for i, (name, _) in enumerate(rows)],
    }
  )
  table.to_csv(path, index=False)
  return path


ROWS = [
  ("cat1-dog2", "cat"),
  ("cat2-dog1", "dog"),
  ("dog3-cat1", "na"),
  ("bear1-car1", "bear"),
  ("car1-bear2", "truck"),
  ("car2-car3", "car"),  # no conflict
]


def test_decisions_are_counted_where_shape_and_texture_differ(tmp_path):
  counts = trials.count(trials.read(trial_file(tmp_path / "a.csv", ROWS)))
  assert counts == trials.CueConflict(n_conflict=5, n_shape=2, n_texture=1)
  assert counts.shape_bias[0] == 2 / 3
  assert counts.cue_accuracy[0] == 3 / 5


@pytest.mark.reference
def test_recorded_trials_give_the_exact_counts(reference):
  golden = json.loads((reference / "reference/golden_trials.json").read_text())
  recorded = trials.read_all(trials.matching(str(reference / "data/trials/cue_conflict/*.csv")))
  assert set(recorded) == set(golden["cue_conflict_trials"])
  assert len(recorded) == 21
  table = trials.summarise(recorded).set_index("file")
  expected = {**golden["cue_conflict_trials"], "people": golden["humans_pooled"]}
  for name, row in expected.items():
    found = table.loc[name]
    assert tuple(found[["n_conflict", "n_shape", "n_texture"]]) == (
      row["n_conflict"],
      row["n_shape"],
      row["n_texture"],
    )
    assert found["shape_bias"] == pytest.approx(row["shape_bias"], abs=1e-12)
    assert found["low"] < found["shape_bias"] < found["high"]
  resnet = table.loc["style-transfer-512-nomask-experiment_resnet50_session-1.csv"]
  assert (resnet["n_shape"], resnet["n_texture"]) == (162, 572)
  assert (table.loc["people", "n_shape"], table.loc["people", "n_texture"]) == (9236, 398)
  people = [name for name, decisions in recorded.items() if trials.is_person(decisions)]
  assert table.loc[people, "shape_bias"].mean() == pytest.approx(golden["humans_mean_of_individuals"])


@pytest.mark.reference
def test_recorded_trials_give_the_exact_counts_of_each_category(reference):
  golden = json.loads((reference / "reference/golden_trials.json").read_text())["cue_conflict_trials"]
  for name, decisions in trials.read_all(
    trials.matching(str(reference / "data/trials/cue_conflict/*.csv"))
  ).items():
    for category, (shape, texture, _) in golden[name]["per_shape_category"].items():
      counts = trials.count(decisions[decisions["shape"] == category])
      assert (counts.n_shape, counts.n_texture) == (shape, texture)


@pytest.mark.reference
def test_people_agree_more_with_each_other_than_networks_with_them(reference):
  """Geirhos et al. 2020: ResNet-50's kappa with people is below 0.1 on cue conflict, people's about 0.3."""
  recorded = trials.read_all(trials.matching(str(reference / "data/trials/cue_conflict/*.csv")))
  people = [name for name, decisions in recorded.items() if trials.is_person(decisions)]
  mean = trials.with_people(trials.consistency(recorded), people).set_index("observer")
  assert mean.loc["style-transfer-512-nomask-experiment_resnet50_session-1.csv", "kappa"] < 0.1
  assert 0.25 < mean.loc[people, "kappa"].mean() < 0.4
  assert (mean.loc[people, "people"] == 9).all()


def test_tables_are_written(tmp_path):
  trial_file(tmp_path / "a.csv", ROWS)
  trial_file(tmp_path / "b.csv", [(name, "cat") for name, _ in ROWS], subject="subject-02")
  text = scoring.score_trials(str(tmp_path / "*.csv"), tmp_path / "out")
  table = pd.read_csv(tmp_path / "out/trials.csv")
  assert list(table.columns) == ["file", "n_conflict", "n_shape", "n_texture", "shape_bias", "low", "high"]
  assert list(table["file"]) == ["a.csv", "b.csv", "people"]
  assert tuple(table.loc[2, ["n_conflict", "n_shape", "n_texture"]]) == (10, 4, 2)
  pairs = pd.read_csv(tmp_path / "out/error_consistency.csv")
  assert tuple(pairs.loc[0, ["first", "second", "n"]]) == ("a.csv", "b.csv", 6)
  assert "a.csv   5           2        1          0.667 [" in text


def test_a_network_is_compared_over_the_stimuli_that_both_saw(tmp_path):
  recorded = trials.read(trial_file(tmp_path / "a.csv", ROWS))
  network = trials.from_observations(
    pd.DataFrame({"example_id": ["cat/cat1-dog2.png", "dog/dog9-cat1.png"], "prediction": [7, 7]})
  )
  assert list(network["response"]) == ["cat", "cat"]
  pairs = trials.consistency({"person": recorded, "network": network})
  assert pairs.loc[0, "n"] == 1


@pytest.mark.parametrize(("p", "q"), [(0.3, 0.7), (0.9, 0.95), (0.5, 0.5)])
def test_error_consistency_is_cohens_kappa(p, q):
  inter_rater = pytest.importorskip("statsmodels.stats.inter_rater", reason="compares with statsmodels")
  rng = np.random.default_rng(0)
  shared = rng.random(500)
  first, second = shared < p, np.where(rng.random(500) < 0.4, shared, rng.random(500)) < q
  table = np.array([[(~first & ~second).sum(), (~first & second).sum()], [0, 0]])
  table[1] = (first & ~second).sum(), (first & second).sum()
  expected = inter_rater.cohens_kappa(table)
  kappa, low, high = error_consistency(first, second)
  assert kappa == pytest.approx(expected.kappa, abs=1e-12)
  assert low == pytest.approx(expected.kappa_low, abs=0.03)
  assert high == pytest.approx(expected.kappa_upp, abs=0.03)


def test_error_consistency_is_undetermined_where_chance_explains_everything():
  assert np.isnan(error_consistency(np.ones(5, bool), np.ones(5, bool))).all()
  assert np.isnan(error_consistency(np.ones(0, bool), np.ones(0, bool))).all()


def test_the_interval_of_people_is_over_people():
  """Equal people leave none of the doubt that decisions would; a single one leaves all."""
  assert ratio_of_totals(np.full(5, 90.0), np.full(5, 100.0)) == (0.9, 0.9, 0.9)
  assert np.isnan(ratio_of_totals(np.array([90.0]), np.array([100.0]))[1:]).all()
  value, low, high = ratio_of_totals(np.array([60.0, 90, 95]), np.full(3, 100.0))
  sample = np.array([0.6, 0.9, 0.95])
  half = 4.302653 * sample.std(ddof=1) / 3**0.5
  assert (value, low, high) == pytest.approx((sample.mean(), sample.mean() - half, 1.0), abs=1e-6)


MISTAKES = {
  "no such pattern": ("*.tsv", None, "no file matches"),
  "another table": ("*.csv", "a,b\n1,2\n", "no column 'subj'"),
  "empty": ("*.csv", "", "cannot be read"),
  "no trials": ("*.csv", "subj,object_response,category,imagename\n", "holds no trials"),
  "other images": ("*.csv", "subj,object_response,category,imagename\ns,cat,cat,cat.png\n", "cue-conflict"),
  "wrong category": (
    "*.csv",
    "subj,object_response,category,imagename\ns,cat,dog,cat1-dog2.png\n",
    "line 2: category is 'dog', but 'cat1-dog2.png' shows a cat",
  ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_table_of_trials_is_refused_in_one_line(tmp_path, name):
  pattern, content, message = MISTAKES[name]
  if content is not None:
    (tmp_path / "a.csv").write_text(content)
  with pytest.raises(BiasjaxError, match=message) as refused:
    scoring.score_trials(str(tmp_path / pattern), tmp_path / "out")
  assert "\n" not in str(refused.value)
