"""Reference networks under one's own: tables that others made, studied by the columns that all have."""

import dataclasses
import math
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.messages import counted
from biasjax.results import across
from biasjax.study import table as tables
from biasjax.study.definitions import Definitions, Measure
from biasjax.study.table import Table

OWN = "own"  # the category of one's own models that --categories does not name
FLAG = "--beside"
MOST_NAMED = 3  # columns in a label


def read(path: str, categories: str | None, beside: Sequence[str], used: Iterable[str]) -> Table:
  """A table with reference rows under it.

  Models of --table that no category names are of one of their own; a reference row that none names is left
  out, and without --categories those of a file are one category. Of a model that is in two tables both rows
  are kept: the reference row is called after its file too.

  Args:
    path, categories, used: as of `table.read`.
    beside: CSV files of reference rows.

  Raises:
    BiasjaxError: a file cannot be read, or two files have one name and a model in common.
  """
  used = list(used)
  kinds = tables.read_categories(categories) if categories else {}
  of_model = {model: category for category, models in kinds.items() for model in models}
  own = tables.read(path, None, used)
  notes = [note for note in own.notes if note != tables.NO_CATEGORIES]
  category = {model: of_model.get(model, OWN) for model in own.frame.index}
  frames, intervals, source, known_as = [own.frame], [own.intervals], {}, {}
  for other in beside:
    found = tables.read(other, None, used, FLAG)
    stem, name = pathlib.Path(other).stem, pathlib.Path(other).name
    notes += [f"{name}: {note}" for note in found.notes if note != tables.NO_CATEGORIES]
    kept = [model for model in found.frame.index if not kinds or model in of_model]
    if len(kept) < len(found.frame):
      notes.append(f"{counted(len(found.frame) - len(kept), 'model')} of {name} in no category: left out.")
    called = {model: f"{model} ({stem})" if model in category else model for model in kept}
    for model, new in called.items():
      if new in category:
        raise BiasjaxError(f"{FLAG}={other}: {new} is there already: give one of the files another name")
      if new != model:
        notes.append(f"{model} is in {name} too: its row of {name} is called {new!r}, and both count.")
      category[new], source[new], known_as[new] = of_model.get(model, stem), name, model
    frames.append(found.frame.loc[kept].rename(index=called))
    mine = found.intervals[found.intervals["model"].isin(kept)]
    intervals.append(mine.assign(model=mine["model"].map(called)))
  frames[0], more = _comparable_only(own, set().union(*(frame.columns for frame in frames[1:])))
  notes += more
  return Table(
    frame=pd.concat(frames).rename_axis("model"),
    category=pd.Series(category, dtype=object),
    notes=tuple(notes),
    intervals=pd.concat([each for each in intervals if len(each)] or intervals[:1], ignore_index=True),
    beside=source,
    known_as=known_as,
  )


def comparable(dataset: str, probe: str, column: str, theirs: Collection[str]) -> bool:
  """Whether a number may stand beside that of a reference table which has a column of this name.

  Accuracies are named by their images. Biases are not: theirs are taken to be ImageNet's (of shape, of the
  cue-conflict stimuli), or of any images whose accuracy they have too.

  Args:
    dataset, probe, column: of one's own number, as in metrics.csv.
    theirs: the columns of the reference tables.
  """
  if probe.partition(":")[0] in ("accuracy", across.NAME, ""):
    return True
  usual = "cue-conflict" if column.startswith(("shape-bias", "cue-conflict")) else "imagenet"
  return dataset == usual or f"top1_acc/{dataset}" in theirs


def _comparable_only(own: Table, theirs: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
  """One's own numbers without those of other images than a reference's column of the same name; and notes."""
  frame, other = own.frame.copy(), {}
  for row in own.intervals.itertuples():
    if row.column in theirs and not comparable(str(row.dataset), str(row.probe), row.column, theirs):
      frame.loc[row.model, row.column] = math.nan
      other.setdefault(row.dataset, {})[row.column] = None
  notes = []
  for dataset, (first, *rest) in other.items():
    more = f" and {len(rest)} more columns" if rest else ""
    notes.append(
      f"{first}{more} of {dataset}: reference rows have it of other images, so the table's own are left out; "
      "if these are ImageNet's, say so where they are measured (--dataset=imagenet=...)."
    )
  return frame, notes


def shared(asked: Definitions, table: Table) -> tuple[Definitions, list[str]]:
  """The definitions over the columns that all tables have, and notes on what they are made of.

  A measure of which a table has no column stays as it is: its models have no value then, the others have.
  """
  sides = {"the table": [model for model in table.frame.index if model not in table.beside]}
  for model, name in table.beside.items():
    sides.setdefault(name, []).append(model)
  has = {name: table.frame.loc[models].notna().any() for name, models in sides.items()}
  there = {name: set(of.index[of]) for name, of in has.items()}
  for of in there.values():
    of |= {name for name, derived in asked.columns.items() if set(derived.mean) <= of}
  notes: list[str] = []

  def narrowed(measures: Mapping[str, Measure], *, say: bool) -> dict[str, Measure]:
    found = {}
    for name, measure in measures.items():
      kept = [column for column in measure.mean if all(column in of for of in there.values())]
      lacking = [f"{c} is not in {side}" for side, of in there.items() for c in measure.mean if c not in of]
      found[name] = measure
      if kept and lacking:
        made_of = ", ".join(column.removeprefix("top1_acc/") for column in kept)
        short = made_of if len(kept) <= MOST_NAMED else f"{len(kept)} of {len(measure.mean)} columns"
        label = f"{measure.label or name} ({short})"
        found[name] = dataclasses.replace(measure, mean=tuple(kept), label=label)
      if lacking and say:
        words = measure.label or name
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        what = f"is made of {', '.join(kept)}, which all tables have" if kept else "has no column in common"
        notes.append(f"{words} {what}: {lacking[0]}{more}.")
    return found

  variations = tuple(
    dataclasses.replace(v, biases=narrowed(v.biases, say=False), axes=narrowed(v.axes, say=False))
    for v in asked.variations
  )
  biases, axes = narrowed(asked.biases, say=True), narrowed(asked.axes, say=True)
  return dataclasses.replace(asked, biases=biases, axes=axes, variations=variations), notes
