"""How fragile a claim is: families of near-duplicates, in-distribution accuracy, and other definitions.

A claim is a cell of the published table: a bias falls or rises with an axis (p < .05), or no relation was
found. Each check computes the same correlation in another way, and the claim holds, weakens (the sign stays,
p reaches .05) or flips (the sign changes); where no relation was found, one may appear.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.stats

from biasjax.study import correlation
from biasjax.study.correlation import ALPHA, MIN_MODELS
from biasjax.study.definitions import Definitions, Variation, compute

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
  draws: int,
  rng: np.random.Generator,
) -> pd.DataFrame:
  """The correlation that is left when models are compared with those of their own category only.

  Midranks over all models, centred in each category, then Pearson's correlation; p from permutations within
  categories. Categories of one model say nothing and are not counted.

  Args:
    biases, axes: float, a row for each model.
    category: [models].
    members: bool [models], who takes part.
    draws: permutations.
    rng: their source.

  Returns:
    `bias, axis, n, categories, pooled, pooled_p, within, within_p, simpson` for each pair. simpson: the
    pooled correlation has p < .05 and the opposite sign within categories (Simpson's paradox).
  """
  rows = []
  for chosen, pairs in correlation.by_models(biases, axes, members):
    names, blocks, sizes = np.unique(category[chosen].astype(str), return_inverse=True, return_counts=True)
    n = int(sizes[sizes > 1].sum())
    usable = len(names) > 1 and n - (sizes > 1).sum() >= MIN_MODELS - 1
    orders = correlation.permutations(blocks, draws, rng) if usable else np.zeros((0, 0), int)
    for bias, axis in pairs:
      x, y = biases.loc[chosen, bias].to_numpy(), axes.loc[chosen, axis].to_numpy()
      pooled, pooled_p = correlation.spearman(x, y)
      r, p = math.nan, math.nan
      if usable:
        cx, cy = (_centred(correlation.midranks(v), blocks) for v in (x, y))
        norm = math.sqrt(float(cx @ cx) * float(cy @ cy))
        if norm > 1e-9:
          r = float(cx @ cy) / norm
          p = float(correlation.permutation_p(cx[:, None], cy[:, None], orders)[0, 0])
      simpson = bool(pooled_p < ALPHA and pooled * r < 0)
      rows.append((bias, axis, n, int((sizes > 1).sum()), pooled, pooled_p, r, p, simpson))
  columns = ["bias", "axis", "n", "categories", "pooled", "pooled_p", "within", "within_p", "simpson"]
  return pd.DataFrame(rows, columns=columns)


def _centred(ranks: np.ndarray, blocks: np.ndarray) -> np.ndarray:
  """Ranks minus their mean in each block."""
  return ranks - (np.bincount(blocks, ranks) / np.bincount(blocks))[blocks]


def leave_one_category_out(
  biases: pd.DataFrame, axes: pd.DataFrame, category: np.ndarray, members: np.ndarray
) -> pd.DataFrame:
  """Spearman without each category in turn: `bias, axis, without, n, spearman, p`. Empty for one category."""
  rows = []
  names = list(dict.fromkeys(category[members]))
  xs, ys = ({name: values.to_numpy() for name, values in of.items()} for of in (biases, axes))
  for name in names if len(names) > 1 else ():
    kept = members & (category != name)
    for bias, axis in itertools.product(biases, axes):
      x, y = xs[bias][kept], ys[axis][kept]
      n = int((np.isfinite(x) & np.isfinite(y)).sum())
      rows.append((bias, axis, name, n, *correlation.spearman(x, y)))
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


def partial(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> tuple[float, float, int]:
  """Spearman's partial correlation of x and y given a third variable.

  Pearson's partial correlation of midranks; p by Student's t with n - 3 degrees of freedom.

  Args:
    x, y, given: float [n]; models that miss one of them are left out.

  Returns:
    (correlation, p, n); NaN where it is undefined, as when `given` orders the models just as x does.
  """
  known = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
  n = int(known.sum())
  if n < MIN_MODELS or any(np.ptp(v[known]) == 0 for v in (x, y, given)):
    return math.nan, math.nan, n
  r = np.corrcoef([correlation.midranks(v[known]) for v in (x, y, given)])
  rest = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
  if rest < 1e-12:
    return math.nan, math.nan, n
  value = float(np.clip((r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt(rest), -1, 1))
  t = value * math.sqrt((n - 3) / max(1 - value**2, 1e-15))
  return value, float(2 * scipy.stats.t.sf(abs(t), n - 3)), n


def under(
  variation: Variation, definitions: Definitions, frame: pd.DataFrame, category: pd.Series
) -> pd.DataFrame:
  """Every cell that a variation touches, computed under it.

  Args:
    variation: the other definition.
    definitions: the study's own.
    frame: float, columns of the table and derived ones.
    category: of each model.

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
    for bias in definitions.biases:
      for axis in definitions.axes:
        if not (regrouped or bias in variation.biases or axis in variation.axes):
          continue
        reason = no_bias.get(bias) or no_axis.get(axis) or ""
        n, r, p = 0, math.nan, math.nan
        if not reason:
          x, y = biases.loc[members, bias].to_numpy(), axes.loc[members, axis].to_numpy()
          n = int((np.isfinite(x) & np.isfinite(y)).sum())
          r, p = correlation.spearman(x, y)
          if math.isnan(r):
            reason = f"{n} models are too few" if n < MIN_MODELS else "the values do not vary"
        rows.append((bias, axis, group.name, n, r, p, reason))
  return pd.DataFrame(rows, columns=["bias", "axis", "group", "n", "spearman", "p", "reason"])


def claim(row: Mapping, labels: Mapping[str, str]) -> str:
  """A cell as a sentence: what the published table would say of it."""
  bias, axis = labels[row["bias"]], lower(labels[row["axis"]])
  if not math.isfinite(row["p"]):
    relation = "was not computed against"
  elif row["p"] >= ALPHA:
    relation = "has no relation with"
  else:
    relation = "rises with" if row["spearman"] > 0 else "falls with"
  return f"{bias} {relation} {axis}"


def lower(label: str) -> str:
  """A label within a sentence; abbreviations stay."""
  return label[0].lower() + label[1:] if label[1:2].islower() else label


def checks(
  cells: pd.DataFrame,
  within_categories: Mapping[str, pd.DataFrame],
  without_category: Mapping[str, pd.DataFrame],
  given: pd.DataFrame,
  varied: Mapping[str, pd.DataFrame],
  labels: Mapping[str, str],
) -> pd.DataFrame:
  """Each claim against each check: a row "claim, holds / weakens / flips".

  Args:
    cells: of `correlation.cells`.
    within_categories, without_category: {group: table} of the functions above.
    given: `bias, axis, group, n, spearman, p` given in-distribution accuracy.
    varied: {variation: table} of `under`.
    labels: {bias or axis: words}.

  Returns:
    `claim, bias, axis, group, spearman, p, kind, check, n, checked, checked_p, verdict, reason`.
  """
  inside_of = {name: _by_cell(table, "bias", "axis") for name, table in within_categories.items()}
  without_of = {name: _by_cell(table, "bias", "axis") for name, table in without_category.items()}
  given_of = _by_cell(given, "bias", "axis", "group")
  varied_of = {name: _by_cell(table, "bias", "axis", "group") for name, table in varied.items()}
  rows = []
  for cell in cells.to_dict("records"):
    pair, group = (cell["bias"], cell["axis"]), cell["group"]
    same = {k: cell[k] for k in ("bias", "axis", "group", "spearman", "p")} | {"claim": claim(cell, labels)}
    r, n = cell["spearman"], cell["n"]
    found: list[tuple] = [
      ("multiplicity", "Holm", n, r, cell["p_holm"]),
      ("multiplicity", "Benjamini-Hochberg", n, r, cell["p_bh"]),
      ("permutation", "permutation test", n, r, cell["p_permutation"]),
    ]
    if math.isfinite(cell["low"]):
      # An interval is judged like a test: all that counts is on which side of .05 it lies.
      found.append(("interval", "interval excludes zero", n, r, float(cell["low"] <= 0 <= cell["high"])))
    for row in inside_of.get(group, {}).get(pair, ()):
      found.append(("family", "within categories", row["n"], row["within"], row["within_p"]))
    for row in without_of.get(group, {}).get(pair, ()):
      found.append(("family", f"without {row['without']}", row["n"], row["spearman"], row["p"]))
    for row in given_of.get((*pair, group), ()):
      found.append(("accuracy", f"given {row['given']}", row["n"], row["spearman"], row["p"]))
    for name, cells_of in varied_of.items():
      for row in cells_of.get((*pair, group), ()):
        found.append(("definition", name, row["n"], row["spearman"], row["p"], row["reason"]))
    for kind, check, n, r, p, *reason in found:
      judged = {"verdict": verdict(cell["spearman"], cell["p"], r, p), "reason": "".join(reason)}
      rows.append({**same, "kind": kind, "check": check, "n": n, "checked": r, "checked_p": p, **judged})
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
