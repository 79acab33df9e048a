"""Writes a study down: study.json, tables as CSV and LaTeX, and a summary for a terminal."""

import dataclasses
import json
import math
import pathlib
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from biasjax.errors import BiasjaxError
from biasjax.messages import counted
from biasjax.results.store import write_file
from biasjax.study import verdict
from biasjax.study.analysis import Study, models
from biasjax.study.correlation import deciding
from biasjax.study.significance import ALPHA, smallest_significant
from biasjax.version import __version__

WIDTH = 110  # of the summary on the terminal
# Points of figures, of which CSV is enough.
CSV_ONLY = ("predicted", "without_model", "sign_error", "series")
BESIDE = ("agreement", "forgetting")  # what is said on the terminal beside the answer


def write(study: Study, folder: pathlib.Path, seed: int, source: Mapping[str, Any]) -> None:
  """Writes study.json, tables/*.csv and tables/*.tex.

  Args:
    study: what was found.
    folder: made if absent.
    seed: of the resampling.
    source: what the study was made of: paths as given.

  Raises:
    BiasjaxError: the folder cannot be written.
  """
  # Each file is written whole, and none before all are made: what stops a study in its middle, a mistake or
  # a kill, leaves no half of a file, and hardly new ones beside those of the study before.
  tables = {"models": models(study).reset_index(), **study.tables}
  texts = {f"tables/{name}.csv": table.to_csv(index=False) for name, table in tables.items()}
  texts |= {f"tables/{name}.tex": text for name, text in latex_tables(study).items()}
  known = json.dumps(as_json(study, seed, source), indent=1, allow_nan=False, ensure_ascii=False)
  texts["study.json"] = known + "\n"
  try:
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
      write_file(epath.Path(folder / name), text.encode())
  except OSError as error:
    raise BiasjaxError(f"--output: cannot write {error.filename or folder}: {error.strerror}") from error


def as_json(study: Study, seed: int, source: Mapping[str, Any]) -> dict[str, Any]:
  """Everything as plain JSON; missing numbers are null."""
  tables = {name: records(table) for name, table in study.tables.items() if name != "predicted"}
  counts = {name: int(members.sum()) for name, members in study.groups.items()}
  return {
    "biasjax": __version__,
    "source": dict(source),
    "seed": seed,
    "draws": study.definitions.draws,
    "definitions": plain(dataclasses.asdict(study.definitions)),
    "groups": [
      {"group": name, "n": n, "smallest_significant": plain(smallest_significant(n))}
      for name, n in counts.items()
    ],
    "notes": list(study.notes),
    "answer": list(study.answer),
    "verdict": [dataclasses.asdict(sentence) for sentence in study.sentences],
    "models": records(models(study).reset_index()),
    **tables,
  }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
  """Rows as plain dictionaries."""
  return [{str(key): plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def plain(value: Any) -> Any:
  """NumPy to Python; what is not finite becomes None."""
  if isinstance(value, Mapping):
    return {str(key): plain(v) for key, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(v) for v in value]
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def latex_tables(study: Study) -> dict[str, str]:
  """{name: a booktabs tabular}: the correlations as a paper prints them, and the plain tables."""
  tables = {"correlations": _latex_correlations(study)}
  for name, table in study.tables.items():
    if name not in (*CSV_ONLY, "correlations") and len(table):
      cells = [[_latex_cell(value) for value in row] for row in table.itertuples(index=False)]
      tables[name] = _tabular([escape(str(c)) for c in table.columns], cells)
  return tables


def _latex_correlations(study: Study) -> str:
  """Biases and groups down, axes across; bold after Holm, grey where the permutation p reaches .05."""
  cells = study.tables["correlations"].set_index(["bias", "axis", "group"])
  rows = []
  for bias in study.biases:
    for i, group in enumerate(study.groups):
      row = [
        "" if i else escape(study.labels[bias]),
        escape(group),
        str(cells.loc[bias].xs(group, level="group")["n"].max()),
      ]
      rows.append(row + [_latex_correlation(cells.loc[(bias, axis, group)]) for axis in study.axes])
  return _tabular(["Bias", "Models", "$n$", *(escape(study.labels[a]) for a in study.axes)], rows)


def _latex_correlation(cell: pd.Series) -> str:
  if not math.isfinite(cell["spearman"]):
    return "--"
  text = f"{cell['spearman']:z.2f}"
  low, high = deciding(cell)
  if math.isfinite(low):
    text += f"\\,{_ends(low, high)}"
  text = f"${text}$"
  if cell["p_holm"] < ALPHA:
    return f"\\boldmath{text}"
  return text if cell["p_permutation"] < ALPHA else f"\\textcolor{{gray}}{{{text}}}"


def _ends(low: float, high: float) -> str:
  return f"[{verdict.edge(low)}, {verdict.edge(high)}]".replace(verdict.MINUS, "-")


def _latex_cell(value: Any) -> str:
  if isinstance(value, (float, np.floating)):
    number, _, power = verdict.rounded(float(value), form="g").partition("e")
    number += rf" \times 10^{{{int(power)}}}" if power else ""  # in a formula "e" would be a factor
    return f"${number}$" if math.isfinite(value) else "--"
  return "--" if value is None else escape(str(value))


def _tabular(header: list[str], rows: list[list[str]]) -> str:
  lines = [
    f"\\begin{{tabular}}{{{'l' * len(header)}}}",
    "\\toprule",
    " & ".join(header) + r" \\",
    "\\midrule",
  ]
  lines += [" & ".join(row) + r" \\" for row in rows]
  return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def escape(text: str) -> str:
  """Text that LaTeX sets as it is."""
  replaced = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
  replaced |= {c: "\\" + c for c in "&%$#_{}"} | {"<": "$<$", ">": "$>$", verdict.MINUS: "$-$"}
  return "".join(replaced.get(c, c) for c in text)


def text_summary(study: Study) -> str:
  """The correlations of all models and the answer, for a terminal."""
  group = study.definitions.groups[0].name
  cells = study.tables["correlations"].set_index(["group", "bias", "axis"])
  rows = [["", *(study.labels[a] for a in study.axes)]]
  for bias in study.biases:
    rows.append([study.labels[bias], *(_text_cell(cells.loc[(group, bias, a)]) for a in study.axes)])
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  over = "families" if len(study.table.categories) > 1 else "models"
  lines = [
    f"Spearman over {counted(int(study.groups[group].sum()), 'model')}, 95 % intervals over {over}; "
    "* permutation p < .05, ** also after Holm"
  ]
  lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
  said = [sentence.text for sentence in study.sentences if sentence.level in BESIDE]
  lines += [
    "",
    *(
      line
      for text in [" ".join(study.answer), *said]
      for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    ),
  ]
  return "\n".join(lines)


def _text_cell(cell: pd.Series) -> str:
  if not math.isfinite(cell["spearman"]):
    return "not computed"
  star = "**" if cell["p_holm"] < ALPHA else "*" if cell["p_permutation"] < ALPHA else ""
  low, high = deciding(cell)
  return f"{cell['spearman']:z.2f}{star}" + (f" {_ends(low, high)}" if math.isfinite(low) else "")
