"""Shape bias: what wins where the shape of one category wears the texture of another.

Geirhos et al. 2019, on their 1,280 cue-conflict stimuli. The 16 categories compete, each by the mean of its
classes' probabilities; the 80 stimuli whose shape and texture agree are left out; the bias is the share of
shape decisions among those for shape or texture.
"""

import functools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.data.classes import categories as all_categories
from biasjax.probes import chance
from biasjax.probes.base import Metric, Probe
from biasjax.probes.decisions import drawn_categories, every_class, only, sixteen_categories
from biasjax.recorded import trials

NAME = "shape"
NO_DECISION = "no decision is for either cue"


def summarise(
  observations: Mapping[str, pd.DataFrame], *, name: str, competing: tuple[str, ...] | None
) -> list[Metric]:
  """Shape bias, overall and for each shape category, and cue accuracy, with 95 % intervals of `trials.count`.

  The bias says little where cue accuracy, the share of decisions for either cue, is low, and is flagged where
  that cannot be told from chance. `n` counts the decisions that a bias rests on, and the stimuli for
  accuracies.
  """
  table = observations[name]
  # Each drawn picture is drawn by itself, whatever its name.
  crossed = table.attrs.get("labels") != "synthetic_conflict"
  decisions = trials.from_observations(table)
  competing = competing or trials.category_names(table)
  decisions = decisions[decisions["shape"].isin(competing) & decisions["texture"].isin(competing)]
  variant = name.removeprefix(NAME)
  # shape-bias/<category> and nothing else stands under shape-bias/, for whoever reads the columns by pattern.
  column, stimuli = f"shape-bias{variant}", f"cue-conflict{variant}"
  # A category's stimuli have one shape, and answers about them alone tell nothing of guessing.
  dealt = decisions.loc[decisions["shape"] != decisions["texture"], "response"]
  counts, guessing, flag = _judged(decisions, competing, crossed, dealt)
  decided = counts.n_shape + counts.n_texture
  of_bias = NO_DECISION if counts.n_conflict and not decided else about_cues(flag)
  of_bias, flag = (_joined(of, _winners(decisions, competing)) for of in (of_bias, flag))
  metrics = [
    Metric(column, *counts.shape_bias, decided, flag=of_bias),
    Metric(f"{stimuli}/accuracy", *counts.cue_accuracy, counts.n_conflict, chance=guessing, flag=flag),
    # Where categories are left out, how many stimuli remain belongs beside the bias.
    _count(f"{stimuli}/n_conflict", counts.n_conflict, counts.n_conflict, detail=name == NAME),
    _count(f"{stimuli}/n_shape", counts.n_shape, counts.n_conflict),
    _count(f"{stimuli}/n_texture", counts.n_texture, counts.n_conflict),
  ]
  if table.attrs.get("labels") == "class_conflict":  # of which there may be thousands
    shown = set(decisions["shape"])
    competing_shapes = [category for category in competing if category in shown]
  else:
    competing_shapes = list(competing)
  for category in competing_shapes:
    of_category, _, flag = _judged(decisions[decisions["shape"] == category], competing, crossed, dealt)
    n, name_of = of_category.n_shape + of_category.n_texture, f"{column}/{category}"
    metrics.append(Metric(name_of, *of_category.shape_bias, n, detail=True, flag=about_cues(flag)))
  return metrics


def _judged(
  decisions: pd.DataFrame, competing: tuple[str, ...], crossed: bool, dealt: pd.Series
) -> tuple[trials.CueConflict, float, str]:
  """What was decided, the chance that a decision is for either cue, and the flag of the cue accuracy.

  Args:
    decisions: about some stimuli.
    competing, crossed: as in `summarise`.
    dealt: the answers about all stimuli, which chance deals out to these (`chance.of_answers`).
  """
  counts = trials.count(decisions, crossed=crossed)
  conflict = decisions[decisions["shape"] != decisions["texture"]]
  answered = dealt.value_counts(normalize=True)
  # No answer is for both, so that the chances add up; each is at least one in the categories that compete.
  guessing = sum(
    max(1 / len(competing), float(answered.reindex(conflict[cue]).fillna(0.0).mean()))
    for cue in ("shape", "texture")
  )
  guessing = min(guessing, 1.0)
  return counts, guessing, chance.flag(*counts.cue_accuracy[1:], guessing)


def _winners(decisions: pd.DataFrame, competing: tuple[str, ...]) -> str:
  """That few of the categories ever win, as with a network that knows only some; "" where it is not so."""
  answered = sorted(set(decisions["response"]) & set(competing))
  if not answered or 2 * len(answered) > len(competing) or len(decisions) < 10 * len(competing):
    return ""
  again = f": ask {NAME}:categories={'+'.join(answered)}" if len(answered) > 1 else ""
  return f"of {len(competing)} categories only {', '.join(answered)} ever won{again}"


def _joined(*flags: str) -> str:
  return "; ".join(flag for flag in flags if flag)


def about_cues(flag: str) -> str:
  """What the flag of the cue accuracy says of a bias."""
  return f"decisions for either cue {flag}" if flag else ""


def _count(name: str, value: int, n: int, detail: bool = True) -> Metric:
  return Metric(name, float(value), math.nan, math.nan, n, detail=detail)


def make(size: int = 224, *, categories: str = "") -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side.
    categories: those that compete, joined by "+" ("car+dog+truck"), for a network that knows only some;
      stimuli of which shape or texture is another are left out. All 16 by default.

  Raises:
    BiasjaxError: an unknown category, or fewer than two.
  """
  del size  # nothing here depends on it
  competing = tuple(sorted(set(categories.split("+")))) if categories else None
  name = f"{NAME}:categories={categories}" if categories else NAME
  return Probe(
    name=name,
    conditions={"cue-conflict": np.zeros((), np.int32)},
    perturb=lambda key, image, condition: image,
    summarise=functools.partial(summarise, name=name, competing=competing),
    parameters={"categories": competing or all_categories()},
    decide={"cue_conflict": only(competing)}
    if competing
    else {
      "cue_conflict": sixteen_categories,
      "synthetic_conflict": drawn_categories,
      "class_conflict": every_class,
    },
  )
