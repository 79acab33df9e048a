"""The page, in a browser and as text."""

import json
import pathlib
import re
import xml.etree.ElementTree as ET

import chromium
import pandas as pd
import pytest

import made_tables
from biasjax.report import command
from biasjax.report.cards import file_name

BIASES = ("shape_bias", "HPP")
needs_browser = pytest.mark.skipif(chromium.BROWSER is None, reason="no Chromium on PATH to open the page in")
EXTERNAL = re.compile(
  r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import"""
)


def studied(folder: pathlib.Path, n: int) -> pathlib.Path:
  frame = made_tables.with_curves(made_tables.table(n, 1, plant=0.7))
  kinds = {
    name: [frame["model"][int(m.removeprefix("model"))] for m in models]
    for name, models in made_tables.categories(n).items()
  }
  asked = made_tables.write(folder, frame, kinds)
  asked["study"] = made_tables.few(asked["study"], *BIASES)
  assert command.run(asked) == 0
  return folder / "study"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return studied(tmp_path_factory.mktemp("page"), 24)


@pytest.fixture(scope="module", params=[(390, 844), (1280, 900)], ids=["phone", "desktop"])
def page(request, folder, tmp_path_factory):
  with chromium.Page(tmp_path_factory.mktemp("profile"), *request.param) as opened:
    opened.open(folder / "index.html")
    yield opened


@needs_browser
def test_the_browser_finds_no_fault_and_asks_for_nothing_else(page, folder):
  assert page.problems == []
  asked = {url for url in page.requests if not url.startswith("data:")}
  assert asked <= {"about:blank", (folder / "index.html").as_uri()}


@needs_browser
def test_the_page_is_no_wider_than_the_screen(page):
  assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@needs_browser
def test_figures_are_drawn(page, folder):
  shown = page.run("[...document.querySelectorAll('figure svg')].map(f => f.getBoundingClientRect().height)")
  assert len(shown) == len(list((folder / "figures").glob("*.svg"))) > 12
  assert min(shown) > 100


@needs_browser
def test_tables_sort_by_value_both_ways(page):
  column = "Spearman"
  for order in ("ascending", "descending"):
    found = page.run(
      f"""(() => {{
        const table = document.querySelector('#relations table');
        const names = [...table.querySelectorAll('th')].map(th => th.textContent);
        const at = names.indexOf('{column}'), th = table.querySelectorAll('th')[at];
        th.querySelector('button').click();
        const values = [...table.tBodies[0].rows].map(row => row.cells[at].dataset.v);
        return [th.getAttribute('aria-sort'), values];
      }})()"""
    )
    values = [float(v) for v in found[1] if v is not None]
    assert found[0] == order
    assert len(values) == 12
    assert values == sorted(values, reverse=order == "descending")


@needs_browser
def test_the_verdict_comes_first(page):
  assert page.run("document.querySelector('main h2').textContent") == "Verdict"
  assert re.search("stands? in every check", page.run("document.querySelector('.verdict li').textContent"))


@needs_browser
def test_points_say_which_model_they_are(page):
  titles = page.run("[...document.querySelectorAll('#scatter_HPP svg title')].map(t => t.textContent)")
  names = {title.split(":")[0] for title in titles}
  assert {f"model{i}" for i in range(4, 24)} <= names


@needs_browser
def test_dark_pages_have_light_ink(folder, tmp_path):
  with chromium.Page(tmp_path, 1280, 900, dark=True) as opened:
    opened.open(folder / "index.html")
    ink = opened.run("getComputedStyle(document.querySelector('figure svg text')).fill")
    paper = opened.run("getComputedStyle(document.body).backgroundColor")
  light, dark = ([int(v) for v in re.findall(r"\d+", colour)[:3]] for colour in (ink, paper))
  assert min(light) > 200
  assert max(dark) < 60


@needs_browser
def test_a_models_page_opens_too(folder, tmp_path):
  with chromium.Page(tmp_path, 390, 844) as opened:
    opened.open(folder / "models" / "model5.html")
    assert opened.problems == []
    assert opened.run("document.querySelector('h1').textContent") == "model5"
    assert opened.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_no_page_names_anything_outside_itself(folder):
  pages = [folder / "index.html", *(folder / "models").glob("*.html")]
  assert len(pages) == 25
  for path in pages:
    text = path.read_text(encoding="utf-8")
    assert not EXTERNAL.search(text), path
    for target in re.findall(r'href="([^"#:]+)"', text):
      assert (path.parent / target).is_file(), (path, target)


def test_every_figure_is_there_as_png_svg_and_csv(folder):
  names = {path.stem for path in (folder / "figures").iterdir()}
  for name in names:
    assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    ET.parse(folder / "figures" / f"{name}.svg")
    assert len(pd.read_csv(folder / "figures" / f"{name}.csv")), name
  expected = {"correlation_matrix", "bias_by_bias", "influence", "prediction", "sign_error", "shape_bias"}
  expected |= {"pass_curves", "severity_curves", "critical_bands", "noise_maps", "series_moco_v3_epochs"}
  expected |= {f"{kind}_{bias}" for kind in ("scatter", "forest") for bias in BIASES}
  assert names == expected


def test_the_points_behind_a_figure_are_the_tables(folder):
  points = pd.read_csv(folder / "figures" / "scatter_HPP.csv").set_index("model")
  table = pd.read_csv(folder.parent / "table.csv").set_index("model")
  expected = table[made_tables.BIAS_COLUMNS["HPP"]].mean(axis=1)
  pd.testing.assert_series_equal(points["HPP"], expected.loc[points.index], check_names=False)


def test_five_models_and_few_columns_have_a_page(tmp_path):
  columns = ["model", "shape-bias", *made_tables.AXIS_COLUMNS["ID"]]
  asked = made_tables.write(tmp_path, made_tables.table(5, 0)[columns])
  asked["study"] |= {"draws": 200}
  assert command.run(asked) == 0
  text = (tmp_path / "study" / "index.html").read_text(encoding="utf-8")
  assert "LPP was not computed: the table has no column" in text
  written = json.loads((tmp_path / "study" / "study.json").read_text())
  # Without categories one group has models that another has not.
  assert [row["group"] for row in written["groups"]] == ["Total"]
  assert len(written["correlations"]) == 1


def test_names_that_html_would_read_are_shown_as_they_are(tmp_path):
  frame = made_tables.table(6, 0)
  frame.loc[0, "model"] = "<b>a/b&c</b>"
  asked = made_tables.write(tmp_path, frame)
  asked["study"] = made_tables.few(asked["study"], "HPP")
  assert command.run(asked) == 0
  text = (tmp_path / "study" / "index.html").read_text(encoding="utf-8")
  assert "<b>a/b" not in text
  assert "&lt;b&gt;a/b&amp;c&lt;/b&gt;" in text
  assert (tmp_path / "study" / "models" / file_name("<b>a/b&c</b>")).is_file()


def test_a_models_page_has_its_certificate_and_the_keys_of_its_numbers(tmp_path):
  frame = made_tables.table(6, 0)
  asked = made_tables.write(tmp_path, frame)
  asked["study"] = made_tables.few(asked["study"], "HPP") | {"certificates": str(tmp_path / "checkpoints")}
  (tmp_path / "checkpoints" / "model2").mkdir(parents=True)
  certificate = {"source": {"file": "net.pth", "sha256": "ab12"}, "parameters": 25557032}
  (tmp_path / "checkpoints" / "model2" / "certificate.json").write_text(json.dumps(certificate))
  unit = {"model": "model2", "dataset": "drawn", "probe": "spectral", "key": {"seed": 7}}
  run = {"format": 3, "datasets": {"drawn": {"length": 5, "chunk_size": 5}}, "units": [unit]}
  (tmp_path / "run.json").write_text(json.dumps(run))
  assert command.run(asked) == 0
  text = (tmp_path / "study" / "models" / "model2.html").read_text(encoding="utf-8")
  for said in ("ab12", "25557032", "spectral", "seed = 7"):
    assert said in text
  other = (tmp_path / "study" / "models" / "model3.html").read_text(encoding="utf-8")
  assert "No certificate of conversion was found" in other
