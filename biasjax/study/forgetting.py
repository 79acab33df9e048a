"""What training forgets: examples that were right at some epoch and are wrong at the end.

"Relearning Forgotten Knowledge" (Stern et al. 2023): overall accuracy can rise while a network unlearns part
of what it knew, and joining the last epoch with the one from which most was forgotten wins some of it back.
Here all of it comes from stored decisions, so the ensemble votes with the confidence of each decision; the
published one averages whole probabilities, which are not stored.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError
from biasjax.results.conditions import split
from biasjax.statistics import difference_of_ratios, ratio_of_totals, wilson
from biasjax.study.stored import Observations


def runs(pattern: str, models: Sequence[str]) -> dict[str, dict[int, str]]:
  """{run: {epoch: model}} in ascending order, of runs with at least two checkpoints.

  Raises:
    BiasjaxError: the pattern has no groups `run` and `epoch`, or takes two models for one epoch of a run.
  """
  try:
    matches = [(m, re.fullmatch(pattern, m)) for m in models]
    found = [(match["run"], int(match["epoch"]), m) for m, match in matches if match]
  except (re.error, IndexError, ValueError) as error:
    raise BiasjaxError(
      f"study.checkpoints: {pattern!r} needs groups (?P<run>...) and (?P<epoch>...), a whole number ({error})"
    ) from error
  gathered: dict[str, dict[int, str]] = {}
  for run, epoch, model in sorted(found):
    other = gathered.setdefault(run, {}).setdefault(epoch, model)
    if other != model:
      raise BiasjaxError(
        f"study.checkpoints: {pattern!r} takes both {other} and {model} for epoch {epoch} of {run}: narrow it"
      )
  return {run: epochs for run, epochs in gathered.items() if len(epochs) > 1}


def vote(predictions: np.ndarray, confidences: np.ndarray) -> np.ndarray:
  """The class of the two decisions that has more confidence behind it; both together where they agree.

  Args:
    predictions: int [2, n], of the last epoch first, which wins ties.
    confidences: float [2, n], in [0, 1].

  Returns:
    int [n].
  """
  return np.where(confidences[1] > confidences[0], predictions[1], predictions[0])


def measure(
  right: np.ndarray, predictions: np.ndarray, confidences: np.ndarray, image: np.ndarray | None = None
) -> tuple[dict, list[dict]]:
  """What one run forgets under one condition, or several.

  Args:
    right: bool [epochs, n], in the order of training.
    predictions: int [epochs, n], classes decided on.
    confidences: float [epochs, n], of these decisions.
    image: [n], what each is about, where there are several of one image; intervals are over images.

  Returns:
    The summary: `n, final, ever, forgotten, low, high, peak, ensemble, gain, gain_low, gain_high`, in per
    cent of examples. `peak` is the index of the epoch from which most is forgotten, `forgotten` the share
    right at some epoch before the last and wrong at the last (Wilson's interval; of several decisions about
    an image `statistics.ratio_of_totals`), `ensemble` the accuracy of the last and the peak epoch together,
    `gain` what that adds to the last alone (paired, `statistics.difference_of_ratios`). Then for each epoch
    `accuracy` and `forgotten`: right then and wrong at the last.
  """
  n = right.shape[1]
  last = right[-1]
  lost = right & ~last
  forgotten = lost[:-1].any(axis=0)
  ever = int(forgotten.sum())
  peak = int(np.argmax(lost[:-1].sum(axis=1)))
  chosen = vote(predictions[[-1, peak]], confidences[[-1, peak]])
  # A vote picks one of the two decisions, so it is right where that one is.
  together = np.where(chosen == predictions[-1], last, right[peak])
  every, clusters = np.ones(n), () if image is None else (image,)
  low, high = wilson(ever, n) if image is None else ratio_of_totals(forgotten * 1.0, every, clusters)[1:]
  joined, alone = (together.astype(float), every), (last.astype(float), every)
  gain, *ends = difference_of_ratios(joined, alone, clusters)
  summary = {
    "n": n,
    "final": 100 * float(last.mean()),
    "ever": 100 * float(right.any(axis=0).mean()),
    "forgotten": 100 * ever / n,
    "low": 100 * low,
    "high": 100 * high,
    "peak": peak,
    "ensemble": 100 * float(together.mean()),
    "gain": 100 * gain,
    "gain_low": 100 * ends[0],
    "gain_high": 100 * ends[1],
  }
  epochs = [
    {"accuracy": 100 * float(r.mean()), "forgotten": 100 * float(f.mean())}
    for r, f in zip(right, lost, strict=True)
  ]
  return summary, epochs


def tables(observed: Observations, found: dict[str, dict[int, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
  """Forgetting of every run, dataset, probe and condition that all its checkpoints have decided.

  Args:
    observed: stored decisions.
    found: of `runs`.

  Returns:
    `run, dataset, probe, condition, epochs, n, final, ever, forgotten, low, high, peak_epoch, ensemble, gain,
    gain_low, gain_high`, with a condition "all" over all conditions of a probe that has several; and
    `run, dataset, probe, condition, epoch, accuracy, forgotten`.

  Raises:
    BiasjaxError: stored decisions are damaged.
  """
  rows, points = [], []
  for run, models in found.items():
    asked = dict.fromkeys((u.dataset, u.probe) for u in observed.units.values() if u.model in models.values())
    for dataset, probe in asked:
      read = [observed.read(model, dataset, probe) for model in models.values()]
      if any(table is None for table in read):
        continue
      indexed = [table.set_index(["condition", "example_id"]) for table in read if table is not None]
      shared = indexed[0].index
      for table in indexed[1:]:
        shared = shared.intersection(table.index)
      aligned = [table.loc[shared] for table in indexed]
      ranks, predictions, confidences = (
        np.stack([table[name].to_numpy() for table in aligned])
        for name in ("rank", "prediction", "confidence")
      )
      conditions = shared.get_level_values("condition").to_numpy()
      names = list(dict.fromkeys(conditions))
      ids = shared.get_level_values("example_id").to_series()
      if any(observed.conditions_in_ids(model, dataset, probe) for model in models.values()):
        ids = split(ids)[1]
      image = pd.factorize(ids)[0]
      for name in (["all"] if len(names) > 1 else []) + names:
        mine = np.ones(len(conditions), bool) if name == "all" else conditions == name
        repeated = len(np.unique(image[mine])) < mine.sum()
        decided = ranks[:, mine] == 0, predictions[:, mine], confidences[:, mine]
        summary, epochs = measure(*decided, image[mine] if repeated else None)
        where = {"run": run, "dataset": dataset, "probe": probe, "condition": name}
        peak = list(models)[summary.pop("peak")]
        rows.append({**where, "epochs": len(models), **summary, "peak_epoch": peak})
        points += [{**where, "epoch": e, **values} for e, values in zip(models, epochs, strict=True)]
  columns = [
    "run",
    "dataset",
    "probe",
    "condition",
    "epochs",
    "n",
    "final",
    "ever",
    "forgotten",
    "low",
    "high",
  ]
  columns += ["peak_epoch", "ensemble", "gain", "gain_low", "gain_high"]
  named = ["run", "dataset", "probe", "condition", "epoch", "accuracy", "forgotten"]
  return pd.DataFrame(rows, columns=columns), pd.DataFrame(points, columns=named)
