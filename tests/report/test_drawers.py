"""Figures that several processes draw are those that one draws, whatever becomes of the processes."""

import pytest

import made_tables
from biasjax.report import draw
from biasjax.report.drawers import Drawers
from biasjax.study import analysis, definitions, table
from deadline import DEADLINE_S


@pytest.fixture(scope="module")
def measured_and_study(tmp_path_factory):
  asked = made_tables.write(tmp_path_factory.mktemp("study"), made_tables.table(12, 0, plant=0.8))
  defined = definitions.parse(made_tables.few(asked["study"], "HPP"))
  read = table.read(asked["table"], asked["categories"], defined.used_columns())
  early = []
  return early, analysis.analyse(read, defined, seed=0, measured=early.append)


@pytest.fixture(scope="module")
def study(measured_and_study):
  return measured_and_study[1]


@pytest.fixture(scope="module")
def alone(study, tmp_path_factory):
  folder = tmp_path_factory.mktemp("alone")
  return draw.draw(study, folder), {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_processes_draw_what_one_draws(study, alone, tmp_path):
  with Drawers(2) as drawers:
    drawn = drawers.begin(study, tmp_path)()
  assert (drawn, {path.name: path.read_bytes() for path in tmp_path.iterdir()}) == alone


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_measured_is_drawn_before_relations_are_known(measured_and_study, alone, tmp_path, killed):
  (early,), study = measured_and_study
  assert "correlations" not in early.tables
  with Drawers(2) as drawers:
    drawers.measured(early, tmp_path)
    if killed:
      drawers._started[1].process.kill()
      drawers._started[1].process.wait()
    drawn = drawers.begin(study, tmp_path)()
  assert (drawn, {path.name: path.read_bytes() for path in tmp_path.iterdir()}) == alone


def test_what_a_process_leaves_undrawn_is_drawn_here(study, alone, tmp_path):
  with Drawers(2) as drawers:
    drawers._started[1].process.kill()
    drawers._started[1].process.wait()
    drawn = drawers.begin(study, tmp_path)()
  assert (drawn, {path.name: path.read_bytes() for path in tmp_path.iterdir()}) == alone


def test_what_goes_wrong_in_a_process_is_raised_here(study, tmp_path):
  (tmp_path / "figures").write_text("a file")
  with Drawers(2) as drawers, pytest.raises(FileExistsError):
    drawers.begin(study, tmp_path / "figures")()


def test_processes_end_when_nobody_can_ask_them_any_more():
  with Drawers(2) as drawers:
    for drawer in drawers._started:
      drawer.asked.close()  # as when the process that started them is killed
    assert [drawer.process.wait(DEADLINE_S) for drawer in drawers._started] == [0, 0]
