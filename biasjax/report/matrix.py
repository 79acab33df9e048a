"""The first thing that a page shows: every bias against every axis, as a table that a phone can show."""

import dataclasses
import math
from typing import Any

import pandas as pd

from biasjax.messages import counted
from biasjax.report.cells import Key, interval
from biasjax.report.curves import PUBLISHED_PIXELS
from biasjax.study.analysis import Study
from biasjax.study.correlation import deciding
from biasjax.study.significance import ALPHA
from biasjax.study.verdict import DASH, ESTABLISHED, number

DEEPEST = 58  # per cent of a colour behind a number, so that the page's ink is read on it


@dataclasses.dataclass(frozen=True)
class Entry:
  """One correlation.

  Attributes:
    text, interval: as shown.
    depth: of the colour, per cent; 0 where the permutation p is .05 or more.
    sign: "rises" or "falls".
    established: whether it stands every check.
    keys: where the numbers come from.
  """

  text: str
  interval: str
  depth: int
  sign: str
  established: bool
  keys: tuple[Key, ...]


def matrix(study: Study) -> dict[str, Any]:
  """What the template wants: axes, and rows of (label, entries), over all models."""
  group = study.definitions.groups[0].name
  cells = study.tables["correlations"]
  claims = study.tables["claims"].set_index(["bias", "axis", "group"])["status"]
  of = {(c["bias"], c["axis"]): (i, c) for i, c in cells.iterrows() if c["group"] == group}
  rows = []
  for bias in study.biases:
    entries = [_entry(*of[bias, axis], claims[bias, axis, group] == ESTABLISHED) for axis in study.axes]
    rows.append((study.labels[bias], entries))
  return {"axes": [study.labels[axis] for axis in study.axes], "rows": rows}


def _entry(row: Any, cell: pd.Series, established: bool) -> Entry:
  value = cell["spearman"]
  if not math.isfinite(value):
    return Entry(DASH, "", 0, "rises", False, ())
  low, high = deciding(cell)
  prefix = "family_" if math.isfinite(cell["family_low"]) else ""
  shown = interval(low, high)
  fields = ("spearman", f"{prefix}low", f"{prefix}high") if shown else ("spearman",)
  depth = round(DEEPEST * abs(value)) if cell["p_permutation"] < ALPHA else 0
  sign = "rises" if value > 0 else "falls"
  keys = tuple(("correlations", int(row), field) for field in fields)
  return Entry(number(value), shown, depth, sign, established, keys)


def terms(study: Study) -> list[tuple[str, str]]:
  """(word, what it means) of every bias and axis."""
  defined = [study.definitions.biases[name] for name in study.biases]
  defined += [study.definitions.axes[name] for name in study.axes]
  said = []
  for measure in defined:
    about = (
      measure.about or f"mean of {', '.join(measure.mean[:3])}{', ...' if len(measure.mean) > 3 else ''}"
    )
    # Cycles an image mean something else at another size, as in the figure of critical bands.
    other = study.pixels not in (None, PUBLISHED_PIXELS) and any("criticalband" in c for c in measure.mean)
    people = f"; people: {measure.human:g}" if measure.human is not None and not other else ""
    said.append((measure.label or measure.name, about + people))
  return said


def groups(study: Study) -> list[tuple[str, str]]:
  """(name, how many models it has and which) of every group but that of all models."""
  said = []
  for group in study.definitions.groups[1:]:
    who = f"only {_names(group.only)}" if group.only else "all"
    who += f" but {_names(group.without)}" if group.without else ""
    said.append((group.name, f"{counted(int(study.groups[group.name].sum()), 'model')}, {who}"))
  return said


def _names(categories: tuple[str, ...]) -> str:
  return " and ".join(category.replace("_", " ") for category in categories)
