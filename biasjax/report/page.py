"""The page of a study, and a page for each model: static, self-contained, readable on a phone."""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import pandas as pd
from etils import epath

from biasjax.errors import BiasjaxError
from biasjax.report import cards, cells, matrix, pictures, sections
from biasjax.report.drawing import OWN, THEME, Kept
from biasjax.report.scatters import over
from biasjax.results.store import write_file
from biasjax.study import verdict
from biasjax.study.analysis import Study
from biasjax.version import __version__

FOLDED = ("Relations", "How fragile", "Prediction", "Series", "Agreement")
# Of a section that starts closed: what one finds in it.
ABOUT = {
  "Relations": "every correlation with its corrections, by group; every bias against every axis as points",
  "How fragile": "each claim without a family, within families, without a model, under other definitions",
  "Prediction": "each axis from all biases together, for families that were left out; sign-errors",
  "Series": "what moves along a swept factor, and what training forgets",
  "Agreement": "these numbers beside published ones",
}
STYLES = {verdict.CONDITIONAL: "depends"}
SILENT = ("summary", "limit", "prediction", "order", "agreement", "forgetting")  # levels that need no badge
BADGES = {"paradox": "Simpson's paradox", verdict.CONDITIONAL: "depends on a definition"}


def environment() -> jinja2.Environment:
  """The templates; what they are given is escaped, and a name they lack is an error."""
  made = jinja2.Environment(
    loader=jinja2.PackageLoader("biasjax.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
  )
  made.globals |= {"theme": list(THEME.items()), "own": OWN, "table": cells.table}
  return made


def write(
  study: Study,
  drawn: Callable[[], Sequence[Kept]],
  folder: pathlib.Path,
  source: Mapping[str, Any],
  seed: int,
  provenance: cards.Provenance,
) -> None:
  """Writes index.html and models/*.html.

  Args:
    study: what was found.
    drawn: the figures; asked for when the models' pages are written.
    folder: where study.json and figures/ are.
    source: paths as given.
    seed: of the resampling.
    provenance: certificates and keys of the models.

  Raises:
    BiasjaxError: the folder cannot be written.
  """
  templates = environment()
  places = cells.digits(study.table.frame) | cells.digits(pd.concat([study.biases, study.axes], axis=1))
  try:
    (folder / "models").mkdir(exist_ok=True)
    card, known = templates.get_template("model.html.j2"), cards.Known(study, provenance, places)
    for model in study.biases.index:
      text = card.render(version=__version__, **cards.card(known, model))
      write_file(epath.Path(folder / "models" / cards.file_name(model)), text.encode())
    index = _index(templates.get_template("index.html.j2"), study, drawn(), source, seed, places)
    write_file(epath.Path(folder / "index.html"), index.encode())
  except OSError as error:
    raise BiasjaxError(f"--output: cannot write {error.filename or folder}: {error.strerror}") from error


def _index(
  template: jinja2.Template,
  study: Study,
  drawn: Sequence[Kept],
  source: Mapping[str, Any],
  seed: int,
  places: Mapping[str, int],
) -> str:
  opening, _, rest = " ".join(study.answer).partition(":")
  return template.render(
    n=len(study.biases),
    families=len(study.table.categories),
    over=over(study),
    source=pathlib.Path(source["table"]).name,
    draws=f"{study.definitions.draws:,}",
    seed=seed,
    version=__version__,
    answer=(opening, rest) if rest else ("", opening),
    matrix=matrix.matrix(study),
    terms=matrix.terms(study),
    groups=matrix.groups(study),
    overview=_figures(drawn, "Overview"),
    models=sections.all_models(study, places),
    measurements=_figures(drawn, "Measurements"),
    findings=[_sentence(s) for s in study.sentences],
    notes=study.notes,
    folded=_folded(study, drawn),
  )


def _sentence(sentence: verdict.Sentence) -> dict[str, str]:
  badge = "" if sentence.level in SILENT else BADGES.get(sentence.level, sentence.level)
  style = STYLES.get(sentence.level, sentence.level.replace(" ", "-"))
  return {"style": style, "badge": badge, "text": sentence.text, "numbers": sentence.numbers}


def _figures(drawn: Sequence[Kept], section: str) -> list[dict[str, Any]]:
  """What the template wants of each figure of a section, with pictures of what it is about."""
  return [
    {
      **{key: getattr(kept, key) for key in ("name", "title", "caption")},
      "svg": markupsafe.Markup(kept.svg),
      "pictures": pictures.of(kept.name),
    }
    for kept in drawn
    if kept.section == section
  ]


def _folded(study: Study, drawn: Sequence[Kept]) -> list[dict[str, Any]]:
  found = []
  for title in FOLDED:
    figures, tables = _figures(drawn, title), sections.tables(study, title)
    if figures or tables:
      id_ = re.sub(r"\W+", "-", title.lower())
      found.append({"title": title, "id": id_, "about": ABOUT[title], "figures": figures, "tables": tables})
  return found
