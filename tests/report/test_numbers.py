"""Every number of a study's pages is one of study.json, the table or metrics.csv, and always the same."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest

import made_tables
from biasjax.report import command

MINUS = "\N{MINUS SIGN}"
NUMBER = re.compile(MINUS + r"?(?:\d+\.?\d*|\.\d+)")
CELL = re.compile(r"<td([^>]*)>(.*?)</td>", re.DOTALL)
FAR = "far below zero"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A study of a run's table, with intervals and counts beside it; HPP is as small as published networks'."""
  folder = tmp_path_factory.mktemp("numbers")
  frame = made_tables.with_curves(made_tables.table(16, 3, plant=0.7))
  frame = frame.assign(**{c: frame[c] / 50 for c in made_tables.BIAS_COLUMNS["HPP"]})
  rng = np.random.default_rng(0)
  long = frame.melt("model", var_name="metric", value_name="value").dropna()
  width = long["value"].abs() * 0.1 * rng.random(len(long)) + 1e-4
  long = long.assign(dataset="imagenet", probe="x", low=long["value"] - width, high=long["value"] + 2 * width)
  long.assign(n=rng.integers(10, 999, len(long))).to_csv(folder / "metrics.csv", index=False)
  names = list(frame["model"])
  kinds = {name: names[k::4] for k, name in enumerate(made_tables.CATEGORIES)}
  asked = made_tables.write(folder, frame, kinds)
  asked["study"] = made_tables.few(asked["study"], "shape_bias", "HPP")
  asked["compare"] = str(folder / "other.csv")
  frame.assign(**{"top1_acc/imagenet": frame["top1_acc/imagenet"] + 9}).to_csv(
    folder / "other.csv", index=False
  )
  assert command.run(asked) == 0
  return folder


@pytest.fixture(scope="module")
def sources(folder):
  """(study.json, the table, metrics.csv)."""
  metrics = pd.read_csv(folder / "metrics.csv").set_index(["model", "metric"])
  written = json.loads((folder / "study" / "study.json").read_text())
  return written, pd.read_csv(folder / "table.csv").set_index("model"), metrics


def pages(folder):
  return [folder / "study" / "index.html", *sorted((folder / "study" / "models").glob("*.html"))]


def cells(path):
  """(attributes, text) of every cell of a page."""
  for attributes, inside in CELL.findall(path.read_text(encoding="utf-8")):
    if "<svg" not in inside:
      yield attributes, html.unescape(re.sub("<[^>]*>", " ", inside)).strip()


def keys(attributes):
  found = re.search(r'data-keys="([^"]*)"', attributes)
  return json.loads(html.unescape(found[1])) if found else []


def look_up(key, sources):
  written, table, metrics = sources
  kind, *rest = key
  if kind == "models":
    return next(row[rest[1]] for row in written["models"] if row["model"] == rest[0])
  if kind == "intervals":
    rows = written["intervals"]
    return next(row[rest[2]] for row in rows if (row["model"], row["measure"]) == tuple(rest[:2]))
  if kind == "table":
    return table.at[rest[0], rest[1]]
  if kind == "metrics":
    return metrics.at[(rest[0], rest[1]), rest[2]]
  return written[kind][rest[0]][rest[1]]


def shown(text):
  """The numbers of a cell, as written."""
  return NUMBER.findall(text.replace("<.001", "0.001"))


def same(written, value):
  digits = len(written.partition(".")[2])
  number = float(written.replace(MINUS, "-"))
  return abs(number - value) <= 0.5 * 10**-digits * (1 + 1e-6) + 1e-12


def test_every_number_in_a_cell_is_the_one_it_is_said_to_be(folder, sources):
  checked = 0
  for path in pages(folder):
    for attributes, text in cells(path):
      named = keys(attributes)
      values = [look_up(key, sources) for key in named]
      if FAR in text:
        assert min(values) < -1, (path.name, named, text)
        values = [value for value in values if value >= -1] if text != f"[{FAR}]" else []
        values = values if shown(text) else []
      if text == "<.001":
        assert 0 <= values[0] < 0.001
        continue
      if named:
        numbers = shown(text)
        assert len(numbers) == len(values), (path.name, named, text)
        assert all(map(same, numbers, values)), (path.name, named, text, values)
        checked += len(numbers)
  assert checked > 2_000


def test_a_cell_with_a_number_says_whose_it_is(folder):
  """Places and medians are of one page alone; the agreement's cells are of its table."""
  for path in pages(folder):
    for attributes, text in cells(path):
      if 'class="n"' in attributes and text and not keys(attributes):
        assert (
          re.fullmatch(r"\d+ of \d+", text) or path.parent.name == "models" or "agree" in path.read_text()
        )


def test_a_number_is_shown_in_one_way_only(folder):
  seen: dict[str, set] = {}
  for path in pages(folder):
    for attributes, text in cells(path):
      named, numbers = keys(attributes), shown(text)
      if named and len(named) == len(numbers):
        for key, number in zip(named, numbers, strict=True):
          seen.setdefault(json.dumps(key), set()).add(number)
  assert {key: found for key, found in seen.items() if len(found) > 1} == {}
  # A bias is on two pages, and where it is one column it is there as that too.
  model = json.loads((folder / "study" / "study.json").read_text())["models"][5]["model"]
  assert seen[json.dumps(["models", model, "shape_bias"])] == seen[json.dumps(["table", model, "shape-bias"])]


def test_small_numbers_have_decimals_that_tell_them_apart(folder, sources):
  text = dict.fromkeys(row["model"] for row in sources[0]["models"])
  for attributes, cell in cells(folder / "study" / "index.html"):
    for key in keys(attributes)[:1]:
      if key[0] == "models" and key[2] == "HPP":
        text[key[1]] = shown(cell)[0]
  assert len(set(text.values())) >= len(text) - 1
  assert all(re.fullmatch(r"0\.0\d{3}", value) for value in text.values())


def test_no_zero_has_a_sign_and_places_and_medians_are_right(folder, sources):
  for path in pages(folder):
    text = re.sub("<svg.*?</svg>|<style.*?</style>", "", path.read_text(), flags=re.DOTALL)
    assert not re.search(f"[{MINUS}-]0?[.]0+(?![0-9.])", text)
  models = pd.DataFrame(sources[0]["models"]).set_index("model")
  name = models.index[6]
  page = (folder / "study" / "models" / f"{name}.html").read_text()
  row = next(row for row in re.findall(r"<tr>(.*?)</tr>", page) if "Shape bias" in row)
  place = int((models["shape_bias"] > models.at[name, "shape_bias"]).sum()) + 1
  kin = models.loc[models["category"] == models.at[name, "category"], "shape_bias"].median()
  assert f">{place} of {len(models)}</td>" in row
  assert f">{kin:.3f}</td>" in row


def test_the_titles_of_points_are_the_correlations(folder, sources):
  cells_ = {(c["bias"], c["axis"]): c for c in sources[0]["correlations"] if c["group"] == "Total"}
  text = (folder / "study" / "figures" / "scatter_HPP.svg").read_text()
  found = re.findall(r"\u03c1 = (\S+) {1,2}\[(\S+), (\S+)\]", html.unescape(text))
  assert len(found) >= 2
  for (rho, low, high), axis in zip(found, ("ID", "Robustness"), strict=False):
    c = cells_["HPP", axis]
    assert same(rho, c["spearman"])
    assert same(low, c["family_low"])
    assert same(high, c["family_high"])
