"""Recorded trials of model-vs-human: spellings, matching with networks, and consistency by hand."""

import numpy as np
import pandas as pd
import pytest

from biasjax.data import layouts
from biasjax.errors import BiasjaxError
from biasjax.recorded import people, scoring

HEADER = "subj,Session,trial,rt,object_response,category,condition,imagename"


def trials(folder, experiment: str, subject: str, rows: list[tuple[str, str, str, str]]):
  """(response, category, condition, image name after the observer's) for each trial."""
  path = folder / f"{experiment}_{subject}_session_1.csv"
  lines = [
    f"{subject},1,{i},0.5,{response},{category},{condition},{i:04d}_x_s01_{condition}_{category}_{name}"
    for i, (response, category, condition, name) in enumerate(rows, start=1)
  ]
  path.write_text("\n".join([HEADER, *lines]))
  return path


def network(experiment: str, answers: dict[str, bool]) -> list[pd.DataFrame]:
  ids = [f"{experiment}/dnn/session-1/0001_x_dnn_{name}" for name in answers]
  observations = pd.DataFrame({"example_id": ids, "rank": np.where(list(answers.values()), 0, 3)})
  return people.of_network(observations, "net")


def test_stimuli_are_matched_whatever_the_spelling_of_a_condition(tmp_path):
  rows = [("bear", "bear", "0.90", "10_a.png"), ("na", "dog", "0.90", "10_b.png")]
  person = people.read(trials(tmp_path, "uniform-noise", "subject-01", rows))
  assert list(person["condition"]) == ["uniform-noise/0.9"] * 2
  (net,) = network("uniform-noise", {"0.9_bear_10_a.png": True, "0.9_dog_10_b.png": True})
  assert set(net["stimulus"]) == set(person["stimulus"])
  assert list(person["right"]) == [True, False]


def test_kappa_is_cohens_over_what_is_out_of_distribution(tmp_path):
  rng = np.random.default_rng(0)
  mine, theirs = rng.uniform(size=200) < 0.6, rng.uniform(size=200) < 0.7
  # 100 % contrast is not out of distribution; there they agree throughout.
  shown = [("c30", f"10_{i}.png") for i in range(200)] + [("c100", f"10_x{i}.png") for i in range(50)]
  right = np.concatenate([theirs, np.ones(50, bool)])
  rows = [
    ("bear" if hit else "cat", "bear", condition, name)
    for hit, (condition, name) in zip(right, shown, strict=True)
  ]
  person = people.read(trials(tmp_path, "contrast", "subject-01", rows))
  answers = {f"{c}_bear_{name}": bool(h) for h, (c, name) in zip([*mine, *[True] * 50], shown, strict=True)}
  table = people.consistency([person], network("contrast", answers)).set_index("observer")
  expected = mine.mean() * theirs.mean() + (1 - mine.mean()) * (1 - theirs.mean())
  kappa = ((mine == theirs).mean() - expected) / (1 - expected)
  assert table.loc["net", "kappa"] == pytest.approx(kappa)
  assert "subject-01" not in table.index  # nobody else to compare with


def test_accuracy_is_given_for_each_condition(tmp_path):
  rows = [("bear", "bear", "3", "a.png"), ("cat", "bear", "inf", "b.png"), ("cat", "bear", "inf", "c.png")]
  table = people.accuracy([people.read(trials(tmp_path, "high-pass", "subject-01", rows))])
  found = table.set_index("condition")["accuracy"].to_dict()
  assert found == {"all": pytest.approx(1 / 3), "3": 1.0, "inf": 0.0}


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("nonesuch_subject-01_session_1.csv", HEADER + "\n1,1,1,1,a,a,0,x", "no known experiment"),
    ("edge_subject-01_session_1.csv", "a,b\n1,2", "no column 'subj'"),
    ("edge_subject-01_session_1.csv", HEADER, "no trials"),
  ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
  (tmp_path / name).write_text(content)
  with pytest.raises(BiasjaxError, match=message):
    people.read(tmp_path / name)


@pytest.mark.reference
def test_the_recorded_trials_are_read_and_scored(reference, tmp_path):
  text = scoring.score_trials(str(reference / "data/trials/humans/[ce]*/*.csv"), tmp_path)
  assert "shape bias" in text  # cue-conflict is among them
  table = pd.read_csv(tmp_path / "people.csv")
  assert set(table["experiment"]) == {
    *("colour", "contrast", "cue-conflict", "edge", "eidolonI", "eidolonII", "eidolonIII")
  }
  # Counted in the files by hand: 640 trials at this contrast by four people, 381 of them right.
  contrast = table[(table["experiment"] == "contrast") & (table["condition"] == "c10")]
  assert contrast["n"].tolist() == [160] * 4
  assert contrast["accuracy"].mean() == pytest.approx(381 / 640)
  kappas = pd.read_csv(tmp_path / "people_consistency.csv")
  assert kappas["kappa"].between(0.1, 0.9).all()
  assert not kappas["experiment"].eq("all").any()


def test_every_experiment_is_named_by_its_files():
  for name in layouts.EXPERIMENTS:
    assert people.experiment_of(f"/x/{name}_subject-01_session_1.csv") == name
  assert people.experiment_of("resnet50.csv") is None
