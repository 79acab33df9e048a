"""The page of one or two networks: one file that loads nothing, to be read on a screen or printed."""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe
import matplotlib as mpl
import numpy as np
import pandas as pd
from PIL import Image

from biasjax.report import paired, portraits, scores, standing
from biasjax.report.cells import Cell, Grid, interval, text_cell
from biasjax.report.drawing import STYLE, Drawing, inline
from biasjax.report.page import environment
from biasjax.report.scores import Scores
from biasjax.study.verdict import number
from biasjax.terminal import PER_CENT
from biasjax.version import __version__

THUMBNAIL = 128  # pixels of a side
QUALITY = 80
# What a reader wants first, of those that were measured.
GLANCE = (
  *(r"top1_acc/imagenet", r"shape-bias", r"LPP", r"HPP"),
  *(r"criticalband/continuous/bw_norm", r"criticalband/continuous/cf_norm"),
)
MOST_TILES = 8
MOST_NAMED = 5  # numbers that are not compared for one reason
ATTACKS = ("pgd", "fgsm", "autoattack")
TILES = {
  **{"accuracy": "Accuracy, {0}", "critical_band": "Critical band: {0}"},
  **dict.fromkeys(ATTACKS, "Accuracy under {0}"),
}


@dataclasses.dataclass(frozen=True)
class Picture:
  """An image with what is said of it.

  Attributes:
    caption: a line.
    pixels: uint8 [h, w, 3], or float in [0, 1].
  """

  caption: str
  pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Flipped:
  """A picture that a network gets right, and wrong under a condition.

  Attributes:
    model: whose decision it is.
    condition: what was done to it, in words.
    example_id: which it is.
    right, instead: the class, and what the network says under the condition.
    clean, changed: as the network sees it; None where that is not there any more.
  """

  model: str
  condition: str
  example_id: str
  right: str
  instead: str
  clean: np.ndarray | None
  changed: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Beside:
  """What a page shows beside the networks' numbers.

  Attributes:
    kinds: dataset -> what its labels are.
    classes: dataset -> what its classes are called, by label.
    pixels: dataset -> pixels of a side, as networks see its images.
    people: of `trials.by_category`, or None.
    differences: of `paired.differences`, or None.
    differences_file: what they are called as a file.
    among: reference networks, float [networks, columns of results.csv].
    means: what a metric is the mean of (`standing.grid`).
    conditions: a title, and the same image under some conditions.
    flips: pictures that flip.
    notes: what the numbers should be read with, a sentence each.
  """

  kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
  classes: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)
  pixels: Mapping[str, int] = dataclasses.field(default_factory=dict)
  people: pd.DataFrame | None = None
  differences: pd.DataFrame | None = None
  differences_file: str = "differences.csv"
  among: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
  means: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  conditions: Sequence[tuple[str, Sequence[Picture]]] = ()
  flips: Sequence[Flipped] = ()
  notes: Sequence[str] = ()


def drawings(found: Scores, beside: Beside) -> list[Drawing]:
  """The figures of the page."""
  with mpl.rc_context(STYLE):
    return list(portraits.drawings(found, beside.kinds, beside.pixels, beside.people, beside.among))


def html(found: Scores, beside: Beside, drawn: Sequence[Drawing], workdir: str) -> str:
  """The page.

  Args:
    found: its numbers.
    beside: what stands beside them.
    drawn: its figures.
    workdir: what the working directory is called.
  """
  with mpl.rc_context(STYLE):
    figures = [
      {"section": d.section, "title": d.title, "name": d.name, "caption": d.caption}
      | {"svg": markupsafe.Markup(inline(d))}
      for d in drawn
    ]
  sections = []
  for title, text, table in scores.grids(found):
    mine = [figure for figure in figures if figure["section"] == title]
    sections.append({"title": title, "text": text, "table": table, "figures": mine})
  return (
    environment()
    .get_template("network.html.j2")
    .render(
      models=found.models,
      workdir=workdir,
      version=__version__,
      tiles=_tiles(found),
      sections=sections,
      differences_file=beside.differences_file,
      compared=_compared(beside.differences, found) if beside.differences is not None else None,
      left_out=_left_out(beside.differences) if beside.differences is not None else [],
      standing=standing.grid(found, beside.among, beside.means) if len(beside.among) else None,
      conditions=[(title, [_shown(p) for p in pictures]) for title, pictures in beside.conditions],
      flips=[_flip(flip) for flip in beside.flips],
      several=len(found.models) > 1,
      sampled=bool(found.own["margin"].notna().any()),
      notes=beside.notes,
      everything=scores.everything(found, beside.classes),
    )
  )


def _tiles(found: Scores) -> list[dict[str, Any]]:
  """The few numbers that a reader wants first."""
  main = found.main
  keys = list(dict.fromkeys(zip(main["dataset"], main["probe"], main["metric"], strict=True)))
  wanted = [key for key in keys if scores.module(key[1]) == "accuracy"][:1]
  wanted += [key for name in GLANCE for key in keys if key[2] == name]
  wanted += [key for key in keys if scores.module(key[1]) in ATTACKS][-1:]
  tiles = []
  wanted = list(dict.fromkeys(wanted))[:MOST_TILES]
  metrics = [metric for _, _, metric in wanted]
  for key in wanted:
    rows = main[(main[["dataset", "probe", "metric"]] == list(key)).all(axis=1)]
    decimals = scores.digits(rows)
    values = []
    for row in rows.itertuples():
      big, _, interval = scores.shown(row, decimals).partition(" ")
      metric = "\n".join((row.model, row.dataset, row.probe, row.metric))
      values.append(
        {"model": row.model, "big": big, "interval": interval, "flag": row.flag, "metric": metric}
      )
    title = TILES.get(scores.module(key[1]), "{0}").format(scores.label(key[2]))
    title += f" ({key[0]})" if metrics.count(key[2]) > 1 else ""
    tiles.append({"title": title, "values": values})
  return tiles


def _compared(differences: pd.DataFrame, found: Scores) -> Grid:
  by_number = found.own.groupby(scores.KEY[1:])
  of = {key: dict(zip(rows["model"], rows.itertuples(), strict=True)) for key, rows in by_number}
  rows = []
  for c in differences.itertuples():
    decimals = 1 if c.metric.startswith(PER_CENT) else 3
    text = f"{number(c.difference, decimals)} {interval(c.low, c.high, decimals)}"
    apart = "yes" if c.low > 0 or c.high < 0 else "no"
    row = [
      Cell(scores.label(c.metric), kind="wraps"),
      text_cell(c.dataset),
      Cell(text, sort=c.difference, kind="n"),
    ]
    row += [
      Cell(apart, strong="holds" if apart == "yes" else ""),
      Cell(number(c.smallest, decimals), kind="n"),
    ]
    flag = scores.flags(of.get((c.dataset, c.probe, c.metric), {}))
    rows.append([*row, Cell(f"{c.n:,}", kind="n"), Cell(flag, kind="flag")])
  columns = ["measure", "images", "difference [95 % interval]", "told apart", "could have been seen", "n"]
  columns.append("read with")
  return Grid("The first less the second", columns, rows)


def _left_out(differences: pd.DataFrame) -> list[str]:
  """Which numbers are not compared, and why, a sentence for each reason and dataset."""
  named: dict[tuple[str, str], list[str]] = {}
  for (dataset, metric), why in differences.attrs.get(paired.LEFT_OUT, {}).items():
    named.setdefault((dataset, why), []).append(scores.label(metric))
  said = []
  for (dataset, why), labels in named.items():
    more = f" and {len(labels) - MOST_NAMED:,} more" if len(labels) > MOST_NAMED else ""
    said.append(f"{'; '.join(labels[:MOST_NAMED])}{more} ({dataset}): {why}")
  return said


def _shown(picture: Picture) -> dict[str, str]:
  return {"caption": picture.caption, "uri": data_uri(picture.pixels)}


def _flip(flip: Flipped) -> dict[str, Any]:
  pictures = [("clean", flip.clean), (flip.condition, flip.changed)]
  shown = [{"caption": caption, "uri": data_uri(of)} for caption, of in pictures if of is not None]
  return {
    **{k: getattr(flip, k) for k in ("model", "condition", "example_id", "right", "instead")},
    "pictures": shown,
  }


def data_uri(pixels: np.ndarray) -> str:
  """A small JPEG in the page itself, of uint8 [h, w, 3] or float [h, w, 3] in [0, 1]."""
  if pixels.dtype != np.uint8:
    pixels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
  image = Image.fromarray(pixels)
  if max(image.size) > THUMBNAIL:
    image = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
  file = io.BytesIO()
  image.save(file, "JPEG", quality=QUALITY)
  return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
