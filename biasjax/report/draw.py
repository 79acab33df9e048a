"""All figures of a study, drawn and kept."""

import functools
import pathlib
from collections.abc import Callable

import matplotlib as mpl

from biasjax.report import curves, figures, scatters, waves
from biasjax.report.drawing import STYLE, Drawing, Kept, keep
from biasjax.study.analysis import Study

Maker = Callable[[], Drawing | None]


def makers(study: Study) -> list[Maker]:
  """What makes each figure, in their order; None where the study has no numbers for one."""
  one = functools.partial
  return [
    one(scatters.overview, study),
    one(figures.correlation_matrix, study),
    *(one(scatters.scatter, study, bias) for bias in study.biases),
    one(figures.bias_matrix, study),
    *(one(figures.forest, study, bias) for bias in study.biases),
    one(figures.influence, study),
    one(figures.prediction, study),
    one(figures.sign_error, study),
    *(one(curves.series, study, name) for name in study.series),
    *(one(of, study) for of in (curves.forgetting, curves.shape_bias, curves.pass_curves)),
    *(one(of, study) for of in (curves.severity_curves, curves.channels, curves.noise_maps)),
    *(one(of, study) for of in (waves.profiles, waves.maps)),
  ]


def draw(study: Study, folder: pathlib.Path) -> list[Kept]:
  """Writes each figure as PNG, SVG and CSV into `folder`."""
  return [kept for kept in share(study, folder, 0, 1) if kept]


def share(study: Study, folder: pathlib.Path, first: int, step: int) -> list[Kept | None]:
  """`draw`, of every so many figures only; None for those that the study has no numbers for."""
  folder.mkdir(parents=True, exist_ok=True)
  with mpl.rc_context(STYLE):
    drawn = (make() for make in makers(study)[first::step])
    return [drawing and keep(drawing, folder) for drawing in drawn]
