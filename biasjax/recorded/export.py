"""A run's numbers as others write them: model-vs-human's trials, Hugging Face's cards, timm's tables."""

import csv
import io
import itertools
import math
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import yaml
from etils import epath

from biasjax.data import layouts
from biasjax.data.classes import categories
from biasjax.recorded import files, trials
from biasjax.results.store import Store, write_file
from biasjax.results.summary import INCOMPLETE
from biasjax.results.unit import Unit

DECIDED = ["object_response", "category", "condition", "imagename"]
TRIAL = ("subj", "session", "trial", "rt", *DECIDED)
TIMM = (
  "model",
  "top1",
  "top1_err",
  "top5",
  "top5_err",
  "param_count",
  "img_size",
  "crop_pct",
  "interpolation",
)
TOP1, TOP5 = "top1_acc/", "top5_acc/"
# Names of the hub for what is called otherwise here.
HUB = {"imagenet": "imagenet-1k"}


def write(store: Store, metrics: pd.DataFrame, folder: epath.Path) -> list[epath.Path]:
  """Writes what there is for each format; returns the paths.

  Args:
    store: of the run.
    metrics: of `summary.summarise`.
    folder: gets raw-data/<experiment>/*.csv (Geirhos et al. 2021, github.com/bethgelab/model-vs-human), where
      stimuli of theirs were probed; cards/<model>/README.md, whose `model-index` has the main numbers; and
      timm/results-<dataset>.csv.

  Raises:
    BiasjaxError: observations are damaged.
    OSError: the folder cannot be written.
  """
  units = [unit for unit in store.units() if not store.missing(unit)]
  content = {f"raw-data/{path}": text for path, text in recorded(store, units)}
  folders = _file_names(metrics["model"])
  for model, rows in metrics.groupby("model", sort=False):
    content[f"cards/{folders[str(model)]}/README.md"] = card(str(model), rows)
  files_of = _file_names(metrics["dataset"])
  content |= {f"timm/results-{files_of[name]}.csv": text for name, text in timm_tables(metrics, units)}
  for name, text in content.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_file(folder / name, text.encode())
  return [folder / name for name in content]


def _file_names(names: Iterable[str], replaced: str = r"[^\w.+-]") -> dict[str, str]:
  """What each is called as a file: no two alike, whatever stands for the characters that are `replaced`."""
  found: dict[str, str] = {}
  for name in dict.fromkeys(names):
    plain, taken = re.sub(replaced, "-", name), set(found.values())
    others = (f"{plain}-{number}" for number in itertools.count(2))
    found[name] = next(of for of in itertools.chain([plain], others) if of not in taken)
  return found


# --- model-vs-human ----------------------------------------------------------------------------------------


def recorded(store: Store, units: Iterable[Unit]) -> Iterator[tuple[str, str]]:
  """("<experiment>/<experiment>_<model>_session-1.csv", its text) of every experiment that was probed.

  Of an experiment that was asked in several datasets each has a file (`files.of_datasets`).
  """
  written = list(files.of_datasets(_asked(store, units)))
  # Underscores part the fields of a file's name.
  called = _file_names((observer for observer, _, _ in written), r"[^\w.+-]|_")
  for observer, experiment, table in written:
    rows = [(observer, 1, i, "NaN", *row) for i, row in enumerate(table.itertuples(index=False), 1)]
    yield f"{experiment}/{experiment}_{called[observer]}_session-1.csv", _csv(TRIAL, rows)


def _asked(store: Store, units: Iterable[Unit]) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
  """(network, dataset, experiment, decisions): columns `DECIDED`."""
  for unit in sorted(units, key=lambda unit: unit.probe):
    kind, found = (unit.probe, unit.key.get("labels")), {}
    if kind == ("shape", "cue_conflict"):
      found = {files.CONFLICT: _of_conflict(store.read(unit)[0])}
    elif kind == ("accuracy", "model_vs_human"):
      found = _of_experiments(store.read(unit)[0])
    for experiment, table in found.items():
      yield unit.model, unit.dataset, experiment, table


def _of_conflict(observations: pd.DataFrame) -> pd.DataFrame:
  table = trials.from_observations(observations)
  called = {"response": "object_response", "shape": "category", "image": "imagename"}
  return table.rename(columns=called).assign(condition="0")[DECIDED]


def _of_experiments(observations: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """Decisions by experiment; conditions are written as the file names have them."""
  names, found = categories(), {}
  columns = (observations[name] for name in ("example_id", "label", "prediction"))
  for example_id, label, prediction in zip(*columns, strict=True):
    place = layouts.experiment(example_id.split("/"))
    if place is None:
      continue
    experiment, image = place.condition.split("/")[0], pathlib.PurePosixPath(example_id).name
    fields = image.split("_")
    has_condition = experiment in layouts.PARAMETRIC or experiment in ("sketch", "stylized")
    condition = fields[3] if has_condition else "0"
    found.setdefault(experiment, []).append((names[prediction], names[label], condition, image))
  return {experiment: pd.DataFrame(rows, columns=DECIDED) for experiment, rows in found.items()}


def _csv(header: Sequence[str], rows: Iterable[Sequence]) -> str:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerows([header, *rows])
  return text.getvalue()


# --- Hugging Face ------------------------------------------------------------------------------------------


def card(model: str, rows: pd.DataFrame) -> str:
  """A model card whose `model-index` has the main numbers with intervals, n and how they were made.

  Args:
    model: its name.
    rows: of `summary.summarise`, this model's.
  """
  main = rows[~rows["detail"].astype(bool) & rows["value"].map(math.isfinite)]
  results = [_result(dict(row)) for row in main.to_dict("records")]
  front = {"tags": ["image-classification", "biasjax"], "model-index": [{"name": model, "results": results}]}
  lines = [f"# {model}", "", "Measured with biasjax; intervals are of 95 %, over images.", ""]
  lines += ["| dataset | number | value | interval | n |", "| --- | --- | --- | --- | --- |"]
  for row in main.to_dict("records"):
    known = math.isfinite(row["low"])
    interval = f"{row['low']:.4g} to {row['high']:.4g}" if known else ""
    lines.append(f"| {row['dataset']} | {row['metric']} | {row['value']:.4g} | {interval} | {row['n']} |")
  return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n" + "\n".join(lines) + "\n"


def _result(row: dict[str, Any]) -> dict[str, Any]:
  """One row of a model-index; a number is the only one of its dataset and metric."""
  accuracy = row["metric"] == f"{TOP1}{row['dataset']}"
  protocol = {name: str(row[name]) for name in ("probe", "preprocessing", "precision", "seed", "version")}
  arguments = protocol | {"n": int(row["n"])}
  known = ("low", "high", "chance", "margin", "effective_n")
  arguments |= {name: float(row[name]) for name in known if _finite(row.get(name))}
  arguments |= {"estimator": row["estimator"]} if row.get("estimator") else {}
  arguments |= {"read_with": row["flag"]} if row.get("flag") else {}
  metric = {"type": "accuracy" if accuracy else row["metric"], "value": float(row["value"])}
  metric |= {"name": "top-1 accuracy, %" if accuracy else row["metric"], "args": arguments}
  return {
    "task": {"type": "image-classification", "name": "Image classification"},
    "dataset": _dataset(row["dataset"], row["metric"]),
    "metrics": [metric],
  }


def _dataset(name: str, metric: str) -> dict[str, str]:
  """Type and name; of a dataset that is not whole neither is the whole's."""
  marked = f"{name}{INCOMPLETE}"
  return {"type": marked, "name": marked} if marked in metric else {"type": HUB.get(name, name), "name": name}


def _finite(value: Any) -> bool:
  return isinstance(value, (int, float)) and math.isfinite(value)


# --- timm --------------------------------------------------------------------------------------------------


def timm_tables(metrics: pd.DataFrame, units: Iterable[Unit]) -> Iterator[tuple[str, str]]:
  """(dataset, CSV with the columns of timm's results-imagenet.csv), best first, of every dataset.

  param_count stays empty: a run does not know it.
  """
  seen = {(unit.model, unit.dataset): unit.key.get("preprocess", {}) for unit in units}
  for dataset, mine in metrics.groupby("dataset", sort=False):
    first, second = (
      dict(mine.loc[mine["metric"] == f"{kind}{dataset}", ["model", "value"]].itertuples(index=False))
      for kind in (TOP1, TOP5)
    )
    rows = []
    for model, top1 in sorted(first.items(), key=lambda item: -item[1]):
      if model not in second:
        continue
      recipe, top5 = seen.get((model, str(dataset)), {}), second[model]
      crop, side = recipe.get("crop"), recipe.get("resize")
      share = f"{crop / side:.3f}" if isinstance(side, int) and crop else ""
      errors = (f"{top1:.3f}", f"{100 - top1:.3f}", f"{top5:.3f}", f"{100 - top5:.3f}")
      rows.append((model, *errors, "", crop or "", share, recipe.get("interpolation", "")))
    if not rows:
      continue
    yield str(dataset), _csv(TIMM, rows)
