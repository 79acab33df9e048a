"""What is wrong with a table is said, and what can be used is used."""

import json
import math
import re

import numpy as np
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


@pytest.mark.parametrize("written", ["inf", "-Infinity", "1e999"])
def test_infinities_are_named_and_missing(tmp_path, written):
  read = table.read(write(tmp_path, f"model,a\nx,1\ny,{written}\n"), None, ["a"])
  assert math.isnan(read.frame.loc["y", "a"])
  assert re.search(f"column a: '{written}' is (infinite|no number)", read.notes[0])


def test_columns_that_nobody_asks_for_are_not_complained_about(tmp_path):
  read = table.read(write(tmp_path, "model,a,comment\nx,1,fine\n"), None, ["a"])
  assert not any("comment" in note for note in read.notes)


def test_equal_rows_count_once(tmp_path):
  read = table.read(write(tmp_path, "model,a\nx,1\nx,1\ny,2\n"), None, ["a"])
  assert read.frame.index.tolist() == ["x", "y"]
  assert "x is in the table more than once, with the same numbers: counted once." in read.notes


def test_rows_that_differ_for_one_model_are_both_left_out(tmp_path):
  read = table.read(write(tmp_path, "model,a\nx,1\ny,2\nx,3\n"), None, ["a"])
  assert read.frame.index.tolist() == ["y"]
  assert "x is on lines 2 and 4 with different numbers: left out, keep the right one." in read.notes


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("name,a\nx,1\n", "has no column named model; it begins name, a"),
    ("model,a,a\nx,1,2\n", "has two columns named a"),
    ("model,a\n,1\n", "line 2 of .* names no model"),
    ("model,a\n", "it has only a header"),
    ("", "is no table of comma-separated values"),
    ("model,a\nx,1\ny,2,3\nz,4,5,6\n", "is no table of comma-separated values"),
  ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, message):
  with pytest.raises(BiasjaxError, match=message) as caught:
    table.read(write(tmp_path, text), None, ["a"])
  assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(BiasjaxError, match=r"--table: cannot read .*absent\.csv"):
    table.read(str(tmp_path / "absent.csv"), None, [])
  with pytest.raises(BiasjaxError, match=r"--categories: cannot read .*absent\.json"):
    table.read_categories(str(tmp_path / "absent.json"))


def test_bytes_that_are_no_text_are_refused(tmp_path):
  (tmp_path / "table.csv").write_bytes(b"model,a\n\xff\xfe,1\n")
  with pytest.raises(BiasjaxError, match="is no table of comma-separated values"):
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


def test_a_metrics_file_beside_the_table_gives_sampling_errors(tmp_path):
  path = write(tmp_path, "model,top1_acc/d,bias,bias@e\nx,50,0.5,0.6\n")
  metrics = pd.DataFrame(
    [
      ("x", "d", "accuracy", "top1_acc/d", 50, 45, 55, 400),
      ("x", "d", "p", "bias", 0.5, 0.4, 0.6, 400),
      ("x", "e", "p", "bias", 0.6, 0.2, 1.0, 400),
    ],
    columns=["model", "dataset", "probe", "metric", "value", "low", "high", "n"],
  )
  metrics.to_csv(tmp_path / "metrics.csv", index=False)
  read = table.read(path, None, [])
  errors = table.standard_errors(read, {}).loc["x"]
  np.testing.assert_allclose(errors * 2 * 1.96, [10, 0.2, 0.8], rtol=1e-4)


def test_counts_give_binomial_sampling_errors(tmp_path):
  read = table.read(write(tmp_path, "model,top1_acc/d,share\nx,36,0.36\n"), None, [])
  errors = table.standard_errors(read, {"top1_acc/d": 10_000, "share": 10_000}).loc["x"]
  np.testing.assert_allclose(errors, [0.48, 0.0048], rtol=1e-3)
