"""All figures of a study, drawn and kept."""

import itertools
import pathlib
from collections.abc import Iterator

import matplotlib as mpl

from biasjax.report import curves, figures, scatters
from biasjax.report.drawing import STYLE, Drawing, keep
from biasjax.study.analysis import Study


def drawings(study: Study) -> Iterator[Drawing]:
  """Those whose numbers the study has."""
  found = itertools.chain(
    [scatters.overview(study), figures.correlation_matrix(study)],
    scatters.scatters(study),
    [figures.bias_matrix(study)] if study.biases.shape[1] > 1 else [],
    figures.forests(study),
    [figures.influence(study), figures.prediction(study), figures.sign_error(study)],
    curves.series(study),
    [curves.forgetting(study)],
    [curves.shape_bias(study), curves.pass_curves(study), curves.severity_curves(study)],
    [curves.channels(study), curves.noise_maps(study)],
  )
  return (drawing for drawing in found if drawing is not None)


def draw(study: Study, folder: pathlib.Path) -> list[tuple[Drawing, str]]:
  """Writes each figure as PNG, SVG and CSV into `folder`; returns it with its SVG for the page."""
  folder.mkdir(parents=True, exist_ok=True)
  with mpl.rc_context(STYLE):
    return [(drawing, keep(drawing, folder)) for drawing in drawings(study)]
