"""What figures of the measurements show, read off what is drawn."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import made_tables
from biasjax.data.layouts import FIFTEEN
from biasjax.report import curves
from biasjax.study import analysis, definitions, table


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  frame = made_tables.with_curves(made_tables.table(8, 0))
  frame = frame.copy().assign(**{"top1_acc/criticalband/clean": 55.0})
  folder = tmp_path_factory.mktemp("figures")
  frame.to_csv(folder / "results.csv", index=False)
  rows = [(model, "imagenet", "x", "top1_acc/fog_1", "", "", "", 9, 0.1, "") for model in frame["model"]]
  columns = ["model", "dataset", "probe", "metric", "value", "low", "high", "n", "chance", "flag"]
  pd.DataFrame(rows, columns=columns).to_csv(folder / "metrics.csv", index=False)
  asked = definitions.parse(made_tables.few(made_tables.definitions(), "HPP", "critical_bw"))
  read = table.read(str(folder / "results.csv"), None, asked.used_columns())
  return analysis.analyse(read, asked, seed=0)


def at(study, pixels):
  """The same study of images of another size."""
  object.__setattr__(study, "pixels", pixels)
  return study


def ticks(axes):
  return [text.get_text() for text in axes.get_xticklabels()], [t.get_text() for t in axes.get_yticklabels()]


def test_people_stand_beside_networks_that_saw_images_of_the_published_size(study):
  drawing = curves.channels(at(study, 224))
  x, y = ticks(drawing.figure.axes[0])
  assert x == ["1.75", "3.5", "7", "14", "28", "56", "112"]
  assert y[-1] == "people"
  assert "published estimate, metric/criticalband" in drawing.caption


def test_of_other_images_no_band_is_beyond_what_they_hold_and_people_are_left_out(study):
  drawing = curves.channels(at(study, 64))
  x, y = ticks(drawing.figure.axes[0])
  assert x == ["0.5", "1", "2", "4", "8", "16", "32"]  # 32 cycles are half of 64 pixels
  assert "people" not in [*y, drawing.caption, drawing.title]


def test_noise_maps_show_what_is_left_without_noise(study):
  drawing = curves.noise_maps(at(study, 224))
  panel = drawing.figure.axes[0]
  _, y = ticks(panel)
  assert y[0] == "0"
  (image,) = panel.get_images()
  assert (image.get_array()[0] == 55).all()
  assert "without noise" in drawing.caption


def test_accuracy_under_corruptions_is_the_mean_over_the_same_ones_for_every_model(study):
  frame, (lacking, whole) = study.table.frame.copy(), study.table.frame.index[:2]
  frame.loc[lacking, [f"top1_acc/fog_{s}" for s in range(1, 6)]] = float("nan")
  made_here = {f"top1_acc/corruptions/fog_{s}": 100.0 for s in range(1, 6)}
  table_ = dataclasses.replace(study.table, frame=frame.assign(**made_here))
  drawing = curves.severity_curves(dataclasses.replace(study, table=table_))
  assert "Mean over 15 corruptions." in drawing.caption
  found = drawing.data.set_index("model")["severity_3"]
  assert np.isnan(found[lacking])
  expected = study.table.frame.loc[whole, [f"top1_acc/{c}_3" for c in FIFTEEN]].sum() / 15
  assert found[whole] == pytest.approx(expected)


def test_accuracy_under_corruptions_has_a_line_at_chance(study):
  panel = curves.severity_curves(study).figure.axes[0]
  dashed = [line for line in panel.get_lines() if line.get_linestyle() == "--"]
  assert [line.get_ydata()[0] for line in dashed] == [0.1]
