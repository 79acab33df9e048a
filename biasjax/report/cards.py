"""What a model's own page says: where it stands, its results, what they rest on."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.report import chance, scores
from biasjax.report.cells import Cell, Grid, interval_cell, number_cell, strip, text_cell
from biasjax.report.drawing import quoted
from biasjax.results.unit import Unit
from biasjax.study.analysis import Study, models
from biasjax.study.stored import Observations


@dataclasses.dataclass(frozen=True)
class Provenance:
  """What is known of how numbers came about.

  Attributes:
    certificates: {model: certificate of conversion}.
    units: of the run beside the table.
    classes: {dataset: what its classes are called, by label}.
  """

  certificates: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
  units: Sequence[Unit] = ()
  classes: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)


def provenance(observed: Observations | None, checkpoints: str | None, names: Sequence[str]) -> Provenance:
  """What the run beside a table says, and the certificates of converted checkpoints.

  Args:
    observed: what the run has stored.
    checkpoints: a folder that holds <model>/certificate.json; need not exist.
    names: the models.

  Raises:
    BiasjaxError: a file is there but cannot be read.
  """
  units = list(observed.units.values()) if observed else []
  found = {}
  for name in names if checkpoints else ():
    path = pathlib.Path(str(checkpoints)) / name / "certificate.json"
    if path.is_file():
      found[name] = _json(path)
  return Provenance(found, units, observed.classes() if observed else {})


def _json(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"{path} cannot be read ({error}): mend it, or move it away") from error
  if not isinstance(content, dict):
    raise BiasjaxError(f"{path} holds no JSON object: mend it, or move it away")
  return content


def file_name(model: str) -> str:
  """Of a model's page."""
  return f"{quoted(model)}.html"


class Known:
  """What the pages of all models are made of, looked up once.

  Attributes:
    study, provenance: as given.
    places: {measure or column: decimals}.
    measures: float [models, biases and axes].
    values: {measure: its numbers that are not missing}.
    medians: float [categories, biases and axes].
    flagged: bool, as measures: what rests on an accuracy that cannot be told from chance.
    low, high, n: {model: {column: number}}.
    flags: {model: {column: flag}}.
  """

  def __init__(self, study: Study, provenance: Provenance, places: Mapping[str, int]):
    self.study, self.provenance, self.places = study, provenance, places
    self.measures = models(study).drop(columns="category")
    self.values = {name: values.dropna().to_numpy() for name, values in self.measures.items()}
    self.medians = self.measures.groupby(study.table.category).median()
    self.flagged = chance.flagged(study)
    intervals = study.column_intervals
    self.low, self.high, self.n = (t.to_dict("index") for t in (intervals.low, intervals.high, intervals.n))
    self.flags: dict[str, dict[str, str]] = {}
    for model, column, flag in study.table.intervals[["model", "column", "flag"]].itertuples(index=False):
      self.flags.setdefault(model, {})[column] = flag


def card(known: Known, model: str) -> dict[str, Any]:
  """What the template of a model's page wants."""
  study, provenance = known.study, known.provenance
  agreement = study.tables.get("agreement", pd.DataFrame())
  mine = agreement[agreement["model"] == model] if len(agreement) else agreement
  certificate = provenance.certificates.get(model)
  units = [unit for unit in provenance.units if unit.model == model]
  return {
    "model": model,
    "category": study.table.category[model].replace("_", " "),
    "n": len(study.biases),
    "sentences": _series(study, model),
    "standing": _standing(known, model),
    "results": _results(known, model),
    "agreement": agreement_grid(mine, "Ours and theirs") if len(mine) else None,
    "certificate": _certificate(certificate) if certificate else None,
    "units": _units(units) if units else None,
  }


def _series(study: Study, model: str) -> list[str]:
  factors = {one.name: one.factor for one in study.definitions.series}
  return [
    f"In the series {name}: {factors.get(name, 'x')} = {of[model]:.15g}."
    for name, of in study.series.items()
    if model in of
  ]


def _standing(known: Known, model: str) -> Grid:
  study, rows = known.study, []
  mine, medians = known.measures.loc[model], known.medians.loc[study.table.category[model]]
  for name, values in known.values.items():
    value, places = float(mine[name]), known.places[name]
    low, high = study.intervals.of(model, name)
    ends = (("intervals", model, name, end) for end in ("low", "high"))
    row = [text_cell(study.labels[name]), number_cell(value, places, ("models", model, name))]
    row.append(interval_cell(low, high, places, *ends))
    if math.isfinite(value):
      place = int((values > value).sum()) + 1
      row += [Cell(f"{place} of {len(values)}", sort=place, kind="n")]
      row += [Cell("", strip=strip(values, {"": value}))]
    else:
      row += [text_cell("missing"), text_cell("")]
    row.append(number_cell(float(medians[name]), places))
    rests = bool(known.flagged.at[model, name])
    rows.append([*row, Cell(chance.RESTS if rests else "", kind="long")])
  columns = ["measure", "value", "95 % interval", "place (largest first)", "among all", "category's median"]
  columns.append("read with")
  return Grid("Biases and axes", columns, rows)


def _results(known: Known, model: str) -> Grid:
  study = known.study
  values = study.table.frame.loc[model].dropna().to_dict()
  defined = [*study.definitions.biases.values(), *study.definitions.axes.values()]
  first = [c for measure in defined for c in measure.mean if c in values]
  # Biases and axes are where the network stands; derived columns are of no file.
  left_out = {*study.labels, *study.definitions.columns}
  names = [name for name in dict.fromkeys([*first, *values]) if name not in left_out]
  low, high, counts = known.low[model], known.high[model], known.n.get(model, {})
  flags = known.flags.get(model, {})
  rows = []
  for name in names:
    value, places = float(values[name]), known.places[name]
    number, ends = ("table", model, name), (("metrics", model, name, end) for end in ("low", "high"))
    row = [text_cell(name), _named(name, value, known.provenance) or number_cell(value, places, number)]
    row.append(interval_cell(float(low[name]), float(high[name]), places, *ends))
    row.append(number_cell(float(counts.get(name, math.nan)), 0, ("metrics", model, name, "n")))
    rows.append([*row, Cell(str(flags.get(name, "")), kind="long")])
  return Grid(f"{len(names)} results", ["column", "value", "95 % interval", "n", "read with"], rows)


def _named(column: str, value: float, provenance: Provenance) -> Cell | None:
  """The class that a column holds the index of, by name; None of other columns, and where none is known."""
  match = scores.WORST_CLASS.fullmatch(column)
  name = scores.named_class(column, value, provenance.classes.get(match[1], {})) if match else ""
  return text_cell(name) if name else None


def _certificate(certificate: Mapping[str, Any]) -> Grid:
  rows = []
  for key, value in certificate.items():
    if isinstance(value, Mapping) and len(value) > 12:
      rows.append([text_cell(key), Cell(f"{len(value)} entries, see certificate.json", kind="long")])
    elif isinstance(value, Mapping):
      rows += [[text_cell(f"{key}: {k}"), Cell(_short(v), kind="long")] for k, v in value.items()]
    else:
      rows.append([text_cell(key), Cell(_short(value), kind="long")])
  return Grid("Certificate", ["what", "value"], rows)


def _units(units: Sequence[Unit]) -> Grid:
  rows = []
  for unit in units:
    key = "; ".join(f"{k} = {_short(v, 80)}" for k, v in unit.key.items())
    rows.append([text_cell(unit.dataset), text_cell(unit.probe), Cell(key, kind="long")])
  return Grid("Keys of the stored observations", ["dataset", "probe", "depends on"], rows)


def _short(value: Any, most: int = 240) -> str:
  text = value if isinstance(value, str) else json.dumps(value)
  return text if len(text) <= most else text[: most - 3] + "..."


def agreement_grid(cells: pd.DataFrame, caption: str, file: str = "", folded: bool = False) -> Grid:
  """Rows of the agreement with another table."""
  rows = []
  for c in cells.itertuples():
    row = [text_cell(c.model), text_cell(c.column), number_cell(c.ours, 3), number_cell(c.theirs, 3)]
    row += [number_cell(c.difference, 3), number_cell(c.z, 1)]
    rows.append([*row, text_cell("yes" if c.agrees else "no"), Cell(c.cause, kind="long")])
  columns = ["model", "column", "ours", "theirs", "difference", "in errors", "agrees", "known cause"]
  return Grid(caption, columns, rows, file, folded)
