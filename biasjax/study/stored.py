"""Decisions that a run stored beside its table, read without a model and without JAX."""

import dataclasses
import hashlib
import json
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from biasjax.errors import BiasjaxError

OBSERVED = ["condition", "example_id", "label", "prediction", "rank", "confidence"]


@dataclasses.dataclass(frozen=True)
class Observations:
  """What is in run.json and observations/ beside a table.

  Attributes:
    folder: of the run.
    units: dictionaries with model, dataset, probe and key.
  """

  folder: pathlib.Path
  units: Sequence[Mapping[str, Any]]

  def read(self, model: str, dataset: str, probe: str) -> pd.DataFrame | None:
    """`condition, example_id, label, prediction, rank, confidence` of one unit; None if there is none.

    Raises:
      BiasjaxError: a file is damaged.
    """
    unit = next(
      (u for u in self.units if (u["model"], u["dataset"], u["probe"]) == (model, dataset, probe)), None
    )
    if unit is None:
      return None
    # The layout of biasjax.results, which cannot be imported without JAX.
    digest = hashlib.sha256(json.dumps(unit["key"], sort_keys=True).encode()).hexdigest()[:16]
    names = (urllib.parse.quote(name, safe="") for name in (dataset, probe, model))
    parts = []
    for path in sorted(self.folder.joinpath("observations", *names, digest).glob("*.parquet")):
      try:
        parts.append(pq.read_table(path, columns=OBSERVED))
      except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise BiasjaxError(f"{path} is damaged ({error}): delete it and start the run again") from error
    return pa.concat_tables(parts).to_pandas() if parts else None


def beside(table: str) -> Observations | None:
  """Those of the run that wrote `table`; None if there is no run.json.

  Raises:
    BiasjaxError: it is there and cannot be read.
  """
  path = pathlib.Path(table).parent / "run.json"
  if not path.is_file():
    return None
  try:
    units = json.loads(path.read_text(encoding="utf-8"))["units"]
    [(u["model"], u["dataset"], u["probe"], u["key"]) for u in units]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise BiasjaxError(f"{path} cannot be read ({error}): mend it, or move it away") from error
  return Observations(path.parent, units)


def right(observed: pd.DataFrame) -> pd.DataFrame:
  """bool [examples, conditions]: whether each decision is right (top-1), of examples that all have."""
  table = observed.assign(right=observed["rank"] == 0)
  return table.pivot(index="example_id", columns="condition", values="right").dropna().astype(bool)
