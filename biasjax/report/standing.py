"""Where one or two networks stand among others, number by number."""

import math
import pathlib
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from biasjax.report.cells import Cell, Grid, strip, text_cell
from biasjax.report.scores import Scores, cell, digits, label
from biasjax.results.summary import wide
from biasjax.study import table as tables
from biasjax.study.references import FLAG, comparable


def references(others: pd.DataFrame, beside: Sequence[str], own: Collection[str]) -> pd.DataFrame:
  """The other networks of the same table, and those of others' tables.

  Args:
    others: rows of metrics.csv.
    beside: CSV files with a column model.
    own: names that are taken; a network of a file that has one of them is called after the file too.

  Returns:
    float [networks, columns of results.csv].

  Raises:
    BiasjaxError: a file cannot be read.
  """
  frames = [wide(others).set_index("model")] if len(others) else []
  taken = set(own).union(*(frame.index for frame in frames))
  for path in beside:
    frame = tables.read(path, None, (), FLAG).frame
    stem = pathlib.Path(path).stem
    frame = frame.rename(index={name: f"{name} ({stem})" for name in frame.index if name in taken})
    taken.update(frame.index)
    frames.append(frame)
  return pd.concat(frames) if frames else pd.DataFrame()


def grid(scores: Scores, among: pd.DataFrame, means: Mapping[str, Sequence[str]]) -> Grid | None:
  """Each number of the scorecard that others have too.

  Args:
    scores: the networks.
    among: float [networks, columns], the others.
    means: {metric: columns}, what a metric is the mean of where others have only these.
  """
  rows = []
  keys = ["dataset", "probe", "metric", "column"]
  for (dataset, probe, metric, column), of in scores.main.groupby(keys, sort=False):
    if not comparable(dataset, probe, metric, among.columns):
      continue
    values = _of_others(among, column, means.get(metric, ()))
    known = of.dropna(subset=["value"])
    if values is None or not len(known):
      continue
    decimals = digits(of)
    by_model = {row.model: row for row in known.itertuples()}
    row = [Cell(label(metric), kind="wraps")]
    for model in scores.models:
      if model not in by_model:
        row += [text_cell("-"), text_cell("")]
        continue
      value = float(by_model[model].value)
      place = int((values > value).sum()) + 1
      row += [cell(by_model[model], decimals), Cell(f"{place} of {len(values) + 1}", sort=place, kind="n")]
    marks = {model: float(by_model[model].value) for model in scores.models if model in by_model}
    rows.append([*row, Cell("", strip=strip(values.to_numpy(), marks)), Cell(column, kind="code")])
  if not rows:
    return None
  several = len(scores.models) > 1
  columns = [
    name
    for model in scores.models
    for name in ((f"{model}", "its place") if several else ("value [95 % interval]", "place, largest first"))
  ]
  return Grid(f"Among {len(among)} others", ["measure", *columns, "among all", "column"], rows)


def _of_others(among: pd.DataFrame, column: str, parts: Sequence[str]) -> pd.Series | None:
  """What others have of a number; None where they have nothing."""
  values = None
  if column in among:
    values = among[column].dropna()
  elif parts and set(parts) <= set(among.columns):
    values = among[list(parts)].mean(axis=1, skipna=False).dropna()
  finite = values is not None and len(values) and math.isfinite(float(values.iloc[0]))
  return values if finite else None
