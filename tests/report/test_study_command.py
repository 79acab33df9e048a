"""The study through the command, as a person runs it."""

import json
import pathlib
import re
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import made_tables
from biasjax.errors import BiasjaxError
from biasjax.report import command
from biasjax.study import output
from deadline import DEADLINE_S

ROOT = pathlib.Path(__file__).parents[2]

SMALL_CONFIG = """
import sys
from ml_collections import ConfigDict
sys.path.append("tests")
import made_tables

def get_config():
  return ConfigDict({"study": made_tables.few(made_tables.definitions(), "HPP")})
"""


def asked_for(folder, frame, of_models=None, **changes):
  asked = made_tables.write(folder, frame, of_models)
  asked["study"] = made_tables.few(asked["study"], "HPP")
  return asked | changes


def run_py(*flags):
  command_line = [sys.executable, "run.py", *map(str, flags)]
  return subprocess.run(
    command_line, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
  )


def test_the_command_writes_the_study_and_prints_its_summary(tmp_path):
  (tmp_path / "small.py").write_text(SMALL_CONFIG)
  made_tables.table(12, 0, plant=0.8).to_csv(tmp_path / "table.csv", index=False)
  (tmp_path / "categories.json").write_text(json.dumps(made_tables.categories(12)))
  done = run_py(
    f"--config={tmp_path / 'small.py'}",
    "--config.study.draws=300",
    f"--table={tmp_path / 'table.csv'}",
    f"--categories={tmp_path / 'categories.json'}",
    f"--output={tmp_path / 'study'}",
  )
  assert done.returncode == 0, done.stderr
  assert "Spearman over 12 models" in done.stdout
  written = json.loads((tmp_path / "study" / "study.json").read_text())
  assert written["draws"] == 300
  assert len(written["correlations"]) == 6
  assert (tmp_path / "study" / "index.html").is_file()
  assert "jax" not in done.stderr.lower()


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--config=configs/study.py"], "run.py: error: --table is needed"),
    (["--table=absent.csv"], "run.py: error: --table: cannot read absent.csv"),
  ],
)
def test_a_mistake_is_one_line(flags, message):
  done = run_py(*flags)
  assert done.returncode == 1
  assert done.stderr.startswith(message)
  assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "study").write_text("a file")
  with pytest.raises(BiasjaxError, match="--output: cannot write"):
    command.run(asked_for(tmp_path, made_tables.table(6, 0)))


def test_a_study_that_stops_in_its_middle_leaves_the_one_before(tmp_path, monkeypatch):
  def texts():
    kept = [
      path for path in (tmp_path / "study").rglob("*") if path.suffix in (".json", ".csv", ".tex", ".html")
    ]
    return {path: path.read_bytes() for path in kept if "figures" not in path.parts}

  assert command.run(asked_for(tmp_path, made_tables.table(6, 0))) == 0
  before = texts()

  def stopped(_):
    raise KeyboardInterrupt

  monkeypatch.setattr(output, "latex_tables", stopped)
  with pytest.raises(KeyboardInterrupt):
    command.run(asked_for(tmp_path, made_tables.table(6, 1)))
  assert texts() == before


def test_a_page_for_which_there_is_no_room_leaves_the_one_before(tmp_path):
  assert command.run(asked_for(tmp_path, made_tables.table(6, 0))) == 0
  page = tmp_path / "study/index.html"
  before, limits = page.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 9000, limits[1]))  # the page is the largest file
  try:
    with pytest.raises(BiasjaxError, match=r"cannot write .*index\.html: .*File too large"):
      command.run(asked_for(tmp_path, made_tables.table(6, 1)))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert page.read_bytes() == before


def test_a_comparison_is_in_the_study(tmp_path, capsys):
  ours = made_tables.table(8, 0)
  theirs = ours.copy()
  theirs.loc[0, "top1_acc/imagenet"] += 10
  theirs.loc[1, "top1_acc/imagenet-c"] += 10
  theirs.to_csv(tmp_path / "published.csv", index=False)
  asked = asked_for(tmp_path, ours, compare=str(tmp_path / "published.csv"))
  assert command.run(asked) == 0
  written = json.loads((tmp_path / "study" / "study.json").read_text())
  verdicts = {row["model"]: row["verdict"] for row in written["agreement_models"]}
  assert verdicts["model0"] == "not the same network, or not the same images"
  assert verdicts["model2"] == "same network, same protocol"
  assert "Against the published numbers" in capsys.readouterr().out
  assert "Agreement with published numbers" in (tmp_path / "study" / "models" / "model0.html").read_text()


def test_a_comparison_without_anything_in_common_is_refused(tmp_path):
  pd.DataFrame({"model": ["other"], "top1_acc/imagenet": [70.0]}).to_csv(tmp_path / "p.csv", index=False)
  with pytest.raises(BiasjaxError, match=r"--compare: .* shares no model and column"):
    command.run(asked_for(tmp_path, made_tables.table(6, 0), compare=str(tmp_path / "p.csv")))


def test_checkpoints_without_stored_decisions_are_noted(tmp_path, capsys):
  frame = made_tables.table(6, 0)
  frame["model"] = [f"net@epoch{i}" for i in range(6)]
  assert command.run(asked_for(tmp_path, frame)) == 0
  assert "What training forgets was not computed: no stored decisions" in capsys.readouterr().err


def test_a_results_table_with_its_metrics_gives_intervals(tmp_path):
  frame = made_tables.table(6, 0)
  column = "metric/bandpass/HFC/0.1"
  metrics = pd.DataFrame(
    [
      (m, "d", "spectral", column, v, v - 0.1, v + 0.1, 99)
      for m, v in zip(frame["model"], frame[column], strict=True)
    ],
    columns=["model", "dataset", "probe", "metric", "value", "low", "high", "n"],
  )
  metrics.to_csv(tmp_path / "metrics.csv", index=False)
  assert command.run(asked_for(tmp_path, frame)) == 0
  text = (tmp_path / "study" / "models" / "model1.html").read_text()
  value = frame[column][1]
  shown = f"[{value - 0.1:.3f}, {value + 0.1:.3f}]".replace("-", "\N{MINUS SIGN}")
  assert shown in text


def test_infinities_and_text_do_not_stop_the_rest(tmp_path, capsys):
  frame = made_tables.table(12, 0).astype(object)
  frame.loc[3, "top1_acc/imagenet"] = "n.d."
  frame.loc[4, "top1_acc/imagenet-c"] = np.inf
  assert command.run(asked_for(tmp_path, frame)) == 0
  said = capsys.readouterr().err
  assert "Line 5 (model3), column top1_acc/imagenet: 'n.d.' is no number; treated as missing." in said
  assert "column top1_acc/imagenet-c: 'inf' is infinite" in said
  written = json.loads((tmp_path / "study" / "study.json").read_text())
  counts = {(r["axis"], r["group"]): r["n"] for r in written["correlations"]}
  assert counts["ID", "Total"] == 11
  assert counts["Robustness", "Total"] == 11


def page_numbers(path):
  """{what: [(value, interval)]} of a model's page: rows that have both."""
  rows = re.findall(r"<tr>(.*?)</tr>", path.read_text(encoding="utf-8"))
  cells = [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
  found = {}
  for name, value, interval, *_ in (row for row in cells if len(row) > 2):
    found.setdefault(name, []).append((value, interval))
  return found


def with_a_shape_bias(folder, **of_mine):
  """A published network and one of one's own, whose shape bias rests on nobody knows what."""
  frame = made_tables.table(12, 0)
  frame["model"] = [*made_tables.study.PUBLISHED[:11], "mine"]
  frame.loc[frame["model"] == "mine", list(of_mine)] = list(of_mine.values())
  asked = made_tables.write(folder, frame)
  asked["study"] = made_tables.few(asked["study"], "shape_bias")
  assert command.run(asked) == 0
  return folder / "study"


def test_a_row_added_to_the_published_table_has_no_invented_interval(tmp_path):
  study = with_a_shape_bias(tmp_path, **{"shape-bias": 0.667})
  written = json.loads((study / "study.json").read_text())
  known = {(row["model"], row["measure"]): row for row in written["intervals"]}
  published = made_tables.study.PUBLISHED[0]
  assert (published, "shape_bias") in known
  assert {model for model, _ in known} == set(made_tables.study.PUBLISHED[:11])
  mine = page_numbers(study / "models" / "mine.html")
  assert [interval for of in mine.values() for _, interval in of if interval.startswith("[")] == []
  assert mine["shape-bias"] == [("0.667", "")]


def test_a_number_has_one_interval_on_a_page(tmp_path):
  published = made_tables.study.PUBLISHED[0]
  study = with_a_shape_bias(tmp_path)
  shown = page_numbers(study / "models" / f"{published}.html")
  # The bias is this column, and both are on the page.
  assert shown["Shape bias"] == shown["shape-bias"]
  written = json.loads((study / "study.json").read_text())
  (row,) = (r for r in written["intervals"] if (r["model"], r["measure"]) == (published, "shape_bias"))
  expected = scipy.stats.binomtest(round(700 * row["value"]), 700).proportion_ci(method="wilson")
  assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-3)
  assert shown["Shape bias"] == [(f"{row['value']:.3f}", f"[{row['low']:.3f}, {row['high']:.3f}]")]
  figure = pd.read_csv(study / "figures" / "shape_bias.csv").set_index("model")
  assert tuple(figure.loc[published, ["low", "high"]]) == pytest.approx((row["low"], row["high"]))
