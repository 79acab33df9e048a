"""Recorded decisions: exact counts, intervals, and who errs with whom."""

import json

import numpy as np
import pandas as pd
import pytest

from biasjax.errors import BiasjaxError
from biasjax.recorded import files, people, scoring, trials
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


def read(path) -> pd.DataFrame:
  return trials.decisions_of(files.read(path))


def recorded(reference) -> dict[str, pd.DataFrame]:
  """The published files -> their decisions."""
  paths = files.matching(str(reference / "data/trials/cue_conflict/*.csv"))
  return {path.name: read(path) for path in paths}


def of_people(decisions: dict[str, pd.DataFrame]) -> list[pd.DataFrame]:
  return people.split(decisions.values())[0]


ROWS = [
  ("cat1-dog2", "cat"),
  ("cat2-dog1", "dog"),
  ("dog3-cat1", "na"),
  ("bear1-car1", "bear"),
  ("car1-bear2", "truck"),
  ("car2-car3", "car"),  # no conflict
]


def test_decisions_are_counted_where_shape_and_texture_differ(tmp_path):
  counts = trials.count(read(trial_file(tmp_path / "a.csv", ROWS)))
  assert (counts.n_conflict, counts.n_shape, counts.n_texture) == (5, 2, 1)
  assert counts.shape_bias[0] == 2 / 3
  assert counts.cue_accuracy[0] == 3 / 5


@pytest.mark.reference
def test_recorded_trials_give_the_exact_counts(reference):
  golden = json.loads((reference / "reference/golden_trials.json").read_text())
  found = recorded(reference)
  assert set(found) == set(golden["cue_conflict_trials"])
  assert len(found) == 21
  table = trials.summarise(found, of_people(found)).set_index("file")
  expected = {**golden["cue_conflict_trials"], "people": golden["humans_pooled"]}
  for name, row in expected.items():
    of = table.loc[name]
    assert tuple(of[["n_conflict", "n_shape", "n_texture"]]) == (
      row["n_conflict"],
      row["n_shape"],
      row["n_texture"],
    )
    assert of["shape_bias"] == pytest.approx(row["shape_bias"], abs=1e-12)
    assert of["low"] < of["shape_bias"] < of["high"]
  resnet = table.loc["style-transfer-512-nomask-experiment_resnet50_session-1.csv"]
  assert (resnet["n_shape"], resnet["n_texture"]) == (162, 572)
  assert (table.loc["people", "n_shape"], table.loc["people", "n_texture"]) == (9236, 398)
  persons = [name for name, table in found.items() if files.is_person(table.attrs["observer"])]
  assert len(persons) == 10
  assert table.loc[persons, "shape_bias"].mean() == pytest.approx(golden["humans_mean_of_individuals"])


@pytest.mark.reference
def test_recorded_trials_give_the_exact_counts_of_each_category(reference):
  golden = json.loads((reference / "reference/golden_trials.json").read_text())["cue_conflict_trials"]
  for name, decisions in recorded(reference).items():
    for category, (shape, texture, _) in golden[name]["per_shape_category"].items():
      counts = trials.count(decisions[decisions["shape"] == category])
      assert (counts.n_shape, counts.n_texture) == (shape, texture)


@pytest.mark.reference
def test_people_agree_more_with_each_other_than_networks_with_them(reference, tmp_path):
  """Geirhos et al. 2020: ResNet-50's kappa with people is below 0.1 on cue conflict, people's about 0.3."""
  text = scoring.score_trials(str(reference / "data/trials/cue_conflict/*.csv"), tmp_path)
  table = pd.read_csv(tmp_path / "people_consistency.csv").set_index("observer")
  network, among = table.loc["resnet50"], table.loc["people"]
  assert network["high"] < 0.1
  assert 0.25 < among["low"] < among["kappa"] < 0.4
  assert (network["people"], network["n"]) == (10, 1280)
  pairs = pd.read_csv(tmp_path / "error_consistency.csv")
  with_people = pairs[(pairs["second"] == "resnet50") & pairs["first"].map(files.is_person)]
  with_people = [
    *with_people["kappa"],
    *pairs[(pairs["first"] == "resnet50") & pairs["second"].map(files.is_person)]["kappa"],
  ]
  assert network["kappa"] == pytest.approx(np.mean(with_people))
  assert len(with_people) == 10
  assert (pairs["n"] == 1280).all()
  # Two networks that are both called alexnet, of a session that is both times called 1.
  assert "taken for 2 observers" in text


@pytest.mark.reference
def test_people_who_are_there_twice_count_once(reference, tmp_path):
  for folder in ("a", "b"):
    (tmp_path / folder).mkdir()
    for path in files.matching(str(reference / "data/trials/cue_conflict/*subject*.csv")):
      (tmp_path / folder / path.name).write_bytes(path.read_bytes())
  scoring.score_trials(f"{tmp_path}/?/*.csv", tmp_path / "out")
  table = pd.read_csv(tmp_path / "out/trials.csv")
  assert len(table) == 21
  assert table["file"].is_unique
  assert tuple(table.iloc[-1][["n_shape", "n_texture"]]) == (9236, 398)
  assert len(pd.read_csv(tmp_path / "out/error_consistency.csv")) == 45


def test_tables_are_written(tmp_path):
  trial_file(tmp_path / "a.csv", ROWS)
  trial_file(tmp_path / "b.csv", [(name, "cat") for name, _ in ROWS], subject="subject-02")
  text = scoring.score_trials(str(tmp_path / "*.csv"), tmp_path / "out")
  table = pd.read_csv(tmp_path / "out/trials.csv")
  assert list(table.columns) == ["file", "n_conflict", "n_shape", "n_texture", "shape_bias", "low", "high"]
  assert list(table["file"]) == ["a.csv", "b.csv", "people"]
  assert tuple(table.loc[2, ["n_conflict", "n_shape", "n_texture"]]) == (10, 4, 2)
  pairs = pd.read_csv(tmp_path / "out/error_consistency.csv")
  assert tuple(pairs.loc[0, ["first", "second", "n"]]) == ("subject-01", "subject-02", 6)
  assert tuple(pairs.loc[0, ["first_n", "second_n"]]) == (6, 6)
  assert "a.csv   5           2        1          0.667 [" in text


def test_a_network_is_compared_over_the_stimuli_that_both_saw(tmp_path):
  person = read(trial_file(tmp_path / "a.csv", ROWS))
  network = trials.from_observations(
    pd.DataFrame({"example_id": ["cat/cat1-dog2.png", "dog/dog9-cat1.png"], "prediction": [7, 7]})
  )
  assert list(network["response"]) == ["cat", "cat"]
  pairs = trials.consistency({"person": person, "network": network})
  assert tuple(pairs.loc[0, ["n", "first_n", "second_n"]]) == (1, 6, 2)
  assert trials.notes_on(pairs) == []  # half of what the network saw


def test_pairs_that_share_little_are_said(tmp_path):
  trial_file(tmp_path / "a.csv", ROWS)
  trial_file(tmp_path / "b.csv", [("cat1-dog2", "cat"), ("oven1-dog1", "oven"), ("boat1-dog1", "dog")], "vgg")
  text = scoring.score_trials(str(tmp_path / "*.csv"), tmp_path / "out")
  assert "1 of 1 pairs of observers share less than half of the cue-conflict stimuli" in text
  assert "subject-01 and vgg, who share the fewest, 1 of 6 and 3" in text
  assert "cue-conflict: vgg shares 1 of 3 trials with people" in text


def test_people_together_are_over_people_not_over_their_sessions(tmp_path):
  """Two sessions of one person tell no more about other people than one of twice the length."""
  for who, response in (("subject-01", "cat"), ("subject-02", "dog")):
    rows = [(f"cat{i}-dog1", response if i % 3 else "cat") for i in range(12)]
    trial_file(tmp_path / f"{who}_session_1.csv", rows[:6], who)
    trial_file(tmp_path / f"{who}_session_2.csv", rows[6:], who)
  scoring.score_trials(str(tmp_path / "*.csv"), tmp_path / "out")
  together = pd.read_csv(tmp_path / "out/trials.csv").set_index("file").loc["people"]
  assert (together["n_shape"], together["n_texture"]) == (16, 8)
  expected = ratio_of_totals(np.array([12.0, 4.0]), np.array([12.0, 12.0]))
  assert tuple(together[["shape_bias", "low", "high"]]) == pytest.approx(expected)


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
  """As wide as the mean of many people's shares is by Student's t; of a single person there is none."""
  assert np.isnan(ratio_of_totals(np.array([90.0]), np.array([100.0]))[1:]).all()
  sample = np.random.default_rng(0).uniform(0.4, 0.6, 40)
  value, low, high = ratio_of_totals(100 * sample, np.full(40, 100.0))
  half = 2.022691 * sample.std(ddof=1) / 40**0.5
  assert (value, low, high) == pytest.approx(
    (sample.mean(), sample.mean() - half, sample.mean() + half), abs=1e-4
  )
  value, low, high = ratio_of_totals(np.array([60.0, 90, 95]), np.full(3, 100.0))
  assert 0.2 < low < 0.5 < value < 0.95 < high < 1


def test_a_file_of_trials_that_is_there_is_no_pattern(tmp_path):
  for name in ("a1.csv", "a[1].csv"):
    (tmp_path / name).touch()
  assert files.matching(str(tmp_path / "a[1].csv")) == [tmp_path / "a[1].csv"]
  assert files.matching(str(tmp_path / "a[12].csv")) == [tmp_path / "a1.csv"]


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
