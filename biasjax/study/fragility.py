"""How fragile a claim is: families of near-duplicates, groups, in-distribution accuracy, other definitions.

A claim is a cell: a bias falls or rises with an axis (p < .05), or no relation was found. Each check
computes the same correlation in another way, and the claim holds, weakens (the sign stays, p reaches .05) or
flips (the sign changes); where no relation was found, one may appear. Every p is from permutations.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from biasjax.messages import counted
from biasjax.study import correlation
from biasjax.study.definitions import Definitions, Variation, compute
from biasjax.study.resampling import Resampling
from biasjax.study.significance import ALPHA, MIN_MODELS, partial_p

HOLDS, WEAKENS, FLIPS, APPEARS = "holds", "weakens", "flips", "appears"
NOT_COMPUTED = "not computed"


def verdict(spearman: float, p: float, checked: float, checked_p: float) -> str:
  """What a check says of a claim: both correlations, each with its p."""
  if not all(map(math.isfinite, (spearman, p, checked, checked_p))):
    return NOT_COMPUTED
  if p >= ALPHA:
    return APPEARS if checked_p < ALPHA else HOLDS
  if checked * spearman < 0:
    return FLIPS
  return HOLDS if checked_p < ALPHA else WEAKENS


def within(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  category: np.ndarray,
  members: np.ndarray,
  resampling: Resampling,
) -> pd.DataFrame:
  """The correlation that is left when models are compared with those of their own category only.

  Midranks over all models, centred in each category, then Pearson's correlation; p from permutations within
  categories. Categories of one model say nothing and are not counted.

  Args:
    biases, axes: float, a row for each model.
    category: [models].
    members: bool [models], who takes part.
    resampling: orders.

  Returns:
    `bias, axis, n, categories, pooled, pooled_p, within, within_p, simpson` for each pair. simpson: the
    pooled correlation has p < .05 and the opposite sign within categories (Simpson's paradox).
  """
  rows = []
  pooled = correlation.tested(biases, axes, members, resampling)
  for chosen, pairs in correlation.by_models(biases, axes, members):
    names, blocks, sizes = np.unique(category[chosen].astype(str), return_inverse=True, return_counts=True)
    n = int(sizes[sizes > 1].sum())
    usable = len(names) > 1 and _kin(n, int((sizes > 1).sum()))
    inside: dict[tuple[str, str], correlation.Related] = {}
    if usable:
      both = correlation.ranked_pairs(biases, axes, chosen, pairs)
      x, y = (ranks - ranks.groupby(blocks).transform("mean") for ranks in both)
      inside = correlation.related(x, y, resampling.within(blocks))
    for bias, axis in pairs:
      r, p = inside.get((bias, axis), (math.nan, math.nan))
      _, pooled_r, pooled_p = pooled[bias, axis]
      simpson = bool(pooled_p < ALPHA and pooled_r * r < 0)
      rows.append((bias, axis, n, int((sizes > 1).sum()), pooled_r, pooled_p, r, p, simpson))
  columns = ["bias", "axis", "n", "categories", "pooled", "pooled_p", "within", "within_p", "simpson"]
  return pd.DataFrame(rows, columns=columns)


def _kin(models: int, categories: int) -> bool:
  """Whether so many models, in categories of several each, are enough to be compared among kin."""
  return models - categories >= MIN_MODELS - 1


def leave_one_category_out(
  biases: pd.DataFrame,
  axes: pd.DataFrame,
  category: np.ndarray,
  members: np.ndarray,
  resampling: Resampling,
) -> pd.DataFrame:
  """Spearman without each category in turn: `bias, axis, without, n, spearman, p`. Empty for one category."""
  names = list(dict.fromkeys(category[members]))
  rows = []
  for name in names if len(names) > 1 else ():
    found = correlation.tested(biases, axes, members & (category != name), resampling)
    rows += [(bias, axis, name, *found[bias, axis]) for bias, axis in itertools.product(biases, axes)]
  return pd.DataFrame(rows, columns=["bias", "axis", "without", "n", "spearman", "p"])


def leave_one_model_out(biases: pd.DataFrame, axes: pd.DataFrame, members: np.ndarray) -> pd.DataFrame:
  """How far one model moves Spearman: `bias, axis, model, spearman_without, influence`.

  influence is the correlation of all minus that without the model; positive: the model raises it.
  """
  rows = []
  for chosen, pairs in correlation.by_models(biases, axes, members):
    n = int(chosen.sum())
    if n <= MIN_MODELS:
      continue
    weights = np.concatenate([np.ones((1, n), int), 1 - np.eye(n, dtype=int)])
    for bias, axis in pairs:
      x, y = (v.loc[chosen, [name]].to_numpy() for v, name in ((biases, bias), (axes, axis)))
      values = correlation.spearman_draws(x, y, weights)[:, 0, 0]
      models = biases.index[chosen]
      rows += [(bias, axis, m, v, values[0] - v) for m, v in zip(models, values[1:], strict=True)]
  return pd.DataFrame(rows, columns=["bias", "axis", "model", "spearman_without", "influence"])


def given(
  biases: pd.DataFrame, axes: pd.DataFrame, reference: str, members: np.ndarray, resampling: Resampling
) -> pd.DataFrame:
  """Spearman's partial correlation of every bias with every other axis, given the axis `reference`.

  Pearson's partial correlation of midranks, with the permutation p of what `reference` leaves of them.

  Returns:
    `bias, axis, given, n, spearman, p`; NaN where it is undefined, as when `reference` orders the models just
    as the bias does.
  """
  others = axes.drop(columns=reference)
  rows = {}
  for chosen, pairs in correlation.by_models(
    biases, others, members & np.isfinite(axes[reference].to_numpy())
  ):
    n, known = int(chosen.sum()), {}
    if n >= MIN_MODELS and np.ptp(axes.loc[chosen, reference]) > 0:
      z = correlation.ranked(axes, chosen, [reference])[reference].to_numpy()
      x, y = correlation.ranked_pairs(biases, others, chosen, pairs)
      known = _partial(x, y, z, resampling.orders(n))
    rows |= {pair: (*pair, reference, n, *known.get(pair, (math.nan, math.nan))) for pair in pairs}
  listed = [rows[pair] for pair in itertools.product(biases, others)]
  return pd.DataFrame(listed, columns=["bias", "axis", "given", "n", "spearman", "p"])


def _partial(
  x: pd.DataFrame, y: pd.DataFrame, given: np.ndarray, orders: np.ndarray
) -> dict[tuple[str, str], correlation.Related]:
  """Partial correlations of centred columns given a centred third, of those that it leaves something of."""
  left = []
  for columns in (x, y):
    rest = columns - np.outer(given, given @ columns.to_numpy()) / (given @ given)
    left.append(rest.loc[:, (rest**2).sum() > 1e-12 * (given @ given)])
  x, y = left
  u, v = x.to_numpy(), y.to_numpy()
  r = u.T @ v / np.sqrt(np.outer((u**2).sum(axis=0), (v**2).sum(axis=0)))
  p = partial_p(u, v, given, orders)
  found = zip(np.clip(r, -1, 1).ravel().tolist(), p.ravel().tolist(), strict=True)
  return dict(zip(itertools.product(x.columns, y.columns), found, strict=True))


def under(
  variation: Variation,
  definitions: Definitions,
  frame: pd.DataFrame,
  category: pd.Series,
  resampling: Resampling,
) -> pd.DataFrame:
  """Every cell that a variation touches, computed under it.

  Args:
    variation: the other definition.
    definitions: the study's own.
    frame: float, columns of the table and derived ones.
    category: of each model.
    resampling: orders.

  Returns:
    `bias, axis, group, n, spearman, p, reason`; reason says why a cell could not be computed.
  """
  moved = category.copy()
  for model, name in variation.move:
    if model in moved.index:
      moved[model] = name
  biases, no_bias = compute({**definitions.biases, **variation.biases}, frame)
  axes, no_axis = compute({**definitions.axes, **variation.axes}, frame)
  rows = []
  for group in definitions.groups:
    members = group.members(moved)
    regrouped = not np.array_equal(members, group.members(category))
    touched = [
      (bias, axis)
      for bias, axis in itertools.product(definitions.biases, definitions.axes)
      if regrouped or bias in variation.biases or axis in variation.axes
    ]
    asked_biases, asked_axes = (dict.fromkeys(pair[i] for pair in touched) for i in (0, 1))
    there = biases[[b for b in asked_biases if b in biases]], axes[[a for a in asked_axes if a in axes]]
    found = correlation.tested(there[0], there[1], members, resampling)
    for pair in touched:
      reason = no_bias.get(pair[0]) or no_axis.get(pair[1]) or ""
      n, r, p = found.get(pair, (0, math.nan, math.nan))
      if not reason and math.isnan(r):
        reason = f"{counted(n, 'model')}: too few" if n < MIN_MODELS else "the values do not vary"
      rows.append((*pair, group.name, n, r, p, reason))
  return pd.DataFrame(rows, columns=["bias", "axis", "group", "n", "spearman", "p", "reason"])


def claim(spearman: float, p: float, bias: str, axis: str) -> str:
  """A correlation with its p as a sentence about the labels of a bias and an axis."""
  if not math.isfinite(p):
    relation = "was not computed against"
  elif p >= ALPHA:
    relation = "shows no relation with"
  else:
    relation = "rises with" if spearman > 0 else "falls with"
  return f"{bias} {relation} {lower(axis)}"


def lower(label: str) -> str:
  """A label within a sentence; abbreviations stay."""
  return label[0].lower() + label[1:] if label[1:2].islower() else label


def checks(
  cells: pd.DataFrame,
  within_categories: Mapping[str, pd.DataFrame],
  without_category: Mapping[str, pd.DataFrame],
  given_accuracy: pd.DataFrame,
  varied: Mapping[str, pd.DataFrame],
  labels: Mapping[str, str],
  above_chance: Mapping[tuple[str, str, str], tuple[int, float, float]] | None = None,
) -> pd.DataFrame:
  """Each claim against each check: a row "claim, holds / weakens / flips".

  Args:
    cells: of `correlation.cells`; the claims of its first group are also held against those of the others.
    within_categories, without_category: {group: table} of the functions above.
    given_accuracy: of `given`, with a column `group`.
    varied: {variation: table} of `under`.
    labels: {bias or axis: words}.
    above_chance: {(bias, axis, group): (models, Spearman, p)} without numbers that rest on chance.

  Returns:
    `claim, bias, axis, group, spearman, p, kind, check, n, checked, checked_p, verdict, reason`.
  """
  inside_of = {name: _by_cell(table, "bias", "axis") for name, table in within_categories.items()}
  without_of = {name: _by_cell(table, "bias", "axis") for name, table in without_category.items()}
  given_of = _by_cell(given_accuracy, "bias", "axis", "group")
  varied_of = {name: _by_cell(table, "bias", "axis", "group") for name, table in varied.items()}
  groups = _by_cell(cells, "bias", "axis")
  rows = []
  for cell in cells.to_dict("records"):
    pair, group = (cell["bias"], cell["axis"]), cell["group"]
    r, p, n = cell["spearman"], cell["p_permutation"], cell["n"]
    same = {"claim": claim(r, p, *(labels[name] for name in pair)), "bias": pair[0], "axis": pair[1]}
    same |= {"group": group, "spearman": r, "p": p}
    found: list[tuple] = [
      ("multiplicity", "Holm", n, r, cell["p_holm"]),
      ("multiplicity", "Benjamini-Hochberg", n, r, cell["p_bh"]),
    ]
    low, high = correlation.deciding(cell)
    if math.isfinite(low):
      over = "families" if math.isfinite(cell["family_low"]) else "models"
      # An interval is judged like a test: all that counts is on which side of .05 it lies.
      found.append(("interval", f"interval over {over}", n, r, float(low <= 0 <= high)))
    for row in inside_of.get(group, {}).get(pair, ()):
      inside, inside_p, why = row["within"], row["within_p"], ""
      if math.isnan(inside) and cell["families"] > 1 and _kin(row["n"], row["categories"]):
        # As many observations as there are categories, however many models.
        inside, inside_p, why = 0.0, 1.0, "the values do not vary within categories"
      found.append(("family", "within categories", row["n"], inside, inside_p, why))
    for row in without_of.get(group, {}).get(pair, ()):
      found.append(("family", f"without {row['without']}", row["n"], row["spearman"], row["p"]))
    kept, clear, clear_p = (above_chance or {}).get((*pair, group), (n, math.nan, math.nan))
    if kept < n:
      # Where too few are left to tell, it may all have been chance.
      clear, clear_p = (0.0, 1.0) if math.isnan(clear) else (clear, clear_p)
      found.append(("chance", "without numbers at chance", kept, clear, clear_p))
    first, *others = groups[pair]
    for other in others if first["group"] == group else ():
      among = (other["n"], other["spearman"], other["p_permutation"])
      found.append(("group", f"among {other['group']}", *among))
    for row in given_of.get((*pair, group), ()):
      found.append(("accuracy", f"given {row['given']}", row["n"], row["spearman"], row["p"]))
    for name, cells_of in varied_of.items():
      for row in cells_of.get((*pair, group), ()):
        found.append(("definition", name, row["n"], row["spearman"], row["p"], row["reason"]))
    for kind, check, number, checked, checked_p, *reason in found:
      judged = {"verdict": verdict(r, p, checked, checked_p), "reason": "".join(reason)}
      row = {"kind": kind, "check": check, "n": number, "checked": checked, "checked_p": checked_p}
      rows.append({**same, **row, **judged})
  table = pd.DataFrame(rows, columns=CHECK_COLUMNS)
  table.loc[table["kind"] == "interval", "checked_p"] = math.nan
  return table


CHECK_COLUMNS = [
  *("claim", "bias", "axis", "group", "spearman", "p", "kind", "check", "n"),
  *("checked", "checked_p", "verdict", "reason"),
]


def _by_cell(table: pd.DataFrame | None, *keys: str) -> dict[tuple, list[dict]]:
  """The rows of a table, gathered by the cell they are about."""
  gathered: dict[tuple, list[dict]] = {}
  for row in () if table is None else table.to_dict("records"):
    gathered.setdefault(tuple(row[key] for key in keys), []).append(row)
  return gathered
