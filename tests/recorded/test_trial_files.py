"""Files of trials: other spellings, sessions, and whose they are."""

import numpy as np
import pandas as pd
import pytest
import trial_files

from biasjax.data import layouts
from biasjax.errors import BiasjaxError
from biasjax.recorded import files, scoring

RIGHT = [True, False, True, True, False, True]


def respelled(folder, answers: list[str]):
  """An experiment's file with these answers to pictures of cats."""
  trials = [(answer, "cat", "0", f"00_cat{i}.png") for i, answer in enumerate(answers)]
  return trial_files.write(folder, "edge", "subject-01", trials)


@pytest.mark.parametrize("answer", [" cat", "cat ", "Cat", "CAT", "\tcat", "cat\u00a0"])
def test_blanks_and_capitals_of_an_answer_do_not_matter(tmp_path, answer):
  table = files.read(respelled(tmp_path, [answer, "dog"]))
  assert list(table["right"]) == [True, False]
  assert not files.unknown(table)


def test_blanks_and_capitals_of_other_fields_do_not_matter(tmp_path):
  fields = {
    " Subj": " subject-01 ",
    "Object_Response": "cat",
    "category ": " Cat",
    "imagename": "1_e_s_0_cat_00_cat1.png ",
  }
  path = trial_files.of(tmp_path / "edge_subject-01_session_1.csv", [fields])
  path.write_bytes("\ufeff".encode() + path.read_bytes())  # as Excel does
  (row,) = files.read(path).itertuples()
  assert (row.observer, row.stimulus, row.category, row.right) == ("subject-01", "cat1", "cat", True)


def test_unknown_answers_are_named_and_counted_and_no_answer_is_not(tmp_path):
  answers = ["cat", "kitten", "feline", "kitten", "na", "NA", "", "dog"]
  path = respelled(tmp_path, answers)
  table = files.read(path)
  assert files.unknown(table) == {"kitten": 2, "feline": 1}
  assert table["right"].sum() == 1
  text = scoring.score_trials(str(path), tmp_path / "out")
  assert "3 answers are none of the 16 categories, and count as no answer: 'kitten' (2), 'feline' (1)" in text
  (accuracy,) = pd.read_csv(tmp_path / "out/people.csv").query(
    "observer == 'subject-01' and condition == 'all'"
  )["accuracy"]
  assert accuracy == 1 / 8


def test_unknown_answers_about_cue_conflict_are_named_too(tmp_path):
  fields = {
    "subj": "subject-01",
    "object_response": "Kitten ",
    "category": "cat",
    "imagename": "cat1-dog2.png",
  }
  path = trial_files.of(tmp_path / "a.csv", [fields, fields | {"object_response": "Dog "}])
  text = scoring.score_trials(str(path), tmp_path / "out")
  assert "1 answer is none of the 16 categories, and counts as no answer: 'kitten' (1)" in text
  (row,) = pd.read_csv(tmp_path / "out/trials.csv").itertuples()
  assert (row.n_conflict, row.n_shape, row.n_texture) == (2, 0, 1)


def test_a_category_that_was_not_shown_is_refused(tmp_path):
  path = trial_files.write(tmp_path, "edge", "subject-01", [("cat", "kitten", "0", "cat1.png")])
  with pytest.raises(BiasjaxError, match=r"line 2: category is 'kitten', which is none of airplane, bear"):
    files.read(path)


def test_conditions_that_an_experiment_does_not_have_are_said_and_in_no_mean(tmp_path):
  trials = [*trial_files.bears(RIGHT, "c10"), *trial_files.bears([True] * 4, "c70")]
  path = trial_files.write(tmp_path, "contrast", "subject-01", trials)
  text = scoring.score_trials(str(path), tmp_path / "out")
  assert "condition 'c70' is none of contrast's" in text
  accuracy = (
    pd.read_csv(tmp_path / "out/people.csv").query("kind == 'person'").set_index("condition")["accuracy"]
  )
  assert accuracy["ood"] == accuracy["c10"] == 4 / 6
  assert accuracy["all"] == 8 / 10


@pytest.mark.parametrize("observer", ["subject-01", "Subject-01", "subject 3", "SUBJECT_12", " subject-01"])
def test_a_person_is_a_subject_however_it_is_spelled(observer):
  assert files.is_person(observer)
  assert not files.is_person(f"resnet50-{observer}")


def test_every_experiment_is_named_by_its_files():
  for name in layouts.EXPERIMENTS:
    assert files.experiment_of(f"/x/{name}_subject-01_session_1.csv") == name
  assert files.experiment_of("resnet50.csv") is None


def test_what_a_spreadsheet_saves_otherwise_and_the_line_of_a_wrong_name_are_said(tmp_path):
  path = tmp_path / "cue-conflict_subject-01_session_1.csv"
  path.write_text(trial_files.HEADER.replace(",", ";") + "\ns;1;1;1;cat;cat;0;cat1-dog1.png\n")
  with pytest.raises(BiasjaxError, match="its columns are parted by semicolons: save it with commas"):
    files.read(path)
  path.write_text(f"{trial_files.HEADER}\ns,1,1,1,cat,cat,0,cat1-dog1.png\ns,1,2,1,cat,cat,0,cat1-\n")
  with pytest.raises(BiasjaxError, match=r"session_1.csv, line 3: cat1-: expected a cue-conflict stimulus"):
    files.read(path)


def test_the_line_that_is_named_is_the_files_with_blank_lines_too(tmp_path):
  path = tmp_path / "cue-conflict_subject-01_session_1.csv"
  right = "s,1,1,1,cat,cat,0,cat1-dog1.png"
  path.write_text(f"\n{trial_files.HEADER}\n\n{right}\n  \n\n{right.replace('cat,0', 'dog,0')}\n")
  with pytest.raises(BiasjaxError, match=r"line 7: category is 'dog', but 'cat1-dog1.png' shows a cat"):
    files.read(path)
  path.write_text(f"{trial_files.HEADER}\n\n{right}\n\ns,1,2,1,cat,cat,0,cat1-\n")
  with pytest.raises(BiasjaxError, match=r"line 5: cat1-: expected"):
    files.read(path)
  path = tmp_path / "edge_subject-01_session_1.csv"
  path.write_text(f"{trial_files.HEADER}\n\ns,1,1,1,cat,cta,0,1_x_s01_0_cat_cat1.png\n")
  with pytest.raises(BiasjaxError, match=r"line 3: category is 'cta'"):
    files.read(path)


def test_a_trial_that_is_there_twice_counts_once_in_every_table_and_is_said(tmp_path):
  rows = [
    f"subject-01,1,{i},1,{response},cat,0,cat{i}-dog1.png"
    for i, response in enumerate(("cat", "dog", "dog"), start=1)
  ]
  path = tmp_path / "cue-conflict_subject-01_session_1.csv"
  path.write_text("\n".join([trial_files.HEADER, *rows, rows[0], rows[0]]))
  text = scoring.score_trials(str(path), tmp_path / "out")
  (row,) = pd.read_csv(tmp_path / "out" / "trials.csv").to_dict("records")
  assert (row["n_conflict"], row["n_shape"], row["n_texture"]) == (3, 1, 2)
  assert row["shape_bias"] == pytest.approx(1 / 3)
  assert "subject-01 saw 2 of the stimuli of cue-conflict again: the first answer counts" in text


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("nonesuch_subject-01_session_1.csv", "s,1,1,1,cat,cat,0,x", "no known experiment"),
    ("edge_subject-01_session_1.csv", None, "no column 'subj'"),
    ("contrast_subject-01_session_1.csv", None, "no column 'subj'"),
    ("edge_subject-01_session_1.csv", "", "no trials"),
  ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
  (tmp_path / name).write_text("a,b\n1,2" if content is None else f"{trial_files.HEADER}\n{content}")
  with pytest.raises(BiasjaxError, match=message):
    files.read(tmp_path / name)


def test_conditions_are_needed_where_an_experiment_has_them(tmp_path):
  fields = {
    "subj": "subject-01",
    "object_response": "cat",
    "category": "cat",
    "imagename": "1_e_s_c10_cat_00_cat1.png",
  }
  with pytest.raises(BiasjaxError, match="no column 'condition'"):
    files.read(trial_files.of(tmp_path / "contrast_subject-01_session_1.csv", [fields]))
  assert len(files.read(trial_files.of(tmp_path / "sketch_subject-01_session_1.csv", [fields]))) == 1


# --- Observers ---------------------------------------------------------------------------------------------


def observers(folder) -> tuple[dict[str, pd.DataFrame], list[str]]:
  merged, notes = files.by_observer([files.read(path) for path in files.matching(f"{folder}/**/*.csv")])
  return {table.attrs["observer"]: table for table in merged}, notes


@pytest.mark.parametrize("columns", [("1", "2"), ("1", "1")], ids=["numbered", "all called 1"])
def test_sessions_of_one_observer_are_one_observer(tmp_path, columns):
  halves = trial_files.bears(RIGHT), trial_files.bears(RIGHT, start=100)
  for i, (half, column) in enumerate(zip(halves, columns, strict=True), start=1):
    trial_files.write(tmp_path / "x", "edge", "subject-01", half, f"session_{i}", column)
  merged, notes = observers(tmp_path)
  assert list(merged) == ["subject-01"]
  assert len(merged["subject-01"]) == 12
  assert not notes


def test_who_sees_a_stimulus_again_counts_with_the_first_answer(tmp_path):
  trial_files.write(tmp_path / "x", "edge", "subject-01", trial_files.bears([False] * 3), "session_10", "10")
  trial_files.write(tmp_path / "x", "edge", "subject-01", trial_files.bears([True] * 2), "session_2", "2")
  merged, notes = observers(tmp_path)
  assert merged["subject-01"].sort_values("stimulus")["right"].tolist() == [True, True, False]
  assert "saw 2 of the stimuli of edge again" in notes[0]


def test_a_file_that_is_there_twice_counts_once(tmp_path):
  for folder in ("a", "b"):
    trial_files.write(tmp_path / folder, "edge", "subject-01", trial_files.bears(RIGHT))
  merged, notes = observers(tmp_path)
  assert len(merged["subject-01"]) == 6
  assert "in another file too" in notes[0]


def test_recordings_that_contradict_each_other_are_two_observers(tmp_path):
  other = [not hit for hit in RIGHT]
  for folder, right in (("a", RIGHT), ("b", other)):
    trial_files.write(tmp_path / folder, "edge", "resnet50", trial_files.bears(right))
  merged, notes = observers(tmp_path)
  assert sorted(merged) == [f"resnet50 ({folder}/edge_resnet50_session_1.csv)" for folder in "ab"]
  assert "taken for 2 observers" in notes[0]


@pytest.mark.parametrize(("observer", "expected"), [("subject-01", 1), ("dnn", 2)])
def test_where_no_session_is_said_a_person_saw_it_again_and_a_network_is_another(
  tmp_path, observer, expected
):
  for name, answer in (("vgg", "cat"), ("alexnet", "dog")):
    fields = {"subj": observer, "object_response": answer, "category": "cat", "imagename": "cat1-dog2.png"}
    trial_files.of(tmp_path / f"{name}.csv", [fields])
  assert (
    len(files.by_observer([files.read(path) for path in files.matching(f"{tmp_path}/*.csv")])[0]) == expected
  )


def test_a_file_may_hold_several_observers(tmp_path):
  rows = [
    {"subj": who, "object_response": answer, "category": "cat", "imagename": "1_e_s_0_cat_00_cat1.png"}
    for who, answer in (("subject-01", "cat"), ("subject-02", "dog"), ("vgg", "cat"))
  ]
  path = trial_files.of(tmp_path / "edge_everybody.csv", rows)
  merged, _ = files.by_observer([files.read(path)])
  assert {t.attrs["observer"]: t["right"].tolist() for t in merged} == {
    "subject-01": [True],
    "subject-02": [False],
    "vgg": [True],
  }


@pytest.mark.reference
def test_two_copies_of_published_trials_are_the_same_people(reference):
  paths = [
    *files.matching(str(reference / "data/trials/cue_conflict/*.csv")),
    *files.matching(str(reference / "data/trials/humans/cue-conflict/*.csv")),
  ]
  merged, notes = files.by_observer(map(files.read, paths))
  people = [table for table in merged if files.is_person(table.attrs["observer"])]
  assert [len(table) for table in people] == [1280] * 10
  # alexnet's two files agree on half of the stimuli: two networks.
  assert len(merged) - len(people) == 11
  assert sum("count once" in note for note in notes) == 10
  assert np.unique([len(table) for table in merged]) == [1280]
