"""Do biases explain generalisation? At most three sentences, all of them made of what the statistics say."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.study import fragility
from biasjax.study.fragility import lower
from biasjax.study.significance import smallest_significant
from biasjax.study.verdict import (
  CONDITIONAL,
  ESTABLISHED,
  FRAGILE,
  RHO,
  STATISTICAL,
  Outlook,
  number,
  outlooks,
)

MOST_NAMED = 4  # relations in a sentence
# What most often keeps a relation from being established, by the kind of check.
REASONS = {
  "interval": "the interval over {over}",
  "multiplicity": "the correction for many tests",
  "family": "the look within, or without, single families",
  "chance": "the look without numbers at chance",
  "group": "another group of models",
  "definition": "another definition",
}


def answer(
  standing: pd.DataFrame,
  cells: pd.DataFrame,
  checks: pd.DataFrame,
  prediction: pd.DataFrame,
  labels: Mapping[str, str],
  group: str,
  reference: str,
) -> tuple[str, ...]:
  """What the study says of its question: what is established, what is predicted, what is not known.

  It begins "Yes" where one bias has an established relation of one sign with every axis, or all biases
  together predict every axis but the reference better than that does; "Partly" where any relation is
  established or any axis predicted; else it says that these models cannot tell.

  Args:
    standing: of `verdict.statuses`.
    cells: of `correlation.cells`.
    checks: of `fragility.checks`.
    prediction: of `prediction.predict_axes`.
    labels: {bias or axis: words}.
    group: of all models.
    reference: the axis of in-distribution accuracy.
  """
  mine = standing[(standing["group"] == group) & np.isfinite(standing["p"])]
  if not len(mine):
    return ("Nothing can be said: no correlation could be computed.",)
  among = cells[cells["group"] == group]
  n, families = int(among["n"].max()), int(among["families"].max())
  foretold = outlooks(prediction)
  sure = mine[mine["status"] == ESTABLISHED].sort_values("spearman", key=np.abs, ascending=False)
  opening = _opening(mine, sure, foretold, reference, n)
  kin = ", all models taken as one family" if families == 1 else ""
  sentences = [f"{opening}{kin}: {_related(mine, sure, labels)}."]
  if foretold:
    sentences.append(_foretold(foretold, labels, reference))
  return (*sentences, *_open(mine, sure, checks, labels, group, n, families))


def _opening(
  mine: pd.DataFrame, sure: pd.DataFrame, foretold: Sequence[Outlook], reference: str, n: int
) -> str:
  others = [one for one in foretold if one.axis != reference]
  if _everywhere(mine, sure) or (others and all(one.predicted and one.better for one in others)):
    return "Yes"
  if len(sure) or any(one.predicted for one in foretold):
    return "Partly"
  return f"These {n} models cannot tell" if n > 1 else "One model cannot tell"


def _everywhere(mine: pd.DataFrame, sure: pd.DataFrame) -> list[str]:
  """Biases with an established relation of one sign with every axis, where there are several axes."""
  axes = mine["axis"].nunique()
  return [
    str(bias)
    for bias, rows in sure.groupby("bias", sort=False)
    if axes > 1 and rows["axis"].nunique() == axes and rows["spearman"].gt(0).nunique() == 1
  ]


def _related(mine: pd.DataFrame, sure: pd.DataFrame, labels: Mapping[str, str]) -> str:
  biases, axes = mine["bias"].nunique(), mine["axis"].nunique()
  if not len(sure):
    return f"none of {len(mine)} relations between a bias and a kind of generalisation stands every check"
  counts = sure.groupby("bias", sort=False)["axis"].nunique()
  low, high = int(counts.min()), int(counts.max())
  each = ("one" if low == 1 else f"{low}") + (f" to {high}" if high > low else "")
  many, kinds = len(counts) > 1, "kinds" if axes > 1 else "kind"
  of = f"{biases} biases" if biases > 1 else "1 bias"
  said = f"of {of} {len(counts)} {'go' if many else 'goes'} with {each} of {axes} {kinds}"
  said += f" of generalisation{' each' if many else ''}"
  everywhere = _everywhere(mine, sure)
  if everywhere:
    said += f", {' and '.join(lower(labels[bias]) for bias in everywhere)} with all"
  elif axes > 1:
    said += ", none with all" + (" in one direction" if high == axes else "")
  named = []
  for row in sure.itertuples():
    verb = "rises" if row.spearman > 0 else "falls"
    only = ", but not at equal in-distribution accuracy" if row.apart is False else ""
    named.append(f"{lower(labels[row.bias])} {verb} with {lower(labels[row.axis])}{only}")
  more = f"; and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
  return f"{said} ({'; '.join(named[:MOST_NAMED])}{more})"


def _foretold(foretold: Sequence[Outlook], labels: Mapping[str, str], reference: str) -> str:
  """What all biases predict together; a fit that works alone is named as that."""
  of = "family of models" if foretold[0].of_families else "model"
  works = [one for one in foretold if one.predicted]
  some = [one for one in foretold if one.works and not one.predicted]
  partly = [f"{lower(labels[one.axis])} by {' and '.join(one.works)} fits only" for one in some]
  if not works:
    but = f" ({', '.join(partly)})" if partly else ""
    return f"Of a {of} not seen, all biases together predict no kind of generalisation reliably{but}."
  said = []
  for one in works:
    than = " (better than in-distribution accuracy does)" if one.better else ""
    if one.axis != reference and one.compared and not one.better:
      than = " (no better than in-distribution accuracy does)"
    said.append(f"{lower(labels[one.axis])}{than}")
  others = [one for one in foretold if not one.works]
  rest = [f"not {' or '.join(lower(labels[one.axis]) for one in others)}"] if others else []
  tail = "".join(f"; {words}" for words in [*partly, *rest])
  return f"Of a {of} not seen, all biases together predict {' and '.join(said)}{tail}."


def _open(
  mine: pd.DataFrame,
  sure: pd.DataFrame,
  checks: pd.DataFrame,
  labels: Mapping[str, str],
  group: str,
  n: int,
  families: int,
) -> list[str]:
  """What is not known: relations that fail a check, kinds of generalisation with none, and the power."""
  unsure = mine[mine["status"].isin((FRAGILE, CONDITIONAL))]
  said = []
  if len(unsure):
    many, more = len(unsure) > 1, " more" if len(sure) else ""
    have, fail = ("s have", "fail") if many else (" has", "fails")
    so = f"so {'they are' if many else 'it is'} not established"
    reason = _reason(unsure, checks, group, families)
    said.append(f"{len(unsure)}{more} relation{have} p < .05 but {fail} a check{reason}, {so}")
  bare = [axis for axis in dict.fromkeys(mine["axis"]) if axis not in set(sure["axis"])]
  if len(sure) and bare:
    said.append(
      f"for {' and '.join(lower(labels[axis]) for axis in bare)} nothing is{'' if said else ' established'}"
    )
  if not len(sure):
    least = smallest_significant(n)
    if math.isfinite(least):
      said.append(f"with {n} models |{RHO}| below {number(least)} cannot be told from none")
  text = "; ".join(said)
  return [f"{text[0].upper()}{text[1:]}."] if text else []


def _reason(unsure: pd.DataFrame, checks: pd.DataFrame, group: str, families: int) -> str:
  """The kind of check that most of the relations fail, with how many."""
  pairs = set(zip(unsure["bias"], unsure["axis"], strict=True))
  failed = checks[(checks["group"] == group) & checks["kind"].isin((*STATISTICAL, "definition"))]
  failed = failed[~failed["verdict"].isin((fragility.HOLDS, fragility.NOT_COMPUTED))]
  inside = [pair in pairs for pair in zip(failed["bias"], failed["axis"], strict=True)]
  counts = failed[inside].drop_duplicates(["bias", "axis", "kind"])["kind"].value_counts()
  if not len(counts):
    return ""
  kind = str(counts.index[0])
  reason = REASONS[kind].format(over="families" if families > 1 else "models")
  failing = int(counts.iloc[0])
  if len(unsure) == 1:
    return f" ({reason})"
  every = "both" if failing == 2 else f"all {failing}"
  return f" ({every if failing == len(unsure) else f'{failing} of {len(unsure)}'} {reason})"
