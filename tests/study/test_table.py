"""What is wrong with a table is said, and what can be used is used."""

import json
import math
import re

import pandas as pd
import pytest

from biasjax.errors import BiasjaxError
from biasjax.study import table


def write(folder, text, name="table.csv"):
  path = folder / name
  path.write_text(text, encoding="utf-8")
  return str(path)


def test_numbers_come_out_as_they_are_written(tmp_path):
  path = write(tmp_path, "model,a,b\nx,1.5,-2e-3\ny,,0\n")
  read = table.read(path, None, ["a", "b"])
  assert read.frame.index.tolist() == ["x", "y"]
  assert read.frame.loc["x"].tolist() == [1.5, -2e-3]
  assert math.isnan(read.frame.loc["y", "a"])


def test_the_categories_choose_and_order_the_models(tmp_path):
  path = write(tmp_path, "model,a\nx,1\ny,2\nz,3\n")
  categories = write(tmp_path, json.dumps({"two": ["z"], "one": ["x", "w"]}), "c.json")
  read = table.read(path, categories, ["a"])
  assert read.frame["a"].to_dict() == {"z": 3, "x": 1}
  assert read.category.to_dict() == {"z": "two", "x": "one"}
  assert read.notes == (
    "1 model (w) of the categories not in the table: left out.",
    "1 model (y) of the table in no category: left out.",
  )


def test_text_in_a_number_is_named_and_missing(tmp_path):
  read = table.read(write(tmp_path, "model,a,b\nx,1,2\ny,high,3\nz,n/a,5\n"), None, ["a"])
  assert math.isnan(read.frame.loc["y", "a"])
  assert read.notes[0] == "Line 3 (y), column a: 'high' is no number; treated as missing."
  assert len(read.notes) == 2  # and that there are no categories


def test_the_line_that_is_named_is_the_files_with_blank_lines_too(tmp_path):
  text = "model,a\n\nx,1\n  \n\ny,high\nz,2\n\nz,3\n"
  read = table.read(write(tmp_path, text), None, ["a"])
  assert read.notes[0] == "z is on lines 7 and 9 with different numbers: left out, keep the right one."
  assert read.notes[1] == "Line 6 (y), column a: 'high' is no number; treated as missing."
  with pytest.raises(BiasjaxError, match=r"line 4 of .* names no model"):
    table.read(write(tmp_path, "model,a\nx,1\n\n,2\n"), None, ["a"])


@pytest.mark.parametrize("written", ["7613", "-0.1", "100.1"])
def test_accuracies_beyond_0_to_100_are_named_and_missing(tmp_path, written):
  path = write(tmp_path, f"model,top1_acc/a,PNS\nx,100,{written}\ny,{written},1\n")
  read = table.read(path, None, ["top1_acc/a", "PNS"])
  assert read.frame["top1_acc/a"].isna().tolist() == [False, True]
  assert read.frame.loc["x", "PNS"] == float(written)
  said = f"Line 3 (y), column top1_acc/a: '{written}' is no accuracy in per cent; treated as missing."
  assert read.notes[0] == said
  assert len(read.notes) == 2


def test_blanks_beside_commas_and_columns_without_a_name_do_no_harm(tmp_path):
  read = table.read(write(tmp_path, "model, a , b,,\nx, 1, 2,,\ny, 3 ,4,,\n"), None, ["a", "b"])
  assert read.frame[["a", "b"]].to_numpy().tolist() == [[1, 2], [3, 4]]
  assert list(read.notes) == [table.NO_CATEGORIES]
  with pytest.raises(BiasjaxError, match="two columns named a"):
    table.read(write(tmp_path, "model,a, a\nx,1,2\n"), None, ["a"])


def test_blanks_around_a_name_are_none_of_it_in_either_file(tmp_path):
  (tmp_path / "c.json").write_text(json.dumps({"k": ["x ", "y"]}))
  read = table.read(write(tmp_path, "model,a\nx ,1\n y,2\n"), str(tmp_path / "c.json"), ["a"])
  assert list(read.frame.index) == ["x", "y"]
  assert not read.notes


def test_a_shape_bias_in_per_cent_is_named_and_missing(tmp_path):
  read = table.read(write(tmp_path, "model,shape-bias\nx,1\ny,21.5\nz,0\n"), None, ["shape-bias"])
  assert read.frame["shape-bias"].isna().tolist() == [False, True, False]
  assert read.notes[0] == "Line 3 (y), column shape-bias: '21.5' is no share, 0 to 1; treated as missing."


def test_a_category_that_is_there_twice_is_refused(tmp_path):
  path = write(tmp_path, "model,a\nx,1\ny,2\n")
  categories = write(tmp_path, '{"one": ["x"], "one": ["y"]}', "c.json")
  with pytest.raises(BiasjaxError, match=r"c.json has 'one' twice: make one list of them"):
    table.read(path, categories, ["a"])


@pytest.mark.parametrize("written", ["inf", "-Infinity", "1e999"])
def test_infinities_are_named_and_missing(tmp_path, written):
  read = table.read(write(tmp_path, f"model,a\nx,1\ny,{written}\n"), None, ["a"])
  assert math.isnan(read.frame.loc["y", "a"])
  assert re.search(f"column a: '{written}' is (infinite|no number)", read.notes[0])


def test_columns_that_nobody_asks_for_are_not_complained_about(tmp_path):
  read = table.read(write(tmp_path, "model,a,comment\nx,1,fine\n"), None, ["a"])
  assert not any("comment" in note for note in read.notes)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (
      "model;a\nx;1,5\ny;2,5\n".encode("utf-8-sig"),
      "table.csv: its columns are parted by semicolons: save it",
    ),
    (  # pandas has no rows of more fields than the first: the second has a decimal comma more
      b"model;a;b\nx;1;2\ny;1,5;2,5\n",
      "table.csv: its columns are parted by semicolons: save it",
    ),
    (b"model\ta\nx\t1\n", "table.csv: its columns are parted by tabs: save it"),
    (
      "model,a\nx,1\n".encode("utf-16"),
      "table.csv is no text in UTF-8 .invalid start byte.: save it as such",
    ),
  ],
)
def test_what_a_spreadsheet_saves_otherwise_is_said(tmp_path, content, message):
  (tmp_path / "table.csv").write_bytes(content)
  with pytest.raises(BiasjaxError, match=message):
    table.read(str(tmp_path / "table.csv"), None, ["a"])


def test_equal_rows_count_once(tmp_path):
  read = table.read(write(tmp_path, "model,a\nx,1\nx,1\ny,2\n"), None, ["a"])
  assert read.frame.index.tolist() == ["x", "y"]
  assert "x is in the table more than once, with the same numbers: counted once." in read.notes


def test_a_row_may_lack_the_commas_at_its_end(tmp_path):
  for text in ("model,a,b\nx,1,2\ny,3\n", "model,a,b\r\nx,1,2\r\ny,3\r\n", "model,a,b\ny,3\nx,1,2"):
    read = table.read(write(tmp_path, text), None, ["a", "b"])
    assert read.frame["a"].to_dict() == {"x": 1, "y": 3}
    assert read.frame["b"].dropna().to_dict() == {"x": 2}


def test_rows_that_differ_for_one_model_are_both_left_out(tmp_path):
  read = table.read(write(tmp_path, "model,a\nx,1\ny,2\nx,3\n"), None, ["a"])
  assert read.frame.index.tolist() == ["y"]
  assert "x is on lines 2 and 4 with different numbers: left out, keep the right one." in read.notes


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("name,a\nx,1\n", "has no column named model; it begins name, a"),
    ("model,a,a\nx,1,2\n", "has two columns named a"),
    ("model,a,b\nx,71.5,2\ny,7", "ends within line 3, after 2 of 3 fields: it was cut short"),
    ("model,a,b\nx,1,5,2\ny,1,2\n", "line 2 of .* is longer than the header"),
    ("model,a\n,1\n", "line 2 of .* names no model"),
    ("model,a\n", "it has only a header"),
    ("", "is no table of comma-separated values: it is empty"),
    ("\n", "is no table of comma-separated values: it is empty"),
    (
      "model,dataset,probe,metric,value\na,x,accuracy,top1,1\n",
      "as metrics.csv: name the results.csv beside it",
    ),
    ("model,a\nx,1\ny,2,3\nz,4,5,6\n", "is no table of comma-separated values"),
  ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, message):
  with pytest.raises(BiasjaxError, match=message) as caught:
    table.read(write(tmp_path, text), None, ["a"])
  assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_categories(tmp_path):
  (tmp_path / "of.json").write_bytes(b'\xef\xbb\xbf{"one": ["a"]}')
  assert table.read_categories(str(tmp_path / "of.json")) == {"one": ["a"]}


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(BiasjaxError, match=r"--table: cannot read .*absent\.csv"):
    table.read(str(tmp_path / "absent.csv"), None, [])
  with pytest.raises(BiasjaxError, match=r"--categories: cannot read .*absent\.json"):
    table.read_categories(str(tmp_path / "absent.json"))


def test_bytes_that_are_no_text_are_refused(tmp_path):
  (tmp_path / "table.csv").write_bytes(b"model,a\n\xff\xfe,1\n")
  with pytest.raises(BiasjaxError, match="is no text in UTF-8"):
    table.read(str(tmp_path / "table.csv"), None, [])


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("{", "is no JSON"),
    ('["x"]', "should hold"),
    ('{"a": "x"}', "should hold"),
    ('{"a": ["x"], "b": ["x"]}', "has x in both a and b"),
    ('{"a": ["w"]}', "names none of the models"),
  ],
)
def test_categories_that_cannot_be_used_are_refused_in_one_line(tmp_path, content, message):
  path = write(tmp_path, "model,a\nx,1\n")
  with pytest.raises(BiasjaxError, match=message) as caught:
    table.read(path, write(tmp_path, content, "c.json"), ["a"])
  assert "\n" not in str(caught.value)


METRICS = ["model", "dataset", "probe", "metric", "value", "low", "high", "n"]


def with_metrics(folder, text, rows, columns=METRICS):
  path = write(folder, text)
  pd.DataFrame(rows, columns=columns).to_csv(folder / "metrics.csv", index=False)
  return path


def test_a_metrics_file_beside_the_table_gives_intervals_under_the_tables_names(tmp_path):
  rows = [
    ("x", "d", "accuracy", "top1_acc/d", 50, 45, 55, 400),
    ("x", "d", "p", "bias", 0.5, 0.4, 0.6, 400),
    ("x", "e", "p", "bias", 0.6, 0.2, 1.0, 400),
  ]
  read = table.read(with_metrics(tmp_path, "model,top1_acc/d,bias,bias@e\nx,50,0.5,0.6\n", rows), None, [])
  found = read.intervals.set_index("column")
  assert found.loc[["top1_acc/d", "bias", "bias@e"], ["low", "high"]].to_numpy().tolist() == [
    [45, 55],
    [0.4, 0.6],
    [0.2, 1.0],
  ]
  assert found.loc["bias@e", "dataset"] == "e"
  assert found["flag"].tolist() == [""] * 3
  assert found["chance"].isna().all()


# Epochs, depths, seeds; what CSV readers take for missing; what they take for true, dates, or infinity.
NAMES = [
  *(["1", "2", "10"], ["18", "34", "50"], ["1e3", "1E3", "1000"], ["001", "01", "1"], ["0.5", "0.50", ".5"]),
  *(["NA", "None", "nan"], ["null", "NaN", "N/A"], ["True", "False", "true"], ["inf", "-inf", "2024-01-01"]),
]


@pytest.mark.parametrize("names", NAMES, ids=" ".join)
def test_names_are_text_whatever_they_look_like(tmp_path, names):
  text = "model,top1_acc/1,NA\n" + "".join(f"{name},{70 + i},0.{i + 1}\n" for i, name in enumerate(names))
  rows = [
    row
    for i, name in enumerate(names)
    for row in (
      (name, "1", "accuracy", "top1_acc/1", 70 + i, 69 + i, 71 + i, 100),
      (name, "None", "nan", "NA", (i + 1) / 10, i / 10, (i + 2) / 10, 100),
    )
  ]
  read = table.read(with_metrics(tmp_path, text, rows), None, [])
  assert read.frame.index.tolist() == names
  assert list(zip(read.intervals["model"], read.intervals["low"], strict=True))[::2] == [
    (name, 69 + i) for i, name in enumerate(names)
  ]
  assert len(read.intervals) == 6
  assert set(read.intervals["dataset"]) == {"1", "None"}
  assert len(read.notes) == 1  # that there are no categories


@pytest.mark.parametrize("listed", [["18", "34"], [18, 34]])
def test_categories_may_name_models_by_numbers(tmp_path, listed):
  path = write(tmp_path, "model,a\n18,1\n34,2\n")
  read = table.read(path, write(tmp_path, json.dumps({"depth": listed}), "c.json"), ["a"])
  assert read.category.to_dict() == {"18": "depth", "34": "depth"}


def test_a_metrics_file_of_other_models_is_said(tmp_path):
  rows = [("y", "d", "accuracy", "top1_acc/d", 50, 45, 55, 400)]
  read = table.read(with_metrics(tmp_path, "model,top1_acc/d\nx,50\n", rows), None, [])
  assert not len(read.intervals)
  assert any("metrics.csv knows none of the models (y is its first)" in note for note in read.notes)


def test_models_that_the_metrics_file_lacks_are_said(tmp_path):
  rows = [("x", "d", "accuracy", "top1_acc/d", 50, 45, 55, 400)]
  read = table.read(with_metrics(tmp_path, "model,top1_acc/d\nx,50\nmine,60\n", rows), None, [])
  assert read.intervals["model"].tolist() == ["x"]
  assert any(note.startswith("1 model (mine) not in ") and "metrics.csv" in note for note in read.notes)


def test_a_number_that_is_not_the_metrics_has_not_its_interval(tmp_path):
  rows = [
    ("x", "d", "accuracy", "top1_acc/d", 50, 45, 55, 400),
    ("y", "d", "accuracy", "top1_acc/d", 60, 55, 65, 400),
  ]
  read = table.read(with_metrics(tmp_path, "model,top1_acc/d\nx,50\ny,76.13\n", rows), None, [])
  assert read.intervals["model"].tolist() == ["x"]
  assert any(note.startswith("top1_acc/d of y is another number than in ") for note in read.notes)


def test_chance_and_flags_of_the_metrics_file_are_kept(tmp_path):
  rows = [("x", "d", "accuracy", "top1_acc/d", 7, 5, 9, 400, 6.25, "cannot be told from chance")]
  path = with_metrics(tmp_path, "model,top1_acc/d\nx,7\n", rows, [*METRICS, "chance", "flag"])
  row = table.read(path, None, []).intervals.iloc[0]
  assert (row["chance"], row["flag"]) == (6.25, "cannot be told from chance")


@pytest.mark.parametrize("text", ["", "model,low\nx,1\n", "\x00"])
def test_a_metrics_file_that_is_none_is_refused_in_one_line(tmp_path, text):
  path = write(tmp_path, "model,a\nx,1\n")
  write(tmp_path, text, "metrics.csv")
  with pytest.raises(BiasjaxError, match=r"metrics\.csv is not a metrics\.csv") as caught:
    table.read(path, None, [])
  assert "\n" not in str(caught.value)
