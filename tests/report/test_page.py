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
@pytest.mark.parametrize("opened", [False, True], ids=["as it opens", "all opened"])
def test_the_page_is_no_wider_than_the_screen(page, opened):
  page.run(f"document.querySelectorAll('details').forEach(part => part.open = {str(opened).lower()})")
  assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@needs_browser
def test_what_is_wider_than_its_box_says_that_it_scrolls(page):
  page.run("document.querySelectorAll('details').forEach(part => part.open = true)")
  page.run("new Promise(done => setTimeout(done, 100))")  # the event comes after
  boxes = page.run(
    "[...document.querySelectorAll('.wide')]"
    ".map(b => [b.scrollWidth > b.clientWidth + 1, b.matches('.more')])"
  )
  assert all(wide == said for wide, said in boxes)
  narrow = page.run("document.documentElement.clientWidth") < 600
  assert any(wide for wide, _ in boxes) if narrow else True


@needs_browser
def test_figures_are_drawn_at_one_width_that_uses_the_page(page, folder):
  page.run("document.querySelectorAll('details').forEach(part => part.open = true)")
  shown = page.run(
    """[...document.querySelectorAll('figure svg')].map(f => {
      const box = f.getBoundingClientRect();
      return [box.width, box.height, f.closest('main').clientWidth];
    })"""
  )
  assert len(shown) == len(list((folder / "figures").glob("*.svg"))) > 12
  assert min(height for _, height, _ in shown) > 100
  assert len({round(width) for width, _, _ in shown}) == 1
  width, _, room = shown[0]
  assert width >= 0.95 * min(room, 1216) - 32


@needs_browser
def test_tables_sort_by_value_both_ways(page):
  for order in ("ascending", "descending"):
    found = page.run(
      """(() => {
        const table = document.querySelector('#relations table');
        const names = [...table.querySelectorAll('th')].map(th => th.textContent);
        const at = names.indexOf('Spearman'), th = table.querySelectorAll('th')[at];
        th.querySelector('button').click();
        const values = [...table.tBodies[0].rows].map(row => row.cells[at].dataset.v);
        return [th.getAttribute('aria-sort'), values];
      })()"""
    )
    values = [float(v) for v in found[1] if v is not None]
    assert found[0] == order
    assert len(values) == 12
    assert values == sorted(values, reverse=order == "descending")


@needs_browser
def test_models_can_be_searched(page):
  found = page.run(
    """(() => {
      const input = document.querySelector('#models input');
      const shown = text => {
        input.value = text;
        input.dispatchEvent(new Event('input'));
        const rows = [...document.querySelectorAll('#models tbody tr')].filter(row => !row.hidden);
        return rows.map(row => row.cells[0].innerText);
      };
      return [shown('Model17'), shown('contrastive'), shown('nothing of it'), shown('').length];
    })()"""
  )
  kin = {f"model{i}" for i in range(7, 24, 4)} | {"resnet50_moco_v3_400ep"}
  assert (found[0], set(found[1]), found[2], found[3]) == (["model17"], kin, [], 24)


@needs_browser
def test_the_first_screen_has_the_answer_the_matrix_and_points(page, folder):
  said = json.loads((folder / "study.json").read_text())["answer"]
  assert 1 <= len(said) <= 3
  shown = page.run("document.querySelector('header .answer').textContent")
  assert shown == " ".join(said)
  order = page.run(
    "[...document.querySelectorAll('.answer, .matrix, #overview, #models')].map(e => e.id || e.className)"
  )
  assert order == ["answer", "matrix", "overview", "models"]
  if page.run("innerWidth") > 600:
    assert page.run("document.querySelector('#overview svg').getBoundingClientRect().top + scrollY") < 720


@needs_browser
def test_all_but_the_first_screen_models_and_measurements_is_closed(page):
  page.run("document.querySelectorAll('details').forEach(part => part.open = false)")
  assert page.run("document.documentElement.scrollHeight") < 9_000
  inside = page.run("[...document.querySelectorAll('main h2')].map(h => h.textContent)")
  assert inside == ["Models", "Measurements", "Everything else"]


LUMINANCE = r"""
const parse = text => {
  const srgb = text.match(/^color\(srgb ([^)]+)\)/);
  const parts = (srgb ? srgb[1] : text.match(/\(([^)]+)\)/)[1]).split(/[ ,\/]+/).map(Number);
  const scale = srgb ? 1 : 255;
  return [parts[0] / scale, parts[1] / scale, parts[2] / scale, parts[3] ?? 1];
};
const luminance = ([r, g, b]) => {
  const linear = [r, g, b].map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour[3] > 0.99) return colour;
  }
  return [1, 1, 1];
};
const contrast = (one, other) => {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
"""
# What is written on coloured images has colours of its own, which another test holds.
FAINT = (
  LUMINANCE
  + """
const found = [];
for (const e of document.querySelectorAll('body *')) {
  const svg = e instanceof SVGElement;
  const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!text || ['SCRIPT', 'STYLE', 'title'].includes(e.tagName) || e.closest('defs')) continue;
  if (e.closest('#correlation_matrix svg, #bias_by_bias svg')) continue;
  const style = getComputedStyle(e), colour = parse(svg ? style.fill : style.color);
  const value = contrast(colour, behind(e));
  if (value < 4.5) found.push([e.tagName, e.textContent.trim().slice(0, 40), value]);
}
return found;
"""
)


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(folder, tmp_path, dark):
  for name in ("index.html", "models/model5.html"):
    with chromium.Page(tmp_path / name[:5], 1280, 900, dark=dark) as opened:
      opened.open(folder / name)
      opened.run("document.querySelectorAll('details').forEach(part => part.open = true)")
      assert opened.run(f"(() => {{ {FAINT} }})()") == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_categories_stand_out_from_the_page(folder, tmp_path, dark):
  with chromium.Page(tmp_path, 1280, 900, dark=dark) as opened:
    opened.open(folder / "index.html")
    values = opened.run(
      f"""(() => {{ {LUMINANCE}
        const paper = behind(document.body);
        const titles = document.querySelectorAll('#overview use title, #overview path title');
        const fills = [...titles].map(title => getComputedStyle(title.parentElement).fill);
        return fills.map(fill => contrast(parse(fill), paper));
      }})()"""
    )
  assert len(values) == 2 * 24  # two axes
  assert min(values) >= 4.5


@needs_browser
def test_points_say_which_model_they_are(page):
  titles = page.run("[...document.querySelectorAll('#overview svg title')].map(t => t.textContent)")
  names = {title.split(":")[0] for title in titles}
  assert {f"model{i}" for i in range(4, 24)} <= names


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
  expected = {
    "overview",
    "correlation_matrix",
    "bias_by_bias",
    "influence",
    "prediction",
    "sign_error",
    "shape_bias",
  }
  expected |= {"pass_curves", "severity_curves", "critical_bands", "noise_maps", "series_MoCo_v3_epochs"}
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
  dataset = {"length": 5, "chunk_size": 5, "fingerprint": "0", "location": "drawn"}
  run = {"format": 3, "datasets": {"drawn": dataset}, "units": [unit]}
  (tmp_path / "run.json").write_text(json.dumps(run))
  assert command.run(asked) == 0
  text = (tmp_path / "study" / "models" / "model2.html").read_text(encoding="utf-8")
  for said in ("ab12", "25557032", "spectral", "seed = 7"):
    assert said in text
  other = (tmp_path / "study" / "models" / "model3.html").read_text(encoding="utf-8")
  assert "No certificate of conversion was found" in other


def test_models_of_different_names_have_pages_of_their_own():
  names = ["a b", "a~20b", "a%20b", "a/b", "~", "%7E", "A b"]
  assert len({file_name(name) for name in names}) == len(names)
