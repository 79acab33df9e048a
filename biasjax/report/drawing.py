"""How figures look, and how they are kept: PNG and SVG to print, SVG for the page, CSV behind them."""

import dataclasses
import io
import pathlib
import re
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

import cycler
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# What follows the page's ink, and its other colours: {on paper and in light: in the dark}, each at 4.5:1 at
# least against what is behind it. The categories' are told apart by their markers as well.
INK, QUIET, GRID, PAPER = "#1b1b1f", "#5a5a63", "#d4d4da", "#fefefe"
BLUE, RED, ORANGE = "#0067a5", "#b84300", "#8f5d00"
THEME = {
  BLUE: "#5aaeea",
  ORANGE: "#f0b94d",
  "#a8417f": "#e9a3cc",
  "#2a7596": "#8fd3f4",
  RED: "#ff9a63",
  "#00734f": "#4fd0aa",
  "#6b5318": "#cdb06a",
  "#66666d": "#b4b4be",
}
COLOURS = (INK, *THEME)
MARKERS = ("D", "o", "s", "^", "v", "p", "P", "X", "<")
ON_IMAGE = ("#ffffff", "#000000")  # of marks on a coloured image, whatever the page's colours are
OWN = ("#d1006c", "#ff7ab8")  # one's own networks among reference rows, likewise
WIDTH = 9.4  # of every figure, inches
DIVERGING = "PuOr_r"
SEQUENTIAL = "cividis"
DPI = 160
STYLE: Any = {
  "font.family": "sans-serif",
  "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
  "font.size": 8,
  "axes.titlesize": 8.5,
  "axes.titley": 1.0,
  "axes.labelsize": 8,
  "legend.fontsize": 7.5,
  "text.color": INK,
  "axes.labelcolor": INK,
  "axes.edgecolor": INK,
  "axes.linewidth": 0.6,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "axes.prop_cycle": cycler.cycler(color=COLOURS),
  "axes.facecolor": "none",
  "figure.facecolor": "none",
  "grid.color": GRID,
  "grid.linewidth": 0.5,
  "xtick.color": INK,
  "ytick.color": INK,
  "xtick.major.width": 0.6,
  "ytick.major.width": 0.6,
  "legend.frameon": False,
  "text.parse_math": False,  # names may hold a $
  "text.hinting": "none",  # at this resolution it shows in nothing but the time that it takes
  "svg.fonttype": "none",
  "figure.constrained_layout.use": True,
}
VARIABLES = {INK: "--ink", QUIET: "--quiet", GRID: "--grid", PAPER: "--paper", OWN[0]: "--own"}
VARIABLES |= {colour: f"--c{i}" for i, colour in enumerate(THEME)}
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


@dataclasses.dataclass
class Drawing:
  """A figure and what is behind it.

  Attributes:
    name: of its files.
    title: a heading.
    caption: what it shows and how to read it; also its description for those who cannot see it.
    figure: as drawn.
    data: the numbers behind it.
    section: of the page.
    points: {gid of a collection: what each of its points is called}, shown on hovering.
  """

  name: str
  title: str
  caption: str
  figure: Figure
  data: pd.DataFrame
  section: str
  points: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Kept:
  """What a page needs of a figure whose files are written: of `Drawing`, and its SVG for the page."""

  name: str
  title: str
  caption: str
  section: str
  svg: str


def colours(categories: Sequence[str]) -> dict[str, tuple[str, str]]:
  """{category: (colour, marker)}, the same in every figure; beyond nine, pairs that are still distinct."""
  return {
    name: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
    for i, name in enumerate(categories)
  }


def figure(height: float) -> Figure:
  """An empty figure of the one width, so many inches high."""
  return Figure(figsize=(WIDTH, height))


def quoted(name: str) -> str:
  """A name as a part of a file's, another one for each; names may hold anything."""
  return urllib.parse.quote(name, safe="").replace("~", "%7E").replace("%", "~")


def words(name: str) -> str:
  """A category's name as a figure shows it."""
  return name.replace("_", " ")


def keep(drawing: Drawing, folder: pathlib.Path) -> Kept:
  """Writes the PNG, SVG and CSV."""
  drawn, path = drawing.figure, folder / drawing.name
  drawing.data.to_csv(f"{path}.csv", index=False)
  drawn.set_facecolor("white")
  with mpl.rc_context({**STYLE, "svg.hashsalt": drawing.name}):
    # Drawn once for each file, and laid out only the first time: figure.savefig would draw five times.
    drawn.set_dpi(DPI)
    FigureCanvasAgg(drawn).print_png(f"{path}.png", pil_kwargs={"compress_level": 3})
    drawn.set_layout_engine("none")
    drawn.set_dpi(72)
    FigureCanvasSVG(drawn).print_svg(f"{path}.svg", metadata={"Date": None, "Title": drawing.title})
  text = pathlib.Path(f"{path}.svg").read_text(encoding="utf-8")
  return Kept(drawing.name, drawing.title, drawing.caption, drawing.section, for_page(text, drawing))


def inline(drawing: Drawing) -> str:
  """The SVG for a page that has no files beside it."""
  text = io.StringIO()
  drawing.figure.set_dpi(72)
  with mpl.rc_context({**STYLE, "svg.hashsalt": drawing.name}):
    FigureCanvasSVG(drawing.figure).print_svg(text, metadata={"Date": None, "Title": drawing.title})
  return for_page(text.getvalue(), drawing)


def pixels(drawing: Drawing) -> np.ndarray:
  """The figure as an image, uint8 [h, w, 3]."""
  with mpl.rc_context(STYLE):
    drawing.figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(drawing.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def for_page(text: str, drawing: Drawing) -> str:
  """An SVG that can stand in a page beside others: own ids, the page's colours, names on hovering."""
  ET.register_namespace("", SVG)
  ET.register_namespace("xlink", XLINK)
  root = ET.fromstring(text[text.index("<svg") :])
  for parent in root.iter():
    for child in list(parent):
      if child.tag == f"{{{SVG}}}metadata" or child.get("id") == "patch_1":
        parent.remove(child)  # the white paper of the whole figure
  width, height = root.attrib.pop("width"), root.attrib.pop("height")
  root.set("style", f"aspect-ratio: {width[:-2]} / {height[:-2]}")
  root.set("role", "img")
  root.set("aria-label", f"{drawing.title}. {drawing.caption}")
  for gid, names in drawing.points.items():
    _name_points(root, gid, names)
  text = ET.tostring(root, encoding="unicode")
  text = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
  prefix = f"{drawing.name}-"
  text = re.sub(r'\bid="', f'id="{prefix}', text)
  text = re.sub(r'href="#', f'href="#{prefix}', text)
  text = re.sub(r"url\(#", f"url(#{prefix}", text)
  for colour, variable in VARIABLES.items():
    text = text.replace(colour, f"var({variable})")
  return text


def _name_points(root: ET.Element, gid: str, names: Sequence[str]) -> None:
  """Gives the points of a collection, which are in its order, their names."""
  group = next(node for node in root.iter(f"{{{SVG}}}g") if node.get("id") == gid)
  drawn = [
    (parent, child)
    for parent in group.iter()
    if parent.tag != f"{{{SVG}}}defs"
    for child in list(parent)
    if child.tag in (f"{{{SVG}}}use", f"{{{SVG}}}path")
  ]
  for (_, child), name in zip(drawn, names, strict=True):
    ET.SubElement(child, f"{{{SVG}}}title").text = name
