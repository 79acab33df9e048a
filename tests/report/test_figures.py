"""What figures of the measurements show, read off what is drawn."""

import dataclasses
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import made_tables
from biasjax.data.layouts import CBAR, FIFTEEN
from biasjax.report import cards, cells, command, curves, drawing, figures, matrix, scatters
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


@pytest.mark.parametrize(("pixels", "said"), [(224, True), (None, True), (64, False)])
def test_people_are_beside_a_band_s_meaning_where_they_saw_images_of_its_size(study, pixels, said):
  meaning = dict(matrix.terms(at(study, pixels)))
  assert meaning["Critical bandwidth"].endswith("; people: 1") == said


def test_a_band_whose_centre_is_at_0_has_no_mark(study):
  frame = study.table.frame.copy()
  frame["metric/criticalband/cf_norm"] = [20.0] * 7 + [0.0]
  found = dataclasses.replace(study, table=dataclasses.replace(study.table, frame=frame))
  drawing = curves.channels(at(found, 224))
  marks = [line for line in drawing.figure.axes[0].get_lines() if line.get_marker() == "o"]
  assert [len(line.get_xdata()) for line in marks] == [7]


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
  assert "Mean over 15 corruptions of ImageNet-C." in drawing.caption
  found = drawing.data.set_index("model")["severity_3"]
  assert np.isnan(found[lacking])
  expected = study.table.frame.loc[whole, [f"top1_acc/{c}_3" for c in FIFTEEN]].sum() / 15
  assert found[whole] == pytest.approx(expected)


def test_accuracy_under_corruptions_is_a_mean_for_each_benchmark(study):
  """A model that lacks one benchmark has its line in the other's panel."""
  rng, frame = np.random.default_rng(0), study.table.frame.copy()
  names = [f"top1_acc/{of}_{s}" for of in CBAR for s in range(1, 6)]
  more = pd.DataFrame(rng.uniform(20, 80, (len(frame), len(names))), frame.index, names)
  lacking, whole = frame.index[:2]
  more.loc[lacking] = float("nan")
  table_ = dataclasses.replace(study.table, frame=frame.join(more))
  drawing = curves.severity_curves(dataclasses.replace(study, table=table_))
  assert "Mean over 15 corruptions of ImageNet-C; over 10 corruptions of ImageNet-C-bar." in drawing.caption
  titles = [panel.get_title() for panel in drawing.figure.axes]
  assert titles == ["ImageNet-C, 15 corruptions", "ImageNet-C-bar, 10 corruptions"]
  found = drawing.data.set_index(["benchmark", "model"])["severity_2"]
  assert np.isnan(found["ImageNet-C-bar", lacking])
  c, c_bar = (
    np.mean([frame.join(more).at[whole, f"top1_acc/{of}_2"] for of in kind]) for kind in (FIFTEEN, CBAR)
  )
  assert found["ImageNet-C", whole] == pytest.approx(c)
  assert found["ImageNet-C-bar", whole] == pytest.approx(c_bar)
  assert np.isfinite(found["ImageNet-C", lacking])


def test_accuracy_under_corruptions_has_a_line_at_chance(study):
  panel = curves.severity_curves(study).figure.axes[0]
  dashed = [line for line in panel.get_lines() if line.get_linestyle() == "--"]
  assert [line.get_ydata()[0] for line in dashed] == [0.1]


def test_what_a_model_does_to_a_correlation_is_drawn_where_five_models_have_one_of_the_biases(tmp_path):
  frame = made_tables.table(8, 0)
  frame.loc[5:, [name for name in frame if "/LFC/" in name]] = float("nan")
  frame.to_csv(tmp_path / "results.csv", index=False)
  asked = definitions.parse(made_tables.few(made_tables.definitions(), "LPP", "HPP"))
  read = table.read(str(tmp_path / "results.csv"), None, asked.used_columns())
  found = figures.influence(analysis.analyse(read, asked, seed=0)).data.set_index(["bias", "axis"])
  ends = found[["lowest_without_one_model", "highest_without_one_model"]]
  assert ends.loc["LPP"].isna().all(axis=None)  # of four models nothing is said
  hpp, id_ = (frame[made_tables.BIAS_COLUMNS["HPP"][0]], frame[made_tables.AXIS_COLUMNS["ID"][0]])
  without = [hpp.drop(i).corr(id_.drop(i), method="spearman") for i in range(8)]
  assert ends.loc[("HPP", "ID")].tolist() == pytest.approx([min(without), max(without)])


def test_what_is_forgotten_is_drawn_of_one_dataset_under_one_condition(study):
  columns = ["run", "dataset", "probe", "condition", "epoch", "accuracy", "forgotten"]
  rows = [("a", "one", "accuracy", "clean", epoch, 10.0 * epoch, 1.0) for epoch in (1, 2, 3)]
  rows += [("a", "two", "accuracy", "clean", epoch, 5.0 * epoch, 2.0) for epoch in (1, 2, 3)]
  tables = {**study.tables, "forgetting_epochs": pd.DataFrame(rows, columns=columns)}
  drawn = curves.forgetting(dataclasses.replace(study, tables=tables))
  right, forgotten = drawn.figure.axes[0].get_lines()
  assert right.get_xdata().tolist() == forgotten.get_xdata().tolist() == [1, 2, 3]
  assert right.get_ydata().tolist() == [10, 20, 30]
  assert "of one (accuracy, clean)" in drawn.caption


def test_names_are_shown_as_they_are_written(study, tmp_path):
  name = r"net$^$<b>_$\frac$"
  frame = study.table.frame.rename(index={study.table.frame.index[-1]: name})
  category = study.table.category.rename(index={study.table.category.index[-1]: name})
  named = dataclasses.replace(study, table=dataclasses.replace(study.table, frame=frame, category=category))
  with mpl.rc_context(drawing.STYLE):
    drawn = curves.channels(at(named, 64))
    assert "net$^$&lt;b&gt;_$\\frac$" in drawing.keep(drawn, tmp_path).svg


def test_a_series_names_its_steps_with_all_digits(tmp_path):
  steps = [5000, 640583, 1281167]
  frame = made_tables.table(3, 0).assign(model=[f"images_x{step}_seed0" for step in steps])
  frame.to_csv(tmp_path / "results.csv", index=False)
  swept = [{"name": "images", "pattern": r"images_x(?P<x>\d+)_seed\d+", "factor": "images"}]
  asked = definitions.parse(made_tables.few(made_tables.definitions(), "HPP") | {"series": swept})
  read = table.read(str(tmp_path / "results.csv"), None, asked.used_columns())
  found = analysis.analyse(read, asked, seed=0)
  x, _ = ticks(curves.series(found, "images").figure.axes[0])
  assert x == ["5000", "640583", "1281167"]
  known = cards.Known(
    found, cards.Provenance(), cells.digits(found.table.frame.join([found.biases, found.axes]))
  )
  card = cards.card(known, "images_x1281167_seed0")
  assert card["sentences"] == ["In the series images: images = 1281167."]


def drawn_of(folder, frame, of_models=None, **changes):
  """The study of a table, and what draws its figures in `folder`."""
  asked = made_tables.write(folder, frame, of_models)
  defined = definitions.parse(made_tables.few(asked["study"], "shape_bias", "HPP") | {"draws": 100} | changes)
  found = analysis.analyse(
    table.read(asked["table"], asked["categories"], defined.used_columns()), defined, seed=0
  )
  with mpl.rc_context(drawing.STYLE):
    return {
      of.name: drawing.keep(of, folder) for of in (curves.shape_bias(found), scatters.scatter(found, "HPP"))
    }


def test_categories_that_differ_in_a_blank_are_apart(tmp_path):
  kept = drawn_of(
    tmp_path,
    made_tables.table(8, 0),
    {"a b": ["model0", "model1"], "a_b": [f"model{i}" for i in range(2, 8)]},
  )
  for of in kept.values():
    for i in range(8):
      assert f"<title>model{i}: " in of.svg


def test_biases_may_be_called_like_columns(tmp_path):
  asked = made_tables.write(tmp_path, made_tables.table(8, 0))
  biases = [{"name": name, "mean": [name]} for name in ("metric/bandpass/HFC/0.1", "shape-bias")]
  asked["study"] = made_tables.few(asked["study"]) | {"biases": biases, "draws": 100}
  assert command.run(asked) == 0
  page = (tmp_path / "study" / "index.html").read_text()
  linked = re.findall(r'href="(figures/[^"]+)"', page)
  assert sum("HFC" in link for link in linked) == 6  # scatter and forest, each in three forms
  assert all((tmp_path / "study" / link).is_file() for link in linked)


def test_a_shape_bias_of_another_definition_may_lie_beyond_0_and_1(tmp_path):
  frame = made_tables.table(8, 0)
  frame["mine"] = -100 * frame["shape-bias"] - 2
  biases = [{"name": "shape_bias", "mean": ["mine"]}, {"name": "HPP", "mean": ["metric/bandpass/HFC/0.1"]}]
  kept = drawn_of(tmp_path, frame, biases=biases)["shape_bias"]
  for model, value in zip(frame["model"], frame["mine"], strict=True):
    assert f"<title>{model}: {value:.3f}</title>" in kept.svg
