"""Tables on a terminal."""

import math

import pandas as pd

from biasjax.terminal import text_table

NAN = math.nan


def table(*rows) -> pd.DataFrame:
  columns = ["model", "dataset", "metric", "value", "low", "high", "n", "detail"]
  made = pd.DataFrame(rows, columns=columns).assign(flag="")
  return made.assign(column=made["metric"])


def test_of_few_networks_a_line_for_each_number_with_its_interval_and_detail_is_left_out():
  metrics = table(
    ("a", "fog", "top1_acc/fog", 50.0, 40.0, 60.0, 1600, False),
    ("a", "fog", "top5_acc/fog", 70.0, 60.0, 80.0, 1600, True),
    ("b", "fog", "top1_acc/fog", 8.125, 5.0, 11.0, 160, False),
    ("a", "clean", "top1_acc/clean", 90.0, 80.0, 95.0, 240, False),
    ("a", "clean", "LPP", 0.51234, 0.4, 0.6, 240, False),
    ("b", "clean", "LPP", NAN, NAN, NAN, 240, False),
  )
  assert text_table(metrics, 100).splitlines() == [
    "2 networks, 95 % intervals",
    "                images        a                     b",
    "top1_acc/clean  240           90.0 [80.0, 95.0]     -",
    "LPP             240           0.512 [0.400, 0.600]  undetermined",
    "top1_acc/fog    160 to 1,600  50.0 [40.0, 60.0]     8.1 [5.0, 11.0]",
  ]


def test_per_cents_have_one_decimal_also_where_all_are_small():
  metrics = table(
    ("a", "d", "top1_acc/PGD-40/high", 0.0, 0.0, 8.762, 40, False),
    ("a", "d", "HPP", 0.0, 0.0, 0.08762, 40, False),
  )
  lines = text_table(metrics, 100).splitlines()
  assert [line.split("40  ")[1].strip() for line in lines[2:]] == ["0.0 [0.0, 8.8]", "0.000 [0.000, 0.088]"]


def test_a_network_of_which_nothing_but_detail_is_known_is_counted():
  detail = ("b", "fog", "top1_acc/fog_1", 8.0, 5.0, 11.0, 160, True)
  both = text_table(table(("a", "fog", "top1_acc/fog", 50.0, 40.0, 60.0, 160, False), detail), 100)
  assert both.splitlines()[:2] == ["2 networks, 95 % intervals", "              images  a                  b"]
  alone = text_table(table(detail), 100)
  assert alone == "1 network, no main number: 1 numbers of detail are in metrics.csv\n"


def test_of_many_a_line_for_each_network_and_heads_are_folded():
  names = [f"network_{i}" for i in range(9)]
  metrics = table(
    *((name, "fog", "top1_acc/gaussian_noise_2", 50.0, 40.0, 60.0, 160, False) for name in names),
    *((name, "fog", "HPP", 0.25, 0.125, 0.5, 160, False) for name in names),
  )
  lines = text_table(metrics, 60).splitlines()
  assert lines[:4] == [
    "9 networks; intervals and numbers of images are in metrics.csv",
    "model      top1_acc/  HPP",
    "           gaussian_",
    "           noise_2",
  ]
  assert lines[4:] == [f"{name}  50.0       0.250" for name in names]


def test_what_is_too_wide_goes_below():
  names = [f"metric_{i}" for i in range(5)]
  metrics = table(
    *((f"a_network_{i}", "drawn", name, 0.5, 0.25, 0.75, 9, False) for name in names for i in range(4))
  )
  lines = text_table(metrics, 40).splitlines()
  assert max(map(len, lines[1:])) <= 40
  heads = [line.split() for line in lines if line.startswith("model")]
  assert heads == [["model", *names[:2]], ["model", *names[2:4]], ["model", names[4]]]


def test_a_flag_stands_below_its_table_once_and_numbers_refer_to_it_by_a_letter():
  metrics = table(
    ("a", "d", "HPP", 1.0, 0.5, 1.2, 80, False),
    ("b", "d", "HPP", 0.25, 0.125, 0.5, 80, False),
    ("a", "d", "LPP", 0.75, 0.5, 1.0, 80, False),
    ("b", "d", "LPP", 0.875, 0.5, 1.0, 80, False),
  ).assign(flag=["accuracy at chance", "", "accuracy at chance", "something else"])
  assert text_table(metrics, 100).splitlines() == [
    "2 networks, 95 % intervals",
    "     images  a                         b",
    "HPP  80      1.000 [0.500, 1.200] (a)  0.250 [0.125, 0.500]",
    "LPP  80      0.750 [0.500, 1.000] (a)  0.875 [0.500, 1.000] (b)",
    "(a) accuracy at chance",
    "(b) something else",
  ]
