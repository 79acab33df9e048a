"""What a run ends with, sent to TensorBoard or Weights & Biases as well: only where --report_to asks.

The tables and observations are complete without it. Neither library is needed, or imported, otherwise.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.errors import BiasjaxError, suggestion

Series = Mapping[str, Sequence[float]]  # {tag: its values at steps 1, 2, ...}
Figures = Mapping[str, np.ndarray]  # {tag: uint8 [h, w, 3]}
Sink = Callable[[str, Series, Figures], None]  # of the name of a model


def parse(specs: Sequence[str] | None) -> list[Sink]:
  """The sinks that --report_to names, "tensorboard:DIR" or "wandb:PROJECT" each.

  Raises:
    BiasjaxError: a spec of another form, or its library is not installed.
  """
  return [_sink(spec) for spec in specs or ()]


def _sink(spec: str) -> Sink:
  kind, _, where = spec.partition(":")
  if kind not in KINDS or not where:
    hint = suggestion(kind, KINDS) if kind not in KINDS else "what follows the colon is missing"
    raise BiasjaxError(f"--report_to={spec}: expected tensorboard:DIR or wandb:PROJECT: {hint}")
  package, send = KINDS[kind]
  try:
    library = importlib.import_module(package)
  except ImportError as error:
    raise BiasjaxError(
      f"--report_to={spec} needs {package} ({error}): pip install {package}, or leave it out"
    ) from error
  return lambda name, series, figures: send(library, where, name, series, figures)


def _tensorboard(library, folder: str, name: str, series: Series, figures: Figures) -> None:
  """A run NAME below `folder`; what was there under this name is shown with it."""
  try:
    writer = library.SummaryWriter(f"{folder}/{name}")
  except OSError as error:
    raise BiasjaxError(f"--report_to: cannot write {folder}/{name}: {error}") from error
  for tag, values in series.items():
    for step, value in enumerate(values, 1):
      writer.add_scalar(tag, value, step)
  for tag, pixels in figures.items():
    writer.add_image(tag, pixels, 1, dataformats="HWC")
  writer.close()


def _wandb(library, project: str, name: str, series: Series, figures: Figures) -> None:
  """A run NAME of the project; curves step by step, so that the last value is the run's summary."""
  run = library.init(project=project, name=name)
  for step in range(max(map(len, series.values()), default=0)):
    said: dict[str, object] = {tag: values[step] for tag, values in series.items() if step < len(values)}
    if not step:
      said |= {tag: library.Image(pixels) for tag, pixels in figures.items()}
    run.log(said, step=step + 1)
  run.finish()


KINDS = {"tensorboard": ("tensorboardX", _tensorboard), "wandb": ("wandb", _wandb)}


def send_table(
  sinks: Sequence[Sink], table: pd.DataFrame, figures: Mapping[str, Figures] | None = None
) -> None:
  """Sends each model's row of results.csv; numbers that are not determined are left out.

  Args:
    sinks: where to.
    table: results.csv.
    figures: {model: its figures}.
  """
  for name, row in zip(table["model"], table.drop(columns="model").to_dict("records"), strict=True):
    found = {str(tag): [float(value)] for tag, value in row.items() if math.isfinite(value)}
    for sink in sinks:
      sink(name, found, (figures or {}).get(name, {}))
