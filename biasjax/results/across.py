"""Numbers that need several datasets or several models: axes, relative mCE, effective robustness.

From a table of metrics (`summary.Summary.metrics`) to further rows of it; neither jax nor images are needed.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy  # its modules are loaded where they are first used, which takes a second

from biasjax.data.layouts import ALEXNET, ALEXNET_CLEAN, SEVERITIES
from biasjax.statistics import CONFIDENCE

NAME = "benchmarks"  # what stands for a dataset and a probe in rows that belong to several
CLEAN = "top1_acc/imagenet"
# As Gavrikov & Keuper 2024 average them; the same columns define the axes in configs/study.py.
AXES = {
  "ID": (CLEAN, "top1_acc/imagenet-v2", "top1_acc/imagenet-real"),
  "Robustness": ("top1_acc/imagenet-a", "top1_acc/imagenet-c", "top1_acc/imagenet-cbar"),
  "Concepts": ("top1_acc/imagenet-sketch", "top1_acc/imagenet-r", "top1_acc/stylized"),
  "Adversarial": ("top1_acc/PGD-40/low",),
}
# Benchmarks that have images of their own. All others may be made of the same ones, as ReaL, ImageNet-C and
# attacks are of ImageNet's validation images: what chance adds to one of them it adds to the others.
OWN_IMAGES = frozenset(
  (*AXES["ID"][1:2], *AXES["Robustness"][:1], *AXES["Concepts"], "top1_acc/cue-conflict", "shape-bias")
)
SHIFTED = (*AXES["ID"][1:], *AXES["Robustness"], *AXES["Concepts"], "top1_acc/ood_mean")
RELATIVE = "relative_mCE"
CORRUPTED = {corruption: [f"top1_acc/{corruption}_{s}" for s in SEVERITIES] for corruption in ALEXNET}
FEWEST_OTHERS = 4  # models that a line of effective robustness is drawn through


def derive(metrics: pd.DataFrame) -> pd.DataFrame:
  """The rows that follow from rows of several datasets or models.

  Args:
    metrics: as `summary.Summary` holds them.

  Returns:
    Rows with the same columns; none where what they need is not there. Intervals hold sampling error of
    images, and for effective robustness also that of the line.
  """
  first = metrics[own(metrics)].drop_duplicates(["model", "metric"])
  tables = {
    name: first.pivot(index="model", columns="metric", values=name) for name in ("value", "low", "high", "n")
  }
  value, half = tables["value"], (tables["high"] - tables["low"]) / 2
  rows = [
    *axes(value, tables["low"], tables["high"], tables["n"], _margins(first)),
    *relative_mce(value, half, tables["n"]),
    *effective_robustness(value, tables["low"], tables["high"]),
  ]
  models = list(dict.fromkeys(metrics["model"]))
  kept = sorted(rows, key=lambda row: models.index(row["model"]))
  named = [{"dataset": NAME, "probe": NAME, **row} for row in kept]
  flagged = first[first["flag"] != ""].groupby("model")["metric"].agg(set)
  for row in named:
    if set(_made_of(row["metric"])) & flagged.get(row["model"], set()):
      row["flag"] = "rests on an accuracy that is flagged"
  return pd.DataFrame(named, columns=list(metrics.columns)) if named else metrics.iloc[:0]


def own(metrics: pd.DataFrame) -> np.ndarray:
  """bool [rows]: whether a row is of the one dataset that its metric is called after, for all models alike.

  Names of biases and of attacks do not hold the dataset: they are ImageNet's, where any model has it of that,
  else the first dataset's by name.
  """
  owner = {metric: _preferred(set(rows["dataset"])) for metric, rows in metrics.groupby("metric")}
  return metrics["dataset"].to_numpy() == np.array([owner[metric] for metric in metrics["metric"]])


def _preferred(datasets: set[str]) -> str:
  return "imagenet" if "imagenet" in datasets else min(datasets)


def _made_of(metric: str) -> tuple[str, ...]:
  """The accuracies that a derived row is made of, by its name."""
  if metric.startswith("effective_robustness/"):
    return CLEAN, f"top1_acc/{metric.removeprefix('effective_robustness/')}"
  if metric == RELATIVE:
    return CLEAN, *(column for columns in CORRUPTED.values() for column in columns)
  return AXES.get(metric.removesuffix("/z"), (CLEAN,))


def alike(columns: Sequence[str]) -> np.ndarray:
  """How far the errors of columns are taken to move together where nothing tells. float [k, k].

  1 for those that may be made of the same images, which is the most that their mean can err; 0 where one of
  them has images of its own.
  """
  own = np.array([column in OWN_IMAGES for column in columns])
  return np.where(np.eye(len(columns), dtype=bool), 1.0, np.outer(~own, ~own).astype(float))


def combined(widths: np.ndarray, together: np.ndarray) -> np.ndarray:
  """The half width of a mean's interval, from its columns' (Zou & Donner 2008, "MOVER").

  Args:
    widths: float [..., k], from each column's value to one end of its interval.
    together: float [..., k, k], the correlations of their errors.

  Returns:
    float [...]; no more than the mean of `widths`, so that the end is within what the columns can reach.
  """
  squares = np.einsum("...i,...ij,...j->...", widths, together, widths)
  return np.sqrt(np.maximum(squares, 0)) / widths.shape[-1]


def _margins(first: pd.DataFrame) -> pd.DataFrame:
  """What samples leave open of each column, 0 where one is of all images; models in rows."""
  known = first if "margin" in first else first.assign(margin=math.nan)
  return known.pivot(index="model", columns="metric", values="margin").astype(float).fillna(0.0)


def axes(
  value: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame, n: pd.DataFrame, margins: pd.DataFrame
) -> list[dict]:
  """The plain mean of each axis' accuracies, and the mean of their z-scores over the models ("<axis>/z").

  Intervals add the errors of benchmarks that may be made of the same images, as if they moved together, and
  those of others as independent.
  """
  rows = []
  for axis, columns in AXES.items():
    if not set(columns) <= set(value.columns):
      continue
    wanted = list(columns)
    complete = value[wanted].dropna()
    together = alike(wanted)
    widths = [edge.loc[complete.index, wanted] - complete for edge in (low, high)]
    ends = (combined(of.to_numpy(float), together).tolist() for of in widths)
    for model, accuracy, down, up in zip(complete.index, complete.mean(axis=1), *ends, strict=True):
      count = int(n.loc[model, wanted].sum())
      margin = float(margins.loc[model, wanted].mean()) or math.nan  # as if samples erred together
      rows.append(_row(str(model), axis, float(accuracy), down, up, n=count, margin=margin))
    spread = complete.std()
    if len(complete) > 2 and (spread > 0).all():
      scores = ((complete - complete.mean()) / spread).mean(axis=1)
      ends = (combined((of / spread).to_numpy(float), together).tolist() for of in widths)
      for model, score, down, up in zip(scores.index, scores, *ends, strict=True):
        rows.append(_row(str(model), f"{axis}/z", float(score), down, up, n=len(complete), detail=True))
  return rows


def relative_mce(value: pd.DataFrame, half: pd.DataFrame, n: pd.DataFrame) -> list[dict]:
  """How much the corruptions of ImageNet-C cost beyond the clean error, over what they cost AlexNet.

  Hendrycks & Dietterich 2019: the mean over 15 corruptions of (error - clean error) of the model over that of
  AlexNet, in per cent. The interval takes all corruptions as moving together, and so is wide.
  """
  wanted = list(_made_of(RELATIVE))
  if not set(wanted) <= set(value.columns):
    return []
  rows = []
  for model, accuracies in value[wanted].dropna().iterrows():
    total = weights = width = 0.0
    for corruption, columns in CORRUPTED.items():
      weight = 1 / (ALEXNET[corruption] - ALEXNET_CLEAN) / len(ALEXNET)
      total += weight * (accuracies[CLEAN] - accuracies[columns].mean())
      weights += weight
      width += weight * half.loc[model, columns].mean()
    error = math.hypot(width, weights * half.loc[model, CLEAN])
    count = int(n.loc[model, CLEAN])
    rows.append(_row(str(model), RELATIVE, 100 * float(total), 100 * error, n=count))
  return rows


def effective_robustness(value: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> list[dict]:
  """Accuracy under a shift beyond what in-distribution accuracy predicts, in percentage points.

  Taori et al. 2020: the prediction is a line in logits of accuracy through the other models of the table, so
  it says how a model stands among these. `n` is how many they are. The interval joins those of the accuracy,
  of the clean one that the prediction is at, and of the line (Zou & Donner 2008).
  """
  rows = []
  for column in SHIFTED:
    if column not in value.columns or CLEAN not in value.columns:
      continue
    both = value[[CLEAN, column]].dropna()
    x, y = (_logit(both[name].to_numpy()) for name in (CLEAN, column))
    for i, model in enumerate(both.index):
      others = np.arange(len(both)) != i
      found = _predict(x[others], y[others], x[i])
      if found is None:
        continue
      at, slope, error = found
      predicted = 100 * float(scipy.special.expit(at))
      own, clean = ([float(edge.loc[model, name]) for edge in (low, high)] for name in (column, CLEAN))
      # By the ends themselves: at an accuracy of 100 % a logit has no slope that says how far it may be.
      moved = at + slope * (_logit(np.array(clean)) - x[i])
      reach = 100 * scipy.special.expit([np.sort(moved), [at - error, at + error]]) - predicted
      accuracy = float(both[column].iloc[i])
      down = math.hypot(accuracy - own[0], *reach[:, 1])
      up = math.hypot(own[1] - accuracy, *reach[:, 0])
      name = f"effective_robustness/{column.removeprefix('top1_acc/')}"
      n = int(others.sum())
      rows.append(_row(str(model), name, accuracy - predicted, down, up, n=n, detail=True))
  return rows


def _predict(x: np.ndarray, y: np.ndarray, at: float) -> tuple[float, float, float] | None:
  """(prediction at `at`, slope, half its 95 % interval) of a least-squares line; None if there is none."""
  n = len(x)
  if n < FEWEST_OTHERS or np.ptp(x) < 1e-9:
    return None
  slope, intercept = (float(number) for number in np.polyfit(x, y, 1))
  residuals = y - intercept - slope * x
  variance = residuals @ residuals / (n - 2)
  error = math.sqrt(variance * (1 / n + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
  return intercept + slope * at, slope, float(scipy.special.stdtrit(n - 2, 0.5 + CONFIDENCE / 2)) * error


def _logit(percent: np.ndarray) -> np.ndarray:
  """Logit of accuracies in per cent; those of 0 and 100 as if by half an image in 10,000."""
  return scipy.special.logit(np.clip(percent / 100, 0.5e-4, 1 - 0.5e-4))


def _row(
  model: str,
  metric: str,
  value: float,
  down: float,
  up: float | None = None,
  *,
  n: int,
  detail: bool = False,
  margin: float = math.nan,
) -> dict[str, object]:
  """A row whose interval reaches `down` below the value and `up` above it (None: as far)."""
  return {
    "model": model,
    "metric": metric,
    "value": value,
    "low": value - down,
    "high": value + (down if up is None else up),
    "n": n,
    "chance": math.nan,
    "flag": "",
    "detail": detail,
    "margin": margin,
    "effective_n": math.nan,
    "estimator": "",
    "correlation": math.nan,
  }
