"""The page of a study, and a page for each model: static, self-contained, readable on a phone."""

import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.report import cards, chance
from biasjax.report.cells import Cell, Grid, number_cell, text_cell, verdict_cell
from biasjax.report.drawing import Drawing
from biasjax.study import fragility, verdict
from biasjax.study.analysis import Study, models
from biasjax.study.verdict import number
from biasjax.version import __version__

SECTIONS = ("Relations", "How fragile", "Prediction", "Series", "Agreement", "Measurements")
STYLES = {verdict.CONDITIONAL: "depends"}
SILENT = ("summary", "limit", "prediction", "order", "agreement", "forgetting")  # levels that need no badge
BADGES = {"paradox": "Simpson's paradox", verdict.CONDITIONAL: "depends on a definition"}


def environment() -> jinja2.Environment:
  """The templates; what they are given is escaped, and a name they lack is an error."""
  return jinja2.Environment(
    loader=jinja2.PackageLoader("biasjax.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
  )


def write(
  study: Study,
  drawn: Sequence[tuple[Drawing, str]],
  folder: pathlib.Path,
  source: Mapping[str, Any],
  seed: int,
  provenance: cards.Provenance,
) -> None:
  """Writes index.html and models/*.html.

  Args:
    study: what was found.
    drawn: of `draw.draw`.
    folder: where study.json and figures/ are.
    source: paths as given.
    seed: of the resampling.
    provenance: certificates and keys of the models.

  Raises:
    BiasjaxError: the folder cannot be written.
  """
  templates = environment()
  index = templates.get_template("index.html.j2").render(
    n=len(study.biases),
    source=pathlib.Path(source["table"]).name,
    draws=f"{study.definitions.draws:,}",
    seed=seed,
    version=__version__,
    verdict=[_sentence(s) for s in study.sentences if s.level != verdict.FRAGILE],
    fragile=[_sentence(s) for s in study.sentences if s.level == verdict.FRAGILE],
    notes=study.notes,
    sections=_sections(study, drawn),
    models=_models(study),
  )
  try:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "index.html").write_text(index, encoding="utf-8")
    card = templates.get_template("model.html.j2")
    for model in study.biases.index:
      text = card.render(version=__version__, **cards.card(study, model, provenance))
      (folder / "models" / cards.file_name(model)).write_text(text, encoding="utf-8")
  except OSError as error:
    raise BiasjaxError(f"--output: cannot write {error.filename or folder}: {error.strerror}") from error


def _sentence(sentence: verdict.Sentence) -> dict[str, str]:
  badge = "" if sentence.level in SILENT else BADGES.get(sentence.level, sentence.level)
  style = STYLES.get(sentence.level, sentence.level.replace(" ", "-"))
  return {"style": style, "badge": badge, "text": sentence.text, "numbers": sentence.numbers}


def _sections(study: Study, drawn: Sequence[tuple[Drawing, str]]) -> list[dict[str, Any]]:
  sections = []
  for title in SECTIONS:
    figures = [
      {**{k: getattr(d, k) for k in ("name", "title", "caption")}, "svg": markupsafe.Markup(svg)}
      for d, svg in drawn
      if d.section == title
    ]
    tables = [grid for grid in _tables(study, title) if grid.rows]
    if figures or tables:
      id_ = re.sub(r"\W+", "-", title.lower())
      sections.append({"title": title, "id": id_, "figures": figures, "tables": tables})
  return sections


def _tables(study: Study, section: str) -> list[Grid]:
  if section == "Relations":
    return [_correlations(study)]
  if section == "How fragile":
    return [_claims(study), _failing(study), _within(study)]
  if section == "Prediction":
    return [_prediction(study), _sign_error(study)]
  if section == "Agreement":
    return _agreement(study)
  if section == "Series":
    return [_trends(study), _forgetting(study)]
  return []


def _interval(low: float, high: float) -> Cell:
  if not math.isfinite(low):
    return text_cell("")
  return Cell(f"[{number(low)}, {number(high)}]", sort=high - low, kind="n")


def _p(value: float) -> Cell:
  if not math.isfinite(value):
    return text_cell("")
  return Cell("<.001" if value < 0.001 else f"{value:.3f}"[1 if value < 1 else 0 :], sort=value, kind="n")


def _correlations(study: Study) -> Grid:
  columns = ["bias", "axis", "models", "n", "ties", "Spearman", "95 % over families", "95 % over models"]
  columns += ["permutation p", "Holm p", "BH p", "Student's p", "Pearson", "Kendall", "why not"]
  rows = []
  for c in study.tables["correlations"].itertuples():
    ties = max(c.ties_bias, c.ties_axis) if c.n else 0
    row = [text_cell(study.labels[c.bias]), text_cell(study.labels[c.axis]), text_cell(c.group)]
    row += [number_cell(c.n, 0), number_cell(ties, 0), number_cell(c.spearman)]
    row += [_interval(c.family_low, c.family_high), _interval(c.low, c.high)]
    row += [_p(c.p_permutation), _p(c.p_holm), _p(c.p_bh), _p(c.p)]
    row += [number_cell(c.pearson), number_cell(c.kendall)]
    rows.append([*row, text_cell("" if pd.isna(c.reason) else c.reason)])
  return Grid("Every bias against every axis", columns, rows, "tables/correlations.csv")


def _claims(study: Study) -> Grid:
  rows = []
  checks = study.tables["checks"]
  cells = checks.groupby(["bias", "axis", "group"], sort=False)
  counted = cells["verdict"].value_counts().unstack(fill_value=0)
  for c in study.tables["claims"].itertuples():
    counts = counted.loc[(c.bias, c.axis, c.group)]
    words = fragility.claim(c.spearman, c.p, study.labels[c.bias], study.labels[c.axis])
    row = [Cell(words, kind="long"), text_cell(c.group), number_cell(c.spearman)]
    style = {verdict.ESTABLISHED: "holds", verdict.CONDITIONAL: "weakens", verdict.FRAGILE: "flips"}
    row.append(Cell(c.status, strong=style.get(c.status, "none")))
    row += [number_cell(counts.get(v, 0), 0) for v in OUTCOMES]
    rows.append(row)
  columns = ["claim", "models", "Spearman", "status", *OUTCOMES]
  return Grid("Where each claim stands, and in how many checks", columns, rows, "tables/claims.csv")


OUTCOMES = (fragility.HOLDS, fragility.WEAKENS, fragility.FLIPS, fragility.APPEARS)


def _failing(study: Study) -> Grid:
  rows = []
  for c in study.tables["checks"].itertuples():
    if c.verdict in OUTCOMES[1:]:
      row = [
        Cell(c.claim, kind="long"),
        text_cell(c.group),
        number_cell(c.spearman),
        text_cell(c.check.replace("_", " ")),
      ]
      rows.append(
        [*row, number_cell(c.n, 0), number_cell(c.checked), _p(c.checked_p), verdict_cell(c.verdict)]
      )
  columns = ["claim", "models", "Spearman", "check", "n", "in the check", "p", "verdict"]
  return Grid("Checks in which a claim does not hold", columns, rows, "tables/checks.csv", folded=True)


def _within(study: Study) -> Grid:
  rows = []
  for c in study.tables["within"].itertuples():
    if math.isfinite(c.within):
      row = [text_cell(study.labels[c.bias]), text_cell(study.labels[c.axis]), text_cell(c.group)]
      row += [number_cell(c.pooled), _p(c.pooled_p), number_cell(c.within), _p(c.within_p)]
      rows.append([*row, Cell("Simpson's paradox", strong="flips") if c.simpson else text_cell("")])
  columns = ["bias", "axis", "models", "pooled", "p", "within categories", "p within", "reversal"]
  return Grid("Pooled, and within categories", columns, rows, "tables/within.csv")


def _prediction(study: Study) -> Grid:
  rows = []
  for c in study.tables["prediction"].itertuples():
    row = [text_cell(study.labels[c.axis]), text_cell(c.predictor), text_cell(c.inputs), number_cell(c.n, 0)]
    row += [number_cell(c.r2), _interval(c.family_low, c.family_high), _interval(c.low, c.high)]
    row += [number_cell(c.gain), _interval(c.gain_family_low, c.gain_family_high)]
    rows.append([*row, _interval(c.gain_low, c.gain_high)])
  columns = ["axis", "predictor", "from", "n", "R²", "95 % over families", "95 % over models"]
  columns += ["gain over accuracy", "over families", "over models"]
  return Grid("Prediction of left-out categories", columns, rows, "tables/prediction.csv")


def _sign_error(study: Study) -> Grid:
  rows = []
  for c in study.tables["sign_error_summary"].itertuples():
    direction = "more is better" if c.direction > 0 else "less is better"
    row = [text_cell(study.labels[c.measure]), text_cell(study.labels[c.axis]), text_cell(direction)]
    row += [number_cell(c.environments, 0), number_cell(c.mean), number_cell(c.worst)]
    rows.append([*row, text_cell(c.worst_environment.replace("_", " "))])
  columns = ["measure", "axis", "taken as", "settings", "mean error", "worst error", "worst setting"]
  return Grid("Robust sign-error", columns, rows, "tables/sign_error_summary.csv")


def _trends(study: Study) -> Grid:
  rows = []
  labels = study.labels | {"factor": "the factor"}
  for c in study.tables["series_trends"].itertuples():
    row = [text_cell(c.series), text_cell(labels[c.first]), text_cell(labels[c.second])]
    rows.append([*row, number_cell(c.n, 0), number_cell(c.spearman), _p(c.p)])
  columns = ["series", "first", "second", "n", "Spearman", "permutation p"]
  return Grid("What moves together along a series", columns, rows, "tables/series_trends.csv", folded=True)


def _forgetting(study: Study) -> Grid:
  table = study.tables.get("forgetting", pd.DataFrame())
  rows = []
  for c in table.itertuples():
    row = [text_cell(c.run), text_cell(c.dataset), text_cell(c.condition), number_cell(c.n, 0)]
    row += [number_cell(c.final, 1), number_cell(c.forgotten, 1), _interval(c.low, c.high)]
    row += [number_cell(c.peak_epoch, 0), number_cell(c.ensemble, 1), number_cell(c.gain, 1)]
    rows.append([*row, _interval(c.gain_low, c.gain_high)])
  columns = ["run", "dataset", "condition", "n", "right at the end, %", "forgotten, %", "95 % interval"]
  columns += ["peak epoch", "ensemble, %", "gain, points", "its interval"]
  return Grid("What training forgets", columns, rows, "tables/forgetting.csv")


def _agreement(study: Study) -> list[Grid]:
  verdicts = study.tables.get("agreement_models", pd.DataFrame())
  cells = study.tables.get("agreement", pd.DataFrame())
  if not len(verdicts):
    return []
  rows = [
    [
      Cell(c.model, href=f"models/{cards.file_name(c.model)}"),
      Cell(c.verdict, kind="long"),
      number_cell(c.columns, 0),
      number_cell(c.within, 0),
      Cell(c.reason, kind="long"),
    ]
    for c in verdicts.itertuples()
  ]
  columns = ["model", "verdict", "columns", "agree", "why"]
  summary = Grid("Agreement with published numbers", columns, rows, "tables/agreement_models.csv")
  far = cells[~cells["agrees"]]
  return [summary, cards.agreement_grid(far, "Numbers that differ", "tables/agreement.csv", folded=True)]


def _models(study: Study) -> Grid:
  table, at = models(study), chance.flagged(study)
  rows = []
  for model, row in table.iterrows():
    cells = [
      Cell(str(model), href=f"models/{cards.file_name(str(model))}"),
      text_cell(row["category"].replace("_", " ")),
    ]
    cells += [number_cell(row[c], _digits(table[c])) for c in table.columns[1:]]
    if at.to_numpy().any():
      cells.append(Cell(", ".join(study.labels[c] for c in at if at.at[model, c]), kind="long"))
    rows.append(cells)
  columns = ["model", "category", *(study.labels[c] for c in table.columns[1:])]
  if at.to_numpy().any():
    columns.append(f"what {chance.RESTS}")
  return Grid("Biases and axes of each model", columns, rows, "tables/models.csv")


def _digits(values: pd.Series) -> int:
  """Decimals that tell models apart."""
  largest = float(np.nanmax(np.abs(values))) if values.notna().any() else 1.0
  return 1 if largest >= 10 else 4 if largest < 0.1 else 3
