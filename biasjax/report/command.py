"""From what was asked on the command line to a written study."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from biasjax.errors import BiasjaxError
from biasjax.study import analysis, definitions, output, table


def run(asked: Mapping[str, Any]) -> int:
  """Reads the table, computes, writes the study, prints the summary; returns the exit status.

  Args:
    asked: `table`, `categories`, `compare` (paths or None), `output` (a folder), `seed`, and `study`, the
      definitions as in configs/study.py.

  Raises:
    BiasjaxError: a mistake in what was asked, or a file cannot be read or written.
  """
  if not asked["table"]:
    raise BiasjaxError("--table is needed: a CSV with a column named model, such as a run's results.csv")
  defined = definitions.parse(asked["study"])
  read = table.read(asked["table"], asked["categories"], defined.used_columns())
  study = analysis.analyse(read, defined, asked["seed"])
  folder = pathlib.Path(asked["output"])
  source = {"table": asked["table"], "categories": asked["categories"]}
  output.write(study, folder, asked["seed"], source)
  # Imported late: a mistake in what was asked should not wait for matplotlib.
  from biasjax.report import cards, draw, page

  try:
    drawn = draw.draw(study, folder / "figures")
  except OSError as error:
    raise BiasjaxError(f"--output: cannot write {error.filename or folder}: {error.strerror}") from error
  known = cards.provenance(asked["table"], defined.certificates, list(study.biases.index))
  page.write(study, drawn, folder, source, asked["seed"], known)
  print(output.text_summary(study))
  for note in study.notes:
    print(f"run.py: note: {note}", file=sys.stderr)
  print(f"{folder / 'index.html'} (also study.json, tables/, figures/, models/)")
  return 0
