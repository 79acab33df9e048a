"""Tables on a terminal."""

import math

import pandas as pd

from biasjax.terminal import text_table

NAN = math.nan


def table(*rows) -> pd.DataFrame:
  columns = ["model", "dataset", "metric", "value", "low", "high", "n", "detail"]
  return pd.DataFrame(rows, columns=columns).assign(flag="")


def test_datasets_of_one_number_stand_side_by_side_and_detail_is_left_out():
  metrics = table(
    ("a", "fog", "top1_acc/fog", 50.0, 40.0, 60.0, 1600, False),
    ("a", "fog", "top5_acc/fog", 70.0, 60.0, 80.0, 1600, True),
    ("b", "fog", "top1_acc/fog", 8.125, 5.0, 11.0, 1600, False),
    ("a", "clean", "top1_acc/clean", 90.0, 80.0, 95.0, 240, False),
    ("a", "clean", "LPP", 0.51234, 0.4, 0.6, 240, False),
    ("b", "clean", "LPP", NAN, NAN, NAN, 240, False),
    ("a", "snow", "top1_acc/snow", 0.0, 0.0, 30.0, 160, False),
    ("b", "snow", "top1_acc/snow", 3.0, NAN, NAN, 160, False),
  )
  assert text_table(metrics, 100).splitlines() == [
    "2 datasets: 160 to 1,600 images, 95 % intervals",
    "model  top1_acc/fog       top1_acc/snow",
    "a      50.0 [40.0, 60.0]  0.0 [0.0, 30.0]",
    "b      8.1 [5.0, 11.0]    3.0",
    "",
    "clean: 240 images, 95 % intervals",
    "model  top1_acc/clean     LPP",
    "a      90.0 [80.0, 95.0]  0.512 [0.400, 0.600]",
    "b      -                  undetermined",
  ]


def test_what_is_too_wide_goes_below():
  names = [f"metric_{i}" for i in range(5)]
  metrics = table(*(("a_network", "drawn", name, 0.5, 0.25, 0.75, 9, False) for name in names))
  lines = text_table(metrics, 60).splitlines()
  assert max(map(len, lines)) <= 60
  heads = [line.split() for line in lines if line.startswith("model")]
  assert heads == [["model", *names[:2]], ["model", *names[2:4]], ["model", names[4]]]


def test_a_terminal_narrower_than_a_column_gets_one_column_at_a_time():
  names = ["metric_0", "metric_1"]
  metrics = table(*(("a_network", "drawn", name, 0.5, 0.25, 0.75, 9, False) for name in names))
  heads = [line.split() for line in text_table(metrics, 10).splitlines() if line.startswith("model")]
  assert heads == [["model", names[0]], ["model", names[1]]]


def test_a_flag_stands_below_its_table_once_and_numbers_refer_to_it_by_a_letter():
  metrics = table(
    ("a", "d", "HPP", 1.0, 0.5, 1.2, 80, False),
    ("b", "d", "HPP", 0.25, 0.125, 0.5, 80, False),
    ("a", "d", "LPP", 0.75, 0.5, 1.0, 80, False),
    ("b", "d", "LPP", 0.875, 0.5, 1.0, 80, False),
  ).assign(flag=["accuracy at chance", "", "accuracy at chance", "something else"])
  assert text_table(metrics, 100).splitlines() == [
    "d: 80 images, 95 % intervals",
    "model  HPP                       LPP",
    "a      1.000 [0.500, 1.200] (a)  0.750 [0.500, 1.000] (a)",
    "b      0.250 [0.125, 0.500]      0.875 [0.500, 1.000] (b)",
    "(a) accuracy at chance",
    "(b) something else",
  ]
