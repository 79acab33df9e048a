"""ImageNet-X's factors joined with stored decisions: by hand, by simulation, and wrong files."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import opening
from biasjax.data.classes import wordnet_ids
from biasjax.engine import evaluate
from biasjax.errors import BiasjaxError
from biasjax.recorded import factors
from biasjax.results.store import Store
from made_images import class_folder
from made_models import made_model


def annotation(name: str, label: int, *has: str) -> dict:
  row = {"file_name": name, "class": label} | {of: int(of in has) for of in factors.FACTORS}
  return row | {"justification": "…", "one_word": "x"}


def written(folder, rows, name="imagenet_x_val_top_factor.jsonl"):
  (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
  return str(folder / name)


def test_error_ratios_are_those_counted_by_hand(tmp_path):
  names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 9)]
  rows = [annotation(name, 3, *(["pose"] if i < 4 else ["texture", "style"])) for i, name in enumerate(names)]
  rows.append(annotation("ILSVRC2012_val_00000099.JPEG", 3, "pose"))  # not measured
  rank = [0, 0, 0, 2, 0, 1, 1, 3]  # 1 of 4 wrong, 3 of 4 wrong
  # In class folders, flat, and as the hub calls them.
  ids = [f"n01494475/{name}" for name in names[:4]] + [n.replace(".", "_n01494475.") for n in names[4:]]
  observations = pd.DataFrame({"example_id": [*ids, "other.JPEG"], "label": 3, "rank": [*rank, 0]})
  found = factors.of_decisions(observations, factors.read(written(tmp_path, rows))).set_index("factor")
  assert found.loc["pose", "error_ratio"] == pytest.approx((1 / 4) / (4 / 8))
  assert found.loc["texture", "error_ratio"] == pytest.approx((3 / 4) / (4 / 8))
  assert (found.loc["pose", "n"], found.loc["pose", "errors"]) == (4, 1)
  assert found.loc["pose", "low"] < 0.5 < found.loc["pose", "high"]
  assert np.isnan(found.loc["shape", "error_ratio"])  # nobody has it
  assert found.loc["all", "error_ratio"] == pytest.approx(4 / 8)
  assert found.loc["all", "n"] == 8


def test_prototypes_are_left_out_as_their_authors_do(tmp_path):
  path = written(tmp_path, [annotation("a.JPEG", 0), annotation("b.JPEG", 0)])
  (tmp_path / "prototypical_paths.csv").write_text("file_name\nb.JPEG\n")
  assert list(factors.read(path).index) == ["a.JPEG"]


def test_a_line_ends_where_json_lines_do(tmp_path):
  path = tmp_path / "imagenet_x.jsonl"
  rows = [
    annotation(name, 0) | {"justification": f"dark{end}fish"}
    for name, end in (("a", "\u2028"), ("b", "\x85"))
  ]
  path.write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
  assert list(factors.read(str(path)).index) == ["a", "b"]


def test_a_table_says_of_how_many_images_each_factor_is():
  rows = [
    ("m", data, factor, 1.0, 0.5, 2.0, n, 1) for factor in (*factors.FACTORS, "all") for data, n in DATA
  ]
  found = pd.DataFrame(
    rows, columns=["model", "dataset", "factor", "error_ratio", "low", "high", "n", "errors"]
  )
  assert " 20 to 1,000 " in factors._text(found).splitlines()[1]


DATA = (("one", 20), ("two", 1000))


def test_a_byte_order_mark_is_no_part_of_annotations(tmp_path):
  path = pathlib.Path(written(tmp_path, [annotation("a.JPEG", 0)]))
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
  assert list(factors.read(str(path)).index) == ["a.JPEG"]


@pytest.mark.parametrize(
  ("error", "share", "times", "n"),
  [
    *[(0.25, 0.3, 1.0, 2000), (0.2, 0.02, 2.0, 2000), (0.1, 0.5, 0.7, 2000)],
    # Ten images with the factor, and errors of which half are theirs.
    *[(0.2, 0.01, 1.5, 1000), (0.2, 0.01, 2.5, 1000), (0.2, 0.5, 1.5, 500)],
  ],
)
def test_intervals_hold_the_ratio_as_often_as_they_say(error, share, times, n):
  """Images are drawn; the ratio is that of the population."""
  rng = np.random.default_rng(0)
  with_factor = error * times
  without = (error - share * with_factor) / (1 - share)
  held = 0
  for _ in range(800):
    has = rng.uniform(size=n) < share
    wrong = rng.uniform(size=n) < np.where(has, with_factor, without)
    _, low, high = factors.error_ratio(wrong, has)
    held += low <= with_factor / error <= high
  assert held / 800 == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(
  ("counts", "low", "high"),
  [  # statsmodels 0.14: confint_proportions_2indep(*counts, "score", "ratio", correction=False)
    ((3, 10, 20, 300), 1.5092897884, 10.5830308855),
    ((10, 10, 5, 90), 8.0947171127, 41.7345346418),
    ((1, 7, 2, 1000), 9.4979018030, 465.2565346000),
  ],
)
def test_a_relative_risk_has_koopmans_interval(counts, low, high):
  assert factors.relative_risk(*counts) == pytest.approx((low, high), rel=1e-6)


def test_a_relative_risk_of_no_errors_is_open_to_one_side():
  low, high = factors.relative_risk(0, 8, 5, 100)
  assert (low, high < 10) == (0, True)
  low, high = factors.relative_risk(4, 8, 0, 50)
  assert (low > 1, high) == (True, np.inf)


def test_a_factor_that_every_image_has_has_the_error_of_all():
  assert factors.error_ratio(np.array([True, False]), np.ones(2, bool)) == (1, 1, 1)


def test_ratios_without_an_error_or_without_a_right_answer_have_an_interval():
  wrong = np.array([True] * 5 + [False] * 15)
  value, low, high = factors.error_ratio(wrong, np.arange(20) < 3)
  assert value == pytest.approx(4)
  assert 1 < low < 4 < high < 20 / 3 * 2
  value, low, high = factors.error_ratio(wrong, np.arange(20) > 14)
  assert (value, low) == (0, 0)
  assert high > 1
  assert all(np.isnan(edge) for edge in factors.error_ratio(np.zeros(4, bool), np.arange(4) < 2))


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("no json", "line 1 is no annotation"),
    ('{"file_name": "a.JPEG", "class": 0}', "'pose' is missing"),
    (json.dumps(annotation("a.JPEG", 0) | {"pose": 2}), "pose is neither 0 nor 1"),
    ("", "annotates no image"),
  ],
)
def test_what_is_no_annotation_is_refused(tmp_path, line, message):
  (tmp_path / "x.jsonl").write_text(line)
  with pytest.raises(BiasjaxError, match=message):
    factors.read(str(tmp_path / "x.jsonl"))


def test_annotations_of_other_images_are_refused(tmp_path):
  annotations = factors.read(written(tmp_path, [annotation("a.JPEG", 1)]))
  with pytest.raises(BiasjaxError, match="annotated as class 1 and was measured as class 2"):
    factors.of_decisions(pd.DataFrame({"example_id": ["a.JPEG"], "label": 2, "rank": 0}), annotations)


def test_a_workdir_gives_a_table_without_a_network(tmp_path):
  class_folder(tmp_path / "images", dict.fromkeys(wordnet_ids()[:2], 4))
  source = opening.open_dataset(f"folder:{tmp_path / 'images'}")
  store = Store(tmp_path / "out", create=True)
  settings = evaluate.Settings(batch_size=4, progress=False)
  evaluate.evaluate([made_model("small", 0)], [probes.get("accuracy")], source, store, settings)
  rows = [
    annotation(f"{wnid}_{i}.JPEG", label, "pose")
    for label, wnid in enumerate(wordnet_ids()[:2])
    for i in range(2)
  ]
  text = factors.score(written(tmp_path, rows), tmp_path / "out")
  table = pd.read_csv(tmp_path / "out" / "factors.csv")
  (unit,) = store.units()
  stored = store.read(unit)[0]
  expected = (stored[stored["example_id"].astype(str).str.contains("_[01].JPEG")]["rank"] != 0).mean()
  assert table[table["factor"] == "all"]["error_ratio"].item() == pytest.approx(expected)
  assert "pose" in text
  with pytest.raises(BiasjaxError, match="holds no whole run"):
    factors.score(written(tmp_path, [annotation("z.png", 0)]), tmp_path / "out")
