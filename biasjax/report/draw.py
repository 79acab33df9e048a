"""All figures of a study, drawn and kept."""

import functools
import pathlib
from collections.abc import Callable

import matplotlib as mpl

from biasjax.report import curves, figures, scatters, waves
from biasjax.report.drawing import STYLE, Drawing, Kept, keep
from biasjax.study.analysis import Study

Maker = Callable[[], Drawing | None]


def makers(study: Study) -> list[tuple[bool, Maker]]:
  """What makes each figure, in their order; None where the study has no numbers for one.

  With each goes whether it needs more of the study than `analysis.analyse` tells before what takes long.
  """
  one = functools.partial
  related = [
    one(scatters.overview, study),
    one(figures.correlation_matrix, study),
    *(one(scatters.scatter, study, bias) for bias in study.biases),
    one(figures.bias_matrix, study),
    *(one(figures.forest, study, bias) for bias in study.biases),
    *(one(of, study) for of in (figures.influence, figures.prediction, figures.sign_error)),
  ]
  measured = (curves.shape_bias, curves.pass_curves, curves.severity_curves, curves.channels)
  measured += (curves.noise_maps, waves.profiles, waves.maps)
  return [
    *((True, make) for make in related),
    *((False, one(curves.series, study, name)) for name in study.series),
    (True, one(curves.forgetting, study)),
    *((False, one(of, study)) for of in measured),
  ]


def draw(study: Study, folder: pathlib.Path) -> list[Kept]:
  """Writes each figure as PNG, SVG and CSV into `folder`."""
  return list(share(study, folder, 0, 1).values())


def share(
  study: Study, folder: pathlib.Path, first: int, step: int, related: bool | None = None
) -> dict[int, Kept]:
  """`draw`, of every so many figures only, by their places.

  Args:
    study: that there are numbers of.
    folder: where the files go.
    first: of the figures.
    step: to the next.
    related: only those that need more than what was measured, or only those that do not.
  """
  folder.mkdir(parents=True, exist_ok=True)
  mine = [(at, make) for at, (more, make) in enumerate(makers(study)) if related in (None, more)]
  with mpl.rc_context(STYLE):
    drawn = ((at, make()) for at, make in mine[first::step])
    return {at: keep(drawing, folder) for at, drawing in drawn if drawing}
