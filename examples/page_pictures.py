"""The pictures that a study's page shows beside its measurements, drawn anew.

python -m examples.page_pictures. Each is a WebP of some kilobytes in biasjax/report/pictures, a part of the
package.
"""

import pathlib

import numpy as np
from PIL import Image

from biasjax.data import synthetic
from biasjax.report.pictures import SIDE
from examples.pictures import under_conditions

FOLDER = pathlib.Path(__file__).parents[1] / "biasjax" / "report" / "pictures"
SIZE = 224  # of the images that the published constants are for
CORRUPTED = "corruptions:only=fog+gaussian_noise+pixelate"  # to compile these alone
# {picture: (probe, condition)}, of the plain one.
CONDITIONS = {
  "low": ("spectral", "low/0.1"),
  "high": ("spectral", "high/0.7"),
  "noise": (CORRUPTED, "gaussian_noise/3"),
  "fog": (CORRUPTED, "fog/3"),
  "pixelate": (CORRUPTED, "pixelate/3"),
  "clean": ("critical_band", "clean"),
  "coarse": ("critical_band", "f=1/sd=0.08"),
  "middle": ("critical_band", "f=4/sd=0.08"),
  "fine": ("critical_band", "f=6/sd=0.08"),
}


def draw() -> dict[str, np.ndarray]:
  """{picture: uint8 [SIDE, SIDE, 3]}."""
  plain = synthetic.picture(np.random.default_rng(3), "fish", "fish", SIZE)
  drawn = {
    "plain": plain / 255,
    "conflict": synthetic.picture(np.random.default_rng(3), "fish", "gear", SIZE) / 255,
  }
  for probe in sorted({probe for probe, _ in CONDITIONS.values()}):  # each is compiled once
    names = {condition: name for name, (of, condition) in CONDITIONS.items() if of == probe}
    shown = under_conditions(probe, list(names), plain, pathlib.PurePath("drawn"))
    drawn |= {name: shown[condition] for condition, name in names.items()}
  return {name: _small(picture) for name, picture in drawn.items()}


def _small(picture: np.ndarray) -> np.ndarray:
  image = Image.fromarray(np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8))
  return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def main() -> None:
  """Writes them."""
  FOLDER.mkdir(exist_ok=True)
  for name, picture in draw().items():
    Image.fromarray(picture).save(FOLDER / f"{name}.webp", quality=80, method=6)
    print(FOLDER / f"{name}.webp")


if __name__ == "__main__":
  main()
