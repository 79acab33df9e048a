"""Which numbers rest on accuracies that cannot be told from chance, by the flags of metrics.csv.

Chance over clean accuracy is a number as well, and falls as clean accuracy rises: what such numbers correlate
with is arithmetic. So each relation is also computed without them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.study.definitions import Measure
from biasjax.study.table import Table

WORD = "chance"  # what every flag about chance says


def flagged(
  asked: Mapping[str, Measure], values: pd.DataFrame, table: Table, derived: Mapping[str, Measure]
) -> pd.DataFrame:
  """bool [models, measures]: whether a column of a measure, or its own number, is flagged as at chance.

  Args:
    asked: the measures.
    values: float [models, measures].
    table: whose metrics.csv has the flags.
    derived: the derived columns, which rest on others.
  """
  flags = table.intervals[table.intervals["flag"].astype(str).str.contains(WORD)]
  at = pd.DataFrame(False, index=values.index, columns=values.columns)
  made_of = {name: {name, *_columns(asked[name], derived)} for name in values}
  for column, models in flags.groupby("column")["model"]:
    using = [name for name, columns in made_of.items() if column in columns]
    at.loc[at.index.isin(models), using] = True
  return at


def _columns(measure: Measure, derived: Mapping[str, Measure]) -> set[str]:
  """The columns of the table that a measure is made of."""
  named = {*measure.mean, *([measure.times] if measure.times else [])}
  return named.union(*(_columns(derived[name], {}) for name in named if name in derived))


def notes(at: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
  """Which measures rest on chance for which models, a sentence each."""
  said = []
  for name in at:
    models = at.index[at[name].to_numpy(bool)]
    if len(models):
      shown = ", ".join(models[:3]) + (", ..." if len(models) > 3 else "")
      said.append(
        f"{labels[name]} of {len(models)} of {len(at)} models ({shown}) rests on accuracies that are not "
        "above chance: each relation is also computed without them."
      )
  return said


def without(values: pd.DataFrame, at: pd.DataFrame) -> pd.DataFrame:
  """The same numbers, those at chance missing."""
  return values.where(~at[values.columns].to_numpy(bool), np.nan)
