"""The tables of a study's page, by section."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from biasjax.messages import counted
from biasjax.report import cards, chance
from biasjax.report.cells import (
  Cell,
  Grid,
  interval,
  interval_cell,
  number_cell,
  text_cell,
  verdict_cell,
)
from biasjax.study import fragility, verdict
from biasjax.study.analysis import Study, models
from biasjax.study.verdict import FAR, WORST, score

FAMILIES, MODELS = ("family_low", "family_high"), ("low", "high")
CHANGED = (fragility.WEAKENS, fragility.FLIPS, fragility.APPEARS)
STATUS = {verdict.ESTABLISHED: "holds", verdict.CONDITIONAL: "weakens", verdict.FRAGILE: "flips"}


class Rows:
  """Cells of one table of a study, each with where its number is in study.json."""

  def __init__(self, table: str):
    self.table = table

  def number(self, row: Any, field: str, places: int = 2) -> Cell:
    """A field of a row of `itertuples`."""
    return number_cell(getattr(row, field), places, (self.table, int(row.Index), field))

  def interval(self, row: Any, ends: tuple[str, str]) -> Cell:
    """Two fields as an interval."""
    keys = ((self.table, int(row.Index), end) for end in ends)
    return interval_cell(getattr(row, ends[0]), getattr(row, ends[1]), 2, *keys)

  def p(self, row: Any, field: str) -> Cell:
    """A probability, without a zero before the point."""
    value = getattr(row, field)
    if not math.isfinite(value):
      return text_cell("")
    return Cell(
      verdict.of_probability(value), sort=value, kind="n", keys=((self.table, int(row.Index), field),)
    )

  def score(self, row: Any, field: str) -> Cell:
    """An R-squared, or how far it is above another."""
    value = getattr(row, field)
    if not math.isfinite(value):
      return text_cell("")
    return Cell(score(value), sort=value, kind="n", keys=((self.table, int(row.Index), field),))

  def scores(self, row: Any, ends: tuple[str, str]) -> Cell:
    """The interval of one."""
    low, high = (getattr(row, end) for end in ends)
    if not math.isfinite(low + high):
      return text_cell("")
    text = FAR if high < WORST else f"[{FAR if low < WORST else verdict.edge(low)}, {verdict.edge(high)}]"
    keys = tuple((self.table, int(row.Index), end) for end in ends)
    return Cell(text, sort=high - low, kind="n", keys=keys)


def tables(study: Study, section: str) -> list[Grid]:
  """Those of one section that have rows."""
  found = {
    "Relations": [_correlations],
    "How fragile": [_claims, _failing, _within],
    "Prediction": [_prediction, _sign_error],
    "Agreement": [_agreement, _differing],
    "Series": [_trends, _forgetting],
  }
  return [grid for make in found.get(section, ()) if (grid := make(study)).rows]


def _correlations(study: Study) -> Grid:
  of = Rows("correlations")
  columns = ["bias", "axis", "models", "n", "ties", "Spearman", "95 % over families", "95 % over models"]
  columns += ["permutation p", "Holm p", "BH p", "Student's p", "Pearson", "Kendall", "why not"]
  rows = []
  for c in study.tables["correlations"].itertuples():
    most = "ties_bias" if c.ties_bias >= c.ties_axis else "ties_axis"
    row = [text_cell(study.labels[c.bias]), text_cell(study.labels[c.axis]), text_cell(c.group)]
    row += [
      of.number(c, "n", 0),
      of.number(c, most, 0) if c.n else number_cell(0, 0),
      of.number(c, "spearman"),
    ]
    row += [of.interval(c, FAMILIES), of.interval(c, MODELS)]
    row += [of.p(c, field) for field in ("p_permutation", "p_holm", "p_bh", "p")]
    row += [of.number(c, "pearson"), of.number(c, "kendall")]
    rows.append([*row, text_cell("" if pd.isna(c.reason) else c.reason)])
  return Grid("Every bias against every axis", columns, rows, "tables/correlations.csv")


def _claims(study: Study) -> Grid:
  of, rows = Rows("claims"), []
  for c in study.tables["claims"].itertuples():
    words = fragility.claim(c.spearman, c.p, study.labels[c.bias], study.labels[c.axis])
    row = [Cell(words, kind="long"), text_cell(c.group), of.number(c, "spearman")]
    row.append(Cell(c.status, strong=STATUS.get(c.status, "none")))
    rows.append([*row, of.number(c, "n_holds", 0), of.number(c, "n_checks", 0)])
  columns = ["claim", "models", "Spearman", "status", "holds in", "of checks"]
  return Grid("Where each claim stands, and in how many checks", columns, rows, "tables/claims.csv")


def _failing(study: Study) -> Grid:
  of, rows = Rows("checks"), []
  for c in study.tables["checks"].itertuples():
    if c.verdict in CHANGED:
      row = [Cell(c.claim, kind="long"), text_cell(c.group), of.number(c, "spearman")]
      row += [text_cell(c.check.replace("_", " ")), of.number(c, "n", 0), of.number(c, "checked")]
      rows.append([*row, of.p(c, "checked_p"), verdict_cell(c.verdict)])
  columns = ["claim", "models", "Spearman", "check", "n", "in the check", "p", "verdict"]
  return Grid("Checks in which a claim does not hold", columns, rows, "tables/checks.csv", folded=True)


def _within(study: Study) -> Grid:
  of, rows = Rows("within"), []
  for c in study.tables["within"].itertuples():
    if math.isfinite(c.within):
      row = [text_cell(study.labels[c.bias]), text_cell(study.labels[c.axis]), text_cell(c.group)]
      row += [of.number(c, "pooled"), of.p(c, "pooled_p"), of.number(c, "within"), of.p(c, "within_p")]
      rows.append([*row, Cell("Simpson's paradox", strong="flips") if c.simpson else text_cell("")])
  columns = ["bias", "axis", "models", "pooled", "p", "within categories", "p within", "reversal"]
  return Grid("Pooled, and within categories", columns, rows, "tables/within.csv")


def _prediction(study: Study) -> Grid:
  of, rows = Rows("prediction"), []
  for c in study.tables["prediction"].itertuples():
    row = [text_cell(study.labels[c.axis]), text_cell(c.predictor)]
    row += [text_cell(study.labels.get(str(c.inputs), str(c.inputs))), of.number(c, "n", 0)]
    row += [of.score(c, "r2"), of.scores(c, FAMILIES), of.scores(c, MODELS)]
    row += [of.score(c, "gain"), of.scores(c, ("gain_family_low", "gain_family_high"))]
    rows.append([*row, of.scores(c, ("gain_low", "gain_high"))])
  columns = ["axis", "predictor", "from", "n", "R²", "95 % over families", "95 % over models"]
  columns += ["gain over accuracy", "over families", "over models"]
  left_out = "categories" if (study.tables["prediction"]["families"] > 1).any() else "models"
  return Grid(f"Prediction of left-out {left_out}", columns, rows, "tables/prediction.csv")


def _sign_error(study: Study) -> Grid:
  of, rows = Rows("sign_error_summary"), []
  for c in study.tables["sign_error_summary"].itertuples():
    # Not "more is better": the axis may be an error.
    direction = "rising with it" if c.direction > 0 else "falling with it"
    row = [text_cell(study.labels[c.measure]), text_cell(study.labels[c.axis]), text_cell(direction)]
    row += [of.number(c, "environments", 0), of.number(c, "mean"), of.number(c, "worst")]
    rows.append([*row, text_cell(c.worst_environment.replace("_", " "))])
  columns = ["measure", "axis", "taken as", "settings", "mean error", "worst error", "worst setting"]
  return Grid("Robust sign-error", columns, rows, "tables/sign_error_summary.csv")


def _trends(study: Study) -> Grid:
  of, rows = Rows("series_trends"), []
  labels = study.labels | {"factor": "the factor"}
  for c in study.tables["series_trends"].itertuples():
    row = [text_cell(c.series), text_cell(labels[c.first]), text_cell(labels[c.second])]
    rows.append([*row, of.number(c, "n", 0), of.number(c, "spearman"), of.p(c, "p")])
  columns = ["series", "first", "second", "n", "Spearman", "permutation p"]
  return Grid("What moves together along a series", columns, rows, "tables/series_trends.csv", folded=True)


def _forgetting(study: Study) -> Grid:
  of, rows = Rows("forgetting"), []
  for c in study.tables.get("forgetting", pd.DataFrame()).itertuples():
    row = [text_cell(c.run), text_cell(c.dataset), text_cell(c.condition), of.number(c, "n", 0)]
    row += [of.number(c, "final", 1), of.number(c, "forgotten", 1), of.interval(c, MODELS)]
    row += [of.number(c, "peak_epoch", 0), of.number(c, "ensemble", 1), of.number(c, "gain", 1)]
    rows.append([*row, of.interval(c, ("gain_low", "gain_high"))])
  columns = ["run", "dataset", "condition", "n", "right at the end, %", "forgotten, %", "95 % interval"]
  columns += ["peak epoch", "ensemble, %", "gain, points", "its interval"]
  return Grid("What training forgets", columns, rows, "tables/forgetting.csv")


def _agreement(study: Study) -> Grid:
  of, rows = Rows("agreement_models"), []
  for c in study.tables.get("agreement_models", pd.DataFrame()).itertuples():
    row = [Cell(c.model, href=f"models/{cards.file_name(c.model)}"), Cell(c.verdict, kind="long")]
    rows.append([*row, of.number(c, "columns", 0), of.number(c, "within", 0), Cell(c.reason, kind="long")])
  columns = ["model", "verdict", "columns", "agree", "why"]
  return Grid("Agreement with published numbers", columns, rows, "tables/agreement_models.csv")


def _differing(study: Study) -> Grid:
  cells = study.tables.get("agreement", pd.DataFrame())
  far = cells[~cells["agrees"]] if len(cells) else cells
  return cards.agreement_grid(far, "Numbers that differ", "tables/agreement.csv", folded=True)


def all_models(study: Study, decimals: Mapping[str, int]) -> Grid:
  """Biases and axes of each model, with their intervals."""
  table = models(study)
  places = {name: decimals[name] for name in table.columns[1:]}
  at = chance.flagged(study)
  resting = bool(at.to_numpy().any())
  rows = []
  for model, row in table.iterrows():
    cells = [Cell(str(model), href=f"models/{cards.file_name(str(model))}", kind="name")]
    cells.append(Cell(row["category"].replace("_", " "), kind="kin"))
    cells += [measure_cell(study, str(model), name, places[name]) for name in places]
    if resting:
      cells.append(Cell(", ".join(study.labels[c] for c in at if at.at[model, c]), kind="long"))
    rows.append(cells)
  columns = ["model", "category", *(study.labels[name] for name in places)]
  columns += [f"what {chance.RESTS}"] if resting else []
  return Grid(counted(len(rows), "model"), columns, rows, "tables/models.csv", searched=True)


def measure_cell(study: Study, model: str, name: str, places: int) -> Cell:
  """A bias or axis of a model, its interval below it."""
  values = study.biases if name in study.biases else study.axes
  value, (low, high) = float(values.at[model, name]), study.intervals.of(model, name)
  shown = interval(low, high, places)
  keys = [
    ("models", model, name),
    *((("intervals", model, name, e) for e in ("low", "high")) if shown else ()),
  ]
  if not math.isfinite(value):
    return Cell("", kind="n")
  return Cell(verdict.number(value, places), sort=value, kind="n", interval=shown, keys=tuple(keys))
