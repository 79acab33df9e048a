"""The tables of a working directory: --summarise, and the end of a run. Imports nothing that measures."""

from collections.abc import Sequence

from etils import epath

from biasjax import probes
from biasjax.cli import exits
from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.results import sinks
from biasjax.results.store import Store
from biasjax.results.summary import Summary, columns, summarise, wide, write_tables
from biasjax.terminal import text_table


def summarised(store: Store, report_to: Sequence[sinks.Sink] = (), export: str | None = None) -> int:
  """`tables`, whose numbers `report_to` gets as well; returns the exit status."""
  summary, status = tables(store, export)
  sinks.send_table(report_to, wide(summary.metrics))
  return status


def tables(store: Store, export: str | None = None) -> tuple[Summary, int]:
  """Makes the tables from stored observations, prints the main one; returns them and the exit status.

  Args:
    store: of the run.
    export: a folder for the same in the formats of others.

  Raises:
    BiasjaxError: nothing is complete, observations are damaged, or `export` cannot be written.
  """
  summary = summarise(store, probes.get)
  write_tables(store, summary)
  print(text_table(summary.metrics.assign(column=columns(summary.metrics))))
  print(f"{store.workdir}: results.csv, metrics.csv (with intervals), observations/")
  if export:
    from biasjax.recorded import export as exporting

    try:
      written = exporting.write(store, summary.metrics, epath.Path(export))
    except OSError as error:
      raise BiasjaxError(f"--export: cannot write {error.filename or export}: {error.strerror}") from error
    print(f"{export}: {len(written)} files for model-vs-human, the Hugging Face hub and timm")
  if (store.workdir / "adversarial").exists():
    from biasjax.report import adversarial  # only here: matplotlib takes its time

    for path in adversarial.draw_all(store):
      print(path)
  for sentence in (*summary.notes, *summary.incomplete):
    warn(sentence)
  for dataset, images in summary.excluded.items():
    for image, reason in sorted(images.items()):
      warn(f"{dataset}: {image} is excluded from all conditions: {reason}")
    warn(f"{dataset}: {len(images)} image(s) excluded, see excluded.csv")
  return summary, exits.UNDECODABLE if summary.excluded else 0
