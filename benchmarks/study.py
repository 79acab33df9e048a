"""Seconds that a whole study takes: reading, statistics, figures, page.

python -m benchmarks.study --table=FILE.csv --categories=FILE.json [--models=500] [--draws=10000]

With --models a table of that many is made by drawing models of the given one again, with a little noise so
that none are tied; it is for timing alone.
"""

import json
import pathlib
import tempfile
import time

import numpy as np
import pandas as pd
from absl import app, flags

from biasjax.configuration import load
from biasjax.report import cards, page
from biasjax.report.drawers import Drawers
from biasjax.study import analysis, definitions, output, table

TABLE = flags.DEFINE_string("table", None, "A CSV with a column named model.", required=True)
CATEGORIES = flags.DEFINE_string("categories", None, "JSON, {category: [models]}.", required=True)
MODELS = flags.DEFINE_integer("models", None, "Grow the table to this many.", lower_bound=5)
DRAWS = flags.DEFINE_integer("draws", 10_000, "Bootstrap resamples and permutations.", lower_bound=100)
OUTPUT = flags.DEFINE_string("output", None, "Where the study goes; a temporary folder if not given.")
PROCESSES = flags.DEFINE_integer("processes", 2, "That draw the figures.", lower_bound=1)
NOISE = 1e-3  # of each value


def grow(folder: pathlib.Path, n: int) -> tuple[str, str]:
  """Writes a table of n models, and their categories."""
  frame = pd.read_csv(TABLE.value)
  kinds = json.loads(pathlib.Path(CATEGORIES.value).read_text())
  of_model = {model: kind for kind, models in kinds.items() for model in models}
  frame = frame[frame["model"].isin(of_model)]
  rng = np.random.default_rng(0)
  grown = frame.iloc[rng.integers(0, len(frame), n)].reset_index(drop=True)
  names = [f"{model}.copy{i}" for i, model in enumerate(grown["model"])]
  categories: dict[str, list[str]] = {}
  for name, model in zip(names, grown["model"], strict=True):
    categories.setdefault(of_model[model], []).append(name)
  numbers = grown.drop(columns="model") * (1 + NOISE * rng.standard_normal((n, grown.shape[1] - 1)))
  numbers.set_axis(pd.Index(names, name="model")).to_csv(folder / "table.csv")
  (folder / "categories.json").write_text(json.dumps(categories))
  return str(folder / "table.csv"), str(folder / "categories.json")


def main(argv: list[str]) -> None:
  del argv
  asked = definitions.parse(load("study").get_config().to_dict()["study"] | {"draws": DRAWS.value})
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(OUTPUT.value or temporary)
    path, kinds = TABLE.value, CATEGORIES.value
    if MODELS.value:
      path, kinds = grow(pathlib.Path(temporary), MODELS.value)
    source, started, seconds = {"table": path}, time.perf_counter(), {}

    def done(step: str) -> None:
      seconds[step] = round(time.perf_counter() - started - sum(seconds.values()), 1)

    read = table.read(path, kinds, asked.used_columns())
    done("read")
    with Drawers(PROCESSES.value) as drawers:
      figures = folder / "figures"
      found = analysis.analyse(read, asked, 0, measured=lambda early: drawers.measured(early, figures))
      done("statistics")
      output.write(found, folder, 0, source)
      done("tables")
      drawn = drawers.begin(found, figures)
      page.write(found, drawn, folder, source, 0, cards.Provenance())
      done("figures, pages")
  total = {"total": round(sum(seconds.values()), 1), "cpu": round(time.process_time(), 1)}
  print(json.dumps({"models": len(found.biases), "draws": DRAWS.value, **seconds, **total}))


if __name__ == "__main__":
  app.run(main)
