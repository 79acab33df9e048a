"""Pictures of what networks are shown, beside the figures of what became of it.

They are drawn, not photographed, by `python -m examples.page_pictures`, and come with the package: a study
needs neither images nor JAX.
"""

import base64
import dataclasses
import functools
import importlib.resources

SIDE = 128  # pixels
# {figure: {name of a picture: what is below it}}.
SHOWN = {
  "pass_curves": {
    "plain": "as it is",
    "low": "low frequencies only: a tenth of the axis",
    "high": "high frequencies only: seven tenths",
  },
  "shape_bias": {"plain": "a fish with its own texture", "conflict": "a fish with the texture of gears"},
  "severity_curves": {
    "plain": "as it is",
    "noise": "Gaussian noise, severity 3",
    "fog": "fog, severity 3",
    "pixelate": "pixelate, severity 3",
  },
  "critical_bands": {
    "clean": "grey, at low contrast",
    "coarse": "with noise of a low octave",
    "middle": "of a middle one",
    "fine": "of the highest",
  },
}
SHOWN["noise_maps"] = SHOWN["critical_bands"]


@dataclasses.dataclass(frozen=True)
class Picture:
  """One picture: a data URI that loads nothing, and what it shows."""

  uri: str
  caption: str


def of(figure: str) -> list[Picture]:
  """What belongs beside a figure of that name; mostly nothing."""
  return [Picture(_uri(name), caption) for name, caption in SHOWN.get(figure, {}).items()]


@functools.cache
def _uri(name: str) -> str:
  content = importlib.resources.files("biasjax.report").joinpath(f"pictures/{name}.webp").read_bytes()
  return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
