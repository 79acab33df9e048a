"""From what was asked on the command line to a written study."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.report.drawers import Drawers
from biasjax.study import (
  agreement,
  analysis,
  definitions,
  forgetting,
  output,
  references,
  stored,
  table,
  verdict,
)
from biasjax.study.analysis import Study
from biasjax.study.stored import Observations


def run(asked: Mapping[str, Any]) -> int:
  """Reads the table, computes, writes the study, prints the summary; returns the exit status.

  Args:
    asked: `table`, `categories`, `compare` (paths or None), `beside` (paths; may be absent), `output` (a
      folder), `seed`, and `study`, the definitions as in configs/study.py; `processes`, how many draw figures
      (1 if absent: this one).

  Raises:
    BiasjaxError: a mistake in what was asked, or a file cannot be read or written.
  """
  if not asked["table"]:
    raise BiasjaxError("--table is needed: a CSV with a column named model, such as a run's results.csv")
  defined = definitions.parse(asked["study"])
  used, beside = defined.used_columns(), asked.get("beside") or []
  if beside:
    read = references.read(asked["table"], asked["categories"], beside, used)
    defined, notes = references.shared(defined, read)
    read = dataclasses.replace(read, notes=(*read.notes, *notes))
  else:
    read = table.read(asked["table"], asked["categories"], used)
  folder = pathlib.Path(asked["output"])
  source = {name: asked[name] for name in ("table", "categories", "compare")}
  source |= {"beside": beside} if beside else {}
  with Drawers(asked.get("processes", 1)) as drawers:
    observed = stored.beside(asked["table"])
    figures = folder / "figures"
    study = analysis.analyse(
      read, defined, asked["seed"], observed, lambda early: drawers.measured(early, figures)
    )
    study = _forgotten(study, asked["table"], observed)
    if asked["compare"]:
      study = _compared(study, asked["table"], observed, asked["compare"])
    output.write(study, folder, asked["seed"], source)
    drawn = drawers.begin(study, figures)
    # Imported late: a mistake in what was asked should not wait for matplotlib.
    from biasjax.report import cards, page

    known = cards.provenance(observed, defined.certificates, list(study.biases.index))
    page.write(study, drawn, folder, source, asked["seed"], known)
  print(output.text_summary(study))
  for note in study.notes:
    warn(f"note: {note}")
  print(f"{folder / 'index.html'} (also study.json, tables/, figures/, models/)")
  return 0


def _forgotten(study: Study, path: str, observed: Observations | None) -> Study:
  """Adds what training forgot, where the models are checkpoints of a run whose decisions are stored."""
  pattern = study.definitions.checkpoints
  runs = forgetting.runs(pattern, [*study.biases.index, *study.table.same]) if pattern else {}
  if not runs:
    return study
  if observed is None:
    note = f"What training forgets was not computed: no stored decisions (run.json) beside {path}."
    return dataclasses.replace(study, notes=(*study.notes, note))
  study.tables["forgetting"], study.tables["forgetting_epochs"] = forgetting.tables(observed, runs)
  sentences = verdict.forgotten(study.tables["forgetting"])
  return dataclasses.replace(study, sentences=(*study.sentences, *sentences))


def _compared(study: Study, path: str, ours: Observations | None, published: str) -> Study:
  """Adds how far the table is from a published one.

  Raises:
    BiasjaxError: they share no model or no column.
  """
  theirs, other = table.read(published, None, (), flag="--compare"), stored.beside(published)
  main = study.definitions.axes[study.definitions.reference_axis].mean[0]
  paired = agreement.paired_errors(ours, other, list(theirs.frame.columns)) if ours and other else {}
  cells, models = agreement.compare(study.table, theirs, study.definitions.sizes, paired, main)
  if not len(cells):
    raise BiasjaxError(f"--compare: {published} shares no model and column that have numbers with {path}")
  study.tables["agreement"], study.tables["agreement_models"] = cells, models
  return dataclasses.replace(study, sentences=(*verdict.agreed(models), *study.sentences))
