"""A whole study: from a table and definitions to every statistic."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.messages import counted
from biasjax.study import (
  answer,
  chance,
  correlation,
  definitions,
  fragility,
  prediction,
  same,
  sampling,
  series,
  sign_error,
  verdict,
)
from biasjax.study.definitions import Definitions
from biasjax.study.resampling import Resampling
from biasjax.study.sampling import Intervals
from biasjax.study.significance import ALPHA, MIN_MODELS, smallest_significant
from biasjax.study.stored import Observations
from biasjax.study.table import Table


@dataclasses.dataclass(frozen=True)
class Study:
  """What was found.

  Attributes:
    definitions: what was asked; of groups, those that have models.
    table: what it was asked of; `frame` with derived columns.
    biases, axes: float, a row for each model; only those that could be computed.
    intervals: of biases and axes, from sampling of images.
    column_intervals: of the table's columns.
    pixels: of a side of the images that noise was added to, where a run says it.
    groups: {name: bool [models]}.
    series: {name: {model: factor}}.
    tables: name -> statistics, each as its function documents it.
    notes: what was left out or could not be computed, and why.
    answer: to the study's question, in at most three sentences.
    sentences: the verdict.
  """

  definitions: Definitions
  table: Table
  biases: pd.DataFrame
  axes: pd.DataFrame
  intervals: Intervals
  column_intervals: Intervals
  pixels: int | None
  groups: dict[str, np.ndarray]
  series: dict[str, dict[str, float]]
  tables: dict[str, pd.DataFrame]
  notes: tuple[str, ...]
  answer: tuple[str, ...]
  sentences: tuple[verdict.Sentence, ...]

  @property
  def labels(self) -> dict[str, str]:
    """{bias or axis: words}."""
    return {
      m.name: m.label or m.name for m in (*self.definitions.biases.values(), *self.definitions.axes.values())
    }

  def human(self, bias: str) -> float | None:
    """What people score on a bias, where the definitions say."""
    return self.definitions.biases[bias].human


def analyse(
  table: Table,
  asked: Definitions,
  seed: int,
  observed: Observations | None = None,
  measured: Callable[[Study], object] = lambda study: None,
) -> Study:
  """Every statistic of a study.

  Args:
    table: of `table.read`.
    asked: the definitions.
    seed: of all resampling.
    observed: the decisions that the run beside the table has stored.
    measured: told of the study before what takes long: of its tables it has those of series alone, and no
      sentences.

  Raises:
    BiasjaxError: no bias, or no axis, can be computed, or a derived column has the name of another one.
  """
  table = same.once(table, observed)
  if twice := [name for name in asked.columns if name in table.frame]:
    raise BiasjaxError(f"study.columns: {twice[0]} is a column of the table already: call it something else")
  derived, no_column = definitions.compute(asked.columns, table.frame)
  frame = pd.concat([table.frame, derived], axis=1)
  biases, no_bias = definitions.compute(asked.biases, frame)
  axes, no_axis = definitions.compute(asked.axes, frame)
  (biases, no_number), (axes, none) = _numbered(biases), _numbered(axes)
  no_bias, no_axis = no_bias | no_number, no_axis | none
  notes = [*table.notes]
  notes += [f"{name} was not computed: {why}." for name, why in (no_column | no_bias | no_axis).items()]
  for kind, values, why in (("bias", biases, no_bias), ("axis", axes, no_axis)):
    if values.empty:
      unusable = [note for note in table.notes if "treated as missing" in note]
      reason = next(iter((*unusable, *why.values())))
      raise BiasjaxError(f"--table: no {kind} of the config can be computed from it: {reason}")
  notes += _shares(asked, frame)
  asked, groups, more = _there(asked, table.category)
  notes += more
  cells = biases.shape[1] * axes.shape[1] * len(groups)
  notes += _incomplete(biases, axes) + _groups(groups, cells)
  everyone = groups[asked.groups[0].name]
  category = table.category.to_numpy(object)
  resampling = Resampling(asked.draws, seed)

  known, intervals, of_intervals = _intervals(asked, table, derived, biases, axes, observed)
  factors = series.members(asked.series, biases.index, table.same)
  along = _along(factors, biases, axes, intervals, resampling)
  study = Study(
    definitions=asked,
    table=dataclasses.replace(table, frame=frame),
    biases=biases,
    axes=axes,
    intervals=intervals,
    column_intervals=known,
    pixels=_pixels(observed),
    groups=groups,
    series=factors,
    tables=along,
    notes=tuple(notes),
    answer=(),
    sentences=(),
  )
  measured(study)

  tables = {"correlations": correlation.cells(biases, axes, groups, category, resampling)}
  first = {asked.groups[0].name: everyone}
  tables["bias_by_bias"] = _bias_by_bias(biases, first, category, resampling)
  benchmarks = frame[_benchmarks(asked, frame)]
  tables["benchmarks"] = correlation.cells(biases, benchmarks, groups, category, resampling)
  by_category = {name: everyone & (category == name) for name in table.categories}
  tables["categories"] = correlation.cells(biases, axes, by_category, category, resampling).rename(
    columns={"group": "category"}
  )
  within = {
    name: fragility.within(biases, axes, category, members, resampling) for name, members in groups.items()
  }
  tables["within"] = _joined(within, "group")
  without = {
    name: fragility.leave_one_category_out(biases, axes, category, members, resampling)
    for name, members in groups.items()
  }
  tables["without_category"] = _joined(without, "group")
  tables["without_model"] = fragility.leave_one_model_out(biases, axes, everyone)
  tables["given_accuracy"] = _given(asked.reference_axis, biases, axes, groups, resampling)
  varied = {v.name: fragility.under(v, asked, frame, table.category, resampling) for v in asked.variations}
  tables["definitions"] = _joined(varied, "definition")
  for v in asked.variations:
    named = [*v.biases, *v.axes]
    if named and not {*named} & {*asked.biases, *asked.axes}:
      notes.append(f"{v.name!r} varies nothing: the study has no {named[0]}.")
  labels, measures = study.labels, pd.concat([biases, axes], axis=1)
  at_chance = chance.flagged({**asked.biases, **asked.axes}, measures, table, asked.columns)
  notes += chance.notes(at_chance, labels)
  above = {}
  if at_chance.to_numpy().any():
    kept_biases, kept_axes = (chance.without(values, at_chance) for values in (biases, axes))
    for name, members in groups.items():
      found = correlation.tested(kept_biases, kept_axes, members, resampling)
      above |= {(*pair, name): of for pair, of in found.items()}
  tables["checks"] = fragility.checks(
    tables["correlations"], within, without, tables["given_accuracy"], varied, labels, above
  )
  tables["claims"] = verdict.statuses(tables["correlations"], tables["checks"])
  tables["prediction"], tables["predicted"], more = prediction.predict_axes(
    biases, axes, category, asked.reference_axis, resampling
  )
  notes += [*more, *of_intervals]
  tables["intervals"] = _long(intervals, measures)
  found = sign_error.environments(category, factors, biases.index)
  measures = pd.concat([biases, axes[[a for a in axes if a == asked.reference_axis]]], axis=1)
  tables["sign_error"] = sign_error.table(measures, axes, intervals.errors, found)
  tables["sign_error_summary"] = sign_error.summary(tables["sign_error"])
  if not len(tables["sign_error"]):
    notes.append("The robust sign-error was not computed: no category or series has enough pairs of models.")
  tables |= along
  if asked.series and not factors:
    notes.append("No series was found: fewer than three values of a swept factor in the models' names.")
  sentences = verdict.sentences(
    asked,
    labels,
    tables["correlations"],
    tables["claims"],
    within[asked.groups[0].name],
    tables["prediction"],
    tables["sign_error_summary"],
  )
  said = answer.answer(
    tables["claims"],
    tables["correlations"],
    tables["checks"],
    tables["prediction"],
    labels,
    asked.groups[0].name,
    asked.reference_axis,
  )
  return dataclasses.replace(
    study, tables=tables, notes=tuple(notes), answer=said, sentences=tuple(sentences)
  )


def _intervals(
  asked: Definitions,
  table: Table,
  derived: pd.DataFrame,
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  observed: Observations | None,
) -> tuple[Intervals, Intervals, list[str]]:
  """The intervals of columns, those of biases and axes, and notes."""
  of_columns = sampling.columns(table, asked.sizes)
  of_derived, _ = sampling.measures(asked.columns, derived, table, of_columns)
  low, high = (
    pd.concat([first, second], axis=1)
    for first, second in ((of_columns.low, of_derived.low), (of_columns.high, of_derived.high))
  )
  complete = dataclasses.replace(table, frame=pd.concat([table.frame, derived], axis=1))
  known = dataclasses.replace(of_columns, low=low, high=high)
  measures = pd.concat([biases, axes], axis=1)
  wanted = {name: measure for name, measure in {**asked.biases, **asked.axes}.items() if name in measures}
  found, notes = sampling.measures(wanted, measures, complete, known, observed)
  return known, found, notes


def _pixels(observed: Observations | None) -> int | None:
  """Of a side of the images of the critical-band probe; None where units differ, or none says."""
  units = observed.units.values() if observed else ()
  sizes = {u.key.get("preprocess", {}).get("crop") for u in units if u.probe.startswith("critical_band")}
  return sizes.pop() if len(sizes) == 1 else None


def _long(intervals: Intervals, values: pd.DataFrame) -> pd.DataFrame:
  """`model, measure, value, low, high, from`, of the biases and axes that have an interval."""
  rows = [
    (model, name, values.at[model, name], *intervals.of(model, name), intervals.origin[name])
    for name in values
    for model in values.index
    if intervals.origin[name]
  ]
  table = pd.DataFrame(rows, columns=["model", "measure", "value", "low", "high", "from"])
  return table[np.isfinite(table["low"])].reset_index(drop=True)


def _numbered(values: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
  """The measures that some model has a number of; and why the others are left out, as absent ones are."""
  known = np.isfinite(values).any()
  return values.loc[:, known], dict.fromkeys(values.columns[~known], "all its numbers are missing")


def _shares(asked: Definitions, frame: pd.DataFrame) -> list[str]:
  """A note on each column of the first axis whose accuracies look like shares of 1."""
  notes = []
  for column in next(iter(asked.axes.values())).mean:
    values = frame[column].dropna() if column in frame and column.startswith(sampling.ACCURACIES) else ()
    if len(values) and 0 < max(values) <= 1:
      notes.append(
        f"{column} is nowhere above 1: accuracies are taken for per cent, their intervals too; multiply "
        "shares by 100."
      )
  return notes


def _incomplete(biases: pd.DataFrame, axes: pd.DataFrame) -> list[str]:
  """Which numbers are missing, and which do not vary."""
  notes = []
  for name, values in {**biases, **axes}.items():
    missing = values.index[values.isna()]
    if len(missing):
      shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
      notes.append(
        f"{name} is missing for {len(missing)} of {len(values)} models ({shown}); cells leave these out."
      )
    elif values.nunique() == 1:
      notes.append(f"{name} is {values.iloc[0]:g} for all models: it correlates with nothing.")
  return notes


def _there(asked: Definitions, category: pd.Series) -> tuple[Definitions, dict[str, np.ndarray], list[str]]:
  """The definitions without groups that have no models, or those of an earlier group; members; notes."""
  members: dict[str, np.ndarray] = {}
  notes = []
  for group in asked.groups:
    mine = group.members(category)
    same = next((name for name, of in members.items() if np.array_equal(of, mine)), None)
    if same is not None and mine.any():
      notes.append(f"{group.name} has the models of {same}: nothing is said of it twice.")
    if not members or (mine.any() and same is None):
      members[group.name] = mine
  kept = tuple(group for group in asked.groups if group.name in members)
  return dataclasses.replace(asked, groups=kept), members, notes


def _groups(groups: dict[str, np.ndarray], cells: int) -> list[str]:
  notes = []
  for name, members in groups.items():
    n = int(members.sum())
    least = smallest_significant(n)
    if n < MIN_MODELS:
      notes.append(f"{name} has {counted(n, 'model')}: too few to say anything, no correlation is computed.")
    elif 2 * cells / math.factorial(n) >= ALPHA:
      notes.append(
        f"{name} has {n} models: only |rho| of {least:.2f} or more can be told from no relation, and after "
        f"Holm over {cells} cells not even a perfect order."
      )
    elif least > 0.5:
      notes.append(f"{name} has {n} models: only |rho| of {least:.2f} or more can be told from no relation.")
  return notes


def _bias_by_bias(
  biases: pd.DataFrame, groups: dict[str, np.ndarray], category: np.ndarray, resampling: Resampling
) -> pd.DataFrame:
  """Every bias against every other; both orders of a pair are one hypothesis, and have the same numbers."""
  table = correlation.cells(biases, biases, groups, category, resampling)
  place = {name: i for i, name in enumerate(biases)}
  upper = table["bias"].map(place) < table["axis"].map(place)
  table = correlation.corrected(table[upper].reset_index(drop=True))
  swapped = {"bias": "axis", "axis": "bias", "ties_bias": "ties_axis", "ties_axis": "ties_bias"}
  both = pd.concat([table, table.rename(columns=swapped)[table.columns]])
  return both.sort_values(["bias", "axis"], key=lambda names: names.map(place)).reset_index(drop=True)


def _benchmarks(asked: Definitions, frame: pd.DataFrame) -> list[str]:
  """Single columns to hold the biases against: those of the axes, and those asked for, as far as there."""
  names = [c for axis in asked.axes.values() for c in axis.mean] + list(asked.benchmarks)
  return [c for c in dict.fromkeys(names) if c in frame.columns and frame[c].notna().any()]


def _joined(tables: dict[str, pd.DataFrame], key: str) -> pd.DataFrame:
  """All tables in one, with their names in a first column. Empty ones would turn numbers into objects."""
  named = [t.assign(**{key: name})[[key, *t.columns]] for name, t in tables.items()]
  filled = [t for t in named if len(t)] or named[:1]
  return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _given(
  reference: str,
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  groups: dict[str, np.ndarray],
  resampling: Resampling,
) -> pd.DataFrame:
  """Partial correlation given in-distribution accuracy: `bias, axis, group, given, n, spearman, p`."""
  columns = ["bias", "axis", "group", "given", "n", "spearman", "p"]
  if reference not in axes:
    return pd.DataFrame(columns=columns)
  tables = {
    name: fragility.given(biases, axes, reference, members, resampling) for name, members in groups.items()
  }
  return _joined(tables, "group")[columns]


def _along(
  factors: dict[str, dict[str, float]],
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  known: Intervals,
  resampling: Resampling,
) -> dict[str, pd.DataFrame]:
  """The tables "series" and "series_trends"."""
  measures = pd.concat([biases, axes], axis=1)
  points = {name: series.points(of, measures, known) for name, of in factors.items()}
  trends = {name: series.trends(of, biases, axes, resampling) for name, of in factors.items()}
  return {"series": _joined(points, "series"), "series_trends": _joined(trends, "series")}


def models(study: Study) -> pd.DataFrame:
  """Each model's category, biases and axes: the table behind the scatter figures."""
  return pd.concat([study.table.category.rename("category"), study.biases, study.axes], axis=1).rename_axis(
    "model"
  )
