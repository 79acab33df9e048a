"""Networks beside people in model-vs-human: matching, accuracy and consistency, by hand and as published."""

import itertools

import numpy as np
import pandas as pd
import pytest
import trial_files
from trial_files import bears

from biasjax.data import layouts
from biasjax.recorded import files, panels, people, scoring


def network(experiment: str, answers: dict[str, bool], name: str = "net") -> list[pd.DataFrame]:
  ids = [f"{experiment}/dnn/session-1/0001_x_dnn_{name}" for name in answers]
  observations = pd.DataFrame({"example_id": ids, "rank": np.where(list(answers.values()), 0, 3)})
  return people.of_network(observations, name)


def observer(name: str, experiment: str, right: dict[str, np.ndarray]) -> pd.DataFrame:
  """Decisions of one observer by condition; -1 is a stimulus that was not shown."""
  parts = []
  for condition, hits in right.items():
    stimuli = [f"{condition}_{i}" for i in range(len(hits))]
    where = f"{experiment}/{condition}" if condition else experiment
    part = pd.DataFrame({"stimulus": stimuli, "condition": where, "right": np.asarray(hits) == 1})
    parts.append(part[np.asarray(hits) >= 0])
  table = pd.concat(parts, ignore_index=True)
  table.attrs = {"observer": name, "experiment": experiment}
  return table


def kappa(first: np.ndarray, second: np.ndarray, where_undefined: float) -> float:
  """Cohen's, as in model-vs-human's ErrorConsistency, but for what it calls 1."""
  p, q = first.mean(), second.mean()
  expected = p * q + (1 - p) * (1 - q)
  return where_undefined if expected == 1 else ((first == second).mean() - expected) / (1 - expected)


# --- By hand -----------------------------------------------------------------------------------------------


def test_stimuli_are_matched_whatever_the_spelling_of_a_condition(tmp_path):
  rows = [("bear", "bear", "0.90", "10_a.png"), ("na", "dog", "0.90", "10_b.png")]
  person = files.read(trial_files.write(tmp_path, "uniform-noise", "subject-01", rows))
  assert list(person["condition"]) == ["uniform-noise/0.9"] * 2
  (net,) = network("uniform-noise", {"0.9_bear_10_a.png": True, "0.9_dog_10_b.png": True})
  assert set(net["stimulus"]) == set(person["stimulus"])
  assert list(person["right"]) == [True, False]


def test_kappa_is_cohens_over_what_is_out_of_distribution(tmp_path):
  rng = np.random.default_rng(0)
  mine, theirs = rng.uniform(size=200) < 0.6, rng.uniform(size=200) < 0.7
  # 100 % contrast is not out of distribution; there they agree throughout.
  rows = [*bears(theirs, "c30"), *bears([True] * 50, "c100", 200)]
  person = files.read(trial_files.write(tmp_path, "contrast", "subject-01", rows))
  answers = {f"c30_bear_10_n02132136_{i}.png": bool(hit) for i, hit in enumerate(mine)}
  answers |= {f"c100_bear_10_n02132136_{i}.png": True for i in range(200, 250)}
  table = people.consistency([person], network("contrast", answers)).set_index("observer")
  assert table.loc["net", "kappa"] == pytest.approx(kappa(mine, theirs, np.nan))
  assert tuple(table.loc["net", ["people", "conditions", "trials", "n", "fewest"]]) == (1, 1, 200, 200, 200)
  assert "subject-01" not in table.index  # nobody else to compare with


def test_kappa_is_the_mean_over_conditions_not_that_of_all_trials():
  """Independent observers agree about what is easy and what is hard; that is no consistency."""
  rng = np.random.default_rng(0)
  ease = {"c50": 0.95, "c05": 0.1}
  first, second = (
    observer(f"subject-{i}", "contrast", {c: rng.random(4000) < p for c, p in ease.items()}) for i in "12"
  )
  pooled = kappa(first["right"].to_numpy(), second["right"].to_numpy(), np.nan)
  assert pooled > 0.6
  row = people.consistency([first, second], []).set_index("observer").loc["people"]
  assert abs(row["kappa"]) < 0.04
  assert row["low"] < 0 < row["high"]
  expected = [
    kappa(*(t.loc[t["condition"] == f"contrast/{c}", "right"].to_numpy() for t in (first, second)), np.nan)
    for c in ease
  ]
  assert row["kappa"] == pytest.approx(np.mean(expected))


def test_what_chance_alone_explains_is_undefined_and_left_out_of_the_mean():
  """model-vs-human calls it 1: here (1 + kappa) / 2."""
  first, second = np.array([1, 1, 0, 0, 1, 1]), np.array([1, 0, 0, 1, 1, 1])
  everything = np.ones(6)
  pair = [
    observer(name, "contrast", {"c50": everything, "c10": right})
    for name, right in (("subject-01", first), ("subject-02", second))
  ]
  table = people.consistency(pair, [observer("net", "contrast", {"c50": everything, "c10": everything})])
  row = table.set_index("observer").loc["people"]
  assert row["kappa"] == pytest.approx(kappa(first, second, 1.0))
  assert (row["conditions"], row["undefined"]) == (1, 1)
  net = table.set_index("observer").loc["net"]
  assert (net["conditions"], net["undefined"], net["kappa"]) == (1, 2, 0.0)
  assert "2 of net's kappas are undefined" in " ".join(people.notes_on(table))


def test_a_kappa_says_how_many_trials_are_shared():
  rng = np.random.default_rng(0)
  first, second, net = (np.where(rng.random(200) < 0.7, 1, 0) for _ in range(3))
  first[:40], second[160:] = -1, -1  # were not shown
  net[:-12] = -1
  pair = [observer(f"subject-{i}", "edge", {"": right}) for i, right in enumerate((first, second))]
  table = people.consistency(pair, [observer("net", "edge", {"": net})]).set_index("observer")
  assert tuple(table.loc["people", ["trials", "n", "fewest"]]) == (200, 120, 120)
  assert tuple(table.loc["net", ["people", "trials", "n", "fewest"]]) == (1, 12, 12, 0)
  (note,) = people.notes_on(table.reset_index())
  assert note.startswith("edge: net shares 12 of 12 trials with people, and 0 where it is fewest")


def test_a_network_that_saw_other_stimuli_is_said_to_have_no_kappa(tmp_path):
  rows = bears([True, False] * 30)
  for who in ("subject-01", "subject-02"):
    trial_files.write(tmp_path, "edge", who, rows)
  trial_files.write(tmp_path, "edge", "vgg", bears([True, False] * 30, start=500))
  text = scoring.score_trials(f"{tmp_path}/*.csv", tmp_path / "out")
  assert "edge: vgg shares no trial with people, so there is no kappa" in text
  table = pd.read_csv(tmp_path / "out/people_consistency.csv").set_index("observer")
  assert np.isnan(table.loc["vgg", "kappa"])
  assert tuple(table.loc["vgg", ["trials", "n"]]) == (60, 0)


def test_networks_are_no_people(tmp_path):
  """Their files stand beside people's: they have numbers of their own, and move no one else's."""
  rng = np.random.default_rng(0)
  shown = rng.random(160)
  for i in range(4):
    trial_files.write(tmp_path, "edge", f"subject-{i:02d}", bears(shown + 0.2 * rng.random(160) > 0.5))
  alone = scoring.score_trials(f"{tmp_path}/*.csv", tmp_path / "alone")
  for name in ("resnet50", "vgg"):
    trial_files.write(tmp_path, "edge", name, bears(rng.random(160) < 0.5))
  text = scoring.score_trials(f"{tmp_path}/*.csv", tmp_path / "beside")
  (people_row,) = [line for line in alone.splitlines() if line.startswith("people ") and "n=160" in line]
  assert people_row.split() in [line.split() for line in text.splitlines()]
  assert "networks: resnet50, vgg" in text
  for table in ("people.csv", "people_consistency.csv"):
    before, after = (pd.read_csv(tmp_path / folder / table) for folder in ("alone", "beside"))
    kept = after[after["kind"] != "network"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before, check_dtype=False)
    assert set(after["observer"]) - set(before["observer"]) == {"resnet50", "vgg"}


def test_a_network_that_is_recorded_and_probed_is_two_observers():
  recorded = observer("net", "edge", {"": np.array([1, 0, 1])})
  assert scoring.renamed([recorded], {"net"})[0].attrs["observer"] == "net (recorded)"


def test_accuracy_is_given_for_each_condition(tmp_path):
  rows = [("bear", "bear", "3", "a.png"), ("cat", "bear", "inf", "b.png"), ("cat", "bear", "inf", "c.png")]
  person = files.read(trial_files.write(tmp_path, "high-pass", "subject-01", rows))
  table = people.accuracy([person], []).query("observer == 'subject-01'")
  found = table.set_index("condition")["accuracy"].to_dict()
  assert found == {"all": pytest.approx(1 / 3), "ood": 1.0, "3": 1.0, "inf": 0.0}


def test_accuracy_of_people_together_has_width_where_nobody_errs_or_there_is_one_person():
  """Wilson's of 40 stimuli: four people who saw them are no 160 trials."""
  right = {"": np.ones(40)}
  persons = [observer(f"subject-{i}", "edge", right) for i in range(4)]
  together = people.accuracy(persons, []).query("observer == 'people' and condition == 'ood'").iloc[0]
  assert (together["n"], together["accuracy"], together["high"]) == (160, 1, 1)
  assert together["low"] == pytest.approx(40 / (40 + 1.959964**2))
  alone = people.accuracy([observer("subject-1", "edge", {"": np.arange(40) % 4 > 0})], [])
  columns = ["n", "accuracy", "low", "high"]
  assert alone[alone["kind"] == "people"][columns].to_numpy() == pytest.approx(
    alone[alone["kind"] == "person"][columns].to_numpy()
  )


def test_means_over_all_experiments_need_all_of_them():
  rng = np.random.default_rng(0)

  def everything(name: str, experiments: tuple[str, ...]) -> list[pd.DataFrame]:
    conditions = {e: next(iter(sorted(counted(e)))) for e in experiments}
    return [observer(name, e, {c: rng.random(60) < 0.7}) for e, c in conditions.items()]

  def counted(experiment: str) -> set[str]:
    out = {c.split("/")[1] for c in layouts.NOT_OUT_OF_DISTRIBUTION if c.startswith(f"{experiment}/")}
    return set(layouts.PARAMETRIC.get(experiment, ("",))) - out

  persons = [*everything("subject-01", layouts.EXPERIMENTS), *everything("subject-02", layouts.EXPERIMENTS)]
  networks = [*everything("whole", layouts.EXPERIMENTS), *everything("part", layouts.EXPERIMENTS[1:])]
  for table, value in (
    (people.consistency(persons, networks), "kappa"),
    (people.accuracy(persons, networks).query("condition == 'ood'"), "accuracy"),
  ):
    every = table[table["experiment"] == "all"].set_index("observer")
    assert set(every.index) == {"people", "whole"}
    for name, row in every.iterrows():
      single = table[(table["observer"] == name) & (table["experiment"] != "all")]
      assert row[value] == pytest.approx(single[value].mean())
      # Seventeen independent means of about the same width.
      half = (row["high"] - row["low"]) / 2
      assert half == pytest.approx(((single["high"] - single["low"]) / 2).mean() / 17**0.5, rel=0.1)


# --- Intervals ---------------------------------------------------------------------------------------------


def test_intervals_are_about_other_people_and_other_stimuli(monkeypatch):
  """Of simulated people who differ in what they find difficult; over stimuli alone half hold the truth."""
  monkeypatch.setattr(panels, "RESAMPLES", 300)
  rng = np.random.default_rng(0)

  def experiment(persons: int, stimuli: int) -> np.ndarray:
    weight = np.append(0.8 + 0.4 * rng.normal(size=persons), 0.5)
    shift = np.append(0.3 * rng.normal(size=persons), -0.2)
    z = 0.3 + shift[:, None] + weight[:, None] * rng.normal(size=stimuli)
    return z + rng.normal(size=(persons + 1, stimuli)) > 0

  many = experiment(80, 20_000)
  p, both = many.mean(1), many.astype(np.float32) @ many.T.astype(np.float32) / many.shape[1]
  kappas = 2 * (both - np.outer(p, p)) / (p[:, None] + p - 2 * np.outer(p, p))
  truth = {"net": kappas[-1, :-1].mean(), "people": kappas[:-1, :-1][np.triu_indices(80, 1)].mean()}
  held = {"net": 0, "people": 0}
  repeats = 60
  for _ in range(repeats):
    *persons, net = experiment(6, 300)
    tables = [observer(f"subject-{i}", "edge", {"": right}) for i, right in enumerate(persons)]
    found = people.consistency(tables, [observer("net", "edge", {"": net})]).set_index("observer")
    for name in held:
      held[name] += found.loc[name, "low"] <= truth[name] <= found.loc[name, "high"]
  assert min(held.values()) >= 0.85 * repeats


def test_a_kappa_with_the_same_people_is_in_no_pair_with_itself():
  """People are drawn with replacement; that one agrees with themselves is no agreement among people."""
  rng = np.random.default_rng(0)
  persons = [observer(f"subject-{i}", "edge", {"": rng.random(400) < 0.5}) for i in range(3)]
  row = people.consistency(persons, []).set_index("observer").loc["people"]
  assert row["high"] < 0.2  # of two among three drawn who are the same one, it would be 1/3


# --- As published ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(reference) -> list[pd.DataFrame]:
  paths = files.matching(str(reference / "data/trials/humans/*/*.csv"))
  return files.by_observer(map(files.read, paths))[0]


def by_model_vs_human(tables: list[pd.DataFrame]) -> float:
  """Its ErrorConsistency: of each condition the mean over people of that with the others; their mean."""
  conditions = set(tables[0]["condition"]) - layouts.NOT_OUT_OF_DISTRIBUTION
  means = []
  for condition in conditions:
    right = [t[t["condition"] == condition].set_index("stimulus")["right"].sort_index() for t in tables]
    assert all(column.index.equals(right[0].index) for column in right)
    pairs = itertools.combinations([column.to_numpy() for column in right], 2)
    means.append(np.mean([kappa(*pair, 1.0) for pair in pairs]))
  return float(np.mean(means))


@pytest.mark.reference
def test_kappas_of_people_are_model_vs_humans_in_every_experiment(published, monkeypatch):
  monkeypatch.setattr(panels, "RESAMPLES", 200)  # of intervals, of which only the side is looked at
  table = people.consistency(published, [])
  among = table[table["kind"] == "people"].set_index("experiment")
  of = {e: [t for t in published if t.attrs["experiment"] == e] for e in layouts.EXPERIMENTS}
  expected = pd.Series({e: by_model_vs_human(tables) for e, tables in of.items()})
  assert len(expected) == 17
  np.testing.assert_allclose(among.loc[expected.index, "kappa"], expected, atol=1e-12)
  assert among.loc["all", "kappa"] == pytest.approx(expected.mean())
  found = among["kappa"].round(4)
  assert (found["contrast"], found["eidolonI"], found["all"], found["edge"]) == (
    0.4370,
    0.3863,
    0.4312,
    0.3184,
  )
  assert (among["low"] < among["kappa"]).all()
  assert (among["kappa"] < among["high"]).all()
  assert (among["undefined"].dropna() == 0).all()
  # The mean of the individuals' means is the same, since all saw the same stimuli.
  persons = table[table["kind"] == "person"].groupby("experiment")["kappa"].mean()
  np.testing.assert_allclose(persons[expected.index], expected, atol=1e-12)


@pytest.mark.reference
def test_people_have_the_published_accuracy_out_of_distribution(published, monkeypatch):
  monkeypatch.setattr(panels, "RESAMPLES", 200)
  table = people.accuracy(published, [])
  every = table[table["experiment"] == "all"].set_index("observer").loc["people"]
  assert every["accuracy"] == pytest.approx(0.7228, abs=5e-5)  # Geirhos et al. 2021: .723
  assert every["low"] < 0.7228 < every["high"]
  ood = table[(table["observer"] == "people") & (table["condition"] == "ood")].set_index("experiment")
  of = {e: pd.concat([t for t in published if t.attrs["experiment"] == e]) for e in layouts.EXPERIMENTS}
  for experiment, trials in of.items():
    counted = trials[~trials["condition"].isin(layouts.NOT_OUT_OF_DISTRIBUTION)]
    assert ood.loc[experiment, "accuracy"] == pytest.approx(counted["right"].mean())
    assert ood.loc[experiment, "n"] == len(counted)


@pytest.mark.reference
def test_the_recorded_trials_are_read_and_scored(reference, tmp_path, monkeypatch):
  monkeypatch.setattr(panels, "RESAMPLES", 200)
  text = scoring.score_trials(str(reference / "data/trials/humans/[ce]*/*.csv"), tmp_path)
  assert "shape bias" in text  # cue-conflict is among them
  table = pd.read_csv(tmp_path / "people.csv")
  assert set(table["experiment"]) == {
    *("colour", "contrast", "cue-conflict", "edge", "eidolonI", "eidolonII", "eidolonIII")
  }
  # Counted in the files by hand: 640 trials at this contrast by four people, 381 of them right.
  contrast = table[(table["experiment"] == "contrast") & (table["condition"] == "c10")]
  assert contrast["n"].tolist() == [160] * 4 + [640]
  assert contrast["accuracy"].iloc[-1] == pytest.approx(381 / 640)
  kappas = pd.read_csv(tmp_path / "people_consistency.csv")
  assert kappas["kappa"].between(0.1, 0.9).all()
  assert not kappas["experiment"].eq("all").any()
  assert "note:" not in text


@pytest.mark.reference
def test_people_are_the_same_with_networks_beside_them(reference, tmp_path):
  """Ten people of the edge experiment beside two networks: .318, however networks answer."""
  for path in files.matching(str(reference / "data/trials/humans/edge/*.csv")):
    (tmp_path / path.name).write_bytes(path.read_bytes())
  rng = np.random.default_rng(0)
  template = pd.read_csv(tmp_path / "edge_subject-01_session_1.csv", dtype=str, keep_default_na=False)
  for name, chance in (("resnet50", 0.1), ("alexnet", 0.2)):
    answers = np.where(rng.random(len(template)) < chance, template["category"], "knife")
    template.assign(subj=name, object_response=answers).to_csv(
      tmp_path / f"edge_{name}_session-1.csv", index=False
    )
  text = scoring.score_trials(f"{tmp_path}/*.csv", tmp_path / "out")
  assert any(line.split()[:2] == ["people", "0.318"] for line in text.splitlines())
