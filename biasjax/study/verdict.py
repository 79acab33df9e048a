"""What the numbers allow one to say, in sentences: none that its numbers do not support."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.messages import counted
from biasjax.study import fragility
from biasjax.study.correlation import deciding
from biasjax.study.definitions import Definitions
from biasjax.study.fragility import lower
from biasjax.study.significance import ALPHA, smallest_significant

ESTABLISHED, CONDITIONAL, FRAGILE, NONE, UNKNOWN = (
  *("established", "depends on a definition", "fragile", "no relation", "not computed"),
)
MINUS, DASH, RHO = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{GREEK SMALL LETTER RHO}"
MOST_DIGITS = 7  # less than that of an end is what is rounded
WORST, FAR = (
  -1.0,
  "far below zero",
)  # an R-squared below the first, errs more than twice as much as the mean does
# Checks of the statistics: a claim that fails one of them is not established, whatever the definitions.
STATISTICAL = ("multiplicity", "interval", "family", "chance")


@dataclasses.dataclass(frozen=True)
class Sentence:
  """One finding.

  Attributes:
    level: of the verdict: one of the statuses of a claim, or "summary", "prediction", "order", "limit".
    text: the finding in plain words.
    numbers: what it rests on.
  """

  level: str
  text: str
  numbers: str = ""


def number(value: float, digits: int = 2) -> str:
  """With a real minus sign, and none before a zero; a dash where there is no number."""
  if not math.isfinite(value):
    return DASH
  return f"{value:z.{digits}f}".replace("-", MINUS)


def edge(value: float, digits: int = 2) -> str:
  """An end of an interval: `number`, with as many digits as show on which side of zero it is."""
  tried = (number(value, more) for more in range(digits, MOST_DIGITS))
  return next((text for text in tried if text.strip(f"{MINUS}0.")), number(value, digits))


def span(low: float, high: float) -> str:
  """An interval in words."""
  return f"{edge(low)} to {edge(high)}"


def score(value: float) -> str:
  """An R-squared; how far below zero a useless prediction lies is of no use."""
  return FAR if value < WORST else number(value)


def score_span(low: float, high: float) -> str:
  """An interval of an R-squared in words."""
  return FAR if high < WORST else f"{FAR if low < WORST else edge(low)} to {edge(high)}"


def probability(p: float) -> str:
  """p = .012, p < .001."""
  if not math.isfinite(p):
    return "p not computed"
  text = of_probability(p)
  return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def of_probability(p: float) -> str:
  """.012, <.001; never rounded to .05 from below it, which would say that p is not."""
  return "<.001" if p < 0.001 else rounded(p).removeprefix("0")


def rounded(value: float, digits: int = 3, form: str = "f") -> str:
  """So many digits of a number; more, where with these it would reach .05 and does not."""
  text = f"{value:.{digits}{form}}"
  return rounded(value, digits + 1, form) if value < ALPHA <= float(text) else text


def statuses(cells: pd.DataFrame, checks: pd.DataFrame) -> pd.DataFrame:
  """Where each claim stands after all checks.

  A group in which the relation is the other way round, with p < .05, contradicts a claim about all models; a
  group in which it cannot be told does not.

  Returns:
    `bias, axis, group, spearman, p, status, failed, changed, elsewhere, apart, n_holds, n_checks`: p from
    permutations; the statistical checks, the definitions and the groups of models under which the claim does
    not hold, joined by "; "; whether it is left given in-distribution accuracy (None where that was not
    asked); and in how many of how many checks it holds.
  """
  of_cell: dict[tuple, list[dict]] = {}
  for check in checks.to_dict("records"):
    if check["verdict"] != fragility.NOT_COMPUTED:
      of_cell.setdefault((check["bias"], check["axis"], check["group"]), []).append(check)
  rows = []
  for cell in cells.to_dict("records"):
    mine = of_cell.get((cell["bias"], cell["axis"], cell["group"]), [])
    bad = [check for check in mine if check["verdict"] != fragility.HOLDS]
    failed = [check for check in bad if check["kind"] in STATISTICAL or _contradicts(check)]
    changed = [check for check in bad if check["kind"] == "definition"]
    given = [check for check in mine if check["kind"] == "accuracy"]
    if not math.isfinite(cell["p_permutation"]):
      status = UNKNOWN
    elif cell["p_permutation"] >= ALPHA:
      status = NONE
    else:
      status = FRAGILE if failed else CONDITIONAL if changed else ESTABLISHED
    row = {k: cell[k] for k in ("bias", "axis", "group", "spearman")} | {"p": cell["p_permutation"]}
    row |= {"status": status, "failed": _named(failed), "changed": _named(changed)}
    row["elsewhere"] = _named([check for check in bad if check["kind"] == "group"])
    row["apart"] = all(check["verdict"] == fragility.HOLDS for check in given) if given else None
    rows.append(row | {"n_holds": len(mine) - len(bad), "n_checks": len(mine)})
  columns = ["bias", "axis", "group", "spearman", "p", "status", "failed", "changed", "elsewhere", "apart"]
  return pd.DataFrame(rows, columns=[*columns, "n_holds", "n_checks"])


def _contradicts(check: Mapping) -> bool:
  """Whether a group of models shows the opposite of a claim about all."""
  return check["kind"] == "group" and check["verdict"] == fragility.FLIPS and check["checked_p"] < ALPHA


def _named(checks: Sequence[Mapping]) -> str:
  said = []
  for check in checks:
    name, outcome = check["check"].replace("_", " "), check["verdict"]
    if check["kind"] == "chance":
      said.append(f"{name} ({counted(check['n'], 'model')} left): {outcome} ({number(check['checked'])})")
    elif check["kind"] == "interval":
      said.append(f"the {name} {'excludes' if outcome == fragility.APPEARS else 'includes'} zero")
    else:
      said.append(f"{name}: {outcome} ({number(check['checked'])})")
  return "; ".join(said)


def _first(listed: str, most: int = 3) -> str:
  """The first few of what `_named` lists."""
  items = listed.split("; ")
  return "; ".join(items[:most]) + (f"; and {len(items) - most} more checks" if len(items) > most else "")


def sentences(
  definitions: Definitions,
  labels: Mapping[str, str],
  cells: pd.DataFrame,
  standing: pd.DataFrame,
  within: pd.DataFrame,
  prediction: pd.DataFrame,
  order: pd.DataFrame,
) -> list[Sentence]:
  """The verdict on all models together (the first group).

  Args:
    definitions: the study's.
    labels: {bias or axis: words}.
    cells: of `correlation.cells`.
    standing: of `statuses`.
    within: of `fragility.within`, for all models.
    prediction: of `prediction.predict_axes`.
    order: of `sign_error.summary`.
  """
  group = definitions.groups[0].name
  mine = cells[cells["group"] == group].drop(columns=["p", "spearman"])
  mine = mine.merge(standing, on=["bias", "axis", "group"])
  known = mine[np.isfinite(mine["p"])]
  if not len(known):
    return [Sentence("summary", "Nothing can be said: no correlation could be computed.", _why(mine))]
  result = [_headline(known), *_holistic(known, labels)]
  for status in (ESTABLISHED, CONDITIONAL, FRAGILE):
    rows = known[known["status"] == status].sort_values("spearman", key=np.abs, ascending=False)
    result += [_finding(row, labels) for row in rows.to_dict("records")]
  result += _absent(known, labels)
  result += _simpson(within, labels)
  result += _subgroups(cells, standing, definitions)
  result += predicted(prediction, labels)
  result += _ordered(order, labels, list(definitions.biases), definitions.reference_axis)
  return result


def _why(cells: pd.DataFrame) -> str:
  reasons = sorted(set(cells["reason"].dropna()) - {""})
  return "; ".join(reasons) or "no cell was asked"


def _headline(known: pd.DataFrame) -> Sentence:
  n, cells = int(known["n"].max()), len(known)
  low, holm, bh = (int((known[k] < ALPHA).sum()) for k in ("p", "p_holm", "p_bh"))
  counts = known["status"].value_counts()
  established = int(counts.get(ESTABLISHED, 0))
  if established:
    text = (
      f"{established} of {cells} relations between a bias and an axis {_stand(established)} in every check "
      "of the statistics and under every definition."
    )
  elif counts.get(CONDITIONAL, 0):
    text = f"No relation stands in every check; {counts[CONDITIONAL]} of {cells} hang on a definition."
  else:
    text = f"Nothing is established: of {cells} relations between a bias and an axis none stands the checks."
  families = int(known["families"].max())
  of_families = f" of {families} families" if families > 1 else ""
  numbers = (
    f"{n} models{of_families}; permutation p < .05 in {low} of {cells} uncorrected, in {holm} after Holm, in "
    f"{bh} after Benjamini-Hochberg (over the cells of all groups); {_smallest(n)}"
  )
  return Sentence("summary", text, numbers)


def _stand(count: int) -> str:
  return "stands" if count == 1 else "stand"


def _smallest(n: int) -> str:
  return f"with {n} models |{RHO}| below {number(smallest_significant(n))} cannot be told from none"


def intervals(row: Mapping) -> str:
  """Both intervals of a cell in words, that over families first; "" where there is none."""
  both = (("families", "family_low", "family_high"), ("models", "low", "high"))
  shown = [f"{span(row[low], row[high])} over {name}" for name, low, high in both if math.isfinite(row[low])]
  return f"95 % {', '.join(shown)}" if shown else ""


def _numbers(row: Mapping) -> str:
  ties = f"{row['ties_bias']} models share their bias with another" if row["ties_bias"] > row["n"] / 2 else ""
  parts = [f"{RHO} = {number(row['spearman'])}", intervals(row), probability(row["p"])]
  parts += [f"Holm {probability(row['p_holm'])}", f"n = {row['n']}", ties]
  return ", ".join(part for part in parts if part)


def _finding(row: Mapping, labels: Mapping[str, str]) -> Sentence:
  text = fragility.claim(row["spearman"], row["p"], labels[row["bias"]], labels[row["axis"]])
  numbers = _numbers(row)
  if row["status"] == FRAGILE:
    text += f" over all models, but that is not established: {_first(row['failed'])}."
    numbers += f"; other definitions: {row['changed']}" if row["changed"] else ""
  elif row["status"] == CONDITIONAL:
    text += f", but it hangs on a definition: {_first(row['changed'])}."
  else:
    text += f" in {_how_many(row['n_holds'], row['n_checks'])}"
    unless = [row["elsewhere"]] if row["elsewhere"] else []
    unless += ["not among models of equal in-distribution accuracy"] if row["apart"] is False else []
    text += f", but {'; '.join(unless)}." if unless else "."
  return Sentence(row["status"], text, numbers)


def _how_many(holds: int, checks: int) -> str:
  return f"each of {checks} checks" if holds == checks else f"{holds} of {checks} checks"


def _absent(known: pd.DataFrame, labels: Mapping[str, str]) -> list[Sentence]:
  """Biases that relate to no axis. Absence of evidence is said as such."""
  found = []
  for bias, rows in known.groupby("bias", sort=False):
    if (rows["status"] == NONE).all():
      widest = ", ".join(f"{lower(labels[r['axis']])} {span(*deciding(r))}" for r in rows.to_dict("records"))
      text = f"{labels[str(bias)]} shows no relation with any axis; what the intervals leave open stays open."
      changed = "; ".join(f"{labels[r.axis]}: {r.changed}" for r in rows.itertuples() if r.changed)
      found.append(
        Sentence(NONE, text, f"95 % {widest}" + (f". Other definitions: {changed}" if changed else ""))
      )
  return found


def _holistic(known: pd.DataFrame, labels: Mapping[str, str]) -> list[Sentence]:
  axes = known["axis"].nunique()
  if axes < 2:
    return []
  sure = known[known["status"] == ESTABLISHED]
  everywhere = []
  for bias, rows in sure.groupby("bias", sort=False):
    if rows["axis"].nunique() == axes and rows["spearman"].gt(0).nunique() == 1:
      everywhere.append(labels[str(bias)])
  counts = sure.groupby("bias", sort=False)["axis"].nunique()
  numbers = ", ".join(f"{lower(labels[b])} {counts.get(b, 0)}" for b in dict.fromkeys(known["bias"]))
  if everywhere:
    text = f"{' and '.join(everywhere)}: an established relation of one sign with all {axes} axes."
  else:
    text = f"No single bias has an established relation of one sign with all {axes} axes."
  return [Sentence("summary", text, f"axes with an established relation: {numbers}")]


def _simpson(within: pd.DataFrame, labels: Mapping[str, str]) -> list[Sentence]:
  found = []
  for row in within[within["simpson"]].to_dict("records"):
    pair = f"{lower(labels[row['bias']])} and {lower(labels[row['axis']])}"
    sure = "" if row["within_p"] < ALPHA else ", though the reversed relation itself is not established"
    text = (
      f"Simpson's paradox: {pair} are related one way over all models and the other way within "
      f"categories{sure}."
    )
    numbers = (
      f"pooled {RHO} = {number(row['pooled'])} ({probability(row['pooled_p'])}), within categories "
      f"{number(row['within'])} ({probability(row['within_p'])})"
    )
    found.append(Sentence("paradox", text, numbers))
  return found


def _subgroups(cells: pd.DataFrame, standing: pd.DataFrame, definitions: Definitions) -> list[Sentence]:
  found = []
  for group in definitions.groups[1:]:
    mine, of_group = standing[standing["group"] == group.name], cells[cells["group"] == group.name]
    known = mine[mine["status"] != UNKNOWN]
    if not len(known):
      found.append(Sentence("limit", f"Among {group.name} nothing could be computed.", _why(of_group)))
      continue
    counts = mine["status"].value_counts()
    n = int(of_group["n"].max())
    text = (
      f"Among {group.name} ({n} models) {counts.get(ESTABLISHED, 0)} of {len(known)} relations stand in "
      f"every check made, {counts.get(CONDITIONAL, 0)} hang on a definition, "
      f"{counts.get(FRAGILE, 0)} are fragile."
    )
    if of_group["families"].max() == 1:
      text += " They are of one family: what holds among them may hold nowhere else."
    found.append(Sentence("limit", text, _smallest(n)))
  return found


@dataclasses.dataclass(frozen=True)
class Outlook:
  """How well all biases together predict one axis.

  Attributes:
    axis: its name.
    rows: of `prediction.predict_axes`, one for each predictor that could be tried.
    works: the predictors whose deciding interval lies above zero.
    predicted: whether all do: the mildest reading of one predictor is no finding.
    compared: whether there is a prediction from in-distribution accuracy to compare with.
    better: predicted, and by every predictor better than from accuracy.
    worse: by every predictor worse than from accuracy.
    of_families: whether families were left out, and not models.
  """

  axis: str
  rows: tuple[Mapping, ...]
  works: tuple[str, ...]
  predicted: bool
  compared: bool
  better: bool
  worse: bool
  of_families: bool


def outlooks(prediction: pd.DataFrame) -> list[Outlook]:
  """One for each axis that could be predicted; of `prediction.predict_axes`."""
  found = []
  for axis, rows in prediction[prediction["inputs"] == "all biases"].groupby("axis", sort=False):
    known = tuple(row for row in rows.to_dict("records") if math.isfinite(row["low"]))
    if not known:
      continue
    works = tuple(row["predictor"] for row in known if deciding(row)[0] > 0)
    gains = [deciding(row, "gain_") for row in known if math.isfinite(row["gain_low"])]
    predicted = len(works) == len(known)
    # What is not itself predicted cannot be predicted better.
    better = predicted and bool(gains) and all(low > 0 for low, _ in gains)
    worse = bool(gains) and all(high < 0 for _, high in gains)
    families = known[0]["families"] > 1
    found.append(Outlook(str(axis), known, works, predicted, bool(gains), better, worse, families))
  return found


def predicted(prediction: pd.DataFrame, labels: Mapping[str, str]) -> list[Sentence]:
  """All biases together, by every predictor."""
  found = []
  for one in outlooks(prediction):
    text = f"{labels[one.axis]} of a {'family' if one.of_families else 'model'} not seen"
    if one.predicted:
      text += " is predicted by all biases together"
    elif one.works:
      text += f" is predicted by all biases together, but only by {' and '.join(one.works)} fits"
    else:
      text += " is not predicted by all biases together"
    if one.worse:
      text += ", and worse than by in-distribution accuracy"
    elif one.compared and one.works:
      text += f", {'better' if one.better else 'not reliably better'} than by in-distribution accuracy"
    alone = prediction[(prediction["axis"] == one.axis) & (prediction["predictor"] == "accuracy")]
    scored = [*((row["predictor"], row) for row in one.rows)]
    scored += [("in-distribution accuracy alone", row) for row in alone.to_dict("records")]
    scores = [f"{name} {score(row['r2'])} ({score_span(*deciding(row))})" for name, row in scored]
    first = one.rows[0]
    over = "families" if math.isfinite(first["family_low"]) else "models"
    numbers = (
      f"R\N{SUPERSCRIPT TWO} (95 % over {over}): {', '.join(scores)}; {first['n']} models in "
      f"{first['folds']} left-out sets"
    )
    found.append(Sentence("prediction", text + ".", numbers))
  return found


def _ordered(
  order: pd.DataFrame, labels: Mapping[str, str], biases: Sequence[str], reference: str
) -> list[Sentence]:
  """The best bias for saying which of two models is better, by its worst environment."""
  found = []
  for axis, rows in order[order["measure"].isin(biases)].groupby("axis", sort=False):
    best = rows.loc[rows["worst"].idxmin()]
    bias, setting = lower(labels[best["measure"]]), best["worst_environment"].replace("_", " ")
    text = f"Which of two models is better on {lower(labels[str(axis)])}: of the biases, {bias} errs least"
    text += " in its worst setting"
    text += ", and is no better than guessing there." if best["worst"] >= 0.5 else "."
    numbers = (
      f"share of pairs ordered wrongly: worst {number(best['worst'])} ({setting}), mean "
      f"{number(best['mean'])} over {best['environments']} settings; guessing is 0.50"
    )
    for other in order[(order["axis"] == axis) & (order["measure"] == reference)].itertuples():
      numbers += f"; in-distribution accuracy: worst {number(other.worst)}, mean {number(other.mean)}"
    found.append(Sentence("order", text, numbers))
  return found


def agreed(models: pd.DataFrame) -> list[Sentence]:
  """How many models agree with their published numbers; of `agreement.compare`."""
  counts = models["verdict"].value_counts()
  text = "Against the published numbers: " + "; ".join(
    f"{n} model{'s' if n > 1 else ''} {name}" for name, n in counts.items()
  )
  numbers = "; ".join(
    f"{m.model}: {m.within} of {m.columns} columns agree" for m in models.head(4).itertuples()
  )
  return [Sentence("agreement", text + ".", numbers + ("; ..." if len(models) > 4 else ""))]


def forgotten(table: pd.DataFrame) -> list[Sentence]:
  """What each run forgot of its first dataset and condition; of `forgetting.tables`."""
  found = []
  for run, rows in table.groupby("run", sort=False):
    row = rows.iloc[0]
    lost, peak = number(row["forgotten"], 1), row["peak_epoch"]
    text = f"{run} forgets: {lost} % of examples were right at some epoch and are wrong at the end; "
    won = "some" if row["gain_low"] > 0 else "nothing that can be told from none"
    text += f"joining the last epoch with epoch {peak} wins {won} back"
    numbers = (
      f"95 % {number(row['low'], 1)} to {number(row['high'], 1)}, n = {row['n']} ({row['dataset']}, "
      f"{row['condition']}); right at the end {number(row['final'], 1)} %, joined "
      f"{number(row['ensemble'], 1)} % (95 % of the gain "
      f"{number(row['gain_low'], 1)} to {number(row['gain_high'], 1)})"
    )
    found.append(Sentence("forgetting", text + ".", numbers))
  return found
