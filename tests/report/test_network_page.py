"""The page of one or two networks, made by a run of bundled ones, as text and in a browser."""

import base64
import html.parser
import io
import math
import pathlib
import re
import shutil
import subprocess
import sys

import chromium
import numpy as np
import pandas as pd
import pytest
from etils import epath
from PIL import Image

import board
from biasjax.cli import reporting
from biasjax.data import synthetic
from biasjax.errors import BiasjaxError
from biasjax.report import network as pages
from biasjax.report import scores
from biasjax.results import summary
from biasjax.statistics import difference_of_ratios
from deadline import DEADLINE_S

ROOT = pathlib.Path(__file__).parents[2]
NETWORKS = ("baseline_seed0", "stylised_seed0")
KEY = ["model", "dataset", "probe", "metric"]
MINUS = "\N{MINUS SIGN}"
NUMBER = re.compile(rf"[{MINUS}-]?\d+(?:\.\d+)?")
EXTERNAL = re.compile(
  r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import"""
)
needs_browser = pytest.mark.skipif(chromium.BROWSER is None, reason="no Chromium on PATH to open the page in")


def python(*arguments: object) -> subprocess.CompletedProcess:
  command = [sys.executable, *map(str, arguments)]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> pathlib.Path:
  """The working directory of a run of two networks, and in its flags.txt how it was started."""
  folder: pathlib.Path = tmp_path_factory.mktemp("networks")
  done = python("-m", "biasjax.data.builders.synthetic_conflict", "--per_category=0", f"--data_dir={folder}")
  assert done.returncode == 0, done.stderr
  drawn = "tfds:synthetic_conflict/64px_0"
  flags = [f"--models={','.join(f'demo/zoo/{name}.safetensors' for name in NETWORKS)}"]
  flags += [f"--dataset=drawn={drawn}@validation,conflict={drawn}@conflict", "--limit=96"]
  flags += ["--probes=accuracy,shape,spectral@drawn", f"--data_dir={folder}", f"--workdir={folder / 'out'}"]
  done = python("run.py", *flags, f"--report_to=tensorboard:{folder / 'board'}")
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == str(folder / "out/report.html")
  (folder / "flags.txt").write_text("\n".join(flags))
  return folder / "out"


@pytest.fixture(scope="module")
def of_one(measured) -> pathlib.Path:
  """The page of one of the networks, beside which the other stands."""
  shutil.copy(measured / "report.html", measured / "both.html")
  assert reporting.from_workdir({"workdir": str(measured), "models": [NETWORKS[0]]}) == 0
  return measured / "report-baseline_seed0.html"


class Read(html.parser.HTMLParser):
  """The texts of elements that say which number they are, rows of tables, and addresses."""

  def __init__(self, path: pathlib.Path):
    super().__init__()
    self.found: list[tuple[tuple[str, ...], str]] = []
    self.rows: list[list[tuple[tuple[str, ...], str]]] = []
    self.sources: list[str] = []
    self._key, self._text, self._open = (), "", ""
    self.feed(path.read_text(encoding="utf-8"))

  def handle_starttag(self, tag, attributes):
    of = dict(attributes)
    self.sources += [of[name] for name in ("src", "href") if name in of]
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "p"):
      self._open, self._text = tag, ""
      self._key = tuple(of["data-metric"].split("\n")) if "data-metric" in of else ()
    if of.get("class") == "who":
      self._text = ""

  def handle_data(self, data):
    self._text += data

  def handle_endtag(self, tag):
    if tag == "span" and self._open == "p":
      self._text = ""  # whose number it is
    if tag == self._open:
      if self._key:
        self.found.append((self._key, self._text.strip()))
      if tag == "td":
        self.rows[-1].append((self._key, self._text.strip()))
      self._open = ""


def numbers(text: str) -> list[tuple[float, int]]:
  """The numbers in a text, with their decimals."""
  texts = [found.replace(MINUS, "-") for found in NUMBER.findall(text.replace(",", " "))]
  return [(float(text), len(text.partition(".")[2])) for text in texts]


def assert_rounded(shown: list[tuple[float, int]], exact: list[float]):
  assert len(shown) == len(exact)
  for (value, decimals), expected in zip(shown, exact, strict=True):
    assert abs(value - expected) <= 0.5 * 10**-decimals + 1e-9


def test_figures_of_the_page_are_where_numbers_are_sent_to(measured):
  page = (measured / "report.html").read_text()
  assert page.count("<figure id=") >= 2
  for network in NETWORKS:
    folder = measured.parent / "board" / network
    assert {"shape-bias", "LPP", "HPP"} <= {tag for tag, *_ in board.scalars(folder)}
    shown = board.images(folder)
    assert set(shown) == set(re.findall('<figure id="([^"]+)"', page))
    assert all(Image.open(io.BytesIO(content)).width > 1000 for content in shown.values())


@pytest.mark.parametrize("page", ["both", "one"])
def test_every_number_is_that_of_metrics_csv_with_its_interval_and_only_that(page, measured, of_one):
  read = Read(of_one if page == "one" else measured / "both.html")
  table = pd.read_csv(measured / "metrics.csv").set_index(KEY)
  networks = NETWORKS[:1] if page == "one" else NETWORKS
  texts: dict[tuple, set[str]] = {}
  for key, text in read.found:
    texts.setdefault(key, set()).add(" ".join(text.split()))
    row = table.loc[key]
    exact = [] if math.isnan(row["value"]) else [row["value"]]
    exact += [] if math.isnan(row["low"]) else [row["low"], row["high"]]
    assert_rounded(numbers(text), exact)
  assert {key for key, said in texts.items() if len(said) > 1} == set()
  assert set(texts) == {key for key in table.index if key[0] in networks}
  assert len(read.found) > 1.05 * len(texts)  # some stand in the scorecard as well


def test_counts_and_chance_stand_beside_their_numbers(of_one, measured):
  table = pd.read_csv(measured / "metrics.csv").set_index(KEY)
  seen = 0
  for row in Read(of_one).rows:
    at = next((i for i, (key, _) in enumerate(row) if key), None)
    if at is None or len(row) != 6:  # measure, images, value, n, chance, flag
      continue
    of = table.loc[row[at][0]]
    assert_rounded(numbers(row[at + 1][1]), [of["n"]])
    assert_rounded(numbers(row[at + 2][1]), [] if math.isnan(of["chance"]) else [of["chance"]])
    said = [] if pd.isna(of["flag"]) else [of["flag"]]
    if row[at][0][3].endswith("/worst_class"):
      said.append(synthetic.CATEGORIES[int(of["value"])])
    assert row[at + 3][1] == "; ".join(said)
    seen += 1
  assert seen > 100


def test_differences_are_those_of_the_two_numbers_with_the_interval_of_the_file(measured):
  table = pd.read_csv(measured / "metrics.csv").set_index(KEY)["value"]
  written = pd.read_csv(measured / "differences.csv")
  assert {"top1_acc/drawn", "shape-bias", "LPP", "HPP"} <= set(written["metric"])
  for row in written.itertuples():
    first, second = (table[model, row.dataset, row.probe, row.metric] for model in (row.model, row.other))
    assert row.difference == pytest.approx(first - second)
    assert row.low <= row.difference <= row.high
  shown = [row for row in Read(measured / "report.html").rows if len(row) == 7 and row[3][1] in ("yes", "no")]
  for row, exact in zip(shown, written.itertuples(), strict=True):
    assert_rounded(numbers(row[2][1]), [exact.difference, exact.low, exact.high])
    assert_rounded(numbers(row[4][1]), [exact.smallest])
    assert (row[3][1] == "yes") == (exact.low > 0 or exact.high < 0)


def test_a_difference_of_numbers_that_rest_on_chance_says_so(measured):
  """What guessing leaves of clean accuracies differs as they do, and is told apart."""
  table = pd.read_csv(measured / "metrics.csv", keep_default_na=False).set_index(KEY)["flag"]
  written = pd.read_csv(measured / "differences.csv").set_index("metric").loc["HPP"]
  first, second = (table[name, "drawn", "spectral", "HPP"] for name in (written["model"], written["other"]))
  assert "not above chance" in first
  named = [f"{name}: {flag}" for name, flag in zip(NETWORKS, (first, second), strict=True) if flag]
  (row,) = [
    row
    for row in Read(measured / "report.html").rows
    if len(row) == 7 and row[0][1].endswith("(HPP)") and row[3][1] in ("yes", "no")
  ]
  assert row[6][1] == (first if first == second else "; ".join(named))


def test_where_nothing_is_compared_the_page_does_not_say_that_the_same_images_were_shown(measured, tmp_path):
  workdir = tmp_path / "out"
  shutil.copytree(measured, workdir)
  shutil.rmtree(workdir / "observations")
  assert reporting.from_workdir({"workdir": str(workdir), "models": list(NETWORKS)}) == 0
  text = (workdir / "report.html").read_text()
  assert "None of the numbers can be compared" in text
  assert "same images were shown" not in text


def test_a_difference_of_accuracies_is_the_paired_one(measured):
  """McNemar's variance, with the one discordant example that `difference_of_ratios` adds."""
  seen = pd.read_parquet(measured / "observations/drawn/accuracy")
  right = seen.assign(right=seen["rank"] == 0).pivot(index="example_id", columns="model", values="right")
  first, second = (right[name].to_numpy(float) for name in NETWORKS)
  n, d = len(first), first - second
  error = math.sqrt(n / (n - 1) * ((d - d.mean()) ** 2).sum() + 1) / n
  half = 1.985251 * error  # Student's t of 95 degrees of freedom
  written = pd.read_csv(measured / "differences.csv").set_index("metric").loc["top1_acc/drawn"]
  assert written["difference"] == pytest.approx(100 * d.mean(), rel=1e-4)
  # The end towards zero; a larger difference would vary more.
  near, far = ("low", "high") if d.mean() > 0 else ("high", "low")
  assert abs(written[near] - written["difference"]) == pytest.approx(100 * half, rel=1e-4)
  assert 100 * half - 1e-9 <= abs(written[far] - written["difference"]) < 1.6 * 100 * half
  assert written["n"] == n == 96


def test_the_smallest_difference_is_seen_in_four_of_five_cases(measured):
  """By simulation: pairs as discordant as those that were seen, whose true difference is the smallest."""
  written = pd.read_csv(measured / "differences.csv").set_index("metric").loc["top1_acc/drawn"]
  seen = pd.read_parquet(measured / "observations/drawn/accuracy")
  right = seen.assign(right=seen["rank"] == 0).pivot(index="example_id", columns="model", values="right")
  d = right[NETWORKS[0]].to_numpy(float) - right[NETWORKS[1]].to_numpy(float)
  n, discordant, true = len(d), float((d != 0).mean()), written["smallest"] / 100
  # The variance of one pair is what was seen: discordant - difference^2.
  both = discordant - d.mean() ** 2 + true**2
  rng = np.random.default_rng(0)
  told = 0
  for _ in range(400):
    pairs = rng.choice([1.0, -1.0, 0.0], size=n, p=[(both + true) / 2, (both - true) / 2, 1 - both])
    ones = np.ones(n)
    _, low, _ = difference_of_ratios(((pairs > 0).astype(float), ones), ((pairs < 0).astype(float), ones))
    told += low > 0
  assert told / 400 == pytest.approx(0.8, abs=0.06)


def test_pictures_that_flip_are_right_as_they_are_and_wrong_under_the_condition(measured):
  text = (measured / "both.html").read_text(encoding="utf-8")
  flips = re.findall(
    r'class="flip">(.*?)<p><span class="who">(.*?)</span>(\w+), taken for (\w+)<span class="who">(.*?)</',
    text,
    re.S,
  )
  assert {network for _, network, *_ in flips} == set(NETWORKS)
  seen = pd.read_parquet(measured / "observations/drawn").set_index(["model", "example_id", "condition"])
  for pictures, network, right, instead, example in flips:
    low, high = re.search(r"<figcaption>(lowest|highest) ([\d.]+)", pictures).groups()
    condition = f"{'low' if low == 'lowest' else 'high'}/{high}"
    clean, changed = (seen.loc[(network, example, c)] for c in ("clean", condition))
    assert clean["rank"] == 0
    assert changed["rank"] > 0
    assert example.startswith(right)
    assert instead != right
    assert pictures.count("data:image/jpeg") == 2


def test_pictures_are_small_jpegs_in_the_page(measured):
  addresses = [a for a in Read(measured / "both.html").sources if a.startswith("data:image")]
  assert len(addresses) > 10
  for address in addresses:
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
      assert image.format == "JPEG"
      assert max(image.size) <= 128
  assert (measured / "both.html").stat().st_size < 1e6


def test_the_page_of_one_says_where_it_stands(of_one):
  text = of_one.read_text(encoding="utf-8")
  assert "Among 1 others" in text
  assert re.search(r"\d of 2</td>", text)


def test_a_network_of_which_nothing_but_detail_is_known_has_a_page(tmp_path):
  (tmp_path / "metrics.csv").write_text(
    "model,dataset,probe,metric,value,low,high,n,chance,flag,detail,margin,effective_n,estimator,correlation,"
    "precision,seed,preprocessing,version\n"
    "a,imagenet-c,accuracy,top1_acc/fog_1@imagenet-c-incomplete,50.5,40.5,60.5,90,0.1,,True,,,,,float32,0,x,0\n"
  )
  found = scores.read(epath.Path(tmp_path), [], summary.columns)
  assert not len(found.main)
  assert "top1_acc/fog_1" in pages.html(found, pages.Beside(), [], "out")


def test_a_page_names_nothing_outside_itself(measured, of_one):
  for path in (measured / "both.html", of_one):
    assert not EXTERNAL.search(path.read_text(encoding="utf-8"))
    assert all(address.startswith(("#", "data:")) for address in Read(path).sources)


def test_where_the_images_are_gone_a_drawn_picture_is_shown(measured, tmp_path):
  copy = tmp_path / "out"
  shutil.copytree(measured, copy)
  run = (copy / "run.json").read_text()
  (copy / "run.json").write_text(run.replace(str(measured.parent), str(tmp_path / "nowhere")))
  assert reporting.from_workdir({"workdir": str(copy), "models": None}) == 0
  text = (copy / "report.html").read_text(encoding="utf-8")
  assert "spectral: a drawn picture" in text
  assert "spectral: an image of drawn" not in text


def test_it_is_switched_off_by_a_flag(measured, tmp_path):
  copy = tmp_path / "out"
  shutil.copytree(measured, copy)
  (copy / "report.html").unlink()
  flags = [flag for flag in (measured.parent / "flags.txt").read_text().split("\n") if "workdir" not in flag]
  done = python("run.py", *flags, f"--workdir={copy}", "--noreport")
  assert done.returncode == 0, done.stderr
  assert not (copy / "report.html").exists()


@pytest.mark.parametrize(
  ("asked", "message"),
  [
    ({"models": ["basline_seed0"]}, "holds no network called so: did you mean baseline_seed0?"),
    ({"models": [*NETWORKS, "third"]}, "--models=third: "),
    ({"workdir": "/nowhere", "models": None}, "/nowhere holds no results (no run.json): check --workdir"),
  ],
)
def test_a_mistake_is_one_line(measured, asked, message):
  with pytest.raises(BiasjaxError, match=re.escape(message)) as error:
    reporting.from_workdir({"workdir": str(measured), **asked})
  assert "\n" not in str(error.value)


def test_a_page_that_was_asked_for_and_cannot_be_made_is_an_error_of_the_run(tmp_path, capsys):
  asked = {"report": None, "beside": None}
  store = reporting.Store(epath.Path(tmp_path), create=True)
  assert reporting.after_run(store, ["a"], asked, {}, 1) == {}
  assert "no report was written" in capsys.readouterr().err
  with pytest.raises(BiasjaxError, match=r"holds no metrics.csv"):
    reporting.after_run(store, ["a"], asked | {"report": True}, {}, 1)


def test_a_page_is_of_no_more_than_two_networks(measured, tmp_path):
  shutil.copy(measured / "run.json", tmp_path)
  table = pd.read_csv(measured / "metrics.csv")
  third = table[table["model"] == NETWORKS[0]].assign(model="third")
  pd.concat([table, third]).to_csv(tmp_path / "metrics.csv", index=False)
  with pytest.raises(BiasjaxError, match=r"one or two networks, and 3 are in .*: name them with --models"):
    reporting.from_workdir({"workdir": str(tmp_path), "models": None})
  flags = [flag for flag in (measured.parent / "flags.txt").read_text().split("\n") if "models" not in flag]
  models = ",".join(f"demo/zoo/{name}.safetensors" for name in (*NETWORKS, "high_pass_seed0"))
  done = python("run.py", *flags, f"--models={models}", "--report")
  assert done.returncode == 1
  assert len(done.stderr.splitlines()) == 1
  assert "one or two networks, and 3 are asked for" in done.stderr


def test_each_pair_of_a_directory_has_differences_of_its_own(measured, tmp_path):
  shutil.copy(measured / "run.json", tmp_path)
  table = pd.read_csv(measured / "metrics.csv")
  pairs = (("a", "b-c"), ("a-b", "c"))  # joined by a minus these would be one name
  further = [table[table["model"] == NETWORKS[0]].assign(model=name) for pair in pairs for name in pair]
  pd.concat([table, *further]).to_csv(tmp_path / "metrics.csv", index=False)
  for pair in pairs:
    assert reporting.from_workdir({"workdir": str(tmp_path), "models": pair}) == 0
  for pair in pairs:
    page = (tmp_path / f"report-{'+'.join(pair)}.html").read_text()
    (named,) = re.findall(r"[^ ]*differences[^ ]*\.csv", page[page.index("<footer>") :])
    written = (tmp_path / named).read_text()
    assert written.startswith("model,other,")
    assert set(pair) <= set(re.findall(r"[\w-]+", page[: page.index("</title>")]))
    assert named == f"differences-{'+'.join(pair)}.csv"
  assert not (tmp_path / "differences.csv").exists()


# --- In a browser ------------------------------------------------------------------------------------------

# The lowest contrast (WCAG 2, relative luminance) of any text with what is behind it, and that text.
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let worst = [99, ""];
  for (const element of document.querySelectorAll("body *")) {
    if (!["script", "style", "title"].includes(element.tagName.toLowerCase())
        && [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
      const style = getComputedStyle(element);
      const ink = rgb(element instanceof SVGElement ? style.fill : style.color);
      let behind = element;
      while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
      const [a, b] = [light(ink), light(rgb(getComputedStyle(behind || document.body).backgroundColor))];
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (ratio < worst[0]) worst = [ratio, element.textContent.trim()];
    }
  }
  return worst;
})()"""


@pytest.fixture(
  params=[(390, False), (1280, False), (390, True), (1280, True)], ids=lambda p: f"{p[0]}{p[1]}"
)
def page(request, measured, tmp_path):
  width, dark = request.param
  with chromium.Page(tmp_path, width, 900, dark=dark) as opened:
    opened.open(measured / "report.html")
    yield opened


@needs_browser
def test_a_browser_finds_no_fault_and_can_read_it(page, measured):
  assert page.problems == []
  asked = {url for url in page.requests if not url.startswith("data:")}
  assert asked <= {"about:blank", (measured / "report.html").as_uri()}
  assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
  ratio, text = page.run(CONTRAST)
  assert ratio >= 4.5, text
  heights = page.run(
    "[...document.querySelectorAll('figure svg')].map(f => f.getBoundingClientRect().height)"
  )
  assert len(heights) == 2  # shape by category, pass curves
  assert min(heights) > 100
