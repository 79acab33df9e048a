"""Annotations of examples: whole, each example once, nothing that is guessed."""

import numpy as np
import pytest

from biasjax.data import annotations
from biasjax.errors import BiasjaxError

TEXT = "example_id,bias,weight,group,seen_by\nb.png,10,0.5,old,x\na.png,9,2,young,\n"


def written(path, text=TEXT):
  path.write_text(text)
  return str(path)


def test_rows_come_in_the_order_of_the_examples_whatever_the_files_is(tmp_path):
  found = annotations.read(written(tmp_path / "a.csv")).of(["a.png", "b.png"], "here")
  assert found.ids == ("a.png", "b.png")
  assert found.columns.keys() == {"bias", "weight", "group"}
  assert found.columns["bias"].tolist() == ["9", "10"]
  assert found.columns["weight"].tolist() == [2.0, 0.5]
  assert found.columns["group"].tolist() == ["young", "old"]


def test_some_of_the_examples_are_enough_only_where_that_is_said(tmp_path):
  read = annotations.read(written(tmp_path / "a.csv"))
  assert read.of(["b.png"], "here", part=True).columns["weight"].tolist() == [0.5]
  with pytest.raises(BiasjaxError, match=r"1 example\(s\) that here does not have, e\.g\. a\.png"):
    read.of(["b.png"], "here")


def test_an_example_without_a_row_is_named(tmp_path):
  with pytest.raises(BiasjaxError, match=r"no row for 2 of 3 examples of here, e\.g\. c\.png"):
    annotations.read(written(tmp_path / "a.csv")).of(["b.png", "c.png", "d.png"], "here", part=True)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("example_id,bias\na,0\nb,1\na,0\n", "a is on two rows"),
    ("example_id,bias\na,0\nb,\n", r"bias of row 2 \(b\) is empty"),
    ("example_id,bias\na,0\nb\n", r"bias of row 2 \(b\) is empty"),
    ("example_id,weight\na,nan\n", r"weight of row 1 \(a\) is nan, no value"),
    ("example_id,bias\na,red\nb,NaN\n", r"bias of row 2 \(b\) is NaN, no value"),
    ("example_id,weight\na,-1\n", "weight of a is '-1'"),
    ("example_id,weight\na,inf\n", "weight of a is 'inf'"),
    ("example_id,weight\na,heavy\n", "weight of a is 'heavy'"),
    ("example_id,cue\na,1\n", "any of bias, weight, domain, group"),
    ("image,bias\na,1\n", "needs the column example_id"),
    ("example_id,bias,bias\na,1,2\n", "'bias' twice"),
    ("example_id,weight\na,0.5\nb,1,5\n", r"row 2 \(b\) has more fields than the header"),
    ("example_id,bias\n", "no rows"),
    ("", "needs the column example_id"),
    ('example_id,bias\n"a,1\n', "is no CSV"),
  ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
  with pytest.raises(BiasjaxError, match=message):
    annotations.read(written(tmp_path / "a.csv", text))


def test_what_a_spreadsheet_saves_otherwise_is_said(tmp_path):
  (tmp_path / "a.csv").write_bytes("example_id;bias\na.png;1\n".encode("utf-8-sig"))
  with pytest.raises(BiasjaxError, match="its columns are parted by semicolons: save it with commas"):
    annotations.read(str(tmp_path / "a.csv"))
  (tmp_path / "a.csv").write_bytes("example_id,bias\né.png,1\n".encode("latin-1"))
  with pytest.raises(BiasjaxError, match="is no text in UTF-8"):
    annotations.read(str(tmp_path / "a.csv"))


def test_a_file_that_is_not_there_is_one_line(tmp_path):
  with pytest.raises(BiasjaxError, match="cannot be read: No such file"):
    annotations.read(str(tmp_path / "none.csv"))


def test_a_column_that_is_needed_is_named(tmp_path):
  read = annotations.read(written(tmp_path / "a.csv"))
  read.need(("bias", "weight"), "end")
  with pytest.raises(BiasjaxError, match="no column 'domain', which it needs"):
    read.need(("bias", "domain"), "it")


def test_the_fingerprint_is_of_what_is_said_not_of_the_order_of_rows(tmp_path):
  one = annotations.read(written(tmp_path / "a.csv")).fingerprint
  turned = annotations.read(
    written(tmp_path / "b.csv", "group,example_id,weight,bias\nyoung,a.png,2.0,9\nold,b.png,.5,10\n")
  )
  other = annotations.read(written(tmp_path / "c.csv", TEXT.replace("old", "aged")))
  assert one == turned.fingerprint
  assert one != other.fingerprint


def test_codes_follow_the_size_of_numbers_and_the_order_of_names():
  of_numbers, numbers = annotations.codes(np.array(["10", "9", "10", "2"]))
  assert (of_numbers.tolist(), numbers) == ([2, 1, 2, 0], ("2", "9", "10"))
  of_names, names = annotations.codes(np.array(["sea", "land", "sea"]))
  assert (of_names.tolist(), names) == ([1, 0, 1], ("land", "sea"))
